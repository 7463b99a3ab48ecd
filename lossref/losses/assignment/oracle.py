"""The task-aligned assigners in scalars, one image at a time; nothing here carries gradient.

Where the specification calls the outcome undefined (which of equal metrics are among the top k) there is no
answer. Only anchors inside an object are looked at. Source: spec/20-assignment.md sections 1 and 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from types import SimpleNamespace
from typing import Any

from lossref.core.arithmetic import Arithmetic
from lossref.losses.assignment.candidates_oracle import (
    INSIDE,
    Found,
    oracle_candidates,
    oracle_grown,
    oracle_measured,
    oracle_served,
)
from lossref.losses.overlap.ciou import oracle as oracle_ciou
from lossref.losses.overlap.pairs import oracle_overlap, oracle_sides
from lossref.losses.overlap.probiou import oracle_probiou


def oracle_assign(
    m: Arithmetic,
    score: Callable[[int, int], Any],
    box: Callable[[int], Any],
    anchors: Sequence[tuple[Any, ...]],
    objects: Sequence[tuple[int, Any] | None],
    settings: Any,
    rules: Any,
    geometry: tuple[Callable[..., Any], ...] | None = None,
) -> list[tuple[int, int, Any]]:
    """Positives (anchor, object, target score) of one image, by anchor.

    `score(anchor, class)` is a probability and `box(anchor)` a predicted box in pixels, asked for at candidates
    only. `anchors` are (x, y) or (x, y, stride) in pixels, `objects` (class, box), None for padding. `settings`
    has topk, topk2, alpha, beta, eps, stride, and `rules` the fields of Rules. `geometry`: see `UPRIGHT`.
    """
    topk, topk2, total = settings.topk, settings.topk2 or settings.topk, len(anchors)
    given = (anchors, settings, rules, *(geometry or UPRIGHT))
    known: list[tuple[Any, dict[int, Any]]] = []  # box of an object, and its overlaps
    found = [oracle_found(m, one, score, box, given, known) if one else {} for one in objects]
    picks = [oracle_picks(m, own, topk, total, rules.zero_metric == "dropped") for own in found]
    claimed = sorted(set().union(*picks))
    if rules.conflict == "overlapping":
        several = [a for a in claimed if sum(a in own for own in picks) > 1]
        every = [oracle_measured(m, one, several, score, box, given, known) if one else {} for one in objects]
        found = [{**there, **own} for there, own in zip(every, found, strict=True)]
    owner = {a: oracle_owner(m, a, picks, found, rules.conflict) for a in claimed}
    if topk2 != topk:
        kept = [oracle_picks(m, oracle_share(m, g, owner, found), topk2, total, False) for g in range(len(objects))]
        owner = {a: g for a, g in owner.items() if a in kept[g]}
    shares = [oracle_share(m, g, owner, found) for g in range(len(objects))]
    return [(a, g, oracle_target(m, a, shares[g], settings.eps)) for a, g in owner.items()]


def oracle_found(
    m: Arithmetic,
    one: tuple[int, Any],
    score: Callable[[int, int], Any],
    box: Callable[[int], Any],
    given: tuple[Any, ...],
    known: list[tuple[Any, dict[int, Any]]],
) -> Found:
    """Metric and overlap of an object at its candidates."""
    anchors, settings, rules, region, _ = given

    def measured(at: Sequence[int]) -> Found:
        return oracle_measured(m, one, at, score, box, given, known)

    own = measured(oracle_candidates(m, anchors, one[1], settings, rules, region))
    return oracle_served(m, own, measured, len(anchors)) if rules.at_least_one == "best" else own


def oracle_upright_region(m: Arithmetic, box: Any, settings: Any, rules: Any) -> tuple[Any, Callable[..., bool]]:
    """Centre of a box xyxy, and whether a point lies inside it."""
    x1, y1, x2, y2 = box
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    rx, ry = oracle_grown(m, x2 - x1, settings, rules) / 2, oracle_grown(m, y2 - y1, settings, rules) / 2
    edges = ((0, cx - rx, True), (0, cx + rx, False), (1, cy - ry, True), (1, cy + ry, False))
    inside, closed = m.number(INSIDE), rules.edge == "closed"

    def contains(*point: Any) -> bool:
        depths = (point[axis] - edge if low else edge - point[axis] for axis, edge, low in edges)
        return all(not m.less(depth, 0.0) if closed else m.less(inside, depth) for depth in depths)

    return (cx, cy), contains


def oracle_upright_match(m: Arithmetic, truth: Any, pred: Any, rules: Any) -> Any:
    """max(0, CIoU) or max(0, IoU) of two boxes xyxy."""
    a, b = oracle_sides(m, truth, False, 1e-7), oracle_sides(m, pred, False, 1e-7)
    value = oracle_ciou(m, a, b, 1e-7) if rules.overlap == "ciou" else oracle_overlap(m, a, b, 1e-7)[0]
    return m.clamp(value, low=0.0)


UPRIGHT = (oracle_upright_region, oracle_upright_match)


def oracle_picks(m: Arithmetic, own: Found, k: int, anchors: int, drop: bool) -> set[int]:
    """The k largest metrics; undefined if metrics of 0 are needed to fill up, and not all anchors are taken."""
    positive = [a for a, (t, _) in own.items() if t.value > 0]  # for certain
    if len(positive) >= k:
        return oracle_top(m, own, list(own), k)
    if drop:
        return {a for a, (t, _) in own.items() if m.less(m.number(0.0), t)}
    if k < anchors and len(positive) < len(own):
        m.tie("which anchors with metric 0 fill up the top k is undefined")
    return set(own)


def oracle_top(m: Arithmetic, own: Found, names: Sequence[int], k: int) -> set[int]:
    """The k names with the largest metric, each larger than every other one's."""
    order = sorted(names, key=lambda a: -float(own[a][0].value))
    for a in order[:k]:
        for b in order[k:]:
            if not m.less(own[b][0], own[a][0]):
                m.tie("equal metrics at the edge of the top k")
    return set(order[:k])


