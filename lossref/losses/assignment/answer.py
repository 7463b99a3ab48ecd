"""The dense answer of an assigner, from candidate pairs and their overlaps; plain and rotated boxes alike.

Background anchors carry the class, box and index of object 0; without any object in the batch labels, mask
and index have the dtype of the scores (QA1). float16 and bfloat16 are computed in float32 and rounded once.
Source: spec/20-assignment.md sections 1.1, 1.3 and 1.7, spec/05-decisions.md D9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.assignment.positives import Pairs, Positives, Rules, poisoned, select
from lossref.losses.assignment.static.answering import Metric, Tables, answered
from lossref.losses.assignment.static.strategy import chosen, looked_at

__all__ = ["Assigner", "Assignment", "Geometry", "Metric", "Tables", "assignment", "require_assignable"]


class Assignment(NamedTuple):
    """What an assigner returns, for every image and anchor; see `task_aligned`."""

    target_labels: Tensor
    target_bboxes: Tensor
    target_scores: Tensor
    fg_mask: Tensor
    target_gt_idx: Tensor


class Geometry(NamedTuple):
    """What boxes of a kind are to an assigner: `candidates` of it, and overlap(boxes, predictions, pairs, rules).

    `tables` are the same for the static form.
    """

    candidates: Callable[..., Pairs]
    overlap: Callable[[Tensor, Tensor, Pairs, Rules], Tensor]
    tables: Tables


STEPS = (
    *("_forward", "get_pos_mask", "get_box_metrics", "iou_calculation", "pair_overlaps", "select_topk_candidates"),
    *("select_candidates_in_gts", "select_highest_overlaps", "get_targets"),
)
"""Steps of the package's assigners, which users override there; ours has none of them."""


class Assigner(nn.Module):
    """What the assigner classes of every edition share; each names the function that it asks.

    A subclass may override `forward`. One of STEPS, in the class or the object, would never be called:
    NotImplementedError with its name.
    """

    _assign: Any

    def __init__(
        self, topk: int = 13, num_classes: int = 80, alpha: float = 1.0, beta: float = 6.0, eps: float = 1e-9
    ) -> None:
        super().__init__()
        self.topk = topk
        self.num_classes = num_classes
        self.alpha = alpha
        self.beta = beta
        self.eps = eps

    def forward(
        self,
        pd_scores: Tensor,
        pd_bboxes: Tensor,
        anc_points: Tensor,
        gt_labels: Tensor,
        gt_bboxes: Tensor,
        mask_gt: Tensor,
    ) -> Assignment:
        """The assignment under the settings of this object."""
        self.refuse_steps()
        given = (pd_scores, pd_bboxes, anc_points, gt_labels, gt_bboxes, mask_gt)
        found: Assignment = self._assign(*given, **self._settings())
        return found

    def refuse_steps(self) -> None:
        """Raise NotImplementedError for a step that would never be called."""
        for name in STEPS:
            if name in self.__dict__ or hasattr(type(self), name):
                raise NotImplementedError(
                    f"{name}: lossref's assigner has no such step, and would not call it; override forward, "
                    "or give the loss an assigner of the package as its `assigner`"
                )

    def _settings(self) -> dict[str, Any]:
        settings = {"topk": self.topk, "num_classes": self.num_classes, "alpha": self.alpha, "beta": self.beta}
        return {**settings, "eps": self.eps}


def assignment(
    pd_scores: Tensor,
    pd_bboxes: Tensor,
    anc_points: Tensor,
    gt_labels: Tensor,
    gt_bboxes: Tensor,
    mask_gt: Tensor,
    num_classes: int,
    stride: Sequence[float],
    metric: Metric,
    rules: Rules,
    geometry: Geometry,
) -> Assignment:
    """The answer for arguments that fit together; see `task_aligned`."""
    if gt_bboxes.shape[1] == 0:
        return no_object(pd_scores, pd_bboxes, gt_bboxes, num_classes)
    dtype, _ = compute_dtype(pd_scores, pd_bboxes, anc_points, gt_bboxes)
    classes, real = min(num_classes, pd_scores.shape[-1]), mask_gt[..., 0] != 0
    with torch.no_grad():
        boxes = gt_bboxes.to(dtype)
        if chosen(pd_scores.transpose(1, 2), gt_bboxes.shape[0] * gt_bboxes.shape[1]) == "static":
            labels, wrong = static_labels(gt_labels, mask_gt, classes)
            given = (pd_scores, pd_bboxes.to(dtype), anc_points.to(dtype), labels, boxes, real, tuple(stride))
            mask, index, score = answered(*given, metric, rules, geometry.tables)
            score = score.masked_fill(wrong[:, None], torch.nan)
            return targets_of(mask, index, score, labels, gt_bboxes, num_classes, pd_scores)
        labels = class_of(gt_labels, classes)
        pairs = geometry.candidates(anc_points.to(dtype), boxes, real, tuple(stride), rules)
        matched = geometry.overlap(boxes, pd_bboxes.to(dtype), pairs, rules)
        return assigned(pd_scores, labels, gt_bboxes, pairs, matched, num_classes, metric, rules)


