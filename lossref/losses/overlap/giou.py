"""Generalised IoU: IoU - (C - U) / C, arXiv 1902.09630.

C is the area of the enclosing box + eps, from the corners alone; U as in iou. Source:
spec/10-geometry.md section 3.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import impostor
from lossref.core.nouns import Spec
from lossref.losses.overlap.bbox_iou import bbox_iou, giou_of, overlap
from lossref.losses.overlap.iou import overlap_without_touch
from lossref.losses.overlap.pairs import box_fields, oracle_enclosing, oracle_overlap, pairwise


def oracle(m: Arithmetic, a: Any, b: Any, eps: float) -> Any:
    """GIoU of one pair in scalars."""
    iou, union = oracle_overlap(m, a, b, eps)
    width, height = oracle_enclosing(m, a, b)
    enclosing = width * height + eps
    return iou - (enclosing - union) / enclosing


def no_eps_on_enclosing(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    area = o.enclosing_w * o.enclosing_h
    return (o.iou - (area - o.union) / area)[..., None]


def divided_by_union(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    area = o.enclosing_w * o.enclosing_h + eps
    return (o.iou - (area - o.union) / o.union)[..., None]


def intersection_for_union(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    area = o.enclosing_w * o.enclosing_h + eps
    return (o.iou - (area - o.inter) / area)[..., None]


def as_loss(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    return 1 - bbox_iou(box1, box2, xywh, GIoU=True, eps=eps)


def enclosing_detached(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    area = (o.enclosing_w * o.enclosing_h + eps).detach()
    return (o.iou - (area - o.union) / area)[..., None]


def writes_into_box(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    value = bbox_iou(box1, box2, xywh, GIoU=True, eps=eps)
    box2.data.clamp_(min=0)
    return value


def relu_overlap(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap_without_touch(box1, box2, xywh, eps)
    return giou_of(o, eps)[..., None]


SPEC = Spec(
    name="giou",
    summary="Generalised IoU of axis-aligned boxes",
    cite="spec/10-geometry.md section 3; arXiv 1902.09630",
    terms=("giou",),
    reference=partial(bbox_iou, GIoU=True),
    oracle=pairwise(oracle),
    impostors=(
        impostor("no eps on C", "enclosing area without eps", "value params", no_eps_on_enclosing),
        impostor("over U", "(C - U) divided by U instead of C", "value laws", divided_by_union),
        impostor("intersection for U", "(C - I) / C instead of (C - U) / C", "value", intersection_for_union),
        impostor("as a loss", "1 - GIoU instead of GIoU", "value laws", as_loss),
        impostor("C detached", "no gradient through the enclosing box", "gradient", enclosing_detached),
        impostor("writes into box2", "clamps its argument in place", "pure", writes_into_box),
        impostor("relu", "no gradient of the intersection where boxes only touch", "kinks", relu_overlap),
    ),
    api="bbox_iou(box1, box2, xywh=True, GIoU=True, eps=1e-7)",
    **box_fields(-1, 1),
)
