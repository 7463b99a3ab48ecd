"""Detection loss in tables of fixed size: no shape depends on a value, no value comes to the host.

Every object has a slot, every slot and anchor a metric, every slot topk picks; what counts is told by masks, and what
does not count is computed on harmless numbers, so that no NaN of theirs reaches a gradient. Same steps and numbers as
pairs.py. Objects that it would refuse (a class without a score, NaN) make S, and so every term, NaN.
Source: spec/40-yolo.md section 1.3, spec/20-assignment.md sections 1.2 to 1.7.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from lossref.core.precision import as_it_is, compute_dtype, require_floating
from lossref.losses.assignment.positives import Positives
from lossref.losses.assignment.static.inside import inside
from lossref.losses.assignment.static.select import Picks, Table, select
from lossref.losses.assignment.static.slots import Slots, slots_of, table_of
from lossref.losses.assignment.static.strategy import looked_at
from lossref.losses.box_terms.slot_terms import mean_bins, slot_terms
from lossref.losses.classification.slot_bce import slot_bce
from lossref.losses.coordinates.bbox2dist import bbox2dist
from lossref.losses.coordinates.dist2bbox import dist2bbox
from lossref.losses.detection.batch import Grid, class_indices, rows_at
from lossref.losses.detection.settings import Matching, Scene
from lossref.losses.detection.terms.parts import (
    OVERLAPS,
    Found,
    Terms,
    decoded,
    require_channels,
    require_targets,
    scale_of,
    to_pixels,
)
from lossref.losses.overlap.bbox_iou import overlap
from lossref.losses.overlap.ciou import EPS, ciou


class Objects(NamedTuple):
    """Objects of all slots: class (p,) int64 within +-classes, box (p, 4 or 5) in pixels, whether it counts (p,).

    truth (p, 1 + 4 or 5) is class and box as given; wrong is 0-d, whether any of them cannot be computed with.
    """

    slots: Slots
    label: Tensor
    boxes: Tensor
    real: Tensor
    truth: Tensor
    wrong: Tensor


def detect(boxes: Tensor, scores: Tensor, scene: Scene) -> tuple[Found, Terms]:
    """As `pairs.detect`, without a form of overlap of its own."""
    require_floating(boxes=boxes, scores=scores)
    targets, grid, (reg_max, matching, gains) = scene
    if matching.rules.overlap not in OVERLAPS:
        raise ValueError(f"metric_overlap: expected one of {', '.join(OVERLAPS)}, got {matching.rules.overlap!r}")
    require_targets(targets, 6)
    with as_it_is(boxes):
        dtype, _ = compute_dtype(boxes, scores)
        scale = scale_of(grid.imgsz, grid.points)
        table = table_of(targets.to(dtype))
        slots = slots_of(table[:, 0], len(boxes), len(targets))
        objects = objects_of(table, to_pixels(table[:, 1:], scale), slots, scores)
        with torch.no_grad():
            anchors, strides = grid.points * grid.strides, grid.strides[:, 0]
            near = inside(anchors, objects.boxes, matching.stride, matching.rules, strides)
            matched = overlaps(decoded(distances(boxes, reg_max, dtype), grid), objects, matching)
            picks = assigned(scores, objects, near, matched, matching)
        goal = objects.boxes[picks.slot]
        points, stride, rows = at_picks(boxes, grid, picks, dtype)
        pred = dist2bbox(mean_bins(rows.reshape(-1, 4, reg_max), -1) if reg_max > 1 else rows, points, xywh=False)
        norm = norm_of(picks, objects)
        unit = torch.cat([points - 1, points + 1], 1)
        target = torch.where(picks.kept[:, None], goal / stride, unit)
        given = (rows, pred, points, target, picks.score, norm, scale, stride, reg_max, matching.edition)
        box, dfl = slot_terms(*given, partial(ciou, alpha=matching.ciou_alpha), bbox2dist)
        cls = class_cost(scores, objects, picks, dtype) / norm
        return found_of(picks, objects, goal, pred, points, stride, norm), Terms(
            box * gains.box, cls * gains.cls, dfl * gains.dfl
        )


def objects_of(table: Tensor, truth: Tensor, slots: Slots, scores: Tensor) -> Objects:
    """Objects of a table (p, columns) whose classes and boxes in pixels are `truth`; scores (b, c, A).

    Raises IndexError for a class without a score where values are looked at.
    """
    classes = scores.shape[1]
    truth = torch.where(slots.present[:, None], truth, 0)
    label = truth[:, 0].long()
    if looked_at(table):
        class_indices(label, classes)
    wrong = table.isnan().any() | ((label >= classes) | (label < -classes)).any()
    boxes = truth[:, 1:]
    real = (boxes.sum(1) > 0) & slots.present
    return Objects(slots, label.clamp(-classes, classes - 1), boxes, real, truth, wrong)


def distances(boxes: Tensor, reg_max: int, dtype: torch.dtype) -> Tensor:
    """Distances (b, 4, A) of all anchors, of logits (b, 4 reg_max, A)."""
    require_channels(boxes, reg_max)
    images, _, anchors = boxes.shape
    if reg_max == 1:
        return boxes.to(dtype)
    return mean_bins(boxes.to(dtype).reshape(images, 4, reg_max, anchors), -2)


def overlaps(pred: Tensor, objects: Objects, matching: Matching) -> Tensor:
    """Overlap (p, A) >= 0 of each object and the boxes (b, 4, A) xyxy of its image, in pixels."""
    truth, pred = objects.boxes[:, None], pred.index_select(0, objects.slots.image).transpose(1, 2)
    if matching.rules.overlap == "iou":
        return overlap(truth, pred, False, EPS).iou.clamp(min=0)
    return ciou(truth, pred, matching.ciou_alpha).clamp(min=0)


def assigned(scores: Tensor, objects: Objects, near: Tensor, matched: Tensor, matching: Matching) -> Picks:
    """Picks of the objects among the candidates (p, A) with overlaps (p, A), for score logits (b, c, A)."""
    images, classes, anchors = scores.shape
    row = objects.slots.image * classes + objects.label.remainder(classes)
    logit = scores.reshape(images * classes, anchors).index_select(0, row).to(matched.dtype)
    metric = logit.sigmoid().pow(matching.alpha) * matched.pow(matching.beta)
    k = {"topk": matching.topk, "topk2": matching.topk2 or matching.topk}
    table = Table(near & objects.real[:, None], metric, matched)
    return select(
        table,
        objects.real,
        objects.slots,
        **k,
        eps=matching.eps,
        rules=matching.rules,
        required=objects.slots.objects > 0,
    )


def at_picks(boxes: Tensor, grid: Grid, picks: Picks, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Points (m, 2), strides (m, 1) and rows (m, 4 reg_max) of the boxes at the picks; ones where nothing is kept."""
    points, stride = grid.points[picks.anchor], grid.strides[picks.anchor]
    rows = rows_at(boxes, picks.image, picks.anchor).to(dtype)
    return points, stride, torch.where(picks.kept[:, None], rows, 1)


