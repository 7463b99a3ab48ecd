"""The YOLO losses from their parts, one by one: what is computed where a part or a method was replaced.

Dense tables (b, A, classes) and (b, objects, A) are made, so this is slower than `terms.py`, whose numbers it gives
while the parts are equal ones. Source: spec/40-yolo.md sections 1.3, 1.7 and 5.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.precision import as_it_is, compute_dtype
from lossref.losses.detection.batch import Grid, targets_of
from lossref.losses.detection.terms import scale_of


class Heads(NamedTuple):
    """Predictions as the parts read them: anchors before channels, in the dtype that is computed in."""

    dist: Tensor
    logits: Tensor
    pred_boxes: Tensor
    grid: Grid


class Assigned(NamedTuple):
    """What the assigner answered (target boxes in pixels), and S."""

    target_bboxes: Tensor
    target_scores: Tensor
    fg_mask: Tensor
    target_gt_idx: Tensor
    norm: Tensor


def composed(loss: Any, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[tuple[Tensor, ...], Tensor]:
    """(fg_mask, object index, target boxes px, points, strides), and the vector (box, cls, dfl) with gains.

    `loss` has the parts and methods of v8DetectionLoss; they are called as spec/40-yolo.md section 1.7 says.
    """
    boxes, scores, grid = preds["boxes"], preds["scores"], loss._grid(preds)
    with as_it_is(boxes):
        targets = targets_of(batch["batch_idx"], batch["cls"], batch["bboxes"], grid.points.dtype).to(boxes.device)
        table = loss.preprocess(targets, len(boxes), scale_tensor=scale_of(grid.imgsz, targets))
        dist = by_anchor(boxes, grid)
        heads = Heads(dist, by_anchor(scores, grid), loss.bbox_decode(grid.points, dist), grid)
        found = assigned(loss, heads, table, heads.pred_boxes.detach() * grid.strides)
        goal = found.target_bboxes / grid.strides
        box, dfl = box_terms(loss, heads, found, goal)
        parts = (box * loss.hyp.box, class_term(loss, heads.logits, found) * loss.hyp.cls, dfl * loss.hyp.dfl)
        vector = entries(parts, boxes, scores)
    return (found.fg_mask, found.target_gt_idx, found.target_bboxes, grid.points, grid.strides), vector


def by_anchor(x: Tensor, grid: Grid) -> Tensor:
    """(b, A, C) of predictions (b, C, A)."""
    return x.to(grid.points.dtype).permute(0, 2, 1).contiguous()


def assigned(loss: Any, heads: Heads, table: Tensor, pixels: Tensor) -> Assigned:
    """What `loss.assigner` answers for objects (b, G, 1 + 4 or 5) and predicted boxes, both in pixels."""
    labels, objects = table[..., :1], table[..., 1:]
    real = objects.sum(2, keepdim=True).gt(0).to(objects.dtype)
    seen = heads.logits.detach().sigmoid(), pixels.to(objects.dtype)
    points = heads.grid.points * heads.grid.strides
    _, target_bboxes, target_scores, fg_mask, index = loss.assigner(*seen, points, labels, objects, real)
    return Assigned(target_bboxes, target_scores, fg_mask, index, target_scores.sum().clamp(min=1))


def class_term(loss: Any, logits: Tensor, found: Assigned) -> Tensor:
    """Sum of `loss.bce`, by the weights of the classes if there are any, over S."""
    cost: Tensor = loss.bce(logits, found.target_scores.to(logits.dtype))
    if loss.class_weights is not None:
        cost = cost * weights_of(loss.class_weights, logits)
    return cost.sum() / found.norm


def weights_of(class_weights: Tensor, logits: Tensor) -> Tensor:
    """Weights of the classes as the logits (b, A, c) want them; ValueError unless there is one for each class."""
    if class_weights.numel() not in (1, logits.shape[-1]):
        shape = tuple(class_weights.shape)
        raise ValueError(f"class_weights: expected {logits.shape[-1]}, one for each class, got shape {shape}")
    return class_weights.to(logits)


def box_terms(loss: Any, heads: Heads, found: Assigned, goal: Tensor) -> tuple[Any, Any]:
    """(box, dfl) of `loss.bbox_loss`, which is not asked without a positive; goal in stride units."""
    dist, _, pred, grid = heads
    if not found.fg_mask.any():
        return dist.new_zeros(()), dist.new_zeros(())
    size = dist.new_tensor(grid.imgsz)
    given = (dist, pred, grid.points, goal, found.target_scores, found.norm, found.fg_mask, size, grid.strides)
    box, dfl = loss.bbox_loss(*given)
    return box, dfl


def entries(parts: Sequence[Any], *preds: Tensor) -> Tensor:
    """The vector of terms, numbers or tensors of one element, in the promoted dtype of the predictions.

    Every prediction gets a gradient, zeros where no part reads it (D10).
    """
    dtype, _ = compute_dtype(*preds)
    path = sum(x[:0].sum().to(dtype) for x in preds)
    terms = [torch.as_tensor(part, dtype=dtype, device=preds[0].device).reshape(()) for part in parts]
    return torch.stack(terms) + path
