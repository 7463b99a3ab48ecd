"""Detection loss of anchor-based heads, on positives only: the part that all YOLO losses have in common.

Objects are assigned to anchors by t = score^alpha overlap^beta (lossref/losses/assignment/positives.py), without
gradient; S = max(sum of the target scores, 1). Then cls = sum of bce over all anchors and classes / S, and
(box, dfl) as in lossref/losses/box_terms/bbox.py. No tensor of the size (b, A, classes) or (b, objects, A) is made:
scores and boxes are looked at where an object contains an anchor. Source: spec/40-yolo.md section 1.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.assignment.candidates import SPECIFIED, Pairs, Rules, candidates
from lossref.losses.assignment.positives import Positives, select
from lossref.losses.box_terms.bbox import bbox_terms
from lossref.losses.classification.class_term import sparse_bce
from lossref.losses.coordinates.dfl_decode import dfl_distances
from lossref.losses.coordinates.dist2bbox import dist2bbox
from lossref.losses.coordinates.xywh2xyxy import xywh2xyxy
from lossref.losses.detection.batch import Grid, Slots, class_indices, numbers_at, padded, rows_at, slots_of
from lossref.losses.detection.decoding import decoded, distances
from lossref.losses.overlap.bbox_iou import overlap
from lossref.losses.overlap.ciou import EPS, ciou

OVERLAPS = ("ciou", "iou")


class Matching(NamedTuple):
    """Settings of the assigner; `stride` has one entry for each level, topk2 None or 0 means topk.

    `edition` is the release that the box terms follow, too; see `of_edition`.
    """

    stride: tuple[float, ...]
    topk: int = 10
    topk2: int | None = None
    alpha: float = 0.5
    beta: float = 6.0
    eps: float = 1e-9
    rules: Rules = SPECIFIED
    ciou_alpha: str = "detached"
    edition: str = "8.4"


def matching_of(
    strides: Sequence[float],
    tal_topk: int,
    tal_topk2: int | None,
    ciou_alpha: str,
    metric_overlap: str,
    edition: str = "8.4",
    **rules: Any,
) -> Matching:
    """Settings of the assigner from the parameters of a loss; `rules` are fields of `Rules`."""
    chosen = Rules(overlap=metric_overlap, **rules)
    found = Matching(tuple(map(float, strides)), tal_topk, tal_topk2, rules=chosen, ciou_alpha=ciou_alpha)
    return of_edition(found, edition)


def of_edition(matching: Matching, edition: str) -> Matching:
    """The settings in an edition: releases 8.3 have no rule for small sides, and no second top-k."""
    if edition == "8.3":
        matching = matching._replace(topk2=None, rules=matching.rules._replace(small_boxes="off"))
    return matching._replace(edition=edition)


class Gains(NamedTuple):
    """Factors of the three terms."""

    box: float = 7.5
    cls: float = 0.5
    dfl: float = 1.5


class Found(NamedTuple):
    """Positives (n,) and what the terms of any task need of them.

    target_boxes (n, 4) in pixels; pred_boxes (n, 4), with gradient, and points (n, 2) in stride units;
    stride (n, 1) in pixels; norm is S. truth (b, G, 5) holds class and box of every object, in pixels.
    """

    positives: Positives
    target_boxes: Tensor
    pred_boxes: Tensor
    points: Tensor
    stride: Tensor
    norm: Tensor
    truth: Tensor
    slots: Slots


class Terms(NamedTuple):
    """The three terms with gains, without the factor b; each 0-d."""

    box: Tensor
    cls: Tensor
    dfl: Tensor


Overlap = Callable[[Tensor, Pairs, Tensor, Slots], Tensor]


def detect(
    boxes: Tensor,
    scores: Tensor,
    targets: Tensor,
    grid: Grid,
    reg_max: int,
    matching: Matching,
    gains: Gains,
    of_task: Overlap | None = None,
) -> tuple[Found, Terms]:
    """Loss of boxes (b, 4 reg_max, A) and score logits (b, c, A) against targets (n, 6): image, class, xywh.

    Target boxes are normalised. `of_task` turns the overlaps (p,) of boxes into those that the task assigns by;
    it is given the pairs, class and box of every object (b, G, 5) in pixels, and their rows, too. Computed in the
    promoted dtype of boxes and scores, at least float32, under autocast too. Raises IndexError for a class
    that has no score, RuntimeError if there are fewer anchors than topk.
    """
    require_floating(boxes=boxes, scores=scores)
    if of_task is None and matching.rules.overlap not in OVERLAPS:
        raise ValueError(f"metric_overlap: expected one of {', '.join(OVERLAPS)}, got {matching.rules.overlap!r}")
    if targets.shape[1] != 6:
        raise RuntimeError(f"bboxes: expected 4 numbers for each object, got {targets.shape[1] - 2}")
    with torch.autocast(boxes.device.type, enabled=False):
        return _found(boxes, scores, targets, grid, reg_max, matching, gains, of_task)


def _found(
    boxes: Tensor,
    scores: Tensor,
    targets: Tensor,
    grid: Grid,
    reg_max: int,
    matching: Matching,
    gains: Gains,
    of_task: Overlap | None,
) -> tuple[Found, Terms]:
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
    found = Found(positives, target, pred, points, stride, norm, truth, slots)
    return found, Terms(box * gains.box, cls * gains.cls, dfl * gains.dfl)


def scale_of(imgsz: tuple[float, float], like: Tensor) -> Tensor:
    """(W, H, W, H) in pixels, dtype and device of `like`."""
    height, width = imgsz
    return like.new_tensor([width, height, width, height])


def to_pixels(rows: Tensor, scale: Tensor) -> Tensor:
    """(..., 1 + 4 + more) of class, xywh and more to class, xyxy times the scale (4,), and more."""
    return torch.cat([rows[..., :1], xywh2xyxy(rows[..., 1:5] * scale), rows[..., 5:]], -1)


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


def dense(found: Found, grid: Grid, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """fg_mask (b, A), object index (b, A), target boxes (b, A, 4) px, points, strides, as the classes return them.

    Background anchors carry object 0. Without any object mask and index have the dtype of `like` (QA1).
    """
    images, anchors = len(like), len(grid.points)
    if found.truth.shape[1] == 0:
        nothing = like.new_zeros((images, anchors))
        return nothing, nothing.clone(), found.truth.new_zeros((images, anchors, 4)), grid.points, grid.strides
    image, anchor, number, _ = found.positives
    mask = torch.zeros((images, anchors), dtype=torch.bool, device=like.device)
    index = torch.zeros((images, anchors), dtype=torch.long, device=like.device)
    mask[image, anchor] = True
    index[image, anchor] = number
    boxes = found.truth[..., 1:].gather(1, index[..., None].expand(-1, -1, found.truth.shape[-1] - 1))
    return mask, index, boxes, grid.points, grid.strides
