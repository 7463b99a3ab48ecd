"""Which known variant would explain a failure: a named convention, a known mistake, another reduction."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from lossref.checks.attempts import Attempt, Attempts, at
from lossref.checks.material import fixed_of, material
from lossref.checks.table import Check
from lossref.core.nouns import Array, Case, Params, Spec, Target
from lossref.hosts.probe import applicable
from lossref.oracle.answers import answer, true_gradient, true_value
from lossref.oracle.budgets import gradient_budget, value_budget
from lossref.oracle.tape import Tie, Uncertified

EPSILONS = (0.0, 1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3)
SINGLE_PRECISION, NARROW = 2.0**-18, 2.0**-16
PRECISIONS: tuple[tuple[float, str], ...] = ((0.0, ""), (SINGLE_PRECISION, ", to float32 precision"))
MOST_CASES = {False: 10_000, True: 12}

Given = tuple[Case, Attempt | None, Attempt | None]


class Variant(NamedTuple):
    """What might explain a failure: a sentence, who is asked, at which settings, and what is made of the value."""

    sentence: str
    who: Target
    change: Params = MappingProxyType({})
    reduction: Callable[[Array], Array] | None = None

    def attempt(self, known: Attempts, case: Case) -> Attempt | None:
        """What it gives on a case; None where that is nothing."""
        found = known.of(self.who, case, self.change)
        if self.reduction is None or found is None:
            return found
        return Attempt(self.reduction(found.value), ()) if found.value.size else None


def explain(
    spec: Spec,
    target: Target,
    check: Check,
    dtype: str,
    failing: Sequence[Case] = (),
    before: Sequence[str] = (),
    known: Attempts | None = None,
) -> str:
    """The first known variant that the target agrees with on every case, as one sentence; else nothing.

    The failing cases come first: they tell most variants apart, where others may not tell any. So do the
    sentences found before for the same target. What has been asked before is `known`.
    """
    if not check.explained_on:
        return ""
    known = known or Attempts(spec)
    shown = [case for case in failing if not spec.why_not(case) and _answerable(spec, case)]
    cases, kind, precisions = [*shown, *_cases(spec, target, check.explained_on)], "float64", PRECISIONS
    if dtype == "float32" and cases and known.of(target, cases[0]) is None:  # float64 is what it cannot do
        kind, precisions = dtype, PRECISIONS[1:]
    got = partial(known.of, target, dtype=kind)
    if dtype == "float64" and _narrowed(spec, cases, got):
        return "agrees to float32 precision only: a part of it is computed in float32"
    for variant, tolerance in _in_turn(spec, target, known.own, precisions, before):
        told = sorted(shown, key=lambda case: not known.has(variant.who, case, variant.change))
        asked = [*told, *cases[len(shown) :]]
        pairs = ((case, got(case), variant.attempt(known, case)) for case in asked)
        if _agree(spec, cases[0], pairs, variant, tolerance):
            return variant.sentence
    return ""


def _in_turn(
    spec: Spec, target: Target, own: Target, precisions: Sequence[tuple[float, str]], before: Sequence[str]
) -> Iterator[tuple[Variant, float]]:
    """Every variant and its tolerance: those found before, exact ones, rough ones, three at once."""
    few = [*_variants(spec, target, own), *_several(spec, target, own, 2)]

    def with_precision(variants: Iterable[Variant]) -> Iterator[tuple[Variant, float]]:
        for tolerance, words in precisions:
            yield from ((one._replace(sentence=one.sentence + words), tolerance) for one in variants)

    yield from (found for found in with_precision(few) if found[0].sentence in before)
    yield from with_precision(few)
    yield from with_precision(list(_several(spec, target, own, 3)))


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


def _variants(spec: Spec, target: Target, own: Target) -> Iterator[Variant]:
    """Other parameter values, known mistakes, other reductions, in the order in which they are likely."""
    yield from (_changed(own, change) for change in _named(spec, target))
    for wrong in spec.impostors:
        sentence = f"agrees with the known mistake {wrong.label!r}: {wrong.note}"
        yield Variant(sentence, wrong)
    for name, param in spec.params.items():
        others = EPSILONS if param.small else (param.default, *param.others)
        for value in (one for one in others if one != target.fixed.get(name, param.default)):
            yield _changed(own, {name: value})
    if len(spec.terms) == 1:
        for sentence, reduction in REDUCTIONS.items():
            yield Variant(sentence, own, reduction=reduction)


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


def _several(spec: Spec, target: Target, own: Target, count: int) -> Iterator[Variant]:
    """Two settings at once, or three conventions."""
    changes = _undeclared(spec, target) if count == 2 else _named(spec, target)
    for chosen in itertools.combinations(changes, count):
        change = {name: value for one in chosen for name, value in one.items()}
        if len(change) == count:
            yield _changed(own, change)


def _changed(own: Target, change: Params) -> Variant:
    """The reference at other settings."""
    words = " and ".join(f"{name} is {value!r}" for name, value in change.items())
    return Variant(f"agrees when {words}", own, change)


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


def _agree(spec: Spec, first: Case, given: Iterable[Given], variant: Variant, tolerance: float) -> bool:
    """Whether values (and gradients, where the variant has them) coincide, and somewhere not with the truth.

    Where the target raises, which is a failure of its own, only the first case counts: the one to be explained. Nor
    does another case count on which the outcome is undefined at the one setting of the variant; of two settings each
    would be excused by what the other one leaves undefined.
    """
    told_apart = False
    for case, mine, theirs in given:
        if mine is None or theirs is None:
            if mine is not None or (theirs is not None and case is first):
                return False
            continue
        pairs = zip((mine.value, *mine.gradients), (theirs.value, *theirs.gradients), strict=False)
        room = tolerance or 2 * float(value_budget(spec, case, "float64").max())
        if not all(_close(a, b, room) for a, b in pairs):
            if case is first or len(variant.change) != 1 or _answerable(spec, at(case, tuple(variant.change.items()))):
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


def _narrowed(spec: Spec, cases: list[Case], got: Callable[[Case], Attempt | None]) -> bool:
    """Right to about 2^-16 and within the budgets of float32, value and gradient, and wrong within those of float64."""
    outside = False
    if not cases or got(cases[0]) is None:
        return False
    for case in cases:
        mine = got(case)
        if mine is None:
            continue
        pairs = zip((mine.value, *mine.gradients), _truth(spec, case), strict=False)
        near = all(_close(a, b, NARROW) for a, b in pairs)
        if not near or not _right_here(spec, case, mine, "float32"):
            return False
        outside |= not _right_here(spec, case, mine, "float64")
    return outside
