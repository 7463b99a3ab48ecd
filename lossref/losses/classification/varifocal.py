"""Varifocal loss, arXiv 2008.13367: cross entropy against an IoU-aware quality.

p = sigmoid(x), w = alpha p^gamma (1 - y) + q y, L = sum of (mean over axis 1 of bce(x, q) w).
Nothing is detached; alpha weights the negatives only. Where sources differ: the weight detached
(`weight_gradient`).
Source: spec/30-elementary.md section 1, spec/05-decisions.md D8, D9.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import HARD_LABEL_FAMILIES, LOGIT_FAMILIES, QUALITY_FAMILIES, unit_interval
from lossref.core.laws import not_negative, permutation, repetition
from lossref.core.nouns import Domain, Param, Span, Spec
from lossref.core.precision import as_it_is, beside, compute_dtype, require_floating, require_same_shape
from lossref.losses.classification.bce import bce, kinked_bce, oracle_bce, sum_of_means
from lossref.losses.classification.varifocal_sum import in_one, varifocal_sum, weight_of_all


def varifocal(
    pred_score: Tensor,
    gt_score: Tensor,
    label: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.75,
    weight_gradient: str = "attached",
) -> Tensor:
    """Varifocal loss of logits (b, q, c), quality (b, q, c) in [0, 1], label (b, q, c) in {0, 1}; 0-d.

    With weight_gradient "detached" no gradient flows through the weight. Computed and returned in the
    promoted dtype of logits and quality, at least float32. Raises ValueError for unequal shapes or
    another weight_gradient, IndexError below two axes, RuntimeError for boolean labels.
    """
    require_floating(pred_score=pred_score, gt_score=gt_score)
    require_same_shape(pred_score=pred_score, gt_score=gt_score)
    compute, _ = compute_dtype(pred_score, gt_score)
    x, q, y = pred_score.to(compute), beside(gt_score, pred_score, compute), _indicator(label, pred_score, compute)
    if weight_gradient not in GRADIENT:
        raise ValueError(f"weight_gradient: expected 'attached' or 'detached', got {weight_gradient!r}")
    with as_it_is(x):
        if weight_gradient == "attached" and in_one(x, q, y, gamma):
            return varifocal_sum(x, q, y, gamma, alpha) / x.shape[1]
        weight = weight_of_all(x, q, y, gamma, alpha)
        return sum_of_means(bce(x, q) * (weight.detach() if weight_gradient == "detached" else weight))


def _indicator(label: Tensor, pred: Tensor, dtype: torch.dtype) -> Tensor:
    if label.dtype == torch.bool:
        raise RuntimeError("label: expected 0 and 1 as numbers, got bool; call .float() first")
    return beside(label, pred, dtype)


def oracle(
    m: Arithmetic,
    pred_score: Any,
    gt_score: Any,
    label: Any,
    gamma: float = 2.0,
    alpha: float = 0.75,
    weight_gradient: str = "attached",
) -> Any:
    """The loss in scalars."""
    terms = []
    for x, q, y in m.cells(pred_score, gt_score, label):
        weight = alpha * m.pow(m.sigmoid(x), gamma) * (1 - y) + q * y
        terms.append(oracle_bce(m, x, q) * (m.stop(weight) if weight_gradient == "detached" else weight))
    return m.sum(terms) / len(pred_score[0])


def weight_of(x: Tensor, q: Tensor, y: Tensor, gamma: float, alpha: float) -> Tensor:
    return alpha * x.sigmoid().pow(gamma) * (1 - y) + q * y


def weight_detached(
    pred_score: Tensor, gt_score: Tensor, label: Tensor, gamma: float, alpha: float, weight_gradient: str
) -> Tensor:
    weight = weight_of(pred_score, gt_score, label, gamma, alpha).detach()
    return (bce(pred_score, gt_score) * weight).mean(1).sum()


def mean_over_the_last_axis(
    pred_score: Tensor, gt_score: Tensor, label: Tensor, gamma: float, alpha: float, weight_gradient: str
) -> Tensor:
    weight = weight_of(pred_score, gt_score, label, gamma, alpha)
    return (bce(pred_score, gt_score) * weight).mean(-1).sum()


def mean_before_the_weight(
    pred_score: Tensor, gt_score: Tensor, label: Tensor, gamma: float, alpha: float, weight_gradient: str
) -> Tensor:
    weight = weight_of(pred_score, gt_score, label, gamma, alpha)
    return (bce(pred_score, gt_score).mean(1, keepdim=True) * weight).mean(1).sum()


def positives_by_quality(
    pred_score: Tensor, gt_score: Tensor, label: Tensor, gamma: float, alpha: float, weight_gradient: str
) -> Tensor:
    weight = weight_of(pred_score, gt_score, (gt_score > 0).to(pred_score.dtype), gamma, alpha)
    return (bce(pred_score, gt_score) * weight).mean(1).sum()


def alpha_on_positives(
    pred_score: Tensor, gt_score: Tensor, label: Tensor, gamma: float, alpha: float, weight_gradient: str
) -> Tensor:
    weight = weight_of(pred_score, alpha * gt_score, label, gamma, 1.0)
    return (bce(pred_score, gt_score) * weight).mean(1).sum()


def against_the_label(
    pred_score: Tensor, gt_score: Tensor, label: Tensor, gamma: float, alpha: float, weight_gradient: str
) -> Tensor:
    weight = weight_of(pred_score, gt_score, label, gamma, alpha)
    return (bce(pred_score, label) * weight).mean(1).sum()


def composed_bce(
    pred_score: Tensor, gt_score: Tensor, label: Tensor, gamma: float, alpha: float, weight_gradient: str
) -> Tensor:
    weight = weight_of(pred_score, gt_score, label, gamma, alpha)
    return (kinked_bce(pred_score, gt_score) * weight).mean(1).sum()


class VarifocalLoss(nn.Module):
    """Drop-in for the class of that name; attributes gamma and alpha. See `varifocal`."""

    def __init__(self, gamma: float = 2.0, alpha: float = 0.75) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, pred_score: Tensor, gt_score: Tensor, label: Tensor) -> Tensor:
        """`varifocal` with the parameters of this object."""
        return varifocal(pred_score, gt_score, label, self.gamma, self.alpha)


_X = [[[0.5, -1.25], [2, -0.375], [-3, 0]]]
_Q = [[[0.75, 0], [0, 0], [0, 0.25]]]
_Y = [[[1, 0], [0, 0], [1, 1]]]
_ZERO = [[[0, 0]] * 3]
_AXES = "b q c"

GRADIENT = {
    "attached": "gradient flows through the weight, too",
    "detached": "the weight takes no gradient",
}

SPEC = Spec(
    name="varifocal",
    summary="Varifocal classification loss",
    cite="spec/30-elementary.md section 1; arXiv 2008.13367",
    inputs={
        "pred_score": Domain(_AXES, "logits", LOGIT_FAMILIES, row=0, kink=0.0, refused=_AXES),
        "gt_score": Domain(_AXES, "quality in [0, 1]", QUALITY_FAMILIES, 2, "label", unit_interval, refused=_AXES),
        "label": Domain(
            _AXES, "1 for positives, 0 for negatives", HARD_LABEL_FAMILIES, 2, legal=unit_interval, refused=_AXES
        ),
    },
    wrt=("pred_score", "gt_score"),
    params={
        "gamma": Param(2.0, (1.5, 3.0), "exponent of p on the negatives", span=Span(0.0, 5.0)),
        "alpha": Param(0.75, (0.25,), "weight of the negatives", span=Span(0.0, 1.0)),
        "weight_gradient": Param(
            "attached", ("detached",), "whether the gradient flows through the weight", means=GRADIENT
        ),
    },
    terms=("loss",),
    reference=varifocal,
    oracle=oracle,
    sizes={
        "single": ({"b": 1, "q": 1, "c": 1},),
        "small": ({"b": 2, "q": 3, "c": 4}, {"b": 1, "q": 5, "c": 2}),
        "bulk": ({"b": 4, "q": 300, "c": 20},),
        "empty": ({"b": 0, "q": 3, "c": 2}, {"b": 2, "q": 0, "c": 3}),
    },
    laws=(
        not_negative,
        permutation(1, "pred_score", "gt_score", "label"),
        repetition(0, 2, "pred_score", "gt_score", "label"),
        repetition(1, 1, "pred_score", "gt_score", "label"),
    ),
    corners=(
        corner("mixed", "the worked example of the specification", pred_score=_X, gt_score=_Q, label=_Y),
        corner("no positive", "the pure focal term", pred_score=_X, gt_score=_ZERO, label=_ZERO),
        corner("matched, IoU 0", "y = 1 with q = 0 costs nothing", pred_score=[[[2]]], gt_score=[[[0]]], label=[[[1]]]),
        corner("logit 0", "sigmoid - q, not a kink", "kink", pred_score=[[[0]]], gt_score=[[[0.25]]], label=[[[1]]]),
        corner("saturated, wrong", "-1e4 on a sure positive", pred_score=[[[-1e4]]], gt_score=[[[1]]], label=[[[1]]]),
        corner("saturated, right", "1e4 on a sure positive", pred_score=[[[1e4]]], gt_score=[[[1]]], label=[[[1]]]),
        corner("saturated negative", "88 on a negative", pred_score=[[[88]]], gt_score=[[[0]]], label=[[[0]]]),
        corner(
            "weight detached",
            "the value of the worked example, no gradient through the weight",
            params={"weight_gradient": "detached"},
            pred_score=_X,
            gt_score=_Q,
            label=_Y,
        ),
        corner("two axes", "axis 1 is the last one", "shape", pred_score=_X[0], gt_score=_Q[0], label=_Y[0]),
    ),
    impostors=(
        impostor("weight detached", "right value, gradient of the weight missing", "gradient", weight_detached),
        impostor("mean over the last axis", "divides by c instead of q", "reduced", mean_over_the_last_axis),
        impostor("mean before the weight", "mean of the costs times every weight", "reduced", mean_before_the_weight),
        impostor("positives by q", "q > 0 instead of the label", "value", positives_by_quality),
        impostor("alpha on positives", "alpha weights the wrong side", "value", alpha_on_positives),
        impostor("against y", "cross entropy against the hard label", "value", against_the_label),
        impostor("composed bce", "clamp, abs and exp: wrong gradient at logit 0", "kinks", composed_bce),
    ),
    api="VarifocalLoss(gamma=2.0, alpha=0.75)(pred_score, gt_score, label)",
    returns="0-d",
)
