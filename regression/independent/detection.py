"""Task-aligned assignment, and the detection loss, twice: one object at a time with sorts, and as a class on tensors.

Written from `lossref/spec/20-assignment.md` sections 1 and 2, `40-yolo.md` section 1, `10-geometry.md` sections 3 to 7,
`30-elementary.md` section 4 and `05-decisions.md` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import lossref
from regression.independent.sides import ciou_rows


class Assigned(NamedTuple):
    """What an anchor of one image learns: its object (0 where none), whether it does, and how strongly."""

    item: Tensor
    positive: Tensor
    strength: Tensor


class Rule(NamedTuple):
    """Constants of the assigner."""

    topk: int
    topk2: int
    alpha: float
    beta: float
    stride: Sequence[float]
    eps: float = 1e-9


def candidates(points: Tensor, box: Tensor, stride: Sequence[float]) -> Tensor:
    """Anchors (A,) strictly inside of a box xyxy whose sides below the first stride count as the second."""
    centre, side = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    larger = stride[1] if len(stride) > 1 else stride[0]
    side = torch.where(side < stride[0], torch.full_like(side, float(larger)), side)
    inner = torch.cat((points - (centre - side / 2), centre + side / 2 - points), 1)
    return inner.amin(1) > 1e-9


def leading(metric: Tensor, count: int) -> Tensor:
    """Which are the first of a stable descending sort."""
    if count > len(metric):
        raise RuntimeError("more picks than anchors")
    chosen = torch.zeros_like(metric, dtype=torch.bool)
    chosen[torch.sort(metric, descending=True, stable=True).indices[:count]] = True
    return chosen


def assign_image(scores: Tensor, boxes: Tensor, points: Tensor, labels: Tensor, truth: Tensor, rule: Rule) -> Assigned:
    """One image, its real objects only: scores (A, c), boxes (A, 4), points (A, 2), labels (g,), truth (g, 4)."""
    anchors = len(points)
    overlap = scores.new_zeros(len(truth), anchors, dtype=torch.promote_types(scores.dtype, boxes.dtype))
    metric, claimed = torch.zeros_like(overlap), torch.zeros(len(truth), anchors, dtype=torch.bool)
    for g, (label, box) in enumerate(zip(labels.tolist(), truth, strict=True)):
        inside = candidates(points, box, rule.stride)
        o = ciou_rows(box.expand(int(inside.sum()), 4), boxes[inside]).clamp(min=0)
        overlap[g, inside] = o.to(overlap.dtype)
        metric[g, inside] = (scores[inside, int(label)] ** rule.alpha * o**rule.beta).to(metric.dtype)
        claimed[g] = leading(metric[g], rule.topk) & inside
    for a in torch.nonzero(claimed.sum(0) > 1).flatten().tolist():
        claimed[:, a] = False
        claimed[overlap[:, a].argmax(), a] = True
    if rule.topk2 != rule.topk:
        for g in range(len(truth)):
            claimed[g] &= leading(metric[g] * claimed[g], rule.topk2)
    strength = torch.zeros_like(metric[0])
    for g in range(len(truth)):
        mine = claimed[g]
        if mine.any():
            scale = overlap[g, mine].max() / (metric[g, mine].max() + rule.eps)
            strength[mine] = metric[g, mine] * scale
    return Assigned(claimed.to(torch.uint8).argmax(0), claimed.any(0), strength)


@lossref.target("task_aligned")
@torch.no_grad()
def task_aligned(
    pd_scores: Tensor,
    pd_bboxes: Tensor,
    anc_points: Tensor,
    gt_labels: Tensor,
    gt_bboxes: Tensor,
    mask_gt: Tensor,
    topk: int = 13,
    num_classes: int = 80,
    alpha: float = 1.0,
    beta: float = 6.0,
    stride: Sequence[float] = (8, 16, 32),
    eps: float = 1e-9,
    topk2: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Image by image without the padding rows, whose places are then counted in again."""
    images, anchors = pd_scores.shape[:2]
    kind = torch.promote_types(pd_scores.dtype, pd_bboxes.dtype)
    if gt_bboxes.shape[1] == 0:
        none = torch.zeros_like(pd_scores[..., 0])
        return none + num_classes, torch.zeros_like(pd_bboxes), torch.zeros_like(pd_scores), none, none
    rule = Rule(topk, topk2 or topk, alpha, beta, stride, eps)
    index, positive = torch.zeros(images, anchors, dtype=torch.int64), torch.zeros(images, anchors, dtype=torch.bool)
    target = torch.zeros(images, anchors, num_classes, dtype=kind)
    for b in range(images):
        real = torch.nonzero(mask_gt[b, :, 0]).flatten()
        if len(real):
            found = assign_image(
                pd_scores[b], pd_bboxes[b], anc_points, gt_labels[b, real, 0], gt_bboxes[b, real], rule
            )
            index[b] = torch.where(found.positive, real[found.item], 0)
            positive[b] = found.positive
            label = gt_labels[b, index[b], 0].long()
            target[b].scatter_(1, label[:, None], torch.where(positive[b], found.strength, 0)[:, None].to(kind))
    labels = gt_labels[..., 0].long().clamp(min=0).gather(1, index)
    return labels, gt_bboxes[torch.arange(images)[:, None], index], target, positive, index


