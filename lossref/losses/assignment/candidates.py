"""Which anchors an object may have at all: candidate pairs of object and anchor, and the rules of assigners.

Candidates are kept as flat pairs, because an object contains a few hundred of 8400 anchors. An upright box
holds the anchors strictly inside, a rotated one those on its edge, too; small sides are enlarged for this
test only. Where sources differ: see `Rules`. Source: spec/20-assignment.md sections 1.2, 1.10 and 3, D2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

INSIDE = 1e-9  # pixels; an anchor must lie further inside than this
CELLS = (2.0, 12.0)  # sizes of an object on one level, where levels go by size


class Pairs(NamedTuple):
    """Candidates (p,) int64 each, sorted by image, object, anchor.

    `inside` (p,) bool: None, or all anchors are here, and only those marked are candidates; see `served`.
    """

    image: Tensor
    object: Tensor
    anchor: Tensor
    inside: Tensor | None = None


class Rules(NamedTuple):
    """Choices on which assigners differ; the defaults are those of spec/20-assignment.md section 1.10.

    conflict:     an anchor that several objects picked goes to the largest overlap of "all" objects (0 where
                  the anchor is no candidate, so to object 0 if all are 0), of all "overlapping" it (whether or not
                  it is a candidate), of those "containing" it, or of those that "picked" it; to the first of equals
    overlap:      "ciou" or "iou": what the caller is to compute
    zero_metric:  candidates with metric 0 that fill up the top-k are "kept" or "dropped"
    small_boxes:  when candidates are looked for, a side below stride[0] counts as stride[1] ("stride1";
                  stride[0] if there is only one) or as stride[0] ("stride0"), a side below stride[1] as
                  stride[1] ("raised", releases after 8.4.24), or every side as it is ("off")
    reach:        None, or anchors must lie nearer than reach * stride to the object's centre in x and in y
    at_least_one: "off"; or "nearest", an object without candidates gets the anchor nearest to its centre as its
                  only one; or "best", an object whose candidates all have metric 0 gets, of all anchors, the one
                  with the largest metric as its only one, unless that is 0, too (libreyolo's YOLOv9)
    edge:         an anchor on the edge of an upright box is outside ("open") or inside ("closed", libreyolo)
    levels:       an object may have anchors of "all" levels; or, "by size", of those on which sqrt(w h) is 2 to 12
                  cells (the finest has no lower, the coarsest no upper limit), of all if none of these is a
                  candidate (PoseLoss26 from 8.4.187)
    """

    conflict: str = "all"
    overlap: str = "ciou"
    zero_metric: str = "kept"
    small_boxes: str = "stride1"
    reach: float | None = None
    at_least_one: str = "off"
    edge: str = "open"
    levels: str = "all"


SPECIFIED = Rules()
CHOICES = {
    "conflict": ("all", "containing", "picked", "overlapping"),
    "zero_metric": ("kept", "dropped"),
    "small_boxes": ("stride1", "stride0", "raised", "off"),
    "at_least_one": ("off", "nearest", "best"),
    "edge": ("open", "closed"),
    "levels": ("all", "by size"),
}


def require_known(rules: Rules) -> None:
    """Raise ValueError for a choice that no rule offers, so that a misspelt one does not mean another."""
    for name, known in CHOICES.items():
        if getattr(rules, name) not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}, got {getattr(rules, name)!r}")


def candidates(
    anchors: Tensor,
    boxes: Tensor,
    valid: Tensor,
    stride: tuple[float, ...],
    rules: Rules = SPECIFIED,
    anchor_stride: Tensor | None = None,
) -> Pairs:
    """Pairs whose anchor (A, 2) lies inside the box (b, G, 4) xyxy; all in pixels.

    `valid` (b, G) marks real objects. `anchor_stride` (A,) is read for a reach and for levels by size; stride[0]
    if None. Raises ValueError for rules that are unknown, or that lack the strides they need.
    """
    require_known(rules)
    if rules.levels != "all" and anchor_stride is None:
        raise ValueError("levels: going by size needs the stride of every anchor")
    image, number = valid.nonzero(as_tuple=True)
    box = boxes[image, number]
    low, high, side, middle = grown(box, stride, rules)
    row, anchor = _inside(anchors, low, high, closed=rules.edge == "closed")
    if rules.levels != "all" and anchor_stride is not None:
        fits = _fitting(side.prod(-1).clamp(min=0).sqrt(), anchor_stride, row, anchor)
        row, anchor = row[fits], anchor[fits]
    row, anchor = _also(anchors, middle, row, anchor, stride[0] if anchor_stride is None else anchor_stride, rules)
    return _pairs(image, number, row, anchor, len(anchors), rules)


def grown(box: Tensor, stride: tuple[float, ...], rules: Rules) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Low and high corners of boxes (n, 4) xyxy after small sides were enlarged; their own sides, and their middles."""
    low, high = box[:, :2], box[:, 2:]
    side, middle = high - low, (low + high) / 2
    larger = enlarged(side, stride, rules)
    same = larger == side
    return torch.where(same, low, middle - larger / 2), torch.where(same, high, middle + larger / 2), side, middle


def candidates_rotated(
    anchors: Tensor,
    boxes: Tensor,
    valid: Tensor,
    stride: tuple[float, ...],
    rules: Rules = SPECIFIED,
    anchor_stride: Tensor | None = None,
) -> Pairs:
    """As `candidates` for boxes (b, G, 5) xywhr, in pixels and radians; an anchor on an edge is inside."""
    require_known(rules)
    if rules.levels != "all":
        raise ValueError("levels: those of rotated boxes do not go by size in any release")
    image, number = valid.nonzero(as_tuple=True)
    box = boxes[image, number]
    middle, side, angle = box[:, :2], box[:, 2:4], box[:, 4:]
    along = torch.cat([angle.cos(), angle.sin()], -1) * enlarged(side, stride, rules)[:, :1] / 2
    across = torch.cat([-angle.sin(), angle.cos()], -1) * enlarged(side, stride, rules)[:, 1:] / 2
    around = _half_extent(middle, along, across)
    row, anchor = _inside(anchors, middle - around, middle + around)
    corner = middle + along + across
    edges = [neighbour - corner for neighbour in (middle + along - across, middle - along + across)]
    inside = _between_edges(anchors, anchor, row, corner, edges).nonzero()[:, 0]
    row, anchor = row.index_select(0, inside), anchor.index_select(0, inside)
    row, anchor = _also(anchors, middle, row, anchor, stride[0] if anchor_stride is None else anchor_stride, rules)
    return _pairs(image, number, row, anchor, len(anchors), rules)


def ranked(metric: Tensor, anchor: Tensor, anchors: int) -> Tensor:
    """Metrics >= 0 as a top-k sees them: of those that are 0 the first anchor is the largest, all above -1/2.

    Zeros are common, and which of them fill up the top-k is undefined (QA3); here it is the same in every form.
    """
    return torch.where(metric == 0, (anchor + 1).to(metric.dtype) / (-2.0 * (anchors + 1)), metric)


def enlarged(side: Tensor, stride: tuple[float, ...], rules: Rules) -> Tensor:
    """Sides as the search for candidates sees them."""
    if rules.small_boxes == "off":
        return side
    least = stride[1] if rules.small_boxes != "stride0" and len(stride) > 1 else stride[0]
    return torch.where(side < (least if rules.small_boxes == "raised" else stride[0]), least, side)


def _pairs(image: Tensor, number: Tensor, row: Tensor, anchor: Tensor, anchors: int, rules: Rules) -> Pairs:
    """Pairs of objects (n,) and anchors, from candidates (row, anchor)."""
    if rules.at_least_one != "best" and rules.conflict != "overlapping":
        return Pairs(image.take(row), number.take(row), anchor)
    inside = torch.zeros(len(image) * anchors, dtype=torch.bool, device=row.device)
    inside = inside.index_fill(0, row * anchors + anchor, True)
    place = torch.arange(len(inside), device=row.device)
    row, anchor = place // max(anchors, 1), place % max(anchors, 1)
    return Pairs(image.take(row), number.take(row), anchor, inside)


def _inside(anchors: Tensor, low: Tensor, high: Tensor, closed: bool = False) -> tuple[Tensor, Tensor]:
    """(row, anchor) of every anchor strictly inside the boxes (n, 2), (n, 2), or on their edge if `closed`.

    Anchors stand on grids: a box holds a stretch of each line that it crosses, so that lines are looked at and
    not anchors. Anchors in any other order are as many short lines.
    """
    (column, across), (level, down) = (
        _between(anchors[:, axis], low[:, axis], high[:, axis], closed) for axis in (0, 1)
    )
    ahead = torch.ones_like(column, dtype=torch.bool)
    ahead[1:] = (level[1:] != level[:-1]) | (column[1:] <= column[:-1])
    line = ahead.cumsum(0) - 1
    width = across.shape[1]
    first = (across.cumsum(1) == 0).sum(1)
    row, crossed = down.index_select(1, level[ahead]).nonzero(as_tuple=True)
    place, begin = line * width + column, crossed * width + first[row]
    start, stop = (torch.searchsorted(place, at) for at in (begin, begin + across.sum(1)[row]))
    count = stop - start
    shift = start - (count.cumsum(0) - count)
    return row.repeat_interleave(count), shift.repeat_interleave(count) + torch.arange(
        int(count.sum()), device=row.device
    )


def _between(place: Tensor, low: Tensor, high: Tensor, closed: bool) -> tuple[Tensor, Tensor]:
    """Rank of each coordinate (A,) among those that differ (m,), and which of these lie between the edges, (n, m)."""
    value, rank = torch.unique(place, return_inverse=True)
    before, after = value - low[:, None], high[:, None] - value
    return rank, (before >= 0) & (after >= 0) if closed else (before > INSIDE) & (after > INSIDE)


def _fitting(size: Tensor, stride: Tensor, row: Tensor, anchor: Tensor) -> Tensor:
    """Pairs whose object (n,) has a size in pixels for the level of its anchor (A,); all pairs of one without any."""
    fewest, most = CELLS
    step, pixels = stride[anchor], size[row]
    fits = ((pixels >= fewest * step) | (step == stride.min())) & ((pixels <= most * step) | (step == stride.max()))
    served = torch.zeros_like(size, dtype=torch.bool).index_fill(0, row[fits], True)
    return fits | ~served[row]


def _half_extent(middle: Tensor, along: Tensor, across: Tensor) -> Tensor:
    """Half the sides of an upright box that surely holds the rotated one; infinite for a flat one.

    With a side of zero its two edge conditions are void: the formula then holds in a whole strip.
    """
    extent = along.abs() + across.abs()
    flat = (along.abs().amax(-1) == 0) | (across.abs().amax(-1) == 0)
    margin = 1e-4 * (extent + middle.abs()) + 1e-3
    return torch.where(flat[:, None], torch.inf, extent + margin)


def _between_edges(points: Tensor, anchor: Tensor, row: Tensor, corner: Tensor, edges: list[Tensor]) -> Tensor:
    """Whether 0 <= (point - corner) . edge <= |edge|^2 for every edge (n, 2), for the pairs of anchor and row."""

    def of_row(x: Tensor) -> Tensor:
        return x.index_select(0, row)

    x, y = (points[:, axis].index_select(0, anchor) - of_row(corner[:, axis]) for axis in (0, 1))
    inside = torch.ones_like(row, dtype=torch.bool)
    for edge in edges:
        projection = x * of_row(edge[:, 0]) + y * of_row(edge[:, 1])
        inside = inside & (projection >= 0) & (projection <= of_row(edge.square().sum(-1)))
    return inside


def _also(
    anchors: Tensor, middle: Tensor, row: Tensor, anchor: Tensor, stride: Tensor | float, rules: Rules
) -> tuple[Tensor, Tensor]:
    """The pairs after the two rules that are off by default: reach and at_least_one."""
    if rules.reach is not None:
        limit = rules.reach * (stride.reshape(-1, 1)[anchor] if isinstance(stride, Tensor) else stride)
        near = ((anchors[anchor] - middle[row]).abs() < limit).all(-1)
        row, anchor = row[near], anchor[near]
    if rules.at_least_one == "nearest":
        lonely = (row.bincount(minlength=len(middle)) == 0).nonzero()[:, 0]
        nearest = (anchors - middle[lonely, None]).square().sum(-1).argmin(-1)
        row, order = torch.cat([row, lonely]).sort(stable=True)
        anchor = torch.cat([anchor, nearest])[order]
    return row, anchor
