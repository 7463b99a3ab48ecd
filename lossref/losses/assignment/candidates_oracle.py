"""Which anchors an object may have at all, and its metric there, in scalars: the rules on which assigners differ.

Nothing here carries gradient. Source: spec/20-assignment.md sections 1.2, 1.10 and 3, D2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lossref.core.arithmetic import Arithmetic

INSIDE = 1e-9
Found = dict[int, tuple[Any, Any]]  # anchor -> metric t and overlap o


def oracle_candidates(
    m: Arithmetic, anchors: Sequence[Any], box: Any, settings: Any, rules: Any, region: Callable[..., Any]
) -> list[int]:
    """Anchors that an object may have."""
    (cx, cy), holds = region(m, box, settings, rules)
    inside = [a for a, point in enumerate(anchors) if holds(point[0], point[1])]
    if getattr(rules, "levels", "all") == "by size":
        inside = oracle_on_level(m, anchors, box, inside)
    if rules.reach is not None:
        limits = {a: rules.reach * (anchors[a][2] if len(anchors[a]) > 2 else settings.stride[0]) for a in inside}
        inside = [a for a in inside if m.abs(cx - anchors[a][0]) < limits[a] and m.abs(cy - anchors[a][1]) < limits[a]]
    if rules.at_least_one == "nearest" and not inside:
        away = [(cx - x) * (cx - x) + (cy - y) * (cy - y) for x, y, *_ in anchors]
        inside = [min(range(len(anchors)), key=lambda a: float(away[a].value))]
        oracle_before(m, [away[a] for a in range(len(anchors)) if a != inside[0]], away[inside[0]])
    return inside


def oracle_on_level(m: Arithmetic, anchors: Sequence[Any], box: Any, inside: list[int]) -> list[int]:
    """Of anchors (x, y, stride) inside a box xyxy those on whose level it is 2 to 12 cells large; else all of them."""
    strides = [point[2] for point in anchors]
    area = (box[2] - box[0]) * (box[3] - box[1])
    kept = []
    for a in inside:
        large = strides[a] == min(strides) or not m.less(area, 4.0 * strides[a] ** 2)
        small = strides[a] == max(strides) or not m.less(m.number(144.0 * strides[a] ** 2), area)
        kept += [a] if large and small else []
    return kept or inside


def oracle_before(m: Arithmetic, others: Sequence[Any], chosen: Any) -> None:
    """Make sure that none of the others is below the chosen number."""
    for other in others:
        if m.less(other, chosen):
            m.tie("the order changes within the certified radius")


def oracle_grown(m: Arithmetic, side: Any, settings: Any, rules: Any) -> Any:
    """A side as the search for candidates sees it."""
    smallest, *others = settings.stride
    counts_as = others[0] if others and rules.small_boxes != "stride0" else smallest
    limit = {"off": None, "raised": counts_as}.get(rules.small_boxes, smallest)
    return m.number(counts_as) if limit is not None and m.less(side, limit) else side


def oracle_same(m: Arithmetic, one: Any, other: Any) -> bool:
    """Whether two boxes are exactly equal, so that their overlaps are, too."""
    return one is not None and all(x.value == y.value for x, y in zip(one, other, strict=True))


def oracle_served(m: Arithmetic, own: Found, measured: Callable[[Sequence[int]], Found], anchors: int) -> Found:
    """The candidates, or the best of all anchors instead, if that has a metric and none of them has."""
    if any(m.less(m.number(0.0), t) for t, _ in own.values()):
        return own
    every = measured(range(anchors))
    best = max(every, key=lambda a: float(every[a][0].value))
    if not m.less(m.number(0.0), every[best][0]):
        return own
    if not all(m.less(t, every[best][0]) for a, (t, _) in every.items() if a != best):
        m.tie("several anchors are equally good")
    return {best: every[best]}


def oracle_measured(
    m: Arithmetic,
    one: tuple[int, Any],
    at: Sequence[int],
    score: Callable[[int, int], Any],
    box: Callable[[int], Any],
    given: tuple[Any, ...],
    known: list[tuple[Any, dict[int, Any]]],
) -> Found:
    """Metric and overlap of an object at these anchors; `known` keeps the overlaps, which equal boxes share."""
    _, settings, rules, _, match = given
    label, truth = one
    overlaps = next((overlaps for other, overlaps in known if oracle_same(m, other, truth)), {})
    known.append((truth, overlaps))

    for anchor in at:
        if anchor not in overlaps:
            overlaps[anchor] = m.stop(match(m, truth, box(anchor), rules))
    return {a: (oracle_metric(m, score(a, label), overlaps[a], settings), overlaps[a]) for a in at}


def oracle_metric(m: Arithmetic, score: Any, overlap: Any, settings: Any) -> Any:
    """t = z^alpha o^beta."""
    return m.pow(m.stop(score), settings.alpha) * m.pow(overlap, settings.beta)
