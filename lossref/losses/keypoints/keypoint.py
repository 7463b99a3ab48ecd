"""Keypoint loss in the form of object keypoint similarity, arXiv 2204.06806 (COCO evaluation).

e = d^2 / ((2 sigma)^2 (area + 1e-9) 2), L = mean over all n K of K / (c_n + 1e-9) (1 - exp(-e)) mask, with
c_n the nonzero mask entries of object n. Where sources differ: sigma^2 instead of (2 sigma)^2, 1e-9 lost
in float32, the mean over visible keypoints. Source: spec/30-elementary.md section 9, D8, D9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner
from lossref.core.families import HARD_LABEL_FAMILIES
from lossref.core.laws import differs, not_negative, permutation, repetition
from lossref.core.nouns import Array, Domain, Spec
from lossref.core.picking import Pick
from lossref.core.precision import beside, compute_dtype, require_floating
from lossref.losses.keypoints.keypoint_impostors import IMPOSTORS

EPS = 1e-9


def keypoint(pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    """Keypoint loss of points (n, K, 2 or more), mask (n, K) bool or floating, area (n, 1), sigmas (K,); 0-d.

    Points and sqrt(area) in one length unit; only x and y are read. Computed and returned in the
    promoted dtype of the floating inputs, at least float32. Raises RuntimeError unless area is (n, 1),
    ValueError for other shapes that do not fit.
    """
    require_floating(pred_kpts=pred_kpts, gt_kpts=gt_kpts, area=area, sigmas=sigmas)
    _require_shapes(pred_kpts, gt_kpts, kpt_mask, area, sigmas)
    compute, _ = compute_dtype(pred_kpts, gt_kpts, kpt_mask, area, sigmas)
    gt_kpts, kpt_mask, area, sigmas = (beside(x, pred_kpts) for x in (gt_kpts, kpt_mask, area, sigmas))
    (x, y, *_), (to_x, to_y, *_) = pred_kpts.unbind(-1), gt_kpts.unbind(-1)
    distance2 = (x.to(compute) - to_x.to(compute)) ** 2 + (y.to(compute) - to_y.to(compute)) ** 2
    scale = (2 * sigmas.to(compute)) ** 2 * (area.to(compute) + EPS) * -2
    seen = kpt_mask.count_nonzero(-1).to(compute)[:, None]
    weight = kpt_mask.shape[1] / (seen + EPS) * kpt_mask.to(compute)
    return ((1 - (distance2 / scale).exp()) * weight).sum() / kpt_mask.numel()


def _require_shapes(pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor, sigmas: Tensor) -> None:
    objects, points = kpt_mask.shape
    if area.shape != (objects, 1):
        raise RuntimeError(f"area: expected shape ({objects}, 1), got {tuple(area.shape)}")
    if sigmas.shape != (points,):
        raise ValueError(f"sigmas: expected shape ({points},), got {tuple(sigmas.shape)}")
    for name, kpts in (("pred_kpts", pred_kpts), ("gt_kpts", gt_kpts)):
        if kpts.ndim != 3 or kpts.shape[:2] != kpt_mask.shape or kpts.shape[2] < 2:
            raise ValueError(f"{name}: expected shape ({objects}, {points}, 2 or more), got {tuple(kpts.shape)}")


def oracle(m: Arithmetic, pred_kpts: Any, gt_kpts: Any, kpt_mask: Any, area: Any, sigmas: Any) -> Any:
    """The loss in scalars."""
    terms = []
    for points, targets, seen, (size,) in zip(pred_kpts, gt_kpts, kpt_mask, area, strict=True):
        visible = sum(1 for mark in seen if mark)
        for (x, y, *_), (u, v, *_), mark, sigma in zip(points, targets, seen, sigmas, strict=True):
            if mark:
                d = (x - u) * (x - u) + (y - v) * (y - v)
                e = d / (8 * sigma * sigma * (size + 1e-9))
                terms.append((1 - m.exp(-e)) * (len(seen) / (visible + 1e-9)))
    return m.sum(terms) / (len(kpt_mask) * len(sigmas))


def symmetric(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging prediction and target changes nothing."""
    return differs(
        f({**x, "pred_kpts": x["gt_kpts"], "gt_kpts": x["pred_kpts"]}), f(x), 2 * tol, "exchanging the points"
    )


