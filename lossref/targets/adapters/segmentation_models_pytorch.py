"""segmentation_models_pytorch.losses: focal and Dice, with or without torchvision's compiled operators.

Declared conventions: p_t of focal is exp(-bce), alpha None switches the balance off; Dice counts smooth twice, gives
a channel without a target no cost, and lets soft targets share min(P, T).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from lossref.targets import packages
from lossref.targets.packages import Row


def focal(kind: Any, pred: Tensor, label: Tensor, gamma: float, alpha: float) -> Any:
    """Averaged over axis 1, summed over the others."""
    loss = kind("binary", alpha=alpha if alpha > 0 else None, gamma=gamma, reduction="sum")
    return loss(pred, label) / pred.shape[1]


def dice(kind: Any, pred: Tensor, target: Tensor, smooth: float, reduction: str) -> Any:
    """Image by image, because it has one Dice for each channel of the batch."""
    loss = kind("multilabel", smooth=smooth / 2, eps=0.0)
    return packages.over_images(packages.image_by_image(loss, pred, target), reduction)


LOSSES = "segmentation_models_pytorch.losses"
ROWS = (
    Row("focal", f"{LOSSES}.FocalLoss", focal, ("gamma", "alpha"), {"soft_labels": "exp(-bce)"}),
    Row(
        "dice",
        f"{LOSSES}.DiceLoss",
        dice,
        ("smooth", "reduction"),
        {"empty_target": "dropped", "soft_target": "minimum"},
    ),
)
version, targets = (
    partial(packages.version, "segmentation_models_pytorch"),
    partial(packages.targets, ROWS, "segmentation_models_pytorch"),
)
