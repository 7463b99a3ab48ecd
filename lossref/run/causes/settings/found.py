"""Which settings a target follows instead of the defaults: found one after the other, each hides no longer the next.

A setting is adopted where the reference, moved to it, gives the very numbers of the target that it did not give
before, and disagrees nowhere where it agreed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from lossref.checks.attempts import Attempt, Attempts, Change
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.oracle.budgets import value_budget
from lossref.oracle.tape import Tie, Uncertified
from lossref.run.causes.explain.quantity import NONE, size
from lossref.run.causes.explain.variants.mistakes import off_by_one
from lossref.run.causes.settings.assigned import ROUNDED, decided

EPSILONS = (0.0, 1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3)
SINGLE_PRECISION = 2.0**-18
MOST_NUMBERS = 1000  # of a case for which the oracle is asked what rounding may do
MOSTLY = 0.01  # what may be left of an error that a setting takes away, where others are left
MOST_SETTINGS = 12
MOST_OF_THEM = 0.5  # wrong numbers that a setting sets right beside a fault that explains half of all
WHOLE = 3  # wrong numbers of one quantity that speak for a setting if it sets all of them right
PIVOTS = {False: 6, True: 3}  # failing cases that candidates are tried on first: of an elementary loss, of a composite

Settings = Mapping[str, Any]
Place = tuple[Case, str]


@dataclass(frozen=True)
class Compared:
    """A target beside the reference at some settings, on cases that the target was asked: in float64 if it can."""

    spec: Spec
    target: Target
    known: Attempts
    cases: Sequence[Case]
    settings: Settings
    held_to: Sequence[str] = ()
    own: Target | None = None  # the reference, or it with a fault
    large: bool = False  # the cases take their time: named conventions alone are tried, and none of them in pairs
    _known: dict[tuple[Case, Change], dict[str, float]] = field(default_factory=dict, init=False)

    @cached_property
    def errors(self) -> dict[Place, float]:
        """For every case and quantity the error over what is allowed; infinite where only one of the two has it."""
        found = dict[Place, float]()
        for case in self.cases:
            found |= {(case, name): error for name, error in self.at(case, {}).items()}
        return found

    def got(self, case: Case) -> Attempt | None:
        """What the target gives on a case."""
        exact, rough = self.known.given(self.target, case)
        return rough if exact is None else exact

    def at(self, case: Case, change: Settings) -> dict[str, float]:
        """The errors of one case where some settings are changed beside those here; none where the target raises."""
        key = case, tuple(change.items())
        if key not in self._known:
            self._known[key] = self._at(case, change)
        return self._known[key]

    def _at(self, case: Case, change: Settings) -> dict[str, float]:
        own = self.own or self.known.own
        mine, theirs = self.got(case), self.known.of(own, case, {**self.settings, **change})
        if mine is None:
            return {}
        ours = theirs.named(self.spec) if theirs else {}
        room = self._room(case)
        numbers = {name: _error(got, ours.get(name), room) for name, got in mine.named(self.spec).items()}
        return numbers | decided(self.spec, mine, theirs, numbers)

    def _room(self, case: Case) -> float:
        """What may be between two that compute the same; the oracle is not asked where it takes its time."""
        if self.known.of(self.target, case) is None:
            return SINGLE_PRECISION
        if self.spec.composite or size(case) > MOST_NUMBERS:
            return ROUNDED
        try:
            return 2 * float(np.nanmax(value_budget(self.spec, case, "float64"), initial=0.0))
        except (Tie, Uncertified):
            return ROUNDED


def found(
    spec: Spec,
    target: Target,
    cases: Sequence[Case],
    known: Attempts,
    held_to: Sequence[str] = (),
    start: Settings = NONE,
) -> dict[str, Any]:
    """The settings, as they were found, that the target follows on these cases; those to `start` with were before.

    Of its fixed parameters it may have left those that it is only `held_to`.
    """
    defaults = {**spec.defaults(), **target.fixed}
    settings = dict(start)
    while len(settings) < MOST_SETTINGS:
        compared = Compared(spec, target, known, cases, settings, held_to, large=bool(start))
        change = _next(compared)
        if not change:
            break
        settings |= change
    return {name: value for name, value in settings.items() if value != defaults[name]}


def involved(compared: Compared, case: Case, kind: str) -> list[str]:
    """The settings without one of which the reference does not give what the target does, in this quantity."""
    defaults = {**compared.spec.defaults(), **compared.target.fixed}
    settings = [name for name in compared.settings if name in case.params]
    here = compared.at(case, {})
    quantities = [kind] if kind in here else list(here)
    found = []
    for name in settings:
        there = compared.at(case, {name: defaults[name]})
        if any(there.get(one, np.inf) > max(1.0, 2 * here[one]) for one in quantities):
            found.append(name)
    return found


def _next(compared: Compared) -> Settings:
    """One more setting, or two at once where neither helps alone."""
    bad = [place for place, error in compared.errors.items() if error > 1]
    pivots = list(dict.fromkeys(case for case, _ in bad))[: PIVOTS[compared.spec.composite]]
    singles = _singles(compared)
    for exactly in (True, False):
        tried = list[Settings]()
        for case in pivots:
            for change in singles:
                if change not in tried and _helps(compared, case, change, exactly):
                    tried.append(change)
        best = max(tried, key=lambda change: _score(compared, bad, change, exactly), default={})
        if best and _score(compared, bad, best, exactly) > 0:
            return best
    pairs = [] if compared.large else list(_pairs(compared))
    for exactly, case in itertools.product((True, False), pivots[: 1 if compared.spec.composite else 2]):
        for change in pairs:
            if _helps(compared, case, change, exactly) and _score(compared, bad, change, exactly) > 0:
                return change
    return {} if compared.large else _behind_a_fault(compared, bad, singles)


def _behind_a_fault(compared: Compared, bad: Sequence[Place], singles: Sequence[Settings]) -> Settings:
    """A setting that shows itself only where a number that the target takes counts as one more, or one less."""
    spec, target = compared.spec, compared.target
    for one in off_by_one(spec, target, compared.settings) if spec.composite else ():
        beside = replace(compared, own=one.who)
        left = [place for place, error in beside.errors.items() if error > 1]
        if not left or 2 * len(left) > len(bad):
            continue
        for change in singles:
            if _helps(beside, left[0][0], change, True) and _score(beside, left, change, True) > MOST_OF_THEM:
                return change
    return {}


def _helps(compared: Compared, case: Case, change: Settings, exactly: bool) -> bool:
    there = compared.at(case, change)
    return any(
        compared.errors[case, name] > 1 and (error <= 1 if exactly else _mostly(error, compared.errors[case, name]))
        for name, error in there.items()
    )


def _mostly(error: float, before: float) -> bool:
    return error <= MOSTLY * before < np.inf


def _score(compared: Compared, bad: Sequence[Place], change: Settings, exactly: bool) -> float:
    """The share of the wrong numbers that a change sets right; 0 where it sets more wrong, or moves most in vain.

    That it moves others in vain is no matter where it sets all of one quantity right: those have another fault, too.
    Where it need not be exact, a number is set right of which one hundredth of the error is left.
    """
    wrong, right, moved = set(bad), 0, 0
    set_right = Counter[str]()  # places of each quantity
    for case in dict.fromkeys(case for case, _ in compared.errors):
        for name, error in compared.at(case, change).items():
            before = compared.errors.get((case, name), np.inf)
            if (case, name) not in wrong:
                if error > 1:
                    return 0.0
                continue
            if error != before:
                moved += 1
                right += error <= 1 or (not exactly and _mostly(error, before))
                set_right[name] += error <= 1
    whole = any(set_right[name] == count >= WHOLE for name, count in Counter(name for _, name in bad).items())
    return right / len(bad) if bad and moved and (whole or 2 * right >= moved) else 0.0


def _singles(compared: Compared) -> list[Settings]:
    """Every other value of a parameter that the target neither fixes nor takes, named conventions first."""
    found = [{name: value} for name, value in _free(compared)]
    return sorted(found, key=lambda change: not isinstance(next(iter(change.values())), str))


def _free(compared: Compared) -> Iterator[tuple[str, Any]]:
    spec, target = compared.spec, compared.target
    for name, param in spec.params.items():
        if name in target.accepts or (name in target.fixed and name not in compared.held_to):
            continue
        here = compared.settings.get(name, target.fixed.get(name, param.default))
        values = dict.fromkeys((param.default, *param.others, *(EPSILONS if param.small else ())))
        yield from (
            (name, value) for value in values if value != here and (isinstance(value, str) or not compared.large)
        )


def _pairs(compared: Compared) -> Iterator[Settings]:
    named = [(name, value) for name, value in _free(compared) if value in compared.spec.params[name].others]
    for (one, first), (other, second) in itertools.combinations(named, 2):
        if one != other:
            yield {one: first, other: second}


def _error(got: Array, want: Array | None, room: float) -> float:
    """The largest difference over what is allowed; infinite where one is not finite, or of another size."""
    if want is None or got.size != want.size:
        return float("inf")
    want = want.reshape(got.shape)
    with np.errstate(all="ignore"):
        difference = np.abs(got - want)
    largest, finite = float(difference.max(initial=0.0)), float(np.abs(want).max(initial=0.0))
    if not (np.isfinite(largest) and np.isfinite(finite)):
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        difference = np.where(same, 0.0, difference)
        largest = float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max())
        finite = float(np.abs(want[np.isfinite(want)]).max(initial=0.0))
    return largest / (max(1.0, finite) * room)
