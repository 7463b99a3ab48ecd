"""Object keypoint similarity as the overlap of an assigner, a convention of PoseLoss26 in recent releases.

E_k = exp(-d_k^2 / (2 (2 sigma_k)^2 (0.53 w h + 1e-9))), o = mean of E_k over the keypoints whose visibility is > 0,
all in pixels, w and h those of the object. "oks" (8.4.187 to 8.4.190): o takes the place of max(0, CIoU); "ciou
and oks" (8.4.180 to 8.4.186): the mean of both; an object without such a keypoint keeps max(0, CIoU). No gradient.
Source: spec/40-yolo.md section 4.5, measured on these releases as a black box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.nouns import Param
from lossref.losses.assignment import meanings as words
from lossref.losses.assignment.candidates import Pairs
from lossref.losses.detection.batch import Grid, Slots, rows_at
from lossref.losses.detection.oracle import Place, Task, oracle_match
from lossref.losses.detection.terms import Overlap
from lossref.losses.keypoints.kpts_decode import decoded

KINDS = ("oks", "ciou and oks")
BY_KEYPOINTS = {
    "metric_overlap": Param(
        "ciou", ("iou", *KINDS), "overlap in the assigner's metric; oks: releases from 8.4.180", means=words.OVERLAP
    ),
    "levels": Param(
        "all", ("by size",), "levels on which an object may have anchors; by size: from 8.4.187", means=words.LEVELS
    ),
}
SEGMENT = 0.53  # of the area of a box is covered by a person
EPS = 1e-9


def keypoint_overlap(
    kpts: Tensor, keypoints: Tensor, grid: Grid, kpt_shape: Sequence[int], sigmas: Tensor, form: str, kind: str
) -> Overlap:
    """What turns the overlaps (p,) of boxes at pairs into those of raw kpts (b, K D, A) and true keypoints.

    `keypoints` (n, K, 2 or 3) are in pixels, in the order of the batch; without a visibility all are seen. The
    result takes the overlaps, the pairs, class and box xyxy (b, G, 5) in pixels and rows (b, G) of the objects.
    """
    count, values = kpt_shape
    seen = keypoints[..., 2] > 0 if keypoints.shape[-1] > 2 else torch.ones_like(keypoints[..., 0], dtype=torch.bool)

    def overlap(boxes: Tensor, pairs: Pairs, truth: Tensor, slots: Slots) -> Tensor:
        raw = rows_at(kpts, pairs.image, pairs.anchor).reshape(-1, count, values)[..., :2].to(boxes.dtype)
        pred = decoded(grid.points[pairs.anchor][:, None], raw, form) * grid.strides[pairs.anchor][:, None]
        row = slots.row[pairs.image, pairs.object]
        distance2 = (pred - keypoints[row][..., :2]).square().sum(-1)
        box = truth[pairs.image, pairs.object, 1:]
        area = SEGMENT * (box[:, 2:] - box[:, :2]).prod(-1, keepdim=True) + EPS
        near = (distance2 / (-2 * (2 * sigmas.to(boxes)) ** 2 * area)).exp()
        visible = seen[row].to(boxes.dtype)
        number = visible.sum(-1)
        similarity = (near * visible).sum(-1) / number.clamp(min=1)
        return torch.where(number > 0, similarity if kind == "oks" else (boxes + similarity) / 2, boxes)

    return overlap


def oracle_keypoint_task(m: Arithmetic, p: Any, kpts: Any, keypoints: Any, sigmas: Sequence[float]) -> Task:
    """Assignment by raw kpts (b, K D, A) of the form "26" and keypoints (n, K, 2 or 3), normalised."""
    (height, width), (count, values) = p.imgsz, p.kpt_shape

    def of_row(row: int) -> tuple[Any, ...]:
        marks = ((x * width, y * height, *visibility, m.number(1.0)) for x, y, *visibility in keypoints[row])
        return tuple(number for mark in marks for number in mark[:3])

    def of_anchor(image: int, anchor: int, place: Place) -> tuple[Any, ...]:
        raw = [channel[anchor] for channel in kpts[image]]
        starts = [raw[values * k : values * k + 2] for k in range(count)]
        return tuple((x + at) * place.stride for start in starts for x, at in zip(start, place[:2], strict=True))

    def match(m: Arithmetic, truth: Any, pred: Any, rules: Any) -> Any:
        upright = rules._replace(overlap="ciou")
        seen = [k for k in range(count) if float(truth[6 + 3 * k].value) > 0]
        near = [oracle_nearness(m, truth, pred, k, sigmas[k]) for k in seen]
        if not near:
            return oracle_match(m, truth[:4], pred[:4], upright)
        similarity = m.sum(near) / len(near)
        if rules.overlap == "oks":
            return similarity
        return (oracle_match(m, truth[:4], pred[:4], upright) + similarity) / 2

    return Task(of_row, of_anchor, match)


def oracle_nearness(m: Arithmetic, truth: Any, pred: Any, k: int, sigma: float) -> Any:
    """E of keypoint k; the object is a box xyxy and triples x, y, visibility, the prediction a box and pairs."""
    x1, y1, x2, y2 = truth[:4]
    (u, v), (x, y) = truth[4 + 3 * k : 6 + 3 * k], pred[4 + 2 * k : 6 + 2 * k]
    distance2 = (x - u) * (x - u) + (y - v) * (y - v)
    return m.exp(-distance2 / (8 * sigma * sigma * (0.53 * (x2 - x1) * (y2 - y1) + 1e-9)))
