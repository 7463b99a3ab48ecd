"""kornia.losses: binary focal loss and Dice loss.

Declared conventions: focal has no alpha <= 0 (None switches the balance off); Dice is a softmax over two classes,
(0, x) here, of which the second alone has a weight, so that it is a sigmoid; its eps stands below the fraction only,
and its labels are whole numbers.
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
    return packages.version("kornia")


def targets() -> list[Target]:
    """Focal and Dice."""
    return packages.targets(ROWS, "kornia")


def focal(loss: Any, pred: Tensor, label: Tensor, gamma: float, alpha: float) -> Any:
    """Averaged over axis 1, summed over the others; without balance both sides weigh 1, here twice 1/2."""
    balance, factor = (alpha, 1) if alpha > 0 else (0.5, 2)
    return factor * loss(pred, label, alpha=balance, gamma=gamma, reduction="none").mean(1).sum()


def dice(loss: Any, pred: Tensor, target: Tensor) -> Any:
    """Every channel of every image as an image of two classes; the mean over all."""
    logits = pred.flatten(0, 1)[:, None]
    two = torch.cat((torch.zeros_like(logits), logits), 1)
    return loss(two, target.flatten(0, 1).long(), average="micro", eps=0.0, weight=two.new_tensor([0.0, 1.0]))


ROWS = (
    Row("focal", "kornia.losses.binary_focal_loss_with_logits", focal, ("gamma", "alpha")),
    Row("dice", "kornia.losses.dice_loss", dice, (), {"smooth": 0.0, "reduction": "mean"}),
)
