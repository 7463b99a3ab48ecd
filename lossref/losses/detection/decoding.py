"""Boxes of all anchors, as the assignment sees them: without gradient, and without a copy of the logits.

Source: spec/10-geometry.md sections 6 and 10.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lossref.losses.classification.class_term import BLOCK
from lossref.losses.coordinates.dist2bbox import dist2bbox
from lossref.losses.detection.batch import Grid

MODERATE = 40.0  # logits: sums of exponentials up to there have all their digits in float32


def distances(boxes: Tensor, reg_max: int, dtype: torch.dtype) -> Tensor:
    """Distances (b, 4, A) of all anchors, without gradient; the logits are never copied as a whole."""
    images, channels, anchors = boxes.shape
    if channels != 4 * reg_max:
        raise RuntimeError(f"boxes: expected {4 * reg_max} channels, 4 times reg_max, got {channels}")
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


def decoded(ltrb: Tensor, grid: Grid) -> Tensor:
    """Boxes xyxy (b, 4, A) in pixels of distances (b, 4, A)."""
    return dist2bbox(ltrb, grid.points.t(), xywh=False, dim=1) * grid.strides[:, 0]
