"""Distribution focal loss, arXiv 2006.04388: cross entropy with the two bins around a distance.

t = clamp(target, 0, R - 1 - 0.01), k = floor(t), ce(z, k) (k + 1 - t) + ce(z, k + 1) (t - k), averaged
over the last axis of the target, which is kept. Source: spec/30-elementary.md section 3, D8, D9, QE4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import BIN_TARGET_FAMILIES, LOGIT_FAMILIES
from lossref.core.laws import differs, not_negative
from lossref.core.nouns import Array, Domain, Param, Span, Spec
from lossref.core.precision import beside, compute_dtype, require_floating
from lossref.losses.assignment.static.form import form_of
from lossref.losses.assignment.static.strategy import looked_at
from lossref.losses.coordinates.dfl_decode import BINS


def dfl(pred_dist: Tensor, target: Tensor, reg_max: int = 16) -> Tensor:
    """DFL of logits (4n, R) against distances (n, 4) in stride units; returns (n, 1), promoted dtype.

    The rows of `pred_dist` follow the target in row-major order. `target` is not written to. Raises
    ValueError where the rows do not match, IndexError for a NaN target or too few bins, RuntimeError for
    a target that is not floating. On a GPU a NaN target costs NaN (see `lossref.checked`).
    """
    if not target.is_floating_point():
        raise RuntimeError(f"target: expected a floating dtype, got {target.dtype}; call .float() first")
    require_floating(pred_dist=pred_dist)
    rows = target.numel()
    if pred_dist.ndim != 2 or len(pred_dist) != rows:
        raise ValueError(
            f"pred_dist: expected {rows} rows for a target {tuple(target.shape)}, got {tuple(pred_dist.shape)}"
        )
    compute, result = compute_dtype(pred_dist, target)
    distance = beside(target, pred_dist, compute).clamp(0, reg_max - 1 - 0.01)
    log_p = pred_dist.to(compute).log_softmax(-1)
    static = form_of(distance) == "static" and not distance.requires_grad  # by weights it would have other kinks
    if looked_at(distance) or not static or pred_dist.shape[1] < reg_max:
        _require_bins(distance.detach().floor(), pred_dist.shape[1])
    cost = _by_weights(log_p, distance) if static else _by_bins(log_p, distance)
    return cost.mean(-1, keepdim=True).to(result)


def _by_bins(log_p: Tensor, distance: Tensor) -> Tensor:
    """Cost of every side from its two bins; least arithmetic."""
    left = distance.detach().floor()
    bins = left.reshape(-1).long()
    one, next_ = (nll_loss(log_p, k, reduction="none").reshape(distance.shape) for k in (bins, bins + 1))
    weight = left + 1 - distance
    return one * weight + next_ * (1 - weight)


def _by_weights(log_p: Tensor, distance: Tensor) -> Tensor:
    """The same from a weight for every bin, max(0, 1 - |t - j|): fewest operators, and no bin that there is not."""
    bins = torch.arange(log_p.shape[1], dtype=log_p.dtype, device=log_p.device)
    less = ((distance.reshape(-1, 1) - bins).abs() - 1).clamp(max=0)
    return (log_p * less).sum(-1).reshape(distance.shape)


def _require_bins(left: Tensor, bins: int) -> None:
    if not left.numel():
        return
    low, high = (float(x) for x in left.aminmax())
    if not (low >= 0 and high + 1 < bins):
        needed = f"{low:.0f} to {high + 1:.0f}"
        raise IndexError(f"target: the distances need bins {needed}, but there are {bins} bins")


def oracle(m: Arithmetic, pred_dist: Any, target: Any, reg_max: int = 16) -> Any:
    """The loss in scalars: one number for each row of four sides."""
    rows, result = iter(pred_dist), []
    for sides in target:
        costs = [_side(m, next(rows), t, reg_max) for t in sides]
        result.append((m.sum(costs) / len(costs),))
    return tuple(result)


def _side(m: Arithmetic, z: Any, t: Any, reg_max: int) -> Any:
    t = m.clamp(t, low=0.0, high=reg_max - 1 - 0.01)
    k = m.floor(t)
    return _ce(m, z, k) * (k + 1 - t) + _ce(m, z, k + 1) * (t - k)


def _ce(m: Arithmetic, z: Any, k: int) -> Any:
    return m.logsumexp([other - z[k] for other in z])


def shifted_logits(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Adding a constant to all logits of a row changes nothing."""
    return differs(f({**x, "pred_dist": x["pred_dist"] + 3}), f(x), 4 * tol, "adding 3 to the logits")