def norm_of(picks: Picks, objects: Objects) -> Tensor:
    """S, 0-d: NaN if a candidate of any object is, or if an object cannot be computed with."""
    wrong = objects.wrong | picks.bad.any()
    return picks.score.sum().clamp(min=1).masked_fill(wrong, torch.nan)


def class_cost(scores: Tensor, objects: Objects, picks: Picks, dtype: torch.dtype) -> Tensor:
    """Sum over all anchors and classes of bce(score logits, target), 0-d; a negative class counts as 0."""
    _, classes, anchors = scores.shape
    label = objects.label.clamp(min=0)[picks.slot]
    place = (picks.image * classes + label) * anchors + picks.anchor
    return slot_bce(scores, place, picks.score, dtype)


def found_of(
    picks: Picks, objects: Objects, goal: Tensor, pred: Tensor, points: Tensor, stride: Tensor, norm: Tensor
) -> Found:
    """What other terms read; goal (m, 4 or 5) are the boxes of the objects, in pixels."""
    positives = Positives(picks.image, picks.anchor, objects.slots.number[picks.slot], picks.score)
    return Found(positives, picks.slot, goal, pred, points, stride, norm, objects.truth, objects.slots, picks.kept)


def dense(found: Found, grid: Grid, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As `dense` of the pairs."""
    slots, kept = found.slots, found.kept
    assert isinstance(slots, Slots)
    assert kept is not None
    images, anchors, columns = len(like), len(grid.points), found.truth.shape[1] - 1
    if slots.objects == 0:
        nothing, boxes = like.new_zeros((images, anchors)), found.truth.new_zeros((images, anchors, columns))
        return nothing, nothing.clone(), boxes, grid.points, grid.strides
    place = found.positives.image * anchors + found.positives.anchor
    owner = torch.full((images * anchors,), -1, device=like.device)
    owner = owner.scatter_reduce(0, place, torch.where(kept, found.row, -1), "amax").reshape(images, anchors)
    mask, first = owner >= 0, slots.first[:, None]
    row = torch.where(mask, owner, first).clamp(max=len(slots.image) - 1)
    boxes = torch.where((first < len(slots.image))[..., None], found.truth[row, 1:], 0)
    return mask, torch.where(mask, slots.number[row], 0), boxes, grid.points, grid.strides
