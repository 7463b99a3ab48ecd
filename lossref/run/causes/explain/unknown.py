"""What is known of a failure that nothing explains: which numbers, by how much, and on which cases only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from lossref.checks.attempts import at
from lossref.core.nouns import Array, Case, Params, Spec
from lossref.oracle.answers import answer
from lossref.oracle.tape import Tie, Uncertified
from lossref.run.causes.explain.decisions import decisions
from lossref.run.causes.explain.quantity import NONE, Quantity, Shown, Told, deciding, quantity_of, told
from lossref.run.causes.explain.whole.factors import same
from lossref.run.findings.words import NOTHING

BEGIN = f"{NOTHING}: "


def unexplained(
    spec: Spec, kind: str, shown: Sequence[Shown], settings: Mapping[str, Any] = NONE, dtype: str = "float64"
) -> str:
    """One sentence about the failures of a kind: which numbers are wrong, how far, where, and in how many cases."""
    what = quantity_of(spec, kind)
    cases = told(what, shown, settings, dtype)
    wrong, right = [one for one in cases if one.apart], [one for one in cases if not one.apart]
    if not wrong:
        said = f"{what.words} is right on each of the {len(cases)} that such a search compares, asked in {dtype}"
        return f"{NOTHING}; it takes other cases or another dtype than those: {said}"
    parts = [
        f"{what.words} is wrong in {len(wrong)} of {len(cases)} cases",
        *_sizes(wrong),
        *_columns(wrong),
        *_beside(what, [one.shown for one in wrong], settings, dtype),
        *decisions(spec, [one.shown for one in wrong]),
        *_only(spec, wrong, right, settings),
    ]
    return BEGIN + ", ".join(parts)


def _sizes(wrong: Sequence[Told]) -> Iterator[str]:
    """How got and want compare over all numbers that differ."""
    if any(one.got.size != one.want.size for one in wrong):
        yield f"with {wrong[0].got.size} numbers instead of {wrong[0].want.size}"
        return
    got, want = (np.concatenate([getattr(one, part).ravel()[_off(one)] for one in wrong]) for part in ("got", "want"))
    if not np.isfinite(got).all():
        yield "with numbers that are not finite"
    kept = np.isfinite(got) & np.isfinite(want) & (want != 0)
    if not kept.any():
        yield "where 0 is right" if not want.any() else "where no finite number is right"
        return
    ratios = got[kept] / want[kept]
    steady = float(np.median(ratios))
    if f"{ratios.min():.3g}" == f"{ratios.max():.3g}" == "1":
        yield f"by {np.abs(ratios - 1).max():.1g} of it at most"
    elif same(list(ratios), steady):
        yield f"got/want is {steady:.6g} in {'each of them' if len(wrong) > 1 else 'it'}"
    else:
        yield f"got/want between {ratios.min():.3g} and {ratios.max():.3g}"


def _off(one: Told) -> Array:
    """Which numbers of a case are off."""
    with np.errstate(all="ignore"):
        a, b = one.got.ravel(), one.want.ravel()
        off: Array = ~((np.abs(a - b) <= one.room.ravel()) | (a == b) | (np.isnan(a) & np.isnan(b)))
    return off


def _columns(wrong: Sequence[Told]) -> Iterator[str]:
    """Which places of the last axis, if not all."""
    shapes = {one.want.shape[-1] if one.want.ndim and one.got.size == one.want.size else 0 for one in wrong}
    width = shapes.pop()
    if shapes or not 1 < width <= 12:
        return
    off = np.concatenate([_off(one).reshape(-1, width) for one in wrong]).any(axis=0)
    if not off.all():
        yield f"at {', '.join(map(str, np.flatnonzero(off)))} of 0 to {width - 1} on the last axis only"


def _beside(what: Quantity, wrong: Sequence[Shown], settings: Params, dtype: str) -> Iterator[str]:
    """Whether value, gradients and the other terms are right on the same cases."""
    found = {other.words: told(other, wrong, settings, dtype) for other in what.others}
    right = [words for words, cases in found.items() if cases and not any(one.apart for one in cases)]
    off = [words for words, cases in found.items() if any(one.apart for one in cases)]
    if right:
        yield f"{_list(right)} right there"
    if off:
        yield f"{_list(off)} wrong, too"


def _list(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]} are" if len(words) > 1 else f"{words[0]} is"


# Where -----------------------------------------------------------------------------------------------


def _only(spec: Spec, wrong: Sequence[Told], right: Sequence[Told], settings: Params) -> Iterator[str]:
    """What all of the wrong cases have and none of the right ones: a tie, a family of input, a parameter."""
    if not right:
        yield "everywhere"
        return
    bad, good = ([one.shown.case for one in cases] for cases in (wrong, right))
    if _parts(bad, good, lambda case: _tied(spec, case, settings)):
        yield "only where numbers that are compared are equal"
        return
    flags = [flag for flag in bad[0].flags if "=" in flag and _parts(bad, good, partial(_flagged, flag))]
    yield from (f"only where {flag.replace('=', ' is ')}" for flag in flags[:2])
    yield from (f"only at {name} = {value!r}" for name, value in deciding(wrong, right))


def _flagged(flag: str, case: Case) -> bool:
    return flag in case.flags


def _parts(bad: Sequence[Case], good: Sequence[Case], holds: Callable[[Case], bool]) -> bool:
    return all(holds(case) for case in bad) and not any(holds(case) for case in good)


def _tied(spec: Spec, case: Case, settings: Params) -> bool:
    try:
        return "kink" in case.flags or answer(spec, at(case, tuple(settings.items()))).ties > 0
    except (Tie, Uncertified):
        return False