def oracle_owner(m: Arithmetic, anchor: int, picks: Sequence[set[int]], found: Sequence[Found], conflict: str) -> int:
    """The object that gets an anchor: the largest overlap among those that the rule admits, first of equals."""
    claims = [g for g, own in enumerate(picks) if anchor in own]
    if len(claims) == 1:
        return claims[0]
    rivals = claims if conflict == "picked" else [g for g, own in enumerate(found) if anchor in own]
    best = rivals[0]
    for g in rivals[1:]:
        best = g if oracle_larger(m, found[g][anchor][1], found[best][anchor][1]) else best
    if conflict == "all" and not m.less(m.number(0.0), found[best][anchor][1]):
        return 0
    return best


def oracle_larger(m: Arithmetic, one: Any, other: Any) -> bool:
    """Whether one > other; a number is not larger than itself."""
    return one is not other and m.less(other, one)


def oracle_share(m: Arithmetic, number: int, owner: dict[int, int], found: Sequence[Found]) -> Found:
    """Metric and overlap at the anchors that an object holds; 0 where the anchor is no candidate of it."""
    zero = m.number(0.0)
    return {a: found[number].get(a, (zero, zero)) for a, g in owner.items() if g == number}


def oracle_target(m: Arithmetic, anchor: int, share: Found, eps: float) -> Any:
    """t O / (T + eps), without gradient."""
    top, overlap = (reduce(m.max, column) for column in zip(*share.values(), strict=True))
    return m.stop(share[anchor][0] * overlap / (top + eps))


# The dense answer --------------------------------------------------------------------------------------


def oracle_dense(
    m: Arithmetic,
    pd_scores: Any,
    pd_bboxes: Any,
    anc_points: Any,
    gt_labels: Any,
    gt_bboxes: Any,
    mask_gt: Any,
    *,
    geometry: tuple[Callable[..., Any], ...],
    **params: Any,
) -> tuple[Any, ...]:
    """Labels, boxes, scores, mask and index of all images."""
    settings, images = SimpleNamespace(**params), []
    for scores, boxes, labels, truth, real in zip(pd_scores, pd_bboxes, gt_labels, gt_bboxes, mask_gt, strict=True):
        objects = [(label[0], box) if there[0] else None for label, box, there in zip(labels, truth, real, strict=True)]
        score, box = oracle_rows(m, scores), oracle_rows(m, boxes)
        found = oracle_assign(m, score, box, anc_points, objects, settings, settings, geometry)
        given = {a: (g, target) for a, g, target in found}
        images.append([oracle_anchor(m, given.get(a), labels, truth, boxes[a], settings) for a in range(len(boxes))])
    return tuple(tuple(tuple(one[term] for one in image) for image in images) for term in range(5))


def oracle_rows(m: Arithmetic, rows: Any) -> Callable[..., Any]:
    """Access to rows[i] or rows[i][j]."""
    return lambda *at: rows[at[0]][at[1]] if len(at) == 2 else rows[at[0]]


def oracle_anchor(m: Arithmetic, given: Any, labels: Any, truth: Any, like: Any, settings: Any) -> tuple[Any, ...]:
    """What one anchor gets: the data of object 0 if it is background, constants if there is no object."""
    zero = m.number(0.0)
    if not labels:
        return settings.num_classes, (zero,) * len(like), (zero,) * settings.num_classes, 0, 0
    number, target = given or (0, zero)
    label = max(labels[number][0], 0)
    scores = tuple(target if c == label and given else zero for c in range(settings.num_classes))
    return label, truth[number], scores, int(given is not None), number


# Rotated boxes -----------------------------------------------------------------------------------------


def oracle_rotated_region(m: Arithmetic, box: Any, settings: Any, rules: Any) -> tuple[Any, Callable[..., bool]]:
    """Centre of a box xywhr, and whether a point lies in it or on its edge."""
    x, y = box[:2]
    w, h = (oracle_grown(m, side, settings, rules) for side in box[2:4])
    cos, sin = m.cos(box[4]), m.sin(box[4])
    corner = x + w / 2 * cos - h / 2 * sin, y + w / 2 * sin + h / 2 * cos
    edges = (h * sin, -h * cos), (-w * cos, -w * sin)  # to the next corner and to the one before
    sides = [(ex, ey, ex * ex + ey * ey) for ex, ey in edges]

    def contains(px: Any, py: Any) -> bool:
        dx, dy = px - corner[0], py - corner[1]
        for ex, ey, length in sides:
            along = dx * ex + dy * ey
            if m.less(along, 0.0) or m.less(length, along):
                return False
        return True

    return (x, y), contains


def oracle_rotated_match(m: Arithmetic, truth: Any, pred: Any, rules: Any) -> Any:
    """max(0, probiou) of two boxes xywhr."""
    return m.clamp(oracle_probiou(m, truth, pred), low=0.0)


TURNED = (oracle_rotated_region, oracle_rotated_match)


def oracle_enlarged(m: Arithmetic, box: Any, settings: Any, rules: Any) -> Any:
    """A box xywhr with its small sides enlarged."""
    return (*box[:2], *(oracle_grown(m, side, settings, rules) for side in box[2:4]), box[4])
