"""monai.losses: focal, Dice, and GIoU of boxes.

Declared conventions: a soft label of focal scales its logit, alpha None switches the balance off; Dice has one smooth
above and one below the fraction; eps of GIoU is 2^-23, and never on the height (boxes are given as xywh).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from lossref.targets import packages
from lossref.targets.packages import Row

LISTS = {"shape": "takes two lists of equal length, and broadcasts nothing"}


def focal(kind: Any, pred: Tensor, label: Tensor, gamma: float, alpha: float) -> Any:
    """Averaged over axis 1, summed over the others."""
    loss = kind(gamma=gamma, alpha=alpha if alpha > 0 else None, reduction="none")
    return loss(pred, label).mean(1).sum()


def dice(kind: Any, pred: Tensor, target: Tensor, smooth: float, reduction: str) -> Any:
    """One number for each image, the mean over its channels; then reduced over the images."""
    each = kind(sigmoid=True, smooth_nr=smooth, smooth_dr=smooth, reduction="none")(pred, target).flatten(1).mean(1)
    return packages.over_images(each, reduction)


def giou(kind: Any, box1: Tensor, box2: Tensor) -> Any:
    """1 - loss of boxes xywh, with the last axis kept."""
    return 1 - kind(reduction="none")(packages.corners(box1), packages.corners(box2)).reshape(len(box1), 1)


ROWS = (
    Row("focal", "monai.losses.FocalLoss", focal, ("gamma", "alpha"), {"soft_labels": "scaled logit"}),
    Row("dice", "monai.losses.DiceLoss", dice, ("smooth", "reduction")),
    Row("giou", "monai.losses.giou_loss.BoxGIoULoss", giou, (), {"xywh": True, "eps": 2.0**-23}, LISTS),
)
version, targets = partial(packages.version, "monai"), partial(packages.targets, ROWS, "monai")
