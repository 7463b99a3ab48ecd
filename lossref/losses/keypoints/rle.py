"""Residual log-likelihood of keypoint errors, arXiv 2107.11291.

l_ij = ln sigma_ij - log_phi_i (+ ln(2 sigma_ij) + |error_ij|, residual) (* weight_i) (/ n), summed over rows i
and their D entries j, so that log_phi_i counts D times and sigma twice. The error is used as given
(divided by sigma by the caller). Where sources differ: log_phi counted once, division by n D or by the
sum of the weights. Source: spec/30-elementary.md section 5, D8, D9.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner
from lossref.core.families import LABEL_FAMILIES, LOGIT_FAMILIES
from lossref.core.laws import differs, permutation
from lossref.core.nouns import Array, Domain, Param, Spec
from lossref.core.picking import Draw, Pick
from lossref.core.precision import beside, compute_dtype, in_dtype, require_floating, require_same_shape
from lossref.losses.keypoints.rle_impostors import IMPOSTORS

EPS, FARTHEST = 1e-9, 100.0  # of the errors in units of sigma: added to sigma, and where they are clamped


def standard_normal(error: Tensor) -> Tensor:
    """Log-density (n,) of the flow whose parameters are all zero, at errors (n, 2)."""
    return -(error**2).sum(-1) / 2 - math.log(2 * math.pi)


def rle(
    sigma: Tensor,
    log_phi: Tensor,
    error: Tensor,
    target_weight: Tensor | None = None,
    use_target_weight: bool = True,
    size_average: bool = True,
    residual: bool = True,
) -> Tensor:
    """RLE of sigma (n, D) > 0, log_phi (n,), error (n, D), weight (n,), (n, 1), (n, D) or 0-d; 0-d.

    Computed in the promoted dtype of all inputs, at least float32, and returned in that of sigma and
    log_phi. Raises AssertionError for a missing weight, RuntimeError for one whose shape does not fit.
    """
    require_floating(sigma=sigma, log_phi=log_phi, error=error)
    require_same_shape(sigma=sigma, error=error)
    if sigma.ndim != 2 or log_phi.shape != sigma.shape[:1]:
        found = f"sigma {tuple(sigma.shape)}, log_phi {tuple(log_phi.shape)}"
        raise ValueError(f"log_phi: expected shape (n,) for sigma (n, D), got {found}")
    _, result = compute_dtype(sigma, log_phi)
    given = (sigma, log_phi, error) if target_weight is None else (sigma, log_phi, error, target_weight)
    width, density, miss, *weight = in_dtype(compute_dtype(*given)[0], *(beside(x, sigma) for x in given))
    if residual:
        cost = torch.add(miss.abs(), width.log(), alpha=2) - (density - math.log(2))[:, None]
    else:
        cost = width.log() - density[:, None]
    if use_target_weight:
        cost = cost * _per_row(weight[0] if weight else None, sigma)
    total = cost.sum()
    return (total / len(sigma) if size_average and len(sigma) else total).to(result)


def _per_row(weight: Tensor | None, sigma: Tensor) -> Tensor:
    """The weight in a form that broadcasts to (n, D), row by row."""
    assert weight is not None, "target_weight: it is needed because use_target_weight is True"
    rows = len(sigma)
    if weight.shape not in ((), (rows,), (rows, 1), sigma.shape):
        raise RuntimeError(
            f"target_weight: expected (n,), (n, 1), (n, D) or 0-d, got {tuple(weight.shape)} for n = {rows}"
        )
    return weight[:, None] if weight.ndim == 1 else weight


def oracle(
    m: Arithmetic,
    sigma: Any,
    log_phi: Any,
    error: Any,
    target_weight: Any,
    use_target_weight: bool = True,
    size_average: bool = True,
    residual: bool = True,
) -> Any:
    """The loss in scalars."""
    terms = []
    for widths, phi, errors, weight in zip(sigma, log_phi, error, target_weight, strict=True):
        for width, e in zip(widths, errors, strict=True):
            cost = m.log(width) - phi
            if residual:
                cost = cost + m.log(2 * width) + m.abs(e)
            terms.append(cost * weight if use_target_weight else cost)
    return m.sum(terms) / (len(sigma) if size_average and len(sigma) else 1)


def even_in_the_error(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """The sign of an error does not matter."""
    return differs(f({**x, "error": -x["error"]}), f(x), 2 * tol, "the sign of the errors")


def linear_in_the_weight(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Twice the weight, twice the loss; no effect where the weight is not used."""
    factor = 2 if params["use_target_weight"] else 1
    return differs(f({**x, "target_weight": 2 * x["target_weight"]}), factor * f(x), 3 * tol, "twice the weight")


