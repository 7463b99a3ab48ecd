"""Complete IoU: DIoU - v alpha, arXiv 1911.08287.

v = (4 / pi^2) (atan(w'/h') - atan(w/h))^2 and alpha = v / (v - IoU + 1 + eps), detached as a whole.
The ratio is plain and atan has one argument. Where sources differ: alpha attached, alpha switched on
at IoU >= 0.5 only, eps inside alpha. Source: spec/10-geometry.md section 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.nouns import Case, Param, Spec
from lossref.losses.overlap.bbox_iou import aspect_of, bbox_iou, ciou_of, distance_of, overlap
from lossref.losses.overlap.iou import overlap_without_touch
from lossref.losses.overlap.pairs import ALPHA, box_fields, oracle_distance, oracle_overlap, oracle_sides, pairwise

EPS = 1e-7  # where a loss takes CIoU for its box term


def oracle(m: Arithmetic, a: Any, b: Any, eps: float, alpha: str = "detached") -> Any:
    """CIoU of one pair in scalars."""
    iou, _ = oracle_overlap(m, a, b, eps)
    turn = m.atan(b[4] / b[5]) - m.atan(a[4] / a[5])
    v = turn * turn * 4 / (m.pi * m.pi)
    distance = oracle_distance(m, a, b, eps)
    if alpha == "gated" and iou < 0.5:
        return iou - distance
    factor = v / (v - iou + (1 + eps))
    return iou - (distance + v * (factor if alpha == "attached" else m.stop(factor)))


def ciou(box1: Tensor, box2: Tensor, alpha: str = "detached") -> Tensor:
    """CIoU of xyxy boxes (n, 4), one number for each pair (n,); alpha "detached", "attached" or "gated"."""
    return ciou_of(overlap(box1, box2, False, EPS), EPS, alpha)


def oracle_ciou(m: Arithmetic, box1: Any, box2: Any, alpha: str) -> Any:
    """CIoU of one pair of xyxy boxes."""
    a, b = (oracle_sides(m, box, False, EPS) for box in (box1, box2))
    return oracle(m, a, b, EPS, alpha)


def no_eps_in_alpha(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    v = aspect_of(o)
    factor = (v / (v - o.iou + 1)).detach()
    return (o.iou - (distance_of(o, eps) + v * factor))[..., None]


def aspect_over_pi(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    v = aspect_of(o) * math.pi / 4
    factor = (v / (v - o.iou + (1 + eps))).detach()
    return (o.iou - (distance_of(o, eps) + v * factor))[..., None]


def aspect_factor_twice(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    v = aspect_of(o) * (4 / math.pi**2)
    factor = (v / (v - o.iou + (1 + eps))).detach()
    return (o.iou - (distance_of(o, eps) + v * factor))[..., None]


def aspect_added(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    v = aspect_of(o)
    factor = (v / (v - o.iou + (1 + eps))).detach()
    return (o.iou - distance_of(o, eps) + v * factor)[..., None]


def mean_over_boxes(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    return bbox_iou(box1, box2, xywh, CIoU=True, eps=eps).mean()


def gradient_scaled(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    """The aspect gradient without 1 / (w^2 + h^2), as published with the first CIoU code."""
    o = overlap(box1, box2, xywh, eps)
    v = aspect_of(o)
    factor = (v / (v - o.iou + (1 + eps))).detach()
    scale = (o.w1**2 + o.h1**2).detach()
    scaled = v.detach() + (v - v.detach()) * scale
    return (o.iou - (distance_of(o, eps) + scaled * factor))[..., None]


def eps_in_alpha_only(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    o = overlap_without_touch(box1, box2, xywh, 1e-7)
    v = aspect_of(o)
    factor = (v / (v - o.iou + (1 + eps))).detach()
    return (o.iou - (distance_of(o, 1e-7) + v * factor))[..., None]


def nan_to_zero(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    return torch.nan_to_num(bbox_iou(box1, box2, xywh, CIoU=True, eps=eps))


def alpha_attached(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    return bbox_iou(box1, box2, xywh, CIoU=True, eps=eps, alpha="attached")


def alpha_gated(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    return bbox_iou(box1, box2, xywh, CIoU=True, eps=eps, alpha="gated")


def relu_overlap(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    o = overlap_without_touch(box1, box2, xywh, eps)
    return ciou_of(o, eps, alpha)[..., None]


def no_aspect(box1: Tensor, box2: Tensor, xywh: bool, eps: float, alpha: str) -> Tensor:
    return bbox_iou(box1, box2, xywh, DIoU=True, eps=eps)


def _good_matches() -> Iterator[Case]:
    """IoU 0.75 and another aspect: what tells a gated alpha from an aspect term that is missing altogether."""
    for xywh, boxes in ((False, ((0, 0, 4, 4), (0, 0, 4, 3))), (True, ((2, 2, 4, 4), (2, 1.5, 4, 3)))):
        name = f"good match of another aspect, {'xywh' if xywh else 'xyxy'}"
        yield corner(name, "alpha v counts, gated or not", params={"xywh": xywh}, box1=[boxes[0]], box2=[boxes[1]])


FIELDS = box_fields(
    -2,
    1,
    flat_xywh=False,
    alpha=Param(
        "detached", ("attached", "gated"), "gradient of the aspect factor; gated: 0 below IoU 0.5", means=ALPHA
    ),
)
SPEC = Spec(
    name="ciou",
    summary="Complete IoU of axis-aligned boxes, the box term of the detection losses",
    cite="spec/10-geometry.md section 3; arXiv 1911.08287",
    terms=("ciou",),
    reference=partial(bbox_iou, CIoU=True),
    oracle=pairwise(oracle),
    impostors=(
        impostor("alpha attached", "gradient through alpha; the value is right", "gradient", alpha_attached),
        impostor("alpha gated", "alpha only where IoU >= 0.5", "value", alpha_gated),
        impostor("no aspect", "DIoU: alpha v is missing", "value", no_aspect),
        impostor("no eps in alpha", "v - IoU + 1 without eps", "value params", no_eps_in_alpha),
        impostor("4 / pi", "v = (4 / pi) ... instead of 4 / pi^2", "value", aspect_over_pi),
        impostor("(4 / pi^2)^2", "v = (4 / pi^2)^2 ... instead of 4 / pi^2", "value", aspect_factor_twice),
        impostor("plus alpha v", "alpha v added instead of subtracted", "value", aspect_added),
        impostor("mean", "reduced to one number", "reduced shape", mean_over_boxes),
        impostor("aspect gradient x (w^2 + h^2)", "the scaled gradient of old code", "gradient", gradient_scaled),
        impostor("NaN to zero", "a NaN box gives a finite number", "refuses", nan_to_zero),
        impostor("relu", "no gradient of the intersection where boxes only touch", "kinks", relu_overlap),
        impostor("eps in alpha only", "1e-7 elsewhere, whatever eps is; and as 'relu'", "params", eps_in_alpha_only),
    ),
    api="bbox_iou(box1, box2, xywh=True, CIoU=True, eps=1e-7)",
    **{**FIELDS, "corners": (*FIELDS["corners"], *_good_matches())},
)
