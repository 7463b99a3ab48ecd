"""A target beside the reference at some settings: how far apart they are on each case, in each quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lossref.checks.attempts import Attempt, Attempts, Change
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.oracle.budgets import value_budget
from lossref.oracle.tape import Tie, Uncertified
from lossref.run.causes.explain.quantity import size
from lossref.run.causes.settings.assigned import ROUNDED, decided

SINGLE_PRECISION = 2.0**-18
MOST_NUMBERS = 1000  # of a case for which the oracle is asked what rounding may do

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
    drawn: Sequence[Case] = ()  # further ones, by which settings are told apart that do the same on those above
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
