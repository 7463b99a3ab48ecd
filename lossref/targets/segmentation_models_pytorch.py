"""segmentation_models_pytorch.losses: focal and Dice, with or without torchvision's compiled operators.

Declared conventions: focal is averaged over everything (it has no other reduction for several classes); Dice in the
mode "multilabel" takes one Dice for each channel of the batch, so that images become channels here, and only the
mean exists; its eps bounds the denominator from below.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lossref import packages
from lossref.core import Target
from lossref.packages import Row


def version() -> str:
    """The installed release."""
    return packages.version("segmentation_models_pytorch")


def targets() -> list[Target]:
    """Focal and Dice."""
    return packages.targets(ROWS, "segmentation_models_pytorch")


def focal(kind: Any, pred: Tensor, label: Tensor, gamma: float, alpha: float) -> Any:
    """Averaged over axis 1, summed over the others."""
    loss = kind("binary", alpha=alpha if alpha > 0 else None, gamma=gamma, reduction="sum")
    return loss(pred, label) / pred.shape[1]


def dice(kind: Any, pred: Tensor, target: Tensor, smooth: float) -> Any:
    """The mean over the channels of all images."""
    return kind("multilabel", smooth=smooth, eps=0.0)(pred.flatten(0, 1)[None], target.flatten(0, 1)[None])


ROWS = (
    Row("focal", "segmentation_models_pytorch.losses.FocalLoss", focal, ("gamma", "alpha")),
    Row("dice", "segmentation_models_pytorch.losses.DiceLoss", dice, ("smooth",), {"reduction": "mean"}),
)
