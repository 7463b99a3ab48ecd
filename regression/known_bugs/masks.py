"""Public bugs of mask losses: spec/30-elementary.md sections 7 and 8, spec/10-geometry.md section 11."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from known_bugs.bug import Bug

DICE = ("smooth",)


def similarity(pred: Tensor, target: Tensor, smooth: float, axes: tuple[int, ...] = (2, 3)) -> Tensor:
    p = pred.sigmoid()
    return (2 * (p * target).sum(axes) + smooth) / (p.sum(axes) + target.sum(axes) + smooth)


def dice(pred: Tensor, target: Tensor, smooth: float = 1e-6, *, axes: tuple[int, ...] = (2, 3)) -> Tensor:
    """`axes` are summed over in the fraction; what is left of images and channels is averaged."""
    return (1 - similarity(pred, target, smooth, axes)).mean()


def dice_itself(pred: Tensor, target: Tensor, smooth: float = 1e-6) -> Tensor:
    return similarity(pred, target, smooth).mean()


def at_the_size_of(pred: Tensor, target: Tensor) -> Tensor:
    rows, columns = (torch.arange(pred.shape[k]) * target.shape[k] // pred.shape[k] for k in (2, 3))
    return target[:, :, rows][:, :, :, columns]


def dice_smooth_1(pred: Tensor, target: Tensor) -> Tensor:
    return dice(pred, target, 1.0)


def bce_dice(
    pred: Tensor,
    target: Tensor,
    weight_bce: float = 0.5,
    weight_dice: float = 0.5,
    *,
    second: Callable[[Tensor, Tensor], Tensor] = dice_smooth_1,
) -> Tensor:
    t = at_the_size_of(pred, target)
    return weight_bce * bce(pred, t) + weight_dice * second(pred, t)


def crop_mask(masks: Tensor, boxes: Tensor, *, least: float = 0.0) -> Tensor:
    """Slices of the rows and columns at or after the edges; an edge below `least` is taken for it."""
    kept = torch.zeros_like(masks)
    for mask, box in zip(kept, boxes.tolist(), strict=True):
        x1, y1, x2, y2 = (math.ceil(max(edge, least)) for edge in box)
        mask[y1:y2, x1:x2] = 1
    return masks * kept


BUGS = (
    Bug(
        "one Dice for everything",
        "fastai/fastai#3439",
        "pull",
        "dice",
        "images and channels are summed with the pixels: a large background hides every small class",
        partial(dice, axes=(0, 1, 2, 3)),
        dice,
        DICE,
        says="everything together",
    ),
    Bug(
        "one Dice for the batch",
        "qubvel-org/segmentation_models.pytorch#712",
        "issues",
        "dice",
        "the images of a batch share one fraction, so that the loss depends on how images are batched",
        partial(dice, axes=(0, 2, 3)),
        dice,
        DICE,
        says="images together",
    ),
    Bug(
        "Dice for 1 - Dice",
        "sraashis/easytorch#38",
        "pull",
        "dice",
        "the similarity is returned, and minimised",
        dice_itself,
        dice,
        DICE,
        says="1 minus the value",
    ),
    Bug(
        "cross entropy for Dice",
        "achaiah/pywick#7",
        "issues",
        "bce_dice",
        "the part that is called Dice is a second cross entropy",
        partial(bce_dice, second=bce),
        bce_dice,
        ("weight_bce", "weight_dice"),
        says="cross entropy twice",
    ),
    Bug(
        "negative edge wraps",
        "ultralytics/ultralytics#24100",
        "issues",
        "crop_mask",
        "an edge left of or above the image is used as an index from the other end: the crop is empty or another one",
        partial(crop_mask, least=-math.inf),
        crop_mask,
        says="negative edges wrap",
    ),
)
