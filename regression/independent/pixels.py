"""Losses of masks: Dice, cross entropy with Dice, and the prototype masks of one image, two ways each.

Written from `lossref/spec/30-elementary.md` sections 7 and 8, `40-yolo.md` section 2.2 and `05-decisions.md` alone.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lossref


@lossref.target("dice")
def dice(pred: Tensor, target: Tensor, smooth: float = 1e-6, reduction: str = "mean") -> Tensor:
    """By einsum over the pixels."""
    p, t = torch.sigmoid(pred), target.to(pred.dtype)
    shared = torch.einsum("bchw,bchw->bc", p, t)
    both = torch.einsum("bchw->bc", p) + torch.einsum("bchw->bc", t)
    images = (1 - (2 * shared + smooth) / (both + smooth)).mean(1)
    return {"mean": images.mean, "sum": images.sum}.get(reduction, lambda: images)()


@lossref.target("dice")
class Dice(nn.Module):
    """By a loop over images and channels, as 1 - dice = (only in one of both) / (both + smooth)."""

    def __init__(self, smooth: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__()
        self.smooth, self.reduction = smooth, reduction

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Logits and a mask of the same shape."""
        assert pred.shape == target.shape
        costs = pred.new_empty(pred.shape[:2]).copy_(0 * pred.sum((2, 3)))
        for image, channel in np.ndindex(*pred.shape[:2]):
            costs[image, channel] = self.channel(pred[image, channel], target[image, channel].to(pred.dtype))
        rows = costs.mean(1)
        if self.reduction == "mean":
            return rows.mean()
        return rows.sum() if self.reduction == "sum" else rows

    def channel(self, logits: Tensor, mask: Tensor) -> Tensor:
        """One channel of one image: P (1 - T) + T (1 - P) over P + T + smooth."""
        apart = (torch.sigmoid(logits) * (1 - mask) + torch.sigmoid(-logits) * mask).sum()
        return apart / (torch.sigmoid(logits).sum() + mask.sum() + self.smooth)


def nearest(target: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixel (floor(i h' / h), floor(j w' / w)) for pixel (i, j)."""
    height, width = target.shape[-2:]
    rows = torch.arange(size[0], device=target.device) * height // size[0]
    columns = torch.arange(size[1], device=target.device) * width // size[1]
    return target.index_select(-2, rows).index_select(-1, columns)


@lossref.target("bce_dice")
class BCEDice(nn.Module):
    """The two losses of torch and of this file, weighted."""

    def __init__(self, weight_bce: float = 0.5, weight_dice: float = 0.5) -> None:
        super().__init__()
        self.weights = weight_bce, weight_dice
        self.bce, self.dice = nn.BCEWithLogitsLoss(), Dice(smooth=1.0)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Logits (b, c, h, w), and a target of any size."""
        target = nearest(target, (pred.shape[2], pred.shape[3]))
        cross, overlap = self.weights
        total: Tensor = cross * self.bce(pred, target) + overlap * self.dice(pred, target)
        return total


@lossref.target("bce_dice")
def bce_dice(pred: Tensor, target: Tensor, weight_bce: float = 0.5, weight_dice: float = 0.5) -> Tensor:
    """The target gathered by one flat index; the entropy by logsigmoid."""
    batch, channels, height, width = pred.shape
    tall, wide = target.shape[-2:]
    if target.shape[:2] != pred.shape[:2]:
        raise ValueError("target and prediction differ in images or channels")
    row = torch.arange(height).mul(tall).div(height, rounding_mode="floor")
    column = torch.arange(width).mul(wide).div(width, rounding_mode="floor")
    flat = (row[:, None] * wide + column[None, :]).flatten().expand(batch, channels, -1)
    mask = target.flatten(2).gather(2, flat)
    x = pred.flatten(2)
    cross = -(mask * F.logsigmoid(x) + (1 - mask) * F.logsigmoid(-x)).mean()
    p = x.sigmoid()
    overlap = (2 * (p * mask).sum(-1) + 1) / (p.sum(-1) + mask.sum(-1) + 1)
    return weight_bce * cross + weight_dice * (1 - overlap.mean())


@lossref.target("mask")
def mask(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor) -> Tensor:
    """An indicator of each box, as the outer product of its columns and rows."""
    height, width = proto.shape[-2:]
    logits = torch.einsum("nk,khw->nhw", pred, proto)
    cost = F.binary_cross_entropy_with_logits(logits, gt_mask.to(logits.dtype), reduction="none")
    x = torch.arange(width, dtype=xyxy.dtype, device=xyxy.device)
    y = torch.arange(height, dtype=xyxy.dtype, device=xyxy.device)
    columns = (x >= xyxy[:, 0:1]) & (x < xyxy[:, 2:3])
    rows = (y >= xyxy[:, 1:2]) & (y < xyxy[:, 3:4])
    inside = rows[:, :, None] & columns[:, None, :]
    mean = torch.where(inside, cost, torch.zeros_like(cost)).mean((1, 2))
    solid = area != 0
    return torch.where(solid, mean / torch.where(solid, area, torch.ones_like(area)), 0 * mean).sum()


@lossref.target("mask")
def mask_slices(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor) -> Tensor:
    """One object at a time, from a slice of the pixels that its box keeps."""
    height, width = proto.shape[-2:]
    total = 0 * (pred.sum() + proto.sum())
    for truth, weights, box, part in zip(gt_mask, pred, xyxy, area, strict=True):
        if part == 0:
            continue
        x1, y1, x2, y2 = (max(0, int(edge)) for edge in box.ceil())
        prototypes = proto[:, y1:y2, x1:x2]
        logits = torch.tensordot(weights, prototypes, dims=1)
        pixels = torch.logaddexp(logits, 0 * logits) - logits * truth[y1:y2, x1:x2].to(logits.dtype)
        total = total + pixels.sum() / (height * width) / part
    return total
