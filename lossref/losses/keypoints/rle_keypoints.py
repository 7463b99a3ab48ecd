"""Residual log-likelihood of predicted keypoints, arXiv 2107.11291, as PoseLoss26 applies it.

Over the visible keypoints: s = sigmoid(last two logits), e = (xy - xy*) / (s + 1e-9); rows with a NaN or
infinite e are dropped, e is clamped to [-100, 100]; L = RLE(s, ln p(e), e, weight of the keypoint) / rows,
p the density of a flow; L may be negative. Nothing is detached. Where sources differ: an s that underflows
(here s >= smallest normal number of the dtype, D5). Source: spec/40-yolo.md section 4.3, D5, D8, D9, D10.

Yours: the flow is the standard normal, ln p(e) = -|e|^2 / 2 - ln(2 pi); one that takes a model finds it there, as
`model.model[-1].flow_model` with `log_prob(e)`. A trained flow is a matter of `lossref show realnvp`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.declare import corner
from lossref.core.families import HARD_LABEL_FAMILIES, soft_labels
from lossref.core.laws import differs, permutation, repetition
from lossref.core.nouns import Array, Domain, Param, Spec
from lossref.core.picking import Pick
from lossref.core.precision import beside, compute_dtype, require_floating
from lossref.losses.assignment.static.form import form_of
from lossref.losses.keypoints.oracle import oracle_rle_keypoints
from lossref.losses.keypoints.rle import EPS, FARTHEST, rle, standard_normal
from lossref.losses.keypoints.rle_keypoints_impostors import IMPOSTORS

LogProb = Callable[[Tensor], Tensor]


def rle_keypoints(
    pred_kpt: Tensor,
    gt_kpt: Tensor,
    kpt_mask: Tensor,
    weights: Tensor,
    log_prob: LogProb = standard_normal,
    rle_sigma: str = "bounded",
    residual: bool = True,
    size_average: bool = True,
) -> Tensor:
    """RLE of keypoints (n, K, 4 or more) against (n, K, 2 or more), mask (n, K) bool, weights (K,); 0-d.

    x, y in cells, the last two of `pred_kpt` are logits of sigma. Computed and returned in the promoted
    dtype of predictions and targets, at least float32; 0 with zero gradients if no row is left.
    Raises IndexError for a mask that is not boolean, ValueError for shapes that do not match.
    """
    gt_kpt, kpt_mask, weights = (beside(x, pred_kpt) for x in (gt_kpt, kpt_mask, weights))
    given = pred_kpt, gt_kpt, kpt_mask, weights, rle_sigma
    if form_of(pred_kpt) == "static":
        sigma, error, weight, count = all_errors_of(*given)
        total = rle(sigma, log_prob(error), error, weight, size_average=False, residual=residual)
        return total / count.clamp(min=1) if size_average else total
    sigma, error, weight = errors_of(*given)
    return rle(sigma, log_prob(error), error, weight, size_average=size_average, residual=residual)


def all_errors_of(
    pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor, rle_sigma: str = "bounded"
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`errors_of` with a row for every keypoint (n K, ...), error and weight 0 for what is left out, and the count."""
    _require(pred_kpt, gt_kpt, kpt_mask, weights)
    compute, _ = compute_dtype(pred_kpt, gt_kpt)
    pred, target = pred_kpt.to(compute), gt_kpt.to(compute)
    with torch.no_grad():
        kept = kpt_mask & _error(pred, target, rle_sigma)[0].isfinite().all(-1)
    pred, target = (torch.where(kept[..., None], x, 0) for x in (pred, target))
    error, sigma = _error(pred, target, rle_sigma)
    weight = torch.where(kept, weights.to(compute), 0)
    error = error.clamp(-FARTHEST, FARTHEST)
    return sigma.flatten(0, 1), error.flatten(0, 1), weight.flatten(), kept.sum()


