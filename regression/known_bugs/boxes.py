"""Public bugs of conversions between forms of boxes, and of the box term of a detection loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from known_bugs.bug import Bug, require
from lossref import BboxLoss, bbox_iou


def xywh2xyxy(x: Tensor, *, centre: slice = slice(0, 2)) -> Tensor:
    """`centre` are the columns that are taken for it."""
    require(x, 4)
    middle, half = x[..., centre], x[..., 2:] / 2
    return torch.cat((middle - half, middle + half), -1)


def xyxy2xywh(x: Tensor, *, order: tuple[int, int] = (0, 1)) -> Tensor:
    """`order` in which width and height are written."""
    require(x, 4)
    low, high = x.chunk(2, -1)
    return torch.cat(((low + high) / 2, (high - low)[..., order]), -1)


def column(weight: Tensor) -> Tensor:
    return weight[:, None]


def row(weight: Tensor) -> Tensor:
    """Broadcast against a column, it weighs every box by the weight of every other."""
    return weight


def bbox(*inputs: Any, reg_max: int = 16, shaped: Callable[[Tensor], Tensor] = column) -> tuple[Tensor, Tensor]:
    """The box term from an overlap (n, 1); the distance term is that of lossref."""
    _, boxes, _, targets, scores, norm, mask, *_ = inputs
    cost = 1 - bbox_iou(boxes[mask], targets[mask], xywh=False, CIoU=True)
    _, distances = BboxLoss(reg_max)(*inputs)
    return (shaped(scores.sum(-1)[mask]) * cost).sum() / norm, distances


BUGS = (
    Bug(
        "width for the centre",
        "motokimura/yolo_v1_pytorch#1",
        "issues",
        "xywh2xyxy",
        "one wrong column, the width, stands for both coordinates of the centre",
        partial(xywh2xyxy, centre=slice(2, 3)),
        xywh2xyxy,
        says="width for the centre",
    ),
    Bug(
        "height before width",
        "PacktPublishing/PyTorch-Computer-Vision-Cookbook#5",
        "issues",
        "xyxy2xywh",
        "width and height are written in each other's column, which square boxes do not show",
        partial(xyxy2xywh, order=(1, 0)),
        xyxy2xywh,
        says="columns in another order",
    ),
    Bug(
        "weights against all boxes",
        "ultralytics/ultralytics#2614",
        "pull",
        "bbox",
        "weights (n,) times costs (n, 1) is n times n numbers, and the box loss is hundreds of times too large",
        partial(bbox, shaped=row),
        bbox,
        ("reg_max",),
        says="n x n",
    ),
)
