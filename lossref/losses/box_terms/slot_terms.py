"""Box and distance term over a fixed number of slots, most of which have the weight 0; no value is looked at.

What parts.py computes on positives. The bins of a distance are limited to those that there are,
so that a NaN is a NaN and no bad index. Source: spec/30-elementary.md sections 3, 4 and 6.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lossref.losses.box_terms.parts import BoxTerms, require_edition


def slot_terms(
    pred_dist: Tensor,
    pred_boxes: Tensor,
    points: Tensor,
    target_boxes: Tensor,
    weight: Tensor,
    norm: Tensor,
    scale: Tensor,
    stride: Tensor,
    reg_max: int,
    edition: str,
    similarity: Callable[[Tensor, Tensor], Tensor],
    distances: Callable[[Tensor, Tensor, int | None], Tensor],
) -> BoxTerms:
    """As `terms_of_positives`, all tensors in the dtype of the computation; scale (4,) is (W, H, W, H) in pixels."""
    require_edition(edition)
    iou = (weight * (1 - similarity(pred_boxes, target_boxes))).sum() / norm
    distance = distances(points, target_boxes, reg_max - 1 if reg_max > 1 else None)
    if reg_max > 1:
        cost = _two_bins(pred_dist.reshape(-1, 4, reg_max), distance)
    elif edition == "8.3":
        return BoxTerms(iou, pred_dist[:0].sum())
    else:
        cost = (pred_dist - distance).abs() * (stride / scale)
    return BoxTerms(iou, (weight * cost.mean(1)).sum() / norm)


def _two_bins(logits: Tensor, distance: Tensor) -> Tensor:
    """Cross entropy (m, 4) with the two bins around each distance (m, 4), for logits (m, 4, R)."""
    left = distance.detach().floor()
    bins = left.long().clamp(0, logits.shape[-1] - 2)
    log_p = logits.log_softmax(-1)
    near = log_p.gather(-1, torch.stack([bins, bins + 1], -1))
    weight_left = left + 1 - distance
    return -(near[..., 0] * weight_left + near[..., 1] * (1 - weight_left))


def mean_bins(logits: Tensor, dim: int) -> Tensor:
    """Mean bin of the softmax of logits over an axis, which goes; a product and a sum, never a matrix product.

    Matrix products may be rounded to ten bits on a GPU.
    """
    bins = torch.arange(logits.shape[dim], dtype=logits.dtype, device=logits.device)
    return (logits.softmax(dim) * bins.reshape(-1, *[1] * (-dim - 1))).sum(dim)
