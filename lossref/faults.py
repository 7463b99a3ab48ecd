"""What a failure is: its smallest case, and the known variant that would explain it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lossref.arith import Tie, Uncertified
from lossref.cases import dims_of, fixed_of, material, strategy
from lossref.checks import Check, examine
from lossref.core import Array, Case, Spec, Target
from lossref.oracle import answer, floats, gradient_budget, value_budget
from lossref.probe import TargetRaised, applicable, call, itself

SHRINK_CALLS, SHRINK_SECONDS = 400, 5.0
NUMERIC = ("value", "gradient", "kinks", "reduced", "bulk", "shape", "single", "params", "laws")
KINDS = ("float32", "float64")
SHRUNK_TO = {
    **dict.fromkeys(("value", "gradient", "kinks", "bulk", "params", "pure", "state"), "single"),
    **dict.fromkeys(("reduced", "laws", "strides", "refuses", "repeatable"), "small"),
}
EPSILONS = (0.0, 1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3)


def shrink(spec: Spec, target: Target, check: Check, case: Case, dtype: str) -> Case:
    """The smallest case of the same families on which the check still fails; the case itself at worst."""
    kind = SHRUNK_TO.get(check.name)
    if kind is None:
        return case

    def fails(candidate: Case) -> bool:
        return bool(examine(check, spec, target, candidate, dtype).problem)

    like = case if any("=" in flag for flag in case.flags) else None
    for dims in spec.sizes[kind]:
        if _size(spec, dims, case) <= sum(x.size for x in case.inputs.values()):
            smallest = _smallest(strategy(spec, dims, case.params, like), fails)
            if smallest is not None:
                return replace(smallest, why=f"shrunk from {case.id or 'a drawn case'}")
    return _halved(spec, target, check, case, dtype) if check.name == "bulk" else case


def _smallest(cases: Any, fails: Callable[[Case], bool]) -> Case | None:
    """The last failing case that Hypothesis reaches within the limits; it only tries simpler ones."""
    from hypothesis import HealthCheck, Phase, find, settings
    from hypothesis.errors import HypothesisException

    found: list[Case] = []
    calls, stop = iter(range(SHRINK_CALLS)), time.monotonic() + SHRINK_SECONDS

    def fails_in_time(candidate: Case) -> bool:
        failed = next(calls, None) is not None and time.monotonic() < stop and fails(candidate)
        found[:] = [candidate] if failed else found
        return failed

    phases, unlimited = (Phase.generate, Phase.shrink), list(HealthCheck)
    quiet = settings(
        max_examples=100, deadline=None, database=None, derandomize=True, phases=phases, suppress_health_check=unlimited
    )
    with contextlib.suppress(HypothesisException):
        find(cases, fails_in_time, settings=quiet)
    return found[0] if found else None


def _halved(spec: Spec, target: Target, check: Check, case: Case, dtype: str) -> Case:
    """Half of the first axis, again and again, while the check still fails."""
    while min(len(array) for array in case.inputs.values()) > 1:
        for half in (0, 1):
            parts = {name: _half(array, half) for name, array in case.inputs.items()}
            smaller = replace(case, inputs=parts)
            if examine(check, spec, target, smaller, dtype).problem:
                case = smaller
                break
        else:
            return case
    return case


def _half(array: Array, half: int) -> Array:
    middle = len(array) // 2
    return array[:middle] if half == 0 else array[middle:]


def _size(spec: Spec, dims: Any, case: Case) -> int:
    return sum(int(np.prod(domain.shape(dims_of(case.params, dims)))) for domain in spec.inputs.values())


# Explanations -------------------------------------------------------------------------------------------


def followed_convention(spec: Spec, target: Target, name: str) -> Any:
    """The setting of a notation parameter under which most one-item cases come out right."""
    choices = (spec.params[name].default, *spec.params[name].others)
    return max(choices, key=lambda choice: _right(spec, replace(target, fixed={**target.fixed, name: choice})))


def _right(spec: Spec, target: Target) -> float:
    cases = [
        case
        for case in material(spec, "single", "quick", 0, fixed_of(spec, target.fixed))
        if applicable(spec, target, case)
    ][:40]
    score = 0.0
    for case in cases:
        try:
            got, want = call(spec, target, case, "float64").value, _truth(spec, case)
        except (TargetRaised, Tie, Uncertified):
            continue
        if got.size == want.size and np.isfinite(got).all():
            score += float(1 / (1 + np.abs(got.reshape(want.shape) - want).max() * 1e6))
    return score


def _truth(spec: Spec, case: Case) -> Array:
    return floats(answer(spec, case).value[spec.terms[0]])


def explain(spec: Spec, target: Target, check: str, dtype: str) -> str:
    """The first known variant that the target agrees with on every case, as one sentence; else nothing."""
    if check not in NUMERIC:
        return ""
    kinds = ("setting",) if check == "params" else ("corner", "single", "small")
    cases = [case for kind in kinds for case in material(spec, kind, "quick", 1, fixed_of(spec, target.fixed))]
    cases = [case for case in cases if applicable(spec, target, case)][::2]
    got = [_attempt(spec, target, case) for case in cases]
    if dtype == "float64" and _narrowed(spec, cases, got):
        return "agrees to float32 precision only: a part of it is computed in float32"
    for sentence, variant in _variants(spec, target):
        if _agree(spec, cases, got, variant):
            return sentence
    return ""


Attempt = tuple[Array, tuple[Array, ...]] | None


def _attempt(spec: Spec, target: Target, case: Case) -> Attempt:
    try:
        result = call(spec, target, case, "float64", grad=True)
    except TargetRaised:
        return None
    return result.value, tuple(np.zeros(1) if g is None else g for g in result.gradient.values())


def _variants(spec: Spec, target: Target) -> Iterator[tuple[str, Callable[[Case], Attempt]]]:
    """Known mistakes, other parameter values, other reductions, in the order in which they are likely."""
    for wrong in spec.impostors:
        yield f"agrees with the known mistake {wrong.label!r}: {wrong.note}", partial(_attempt, spec, wrong)
    for name, param in spec.params.items():
        others = EPSILONS if name in ("eps", "smooth") else (param.default, *param.others)
        for value in (one for one in others if one != target.fixed.get(name, param.default)):
            yield f"agrees when {name} is {value!r}", partial(_with, spec, name, value)
    own = itself(spec)
    for sentence, change in REDUCTIONS.items():
        yield sentence, partial(_changed, spec, own, change)


REDUCTIONS: dict[str, Callable[[Array], Array]] = {
    "agrees when the mean over all items is expected": lambda x: np.asarray(x.mean()),
    "agrees when the sum over all items is expected": lambda x: np.asarray(x.sum()),
    "agrees with 1 minus the value": lambda x: 1 - x,
    "agrees with the mean of 1 minus the value": lambda x: np.asarray((1 - x).mean()),
    "agrees with the sum of 1 minus the value": lambda x: np.asarray((1 - x).sum()),
    "agrees with the negative value": lambda x: -x,
    "agrees with half the value": lambda x: x / 2,
    "agrees with twice the value": lambda x: x * 2,
}


def _with(spec: Spec, name: str, value: Any, case: Case) -> Attempt:
    return _attempt(spec, itself(spec), replace(case, params={**case.params, name: value}))


def _changed(spec: Spec, own: Target, change: Callable[[Array], Array], case: Case) -> Attempt:
    found = _attempt(spec, own, case)
    return None if found is None or not found[0].size else (change(found[0]), ())


def _agree(spec: Spec, cases: list[Case], got: list[Attempt], variant: Callable[[Case], Attempt]) -> bool:
    """Whether values (and gradients, where the variant has them) coincide, and somewhere not with the truth."""
    told_apart = False
    for case, mine in zip(cases, got, strict=True):
        theirs = variant(case)
        if mine is None or theirs is None:
            if (mine is None) != (theirs is None):
                return False
            continue
        pairs = zip((mine[0], *mine[1]), (theirs[0], *theirs[1]), strict=False)
        if not all(_close(a, b, spec, case) for a, b in pairs):
            return False
        told_apart |= not _right_here(spec, case, mine)
    return told_apart


def _right_here(spec: Spec, case: Case, mine: tuple[Array, tuple[Array, ...]]) -> bool:
    """Whether value and gradients agree with the oracle on this case, so that it explains nothing."""
    truth = answer(spec, case)
    wanted = (_truth(spec, case), *map(floats, truth.gradient.values()))
    room = (value_budget(spec, case, "float64"), *gradient_budget(spec, case, "float64").values())
    return all(_within(a, b, c) for a, b, c in zip((mine[0], *mine[1]), wanted, room, strict=False))


def _within(got: Array, want: Array, budget: Array) -> bool:
    return got.size == want.size and bool((np.abs(got.reshape(want.shape) - want) <= budget).all())


def _close(a: Array, b: Array, spec: Spec, case: Case) -> bool:
    if a.size != b.size:
        return False
    scale = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
    tolerance = 2 * scale * float(value_budget(spec, case, "float64").max())
    return bool(np.allclose(a.reshape(b.shape), b, rtol=0, atol=tolerance, equal_nan=False))


def _narrowed(spec: Spec, cases: list[Case], got: list[Attempt]) -> bool:
    """Right within the budgets of float32, value and gradient, and wrong within those of float64."""
    outside = False
    for case, mine in zip(cases, got, strict=True):
        if mine is None:
            return False
        truth = answer(spec, case)
        pairs = [(mine[0], _truth(spec, case)), *zip(mine[1], map(floats, truth.gradient.values()), strict=False)]
        rough, fine = ([value_budget(spec, case, kind), *gradient_budget(spec, case, kind).values()] for kind in KINDS)
        for (a, b), wide, narrow in zip(pairs, rough, fine, strict=False):
            if not _within(a, b, wide):
                return False
            outside |= not _within(a, b, narrow)
    return outside
