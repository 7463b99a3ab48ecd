"""Plausible wrong assigners, as dense code that looks at every pair of object and anchor.

They differ from the right answer in one named way each; with no name the dense code is right, which a test
holds it to. Source: spec/20-assignment.md, the table of mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

Dense = tuple[Tensor, ...]


def dense(inside: Callable[..., Tensor], match: Callable[..., Tensor], how: str = "") -> Callable[..., Dense]:
    """An assigner made of inside(anchors, boxes, how), match(boxes, predictions, params, how), and a mistake."""

    def assigner(
        pd_scores: Tensor,
        pd_bboxes: Tensor,
        anc_points: Tensor,
        gt_labels: Tensor,
        gt_bboxes: Tensor,
        mask_gt: Tensor,
        **params: Any,
    ) -> Dense:
        p = SimpleNamespace(**params)
        p.topk2 = p.topk2 or p.topk
        enlarged = grown(gt_bboxes, mask_gt, p, how)
        if how == "writes into gt_bboxes":
            gt_bboxes.copy_(enlarged)
        everywhere = how == "enlarged everywhere" or params.get("small_rboxes") == "enlarged"
        compared = enlarged if everywhere else gt_bboxes
        within = inside(anc_points, enlarged, "edges inside" if params.get("edge") == "closed" else how)
        seen = near(anc_points, gt_bboxes, within, p) & (mask_gt > 0)
        o = match(compared, pd_bboxes, p, how).clamp(min=0)
        z = pd_scores.transpose(1, 2).gather(1, gt_labels.expand(-1, -1, pd_scores.shape[1]))
        z = (z.logit() if how == "logits" else z).nan_to_num(1.0)
        if p.at_least_one == "best":
            seen = with_the_best(seen, z**p.alpha * o**p.beta * (mask_gt > 0))
        o, z = torch.where(seen, o, 0), torch.where(seen, z, 0)
        t = z**p.alpha * o**p.beta
        pos, t_max, o_max = settle(t, o, seen, p, how)
        return answer(pos, t, o, (t_max, o_max), compared, gt_labels, p, how)

    return assigner


def grown(boxes: Tensor, mask: Tensor, p: Any, how: str) -> Tensor:
    """Boxes with small sides enlarged; xyxy or, with five numbers, xywhr."""
    side = boxes[..., 2:4] if boxes.shape[-1] == 5 else boxes[..., 2:] - boxes[..., :2]
    least = p.stride[0] if p.small_boxes == "stride0" or how == "enlarged to stride[0]" else p.stride[:2][-1]
    limit = {"raised": least, "off": float("-inf")}.get(p.small_boxes, p.stride[0])
    small = side <= limit if how == "enlarged at the stride" else side < limit
    if how == "both sides":
        small = small.any(-1, keepdim=True).expand_as(side)
    side = torch.where(small & (mask > 0) & (how != "small boxes left"), float(least), side)
    if boxes.shape[-1] == 5:
        return torch.cat([boxes[..., :2], side, boxes[..., 4:]], -1)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    return torch.cat([middle - side / 2, middle + side / 2], -1)


def near(points: Tensor, boxes: Tensor, inside: Tensor, p: Any) -> Tensor:
    """Anchors inside the boxes (b, G, A), after the rules reach and at_least_one."""
    middle = boxes[..., :2] if boxes.shape[-1] == 5 else (boxes[..., :2] + boxes[..., 2:]) / 2
    apart = points - middle[:, :, None]
    if p.reach is not None:
        inside = inside & (apart.abs().amax(-1) < p.reach * p.stride[0])
    if p.at_least_one == "nearest":
        nearest = torch.nn.functional.one_hot(apart.square().sum(-1).argmin(-1), len(points)) > 0
        inside = torch.where(inside.any(-1, keepdim=True), inside, nearest)
    return inside


def with_the_best(seen: Tensor, t: Tensor) -> Tensor:
    """The anchors (b, G, A) after the rule at_least_one "best", for metrics everywhere."""
    best = torch.nn.functional.one_hot(t.argmax(-1), t.shape[-1]) * (t > 0) > 0
    unserved = (t * seen).amax(-1, keepdim=True) == 0
    return torch.where(unserved & best.any(-1, keepdim=True), best, seen)


def settle(t: Tensor, o: Tensor, seen: Tensor, p: Any, how: str) -> tuple[Tensor, Tensor, Tensor]:
    """Positives (b, G, A) and the largest t and o of each object (b, G)."""
    pos = top(t, p.topk) & seen
    if p.zero_metric == "dropped":
        pos = pos & (t > 0)
    before = (t * pos).amax(-1), (o * pos).amax(-1)
    if how == "topk2 before the conflicts":
        pos = pos & top(t * pos, p.topk2)
    rank = t if how == "conflict by metric" else o
    rule = how.removeprefix("conflict among ") if how.startswith("conflict among") else p.conflict
    rivals = {"picked": pos, "containing": seen}.get(rule, torch.ones_like(seen))
    winner = torch.where(rivals, rank, -1).argmax(1)
    winner = torch.nn.functional.one_hot(winner, t.shape[1]).transpose(1, 2) > 0
    pos = torch.where((pos.sum(1, keepdim=True) > 1) & (how != "conflicts kept"), winner, pos)
    if p.topk2 != p.topk:
        pos = pos & top(t * pos, p.topk2)
    after = (t * pos).amax(-1), (o * pos).amax(-1)
    return pos, *(before if how == "maxima before the conflicts" else after)


def top(t: Tensor, k: int) -> Tensor:
    """The k largest along the last axis."""
    return torch.zeros_like(t, dtype=torch.bool).scatter(-1, t.topk(k).indices, True)


def answer(
    pos: Tensor, t: Tensor, o: Tensor, best: tuple[Tensor, Tensor], boxes: Tensor, labels: Tensor, p: Any, how: str
) -> Dense:
    """The five outputs."""
    t_max, o_max = (x[..., None] for x in best)
    eps = {"no eps": 0.0, "eps 1e-7": 1e-7}.get(how, p.eps)
    n = torch.nan_to_num(t * pos * (1 if how == "not scaled by the overlap" else o_max) / (t_max + eps)).amax(1)
    n = pos.any(1).to(n) if how == "hard targets" else n
    mask, index = pos.any(1), pos.int().argmax(1)
    label = labels[..., 0].gather(1, index)
    scores = torch.nn.functional.one_hot(label, p.num_classes) * n[..., None]
    if how == "background class":
        label = torch.where(mask, label, p.num_classes)
    chosen = boxes.gather(1, index[..., None].expand(-1, -1, boxes.shape[-1]))
    return label, chosen, scores.to(t), mask, torch.where(mask, index, -1) if how == "index -1" else index
