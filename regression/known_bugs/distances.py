"""Public bugs of DIoU and CIoU: spec/10-geometry.md section 3 with one step as the thread describes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from known_bugs.bug import Bug
from known_bugs.overlap import BOXES, Pair, enclosing, iou_and_union, pair

# DIoU -----------------------------------------------------------------------------------------------------------


def between_centres(p: Pair) -> Tensor:
    return ((p.low2 + p.high2 - p.low1 - p.high1) ** 2).sum(-1) / 4


def over_the_batch(p: Pair) -> Tensor:
    """One distance for all pairs."""
    return between_centres(p).sum()


def between_sums(p: Pair) -> Tensor:
    """x1 is added to y1, and x2 to y2, and all boxes to each other."""
    low, high = p.low1.sum() - p.low2.sum(), p.high1.sum() - p.high2.sum()
    return (low**2 + high**2) / 4


def diagonal(p: Pair) -> Tensor:
    return (enclosing(p) ** 2).sum(-1)


def diagonal_of_the_batch(p: Pair) -> Tensor:
    return diagonal(p).sum()


def diou(
    box1: Tensor,
    box2: Tensor,
    xywh: bool = True,
    eps: float = 1e-7,
    *,
    distance: Callable[[Pair], Tensor] = between_centres,
    across: Callable[[Pair], Tensor] = diagonal,
) -> Tensor:
    p = pair(box1, box2, xywh, eps)
    return (iou_and_union(p, eps)[0] - distance(p) / (across(p) + eps))[..., None]


# CIoU -----------------------------------------------------------------------------------------------------------


def ratio_itself(x: Tensor) -> Tensor:
    return x


def ciou(
    box1: Tensor,
    box2: Tensor,
    xywh: bool = True,
    eps: float = 1e-7,
    *,
    turn: Callable[[Tensor], Tensor] = torch.atan,
    power: int = 1,
    sign: int = -1,
    attached: bool = False,
) -> Tensor:
    """`power` is that of 4 / pi^2, `sign` that of the aspect term."""
    p = pair(box1, box2, xywh, eps)
    found, _ = iou_and_union(p, eps)
    (w1, h1), (w2, h2) = p.size1.unbind(-1), p.size2.unbind(-1)
    v = (4 / math.pi**2) ** power * (turn(w2 / h2) - turn(w1 / h1)) ** 2
    alpha = v / (v - found + (1 + eps))
    apart = between_centres(p) / (diagonal(p) + eps)
    return (found - apart + sign * v * (alpha if attached else alpha.detach()))[..., None]


BUGS = (
    Bug(
        "one distance for the batch",
        "Ximilar-com/xcenternet#6",
        "issues",
        "diou",
        "the norms of centre distance and diagonal run over the whole batch: every pair gets the same penalty",
        partial(diou, distance=over_the_batch, across=diagonal_of_the_batch),
        diou,
        BOXES,
        "reduced",
        says="distance of the batch",
    ),
    Bug(
        "centres of mixed coordinates",
        "pytorch/vision#5786",
        "pull",
        "diou",
        "the centre is made of x1 with y1 and x2 with y2, summed over all boxes",
        partial(diou, distance=between_sums),
        diou,
        BOXES,
        says="mixed coordinates",
    ),
    Bug(
        "4 / pi^2 squared",
        "keras-team/keras#20780",
        "issues",
        "ciou",
        "the factor of the aspect term stands inside the square",
        partial(ciou, power=2),
        ciou,
        BOXES,
        says="(4 / pi^2)^2",
    ),
    Bug(
        "alpha attached",
        "open-mmlab/mmdetection#5818",
        "issues",
        "ciou",
        "gradient flows through the weight alpha of the aspect term, although alpha is a constant in the paper",
        partial(ciou, attached=True),
        ciou,
        BOXES,
        "gradient",
        says="attached",
    ),
    Bug(
        "aspect term added",
        "Zzh-tju/CIoU#2",
        "issues",
        "ciou",
        "the aspect term raises the similarity instead of lowering it",
        partial(ciou, sign=1),
        ciou,
        BOXES,
        says="plus alpha v",
    ),
    Bug(
        "ratios without atan",
        "ooples/AiDotNet.Tensors#87",
        "pull",
        "ciou",
        "the aspect term compares w / h itself, not its angle",
        partial(ciou, turn=ratio_itself),
        ciou,
        BOXES,
        says="atan",
    ),
)