def errors_of(
    pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor, rle_sigma: str = "bounded"
) -> tuple[Tensor, Tensor, Tensor]:
    """Sigma (m, 2), error (m, 2) and weight (m,) of the visible keypoints whose error is finite; as `rle_keypoints`."""
    _require(pred_kpt, gt_kpt, kpt_mask, weights)
    compute, _ = compute_dtype(pred_kpt, gt_kpt)
    with torch.no_grad():  # found beforehand, so that no NaN gets into a gradient
        kept = kpt_mask & _error(pred_kpt.to(compute), gt_kpt.to(compute), rle_sigma)[0].isfinite().all(-1)
    error, sigma = _error(pred_kpt[kept].to(compute), gt_kpt[kept].to(compute), rle_sigma)
    return sigma, error.clamp(-FARTHEST, FARTHEST), weights.to(compute).expand(kept.shape)[kept]


def _error(pred: Tensor, target: Tensor, rle_sigma: str) -> tuple[Tensor, Tensor]:
    """Error in units of sigma, and sigma; both (..., 2)."""
    sigma = pred[..., -2:].sigmoid()
    if rle_sigma == "bounded":
        sigma = sigma.clamp(min=torch.finfo(sigma.dtype).tiny)
    return (pred[..., :2] - target[..., :2]) / (sigma + EPS), sigma


def _require(pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor) -> None:
    require_floating(pred_kpt=pred_kpt, gt_kpt=gt_kpt, weights=weights)
    if kpt_mask.dtype != torch.bool:
        raise IndexError(f"kpt_mask: expected a boolean mask, got {kpt_mask.dtype}; write mask != 0")
    if kpt_mask.ndim != 2 or weights.shape != kpt_mask.shape[1:]:
        raise ValueError(
            f"weights: expected (K,) for a mask (n, K), got {tuple(weights.shape)}, {tuple(kpt_mask.shape)}"
        )
    for name, kpt, least in (("pred_kpt", pred_kpt, 4), ("gt_kpt", gt_kpt, 2)):
        if kpt.ndim != 3 or kpt.shape[:2] != kpt_mask.shape or kpt.shape[2] < least:
            raise ValueError(f"{name}: expected {(*kpt_mask.shape, f'{least} or more')}, got {tuple(kpt.shape)}")


# Laws ------------------------------------------------------------------------------------------------


