"""Plausible wrong assigners: the dense code with one step done wrongly, or under a setting that was not asked for.

Source: spec/20-assignment.md, the table of mistakes.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from lossref.core.declare import impostor
from lossref.core.nouns import Target
from lossref.losses.assignment.answer import Assignment
from lossref.losses.assignment.impostors.dense import (
    Claims,
    Kept,
    Steps,
    counts_as,
    dense,
    enlarged,
    limit,
    maxima,
    picked,
    resolved,
    second_round,
    settled,
    sides,
    top,
    with_sides,
)


def with_step(right: Steps, label: str, why: str, caught_by: str, **step: Any) -> Target:
    """The impostor with another function for one step."""
    return impostor(label, why, caught_by, dense(right._replace(**step)))


def with_setting(right: Steps, label: str, why: str, caught_by: str, **setting: Any) -> Target:
    """The impostor that has one setting, whatever is asked for."""
    return impostor(label, why, caught_by, dense(right, **setting))


def enlarged_at_the_limit(boxes: Tensor, mask: Tensor, p: Any) -> Tensor:
    side = sides(boxes)
    return with_sides(boxes, torch.where((side <= limit(p)) & (mask > 0), counts_as(p), side))


def both_sides_enlarged(boxes: Tensor, mask: Tensor, p: Any) -> Tensor:
    side = sides(boxes)
    small = (side < limit(p)).any(-1, keepdim=True)
    return with_sides(boxes, torch.where(small & (mask > 0), counts_as(p), side))


def enlarged_to_the_first_stride(boxes: Tensor, mask: Tensor, p: Any) -> Tensor:
    return enlarged(boxes, mask, SimpleNamespace(small_boxes=p.small_boxes, stride=p.stride[:1]))


def enlarged_in_place(boxes: Tensor, mask: Tensor, p: Any) -> Tensor:
    return boxes.copy_(enlarged(boxes, mask, p))


def logit(z: Tensor) -> Tensor:
    return z.logit().nan_to_num(1.0)


def conflict_by_metric(c: Claims, p: Any) -> Kept:
    pos = resolved(picked(c, p), c.t, c.seen, p)
    return maxima(second_round(pos, c.t, p), c)


def conflicts_kept(c: Claims, p: Any) -> Kept:
    return maxima(second_round(picked(c, p), c.t, p), c)


def first_object_reset(c: Claims, p: Any) -> Kept:
    claimed = picked(c, p)
    several = claimed.sum(1, keepdim=True) > 1
    left = torch.cat([claimed[:, :1] & ~several, claimed[:, 1:]], 1)
    return maxima(second_round(left | (resolved(claimed, c.rank, c.seen, p) & several), c.t, p), c)


def maxima_first(c: Claims, p: Any) -> Kept:
    return maxima(picked(c, p), c)._replace(pos=settled(c, p).pos)


def topk2_first(c: Claims, p: Any) -> Kept:
    first = picked(c, p)
    pos = resolved(first & top(c.t * first, p.topk2), c.rank, c.seen, p)
    return maxima(second_round(pos, c.t, p), c)


def hard_targets(c: Claims, kept: Kept, p: Any) -> Tensor:
    return kept.pos.any(1).to(c.t)


def not_scaled_by_the_overlap(c: Claims, kept: Kept, p: Any) -> Tensor:
    return torch.nan_to_num(c.t * kept.pos / (kept.t_max + p.eps)).amax(1)


def background_class(found: Assignment, p: Any) -> Assignment:
    return found._replace(target_labels=torch.where(found.fg_mask, found.target_labels, p.num_classes))


def background_index(found: Assignment, p: Any) -> Assignment:
    return found._replace(target_gt_idx=torch.where(found.fg_mask, found.target_gt_idx, -1))
