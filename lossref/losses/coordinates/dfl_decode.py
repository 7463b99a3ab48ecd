"""Distances as the mean of a softmax over bins (distribution focal loss, arXiv 2006.04388).

A row of 4R logits is read as (4, R): distance = sum_j j p_j, p the softmax over the R bins of one side. For
R = 1 the four numbers are the distances themselves. Source: spec/10-geometry.md section 10. Where sources
differ: bin-major channels, bins numbered from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import LOGIT_FAMILIES
from lossref.core.laws import differs, rows_independent
from lossref.core.nouns import Array, Derived, Domain, Param, Span, Spec
from lossref.core.precision import as_it_is, compute_dtype, require_floating


def dfl_distances(logits: Tensor, reg_max: int = 16) -> Tensor:
    """Distances l, t, r, b (..., 4) in stride units of logits (..., 4 reg_max), side-major; same dtype.

    float16 and bfloat16 are computed in float32 and rounded once. Raises ValueError if the last axis is
    not 4 reg_max or reg_max < 1, TypeError if the logits are not floating. Formula: spec/10-geometry.md
    section 10.
    """
    if reg_max < 1 or logits.ndim < 1 or logits.shape[-1] != 4 * reg_max:
        raise ValueError(f"logits: expected shape (..., {4 * reg_max}), got {tuple(logits.shape)}")
    require_floating(logits=logits)
    if reg_max == 1:
        return logits
    compute, result = compute_dtype(logits)
    bins = torch.arange(reg_max, dtype=compute, device=logits.device)
    sides = logits.to(compute).reshape(*logits.shape[:-1], 4, reg_max)
    with as_it_is(logits):
        return (sides.softmax(-1) @ bins).to(result)


def oracle(m: Arithmetic, logits: Any, reg_max: int = 16) -> Any:
    """The distances in scalars, row by row."""
    return tuple(oracle_dfl_distances(m, row, reg_max) for row in logits)


def oracle_dfl_distances(m: Arithmetic, row: Any, reg_max: int) -> tuple[Any, ...]:
    """Four distances of one row of 4R numbers, side after side."""
    if reg_max == 1:
        return tuple(row)
    return tuple(oracle_dfl_distance(m, row[side * reg_max : (side + 1) * reg_max]) for side in range(4))


def oracle_dfl_distance(m: Arithmetic, logits: Any) -> Any:
    """The mean bin of one side."""
    total = m.logsumexp(logits)
    return m.sum(m.exp(z - total) * j for j, z in enumerate(logits) if j)


def _sides(x: Array, params: Mapping[str, Any]) -> Array:
    return x.reshape(len(x), 4, params["reg_max"])


def shifted(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Adding one constant to all logits of a side changes nothing (with R = 1, it adds the constant)."""
    steps = np.repeat([3.0, -2.0, 0.5, 1.0], params["reg_max"])
    added = 0.0 if params["reg_max"] > 1 else steps
    return differs(f({"logits": x["logits"] + steps}), f(x) + added, 8 * tol, "adding a constant to a side")


