"""What the terms of a pose loss are made of: positives, detection terms, and keypoints at the positives.

The same for v8_pose and pose26, which differ in the decoding (`form`) and in what they append to the keypoints.
Source: spec/40-yolo.md sections 3.1 and 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from lossref.losses.detection.settings import scene_of
from lossref.losses.detection.terms import Found, Terms, detect, without_objects
from lossref.losses.keypoints.rle_keypoints import rle_keypoints
from lossref.losses.pose.keypoint_overlap import KINDS, keypoint_overlap
from lossref.losses.pose.keypoint_terms import COCO, Truth, pixels_of, predicted_at, sigmas_of, truth_at, weights_of


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
    kpts_sigma: Tensor | None,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    keypoints: Tensor,
    *,
    form: str,
    kpt_shape: Sequence[int] = (3, 3),
    **settings: Any,
) -> Parts:
    """What the terms of a pose loss are made of; arguments as `v8_pose`, kpts_sigma (b, 2 K, A) if there is one."""
    scene = scene_of((boxes, scores), (batch_idx, cls, bboxes), **settings)
    by_keypoints, kind = None, scene.settings.matching.rules.overlap
    if kind in KINDS:
        dtype = scene.grid.points.dtype
        true = pixels_of(keypoints, scene.grid.imgsz, kpt_shape, len(scene.targets), dtype)
        sigmas = sigmas_of(kpt_shape, dtype, tuple(kpt_shape) == COCO)
        by_keypoints = keypoint_overlap(kpts, true, scene.grid, kpt_shape, sigmas, form, kind)
    found, terms = detect(boxes, scores, scene, by_keypoints)
    pred = predicted_at(scores, found, kpt_shape, form, kpts, *(() if kpts_sigma is None else (kpts_sigma,)))
    if without_objects(found):
        return Parts(found, terms, pred, None)
    return Parts(found, terms, pred, truth_at(keypoints, found, scene.grid.imgsz, kpt_shape, len(scene.targets)))


def likelihood(pred: Tensor, truth: Truth, kpt_shape: Sequence[int], rle_sigma: str) -> Tensor:
    """RLE of decoded keypoints (n, K, D + 2) under the standard normal, 0 at least; 0-d."""
    weights = weights_of(kpt_shape, tuple(kpt_shape) == COCO)
    return rle_keypoints(pred, truth.points, truth.visible, weights, rle_sigma=rle_sigma).clamp(min=0)
