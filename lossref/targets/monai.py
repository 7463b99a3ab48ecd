"""monai.losses: focal, Dice, cross entropy plus Dice, and GIoU of boxes.

Declared conventions: focal has alpha None where the specification has alpha <= 0; Dice has one smooth above and
one below the fraction; boxes are xyxy, without eps on the height (hence given as xywh).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossref import packages
from lossref.core import Target
from lossref.packages import Row


def version() -> str:
    """The installed release."""
    return packages.version("monai")


def targets() -> list[Target]:
    """Focal, Dice, GIoU and IoU."""
    return packages.targets(ROWS, "monai")


def focal(kind: Any, pred: Tensor, label: Tensor, gamma: float, alpha: float) -> Any:
    """Averaged over axis 1, summed over the others."""
    loss = kind(gamma=gamma, alpha=alpha if alpha > 0 else None, reduction="none")
    return loss(pred, label).mean(1).sum()


def dice(kind: Any, pred: Tensor, target: Tensor, smooth: float, reduction: str) -> Any:
    """One number for each image, the mean over its channels; then reduced over the images."""
    each = kind(sigmoid=True, smooth_nr=smooth, smooth_dr=smooth, reduction="none")(pred, target).flatten(1).mean(1)
    return {"mean": each.mean, "sum": each.sum}.get(reduction, lambda: each)()


def giou(kind: Any, box1: Tensor, box2: Tensor) -> Any:
    """1 - loss of boxes xywh, with the last axis kept."""
    corners = [torch.cat((b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2), -1) for b in (box1, box2)]
    return 1 - kind(reduction="none")(*corners).reshape(len(box1), 1)


ROWS = (
    Row("focal", "monai.losses.FocalLoss", focal, ("gamma", "alpha")),
    Row("dice", "monai.losses.DiceLoss", dice, ("smooth", "reduction")),
    Row("giou", "monai.losses.giou_loss.BoxGIoULoss", giou, (), {"xywh": True, "eps": 0.0}),
)
