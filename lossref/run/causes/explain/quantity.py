"""What an explanation is held against: the quantity that failed, target against truth, on every case that is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from lossref.checks.attempts import Attempt, at
from lossref.core.nouns import Array, Case, Params, Spec
from lossref.oracle.budgets import gradient_budget, value_budget
from lossref.oracle.tape import Tie, Uncertified

NONE: Params = MappingProxyType({})
OWN, FAR = 2.0**-36, 4.0
SPARE = 4.0  # budgets that a claim may be off: target and claim both round


def size(case: Case) -> int:
    """How many numbers a case has."""
    return sum(array.size for array in case.inputs.values())


class Shown(NamedTuple):
    """What target and truth give on one case, in float64; None where one of them raises."""

    case: Case
    got: Attempt | None
    want: Attempt | None


class Quantity(NamedTuple):
    """One output, one gradient, or, with neither, the whole value of a reply."""

    spec: Spec
    term: str = ""
    wrt: str = ""

    @property
    def words(self) -> str:
        """What it is called in a sentence."""
        return f"the gradient to {self.wrt}" if self.wrt else (self.term or "the value")

    @property
    def others(self) -> list[Quantity]:
        """Every other term and gradient of the spec."""
        terms = [Quantity(self.spec, term=name) for name in self.spec.terms]
        gradients = [Quantity(self.spec, wrt=name) for name in self.spec.wrt]
        return [other for other in (*terms, *gradients) if other != self]

    def of(self, attempt: Attempt) -> Array | None:
        """Its numbers in what an implementation gave; None where that has none."""
        if self.wrt:
            place = self.spec.wrt.index(self.wrt)
            return attempt.gradients[place] if place < len(attempt.gradients) else None
        if not self.term or len(self.spec.terms) == 1:
            return attempt.value
        place = self.spec.terms.index(self.term)
        parts = cut(attempt, attempt.value)
        return parts[place] if len(parts) == len(self.spec.terms) else None


class Told(NamedTuple):
    """The quantity on one case: of the target, in truth, and how far off a claim may be, number by number."""

    shown: Shown
    got: Array
    want: Array
    room: Array

    @property
    def apart(self) -> bool:
        """Whether the truth is something else here."""
        return not close(self.got, self.want, self.room)


Setting = tuple[tuple[str, Any], ...]
Gives = Callable[[Told], Array | None]


def quantity_of(spec: Spec, kind: str) -> Quantity:
    """What a kind of failure ("value iou", "gradient pred", "no gradient pred", "shape") is about."""
    what, _, name = kind.rpartition(" ")
    if name in spec.wrt and what in ("gradient", "no gradient", "size of gradient"):
        return Quantity(spec, wrt=name)
    return Quantity(spec, term=name if name in spec.terms else "")


def cut(attempt: Attempt, numbers: Array) -> list[Array]:
    """Numbers of several terms in a row, term by term."""
    if len(attempt.shapes) <= 1 or numbers.size != sum(map(_count, attempt.shapes)):
        return [numbers]
    ends = np.cumsum([_count(shape) for shape in attempt.shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(numbers.ravel(), ends), attempt.shapes, strict=True)]


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def told(what: Quantity, shown: Sequence[Shown], settings: Mapping[str, Any], dtype: str = "float64") -> list[Told]:
    """The quantity on every case on which target and truth have it, and rounding can be bounded."""
    return list(_told(what, shown, tuple(settings.items()), dtype))


def _told(what: Quantity, shown: Sequence[Shown], settings: Setting, dtype: str) -> Iterator[Told]:
    for one in shown:
        if one.got is None or one.want is None:
            continue
        got, want = what.of(one.got), what.of(one.want)
        room = room_of(what, at(one.case, settings), one.want, dtype)
        if got is not None and want is not None and room is not None:
            yield Told(one, got, want, SPARE * np.broadcast_to(room, want.shape) + _own_rounding(got, want))


def _own_rounding(got: Array, want: Array) -> float:
    """What the target's numbers owe themselves where they are far larger than the right ones."""
    mine, right = (float(np.abs(x[np.isfinite(x)]).max(initial=0.0)) for x in (got, want))
    return OWN * mine if mine > FAR * right else 0.0


def room_of(what: Quantity, case: Case, want: Attempt, dtype: str) -> Array | None:
    """How far off rounding may make the quantity; None where that cannot be said."""
    try:
        if what.wrt:
            return gradient_budget(what.spec, case, dtype)[what.wrt]
        flat = value_budget(what.spec, case, dtype).ravel()
    except (Tie, Uncertified):
        return None
    flat = flat if flat.size == want.value.size else np.full(want.value.size, flat.max(initial=0.0))
    return what.of(Attempt(flat.reshape(want.value.shape), (), want.shapes))


def close(got: Array, want: Array, room: Array | float) -> bool:
    """Whether two arrays have the same numbers, whatever their shape; whether NaN or infinity is no matter."""
    if got.size != want.size:
        return False
    a, b = got.ravel(), want.ravel()
    limit = np.asarray(room).ravel()
    limit = limit if limit.size in (1, a.size) else np.asarray(limit.max(initial=0.0))
    with np.errstate(all="ignore"):
        fits = (np.abs(a - b) <= limit) | (a == b) | ~(np.isfinite(a) | np.isfinite(b))
    return bool(fits.all())


def deciding(wrong: Sequence[Told], right: Sequence[Told]) -> Iterator[tuple[str, Any]]:
    """The parameters that have one value on all cases that are wrong, and other ones where it is right."""
    for name, value in wrong[0].shown.case.params.items() if wrong and right else ():
        bad, good = ([one.shown.case.params.get(name) == value for one in cases] for cases in (wrong, right))
        if all(bad) and not any(good):
            yield name, value


def reproduces(gives: Gives, told: Iterable[Told]) -> bool:
    """Whether a claim has the target's numbers on every case. That the truth does not is asked beforehand."""
    return all(_fits(gives(one), one) for one in told)


def _fits(claimed: Array | None, one: Told) -> bool:
    return claimed is not None and close(one.got, claimed, one.room)
