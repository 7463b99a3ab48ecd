"""Whether a part is computed in a narrower type: then its answers stay put, or jump, where inputs move a little.

How fast an answer changes is the same over small and over smaller steps, unless it is rounded on the way to a type that
cannot resolve the smaller ones. Another eps, or another formula, changes it smoothly; so this asks the target itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Case, Params, Spec, Target
from lossref.run.causes.explain.quantity import SPARE, Gives, Quantity, Told, size

SMALL, LARGE = 2.0**-6, 2.0**5  # steps below and above what the type resolves, in its units
TURNS, MOST_CASES = 2, 4
UNEVEN, MORE_UNEVEN = 0.01, 6.0
OWED = SPARE * 8 * 2.0**-53  # of the size of what is computed: the room of a claim


class Narrow(NamedTuple):
    """A type: its unit, and between which errors, over the size of what is computed, its rounding lies."""

    name: str
    unit: float
    least: float
    most: float


TYPES = (
    Narrow("float32", 2.0**-24, 2.0**-50, 2.0**-17),
    Narrow("float16 or bfloat16", 2.0**-11, 2.0**-16, 2.0**-8),
    Narrow("float16 or bfloat16", 2.0**-8, 2.0**-13, 2.0**-6),
    Narrow("bfloat16", 2.0**-8, 2.0**-6, 2.0**-3),
)


def shows(
    what: Quantity, target: Target, told: Sequence[Told], known: Attempts, settings: Params, narrow: Narrow
) -> bool:
    """Whether the answers of the target move as those of an implementation that computes a part in the type."""
    apart = sorted((one for one in told if one.apart), key=_usual)[:MOST_CASES]
    looked_at = (what, Quantity(what.spec)) if what.wrt else (what,)
    return any(_staircases(one, target, apart, known, settings, narrow) for one in looked_at)


def _staircases(
    what: Quantity, target: Target, told: Sequence[Told], known: Attempts, settings: Params, narrow: Narrow
) -> bool:
    found: list[bool] = []
    for one in told:
        mine = unevenness(what, target, one.shown.case, known, {}, narrow)
        own = unevenness(what, known.own, one.shown.case, known, settings, narrow)
        if mine is not None and own is not None:
            found.append(mine > UNEVEN and mine > MORE_UNEVEN * own)
    return sum(found) * 2 > len(found)


def right_to(narrow: Narrow, told: Sequence[Told], claimed: Gives) -> bool:
    """Whether every error is one that rounding in the type can make, and the largest as large as it makes them."""
    worst = 0.0
    for one in told:
        worst = max(worst, _error(one, claimed))
        if worst > narrow.most:
            return False
    return worst >= narrow.least


def _usual(one: Told) -> tuple[bool, int]:
    """Drawn cases first, for corners lie on branches; then the small ones."""
    case = one.shown.case
    return not any("=" in flag for flag in case.flags), size(case)


def _error(one: Told, claimed: Gives) -> float:
    """The largest error over the size of what is computed, which the room of a claim tells."""
    want, room = claimed(one), one.room.ravel() / OWED
    if want is None or want.size != one.got.size or room.size != want.size:
        return np.inf
    with np.errstate(all="ignore"):
        error = np.abs(one.got.ravel() - want.ravel()) / room
    return float(np.nan_to_num(error[np.isfinite(room) & (room > 0)], nan=np.inf).max(initial=0.0))


@lru_cache(maxsize=1024)
def moved(spec: Spec, case: Case, step: float, turn: int) -> Case:
    """The case with every differentiable input scaled by about 1 + step; one object, so that its answer is found."""
    names = spec.wrt or tuple(name for name, domain in spec.inputs.items() if not domain.dtype)
    shares = np.random.default_rng([turn, 7]).uniform(0.3, 1, len(names))
    scaled = {name: case.inputs[name] * (1 + step * share) for name, share in zip(names, shares, strict=True)}
    return replace(case, inputs={**case.inputs, **scaled})


def moves(spec: Spec, case: Case) -> Iterator[tuple[float, int, Case]]:
    """Every step and turn by which a case is moved, with the case that it is moved to."""
    for step in dict.fromkeys(one.unit * by for one in TYPES for by in (SMALL, LARGE)):
        for turn in range(TURNS):
            yield step, turn, moved(spec, case, step, turn)


def unevenness(
    what: Quantity, who: Target, case: Case, known: Attempts, settings: Params, narrow: Narrow
) -> float | None:
    """|small step scaled up - large step| over |large step|, the middle of some; None where nothing moves."""
    found = [_uneven(what, who, case, known, settings, narrow.unit, turn) for turn in range(TURNS)]
    kept = [number for number in found if number is not None]
    return float(np.median(kept)) if kept else None


def _uneven(
    what: Quantity, who: Target, case: Case, known: Attempts, settings: Params, unit: float, turn: int
) -> float | None:
    cases = (case, moved(what.spec, case, unit * SMALL, turn), moved(what.spec, case, unit * LARGE, turn))
    attempts = [known.of(who, one, settings) for one in cases]
    answers = [what.of(attempt) for attempt in attempts if attempt is not None]
    numbers = [answer for answer in answers if answer is not None and np.isfinite(answer).all()]
    if len(numbers) < len(cases) or len({answer.size for answer in numbers}) > 1:
        return None
    here, small, large = numbers
    change = large - here
    scale = float(np.abs(change).max(initial=0.0))
    return float(np.abs((small - here) * (LARGE / SMALL) - change).max()) / scale if scale else None
