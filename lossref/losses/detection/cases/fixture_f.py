"""Fixture F of spec/40-yolo.md section 0 as arrays: the worked example of all YOLO losses.

Image b, channel c, anchor a count from 0; n = 16 i + j is the running index of the 8 x 16 pixels of a map.
Two images of 32 x 64 pixels, strides 8 and 16, 40 anchors, 2 classes. Objects: o0 (image 0, class 1), o1
(image 0, class 0), o2 (image 1, class 0).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lossref.core.nouns import Array

IMGSZ = (32, 64)
STRIDES = (8, 16)
ANCHORS = 40
MAP = (8, 16)
BATCH_IDX = (0, 0, 1)
CLS = (1, 0, 0)
BBOXES = ((3 / 8, 1 / 2, 1 / 2, 3 / 4), (11 / 16, 1 / 2, 3 / 8, 1 / 2), (1 / 2, 5 / 16, 1 / 2, 5 / 8))
ANGLES = (0.25, -0.5, 1.25)
ROWS = tuple((b, c, *box) for b, c, box in zip(BATCH_IDX, CLS, BBOXES, strict=True))


def ramp(shape: tuple[int, ...], factors: tuple[int, ...], modulus: int, shift: float) -> Array:
    """((sum of factor * index) mod modulus) / 8 + shift over all indices."""
    total = sum(factor * grid for factor, grid in zip(factors, np.indices(shape), strict=True))
    return np.asarray(total % modulus / 8 + shift)


def boxes(reg_max: int = 4) -> Array:
    """(2, 4 R, 40); distances rather than logits if R is 1."""
    return ramp((2, 4 * reg_max, ANCHORS), (3, 11, 5), 17, -1.0 if reg_max > 1 else 0.5)


def scores() -> Array:
    """(2, 2, 40) class logits."""
    return ramp((2, 2, ANCHORS), (5, 3, 7), 13, -0.75)


def mask_coefficient() -> Array:
    """(2, 2, 40)."""
    return ramp((2, 2, ANCHORS), (2, 5, 3), 9, -0.5)


def proto() -> Array:
    """(2, 2, 8, 16) prototypes."""
    return ramp((2, 2, 128), (7, 5, 3), 11, -0.5).reshape(2, 2, *MAP)


def semantic() -> Array:
    """(2, 2, 8, 16) semantic logits."""
    return ramp((2, 2, 128), (7, 3, 5), 13, -0.5).reshape(2, 2, *MAP)


def kpts(channels: int = 9) -> Array:
    """(2, K D, 40) raw keypoints."""
    return ramp((2, channels, ANCHORS), (2, 5, 3), 9, -0.5)


def kpts_sigma(keypoints: int = 3) -> Array:
    """(2, 2 K, 40) logits of sigma."""
    return ramp((2, 2 * keypoints, ANCHORS), (2, 3, 5), 7, -0.5)


def angle() -> Array:
    """(2, 1, 40) radians."""
    return ramp((2, 1, ANCHORS), (2, 0, 3), 9, -0.5)


def masks(cell: int = 2, height: int = 8, width: int = 16) -> Array:
    """(2, 8, 16) overlap masks: (i div 2 + j div 2) mod 3 in image 0, mod 2 in image 1."""
    i, j = np.indices((height, width)) // cell
    return np.stack([(i + j) % 3, (i + j) % 2]).astype(float)


def separate_masks(cell: int = 2, height: int = 8, width: int = 16) -> Array:
    """(3, 8, 16): the same as one binary mask for each object."""
    both = masks(cell, height, width)
    return np.stack([both[0] == 1, both[0] == 2, both[1] == 1]).astype(float)


def sem_masks() -> Array:
    """(2, 8, 16) class of each pixel, (i + j) mod 2."""
    i, j = np.indices(MAP)
    return np.stack([(i + j) % 2] * 2).astype(float)


def keypoints(count: int = 3, values: int = 3) -> Array:
    """(3, K, D): x, y normalised and visibility (n + k) mod 3."""
    n, k = np.indices((3, count))
    x, y = ((3 * n + 2 * k) % 7 + 1) / 8, ((2 * n + 3 * k) % 5 + 2) / 8
    return np.stack([x, y, (n + k) % 3], axis=-1)[..., :values].astype(float)


def rotated() -> Array:
    """(3, 5): the boxes with their angles."""
    return np.concatenate([np.array(BBOXES), np.array(ANGLES)[:, None]], axis=1)


def objects(*rows: tuple[float, ...]) -> dict[str, Any]:
    """batch_idx, cls and bboxes of rows (image, class, x, y, w, h[, angle]); without rows those of F."""
    if not rows:
        return {"batch_idx": BATCH_IDX, "cls": CLS, "bboxes": BBOXES}
    table = np.array(rows, dtype=float)
    return {"batch_idx": table[:, 0], "cls": table[:, 1], "bboxes": table[:, 2:]}


def no_object(numbers: int = 4) -> dict[str, Any]:
    """batch_idx, cls and bboxes of a batch without objects."""
    return {"batch_idx": np.zeros(0), "cls": np.zeros(0), "bboxes": np.zeros((0, numbers))}


def params(reg_max: int = 4, **more: Any) -> dict[str, Any]:
    """The parameters of F for a spec of a loss that takes predictions and objects."""
    return {"imgsz": IMGSZ, "strides": STRIDES, "reg_max": reg_max, **more}
