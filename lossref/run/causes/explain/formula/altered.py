"""Which one step of the formula, left out or done otherwise, gives the target's numbers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from lossref.checks.attempts import Attempt
from lossref.core.nouns import Array, Params, Spec
from lossref.run.causes.explain.formula.changes import changes
from lossref.run.causes.explain.formula.constants import LITTLE, Change
from lossref.run.causes.explain.formula.places import line_of, text_of
from lossref.run.causes.explain.formula.plain import Constants, Place, Step
from lossref.run.causes.explain.formula.runs import Learnt, Seen, learnt, outcome
from lossref.run.causes.explain.formula.steps import kept_narrow, rounded, with_eps_added, without_eps
from lossref.run.causes.explain.memory import FULL, Purse
from lossref.run.causes.explain.quantity import Quantity, Told, reproduces, size

SLIGHT = 2.0**-20  # of the largest number: more, rounding a step does not make of it
MOST_PAIRS = 1_500
ROOM_OF_FLOATS = 4.0
NAMES = {"add": "sum", "sub": "difference", "mul": "product", "div": "quotient", "less": "comparison"}
NAMES |= dict.fromkeys(("min", "max"), "min or max")


class Altered(NamedTuple):
    """A formula with other steps: in words, how, whether gradients are only cut off, or only flow otherwise."""

    words: str
    steps: tuple[tuple[Place, Step], ...]
    cuts: bool
    flows: bool

    def __and__(self, other: Altered) -> Altered:
        words, steps = f"{self.words}, and {other.words}", self.steps + other.steps
        return Altered(words, steps, self.cuts and other.cuts, self.flows and other.flows)


class Bench:
    """The formula of a loss, ready to be run on the cases with other steps.

    `wrong` are the terms of which any value is; of a composite no step is changed that terms that are right depend on,
    and no more steps are carried out than the `purse` has left.
    """

    def __init__(
        self, what: Quantity, told: Sequence[Told], settings: Params, wrong: Collection[str] = (), purse: Purse = FULL
    ) -> None:
        self.what, self.settings, self.purse = what, tuple(settings.items()), purse
        usable = told and all(one.got.size == one.want.size for one in told)
        self.told = sorted(told, key=lambda one: (not one.apart, size(one.shown.case))) if usable else []
        self.singles = self._learnt(wrong) if self.told else []

    def _learnt(self, wrong: Collection[str]) -> list[Altered]:
        """Every change at every place that the formula passes on these cases; none where floats cannot carry it out."""
        seen: Seen = {}
        kept = list[Told]()
        spec = self.what.spec
        for one in self.told:
            usual = learnt(spec, one.shown.case, self.settings)
            numbers = None if usual.given is None else _shaped(usual.given, self.what, one)
            if spec.composite and numbers is None:
                continue  # it takes too long
            if numbers is None or numbers.size != one.want.size:
                return []
            seen = {**usual.seen, **seen}
            off = np.abs(numbers.ravel() - one.want.ravel())
            room = one.room.ravel() + ROOM_OF_FLOATS * np.where(np.isfinite(off), off, 0.0)
            kept.append(one._replace(room=room.reshape(one.want.shape)))
        self.told = kept
        if not any(one.apart for one in kept):
            return []
        found = list(every(tuple(seen.items())))
        return self._thrifty(found, wrong) if spec.composite else found

    def _thrifty(self, singles: Sequence[Altered], wrong: Collection[str]) -> list[Altered]:
        """The changes worth their steps, those first that are likely; cases with few steps come first, too."""
        self.told = sorted(self.told, key=lambda one: (not one.apart, self.takes(one)))
        usual = learnt(self.what.spec, self.told[0].shown.case, self.settings)
        fits = _plausible(self.what.spec, singles, usual, wrong)
        slight = all(map(_slight, self.told))
        return sorted(fits, key=_width) if slight else fits

    def takes(self, one: Told) -> int:
        """How many steps the formula is on a case, and how many numbers it is given."""
        return learnt(self.what.spec, one.shown.case, self.settings).steps + size(one.shown.case)

    def able(self, one: Told) -> bool:
        """Whether the formula can be run on a case as often as it takes."""
        return learnt(self.what.spec, one.shown.case, self.settings).given is not None

    def gives(self, altered: Altered, what: Quantity, one: Told) -> Array | None:
        """A quantity on a case by the formula with other steps."""
        found = outcome(self.what.spec, one.shown.case, self.settings, altered.steps)
        numbers = None if found.given is None else _shaped(found.given, what, one)
        if numbers is not None and found.steep and what.wrt and numbers.size == one.got.size:
            return np.where(np.isfinite(one.got), numbers.reshape(one.got.shape), np.nan)
        return numbers

    def on(self, altered: Altered) -> Callable[[Quantity, Told], Array | None]:
        """The same for one way to alter it."""
        return partial(self.gives, altered)

    def found(self, of: Iterable[Altered]) -> Iterator[Altered]:
        """Those that have the target's numbers of the quantity on every case, until the purse is empty."""
        takes = self.takes(self.told[0]) if self.told else 0
        for one in of:
            if self.purse.spend(takes) and reproduces(partial(self.gives, one, self.what), self.told):
                yield one

    def pairs(self) -> Iterator[Altered]:
        """Two gradients that are cut off, or let through, at once."""
        cuts = [one for one in self.singles if one.cuts and "operand" not in one.words] if self.what.wrt else []
        pairs = (one & other for one, other in itertools.combinations(cuts, 2) if one.steps[0][0] != other.steps[0][0])
        yield from itertools.islice(pairs, MOST_PAIRS)


