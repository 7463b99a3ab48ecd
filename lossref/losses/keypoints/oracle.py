"""Keypoints in scalars: the oracle parts that kpts_decode, rle_keypoints, v8_pose and pose26 share.

Source: spec/40-yolo.md sections 3 and 4, spec/30-elementary.md sections 5 and 9.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lossref.core.arithmetic import Arithmetic
from lossref.losses.box_terms.domains import oracle_edition
from lossref.losses.keypoints.keypoint import oracle as oracle_keypoint


def oracle_point(m: Arithmetic, raw: Any, p: Any, form: str) -> Any:
    """One decoded keypoint at an anchor p, in cells: two positions, and what comes after them."""
    x, y, *rest = raw
    if form == "v8":
        return (2 * x + p[0] - 0.5, 2 * y + p[1] - 0.5, *rest)
    return (x + p[0], y + p[1], *rest)


def oracle_rle_row(m: Arithmetic, pred: Any, target: Any, weight: Any, residual: bool = True) -> Any:
    """RLE of one visible keypoint under the standard normal, both coordinates, not yet divided by the rows.

    In exact numbers sigma never underflows. Where it does in a dtype, the bound of D5 counts, which is
    another number in every dtype; only a weight of 0 makes the result the same.
    """
    sigmas = [m.sigmoid(z) for z in pred[-2:]]
    raw = [(p - t) / (s + 1e-9) for p, t, s in zip(pred[:2], target[:2], sigmas, strict=True)]
    errors = [m.clamp(e, low=-100.0, high=100.0) for e in raw]
    log_phi = -m.sum(e * e for e in errors) / 2 - m.log(2 * m.pi)
    costs = [m.log(s) - log_phi for s in sigmas]
    if residual:
        costs += [m.log(2 * s) + m.abs(e) for s, e in zip(sigmas, errors, strict=True)]
    return m.sum(costs) * weight


def oracle_rle_keypoints(
    m: Arithmetic,
    pred_kpt: Any,
    gt_kpt: Any,
    kpt_mask: Any,
    weights: Any,
    rle_sigma: str = "bounded",
    residual: bool = True,
    size_average: bool = True,
) -> Any:
    """RLE of keypoints with the density of the standard normal."""
    rows = [
        oracle_rle_row(m, p, g, w, residual)
        for preds, targets, seen in zip(pred_kpt, gt_kpt, kpt_mask, strict=True)
        for p, g, w, visible in zip(preds, targets, weights, seen, strict=True)
        if visible
    ]
    return m.sum(rows) / (max(len(rows), 1) if size_average else 1)


# The terms of a pose loss ------------------------------------------------------------------------------

_TENTHS = (0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89)
OKS = tuple(float(np.float32(tenth) / np.float32(10)) for tenth in _TENTHS)
OKS_83 = tuple(tenth / 10 for tenth in _TENTHS)
HEAVY = {7: 1.2, 8: 1.2, 9: 1.5, 10: 1.5, 13: 1.2, 14: 1.2, 15: 1.5, 16: 1.5}


def oracle_constants(
    m: Arithmetic, kpt_shape: tuple[int, int], edition: str = "8.4"
) -> tuple[list[float], list[float]]:
    """Sigma and weight of every keypoint."""
    if kpt_shape == (17, 3):
        return list(OKS_83 if edition == "8.3" else OKS), [HEAVY.get(k, 1.0) for k in range(17)]
    return [1 / kpt_shape[0]] * kpt_shape[0], [1.0] * kpt_shape[0]


class Pose(NamedTuple):
    """Keypoints of one positive in cells: predicted (K, D'), true (K, 2), seen (K), area of its box in cells^2."""

    pred: Any
    true: Any
    seen: list[bool]
    area: Any


def oracle_poses(
    m: Arithmetic, p: Any, images: Any, kpts: Any, keypoints: Any, form: str, sigma: Any = None
) -> list[Pose]:
    """Keypoints at the positives of all images; `sigma` (b, 2K, A) is appended to those predicted."""
    (height, width), (count, values) = p.imgsz, p.kpt_shape
    found = []
    for image, hits in enumerate(images):
        for hit in hits:
            stride = hit.place.stride
            raw = [channel[hit.anchor] for channel in kpts[image]]
            extra = [channel[hit.anchor] for channel in sigma[image]] if sigma else []
            parts = [(*raw[values * k : values * (k + 1)], *extra[2 * k : 2 * (k + 1)]) for k in range(count)]
            labels = keypoints[hit.row]
            true = [(point[0] * width / stride, point[1] * height / stride) for point in labels]
            seen = [len(point) < 3 or float(point[2].value) != 0 for point in labels]
            x1, y1, x2, y2 = hit.target
            pred = [oracle_point(m, part, (hit.place.x, hit.place.y), form) for part in parts]
            found.append(Pose(pred, true, seen, (x2 - x1) * (y2 - y1) / (stride * stride)))
    return found


def oracle_pose_terms(m: Arithmetic, p: Any, poses: list[Pose]) -> tuple[Any, Any]:
    """Location and visibility, with gains."""
    if not poses:
        return m.number(0.0), m.number(0.0)
    sigmas, _ = oracle_constants(m, p.kpt_shape, oracle_edition(m, p))
    pred, true, seen, area = zip(*poses, strict=True)
    pose = oracle_keypoint(m, pred, true, seen, [(a,) for a in area], sigmas)
    marked = [pair for one in poses for pair in zip(one.pred, one.seen, strict=True)] if p.kpt_shape[1] == 3 else []
    costs = [m.softplus(-point[2] if mark else point[2]) for point, mark in marked]
    return pose * p.pose_gain, m.sum(costs) / max(len(costs), 1) * p.kobj_gain


def oracle_rle_term(m: Arithmetic, p: Any, poses: list[Pose]) -> Any:
    """Likelihood, 0 at least, with gain."""
    _, weights = oracle_constants(m, p.kpt_shape)
    pred, true, seen = [list(x) for x in zip(*poses, strict=True)][:3] if poses else ([], [], [])
    rle = oracle_rle_keypoints(m, pred, true, seen, weights, p.rle_sigma)
    return m.clamp(rle, low=0.0) * p.rle_gain