def clamped_target(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Beyond the bounds the distance does not matter."""
    top = params["reg_max"] - 1
    outside = _further_out(x["target"], top)
    return differs(f({**x, "target": outside}), f(x), 4 * tol, "moving distances beyond the bounds")


def _further_out(target: Array, top: float) -> Array:
    """Distances at or beyond [0, top] moved further out by 1."""
    return np.asarray(target + (target >= top) - 1.0 * (target <= 0))


def reversed_bins(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Reversing the bins and t -> R - 1 - t gives the same cost, well inside the bounds."""
    top, target = params["reg_max"] - 1, x["target"]
    inside = ((target > 0.02) & (target < top - 0.02)).all(axis=-1)
    turned = {"pred_dist": x["pred_dist"][:, ::-1].copy(), "target": top - target}
    return differs(f(turned)[inside], f(x)[inside], 4 * tol[inside], "reversing the bins")


def _below(target: Tensor, top: float) -> tuple[Tensor, Tensor]:
    """The distances clamped at `top`, and the bins on their left."""
    t = target.clamp(0, top)
    return t, t.floor()


def _costs(z: Tensor, left: Tensor, weight: Tensor) -> Tensor:
    """Cost of every side: cross entropy with the bin `left`, times its weight, and with the next one."""
    k = left.reshape(-1).long()
    left_cost = cross_entropy(z, k, reduction="none").view(left.shape)
    right_cost = cross_entropy(z, k + 1, reduction="none").view(left.shape)
    return left_cost * weight + right_cost * (1 - weight)


def _mean_up_to(z: Tensor, target: Tensor, top: float) -> Tensor:
    t, left = _below(target, top)
    return _costs(z, left, left + 1 - t).mean(-1, keepdim=True)


def clamped_at_last_bin(pred_dist: Tensor, target: Tensor, reg_max: int) -> Tensor:
    return _mean_up_to(pred_dist, target, reg_max - 1 - 1e-9)


def clamped_before_last_bin(pred_dist: Tensor, target: Tensor, reg_max: int) -> Tensor:
    return _mean_up_to(pred_dist, target, reg_max - 2.0)


def weights_swapped(pred_dist: Tensor, target: Tensor, reg_max: int) -> Tensor:
    t, left = _below(target, reg_max - 1 - 0.01)
    return _costs(pred_dist, left, t - left).mean(-1, keepdim=True)


def summed_over_sides(pred_dist: Tensor, target: Tensor, reg_max: int) -> Tensor:
    t, left = _below(target, reg_max - 1 - 0.01)
    return _costs(pred_dist, left, left + 1 - t).sum(-1, keepdim=True)


def nearest_bin(pred_dist: Tensor, target: Tensor, reg_max: int) -> Tensor:
    t, _ = _below(target, reg_max - 1 - 0.01)
    return _costs(pred_dist, t.round().clamp(max=reg_max - 2), torch.ones_like(t)).mean(-1, keepdim=True)


def writes_into_target(pred_dist: Tensor, target: Tensor, reg_max: int) -> Tensor:
    top = reg_max - 1 - 0.01
    return _mean_up_to(pred_dist, target.clamp_(0, top), top)


class DFLoss(nn.Module):
    """Drop-in for the class of that name; attribute reg_max. Called directly: there is no forward."""

    def __init__(self, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max

    def __call__(self, pred_dist: Tensor, target: Tensor) -> Tensor:
        """`dfl` with the number of bins of this object."""
        return dfl(pred_dist, target, self.reg_max)


_Z = [(0.5, -1, 0.25, 2), (0, 0.125, -0.5, 1), (1.5, 0.5, 0, -2), (-0.75, 0.25, 3, 0.5)]
_R4 = {"reg_max": 4}
_RAMP = [[(3 * i + 5 * j) % 7 / 4 for j in range(16)] for i in range(4)]

SPEC = Spec(
    name="dfl",
    summary="Distribution focal loss of box sides",
    cite="spec/30-elementary.md section 3; arXiv 2006.04388",
    inputs={
        "pred_dist": Domain("4n R", "logits of R bins, one row for each side", LOGIT_FAMILIES, refused="4n"),
        "target": Domain("n 4", "distances l, t, r, b in stride units", BIN_TARGET_FAMILIES, 0, refused="n 4"),
    },
    wrt=("pred_dist",),
    params={
        "reg_max": Param(
            16, (4,), "number of bins R; the last one is reached at R - 1.01", span=Span(2, 33, whole=True)
        )
    },
    terms=("loss",),
    reference=dfl,
    oracle=oracle,
    derived=BINS,
    sizes={"single": ({"n": 1},), "small": ({"n": 3}, {"n": 4}), "bulk": ({"n": 1024},), "empty": ({"n": 0},)},
    laws=(not_negative, shifted_logits, clamped_target, reversed_bins),
    corners=(
        corner(
            "mixed",
            "the worked example: inside, clamped above and below",
            params=_R4,
            pred_dist=_Z,
            target=[(0.25, 1.5, 5, -1)],
        ),
        corner("integral", "one bin only", "kink", params=_R4, pred_dist=_Z, target=[(0, 1, 2, 2)]),
        corner(
            "at the bound",
            "R - 1 becomes R - 1.01: weights 0.01 and 0.99",
            params=_R4,
            pred_dist=_Z,
            target=[(3, 3, 3, 3)],
        ),
        corner("below zero", "clamped to 0", params=_R4, pred_dist=_Z, target=[(-1, -2, -0.125, -8)]),
        corner("uniform logits", "ln R whatever the target", pred_dist=[[0] * 16] * 4, target=[(0.5, 3.25, 14, 20)]),
        corner("saturated", "a sure and wrong bin", pred_dist=[[1e4] + [0] * 15] * 4, target=[(0, 1.5, 7.25, 14)]),
        corner("sixteen bins", "every side in another bin", pred_dist=_RAMP, target=[(0.125, 4.75, 9.5, 14.5)]),
        corner(
            "three axes",
            "a (1, 1, 4) target keeps all axes but the last",
            "shape",
            params=_R4,
            pred_dist=_Z,
            target=[[(0.25, 1.5, 2, 0.5)]],
        ),
    ),
    impostors=(
        impostor("clamped at R - 1", "the 0.01 is forgotten", "value", clamped_at_last_bin),
        impostor("clamped at R - 2", "the last bin is never used", "value", clamped_before_last_bin),
        impostor("weights swapped", "the far bin gets the near weight", "value", weights_swapped),
        impostor("sum over the sides", "sum instead of mean", "value", summed_over_sides),
        impostor("nearest bin", "no interpolation between bins", "value", nearest_bin),
        impostor("writes into target", "clamps its argument in place", "pure", writes_into_target),
    ),
    api="DFLoss(reg_max=16)(pred_dist, target)",
    returns="(n, 1): the mean over the four sides",
)
