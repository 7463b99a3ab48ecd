"""Candidates as a table (slots, anchors) of truth values: the rules of candidates.py, everywhere.

Source: spec/20-assignment.md sections 1.2, 1.10 and 3, D2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossref.losses.assignment.candidates import CELLS, INSIDE, Rules, enlarged, grown, require_known


def inside(anchors: Tensor, boxes: Tensor, stride: tuple[float, ...], rules: Rules, anchor_stride: Tensor) -> Tensor:
    """Whether anchors (A, 2) are candidates of boxes (p, 4) xyxy, (p, A); anchor_stride (A,), all in pixels."""
    require_known(rules)
    low, high, side, middle = grown(boxes, stride, rules)
    (left, top), (right, bottom), (x, y) = low[..., None].unbind(1), high[..., None].unbind(1), anchors.unbind(1)
    depth = torch.minimum(torch.minimum(x - left, right - x), torch.minimum(y - top, bottom - y))
    found = depth >= 0 if rules.edge == "closed" else depth > INSIDE
    if rules.levels != "all":
        found = _of_levels(found, side.prod(-1).clamp(min=0).sqrt(), anchor_stride)
    return _also(found, anchors, middle, anchor_stride, rules)


def inside_rotated(
    anchors: Tensor, boxes: Tensor, stride: tuple[float, ...], rules: Rules, anchor_stride: Tensor
) -> Tensor:
    """As `inside` for boxes (p, 5) xywhr, in pixels and radians; an anchor on an edge is a candidate."""
    require_known(rules)
    if rules.levels != "all":
        raise ValueError("levels: those of rotated boxes do not go by size in any release")
    middle, angle = boxes[:, :2], boxes[:, 4:]
    width, height = enlarged(boxes[:, 2:4], stride, rules).split(1, 1)
    along = torch.cat([angle.cos(), angle.sin()], 1) * width / 2
    across = torch.cat([-angle.sin(), angle.cos()], 1) * height / 2
    corner = middle + along + across
    x, y = (anchors[:, axis] - corner[:, axis, None] for axis in (0, 1))
    found = torch.ones_like(x, dtype=torch.bool)
    for neighbour in (middle + along - across, middle - along + across):
        edge = neighbour - corner
        projection = x * edge[:, :1] + y * edge[:, 1:]
        found = found & (projection >= 0) & (projection <= edge.square().sum(1, keepdim=True))
    return _also(found, anchors, middle, anchor_stride, rules)


def _of_levels(found: Tensor, size: Tensor, stride: Tensor) -> Tensor:
    """Candidates (p, A) on the levels (A,) for objects of this size (p,) in pixels; all of an object without any."""
    fewest, most = CELLS
    pixels = size[:, None]
    fits = (pixels >= fewest * stride) | (stride == stride.min())
    fits = found & fits & ((pixels <= most * stride) | (stride == stride.max()))
    return torch.where(fits.any(1, keepdim=True), fits, found)


def _also(found: Tensor, anchors: Tensor, middle: Tensor, stride: Tensor, rules: Rules) -> Tensor:
    """Candidates (p, A) after the rules that are off by default: reach, and at_least_one "nearest"."""
    if rules.reach is None and rules.at_least_one != "nearest":
        return found
    x, y = (anchors[:, axis] - middle[:, axis, None] for axis in (0, 1))
    if rules.reach is not None:
        found = found & (torch.maximum(x.abs(), y.abs()) < rules.reach * stride)
    if rules.at_least_one == "nearest":
        nearest = (x.square() + y.square()).argmin(1, keepdim=True)
        alone = torch.arange(len(anchors), device=found.device) == nearest
        found = torch.where(found.any(1, keepdim=True), found, alone)
    return found