def _width(altered: Altered) -> int:
    """What is kept in float32 first, there is little of it; then what is rounded to it."""
    step = altered.steps[0][1]
    return 0 if step in kept_narrow else 1 if step is rounded else 2


def _slight(one: Told) -> bool:
    """Whether the error is one that rounding to float32 can make, or there is none."""
    error, largest = np.abs(one.got.ravel() - one.want.ravel()), np.abs(one.want).max(initial=0.0)
    return not one.apart or float(error.max(initial=0.0)) <= SLIGHT * largest


def _plausible(spec: Spec, singles: Sequence[Altered], usual: Learnt, wrong: Collection[str]) -> list[Altered]:
    """The changes that leave alone what is right: the values where none is wrong, else the terms that are right.

    One at each place, then a second one at each, and so on, so that a purse that runs dry has left out no place.
    """
    if not wrong:
        return [one for one in singles if one.cuts or one.flows]
    right = frozenset().union(*(usual.terms[term] for term in spec.terms if term not in wrong))
    part_of = frozenset().union(*(usual.terms[term] for term in wrong))
    fits = [one for one in singles if all(place not in right for place, _ in one.steps)]
    if right:
        fits = [one for one in fits if all(place in part_of for place, _ in one.steps)]
    turns, turn_of = Counter[Place](), dict[str, int]()
    for one in fits:
        place = one.steps[0][0]
        turns[place] += 1
        turn_of[one.words] = turns[place]
    return sorted(fits, key=lambda one: (len(one.steps) > 1, turn_of[one.words]))


def _shaped(found: Attempt, what: Quantity, one: Told) -> Array | None:
    """The quantity in what a run gave, whose value is a row of numbers."""
    return what.of(found._replace(shapes=one.shown.want.shapes if one.shown.want else ()))


@lru_cache(maxsize=4096)
def every(places: tuple[tuple[Place, Constants], ...]) -> tuple[Altered, ...]:
    """Every single change at these places; of those that say the same one is kept."""
    found: dict[str, Altered] = {}
    for place, constants in places:
        for change in changes(place[2], constants):
            words = f"{text_of(place)} {change.words}"
            found.setdefault(words, Altered(words, ((place, change.other),), change.cuts, change.flows))
    return (*found.values(), *_alike(places), *moved_eps(places))


def moved_eps(places: Sequence[tuple[Place, Constants]]) -> Iterator[Altered]:
    """The eps of one step added to another one of its line: outside of a root, to the width in place of the height."""
    having = [place for place, args in places if place[2] == "add" and any(x and abs(x) <= LITTLE for x in args)]
    others = [place for place, _ in places if place[2] not in ("stop", "less")]
    for one, other in itertools.product(having, others):
        if one != other and line_of(one) == line_of(other) and one[0] is other[0]:
            words = f"{text_of(one)} has its eps moved to {text_of(other)}"
            yield Altered(words, ((one, without_eps), (other, with_eps_added)), False, False)


def _alike(places: tuple[tuple[Place, Constants], ...]) -> Iterator[Altered]:
    """The same change at every place of one operation: on one line, and in the whole formula."""
    alike: dict[tuple[str, str], dict[Place, Change]] = {}
    for place, constants in places:
        name = NAMES.get(place[2], place[2])
        for change, where in itertools.product(changes(place[2], constants), (line_of(place), "of the formula")):
            alike.setdefault((f"every {name} {where}", change.words), {})[place] = change
    for (which, words), them in alike.items():
        if len(them) > 1:
            steps, each = tuple((place, change.other) for place, change in them.items()), them.values()
            yield Altered(f"{which} {words}", steps, all(one.cuts for one in each), all(one.flows for one in each))
