"""Which known variant would explain a failure: a named convention, a known mistake, another reduction."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from lossref.checks.material import fixed_of, material
from lossref.checks.table import Check
from lossref.core.nouns import Array, Case, Params, Spec, Target
from lossref.hosts.probe import TargetRaised, applicable, call, itself
from lossref.oracle.answers import answer, true_gradient, true_value
from lossref.oracle.budgets import gradient_budget, value_budget
from lossref.oracle.tape import Tie, Uncertified

KINDS = ("float32", "float64")
EPSILONS = (0.0, 1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3)
SINGLE_PRECISION, NARROW = 2.0**-18, 2.0**-16
PRECISIONS: tuple[tuple[float, str], ...] = ((0.0, ""), (SINGLE_PRECISION, ", to float32 precision"))
MOST_CASES = {False: 10_000, True: 12}


class Attempt(NamedTuple):
    """What an implementation gives on one case: the value, and the gradient of every differentiable input."""

    value: Array
    gradients: tuple[Array, ...]


Attempts = list[Attempt | None]


class Variant(NamedTuple):
    """What might explain a failure: a sentence, what it gives on a case, and the settings that it consists of."""

    sentence: str
    attempt: Callable[[Case], Attempt | None]
    change: Params = MappingProxyType({})


def explain(
    spec: Spec, target: Target, check: Check, dtype: str, failing: Sequence[Case] = (), before: Sequence[str] = ()
) -> str:
    """The first known variant that the target agrees with on every case, as one sentence; else nothing.

    The failing cases come first: they tell most variants apart, where others may not tell any. So do the
    sentences found before for the same target.
    """
    if not check.explained_on:
        return ""
    shown = [case for case in failing if not spec.why_not(case) and _answerable(spec, case)]
    cases = [*shown, *_cases(spec, target, check.explained_on)]
    got, precisions = [_attempt(spec, target, case) for case in cases], PRECISIONS
    if dtype == "float32" and got and got[0] is None:  # float64 is what it cannot do
        got, precisions = [_attempt(spec, target, case, dtype) for case in cases], PRECISIONS[1:]
    if dtype == "float64" and _narrowed(spec, cases, got):
        return "agrees to float32 precision only: a part of it is computed in float32"
    for variant, tolerance in _in_turn(spec, target, precisions, before):
        if _agree(spec, cases, got, variant, tolerance):
            return variant.sentence
    return ""


def _in_turn(
    spec: Spec, target: Target, precisions: Sequence[tuple[float, str]], before: Sequence[str]
) -> Iterator[tuple[Variant, float]]:
    """Every variant and its tolerance: those found before, exact ones, rough ones, three at once."""
    few = [*_variants(spec, target), *_several(spec, target, 2)]

    def at(variants: Iterable[Variant]) -> Iterator[tuple[Variant, float]]:
        for tolerance, words in precisions:
            yield from ((one._replace(sentence=one.sentence + words), tolerance) for one in variants)

    yield from (found for found in at(few) if found[0].sentence in before)
    yield from at(few)
    yield from at(list(_several(spec, target, 3)))


def _cases(spec: Spec, target: Target, kinds: Sequence[str]) -> list[Case]:
    """The cases on which variants are compared: those that the oracle can answer."""
    found = [case for kind in kinds for case in material(spec, kind, "quick", 1, fixed_of(spec, target.fixed))]
    asked = [case for case in found if applicable(spec, target, case)][:: 1 if spec.composite else 2]
    return [case for case in asked if _answerable(spec, case)][: MOST_CASES[spec.composite]]


def _answerable(spec: Spec, case: Case) -> bool:
    try:
        answer(spec, case)
    except (Tie, Uncertified):
        return False
    return True


def _attempt(spec: Spec, target: Target, case: Case, dtype: str = "float64") -> Attempt | None:
    try:
        result = call(spec, target, case, dtype, grad=bool(spec.wrt))
    except TargetRaised:
        return None
    found = (result.gradient.get(name) for name in spec.wrt)
    shapes = (case.inputs[name].shape for name in spec.wrt)
    zeros = (np.zeros(shape) if g is None else g for g, shape in zip(found, shapes, strict=True))
    return Attempt(result.value, tuple(zeros) if result.gradient else ())


def _variants(spec: Spec, target: Target) -> Iterator[Variant]:
    """Other parameter values, known mistakes, other reductions, in the order in which they are likely."""
    yield from (_changed(spec, change) for change in _named(spec, target))
    for wrong in spec.impostors:
        sentence = f"agrees with the known mistake {wrong.label!r}: {wrong.note}"
        yield Variant(sentence, partial(_attempt, spec, wrong))
    for name, param in spec.params.items():
        others = EPSILONS if param.small else (param.default, *param.others)
        for value in (one for one in others if one != target.fixed.get(name, param.default)):
            yield _changed(spec, {name: value})
    if len(spec.terms) == 1:
        own = itself(spec)
        for sentence, change_value in REDUCTIONS.items():
            yield Variant(sentence, partial(_reduced, spec, own, change_value))


def _named(spec: Spec, target: Target) -> list[dict[str, Any]]:
    """Every convention that has a name and that the target does not declare, away from its default."""
    return [change for change in _undeclared(spec, target) if all(isinstance(value, str) for value in change.values())]


def _undeclared(spec: Spec, target: Target) -> list[dict[str, Any]]:
    """Every setting, away from its default, of the parameters that the target neither fixes nor takes."""
    return [
        {name: value}
        for name, param in spec.params.items()
        for value in param.others
        if name not in target.fixed and name not in target.accepts
    ]


def _several(spec: Spec, target: Target, count: int) -> Iterator[Variant]:
    """Two settings at once, or three conventions."""
    changes = _undeclared(spec, target) if count == 2 else _named(spec, target)
    for chosen in itertools.combinations(changes, count):
        change = {name: value for one in chosen for name, value in one.items()}
        if len(change) == count:
            yield _changed(spec, change)


def _changed(spec: Spec, change: Params) -> Variant:
    """The reference at other settings."""

    def attempt(case: Case) -> Attempt | None:
        return _attempt(spec, itself(spec), _at(case, change))

    words = " and ".join(f"{name} is {value!r}" for name, value in change.items())
    return Variant(f"agrees when {words}", attempt, change)


def _at(case: Case, change: Params) -> Case:
    return replace(case, params={**case.params, **change})


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


def _reduced(spec: Spec, own: Target, change: Callable[[Array], Array], case: Case) -> Attempt | None:
    found = _attempt(spec, own, case)
    return None if found is None or not found.value.size else Attempt(change(found.value), ())


def _agree(spec: Spec, cases: list[Case], got: Attempts, variant: Variant, tolerance: float) -> bool:
    """Whether values (and gradients, where the variant has them) coincide, and somewhere not with the truth.

    Where the target raises, which is a failure of its own, only the first case counts: the one to be explained. Nor
    does another case count on which the outcome is undefined at the one setting of the variant; of two settings each
    would be excused by what the other one leaves undefined.
    """
    told_apart = False
    for case, mine in zip(cases, got, strict=True):
        theirs = variant.attempt(case)
        if mine is None or theirs is None:
            if mine is not None or (theirs is not None and case is cases[0]):
                return False
            continue
        pairs = zip((mine.value, *mine.gradients), (theirs.value, *theirs.gradients), strict=False)
        room = tolerance or 2 * float(value_budget(spec, case, "float64").max())
        if not all(_close(a, b, room) for a, b in pairs):
            if case is cases[0] or len(variant.change) != 1 or _answerable(spec, _at(case, variant.change)):
                return False
            continue
        shown = mine if theirs.gradients else Attempt(mine.value, ())  # a reduction speaks of values only
        told_apart |= not _right_here(spec, case, shown, "float32" if tolerance else "float64")
    return told_apart


def _right_here(spec: Spec, case: Case, mine: Attempt, dtype: str) -> bool:
    """Whether value and gradients agree with the oracle on this case, so that it explains nothing."""
    wanted = _truth(spec, case)
    room = (value_budget(spec, case, dtype), *gradient_budget(spec, case, dtype).values())
    return all(_within(a, b, c) for a, b, c in zip((mine.value, *mine.gradients), wanted, room, strict=False))


def _truth(spec: Spec, case: Case) -> tuple[Array, ...]:
    """The certified value, and the gradient of every differentiable input."""
    return (true_value(spec, case), *true_gradient(spec, case).values())


def _within(got: Array, want: Array, budget: Array) -> bool:
    return got.size == want.size and bool((np.abs(got.reshape(want.shape) - want) <= budget).all())


def _close(a: Array, b: Array, room: float) -> bool:
    if a.size != b.size:
        return False
    scale = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
    return bool(np.allclose(a.reshape(b.shape), b, rtol=0, atol=scale * room, equal_nan=True))


def _narrowed(spec: Spec, cases: list[Case], got: Attempts) -> bool:
    """Right to about 2^-16 and within the budgets of float32, value and gradient, and wrong within those of float64."""
    outside = False
    if not got or got[0] is None:
        return False
    for case, mine in zip(cases, got, strict=True):
        if mine is None:
            continue
        pairs = zip((mine.value, *mine.gradients), _truth(spec, case), strict=False)
        near = all(_close(a, b, NARROW) for a, b in pairs)
        if not near or not _right_here(spec, case, mine, "float32"):
            return False
        outside |= not _right_here(spec, case, mine, "float64")
    return outside
