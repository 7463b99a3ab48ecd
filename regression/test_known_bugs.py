"""Every public bug of `known_bugs` is rejected by the check that is named with it, which its cure passes."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from known_bugs import BUGS, Bug
from known_bugs_told import sentences

from lossref.checks.table import cases_for, check, examine, named
from lossref.core.nouns import Target
from lossref.losses import spec

SAMPLE = 3


def of_one_spec(bug: Bug) -> Any:
    """All bugs of a spec run in one process, so that its oracle is asked once."""
    return pytest.param(bug, id=bug.id, marks=pytest.mark.xdist_group(bug.spec))


def rejected(bug: Bug, target: Target, seed: int) -> bool:
    """Whether the check finds a problem with the target; it is asked until the first."""
    one, loss = named(bug.seen_by), spec(bug.spec)
    cases = cases_for(one, loss, target, "quick", seed)
    return any(examine(one, loss, target, case, dtype).problems for dtype in one.dtypes for case in cases)


@cache
def complaints(mended: Callable[..., Any], bug: Bug, seed: int) -> list[str]:
    """What the check has against a cure; asked once for all bugs that it mends."""
    one, loss, cure = named(bug.seen_by), spec(bug.spec), bug.target(mended)
    cases = cases_for(one, loss, cure, "quick", seed)
    verdicts = [check(one, loss, cure, cases, dtype)[0] for dtype in one.dtypes]
    return [verdict.note for verdict in verdicts if verdict.status != "pass"]


@pytest.mark.parametrize("bug", [of_one_spec(bug) for bug in BUGS])
def test_known_bug_is_rejected_and_its_cure_is_not(bug: Bug, seed: int) -> None:
    assert rejected(bug, bug.target(bug.wrong), seed), f"{bug.id} ({bug.url}) passes {bug.seen_by}"
    asked = next(one for one in BUGS if (one.mended, one.seen_by) == (bug.mended, bug.seen_by))
    assert not complaints(bug.mended, asked, seed), f"the cure of {bug.id} is accused"


def test_a_run_names_the_cause(seed: int) -> None:
    """Of a sample, for it costs seconds each; `known_bugs_told.py` prints what is said of all."""
    elementary = [bug for bug in BUGS if bug.says and not spec(bug.spec).composite]
    for bug in random.Random(seed).sample(elementary, SAMPLE):
        found = sentences(bug, bug.wrong, bug.seen_by)
        assert any(bug.says in one for one in found), (bug.id, found)


def test_threads_are_named_once_each() -> None:
    assert len({bug.id for bug in BUGS}) == len({bug.where for bug in BUGS}) == len(BUGS)
    assert {bug.kind for bug in BUGS} == {"issues", "pull"}
