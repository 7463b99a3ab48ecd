"""Focal loss on logits, arXiv 1708.02002.

p_t = y p + (1 - y)(1 - p), l = bce(x, y) (1 - p_t)^gamma, times y alpha + (1 - y)(1 - alpha) if any
alpha is > 0; L = sum of (mean over axis 1 of l). Nothing is detached; p_t is linear in y. Where sources
differ: alpha <= 0 switches the balance off here; what a label between 0 and 1 means (`soft_labels`).
Source: spec/30-elementary.md section 2, D8, D9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner
from lossref.core.families import LABEL_FAMILIES, LOGIT_FAMILIES, unit_interval
from lossref.core.laws import Array, differs, not_negative, permutation, repetition
from lossref.core.nouns import Domain, Param, Span, Spec
from lossref.core.precision import beside, compute_dtype, require_floating, require_same_shape
from lossref.losses.assignment.static.constants import constant
from lossref.losses.classification.bce import bce, oracle_bce, power, sum_of_means
from lossref.losses.classification.focal_impostors import IMPOSTORS
from lossref.losses.classification.replaced import Mark

Alpha = float | Sequence[float]
# What a label between 0 and 1 means: here, in kornia, in segmentation_models_pytorch, in monai. Hard ones agree.
SOFT = ("interpolated", "two sides", "exp(-bce)", "scaled logit")


def focal(
    pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: Alpha = 0.25, soft_labels: str = "interpolated"
) -> Tensor:
    """Focal loss of logits (b, q, c) against labels (b, q, c) in [0, 1]; 0-d, promoted dtype.

    `alpha` is one number or one per class (last axis), `soft_labels` one of `SOFT`. Half precision is
    computed in float32 and rounded once. Raises ValueError for unequal shapes, IndexError below two axes,
    RuntimeError for labels that are not floating.
    """
    if not label.is_floating_point():
        raise RuntimeError(f"label: expected a floating dtype, got {label.dtype}; call .float() first")
    require_floating(pred=pred)
    require_same_shape(pred=pred, label=label)
    compute, result = compute_dtype(pred, label)
    x, y = pred.to(compute), beside(label, pred, compute)
    if soft_labels == "two sides":
        one, zero = (_cost(x, torch.full_like(y, side), gamma, alpha, "interpolated") for side in (1, 0))
        cost = y * one + (1 - y) * zero
    else:
        cost = _cost(x, y, gamma, alpha, soft_labels)
    return sum_of_means(cost).to(result)


def _cost(x: Tensor, y: Tensor, gamma: float, alpha: Alpha, soft_labels: str) -> Tensor:
    """Cross entropy, focus and balance of every element."""
    p, cost = x.sigmoid(), bce(x, y)
    if soft_labels == "interpolated":
        missed = torch.lerp(p, 1 - p, y)
    elif soft_labels == "exp(-bce)":
        missed = -(-cost).expm1()
    elif soft_labels == "scaled logit":
        missed = (x * (1 - 2 * y)).sigmoid()
    else:
        raise ValueError(f"soft_labels: expected one of {', '.join(SOFT)}, got {soft_labels!r}")
    return cost * power(missed, gamma) * _balance(y, alpha)


def _balance(y: Tensor, alpha: Alpha) -> Tensor:
    each = list(alpha) if isinstance(alpha, Sequence) else [alpha]
    if not any(a > 0 for a in each):
        return torch.ones((), dtype=y.dtype, device=y.device)
    weight = constant(tuple(map(float, each)), y) if isinstance(alpha, Sequence) else y.new_full((), alpha)
    return torch.lerp(1 - weight, weight, y)


def oracle(
    m: Arithmetic, pred: Any, label: Any, gamma: float = 1.5, alpha: Any = 0.25, soft_labels: str = "interpolated"
) -> Any:
    """The loss in scalars."""
    classes = len(pred[0][0]) if isinstance(pred[0][0], tuple) else len(pred[0])
    alphas = list(alpha) if isinstance(alpha, Sequence) else [alpha] * classes
    balanced, terms = any(a > 0 for a in alphas), []
    for i, (x, y) in enumerate(m.cells(pred, label)):
        one, zero = (alphas[i % classes], 1 - alphas[i % classes]) if balanced else (1, 1)
        if soft_labels == "two sides":
            positive = m.pow(m.sigmoid(-x), gamma) * m.softplus(-x) * one
            terms.append(y * positive + (1 - y) * m.pow(m.sigmoid(x), gamma) * m.softplus(x) * zero)
        else:
            focus = m.pow(oracle_missed(m, x, y, soft_labels), gamma)
            terms.append(oracle_bce(m, x, y) * focus * (y * one + (1 - y) * zero))
    return m.sum(terms) / len(pred[0])


def oracle_missed(m: Arithmetic, x: Any, y: Any, soft_labels: str) -> Any:
    """What is raised to gamma: 1 - p_t."""
    if soft_labels == "exp(-bce)":
        return 1 - m.exp(-oracle_bce(m, x, y))
    if soft_labels == "scaled logit":
        return m.sigmoid(x * (1 - 2 * y))
    return y * m.sigmoid(-x) + (1 - y) * m.sigmoid(x)


def mirrored(f: Any, x: Any, params: Any, tol: Array) -> str | None:
    """x -> -x with y -> 1 - y leaves the unbalanced loss alone (alpha = 1/2 or none)."""
    if params["alpha"] not in (0.0, 0.5):
        return None
    turned = {"pred": -x["pred"], "label": 1 - x["label"]}
    return differs(f(turned), f(x), 4 * tol, "exchanging the classes")


class FocalLoss(nn.Module):
    """Drop-in for the class of that name; attributes gamma and alpha (a tensor). See `focal`.

    `alpha` is shown in the default dtype and never changes; calls compute with the value given (D8), or with the
    tensor that was put in its place.
    """

    def __init__(self, gamma: float = 1.5, alpha: Alpha = 0.25) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = torch.tensor(alpha)
        self._given = alpha
        self._shown = Mark(self.alpha)

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        """`focal` with the parameters of this object."""
        return focal(pred, label, self.gamma, self.weight())

    def weight(self) -> Alpha:
        """The number or the list that was given, or what `alpha` was replaced by."""
        if self._shown.untouched(self.alpha):
            return self._given
        weight: Alpha = self.alpha.tolist() if isinstance(self.alpha, Tensor) else self.alpha
        return weight


_X = [[[0.5, -1.25], [2, -0.375], [-3, 0]]]
_Y = [[[1, 0], [0, 0.5], [0, 1]]]
_AXES = "b q c"

SOFT_MEANS = {
    "interpolated": "p_t is y p + (1 - y) (1 - p)",
    "two sides": "a soft label y costs y times what 1 costs, and 1 - y times what 0 costs",
    "exp(-bce)": "p_t is exp(-bce)",
    "scaled logit": "1 - p_t is sigmoid(x (1 - 2 y))",
}

SPEC = Spec(
    name="focal",
    summary="Focal classification loss on logits",
    cite="spec/30-elementary.md section 2; arXiv 1708.02002",
    inputs={
        "pred": Domain(_AXES, "logits", LOGIT_FAMILIES, row=0, kink=0.0, refused=_AXES),
        "label": Domain(_AXES, "labels in [0, 1], soft too", LABEL_FAMILIES, 2, None, unit_interval, refused=_AXES),
    },
    wrt=("pred",),
    params={
        "gamma": Param(1.5, (0.0, 2.0), "exponent of 1 - p_t", span=Span(0.0, 5.0)),
        "alpha": Param(
            0.25, (0.75, 0.5, 0.0), "weight of the positives; <= 0 switches the balance off", span=Span(-1.0, 1.0)
        ),
        "soft_labels": Param(SOFT[0], SOFT[1:], "what a label between 0 and 1 means", means=SOFT_MEANS),
    },
    terms=("loss",),
    reference=focal,
    oracle=oracle,
    sizes={
        "single": ({"b": 1, "q": 1, "c": 1},),
        "small": ({"b": 2, "q": 3, "c": 4}, {"b": 1, "q": 5, "c": 2}),
        "bulk": ({"b": 4, "q": 300, "c": 20},),
        "empty": ({"b": 0, "q": 3, "c": 2}, {"b": 2, "q": 0, "c": 3}),
    },
    laws=(
        not_negative,
        mirrored,
        permutation(1, "pred", "label"),
        repetition(0, 2, "pred", "label"),
        repetition(1, 1, "pred", "label"),
    ),
    corners=(
        corner("mixed", "the worked example of the specification", pred=_X, label=_Y),
        corner("soft label", "p_t is linear in y, not exp(-bce)", pred=[[[1.5]]], label=[[[0.5]]]),
        corner("fine label", "all digits of a label count", pred=[[[1]]], label=[[[5 / 16 + 2.0**-20]]]),
        corner("logit 0", "sigmoid - y, not a kink", "kink", pred=[[[0]]], label=[[[1]]]),
        corner("saturated, wrong", "-1e4 on a positive", pred=[[[-1e4]]], label=[[[1]]]),
        corner("saturated, right", "1e4 on a positive costs nothing", pred=[[[1e4]]], label=[[[1]]]),
        corner("no balance", "alpha 0 is no weight 0", params={"alpha": 0.0}, pred=_X, label=_Y),
        corner("symmetric", "alpha 1/2 treats both classes alike", params={"alpha": 0.5}, pred=_X, label=_Y),
        *(
            corner(f"soft label, {how}", "the four agree on hard ones", params={"soft_labels": how}, pred=_X, label=_Y)
            for how in SOFT[1:]
        ),
        corner("two axes", "axis 1 is the last one", "shape", pred=_X[0], label=_Y[0]),
    ),
    impostors=IMPOSTORS,
    api="FocalLoss(gamma=1.5, alpha=0.25)(pred, label)",
    returns="0-d",
)
