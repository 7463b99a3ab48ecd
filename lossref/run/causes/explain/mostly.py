"""What removes most of the error, or all of it in most cases, where nothing removes all of it everywhere.

That has to be small beside the target's own numbers, too: of numbers that are nearly 0 whatever gives 0 is near.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Array
from lossref.run.causes.explain.quantity import Quantity, Told, reproduces, size
from lossref.run.causes.explain.variants.mistakes import Variant

MOST_LEFT, NOTHING = 0.05, 1e-9
MOST_CASES, AT_LEAST = 0.7, 4  # of the wrong ones, that are set right


def in_most(what: Quantity, told: Sequence[Told], known: Attempts, variants: Sequence[Variant]) -> Iterator[str]:
    """The variant that has the target's numbers in most of the cases that are wrong, and in all of the others."""
    wrong, right = [one for one in told if one.apart], [one for one in told if not one.apart]
    if len(wrong) < AT_LEAST:
        return
    usual = sorted(wrong, key=lambda one: size(one.shown.case))[len(wrong) // 2]
    tried = [one for one in variants if reproduces(one.on(what, known), [usual])]
    counts = [sum(reproduces(one.on(what, known), [case]) for case in wrong) for one in tried]
    for count, one in sorted(zip(counts, tried, strict=True), key=lambda pair: -pair[0]):
        if count >= max(AT_LEAST, MOST_CASES * len(wrong)) and reproduces(one.on(what, known), right):
            yield f"{what.words} {one.sentence}, in most of the cases that are wrong ({count} of {len(wrong)})"


def mostly(what: Quantity, told: Sequence[Told], known: Attempts, variants: Sequence[Variant]) -> Iterator[str]:
    """The variant that leaves the smallest share of the error, if that is small on every case."""
    shares = [(_left(what, told, known, one), number) for number, one in enumerate(variants)]
    share, number = min(shares, default=(1.0, 0))
    if share <= NOTHING:
        yield f"{what.words} {variants[number].sentence}"
    elif share <= MOST_LEFT:
        yield f"nearly {variants[number].sentence}: that leaves at most {share:.1g} of the error of {what.words}"


def _left(what: Quantity, told: Sequence[Told], known: Attempts, variant: Variant) -> float:
    """The largest share of the error that is left on any case; that of the first ones where it is too large already."""
    worst = 0.0
    for one in told:
        share = _share(one, variant.gives(what, one, known))
        worst = max(worst, share)
        if worst > MOST_LEFT:
            return worst
    return worst


def _share(one: Told, claimed: Array | None) -> float:
    if claimed is None or not claimed.size == one.got.size == one.want.size:
        return np.inf
    with np.errstate(all="ignore"):
        left, all_of_it = (np.abs(one.got.ravel() - x.ravel()) for x in (claimed, one.want))
        over = np.where(left <= one.room.ravel(), 0.0, left)
    whole = float(np.nan_to_num(all_of_it, nan=np.inf).max(initial=0.0))
    total = min(whole, float(np.nan_to_num(np.abs(one.got), nan=np.inf).max(initial=0.0)))
    rest = float(np.nan_to_num(over, nan=np.inf).max(initial=0.0))
    return rest / total if total else float(rest > 0)