def log_phi_counts_in_every_column(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Adding 1 to log_phi takes away D times the weight."""
    rows, columns = x["sigma"].shape
    weight = x["target_weight"].sum() if params["use_target_weight"] else rows
    step = columns * weight / (rows if params["size_average"] else 1)
    return differs(f({**x, "log_phi": x["log_phi"] + 1}), f(x) - step, 4 * tol + 1e-14 * step, "adding 1 to log_phi")


def sigma_counts_twice(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Doubling sigma adds 2 ln 2 (residual) or ln 2 for each number."""
    rows, columns = x["sigma"].shape
    weight = x["target_weight"].sum() if params["use_target_weight"] else rows
    scale = columns * weight / (rows if params["size_average"] else 1)
    step = (2 if params["residual"] else 1) * np.log(2) * scale
    return differs(f({**x, "sigma": 2 * x["sigma"]}), f(x) + step, 4 * tol + 1e-14 * step, "doubling sigma")


class RLELoss(nn.Module):
    """Drop-in for the class of that name; attributes as its arguments. See `rle`."""

    def __init__(self, use_target_weight: bool = True, size_average: bool = True, residual: bool = True) -> None:
        super().__init__()
        self.size_average = size_average
        self.use_target_weight = use_target_weight
        self.residual = residual

    def forward(self, sigma: Tensor, log_phi: Tensor, error: Tensor, target_weight: Tensor | None = None) -> Tensor:
        """`rle` with the parameters of this object."""
        return rle(sigma, log_phi, error, target_weight, self.use_target_weight, self.size_average, self.residual)


def _widths(low: int, high: int) -> Draw:
    """Eighths of a power of two from 2^low to 2^high."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        size = rows * dims["row"]
        return (pick(8, 15, size) / 8 * 2.0 ** pick(low, high, size)).reshape(rows, dims["row"])

    return draw


def _width(x: Array, params: Mapping[str, Any]) -> Array:
    return np.asarray(x.min(axis=-1, keepdims=True))


_ANCHOR: dict[str, Any] = {
    "sigma": [(0.5, 0.25), (0.125, 1), (0.75, 0.5)],
    "log_phi": (-1.5, 0.25, -3),
    "error": [(0.5, -1.25), (2, 0), (-0.375, 4)],
    "target_weight": (1, 1.5, 0.25),
}

SPEC = Spec(
    name="rle",
    summary="Residual log-likelihood of keypoint errors",
    cite="spec/30-elementary.md section 5; arXiv 2107.11291",
    inputs={
        "sigma": Domain(
            "n D",
            "predicted widths > 0",
            {"ordinary": _widths(-3, 1), "tiny": _widths(-20, -10), "large": _widths(8, 16)},
            unit=None,
            extent=_width,
            legal=lambda x, params: None if (x > 0).all() else "expected positive numbers",
        ),
        "log_phi": Domain("n", "log-density of the flow at the error", LOGIT_FAMILIES),
        "error": Domain("n D", "errors in units of sigma", LOGIT_FAMILIES),
        "target_weight": Domain("n", "weight of each row", LABEL_FAMILIES),
    },
    wrt=("sigma", "log_phi", "error"),
    params={
        "use_target_weight": Param(True, (False,), "multiply each row by its weight"),
        "size_average": Param(True, (False,), "divide by the number of rows"),
        "residual": Param(True, (False,), "add ln(2 sigma) + |error|"),
    },
    terms=("loss",),
    reference=rle,
    oracle=oracle,
    sizes={
        "single": ({"n": 1, "D": 1}, {"n": 1, "D": 2}),
        "small": ({"n": 3, "D": 2}, {"n": 4, "D": 3}),
        "bulk": ({"n": 2000, "D": 2},),
        "empty": ({"n": 0, "D": 2},),
    },
    laws=(
        permutation(0, "sigma", "log_phi", "error", "target_weight"),
        permutation(1, "sigma", "error"),
        even_in_the_error,
        linear_in_the_weight,
        log_phi_counts_in_every_column,
        sigma_counts_twice,
    ),
    corners=(
        corner("three rows", "the worked example, one error of exactly 0", **_ANCHOR),
        corner("not residual", "the negative log-likelihood alone", params={"residual": False}, **_ANCHOR),
        corner("summed", "not divided by the rows", params={"size_average": False}, **_ANCHOR),
        corner("without weights", "the weights are ignored", params={"use_target_weight": False}, **_ANCHOR),
        corner("error 0", "|e| has the gradient 0 there", "kink", **{**_ANCHOR, "error": [(0, 0), (0, 0), (0, 0)]}),
        corner("weight 0", "rows that do not count stay in the divisor", **{**_ANCHOR, "target_weight": (0, 0, 1)}),
        corner("sure", "tiny sigma: the loss is negative", **{**_ANCHOR, "sigma": [(2.0**-20,) * 2] * 3}),
        corner("weights (n, 1)", "one column", "shape", **{**_ANCHOR, "target_weight": [(1,), (1.5,), (0.25,)]}),
        corner(
            "weights (n, D)", "one for each number", "shape", **{**_ANCHOR, "target_weight": [(1, 2), (0, 1), (3, 4)]}
        ),
        corner("one weight", "0-d", "shape", **{**_ANCHOR, "target_weight": 0.5}),
    ),
    impostors=IMPOSTORS,
    api="RLELoss(use_target_weight=True, size_average=True, residual=True)(sigma, log_phi, error, target_weight)",
    returns="0-d",
)