def reversed_bins(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Reversing the bins of a side gives R - 1 - distance."""
    if params["reg_max"] == 1:
        return None
    turned = _sides(x["logits"], params)[:, :, ::-1].reshape(x["logits"].shape)
    return differs(f({"logits": turned}), params["reg_max"] - 1 - f(x), 4 * tol, "reversing the bins")


def sides_apart(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Reversing the sides reverses the distances."""
    turned = _sides(x["logits"], params)[:, ::-1].reshape(x["logits"].shape)
    return differs(f({"logits": turned}), f(x)[:, ::-1], tol + tol[:, ::-1], "reversing the sides")


def within_the_bins(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """A mean of the bins is neither below the first nor above the last."""
    value, top = f(x), params["reg_max"] - 1
    wrong = (value < -tol) | (value > top + tol)
    return f"{value[wrong].flat[0]:.9g} is outside [0, {top}]" if top and wrong.any() else None


def averaged(logits: Tensor, reg_max: int, mean: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Distances by a careless `mean` of logits (..., 4, R) and bins (R,)."""
    if reg_max == 1:
        return logits
    z = logits.reshape(*logits.shape[:-1], 4, reg_max)
    return mean(z, torch.arange(reg_max, dtype=z.dtype, device=z.device))


def bins_from_one(logits: Tensor, reg_max: int) -> Tensor:
    return averaged(logits, reg_max, lambda z, bins: z.softmax(-1) @ (bins + 1))


def softmax_over_the_sides(logits: Tensor, reg_max: int) -> Tensor:
    return averaged(logits, reg_max, lambda z, bins: z.softmax(-2) @ bins)


def bin_major(logits: Tensor, reg_max: int) -> Tensor:
    turned = logits.reshape(*logits.shape[:-1], reg_max, 4).mT
    return dfl_distances(turned.reshape(logits.shape), reg_max)


def not_normalised(logits: Tensor, reg_max: int) -> Tensor:
    return averaged(logits, reg_max, lambda z, bins: z.sigmoid() @ bins)


def exp_without_shift(logits: Tensor, reg_max: int) -> Tensor:
    return averaged(logits, reg_max, lambda z, bins: z.exp() / z.exp().sum(-1, keepdim=True) @ bins)


def likeliest_bin(logits: Tensor, reg_max: int) -> Tensor:
    return averaged(logits, reg_max, lambda z, bins: z.softmax(-1).argmax(-1).to(z.dtype) + 0 * z.softmax(-1).sum(-1))


def one_bin_clamped(logits: Tensor, reg_max: int) -> Tensor:
    return logits.clamp(min=0) if reg_max == 1 else dfl_distances(logits, reg_max)


_WORKED = [(0, 1, 2, 0.5, 1, 1, 1, 1, 0, 0, 0, 0, -1, 0, 1, 2)]
_R4 = {"reg_max": 4}
_RAMP = [[(3 * i + 5 * (i // 16)) % 7 / 4 for i in range(64)]]

BINS = {"R": Derived(("reg_max",), int)}

SPEC = Spec(
    name="dfl_decode",
    summary="Distances from the logits of distribution focal loss",
    cite="spec/10-geometry.md section 10; arXiv 2006.04388",
    inputs={"logits": Domain("n 4R", "logits, side-major: R bins of l, then of t, r, b", LOGIT_FAMILIES)},
    wrt=("logits",),
    params={
        "reg_max": Param(
            16, (4, 1), "number of bins R; with 1, the numbers are the distances", span=Span(1, 33, whole=True)
        )
    },
    terms=("distances",),
    reference=dfl_distances,
    oracle=oracle,
    derived=BINS,
    sizes={
        "single": ({"n": 1, "reg_max": 16}, {"n": 1, "reg_max": 4}),
        "small": ({"n": 3}, {"n": 4}),
        "bulk": ({"n": 2100},),
        "empty": ({"n": 0},),
    },
    laws=(shifted, reversed_bins, sides_apart, within_the_bins, rows_independent("logits")),
    corners=(
        corner("worked", "the anchor of the specification", params=_R4, logits=_WORKED),
        corner("uniform", "(R - 1) / 2; logit 0 is not a kink", "kink", params=_R4, logits=[[0] * 16]),
        corner("sixteen bins", "every side another distribution", logits=_RAMP),
        corner("one bin", "R = 1: the numbers are the distances", params={"reg_max": 1}, logits=[(0.5, -1, 3, 0)]),
        corner("two bins", "a sigmoid", params={"reg_max": 2}, logits=[(0.5, -1, 3, 0, 1, 1, -2, 2)]),
        corner("saturated", "one sure bin on every side", params=_R4, logits=[[0, 1e4, 0, 0] * 4]),
        corner("all very large", "exp would overflow", params=_R4, logits=[[1e4, 1e4, 1e4 - 1, 1e4] * 4]),
        corner("one row", "(16,) is (4,)", "shape", params=_R4, logits=_WORKED[0]),
        corner("three axes", "(1, 2, 16) is (1, 2, 4)", "shape", params=_R4, logits=[_WORKED * 2]),
    ),
    impostors=(
        impostor("bins from 1", "1 too far", "value laws", bins_from_one),
        impostor("softmax over the sides", "the wrong axis", "value laws", softmax_over_the_sides),
        impostor("bin-major", "channels read as (R, 4)", "value laws", bin_major),
        impostor("not normalised", "sigmoid instead of softmax", "value laws", not_normalised),
        impostor("likeliest bin", "argmax instead of the mean", "value gradient", likeliest_bin),
        impostor("exp without shift", "overflows", "value", exp_without_shift),
        impostor("R = 1 clamped", "distances below 0 are cut off", "params", one_bin_clamped),
    ),
    api="dfl_distances(logits, reg_max=16)",
    returns="(n, 4): l, t, r, b",
)