def objects_of(batch_idx: Tensor, cls: Tensor, bboxes: Tensor) -> Tensor:
    """Image, class and box of each object, (n, 6)."""
    objects = torch.cat((batch_idx.reshape(-1, 1), cls.reshape(-1, 1), bboxes), 1)
    if objects.isnan().any():
        raise ValueError("a NaN among the objects")
    return objects


def grid(imgsz: Sequence[float], strides: Sequence[float], like: Tensor) -> tuple[Tensor, Tensor]:
    """Anchor points in cells and the stride of each, (A, 2) and (A, 1)."""
    points, cells = [], []
    for stride in strides:
        rows, columns = (round(float(side) / stride) for side in imgsz)
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        points.append(torch.stack((x, y), -1).reshape(-1, 2).to(like) + 0.5)
        cells.append(torch.full((rows * columns, 1), float(stride)).to(like))
    return torch.cat(points), torch.cat(cells)


def decode(raw: Tensor, points: Tensor, reg_max: int) -> tuple[Tensor, Tensor]:
    """Raw sides (b, 4R, A) to (b, A, 4, R) and boxes (b, A, 4) in cells."""
    sides = raw.unflatten(1, (4, reg_max)).permute(0, 3, 1, 2)
    if reg_max > 1:
        bins = torch.arange(reg_max).to(raw)
        distance = torch.einsum("basr,r->bas", torch.softmax(sides, -1), bins)
    else:
        distance = sides.squeeze(-1)
    return sides, torch.cat((points - distance[..., :2], points + distance[..., 2:]), -1)


def distance_cost(sides: Tensor, truth: Tensor, points: Tensor, cells: Tensor, imgsz: Sequence[float]) -> Tensor:
    """What the distances of positives cost: sides (n, 4, R), the rest (n, .)."""
    want, bins = torch.cat((points - truth[:, :2], truth[:, 2:] - points), 1), sides.shape[-1]
    if bins == 1:
        scale = torch.tensor([imgsz[1], imgsz[0]] * 2).to(sides)
        return ((sides.squeeze(-1) - want).abs() * cells / scale).mean(1)
    want = want.clamp(0, bins - 1.01)
    low = want.long()
    logs = sides.log_softmax(-1)
    pair = torch.cat((logs.gather(2, low[..., None]), logs.gather(2, low[..., None] + 1)), -1)
    return -torch.einsum("nsk,nsk->ns", pair, torch.stack((low + 1 - want, want - low), -1)).mean(1)


@lossref.target("v8_detection")
def detection(
    boxes: Tensor,
    scores: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    imgsz: Sequence[float] = (64, 64),
    strides: Sequence[float] = (8, 16, 32),
    reg_max: int = 16,
    tal_topk: int = 10,
    tal_topk2: int | None = None,
    box_gain: float = 7.5,
    cls_gain: float = 0.5,
    dfl_gain: float = 1.5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Three terms, each times the number of images, from a loop over the images."""
    objects = objects_of(batch_idx, cls, bboxes)
    points, cells = grid(imgsz, strides, boxes)
    sides, decoded = decode(boxes, points, reg_max)
    logits = scores.transpose(1, 2)
    rule = Rule(tal_topk, tal_topk2 or tal_topk, 0.5, 6.0, strides)
    size = torch.tensor([imgsz[1], imgsz[0]] * 2).to(boxes)
    target = torch.zeros_like(logits)
    overlap, distance = boxes[:0].sum(), boxes[:0].sum()
    for b in range(len(boxes)):
        mine = objects[objects[:, 0] == b]
        xywh = mine[:, 2:].to(boxes) * size
        truth = torch.cat((xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2), 1)
        labels, truth = mine[truth.sum(1) > 0, 1], truth[truth.sum(1) > 0]
        if not len(truth):
            continue
        with torch.no_grad():
            found = assign_image(logits[b].sigmoid(), decoded[b] * cells, points * cells, labels, truth, rule)
        on = torch.nonzero(found.positive).flatten()
        weight, aim = found.strength[on], truth[found.item[on]] / cells[on]
        target[b, on, labels[found.item[on]].long()] = weight
        overlap = overlap + (weight * (1 - ciou_rows(decoded[b, on], aim))).sum()
        distance = distance + (weight * distance_cost(sides[b, on], aim, points[on], cells[on], imgsz)).sum()
    total = target.sum().clamp(min=1)
    classes = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    terms = (box_gain * overlap, cls_gain * classes, dfl_gain * distance)
    first, second, third = (len(boxes) * term / total for term in terms)
    return first, second, third


@lossref.target("v8_detection")
class V8Detection:
    """Made with a model, called with predictions and batch: (vector, items)."""

    def __init__(self, model: Any, tal_topk: int = 10, tal_topk2: int | None = None) -> None:
        self.head, self.hyp, self.topk, self.topk2 = model.model[-1], model.args, tal_topk, tal_topk2

    def __call__(self, preds: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Predictions are a dictionary, or a pair of which it is the second."""
        preds = preds[1] if isinstance(preds, tuple) else preds
        strides = self.head.stride.tolist()
        imgsz = [side * strides[0] for side in preds["feats"][0].shape[2:]]
        given = (preds["boxes"], preds["scores"], batch["batch_idx"], batch["cls"], batch["bboxes"])
        gains = self.hyp.box, self.hyp.cls, self.hyp.dfl
        terms = detection(*given, imgsz, strides, self.head.reg_max, self.topk, self.topk2, *gains)
        vector = torch.stack(terms)
        return vector, vector.detach() / len(preds["boxes"])
