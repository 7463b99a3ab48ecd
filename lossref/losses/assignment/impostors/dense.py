"""The right assigner as dense code that looks at every pair of object and anchor, step by step.

What an impostor does wrongly is one of these steps; a test holds the dense code to the oracle.
Source: spec/20-assignment.md sections 1 and 3.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lossref.losses.assignment.answer import Assignment


class Claims(NamedTuple):
    """What objects have at anchors (b, G, A): metric t and overlap o, 0 where the anchor counts as no candidate.

    `rank` decides conflicts: o, and less than any overlap where there is no object.
    """

    t: Tensor
    o: Tensor
    seen: Tensor
    rank: Tensor


class Kept(NamedTuple):
    """Positives (b, G, A), and the largest t and o of each object (b, G, 1)."""

    pos: Tensor
    t_max: Tensor
    o_max: Tensor


# Candidates ----------------------------------------------------------------------------------------------


def enlarged(boxes: Tensor, mask: Tensor, p: Any) -> Tensor:
    """Boxes with small sides enlarged; xyxy or, with five numbers, xywhr."""
    side = sides(boxes)
    return with_sides(boxes, torch.where((side < limit(p)) & (mask > 0), counts_as(p), side))


def sides(boxes: Tensor) -> Tensor:
    """Width and height."""
    return boxes[..., 2:4] if boxes.shape[-1] == 5 else boxes[..., 2:] - boxes[..., :2]


def with_sides(boxes: Tensor, side: Tensor) -> Tensor:
    """The boxes of another size around the same centres."""
    if boxes.shape[-1] == 5:
        return torch.cat([boxes[..., :2], side, boxes[..., 4:]], -1)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    return torch.cat([middle - side / 2, middle + side / 2], -1)


def counts_as(p: Any) -> float:
    """What a small side counts as."""
    return float(p.stride[0] if p.small_boxes == "stride0" else p.stride[:2][-1])


def limit(p: Any) -> float:
    """Below this a side is small."""
    return float({"raised": counts_as(p), "off": float("-inf")}.get(p.small_boxes, p.stride[0]))


def near(points: Tensor, boxes: Tensor, inside: Tensor, p: Any) -> Tensor:
    """Anchors inside the boxes (b, G, A), after the rules reach and at_least_one."""
    middle = boxes[..., :2] if boxes.shape[-1] == 5 else (boxes[..., :2] + boxes[..., 2:]) / 2
    apart = points - middle[:, :, None]
    if p.reach is not None:
        inside = inside & (apart.abs().amax(-1) < p.reach * p.stride[0])
    if p.at_least_one == "nearest":
        nearest = one_hot(apart.square().sum(-1).argmin(-1), len(points)) > 0
        inside = torch.where(inside.any(-1, keepdim=True), inside, nearest)
    return inside


def with_the_best(seen: Tensor, t: Tensor) -> Tensor:
    """The anchors (b, G, A) after the rule at_least_one "best", for metrics everywhere."""
    best = one_hot(t.argmax(-1), t.shape[-1]) * (t > 0) > 0
    unserved = (t * seen).amax(-1, keepdim=True) == 0
    return torch.where(unserved & best.any(-1, keepdim=True), best, seen)


def probability(z: Tensor) -> Tensor:
    """The score of the object's class, certain where it is NaN."""
    return z.nan_to_num(1.0)


# Positives -----------------------------------------------------------------------------------------------


def settled(c: Claims, p: Any) -> Kept:
    """The topk of each object, each anchor for one object, the topk2 of each object."""
    pos = resolved(picked(c, p), c.rank, c.seen, p)
    return maxima(second_round(pos, c.t, p), c)


def picked(c: Claims, p: Any) -> Tensor:
    """The topk candidates of each object."""
    pos = top(c.t * c.seen, p.topk) & c.seen
    return pos & (c.t > 0) if p.zero_metric == "dropped" else pos


def resolved(pos: Tensor, rank: Tensor, seen: Tensor, p: Any) -> Tensor:
    """An anchor that several objects picked goes to the largest rank."""
    rivals = {"picked": pos, "containing": seen}.get(p.conflict, torch.ones_like(seen))
    winner = one_hot(torch.where(rivals, rank, -1).argmax(1), rank.shape[1]).transpose(1, 2) > 0
    return torch.where(pos.sum(1, keepdim=True) > 1, winner, pos)


