"""Detection loss of anchor-based heads, on positives only: the part that all YOLO losses have in common.

Objects are assigned to anchors by t = score^alpha overlap^beta (lossref/losses/assignment/positives.py), without
gradient; S = max(sum of the target scores, 1). Then cls = sum of bce over all anchors and classes / S, and
(box, dfl) as in lossref/losses/box_terms/bbox.py. No tensor of the size (b, A, classes) or (b, objects, A) is made:
scores and boxes are looked at where an object contains an anchor.
Source: spec/40-yolo.md section 1.3, spec/10-geometry.md sections 6 and 10.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lossref.core.precision import as_it_is, compute_dtype, require_floating
from lossref.losses.assignment.candidates import Pairs, candidates
from lossref.losses.assignment.positives import Positives, select
from lossref.losses.box_terms.bbox import bbox_terms
from lossref.losses.classification.class_term import BLOCK, sparse_bce
from lossref.losses.coordinates.dfl_decode import dfl_distances
from lossref.losses.coordinates.dist2bbox import dist2bbox
from lossref.losses.detection.batch import Slots, class_indices, numbers_at, padded, require_numbers, rows_at, slots_of
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

MODERATE = 40.0  # logits: sums of exponentials up to there have all their digits in float32


Overlap = Callable[[Tensor, Pairs, Tensor, Slots], Tensor]


def detect(boxes: Tensor, scores: Tensor, scene: Scene, of_task: Overlap | None = None) -> tuple[Found, Terms]:
    """Loss of boxes (b, 4 reg_max, A) and score logits (b, c, A) against targets (n, 6): image, class, xywh.

    Target boxes are normalised. `of_task` turns the overlaps (p,) of boxes into those that the task assigns by;
    it is given the pairs, class and box of every object (b, G, 5) in pixels, and their rows, too. Computed in the
    promoted dtype of boxes and scores, at least float32, under autocast too. Raises IndexError for a class
    that has no score, RuntimeError if there are fewer anchors than topk.
    """
    require_floating(boxes=boxes, scores=scores)
    targets, metric_overlap = scene.targets, scene.settings.matching.rules.overlap
    if of_task is None and metric_overlap not in OVERLAPS:
        raise ValueError(f"metric_overlap: expected one of {', '.join(OVERLAPS)}, got {metric_overlap!r}")
    require_targets(targets, 6)
    require_numbers(targets)
    with as_it_is(boxes):
        return _found(boxes, scores, scene, of_task)


def _found(boxes: Tensor, scores: Tensor, scene: Scene, of_task: Overlap | None) -> tuple[Found, Terms]:
    targets, grid, (reg_max, matching, gains) = scene
    dtype, _ = compute_dtype(boxes, scores)
    slots = slots_of(targets[:, 0], len(boxes))
    truth = to_pixels(padded(targets[:, 1:].to(dtype), slots), scale_of(grid.imgsz, targets).to(dtype))
    anchors = grid.points * grid.strides
    real = truth[..., 1:].sum(-1) > 0
    pairs = candidates(anchors, truth[..., 1:], real, matching.stride, matching.rules, grid.strides[:, 0])
    labels = class_indices(truth[..., 0], scores.shape[1])
    with torch.no_grad():
        matched = overlaps(decoded(distances(boxes, reg_max, dtype), grid), truth[..., 1:], pairs, matching)
        matched = matched if of_task is None else of_task(matched, pairs, truth, slots)
        positives = assign(scores, labels, pairs, matched, matching)
    image, anchor, number, score = positives
    points, stride, target = grid.points[anchor], grid.strides[anchor], truth[image, number, 1:]
    rows = rows_at(boxes, image, anchor).to(dtype)
    pred = dist2bbox(dfl_distances(rows, reg_max), points, xywh=False)
    norm = score.sum().clamp(min=1)
    given = (rows, pred, points, target / stride, score, norm, grid.imgsz, stride, reg_max)
    box, dfl = bbox_terms(*given, ciou_alpha=matching.ciou_alpha, edition=matching.edition)
    cls = class_cost(scores, labels, positives, dtype) / norm
    row = slots.row[image, number]
    found = Found(positives, row, target, pred, points, stride, norm, truth, slots)
    return found, Terms(box * gains.box, cls * gains.cls, dfl * gains.dfl)


# Boxes of all anchors, as the assignment sees them: without gradient, and without a copy of the logits ----------


def distances(boxes: Tensor, reg_max: int, dtype: torch.dtype) -> Tensor:
    """Distances (b, 4, A) of all anchors, without gradient; the logits are never copied as a whole."""
    require_channels(boxes, reg_max)
    images, _, anchors = boxes.shape
    if reg_max == 1:
        return boxes.to(dtype)
    sides = torch.split(boxes.reshape(-1, reg_max, anchors), max(BLOCK // max(reg_max * anchors, 1), 1))
    buffer = torch.empty(sides[0].shape, dtype=dtype, device=boxes.device)
    total, weight = torch.cat([_moments(side.to(dtype), buffer[: len(side)]) for side in sides]).unbind(1)
    return (total / weight).reshape(images, 4, anchors)


def _moments(logits: Tensor, buffer: Tensor) -> Tensor:
    """Sums over bins k of k e^x and of e^x, times one factor, (n, 2, A) for logits (n, bins, A); fills the buffer.

    The factor e^-max is left out where it is not needed: finding the largest of each column takes half the time.
    """
    bins = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device)
    powers = torch.stack([bins, torch.ones_like(bins)])
    if logits.device.type == "cpu" and logits.numel() and float(logits.amax()) <= MODERATE:
        found = powers @ torch.exp(logits, out=buffer)
        if float(found[:, 1].amin()) >= math.exp(-MODERATE):
            return found
    return powers @ torch.sub(logits, logits.amax(1, keepdim=True), out=buffer).exp_()


def overlaps(pred: Tensor, truth: Tensor, pairs: Pairs, matching: Matching) -> Tensor:
    """Overlap (p,) >= 0 of each pair of an object's box (b, G, 4) and an anchor's box (b, 4, A)."""
    object_box = columns_at(truth.transpose(1, 2), pairs.image, pairs.object)
    anchor_box = columns_at(pred, pairs.image, pairs.anchor)
    if matching.rules.overlap == "iou":
        return overlap(object_box, anchor_box, False, EPS).iou.clamp(min=0)
    return ciou(object_box, anchor_box, matching.ciou_alpha).clamp(min=0)


def columns_at(x: Tensor, image: Tensor, index: Tensor) -> Tensor:
    """(p, C) of x (b, C, n) at pairs of image and index; each column is in one piece of memory."""
    return x.transpose(0, 1).flatten(1).index_select(1, image * x.shape[-1] + index).t()


def assign(scores: Tensor, labels: Tensor, pairs: Pairs, matched: Tensor, matching: Matching) -> Positives:
    """Positives among the pairs, for score logits (b, c, A) and labels (b, G) int64."""
    if labels.shape[1] == 0:  # no object: fewer anchors than topk are no error
        return Positives(pairs.image, pairs.anchor, pairs.object, matched)
    _, classes, anchors = scores.shape
    label = numbers_at(labels.remainder(classes), pairs.image * labels.shape[1] + pairs.object)
    logit = numbers_at(scores, (pairs.image * classes + label) * anchors + pairs.anchor).to(matched.dtype)
    metric = logit.sigmoid().pow(matching.alpha) * matched.pow(matching.beta)
    shape = (*labels.shape, anchors)
    return select(
        pairs,
        metric,
        matched,
        shape,
        topk=matching.topk,
        topk2=matching.topk2 or matching.topk,
        eps=matching.eps,
        rules=matching.rules,
    )


def class_cost(scores: Tensor, labels: Tensor, positives: Positives, dtype: torch.dtype) -> Tensor:
    """Sum over all anchors and classes of bce(score logits, target), 0-d; a negative class counts as 0."""
    image, anchor, number, score = positives
    label = labels[image, number].clamp(min=0)
    _, classes, anchors = scores.shape
    return sparse_bce(scores, (image * classes + label) * anchors + anchor, score, dtype)
