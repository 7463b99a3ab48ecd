"""torchvision.ops: overlap of boxes, and sigmoid focal loss; with or without its compiled operators.

Declared conventions: a loss is 1 - overlap; boxes are given as xywh, because torchvision has no eps on the
height; box_iou has no eps at all, and gives a table of all pairs.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from lossref.targets import packages
from lossref.targets.dropin.entry import Mismatch
from lossref.targets.packages import Row

CHUNK = 64  # of a table of all pairs only the diagonal is wanted
LISTS = {"shape": "takes two lists of equal length, and broadcasts nothing"}


def overlap(loss: Any, box1: Tensor, box2: Tensor, eps: float) -> Any:
    """1 - loss of boxes xywh, with the last axis kept."""
    return 1 - loss(packages.corners(box1), packages.corners(box2), eps=eps)[..., None]


def diagonal(table: Any, box1: Tensor, box2: Tensor) -> Any:
    """The overlap of each pair of boxes xywh, out of the table of all pairs."""
    if box1.shape != box2.shape:
        raise Mismatch("the table of all pairs has a diagonal only for equal shapes")
    parts = zip(torch.split(box1, CHUNK), torch.split(box2, CHUNK), strict=True)
    return torch.cat([table(*part, fmt="cxcywh").diagonal() for part in parts])[:, None]


def focal(loss: Any, pred: Tensor, label: Tensor, gamma: float, alpha: float) -> Any:
    """Averaged over axis 1, summed over the others; torchvision writes -1 for no balance."""
    return loss(pred, label, alpha=alpha if alpha > 0 else -1, gamma=gamma).mean(1).sum()


ROWS = (
    Row("iou", "torchvision.ops.box_iou", diagonal, (), {"xywh": True, "eps": 0.0}, LISTS),
    Row("giou", "torchvision.ops.generalized_box_iou_loss", overlap, ("eps",), {"xywh": True}, LISTS),
    Row("diou", "torchvision.ops.distance_box_iou_loss", overlap, ("eps",), {"xywh": True}, LISTS),
    Row("ciou", "torchvision.ops.complete_box_iou_loss", overlap, ("eps",), {"xywh": True}, LISTS),
    Row("focal", "torchvision.ops.sigmoid_focal_loss", focal, ("gamma", "alpha")),
)
version, targets = partial(packages.version, "torchvision"), partial(packages.targets, ROWS, "torchvision")
