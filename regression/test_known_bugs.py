"""Every public bug of `known_bugs` is rejected by the check that is named with it, which its cure passes."""

from __future__ import annotations

from typing import Any

import pytest

from known_bugs import BUGS, Bug
from lossref.checks.table import cases_for, check, examine, named
from lossref.core.nouns import Target
from lossref.losses import spec


def of_one_spec(bug: Bug) -> Any:
    """All bugs of a spec run in one process, so that its oracle is asked once."""
    return pytest.param(bug, id=bug.id, marks=pytest.mark.xdist_group(bug.spec))


def rejected(bug: Bug, target: Target, seed: int) -> bool:
    """Whether the check finds a problem with the target; it is asked until the first."""
    one, loss = named(bug.seen_by), spec(bug.spec)
    cases = cases_for(one, loss, target, "quick", seed)
    return any(examine(one, loss, target, case, dtype).problems for dtype in one.dtypes for case in cases)


@pytest.mark.parametrize("bug", [of_one_spec(bug) for bug in BUGS])
def test_known_bug_is_rejected_and_its_cure_is_not(bug: Bug, seed: int) -> None:
    assert rejected(bug, bug.target(bug.wrong), seed), f"{bug.id} ({bug.url}) passes {bug.seen_by}"
    one, loss, cure = named(bug.seen_by), spec(bug.spec), bug.target(bug.mended)
    for dtype in one.dtypes:
        verdict, _ = check(one, loss, cure, cases_for(one, loss, cure, "quick", seed), dtype)
        assert verdict.status == "pass", f"the cure of {bug.id} fails: {verdict.note}"
