"""What the terms of a pose loss are made of: positives, detection terms, and keypoints at the positives.

The same for v8_pose and pose26, which differ in the decoding (`form`) and in what they append to the keypoints.
Source: spec/40-yolo.md sections 3.1 and 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from lossref.losses.detection.batch import feats_of, grid_of, targets_of
from lossref.losses.detection.terms import Found, Gains, Terms, detect, matching_of
from lossref.losses.pose.keypoint_overlap import KINDS, keypoint_overlap
from lossref.losses.pose.keypoint_terms import COCO, Truth, pixels_of, predicted_at, sigmas_of, truth_at


class Parts(NamedTuple):
    """Positives, detection terms (gains, no factor b), decoded keypoints (n, K, D') and truth at the positives."""

    found: Found
    terms: Terms
    pred: Tensor
    truth: Truth | None


def parts_of(
    boxes: Tensor,
    scores: Tensor,
    kpts: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    keypoints: Tensor,
    *sigma: Tensor,
    form: str = "v8",
    kpt_shape: Sequence[int] = (3, 3),
    imgsz: Sequence[float] = (64, 64),
    strides: Sequence[float] = (8, 16, 32),
    reg_max: int = 16,
    tal_topk: int = 10,
    tal_topk2: int | None = None,
    box_gain: float = 7.5,
    cls_gain: float = 0.5,
    dfl_gain: float = 1.5,
    ciou_alpha: str = "detached",
    metric_overlap: str = "ciou",
    **rules: Any,
) -> Parts:
    """What the terms of a pose loss are made of; arguments as `v8_pose`, `sigma` (b, 2 K, A) if there is one."""
    grid = grid_of(feats_of(imgsz, strides, boxes), strides, boxes, scores)
    targets = targets_of(batch_idx, cls, bboxes, grid.points.dtype)
    matching = matching_of(strides, tal_topk, tal_topk2, ciou_alpha, metric_overlap, **rules)
    gains, by_keypoints = Gains(box_gain, cls_gain, dfl_gain), None
    if metric_overlap in KINDS:
        dtype = grid.points.dtype
        true = pixels_of(keypoints, grid.imgsz, kpt_shape, len(targets), dtype)
        sigmas = sigmas_of(kpt_shape, dtype, tuple(kpt_shape) == COCO)
        by_keypoints = keypoint_overlap(kpts, true, grid, kpt_shape, sigmas, form, metric_overlap)
    found, terms = detect(boxes, scores, targets, grid, reg_max, matching, gains, by_keypoints)
    pred = predicted_at(scores, found, kpt_shape, form, kpts, *sigma)
    if not len(pred):
        return Parts(found, terms, pred, None)
    return Parts(found, terms, pred, truth_at(keypoints, found, grid.imgsz, kpt_shape, len(targets)))
