"""Did it move? Every file of the record, and a seeded part of its cases against oracle and reference.

`lossref golden check` asks all of them; here it is every third of an elementary loss, every sixth of one with a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossref.checks.material import same_shapes
from lossref.core.nouns import Array, Case, Spec
from lossref.hosts.probe import TargetRaised, by_term, call, itself
from lossref.losses import own
from lossref.run.golden.changes.refreshing import stale
from lossref.run.golden.checking import Share, check
from lossref.run.golden.corpus.telling import NOWHERE
from lossref.run.golden.files.folder import folder_faults, volume_in
from lossref.run.golden.recorded import Recorded, recorded_of

FOLDER = Path(__file__).parents[1] / "golden"
PART = Share(composite=6, elementary=3)


def test_the_record_is_whole() -> None:
    assert list(folder_faults(FOLDER)) == []


@pytest.mark.parametrize("name", list(own()))
def test_golden(name: str) -> None:
    found = check(own()[name], FOLDER, PART)
    assert found.problems == []
    assert found.cases


def test_runs_take_recorded_answers() -> None:
    """After a change of an oracle that moves no answer: `lossref golden refresh`; of one that does: `record`."""
    assert [one.name for one in stale(FOLDER, list(own().values()))] == []


# Settings -------------------------------------------------------------------------------------------------

SETTINGS = [
    (name, setting, value)
    for name, spec in own().items()
    for setting, param in spec.params.items()
    for value in param.others
]


def _usual(spec: Spec, case: Case, setting: str) -> Case | None:
    """The same inputs at the default of a setting, None where it decides the shapes of the inputs."""
    params = {**case.params, setting: spec.params[setting].default}
    return replace(case, params=params) if same_shapes(spec, case.params, params) else None


def _tells(spec: Spec, one: Recorded, usual: Case) -> bool:
    """Whether the recorded answer is another one than the reference's at the default."""
    try:
        found = call(spec, itself(spec), usual, "float64", grad=bool(spec.wrt))
    except TargetRaised:
        return False
    pairs = [*zip(by_term(found), (one.value[term] for term in spec.terms), strict=True)]
    pairs += [(found.gradient[name], one.gradient[name]) for name in spec.wrt]
    return any(a is None or _apart(a.ravel(), b.ravel()) for a, b in pairs)


def _apart(a: Array, b: Array) -> bool:
    return a.size != b.size or not np.allclose(a, b, 1e-9, 1e-9, equal_nan=True)


def _certified(spec: Spec) -> list[Recorded]:
    """The certified cases, small ones first."""
    stored = (one for one in volume_in(FOLDER, spec.name).cases if one.entry.is_certified)
    found = [recorded_of(spec.name, one) for one in stored]
    return sorted(found, key=lambda one: sum(x.size for x in one.case.inputs.values()))


def _told(spec: Spec, recorded: list[Recorded], setting: str, value: Any) -> Iterator[bool]:
    """Of each case with this value whether it tells, of those first that are made for it."""
    found = [one for one in recorded if one.case.params[setting] == value]
    made = f"{setting}={value!r}"
    for one in sorted(found, key=lambda one: made not in one.case.id):
        usual = _usual(spec, one.case, setting)
        yield usual is None or _tells(spec, one, usual)


@pytest.mark.parametrize("name", [name for name, spec in own().items() if spec.params])
def test_a_recorded_answer_changes_with_every_setting_or_a_reason_is_written(name: str) -> None:
    """A setting that decides the shapes of the inputs has a case; the same inputs have no answer at the default."""
    spec, keys = own()[name], [key for key in SETTINGS if key[0] == name]
    recorded = _certified(spec)
    told = {key: any(_told(spec, recorded, *key[1:])) for key in keys}
    assert [key for key in keys if not told[key] and key not in NOWHERE] == [], "no recorded case tells"
    assert [key for key in keys if told[key] and key in NOWHERE] == [], "a reason is written, and it is not true"


def test_every_reason_is_about_a_setting_that_there_is() -> None:
    assert set(NOWHERE) <= set(SETTINGS)