def second_round(pos: Tensor, t: Tensor, p: Any) -> Tensor:
    """The topk2 of what each object has."""
    return pos & top(t * pos, p.topk2) if p.topk2 != p.topk else pos


def maxima(pos: Tensor, c: Claims) -> Kept:
    """Positives, with their largest t and o."""
    return Kept(pos, (c.t * pos).amax(-1, keepdim=True), (c.o * pos).amax(-1, keepdim=True))


def top(t: Tensor, k: int) -> Tensor:
    """The k largest along the last axis."""
    return torch.zeros_like(t, dtype=torch.bool).scatter(-1, t.topk(k).indices, True)


# Targets -------------------------------------------------------------------------------------------------


def soft_targets(c: Claims, kept: Kept, p: Any) -> Tensor:
    """t O / (T + eps) of each anchor, (b, A)."""
    return torch.nan_to_num(c.t * kept.pos * kept.o_max / (kept.t_max + p.eps)).amax(1)


def answer(
    c: Claims, kept: Kept, target: Callable[[Claims, Kept, Any], Tensor], boxes: Tensor, labels: Tensor, p: Any
) -> Assignment:
    """The five outputs."""
    mask, index = kept.pos.any(1), kept.pos.int().argmax(1)
    label = labels[..., 0].gather(1, index)
    chosen = boxes.gather(1, index[..., None].expand(-1, -1, boxes.shape[-1]))
    scores = one_hot(label, p.num_classes) * target(c, kept, p)[..., None]
    return Assignment(label, chosen, scores.to(c.t), mask, index)


def as_found(found: Assignment, p: Any) -> Assignment:
    """The answer as it is."""
    return found


# The whole -----------------------------------------------------------------------------------------------


class Steps(NamedTuple):
    """What a dense assigner does, in order; p are the parameters of the spec."""

    inside: Callable[[Tensor, Tensor, Any], Tensor]  # points (A, 2), boxes, p: candidates (b, G, A)
    match: Callable[[Tensor, Tensor, Any], Tensor]  # boxes, predictions, p: overlaps (b, G, A)
    enlarge: Callable[[Tensor, Tensor, Any], Tensor] = enlarged
    certainty: Callable[[Tensor], Tensor] = probability
    settle: Callable[[Claims, Any], Kept] = settled
    target: Callable[[Claims, Kept, Any], Tensor] = soft_targets
    present: Callable[[Assignment, Any], Assignment] = as_found


def dense(steps: Steps, **setting: Any) -> Callable[..., Assignment]:
    """The assigner of these steps, under a setting whatever the parameters say."""

    def assigner(
        pd_scores: Tensor,
        pd_bboxes: Tensor,
        anc_points: Tensor,
        gt_labels: Tensor,
        gt_bboxes: Tensor,
        mask_gt: Tensor,
        **params: Any,
    ) -> Assignment:
        p = SimpleNamespace(**{"small_rboxes": "true", **params, **setting})
        p.topk2 = p.topk2 or p.topk
        grown = steps.enlarge(gt_bboxes, mask_gt, p)
        boxes = grown if p.small_rboxes == "enlarged" else gt_bboxes
        seen = near(anc_points, gt_bboxes, steps.inside(anc_points, grown, p), p) & (mask_gt > 0)
        o = steps.match(boxes, pd_bboxes, p).clamp(min=0)
        z = steps.certainty(pd_scores.transpose(1, 2).gather(1, gt_labels.expand(-1, -1, pd_scores.shape[1])))
        if p.at_least_one == "best":
            seen = with_the_best(seen, z**p.alpha * o**p.beta * (mask_gt > 0))
        meant = mask_gt > 0 if p.conflict == "overlapping" else seen
        rank = torch.where(meant, o, -1)
        o, z = torch.where(meant, o, 0), torch.where(meant, z, 0)
        claims = Claims(z**p.alpha * o**p.beta, o, seen, rank if p.conflict == "overlapping" else o)
        found = answer(claims, steps.settle(claims, p), steps.target, boxes, gt_labels, p)
        return steps.present(found, p)

    return assigner
