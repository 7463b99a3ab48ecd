"""What both forms of the detection loss have in common: what they find, and units.

Source: spec/40-yolo.md section 1.3, spec/10-geometry.md section 6.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossref.losses.assignment.positives import Positives
from lossref.losses.assignment.static.slots import Slots as Flat
from lossref.losses.coordinates.dist2bbox import dist2bbox
from lossref.losses.coordinates.xywh2xyxy import xywh2xyxy
from lossref.losses.detection.batch import Grid, Slots

OVERLAPS = ("ciou", "iou")


class Found(NamedTuple):
    """Positives (n,) and what the terms of any task need of them.

    row (n,) is that of the object in the batch; target_boxes (n, 4) in pixels; pred_boxes (n, 4), with gradient, and
    points (n, 2) in stride units; stride (n, 1) in pixels; norm is S. truth holds class and box of every object, in
    pixels: (b, G, 5) by image, or (p, 5) in the static form, whose positives are the picks of all slots: those not
    `kept` (n,) count for nothing, and have the score 0. None: all count.
    """

    positives: Positives
    row: Tensor
    target_boxes: Tensor
    pred_boxes: Tensor
    points: Tensor
    stride: Tensor
    norm: Tensor
    truth: Tensor
    slots: Slots | Flat
    kept: Tensor | None = None


class Terms(NamedTuple):
    """The three terms with gains, without the factor b; each 0-d."""

    box: Tensor
    cls: Tensor
    dfl: Tensor


def require_targets(targets: Tensor, columns: int) -> None:
    """Raise RuntimeError unless targets (n, columns) have as many numbers for each object as its box has."""
    if targets.shape[1] != columns:
        raise RuntimeError(f"bboxes: expected {columns - 2} numbers for each object, got {targets.shape[1] - 2}")


def require_channels(boxes: Tensor, reg_max: int) -> None:
    """Raise RuntimeError unless logits (b, 4 reg_max, A) have a channel for each bin of each side."""
    if boxes.shape[1] != 4 * reg_max:
        raise RuntimeError(f"boxes: expected {4 * reg_max} channels, 4 times reg_max, got {boxes.shape[1]}")


def decoded(ltrb: Tensor, grid: Grid) -> Tensor:
    """Boxes xyxy (b, 4, A) in pixels of distances (b, 4, A)."""
    return dist2bbox(ltrb, grid.points.t(), xywh=False, dim=1) * grid.strides[:, 0]


def scale_of(imgsz: tuple[float, float], like: Tensor) -> Tensor:
    """(W, H, W, H) in pixels, dtype and device of `like`."""
    height, width = imgsz
    scale = like.new_full((4,), width)
    scale[1::2].fill_(height)  # numbers in a list would be copied to the device
    return scale


def to_pixels(rows: Tensor, scale: Tensor) -> Tensor:
    """(..., 1 + 4 + more) of class, xywh and more to class, xyxy times the scale (4,), and more."""
    return torch.cat([rows[..., :1], xywh2xyxy(rows[..., 1:5] * scale), rows[..., 5:]], -1)
