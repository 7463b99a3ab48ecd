"""Careless versions of the keypoint loss, each with one step of the formula done wrong.

Source: spec/30-elementary.md section 9.
"""

from __future__ import annotations

from torch import Tensor

from lossref.core.declare import impostor

EPS = 1e-9


def dissimilarity(pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, scale: Tensor) -> Tensor:
    """1 - exp(-d^2 / scale) of visible keypoints, 0 of others; (n, K)."""
    distance2 = ((pred_kpts[..., :2] - gt_kpts[..., :2]) ** 2).sum(-1)
    return (1 - (-distance2 / scale).exp()) * kpt_mask.to(pred_kpts.dtype)


def scale_of(area: Tensor, sigmas: Tensor) -> Tensor:
    """(2 sigma)^2 (area + eps) 2; (n, K)."""
    return (2 * sigmas) ** 2 * (area + EPS) * 2


def mean_over_objects(lost: Tensor, kpt_mask: Tensor) -> Tensor:
    """The right reduction: each object has a factor of its own."""
    seen = kpt_mask.to(lost.dtype).sum(1, keepdim=True)
    return (kpt_mask.shape[1] / (seen + EPS) * lost).mean()


def factor_of_the_batch(pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    lost = dissimilarity(pred_kpts, gt_kpts, kpt_mask, scale_of(area, sigmas))
    return (kpt_mask.numel() / (kpt_mask.to(lost.dtype).sum() + EPS) * lost).mean()


def mean_over_all_visible(pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    lost = dissimilarity(pred_kpts, gt_kpts, kpt_mask, scale_of(area, sigmas))
    return lost.sum() / (kpt_mask.to(lost.dtype).sum() + EPS)


def sum_over_objects(pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    lost = dissimilarity(pred_kpts, gt_kpts, kpt_mask, scale_of(area, sigmas))
    return (lost / (kpt_mask.to(lost.dtype).sum(1, keepdim=True) + EPS)).sum()


def area_squared(pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    scale = 2 * (area * sigmas) ** 2
    return mean_over_objects(dissimilarity(pred_kpts, gt_kpts, kpt_mask, scale), kpt_mask)


def sigma_not_doubled(pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    scale = sigmas**2 * (area + EPS) * 2
    return mean_over_objects(dissimilarity(pred_kpts, gt_kpts, kpt_mask, scale), kpt_mask)


def factor_2_missing(pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    scale = (2 * sigmas) ** 2 * (area + EPS)
    return mean_over_objects(dissimilarity(pred_kpts, gt_kpts, kpt_mask, scale), kpt_mask)


def no_eps(pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    scale = (2 * sigmas) ** 2 * area * 2
    return mean_over_objects(dissimilarity(pred_kpts, gt_kpts, kpt_mask, scale), kpt_mask)


IMPOSTORS = (
    impostor("factor of the batch", "one factor for all objects", "value reduced", factor_of_the_batch),
    impostor("mean over all visible", "an unseen object is left out", "value", mean_over_all_visible),
    impostor("sum over objects", "not divided by n", "value", sum_over_objects),
    impostor("area squared", "(area sigma)^2", "value", area_squared),
    impostor("sigma not doubled", "sigma^2 instead of (2 sigma)^2", "value", sigma_not_doubled),
    impostor("factor 2 missing", "the 2 of the Gaussian", "value", factor_2_missing),
    impostor("no eps", "area 0 gives NaN", "value", no_eps),
)
