"""The smallest case on which a check still fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lossref.checks.material import strategy
from lossref.checks.table import Check, examine
from lossref.core.axes import name_of
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import itself

SHRINK_CALLS = 150  # candidates of one size; never seconds, or a run that is repeated saves other cases
COMPOSITE_CALLS = 8  # of a loss whose oracle takes about half a second for each


def shrink(spec: Spec, target: Target, check: Check, case: Case, dtype: str, kind: str = "") -> Case:
    """The smallest case of the same families on which the check still fails in this way; the case itself at worst."""
    if not check.shrunk_to:
        return case

    def fails(candidate: Case) -> bool:
        """Whether the target fails, and the reference does not: a case that it fails, too, is no legal one."""
        legal = not check.legal or not spec.why_not(candidate)
        return (
            legal
            and _fails(check, spec, target, candidate, dtype, kind)
            and not _fails(check, spec, itself(spec), candidate, dtype)
        )

    if spec.composite:
        return _fewer(spec, case, fails)
    like = case if any("=" in flag for flag in case.flags) else None
    for dims in spec.sizes[check.shrunk_to]:
        if _size(spec, dims, case) <= sum(x.size for x in case.inputs.values()):
            smallest = _smallest(strategy(spec, dims, case.params, like), fails)
            if smallest is not None:
                return replace(smallest, why=f"shrunk from {case.id or 'a drawn case'}")
    return case if check.certified else _halved(spec, case, fails)


def _fails(check: Check, spec: Spec, target: Target, case: Case, dtype: str, kind: str = "") -> bool:
    problems = examine(check, spec, target, case, dtype).problems
    return any(kind in ("", problem.kind) for problem in problems)


def _fewer(spec: Spec, case: Case, fails: Callable[[Case], bool]) -> Case:
    """Objects left out, then whole inputs set to zero, one after the other, while the check still fails."""
    left = iter(range(COMPOSITE_CALLS))
    for smaller in _simpler(spec, case):
        while (candidate := smaller(case)) is not None:
            if spec.why_not(candidate) or next(left, None) is None or not fails(candidate):
                break
            case = replace(candidate, why=f"shrunk from {case.id or 'a drawn case'}")
    return case


def _simpler(spec: Spec, case: Case) -> Iterator[Callable[[Case], Case | None]]:
    objects = {name for name, domain in spec.inputs.items() if name_of((domain.axes.split() or [""])[0]) == "n"}
    for at in (0, -1):
        yield partial(_without_object, objects, at)
    for name, domain in spec.inputs.items():
        if name not in objects and not domain.dtype:
            yield partial(_zeroed, name)


def _without_object(objects: set[str], at: int, case: Case) -> Case | None:
    if not objects or min(len(case.inputs[name]) for name in objects) < 2:
        return None
    kept = {name: np.delete(x, at, 0) if name in objects else x for name, x in case.inputs.items()}
    return replace(case, inputs=kept)


def _zeroed(name: str, case: Case) -> Case | None:
    if not case.inputs[name].any():
        return None
    return replace(case, inputs={**case.inputs, name: np.zeros_like(case.inputs[name])})


def _smallest(cases: Any, fails: Callable[[Case], bool]) -> Case | None:
    """The last failing case that Hypothesis reaches within the limits; it only tries simpler ones."""
    from hypothesis import HealthCheck, Phase, find, settings
    from hypothesis.errors import HypothesisException

    found: list[Case] = []
    calls = iter(range(SHRINK_CALLS))

    def fails_early(candidate: Case) -> bool:
        failed = next(calls, None) is not None and fails(candidate)
        found[:] = [candidate] if failed else found
        return failed

    phases, unlimited = (Phase.generate, Phase.shrink), list(HealthCheck)
    quiet = settings(
        max_examples=100, deadline=None, database=None, derandomize=True, phases=phases, suppress_health_check=unlimited
    )
    with contextlib.suppress(HypothesisException):
        find(cases, fails_early, settings=quiet)
    return found[0] if found else None


def _halved(spec: Spec, case: Case, fails: Callable[[Case], bool]) -> Case:
    """Half of the first axis of the first input, and of all that share it, while the check still fails."""
    first = {name: name_of((domain.axes.split() or [""])[0]) for name, domain in spec.inputs.items()}
    shared = {name for name in first if first[name] and first[name] == next(iter(first.values()))}
    while shared and min(len(case.inputs[name]) for name in shared) > 1:
        for half in (0, 1):
            parts = {name: _half(x, half) if name in shared else x for name, x in case.inputs.items()}
            smaller = replace(case, inputs=parts)
            if fails(smaller):
                case = smaller
                break
        else:
            return case
    return case


def _half(array: Array, half: int) -> Array:
    middle = len(array) // 2
    return array[:middle] if half == 0 else array[middle:]


def _size(spec: Spec, dims: Any, case: Case) -> int:
    return sum(int(np.prod(domain.shape(spec.dims(case.params, dims)))) for domain in spec.inputs.values())
