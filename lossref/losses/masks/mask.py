"""Prototype mask loss of the positives of one image, YOLACT form (arXiv 1904.02689).

x_i = sum_k pred_ik proto_k, cost_i = mean over all H W pixels of bce(x_i, gt_i) cropped to box i, result =
sum_i cost_i / area_i. The mean is over the whole mask, not over the crop. Source: spec/40-yolo.md section 2.2,
spec/05-decisions.md D1, D8, D14. Where sources differ: crop rules (lossref/losses/masks/crop_mask.py), and objects
without area, whose cost is divided by 0 (`zero_area_mask="nan"`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import HARD_LABEL_FAMILIES, unit_interval
from lossref.core.laws import not_negative, permutation, repetition
from lossref.core.nouns import Domain, Param, Spec
from lossref.core.precision import as_it_is, compute_dtype, require_floating
from lossref.losses.classification.bce import bce, kinked_bce
from lossref.losses.masks.boxes import AREA_FAMILIES, MASK_BOX_FAMILIES, areas_left_out, areas_legal
from lossref.losses.masks.crop_mask import CROP, crop_mask, oracle_crop, oracle_rule
from lossref.losses.masks.mask_laws import NUMBERS, ROWS, backwards, complement, doubled_area, transposed


def single_mask_loss(
    gt_mask: Tensor,
    pred: Tensor,
    proto: Tensor,
    xyxy: Tensor,
    area: Tensor,
    crop: str = "exact",
    zero_area_mask: str = "none",
) -> Tensor:
    """Mask loss of coefficients (n, k), prototypes (k, H, W) against masks (n, H, W) in {0, 1}; 0-d.

    Boxes (n, 4) are xyxy in mask pixels, areas (n,) parts of the image. Promoted dtype of masks, predictions
    and areas; half precision is computed in float32 and rounded once. Raises RuntimeError for masks that are
    not floating, TypeError for other inputs that are not, ValueError for shapes that do not match.
    """
    if not gt_mask.is_floating_point():
        raise RuntimeError(f"gt_mask: expected a floating dtype, got {gt_mask.dtype}; call .float() first")
    require_floating(pred=pred, proto=proto, xyxy=xyxy, area=area)
    _require_shapes(gt_mask, pred, proto, xyxy, area)
    compute, result = compute_dtype(gt_mask, pred, proto, area)
    cost = crop_mask(bce(_logits(pred.to(compute), proto.to(compute)), gt_mask.to(compute)), xyxy, crop).mean((1, 2))
    return (cost * _weight(area.to(compute), zero_area_mask)).sum().to(result)


def _weight(area: Tensor, zero_area_mask: str) -> Tensor:
    """1 / area, and 0 for no area; a factor, so that a NaN in the cost does not vanish."""
    flat = (area == 0) & (zero_area_mask == "none")
    return (~flat).to(area.dtype) / area.masked_fill(flat, 1)


def _logits(pred: Tensor, proto: Tensor) -> Tensor:
    with as_it_is(pred):
        return (pred @ proto.flatten(1)).reshape(len(pred), *proto.shape[1:])


def _require_shapes(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor) -> None:
    known = gt_mask.ndim == 3 and pred.ndim == 2
    (n, k), size = (pred.shape, gt_mask.shape[1:]) if known else ((-1, -1), (-1, -1))
    wanted = ((n, *size), (k, *size), (n, 4), (n,))
    if wanted != tuple(tuple(x.shape) for x in (gt_mask, proto, xyxy, area)):
        given = ", ".join(str(tuple(x.shape)) for x in (gt_mask, pred, proto, xyxy, area))
        raise ValueError(f"expected shapes (n, H, W), (n, k), (k, H, W), (n, 4), (n,), got {given}")


def oracle(
    m: Arithmetic,
    gt_mask: Any,
    pred: Any,
    proto: Any,
    xyxy: Any,
    area: Any,
    crop: str = "exact",
    zero_area_mask: str = "none",
) -> Any:
    """The loss in scalars."""
    rule, terms = oracle_rule(m, len(pred), crop), []
    for gt, coefficients, box, a in zip(gt_mask, pred, xyxy, area, strict=True):
        if zero_area_mask == "nan" or a > 0.0:
            terms.append(_oracle_cost(m, gt, coefficients, proto, oracle_crop(m, box, len(gt), len(gt[0]), rule)) / a)
    return m.sum(terms)


def _oracle_cost(m: Arithmetic, gt: Any, coefficients: Any, proto: Any, kept: Any) -> Any:
    """Mean over all pixels of the cost at the kept rows and columns."""
    costs = []
    for j, i in ((j, i) for j in kept[0] for i in kept[1]):
        x = m.sum(c * plane[j][i] for c, plane in zip(coefficients, proto, strict=True))
        costs.append(oracle_pixel(m, x, gt[j][i]))
    return m.sum(costs) / (len(gt) * len(gt[0]))


def oracle_pixel(m: Arithmetic, x: Any, t: Any) -> Any:
    """bce(x, t) as softplus(x) - x t: it cancels where implementations do, so that budgets allow for it."""
    return m.softplus(x) - x * t


# Impostors ----------------------------------------------------------------------------------------------------


def area_ignored(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor, **rules: str) -> Tensor:
    return single_mask_loss(gt_mask, pred, proto, xyxy, torch.ones_like(area))


def mean_over_crop(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor, **rules: str) -> Tensor:
    cost = crop_mask(bce(_logits(pred, proto), gt_mask), xyxy)
    kept = crop_mask(torch.ones_like(cost), xyxy).sum((1, 2)).clamp(min=1)
    return (cost.sum((1, 2)) / kept * _weight(area, "none")).sum()


def not_cropped(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor, **rules: str) -> Tensor:
    return (bce(_logits(pred, proto), gt_mask).mean((1, 2)) * _weight(area, "none")).sum()


def mean_over_positives(
    gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor, **rules: str
) -> Tensor:
    cost = crop_mask(bce(_logits(pred, proto), gt_mask), xyxy)
    return (cost.mean((1, 2)) * _weight(area, "none")).mean()


def closed_upper_edge(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor, **rules: str) -> Tensor:
    return single_mask_loss(gt_mask, pred, proto, xyxy + xyxy.new_tensor([0, 0, 2**-20, 2**-20]), area)


def normalised_boxes(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor, **rules: str) -> Tensor:
    height, width = gt_mask.shape[1:]
    return single_mask_loss(gt_mask, pred, proto, xyxy * xyxy.new_tensor([width, height, width, height]), area)


def rounded_edges(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor, **rules: str) -> Tensor:
    return single_mask_loss(gt_mask, pred, proto, xyxy, area, crop="rounded")


def zero_area_divides(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor, **rules: str) -> Tensor:
    return single_mask_loss(gt_mask, pred, proto, xyxy, area, zero_area_mask="nan")


def composed_bce(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor, **rules: str) -> Tensor:
    cost = crop_mask(kinked_bce(_logits(pred, proto), gt_mask), xyxy)
    return (cost.mean((1, 2)) * _weight(area, "none")).sum()


_GT = [[(1, 0, 0, 0), (1, 1, 0, 0), (0, 1, 1, 0)], [(0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 1)]]
_PROTO = [[[(5 * (12 * c + 4 * j + i)) % 7 / 4 - 0.5 for i in range(4)] for j in range(3)] for c in range(2)]
_CASE: dict[str, Any] = {"gt_mask": _GT, "pred": [(0.5, -1), (1, 0.25)], "proto": _PROTO}
_CASE |= {"xyxy": [(0, 0, 3, 2), (1, 1, 4, 3)], "area": (0.5, 0.25)}
_PIXEL: dict[str, Any] = {"gt_mask": [[[1, 0]]], "proto": [[[20, -20]]], "xyxy": [(0, 0, 2, 1)], "area": [0.5]}
_HALVES = [(0.5, 0.5, 2.5, 2.5), (1.5, -1, 3.25, 1.75)]


def _many(n: int) -> dict[str, Any]:
    """n positives whose boxes have fractional edges."""
    rows = {"gt_mask": [(1, 0, 0), (0, 1, 0)], "pred": (0.5,), "xyxy": (0.5, 0.25, 2.5, 1.5), "area": 0.25}
    return {"proto": [[(1, 2, -1), (0.5, 0, 3)]], **{name: [row] * n for name, row in rows.items()}}


ZERO_AREA_MASK = Param(
    "none",
    ("nan",),
    "an object of zero area costs nothing, or divides by 0 (D14)",
    means={
        "none": "an object of zero area costs nothing",
        "nan": "the cost of an object of zero area is divided by 0",
    },
)


SPEC = Spec(
    name="mask",
    summary="Prototype mask loss of one image",
    cite="spec/40-yolo.md section 2.2; arXiv 1904.02689",
    inputs={
        "gt_mask": Domain("n H W", "true masks", HARD_LABEL_FAMILIES, row=2, legal=unit_interval, nan_free=True),
        "pred": Domain("n k", "mask coefficients", NUMBERS),
        "proto": Domain("k H W", "prototypes", NUMBERS, row=2),
        "xyxy": Domain("n 4", "target boxes xyxy in mask pixels", MASK_BOX_FAMILIES, nan_free=True),
        "area": Domain(
            "n", "areas, parts of the image", AREA_FAMILIES, row=0, legal=areas_legal, leave_out=areas_left_out
        ),
    },
    wrt=("pred", "proto"),
    params={
        "crop": CROP,
        "zero_area_mask": ZERO_AREA_MASK,
    },
    terms=("loss",),
    reference=single_mask_loss,
    oracle=oracle,
    sizes={
        "single": ({"n": 1, "k": 2, "H": 3, "W": 4},),
        "small": ({"n": 3, "k": 2, "H": 4, "W": 5}, {"n": 4, "k": 3, "H": 3, "W": 3}),
        "bulk": ({"n": 64, "k": 32, "H": 80, "W": 80},),
        "empty": ({"n": 0, "k": 2, "H": 4, "W": 5},),
    },
    laws=(
        not_negative,
        permutation(0, *ROWS),
        repetition(0, 2, *ROWS),
        complement,
        doubled_area,
        transposed,
        backwards,
    ),
    corners=(
        corner("mixed", "the worked example of the specification", **_CASE),
        corner("one without area", "only the first object counts (D14)", **{**_CASE, "area": (0.5, 0)}),
        corner("fractional edges", "small areas, too", **{**_CASE, "xyxy": _HALVES, "area": (1 / 128, 1 / 4096)}),
        corner(
            "rounded edges",
            "even halves, and an edge at -1 that wraps",
            params={"crop": "rounded"},
            **{**_CASE, "xyxy": _HALVES},
        ),
        corner("nothing kept", "empty crops cost nothing", **{**_CASE, "xyxy": [(2, 2, 2, 2), (3, 3, 1, 1)]}),
        corner("logits 0", "sigmoid - t, not a kink", "kink", **{**_CASE, "pred": [(0, 0), (0, 0)]}),
        corner("sure and right", "400 on the figure, -400 beside it", pred=[[20]], **_PIXEL),
        corner("sure and wrong", "-400 on the figure, 400 beside it", pred=[[-20]], **_PIXEL),
        corner("forty-nine positives", "by_count rounds", params={"crop": "by_count"}, **_many(49)),
        corner("fifty positives", "by_count takes exact edges", params={"crop": "by_count"}, **_many(50)),
    ),
    impostors=(
        impostor("area ignored", "not divided by the area", "value", area_ignored),
        impostor("mean over the crop", "divided by the pixels kept, not by all", "value", mean_over_crop),
        impostor("not cropped", "all pixels count", "value", not_cropped),
        impostor("mean over the positives", "not their sum", "reduced", mean_over_positives),
        impostor("closed upper edge", "the pixel at x2 counts", "value", closed_upper_edge),
        impostor("normalised boxes", "boxes in [0, 1], as a page says", "value", normalised_boxes),
        impostor("rounded", "edges rounded, negative ones wrap", "value", rounded_edges),
        impostor("zero area divides", "infinite or NaN where an area is 0", "value", zero_area_divides),
        impostor("composed bce", "clamp, abs and exp: wrong gradient at logit 0", "kinks", composed_bce),
    ),
    api="v8SegmentationLoss.single_mask_loss(gt_mask, pred, proto, xyxy, area)",
    returns="0-d",
)