def moved(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Moving prediction and target together changes nothing."""
    both = {name: x[name] + 4 for name in ("pred_kpts", "gt_kpts")}
    return differs(f({**x, **both}), f(x), 2 * tol, "moving all points")


def unseen_points_do_not_count(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Where a keypoint is that is not visible has no effect."""
    elsewhere = np.where(x["kpt_mask"][..., None] == 0, x["pred_kpts"] + 1, x["pred_kpts"])
    return differs(f({**x, "pred_kpts": elsewhere}), f(x), tol, "moving invisible points")


def at_most_one(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Every object costs at most 1."""
    return f"{f(x):.9g} is more than 1" if (f(x) > 1 + tol).any() else None


def keypoints_in_any_order(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Reversing the keypoints, with their sigmas, changes nothing."""
    turned = {name: x[name][:, ::-1].copy() for name in ("pred_kpts", "gt_kpts", "kpt_mask")}
    return differs(f({**x, **turned, "sigmas": x["sigmas"][::-1].copy()}), f(x), 2 * tol, "reversing the keypoints")


def masks_are_weights(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """A floating mask weighs the terms, and its nonzero entries are what is counted: twice the mask, twice the loss."""
    twice = f({**x, "kpt_mask": 2.0 * x["kpt_mask"]}, kpt_mask="float64")
    return None if twice is None else differs(twice, 2 * f(x), 4 * tol, "a mask of 2 in place of 1, halved,")


class KeypointLoss(nn.Module):
    """Drop-in for the class of that name; attribute sigmas (K,). See `keypoint`."""

    def __init__(self, sigmas: Tensor) -> None:
        super().__init__()
        self.sigmas = sigmas

    def forward(self, pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor) -> Tensor:
        """`keypoint` with the sigmas of this object."""
        return keypoint(pred_kpts, gt_kpts, kpt_mask, area, self.sigmas.to(pred_kpts.device))


def _points(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Eighths in [-8, 24)."""
    return pick(-64, 191, rows * dims["row"]).reshape(rows, dims["row"]) / 8


def _shifted(low: int, high: int, per_unit: int) -> Any:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        assert given is not None
        return given + pick(low, high, given.size).reshape(given.shape) / per_unit

    return draw


def _sizes(low: int, high: int, per_unit: float) -> Any:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        return pick(low, high, rows * dims["row"]).reshape(rows, dims["row"]) / per_unit

    return draw


def _not_negative(x: Array, params: Mapping[str, Any]) -> str | None:
    return None if (x >= 0).all() else "expected numbers >= 0"


def _positive(x: Array, params: Mapping[str, Any]) -> str | None:
    return None if (x > 0).all() else "expected positive numbers"


_PRED = [[(1, 2), (3, 4), (5, 6.5)], [(0.5, 0.25), (1, 1), (2, 2)]]
_GT = [[(1.5, 2.25), (3, 3.5), (5, 6)], [(0, 0), (0, 0), (0, 0)]]
_ANCHOR: dict[str, Any] = {
    "pred_kpts": _PRED,
    "gt_kpts": _GT,
    "kpt_mask": [(1, 0, 1), (1, 0, 0)],
    "area": [(8,), (4,)],
    "sigmas": (0.25, 0.5, 0.125),
}
_NEAR = {
    "near": _shifted(-16, 16, 8),
    "exact": _shifted(0, 0, 1),
    "close": _shifted(-8, 8, 1024),
    "far": _shifted(-64, 64, 1),
}

SPEC = Spec(
    name="keypoint",
    summary="Keypoint distance in the form of object keypoint similarity",
    cite="spec/30-elementary.md section 9; arXiv 2204.06806",
    inputs={
        "pred_kpts": Domain("n K D", "x, y, ... in any length unit", _NEAR, given="gt_kpts"),
        "gt_kpts": Domain("n K E", "x, y, ... in the same unit", {"eighths": _points}, unit=None),
        "kpt_mask": Domain("n K", "which keypoints are visible", HARD_LABEL_FAMILIES, dtype="bool", unit=None),
        "area": Domain(
            "n 1",
            "area of the object, in the square of that unit",
            {"ordinary": _sizes(8, 512, 8), "small": _sizes(1, 64, 1024), "zero": _sizes(0, 0, 1)},
            unit=None,
            legal=_not_negative,
        ),
        "sigmas": Domain("K", "width of each keypoint", {"eighths": _sizes(1, 8, 8)}, unit=None, legal=_positive),
    },
    wrt=("pred_kpts",),
    params={},
    terms=("loss",),
    reference=keypoint,
    oracle=oracle,
    sizes={
        "single": ({"n": 1, "K": 1, "D": 2, "E": 2},),
        "small": ({"n": 2, "K": 3, "D": 2, "E": 2}, {"n": 3, "K": 2, "D": 3, "E": 3}),
        "bulk": ({"n": 256, "K": 17, "D": 2, "E": 2},),
        "empty": ({"n": 0, "K": 3, "D": 2, "E": 2},),
    },
    laws=(
        not_negative,
        masks_are_weights,
        at_most_one,
        symmetric,
        moved,
        unseen_points_do_not_count,
        keypoints_in_any_order,
        permutation(0, "pred_kpts", "gt_kpts", "kpt_mask", "area"),
        repetition(0, 1, "pred_kpts", "gt_kpts", "kpt_mask", "area"),
    ),
    corners=(
        corner("two objects", "the worked example: different visible counts", **_ANCHOR),
        corner("one invisible", "it stays in the divisor", **{**_ANCHOR, "kpt_mask": [(1, 0, 1), (0, 0, 0)]}),
        corner("all invisible", "0", **{**_ANCHOR, "kpt_mask": [(0, 0, 0), (0, 0, 0)]}),
        corner("area 0", "every visible keypoint costs 1", **{**_ANCHOR, "area": [(0,), (0,)]}),
        corner("area 0, exact", "and 0 where it is hit", **{**_ANCHOR, "area": [(0,), (0,)], "pred_kpts": _GT}),
        corner("tiny area", "1e-9 counts", **{**_ANCHOR, "area": [(2.0**-30,), (2.0**-20,)], "sigmas": (64, 512, 256)}),
        corner("exact", "0 with gradient 0", **{**_ANCHOR, "pred_kpts": _GT}),
        corner(
            "visibility given",
            "only x and y are read",
            **{**_ANCHOR, "pred_kpts": np.insert(np.array(_PRED), 2, 2.0, axis=2)},
        ),
    ),
    impostors=IMPOSTORS,
    api="KeypointLoss(sigmas)(pred_kpts, gt_kpts, kpt_mask, area)",
    returns="0-d",
)
