"""Angle term of rotated boxes: sin^2 of twice the difference, weaker for elongated targets.

rho_i = ln((w_i + 1e-9) / (h_i + 1e-9)) of the target, a_i = exp(-rho_i^2 / lambda^2), d_i the predicted less the
target angle: L = sum of weight_i a_i sin(2 d_i)^2 / S. The period is pi/2, and only the predicted angle gets a
gradient. Where sources differ: sin(d), no aspect factor, lambda not squared.
Source: spec/40-yolo.md section 5.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import soft_labels
from lossref.core.laws import differs, not_negative, permutation
from lossref.core.nouns import Array, Case, Domain, Param, Params, Span, Spec
from lossref.core.picking import Pick
from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.coordinates.rotated import ROTATED_FAMILIES, ROTATED_PAIR_FAMILIES, shortest_side

EPS = 1e-9


def angle_loss(
    pred_bboxes: Tensor,
    target_bboxes: Tensor,
    weight: Tensor,
    target_scores_sum: Tensor | float,
    lambda_val: float = 3.0,
) -> Tensor:
    """Angle term of positives: boxes (n, 5) xywhr in one length unit and radians, weight (n,); 0-d.

    `target_scores_sum` is the 0-d normaliser S. Computed and returned in the promoted dtype, half precision
    in float32. Raises ValueError where the shapes do not fit, TypeError for inputs that are not floating.
    Formula: spec/40-yolo.md section 5.4.
    """
    require_floating(pred_bboxes=pred_bboxes, target_bboxes=target_bboxes, weight=weight)
    for name, x in (("pred_bboxes", pred_bboxes), ("target_bboxes", target_bboxes)):
        if x.ndim != 2 or x.shape[1] != 5 or len(x) != weight.numel():
            raise ValueError(f"{name}: expected shape ({weight.numel()}, 5), got {tuple(x.shape)}")
    dtype, result = compute_dtype(pred_bboxes, target_bboxes, weight)
    target = target_bboxes.detach().to(dtype)
    log_ratio = ((target[:, 2] + EPS) / (target[:, 3] + EPS)).log()
    factor = weight.detach().reshape(-1).to(dtype) * (-(log_ratio**2) / lambda_val**2).exp()
    turn = 2 * (pred_bboxes[:, 4].to(dtype) - target[:, 4])
    norm = torch.as_tensor(target_scores_sum, dtype=dtype, device=target.device)
    return ((factor * turn.sin() ** 2).sum() / norm).to(result)


def oracle(
    m: Arithmetic, pred_bboxes: Any, target_bboxes: Any, weight: Any, target_scores_sum: Any, lambda_val: float = 3.0
) -> Any:
    """The term in scalars."""
    rows = zip(pred_bboxes, target_bboxes, weight, strict=True)
    return m.sum([w * oracle_angle(m, box, target, lambda_val) for box, target, w in rows]) / target_scores_sum


def oracle_angle(m: Arithmetic, box: Any, target: Any, lambda_val: float) -> Any:
    """What one positive costs."""
    rho = m.log(target[2] + 1e-9) - m.log(target[3] + 1e-9)
    wave = m.sin((box[4] - target[4]) * 2)
    return m.exp(-(rho * rho) / (lambda_val * lambda_val)) * (wave * wave)


# Laws -------------------------------------------------------------------------------------------------------


def _turned(x: Mapping[str, Array], name: str, by: float) -> dict[str, Array]:
    return {**x, name: x[name] + np.array([0, 0, 0, 0, by])}


def quarter_turn(f: Any, x: Mapping[str, Array], params: Params, tol: Array) -> str | None:
    """Turning the predictions by pi/2 changes nothing."""
    return differs(f(_turned(x, "pred_bboxes", np.pi / 2)), f(x), 64 * tol, "a quarter turn")


def turned_together(f: Any, x: Mapping[str, Array], params: Params, tol: Array) -> str | None:
    """Only the difference of the angles counts."""
    both = _turned(_turned(x, "pred_bboxes", 0.5), "target_bboxes", 0.5)
    return differs(f(both), f(x), 4 * tol, "turning both boxes")


def sides_exchanged(f: Any, x: Mapping[str, Array], params: Params, tol: Array) -> str | None:
    """w and h of the target may be exchanged; those of the prediction do not matter."""
    changed = {**x, "target_bboxes": x["target_bboxes"][:, [0, 1, 3, 2, 4]], "pred_bboxes": x["pred_bboxes"].copy()}
    changed["pred_bboxes"][:, :4] = 1
    return differs(f(changed), f(x), 4 * tol, "exchanging the sides")


def in_proportion(f: Any, x: Mapping[str, Array], params: Params, tol: Array) -> str | None:
    """Twice the weights give twice the term, twice S half of it."""
    found = differs(f({**x, "weight": 2 * x["weight"]}), 2 * f(x), 4 * tol, "doubling the weights")
    return found or differs(f({**x, "target_scores_sum": 2 * x["target_scores_sum"]}), f(x) / 2, 2 * tol, "doubling S")


# Impostors --------------------------------------------------------------------------------------------------


def _factor(target: Tensor, scale: float) -> Tensor:
    """exp(-rho^2 / scale) of each target."""
    rho = ((target[:, 2] + EPS) / (target[:, 3] + EPS)).log()
    return (-(rho**2) / scale).exp()


def _turn(pred: Tensor, target: Tensor) -> Tensor:
    """d of each positive."""
    return pred[:, 4] - target[:, 4]


def _wave(pred: Tensor, target: Tensor) -> Tensor:
    return (2 * _turn(pred, target)).sin()


def _cost(pred: Tensor, target: Tensor, scale: float) -> Tensor:
    """What each positive costs."""
    return _factor(target, scale) * _wave(pred, target) ** 2


def sine_of_d(pred: Tensor, target: Tensor, weight: Tensor, norm: Tensor, lambda_val: float) -> Tensor:
    cost = _factor(target, lambda_val**2) * _turn(pred, target).sin() ** 2
    return (weight * cost).sum() / norm


def no_aspect_factor(pred: Tensor, target: Tensor, weight: Tensor, norm: Tensor, lambda_val: float) -> Tensor:
    return (weight * _wave(pred, target) ** 2).sum() / norm


def one_less_factor(pred: Tensor, target: Tensor, weight: Tensor, norm: Tensor, lambda_val: float) -> Tensor:
    cost = (1 - _factor(target, lambda_val**2)) * _wave(pred, target) ** 2
    return (weight * cost).sum() / norm


def lambda_not_squared(pred: Tensor, target: Tensor, weight: Tensor, norm: Tensor, lambda_val: float) -> Tensor:
    return (weight * _cost(pred, target, lambda_val)).sum() / norm


def not_squared(pred: Tensor, target: Tensor, weight: Tensor, norm: Tensor, lambda_val: float) -> Tensor:
    cost = _factor(target, lambda_val**2) * _wave(pred, target).abs()
    return (weight * cost).sum() / norm


def unweighted(pred: Tensor, target: Tensor, weight: Tensor, norm: Tensor, lambda_val: float) -> Tensor:
    return _cost(pred, target, lambda_val**2).sum() / norm


def divided_by_n(pred: Tensor, target: Tensor, weight: Tensor, norm: Tensor, lambda_val: float) -> Tensor:
    return (weight * _cost(pred, target, lambda_val**2)).sum() / max(len(weight), 1)


def nan_to_zero(pred: Tensor, target: Tensor, weight: Tensor, norm: Tensor, lambda_val: float) -> Tensor:
    return ((weight * _cost(pred, target, lambda_val**2)).sum() / norm).nan_to_num()


def _weights(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    return soft_labels(pick, rows, given, dims)


def _sums(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    return np.asarray(pick(8, 256, rows) / 8).reshape(rows, -1)


def _positive(x: Array, params: Params) -> str | None:
    return None if (x > 0).all() else "expected a positive number"


def _with_sides(x: Array, params: Params) -> str | None:
    return "expected w >= 0 and h >= 0" if (x[..., 2:4] < 0).any() else None


def _case(name: str, why: str, *rows: tuple[float, ...], norm: float = 1.5, lambda_val: float = 3.0) -> Case:
    """Rows (predicted angle, target angle, target w, target h, weight)."""
    return corner(
        name,
        why,
        params={"lambda_val": lambda_val},
        pred_bboxes=[(0.5, 1, 2, 1, row[0]) for row in rows],
        target_bboxes=[(0.5, 0.75, row[2], row[3], row[1]) for row in rows],
        weight=[row[4] for row in rows],
        target_scores_sum=norm,
    )


_BOX: dict[str, Any] = {"unit": None, "extent": shortest_side, "nan_free": True}
_ANCHOR = ((0.25, -0.5, 4, 1, 0.5), (2, 0.125, 2, 2, 0.75), (-1.5, 1.25, 2, 8, 0.25))

SPEC = Spec(
    name="angle",
    summary="Angle term of rotated boxes",
    cite="spec/40-yolo.md section 5.4",
    inputs={
        "pred_bboxes": Domain("n 5", "predictions xywhr", ROTATED_PAIR_FAMILIES, given="target_bboxes", **_BOX),
        "target_bboxes": Domain("n 5", "targets xywhr", ROTATED_FAMILIES, legal=_with_sides, **_BOX),
        "weight": Domain("n", "weight of each positive", {"soft": _weights}, row=0),
        "target_scores_sum": Domain("", "the normaliser S", {"any": _sums}, row=0, legal=_positive, unit=None),
    },
    wrt=("pred_bboxes",),
    params={"lambda_val": Param(3.0, (1.0,), "how fast elongated targets lose weight", span=Span(0.25, 8.0))},
    terms=("loss",),
    reference=angle_loss,
    oracle=oracle,
    sizes={"single": ({"n": 1},), "small": ({"n": 4}, {"n": 3}), "bulk": ({"n": 2048},), "empty": ({"n": 0},)},
    laws=(
        not_negative,
        permutation(0, "pred_bboxes", "target_bboxes", "weight"),
        quarter_turn,
        turned_together,
        sides_exchanged,
        in_proportion,
    ),
    corners=(
        _case("worked example", "an elongated target, a square, one beyond half a turn", *_ANCHOR),
        _case("lambda 1", "elongated targets count for less", *_ANCHOR, lambda_val=1.0),
        _case("right angle", "no cost, no gradient", (0.75, 0.75, 4, 1, 1)),
        _case("quarter of pi away", "nearly the highest cost", (0.78125, 0, 2, 2, 1)),
        _case("no area", "both sides 0 count as a square", (0.25, -0.5, 0, 0, 1)),
        _case("one side 0", "the factor is about e^-50", (0.25, -0.5, 4, 0, 1)),
        _case("weightless", "a positive of weight 0", (0.25, -0.5, 4, 1, 0), (2, 0.125, 2, 2, 0.75)),
        _case("many turns away", "periodic", (20.5, -0.5, 3, 2, 1)),
    ),
    impostors=(
        impostor("sin(d)", "not of twice the difference", "value reduced", sine_of_d),
        impostor("no aspect factor", "elongated targets count fully", "value reduced", no_aspect_factor),
        impostor("1 - a", "squares count for nothing", "value reduced", one_less_factor),
        impostor("lambda not squared", "divided by lambda", "value reduced", lambda_not_squared),
        impostor("not squared", "the sine instead of its square", "value reduced", not_squared),
        impostor("unweighted", "all positives alike", "value reduced", unweighted),
        impostor("divided by n", "mean over the positives", "value reduced", divided_by_n),
        impostor("NaN to zero", "a NaN gives a finite number", "refuses", nan_to_zero),
    ),
    api="v8OBBLoss(model).calculate_angle_loss(pred_bboxes, target_bboxes, fg_mask, weight, target_scores_sum)",
    returns="0-d",
)
