"""Faults at sizes and numbers that no family has: the check `varied` sees each, and those of usual cases do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossref.checks.cases.varied import varied
from lossref.checks.table import cases_for, check, named
from lossref.core.nouns import Target
from lossref.hosts.probe import call, itself
from lossref.losses import spec

USUAL = ("value", "gradient", "reduced", "bulk")
Loss = Callable[..., Tensor]
Wrong = Callable[[Loss, tuple[Tensor, ...]], Tensor]


def _rounded(loss: Loss, inputs: tuple[Tensor, ...]) -> Tensor:
    """Numbers on a grid of 2^-10, on which those of most families lie."""
    return loss(*(x + ((x * 1024).round() / 1024 - x).detach() for x in inputs))


def _between(low: float, high: float) -> Wrong:
    """A clamp that is wrong between the families of logits, and lets 20 and 88 through."""

    def wrong(loss: Loss, inputs: tuple[Tensor, ...]) -> Tensor:
        inside = (inputs[0].abs() > low) & (inputs[0].abs() < high)
        return loss(torch.where(inside, inputs[0] * 1.01, inputs[0]), *inputs[1:])

    return wrong


def _if(chosen: Callable[[tuple[Tensor, ...]], bool]) -> Wrong:
    return lambda loss, inputs: loss(*inputs) * (1.01 if chosen(inputs) else 1.0)


FAULTS: dict[str, tuple[str, Wrong]] = {
    "focal: logits of 5 to 19": ("focal", _between(5, 19)),
    "focal: rounded to a grid": ("focal", _rounded),
    "focal: more than 80 classes": ("focal", _if(lambda x: x[0].shape[-1] > 80)),
    "focal: 65 queries": ("focal", _if(lambda x: x[0].shape[-2] == 65)),
    "classification: 2 classes": ("classification", _if(lambda x: x[0].shape[-1] == 2)),
    "iou: 33 rows": ("iou", _if(lambda x: x[0].shape[0] == 33)),
    "iou: more than 5,000 rows": ("iou", _if(lambda x: x[0].shape[0] > 5000)),
    "dfl: 17 rows": ("dfl", _if(lambda x: x[1].shape[0] == 17)),
}


@pytest.mark.parametrize(("name", "wrong"), FAULTS.values(), ids=list(FAULTS))
def test_only_varied_sees_it(name: str, wrong: Wrong) -> None:
    one = spec(name)

    def build(**params: Any) -> Loss:
        return lambda *inputs: wrong(lambda *given: one.reference(*given, **params), inputs)

    target = Target(name, build, "wrong", tuple(one.params))
    found = {}
    for word in (*USUAL, "varied"):
        cases = cases_for(named(word), one, target, "quick", 0)
        found[word] = check(named(word), one, target, cases, "float32")[0].status
    assert found == {**dict.fromkeys(USUAL, "pass"), "varied": "fail"}


def _narrow(loss: Loss, inputs: tuple[Tensor, ...]) -> Tensor:
    """Through float32 and back, as a cast at the door does."""
    return loss(*(x + (x.float().to(x.dtype) - x).detach() if x.is_floating_point() else x for x in inputs))


@pytest.mark.parametrize("name", ["xywh2xyxy", "dice"])
def test_only_full_mantissas_of_float64_show_a_cast(name: str) -> None:
    one = spec(name)
    target = Target(name, lambda **params: lambda *x: _narrow(partial(one.reference, **params), x), "cast")
    target = replace(target, accepts=tuple(one.params))
    words = [(word, "float64") for word in (*USUAL, "varied")] + [("varied", "float32")]
    cases = {word: cases_for(named(word), one, target, "quick", 0) for word, _ in words}
    found = [check(named(word), one, target, cases[word], dtype)[0].status for word, dtype in words]
    assert found == [*["pass"] * len(USUAL), "fail", "pass"]


@pytest.mark.parametrize("name", ["v8_detection", "detr", "rotated_task_aligned", "v8_segmentation"])
def test_cases_are_legal_decided_and_various(name: str) -> None:
    one, cases = spec(name), varied(spec(name), 1)
    assert len(cases) >= 3
    assert not [case.id for case in cases if one.why_not(case)]
    for case in cases[1:2]:
        first, again = (call(one, itself(one), case, dtype).value for dtype in ("float64", "float64"))
        assert np.array_equal(first, again)
        assert np.isfinite(first).all()
    numbers = np.concatenate([case.inputs[key].ravel() for case in cases for key in one.wrt or one.inputs])
    assert np.mean((numbers * 1024) % 1 != 0) > 0.3, "full mantissas"
    shapes = {tuple(x.shape for x in case.inputs.values()) for case in cases}
    assert len(shapes) == len(cases)
