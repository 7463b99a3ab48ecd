"""The rotated detection loss from its parts, one by one: what is computed where a part or a method was replaced.

As lossref/losses/detection/composed.py is for upright boxes. Source: spec/40-yolo.md sections 1.7 and 5.3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossref.core.precision import as_it_is
from lossref.losses.detection.batch import targets_of
from lossref.losses.detection.composed import Heads, assigned, box_terms, by_anchor, class_term, entries
from lossref.losses.detection.terms import scale_of
from lossref.losses.obb.terms import large_enough


def composed_rotated(loss: Any, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[tuple[Tensor, ...], Tensor]:
    """What the loss is made of, and its vector with gains, from its parts; see `composed`."""
    boxes, scores, angle = preds["boxes"], preds["scores"], preds["angle"]
    grid = loss._grid(preds, angle)
    with as_it_is(boxes):
        targets = large_enough(rotated_targets(batch, grid.points.dtype).to(boxes.device), grid)
        table = loss.preprocess(targets, len(boxes), scale_tensor=scale_of(grid.imgsz, targets))
        dist, turn = by_anchor(boxes, grid), by_anchor(angle, grid)
        heads = Heads(dist, by_anchor(scores, grid), loss.bbox_decode(grid.points, dist, turn), grid)
        step = torch.cat([grid.strides.expand(-1, 4), torch.ones_like(grid.strides)], 1)
        found = assigned(loss, heads, table, heads.pred_boxes.detach() * step)
        goal, cost = found.target_bboxes / step, dist.new_zeros(())
        box, dfl = box_terms(loss, heads, found, goal)
        if found.fg_mask.any():
            weight = found.target_scores.sum(-1)[found.fg_mask]
            cost = loss.calculate_angle_loss(heads.pred_boxes, goal, found.fg_mask, weight, found.norm)
        hyp, cls = loss.hyp, class_term(loss, heads.logits, found)
        vector = entries((box * hyp.box, cls * hyp.cls, dfl * hyp.dfl, cost * hyp.angle), boxes, scores, angle)
    return (found.fg_mask, found.target_gt_idx, found.target_bboxes, grid.points, grid.strides), vector


def rotated_targets(batch: dict[str, Any], dtype: torch.dtype) -> Tensor:
    """(n, 7): image, class, xywhr of a batch; TypeError where these do not fit together."""
    try:
        return targets_of(batch["batch_idx"], batch["cls"], batch["bboxes"].reshape(-1, 5), dtype)
    except RuntimeError as error:
        shapes = ", ".join(f"{name} {tuple(batch[name].shape)}" for name in ("batch_idx", "cls", "bboxes"))
        raise TypeError(f"expected objects with rotated boxes (n, 5) xywhr, got {shapes}") from error
