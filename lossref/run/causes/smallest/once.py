"""The small case of a failure: looked for once for all rows that fail by one cause, and taken from the last run."""

from __future__ import annotations

from functools import partial

from lossref.checks import table
from lossref.checks.evidence import Problem
from lossref.checks.table import Failing
from lossref.core.nouns import Case, Target
from lossref.run.causes.explain.quantity import size
from lossref.run.causes.judged import Judged, Tracing, given_time
from lossref.run.causes.smallest.shrink import shrink

MOST_SHRUNK = 6  # failures of one job on a composite that are made small; the others keep their smallest case


def small(tracing: Tracing, target: Target, row: Judged, failing: Failing, key: tuple[str, ...]) -> Case:
    """A small case that fails in this way: made small once, and taken again where the row fails on it, too."""
    dtype = row.dtype
    before = tracing.smallest.get(key)
    if before is not None and row.one.shrunk_to and row.one.explained_on:
        if tracing.problem(row.one, target, before, dtype, failing.kind):
            return before
        return min(failing.cases, key=size)
    smallest = min([case for case in failing.cases if table.drawn(case)] or failing.cases, key=size)
    if tracing.spec.composite and len(tracing.smallest) >= MOST_SHRUNK:
        return smallest
    with given_time(tracing.job):
        smallest = _shrunk(tracing, target, row, failing, smallest)
    if row.one.certified:
        tracing.smallest.setdefault(key, smallest)
    return smallest


def _shrunk(tracing: Tracing, target: Target, row: Judged, failing: Failing, case: Case) -> Case:
    """The smallest case that is reached from a failing one."""
    one, dtype, kind = row.one, row.dtype, failing.kind
    if not one.shrunk_to or not tracing.job.small:
        return case

    def problem_on(smaller: Case) -> Problem | None:
        found = tracing.trials.examined(one, target, smaller, dtype).problems
        return next((problem for problem in found if problem.kind == kind), None)

    about = (one.name, dtype, kind, [problem for at, problem in failing.found if at is case])
    search = partial(shrink, tracing.spec, target, one, case, dtype, kind, tracing.trials)
    return tracing.recalled.smallest(target, about, case, problem_on, search)
