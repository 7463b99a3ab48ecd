"""Careless versions of the focal loss, each with one step of the formula done wrong.

Source: spec/30-elementary.md section 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossref.core.declare import impostor
from lossref.losses.classification.bce import bce, kinked_bce


def focal_factor(x: Tensor, y: Tensor, gamma: float) -> Tensor:
    p = x.sigmoid()
    return (1 - (y * p + (1 - y) * (1 - p))).pow(gamma)


def balance(y: Tensor, alpha: float) -> Tensor:
    return torch.ones_like(y) if alpha <= 0 else y * alpha + (1 - y) * (1 - alpha)


def factor_detached(pred: Tensor, label: Tensor, gamma: float, alpha: float, soft_labels: str) -> Tensor:
    factor = focal_factor(pred, label, gamma).detach()
    return (bce(pred, label) * factor * balance(label, alpha)).mean(1).sum()


def p_t_of_the_cost(pred: Tensor, label: Tensor, gamma: float, alpha: float, soft_labels: str) -> Tensor:
    cost = bce(pred, label)
    return (cost * (1 - (-cost).exp()).pow(gamma) * balance(label, alpha)).mean(1).sum()


def distance_to_the_label(pred: Tensor, label: Tensor, gamma: float, alpha: float, soft_labels: str) -> Tensor:
    factor = (label - pred.sigmoid()).abs().pow(gamma)
    return (bce(pred, label) * factor * balance(label, alpha)).mean(1).sum()


def alpha_swapped(pred: Tensor, label: Tensor, gamma: float, alpha: float, soft_labels: str) -> Tensor:
    weight = balance(label, 1 - alpha if alpha > 0 else alpha)
    return (bce(pred, label) * focal_factor(pred, label, gamma) * weight).mean(1).sum()


def alpha_on_both_sides(pred: Tensor, label: Tensor, gamma: float, alpha: float, soft_labels: str) -> Tensor:
    return factor_times(pred, label, gamma, alpha if alpha > 0 else 1.0)


def times_gamma(pred: Tensor, label: Tensor, gamma: float, alpha: float, soft_labels: str) -> Tensor:
    return factor_times(pred, label, 1.0, gamma * balance(label, alpha))


def factor_times(pred: Tensor, label: Tensor, gamma: float, weight: Tensor | float) -> Tensor:
    return (bce(pred, label) * focal_factor(pred, label, gamma) * weight).mean(1).sum()


def alpha_zero_as_a_weight(pred: Tensor, label: Tensor, gamma: float, alpha: float, soft_labels: str) -> Tensor:
    weight = label * alpha + (1 - label) * (1 - alpha)
    return (bce(pred, label) * focal_factor(pred, label, gamma) * weight).mean(1).sum()


def mean_over_everything(pred: Tensor, label: Tensor, gamma: float, alpha: float, soft_labels: str) -> Tensor:
    return (bce(pred, label) * focal_factor(pred, label, gamma) * balance(label, alpha)).mean()


def composed_bce(pred: Tensor, label: Tensor, gamma: float, alpha: float, soft_labels: str) -> Tensor:
    factor = focal_factor(pred, label, gamma)
    return (kinked_bce(pred, label) * factor * balance(label, alpha)).mean(1).sum()


IMPOSTORS = (
    impostor("factor detached", "right value, gradient of (1 - p_t)^gamma missing", "gradient", factor_detached),
    impostor("p_t = exp(-bce)", "differs for soft labels only", "value", p_t_of_the_cost),
    impostor("|y - p|^gamma", "quality focal loss: differs for soft labels only", "value", distance_to_the_label),
    impostor("alpha swapped", "alpha on the negatives", "value", alpha_swapped),
    impostor("alpha on both sides", "alpha on the negatives, too", "value", alpha_on_both_sides),
    impostor("times gamma", "(1 - p_t) gamma instead of (1 - p_t)^gamma", "value", times_gamma),
    impostor("alpha 0 as a weight", "alpha 0 drops the positives", "params", alpha_zero_as_a_weight),
    impostor("mean over everything", "one mean instead of a sum of means", "reduced", mean_over_everything),
    impostor("composed bce", "clamp, abs and exp: wrong gradient at logit 0", "kinks", composed_bce),
)
