"""The number that a parameter would have to be: found on one case, to be held against the others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Params, Target
from lossref.run.causes.explain.quantity import Quantity, Told
from lossref.run.causes.explain.variants.mistakes import Variant

SCALES = (0.0, 1e-3, 0.1, 0.25, 0.5, 0.8, 1.25, 2.0, 4.0, 10.0, 1e3)
HALVINGS = 45


def fitted(
    what: Quantity, target: Target, told: Sequence[Told], known: Attempts, settings: Params
) -> Iterator[Variant]:
    """The reference at a number in between, for every parameter that is one and that the target does not take."""
    usable = [one for one in told if one.apart and one.got.size == one.want.size]
    if not usable:
        return
    apart = max(usable, key=_clearness)
    for name, param in what.spec.params.items():
        stands = settings.get(name, target.fixed.get(name, param.default))
        if name in target.accepts or not isinstance(stands, float) or not stands:
            continue
        for number in _solved(_gap(what, known, apart, settings, name), stands):
            yield Variant(f"agrees when {name} is {number:.6g}", known.own, {**settings, name: number})


def _clearness(one: Told) -> float:
    """How far target and truth are apart, over what rounding may do: the more, the more digits can be told."""
    with np.errstate(all="ignore"):
        off = np.abs(one.got.ravel() - one.want.ravel()) / one.room.ravel()
    return float(off[np.isfinite(off)].max(initial=0.0))


def _gap(what: Quantity, known: Attempts, one: Told, settings: Params, name: str) -> Callable[[float], float]:
    """How far the reference is from the target where target and truth differ most, by the parameter."""
    place = int(np.nanargmax(np.abs(one.got.ravel() - one.want.ravel())))

    def gap(number: float) -> float:
        found = known.of(known.own, one.shown.case, {**settings, name: number})
        numbers = None if found is None else what.of(found)
        fits = numbers is not None and numbers.size == one.got.size
        return float(numbers.ravel()[place] - one.got.ravel()[place]) if numbers is not None and fits else math.nan

    return gap


def _solved(gap: Callable[[float], float], stands: float) -> Iterator[float]:
    """The zeros of the gap between two of the scales, with few digits where that is near."""
    ends = [(stands * scale, gap(stands * scale)) for scale in SCALES]
    for (low, below), (high, above) in itertools.pairwise(ends):
        if below * above < 0:
            yield _short(_halved(gap, low, high, below))


def _halved(gap: Callable[[float], float], low: float, high: float, below: float) -> float:
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if gap(middle) * below > 0 else (low, middle)
    return (low + high) / 2


def _short(number: float) -> float:
    near = float(f"{number:.4g}")
    return near if math.isclose(near, number, rel_tol=1e-6) else number
