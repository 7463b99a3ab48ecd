"""What is different between two implementations: case by case, and the setting that one follows and the other does not.

Neither is judged. Both are asked the same cases, whatever the specification says of them, and the reference only lends
its settings to name what moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from lossref.checks.attempts import Attempts, at
from lossref.checks.cases.kinds import of_kind
from lossref.checks.material import fixed_of, has_kind
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.command import CannotAnswer
from lossref.hosts.endings import TargetEnded
from lossref.hosts.probe import Result, TargetRaised, applicable, by_term, call
from lossref.run.causes.settings import found as dialects

KINDS = ("corner", "rare", "small", "single", "empty", "varied", "bulk")
MOST = {False: 400, True: 80}  # cases of an elementary loss, of a composite
MOST_NAMED = {False: 60, True: 12}  # cases on which a setting is looked for: of these half differ, if so many do
EXACT, ROUGH = 2.0**-40, 2.0**-18  # of the size of a quantity: what orders of adding make of it, in either dtype
Given = Mapping[str, Array] | str
Apart = tuple[str, float, str, str]  # a quantity, how far apart it is, and what both give of it
Asked = tuple[Case, tuple[Apart, ...]]


@dataclass(frozen=True)
class Difference:
    """One quantity that is another one: on how many of the cases, how far apart at most, and the first case."""

    quantity: str
    cases: int
    of: int
    apart: float
    first: Case
    one: str
    other: str


@dataclass(frozen=True)
class Compared:
    """Two implementations of one spec, beside each other.

    settings: (parameter, value of the first, value of the second) for what they follow, where that is named
    reason:   why they cannot be compared; empty where they were
    smallest: of the cases that tell them apart the one with the fewest numbers, if there is any
    """

    spec: str
    cases: int
    differences: tuple[Difference, ...] = ()
    settings: tuple[tuple[str, Any, Any], ...] = ()
    reason: str = ""
    smallest: Case | None = None

    @property
    def alike(self) -> bool:
        """Whether everything that was asked is the same."""
        return not self.reason and not self.differences


def compared(spec: Spec, one: Target, other: Target, seed: int = 0, tier: str = "quick") -> Compared:
    """Put the cases of a spec to both, and name the settings that are behind what differs."""
    row, found = _asked(spec, one, other, seed, tier)
    return replace(row, settings=_settings(spec, (one, other), found)) if row.differences else row


def differing(spec: Spec, one: Target, other: Target, seed: int = 0, tier: str = "quick") -> Compared:
    """The same without the settings, which are dear to find."""
    return _asked(spec, one, other, seed, tier)[0]


def _asked(spec: Spec, one: Target, other: Target, seed: int, tier: str) -> tuple[Compared, list[Asked]]:
    lacking = [f"{side.label}: {side.unsupported}" for side in (one, other) if side.unsupported]
    if lacking:
        return Compared(spec.name, 0, reason=lacking[0]), []
    cases = list(islice(_cases(spec, one, other, seed, tier), MOST[spec.composite]))
    if not cases:
        return Compared(spec.name, 0, reason="no case can be put to both"), []
    try:
        found = [(case, tuple(_apart(*_given(spec, (one, other), case)))) for case in cases]
    except (TargetEnded, CannotAnswer) as error:
        return Compared(spec.name, 0, reason=str(error)), []
    apart = [case for case, parts in found if parts]
    smallest = min(apart, key=_numbers, default=None)
    return Compared(spec.name, len(cases), tuple(_differences(found)), smallest=smallest), found


def _numbers(case: Case) -> tuple[bool, int]:
    """How many numbers a case has; one of none shows nothing, and comes last."""
    sizes = [array.size for array in case.inputs.values()]
    return not all(sizes), sum(sizes)


def _cases(spec: Spec, one: Target, other: Target, seed: int, tier: str) -> Iterator[Case]:
    """Legal cases that both can be asked, at the settings that they share."""
    fixed = fixed_of(spec, {**one.fixed, **other.fixed})
    for kind in KINDS:
        for case in of_kind(spec, kind, tier, seed, fixed) if has_kind(spec, kind) else ():
            if spec.why_not(case) is None and all(applicable(spec, side, _own(case, side)) for side in (one, other)):
                yield case


def _own(case: Case, target: Target) -> Case:
    """The case at what the target implements, which is no difference that anybody is told of here."""
    return at(case, tuple(target.fixed.items()))


def _given(spec: Spec, sides: Sequence[Target], case: Case) -> tuple[Given, Given, float]:
    """What both give, and what rounding may make of it: in float32 where one cannot answer in float64."""
    exact = [_answer(spec, side, case, "float64") for side in sides]
    if any(isinstance(one, str) for one in exact):
        rough = [_answer(spec, side, case, "float32") for side in sides]
        if not any(isinstance(one, str) for one in rough):
            return rough[0], rough[1], ROUGH
    return exact[0], exact[1], EXACT


def _answer(spec: Spec, target: Target, case: Case, dtype: str) -> Given:
    """Every quantity by its name, or what was raised."""
    try:
        result = call(spec, target, _own(case, target), dtype, grad=bool(spec.wrt))
    except TargetRaised as error:
        return f"raises {str(error).partition(':')[0]}"
    return dict(_quantities(spec, result))


def _quantities(spec: Spec, result: Result) -> Iterator[tuple[str, Array]]:
    terms = by_term(result)
    yield from zip(spec.terms, terms, strict=True) if len(terms) == len(spec.terms) else (("value", result.value),)
    for name in spec.wrt if result.gradient else ():
        slope = result.gradient.get(name)
        yield f"d/d{name}", np.zeros(0) if slope is None else slope


def _differences(found: Sequence[Asked]) -> Iterator[Difference]:
    """The quantities that differ, in the order in which they are met."""
    told = dict[str, list[tuple[float, Case, str, str]]]()
    for case, parts in found:
        for quantity, apart, mine, theirs in parts:
            told.setdefault(quantity, []).append((apart, case, mine, theirs))
    for quantity, rows in told.items():
        _, case, mine, theirs = rows[0]
        yield Difference(quantity, len(rows), len(found), max(row[0] for row in rows), case, mine, theirs)


def _apart(one: Given, other: Given, room: float) -> Iterator[Apart]:
    if isinstance(one, str) or isinstance(other, str):
        words = [side if isinstance(side, str) else "answers" for side in (one, other)]
        if words[0] != words[1]:
            yield "exceptions", np.inf, words[0], words[1]
        return
    for quantity in dict.fromkeys((*one, *other)):
        mine, theirs = one.get(quantity, np.zeros(0)), other.get(quantity, np.zeros(0))
        if mine.shape != theirs.shape:
            yield quantity, np.inf, _shape(mine), _shape(theirs)
        elif far := _relative(mine, theirs, room):
            at = int(np.nanargmax(np.where(np.isnan(mine) != np.isnan(theirs), np.inf, np.abs(mine - theirs)).ravel()))
            yield quantity, far, f"{mine.ravel()[at]:.9g}", f"{theirs.ravel()[at]:.9g}"


def _shape(array: Array) -> str:
    return f"shape {array.shape}" if array.size or array.ndim != 1 else "nothing"


def _relative(one: Array, other: Array, room: float) -> float:
    """How far apart they are, over the largest number of both; 0 where that is rounding."""
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    if same.all():
        return 0.0
    finite = np.isfinite(one) & np.isfinite(other)
    if not (same | finite).all():
        return float("inf")
    size = max(np.abs(one[finite]).max(initial=0.0), np.abs(other[finite]).max(initial=0.0))
    far = float(np.abs(np.where(same, 0.0, one - other)).max() / size)
    return far if far > room else 0.0


def _settings(spec: Spec, sides: tuple[Target, Target], found: Sequence[Asked]) -> tuple[tuple[str, Any, Any], ...]:
    """The parameters of which each follows another value, on cases that differ and on others."""
    differing = [case for case, parts in found if parts and not case.id.startswith("empty")]
    usual = [case for case, parts in found if not parts and not case.id.startswith(("empty", "varied", "bulk"))]
    most = MOST_NAMED[spec.composite]
    pool = [*differing[: max(most // 2, most - len(usual))], *usual][:most]
    known = Attempts(spec)
    one, other = ({**side.fixed, **dialects.found(spec, side, pool, known)} for side in sides)
    names = dict.fromkeys((*one, *other))
    default = spec.defaults()
    pairs = ((name, one.get(name, default[name]), other.get(name, default[name])) for name in names)
    return tuple(row for row in pairs if row[1] != row[2])