def moved(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Only differences of positions count: moving prediction and truth by (3, -5) changes nothing."""
    pred, gt = x["pred_kpt"].copy(), x["gt_kpt"].copy()
    pred[..., :2] += [3, -5]
    gt[..., :2] += [3, -5]
    return differs(f({**x, "pred_kpt": pred, "gt_kpt": gt}), f(x), 4 * tol, "moving everything")


def exchanged_axes(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging x and y, with their sigmas, changes nothing."""
    pred, gt = x["pred_kpt"].copy(), x["gt_kpt"].copy()
    pred[..., :2], pred[..., -2:] = x["pred_kpt"][..., 1::-1], x["pred_kpt"][..., :-3:-1]
    gt[..., :2] = x["gt_kpt"][..., 1::-1]
    return differs(f({**x, "pred_kpt": pred, "gt_kpt": gt}), f(x), 2 * tol, "exchanging x and y")


def doubled_weights(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Twice the weights, twice the loss: the weights are no part of the divisor."""
    return differs(f({**x, "weights": 2 * x["weights"]}), 2 * f(x), 3 * tol, "doubling the weights")


def invisible_ignored(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """What stands at an invisible keypoint does not matter."""
    pred = np.where(x["kpt_mask"][..., None], x["pred_kpt"], 7.0)
    return differs(f({**x, "pred_kpt": pred}), f(x), 2 * tol, "changing invisible keypoints")


# Material --------------------------------------------------------------------------------------------


def _predicted(low: int, high: int, step: float = 1 / 8) -> Any:
    """Keypoints near [0, 4) with logits of sigma between two bounds."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        size = (rows, dims["row"])
        values = pick(-8, 40, size[0] * size[1]).reshape(size) / 8
        values[:, -2:] = pick(int(low / step), int(high / step), 2 * rows).reshape(rows, 2) * step
        return np.asarray(values)

    return draw


def _true(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    values = pick(0, 31, rows * dims["row"]).reshape(rows, -1) / 8
    values[:, 2:] = np.floor(values[:, 2:])
    return np.asarray(values)


_ONES = [1.0, 1.0]
_EXAMPLE: dict[str, Any] = {
    "pred_kpt": [[(0.5, 0.25, 0, 0.5, -0.5), (1, 2, 0, 0, 1)], [(3, 1, 0, -1, 0.25), (0.25, 0.75, 0, 0, 0)]],
    "gt_kpt": [[(0.25, 0.75, 2), (1.5, 1, 0)], [(2, 2, 1), (0.25, 0.25, 1)]],
    "kpt_mask": [[1, 0], [1, 1]],
    "weights": _ONES,
}
_HIT: dict[str, Any] = {"gt_kpt": [[(2, 3), (1, 1)]], "kpt_mask": [[1, 1]], "weights": _ONES}
_GONE = [[(2, 3, -800, -800), (1.5, 0.75, 0.5, -1)]]

RLE_SIGMA = Param(
    "bounded",
    ("unbounded",),
    "sigma is at least the smallest normal number of its dtype (D5)",
    means={
        "bounded": "sigma is kept at the smallest normal number of its dtype or above",
        "unbounded": "sigma may become 0, and its logarithm infinite",
    },
)

SPEC = Spec(
    name="rle_keypoints",
    summary="Residual log-likelihood of keypoints with their sigmas",
    cite="spec/40-yolo.md section 4.3; arXiv 2107.11291",
    inputs={
        "pred_kpt": Domain(
            "n K P",
            "x, y in cells, [visibility,] two logits of sigma in [-50, 50]",
            {"ordinary": _predicted(-4, 4), "sure": _predicted(-50, -12), "unsure": _predicted(12, 50)},
            nan_free=True,
        ),
        "gt_kpt": Domain("n K D", "x, y in cells and further values", {"ordinary": _true}, nan_free=True),
        "kpt_mask": Domain("n K", "visible or not", HARD_LABEL_FAMILIES, dtype="bool"),
        "weights": Domain("K", "weight of each keypoint", {"unequal": soft_labels}, nan_free=True),
    },
    wrt=("pred_kpt",),
    params={
        "rle_sigma": RLE_SIGMA,
        "residual": Param(True, (False,), "the terms ln(2 sigma) + |e|"),
        "size_average": Param(True, (False,), "divided by the number of visible keypoints"),
    },
    terms=("rle",),
    reference=rle_keypoints,
    oracle=oracle_rle_keypoints,
    sizes={
        "single": ({"n": 1, "K": 1, "P": 4, "D": 2},),
        "small": ({"n": 3, "K": 2, "P": 5, "D": 3}, {"n": 4, "K": 3, "P": 4, "D": 2}),
        "bulk": ({"n": 256, "K": 17, "P": 5, "D": 3},),
        "empty": ({"n": 0, "K": 3, "P": 5, "D": 3},),
    },
    laws=(
        moved,
        exchanged_axes,
        doubled_weights,
        invisible_ignored,
        permutation(0, "pred_kpt", "gt_kpt", "kpt_mask"),
        repetition(0, 1, "pred_kpt", "gt_kpt", "kpt_mask"),
    ),
    corners=(
        corner("example", "the worked example; one keypoint is invisible", **_EXAMPLE),
        corner("all invisible", "0 with zero gradients", **{**_EXAMPLE, "kpt_mask": [[0, 0], [0, 0]]}),
        corner("unequal weights", "weights multiply, the rows divide", **{**_EXAMPLE, "weights": [1.5, 0.25]}),
        corner(
            "a hit", "error 0, sigma e^-6: the loss is negative", pred_kpt=[[(2, 3, -6, -6), (1, 1, -6, -6)]], **_HIT
        ),
        corner(
            "error clamped",
            "beyond 100 only ln sigma has a gradient",
            pred_kpt=[[(1e6, 3, 0, -8), (1, 0.5, 0.5, 30)]],
            **_HIT,
        ),
        corner("error 99.5", "inside the bounds, all have one", pred_kpt=[[(51.75, 3, 0, 2), (1, -48, 1, 0)]], **_HIT),
        corner(
            "sigma underflows",
            "a sigma of e^-800 must be a number: with the weight 0 it costs nothing in any dtype",
            pred_kpt=_GONE,
            **{**_HIT, "weights": [0.0, 1.5]},
        ),
    ),
    impostors=IMPOSTORS,
    api="PoseLoss26(model).calculate_rle_loss(pred_kpt, gt_kpt, kpt_mask)",
    returns="0-d, may be negative",
)