def no_object(pd_scores: Tensor, pd_bboxes: Tensor, gt_bboxes: Tensor, num_classes: int) -> Assignment:
    """The answer for a batch without any object."""
    nothing = pd_scores.new_zeros(pd_scores.shape[:2])
    boxes = gt_bboxes.new_zeros(pd_bboxes.shape)
    scores = pd_scores.new_zeros((*nothing.shape, num_classes), dtype=compute_dtype(pd_scores, gt_bboxes)[1])
    return Assignment(torch.full_like(nothing, num_classes), boxes, scores, nothing, nothing.clone())


def class_of(gt_labels: Tensor, classes: int) -> Tensor:
    """Labels (b, G, 1) as int64 (b, G), truncated toward zero; IndexError for one that has no score."""
    labels = gt_labels[..., 0].long()
    if labels.numel() and (int(labels.max()) >= classes or int(labels.min()) < -classes):
        raise IndexError(f"gt_labels: expected 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}")
    return labels


def static_labels(gt_labels: Tensor, mask_gt: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Labels (b, G) within +-classes, and images (b,) with one that has no score, or a mask that is NaN."""
    labels = class_of(gt_labels, classes) if looked_at(gt_labels) else gt_labels[..., 0].long()
    wrong = (labels >= classes) | (labels < -classes) | gt_labels[..., 0].isnan() | mask_gt[..., 0].isnan()
    return labels.clamp(-classes, classes - 1), wrong.any(1)


def pair_metric(pd_scores: Tensor, labels: Tensor, pairs: Pairs, overlap: Tensor, how: Metric) -> Tensor:
    """t (p,) of the pairs, for probabilities (b, A, c) and labels (b, G)."""
    score = pd_scores[pairs.image, pairs.anchor, labels[pairs.image, pairs.object]]
    return score.to(overlap.dtype).pow(how.alpha) * overlap.pow(how.beta)


def assigned(
    pd_scores: Tensor,
    labels: Tensor,
    gt_bboxes: Tensor,
    pairs: Pairs,
    overlap: Tensor,
    num_classes: int,
    how: Metric,
    rules: Rules,
) -> Assignment:
    """The answer for candidates (p,) with overlaps (p,) >= 0; scores (b, A, c), labels (b, G), boxes (b, G, 4 or 5)."""
    images, anchors, _ = pd_scores.shape
    metric = pair_metric(pd_scores, labels, pairs, overlap, how)
    shape = (images, labels.shape[1], anchors)
    k = {"topk": how.topk, "topk2": how.topk2 or how.topk}
    found = select(pairs, metric, overlap, shape, **k, eps=how.eps, rules=rules)
    mask, index = dense_index(found, images, anchors)
    score = overlap.new_zeros((images, anchors)).index_put((found.image, found.anchor), found.score)
    score = score.masked_fill(poisoned(pairs, metric, overlap, images)[:, None], torch.nan)
    return targets_of(mask, index, score, labels, gt_bboxes, num_classes, pd_scores)


def targets_of(
    mask: Tensor, index: Tensor, score: Tensor, labels: Tensor, gt_bboxes: Tensor, num_classes: int, pd_scores: Tensor
) -> Assignment:
    """The answer for positives, objects and soft targets (b, A) each; a NaN target is NaN in every class."""
    target_labels = labels.gather(1, index).clamp(min=0)
    scores = score.new_zeros((*score.shape, num_classes)).scatter(2, target_labels[..., None], score[..., None])
    scores = scores.masked_fill(score.isnan()[..., None], torch.nan)
    boxes = gt_bboxes.gather(1, index[..., None].expand(-1, -1, gt_bboxes.shape[-1]))
    result = compute_dtype(pd_scores, gt_bboxes)[1]
    return Assignment(target_labels, boxes, scores.to(result), mask, index)


def dense_index(found: Positives, images: int, anchors: int) -> tuple[Tensor, Tensor]:
    """Whether each anchor is positive, and the object it belongs to (0 for the others), both (b, A)."""
    at = (found.image, found.anchor)
    index = found.object.new_zeros((images, anchors)).index_put(at, found.object)
    nowhere = torch.zeros_like(index, dtype=torch.bool)
    return nowhere.index_put(at, nowhere.new_ones(())), index


def require_assignable(
    pd_scores: Tensor,
    pd_bboxes: Tensor,
    anc_points: Tensor,
    gt_labels: Tensor,
    gt_bboxes: Tensor,
    mask_gt: Tensor,
    box: int,
) -> None:
    """Raise unless the arguments of an assigner fit together; `box` numbers describe one box."""
    require_floating(pd_scores=pd_scores, pd_bboxes=pd_bboxes, anc_points=anc_points, gt_bboxes=gt_bboxes)
    if pd_scores.ndim != 3 or gt_bboxes.ndim != 3:
        raise ValueError("expected pd_scores (b, A, c) and gt_bboxes (b, G, 4 or 5)")
    (images, anchors, _), objects = pd_scores.shape, gt_bboxes.shape[1]
    expected: dict[str, tuple[Tensor, tuple[int, ...]]] = {
        "pd_bboxes": (pd_bboxes, (images, anchors, box)),
        "anc_points": (anc_points, (anchors, 2)),
        "gt_labels": (gt_labels, (images, objects, 1)),
        "gt_bboxes": (gt_bboxes, (images, objects, box)),
        "mask_gt": (mask_gt, (images, objects, 1)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {tuple(tensor.shape)}")
    if mask_gt.is_floating_point() and looked_at(mask_gt) and bool(mask_gt.isnan().any()):
        raise ValueError("mask_gt: expected 1 for a real object and 0 for padding, got NaN")
