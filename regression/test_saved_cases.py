"""Saved cases that once told a right implementation from a wrong one; the reference passes them all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lossref.checks.table import examine, named
from lossref.losses import spec
from lossref.run.saved import load
from lossref.targets.resolve import reference

FOLDER = Path(__file__).parent / "cases"
FILES = sorted(FOLDER.rglob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(FOLDER).with_suffix("")) for path in FILES])
def test_saved_case(path: Path) -> None:
    saved, content = load(path), json.loads(path.read_text())
    one = spec(saved.case.spec)
    assert len(content["why"]) > 20, "a saved case says why it is kept"
    found = examine(named(saved.check), one, reference(one), saved.case, saved.dtype)
    assert found.problem == ""
    assert found.examined > 0
    rejected = [examine(named(saved.check), one, wrong, saved.case, saved.dtype).problem for wrong in one.impostors]
    assert any(rejected), "a case that tells nobody apart is not worth keeping"


def test_there_are_saved_cases() -> None:
    assert {path.parent.name for path in FILES} >= {"ciou", "giou", "focal", "varifocal", "dfl"}
