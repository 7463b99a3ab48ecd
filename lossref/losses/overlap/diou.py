"""Distance IoU: IoU - rho^2 / c^2, arXiv 1911.08287.

rho is the distance of the centres, c the diagonal of the enclosing box (c^2 has eps added). Source:
spec/10-geometry.md section 3.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import impostor
from lossref.core.nouns import Spec
from lossref.losses.overlap.bbox_iou import bbox_iou, corners, distance_of, overlap
from lossref.losses.overlap.iou import overlap_without_touch
from lossref.losses.overlap.pairs import box_fields, oracle_distance, oracle_overlap, pairwise


def oracle(m: Arithmetic, a: Any, b: Any, eps: float) -> Any:
    """DIoU of one pair in scalars."""
    return oracle_overlap(m, a, b, eps)[0] - oracle_distance(m, a, b, eps)


def distance_not_quartered(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    return (o.iou - 4 * distance_of(o, eps))[..., None]


def diagonal_not_squared(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    return (o.iou - o.centre_distance2 / (o.enclosing_w + o.enclosing_h + eps))[..., None]


def distance_of_the_batch(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    c2 = (o.enclosing_w**2 + o.enclosing_h**2).sum() + eps
    return (o.iou - o.centre_distance2.sum() / c2)[..., None]


def centres_of_mixed_coordinates(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    (x1, y1, x2, y2, *_), (u1, v1, u2, v2, *_) = corners(box1, xywh), corners(box2, xywh)
    distance2 = ((x1 + y1 - u1 - v1).sum() ** 2 + (x2 + y2 - u2 - v2).sum() ** 2) / 4
    return (o.iou - distance2 / (o.enclosing_w**2 + o.enclosing_h**2 + eps))[..., None]


def no_eps_on_diagonal(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    return (o.iou - distance_of(o, 0.0))[..., None]


def diagonal_detached(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    c2 = (o.enclosing_w**2 + o.enclosing_h**2 + eps).detach()
    return (o.iou - o.centre_distance2 / c2)[..., None]


def half_precision_inside(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    return bbox_iou(box1.float(), box2.float(), xywh, DIoU=True, eps=eps)


def relu_overlap(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap_without_touch(box1, box2, xywh, eps)
    return (o.iou - distance_of(o, eps))[..., None]


SPEC = Spec(
    name="diou",
    summary="Distance IoU of axis-aligned boxes",
    cite="spec/10-geometry.md section 3; arXiv 1911.08287",
    terms=("diou",),
    reference=partial(bbox_iou, DIoU=True),
    oracle=pairwise(oracle),
    impostors=(
        impostor("distance x 4", "(2 rho)^2: sums of corners not halved", "value", distance_not_quartered),
        impostor("diagonal", "w + h instead of w^2 + h^2", "value", diagonal_not_squared),
        impostor("distance of the batch", "norms over all pairs: one penalty", "reduced", distance_of_the_batch),
        impostor("mixed coordinates", "x1 + y1 and x2 + y2 for the centre", "value", centres_of_mixed_coordinates),
        impostor("no eps on c2", "squared diagonal without eps", "value params", no_eps_on_diagonal),
        impostor("c2 detached", "no gradient through the diagonal", "gradient", diagonal_detached),
        impostor("float32 inside", "narrows float64 to float32", "value dtype", half_precision_inside),
        impostor("relu", "no gradient of the intersection where boxes only touch", "kinks", relu_overlap),
    ),
    api="bbox_iou(box1, box2, xywh=True, DIoU=True, eps=1e-7)",
    **box_fields(-1, 1),
)
