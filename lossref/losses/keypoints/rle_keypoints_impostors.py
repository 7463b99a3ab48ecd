"""Careless versions of residual log-likelihood of keypoints, each with one step done wrong.

Source: spec/40-yolo.md section 4.3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.declare import impostor
from lossref.losses.keypoints.rle import EPS, FARTHEST, rle, standard_normal


class Visible(NamedTuple):
    """The visible keypoints: from truth to prediction (m, 2), logits of sigma (m, 2), weight (m,)."""

    away: Tensor
    logits: Tensor
    weight: Tensor


def visible(pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor) -> Visible:
    rows = pred_kpt[kpt_mask]
    weight = weights.to(pred_kpt.dtype).expand(kpt_mask.shape)[kpt_mask]
    return Visible(rows[:, :2] - gt_kpt[kpt_mask][:, :2], rows[:, -2:], weight)


def bounded(sigma: Tensor) -> Tensor:
    return sigma.clamp(min=torch.finfo(sigma.dtype).tiny)


def clamped(error: Tensor) -> Tensor:
    return error.clamp(-FARTHEST, FARTHEST)


def likelihood_of(sigma: Tensor, error: Tensor, weight: Tensor) -> Tensor:
    return rle(sigma, standard_normal(error), error, weight)


def likelihood(pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor, **rules: Any) -> Tensor:
    """The right one, of finite errors."""
    v = visible(pred_kpt, gt_kpt, kpt_mask, weights)
    sigma = bounded(v.logits.sigmoid())
    return likelihood_of(sigma, clamped(v.away / (sigma + EPS)), v.weight)


def sigma_by_exp(pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor, **rules: Any) -> Tensor:
    v = visible(pred_kpt, gt_kpt, kpt_mask, weights)
    sigma = bounded(v.logits.exp())
    return likelihood_of(sigma, clamped(v.away / (sigma + EPS)), v.weight)


def divided_by_all_keypoints(
    pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor, **rules: Any
) -> Tensor:
    return likelihood(pred_kpt, gt_kpt, kpt_mask, weights) * kpt_mask.sum() / kpt_mask.numel()


def weights_ignored(pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor, **rules: Any) -> Tensor:
    return likelihood(pred_kpt, gt_kpt, kpt_mask, torch.ones_like(weights))


def error_not_clamped(pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor, **rules: Any) -> Tensor:
    v = visible(pred_kpt, gt_kpt, kpt_mask, weights)
    sigma = bounded(v.logits.sigmoid())
    return likelihood_of(sigma, v.away / (sigma + EPS), v.weight)


def clamped_at_zero(pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor, **rules: Any) -> Tensor:
    return likelihood(pred_kpt, gt_kpt, kpt_mask, weights).clamp(min=0)


def error_with_detached_sigma(
    pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor, **rules: Any
) -> Tensor:
    v = visible(pred_kpt, gt_kpt, kpt_mask, weights)
    sigma = bounded(v.logits.sigmoid())
    return likelihood_of(sigma, clamped(v.away / (sigma.detach() + EPS)), v.weight)


def sigma_unbounded(pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor, weights: Tensor, **rules: Any) -> Tensor:
    v = visible(pred_kpt, gt_kpt, kpt_mask, weights)
    sigma = v.logits.sigmoid()
    return likelihood_of(sigma, clamped(v.away / (sigma + EPS)), v.weight)


IMPOSTORS = (
    impostor("exp", "sigma = exp instead of sigmoid", "value", sigma_by_exp),
    impostor("divided by all keypoints", "invisible ones count", "value", divided_by_all_keypoints),
    impostor("weights ignored", "every keypoint weighs 1", "value laws", weights_ignored),
    impostor("no clamp of the error", "outliers decide", "value", error_not_clamped),
    impostor("clamped at 0", "max(0, .) belongs to the caller", "value", clamped_at_zero),
    impostor(
        "error with detached sigma",
        "sigma is trained by its logarithm only",
        "gradient reduced",
        error_with_detached_sigma,
    ),
    impostor("unbounded", "ln 0 times 0 is NaN (upstream, D5)", "value", sigma_unbounded),
)


def careless(pred: Tensor, gt: Tensor, mask: Tensor, weights: Tensor, label: str) -> Tensor:
    """The impostor of that label, as a term of a pose loss, or the right version if there is none."""
    wrong = [one.build for one in IMPOSTORS if one.label == label]
    loss: Tensor = (wrong[0]() if wrong else likelihood)(pred, gt, mask, weights)
    return loss
