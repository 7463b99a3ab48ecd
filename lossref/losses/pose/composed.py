"""The pose losses from their parts, one by one: what is computed where a part or a method was replaced.

As lossref/losses/detection/composed.py is for detection. Source: spec/40-yolo.md sections 1.7, 3.1, 3.4, 4.1 and 4.4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossref.core.precision import as_it_is
from lossref.losses.detection.batch import grid_of
from lossref.losses.detection.composed import by_anchor, entries
from lossref.losses.pose.keypoint_terms import nothing_of, pixels_of


def composed_pose(loss: Any, preds: dict[str, Any], batch: dict[str, Any], *sigma: Tensor) -> Tensor:
    """The vector (box, pose, kobj, cls, dfl[, rle]) with gains, from the parts and methods of `loss`.

    `sigma` (b, 2 K, A) are the logits that PoseLoss26 appends to the keypoints.
    """
    answer, terms, _ = loss.get_assigned_targets_and_loss(preds, batch)
    kpts, gains = preds["kpts"], loss._gains()
    extra: Any = (0.0, 0.0, nothing_of(getattr(loss, "flow_model", None)))
    pred = decoded(loss, preds, answer[3], *sigma)
    if answer[0].any():
        extra = keypoint_costs(loss, preds, batch, answer, pred)
    pose, kobj, *rle = (cost * gain for cost, gain in zip(extra, gains, strict=False))
    return entries((terms[0], pose, kobj, terms[1], terms[2], *rle), preds["boxes"], preds["scores"], kpts, *sigma)


def decoded(loss: Any, preds: dict[str, Any], points: Tensor, *sigma: Tensor) -> Any:
    """`loss.kpts_decode` of all anchors: (b, A, K, D) or, with sigma, (b, A, K, D + 2)."""
    grid = grid_of(preds["feats"], loss.stride.tolist(), preds["boxes"], preds["kpts"], *sigma)
    count, values = loss.kpt_shape
    parts = [by_anchor(preds["kpts"], grid).unflatten(-1, (count, values))]
    parts += [by_anchor(x, grid).unflatten(-1, (count, 2)) for x in sigma]
    return loss.kpts_decode(points, torch.cat(parts, -1))


def keypoint_costs(loss: Any, preds: dict[str, Any], batch: dict[str, Any], answer: Any, pred: Any) -> Any:
    """`loss.calculate_keypoints_loss` of a batch with positives; keypoints in pixels."""
    fg_mask, index, boxes, points, strides = answer
    grid = grid_of(preds["feats"], loss.stride.tolist(), preds["boxes"], preds["scores"])
    batch_idx = batch["batch_idx"].reshape(-1, 1).to(pred.device)
    true = batch["keypoints"].to(pred.device)
    pixels = pixels_of(true, grid.imgsz, loss.kpt_shape, len(batch_idx), points.dtype)
    with as_it_is(preds["kpts"]):
        return loss.calculate_keypoints_loss(fg_mask, index, pixels, batch_idx, strides, boxes, pred)


def costs_of(
    loss: Any, chosen: Tensor, stride: Tensor, boxes: Tensor, pred: Tensor, likelihood: bool
) -> tuple[Any, ...]:
    """(pose, kobj[, rle]) of `keypoint_loss`, `bce_pose` and `calculate_rle_loss` at positives, without gains.

    Keypoints (n, K, D) and boxes (n, 4) in pixels, stride (n, 1), pred (n, K, D') decoded.
    """
    if not len(pred):
        none = pred.sum()
        return (none, none, none + nothing_of(loss.flow_model)) if likelihood else (none, none)
    true = torch.cat([chosen[..., :2] / stride[:, None], chosen[..., 2:]], -1)
    seen = true[..., 2] != 0 if true.shape[-1] > 2 else torch.ones_like(true[..., 0], dtype=torch.bool)
    area = ((boxes[:, 2:] - boxes[:, :2]) / stride).prod(-1, keepdim=True)
    pose, values, kobj = loss.keypoint_loss(pred, true, seen, area), pred.shape[-1], pred.new_zeros(())
    rle = kobj + nothing_of(loss.flow_model) if likelihood else kobj
    if likelihood and loss._rated() and values > 3:
        rle = loss.calculate_rle_loss(pred, true, seen).clamp(min=0)
    if values in ((3, 5) if likelihood else (3,)):
        kobj = loss.bce_pose(pred[..., 2], seen.to(pred.dtype))
    return (pose, kobj, rle) if likelihood else (pose, kobj)
