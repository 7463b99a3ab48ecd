"""The rows of `make ratios-cuda`: what was read stays read, what is missing is done again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "ratios"))

from forms import Lacking, difference, formed
from readings import FORMS, Key, Reading, put, read
from workloads import NAMES, SMALL, full, gradients, workload

import lossref

ROWS = {
    "timed": Reading("FocalLoss", "eager", ratio=1.25, ours_ms=0.5),
    "a reason": Reading("FocalLoss", "captured", reason="no CUDA, and a comma"),
    "to do": Reading("FocalLoss", "compiled"),
    "counted": Reading("v8DetectionLoss@80", "eager", ratio=2, ours_peak_mib=3, counts="counted"),
}


def test_rows_come_back_as_they_were_put(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    for row in ROWS.values():
        put(path, row)
    put(path, ROWS["timed"]._replace(ratio=1.5))
    found = read(path)
    assert list(found) == [row.key for row in ROWS.values()]
    assert found[Key("FocalLoss", "eager")].ratio == 1.5
    assert [(one.timed, one.counted) for one in found.values()] == [
        (True, False),
        (True, True),
        (False, False),
        (True, True),
    ]
    assert found[Key("FocalLoss", "captured")].reason == ROWS["a reason"].reason


def test_a_form_with_other_numbers_is_seen() -> None:
    one = workload("FocalLoss", SMALL)
    right, other = (lossref.FocalLoss(gamma=gamma) for gamma in (1.5, 1.501))
    assert difference(gradients(one, right), gradients(one, right)) == 0
    assert difference(gradients(one, other), gradients(one, right)) > 1e-5
    nan = torch.tensor(torch.nan), gradients(one, right)[1]
    assert difference(nan, gradients(one, right)) == torch.inf


@pytest.mark.parametrize("form", FORMS[2:])
def test_without_cuda_nothing_is_captured(form: str) -> None:
    one = workload("FocalLoss", SMALL)
    with pytest.raises(Lacking, match="no CUDA"):
        formed(one, lossref.FocalLoss(), form, "cpu")


@pytest.mark.parametrize("name", NAMES)
def test_every_workload_has_a_value_and_gradients(name: str) -> None:
    one = workload(name, SMALL)
    loss = one.build(getattr(lossref, name), "cpu")
    assert full(one.on("cpu"), loss)().isfinite()
    assert all(x.isfinite().all() for x in gradients(one, loss)[1])
