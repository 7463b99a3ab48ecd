"""kornia.losses: binary focal loss and Dice loss.

Declared conventions: a soft label costs both sides in proportion; Dice is a softmax over two classes, (0, x) here,
of which only the second has a weight, so that it is a sigmoid; its eps is a smooth below the fraction only.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from lossref.targets import packages
from lossref.targets.dropin.entry import Mismatch
from lossref.targets.packages import Row


def focal(loss: Any, pred: Tensor, label: Tensor, gamma: float, alpha: float) -> Any:
    """Averaged over axis 1, summed over the others; without balance both sides weigh 1, here twice 1/2."""
    balance, factor = (alpha, 1) if alpha > 0 else (0.5, 2)
    return factor * loss(pred, label, alpha=balance, gamma=gamma, reduction="none").mean(1).sum()


def dice(loss: Any, pred: Tensor, target: Tensor, smooth: float, reduction: str) -> Any:
    """Every channel as an image of two classes; the mean over the channels of each image.

    Labels are whole numbers there: k/16 becomes k of 16 copies of the pixel, which leaves the fraction alone.
    """
    copies = 1 if bool((target == target.round()).all()) else 16
    if bool((copies * target != (copies * target).round()).any()):
        raise Mismatch("target: kornia takes whole labels; sixteenths can be given as copies, others cannot")

    def of_image(logits: Tensor, mask: Tensor) -> Any:
        x, t = (y.flatten(0, 1).flatten(1).repeat_interleave(copies, 1) for y in (logits, mask))
        label = torch.arange(x.shape[1], device=x.device) % copies < copies * t
        two, weight = torch.stack((torch.zeros_like(x), x), 1)[..., None, :], x.new_tensor([0.0, 1.0])
        return loss(two, label[:, None].long(), average="micro", eps=copies * smooth, weight=weight)

    return packages.over_images(packages.image_by_image(of_image, pred, target), reduction)


ROWS = (
    Row(
        "focal", "kornia.losses.binary_focal_loss_with_logits", focal, ("gamma", "alpha"), {"soft_labels": "two sides"}
    ),
    Row("dice", "kornia.losses.dice_loss", dice, ("smooth", "reduction"), {"smooth_above": False}),
)
version, targets = partial(packages.version, "kornia"), partial(packages.targets, ROWS, "kornia")
