"""Binary cross entropy on logits, the part that the classification losses share.

bce(x, y) = max(x, 0) - x y + ln(1 + exp(-|x|)), with d/dx = sigmoid(x) - y everywhere, also at 0, and
d/dy = -x. Source: spec/30-elementary.md section 0. The result has the promoted dtype (D8).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lossref.core.arithmetic import Arithmetic


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Elementwise binary cross entropy; both of one shape and one floating dtype."""
    return binary_cross_entropy_with_logits(logits, target, reduction="none")


def sum_of_means(cost: Tensor) -> Tensor:
    """Sum of the means over axis 1 of (b, n, ...), 0-d: NaN where n is 0 and another axis is not."""
    if cost.ndim < 2:
        raise IndexError(f"expected two axes or more, got shape {tuple(cost.shape)}")
    # one division of one number, where a mean divides the whole gradient
    return cost.sum() / cost.shape[1] if cost.numel() else cost.mean(1).sum()


def power(x: Tensor, exponent: float) -> Tensor:
    """x^exponent of x >= 0; below the smallest normal number its slope counts as 0, not as infinite (D15)."""
    if exponent >= 1 or exponent == 0:
        return x.pow(exponent)
    tiny = x < torch.finfo(x.dtype).tiny
    return torch.where(tiny, x.detach().pow(exponent), x.masked_fill(tiny, 1).pow(exponent))


def kinked_bce(logits: Tensor, target: Tensor) -> Tensor:
    """A careless composition: right in value, wrong in gradient where a logit is exactly 0."""
    return logits.clamp(min=0) - logits * target + torch.log1p(torch.exp(-logits.abs()))


def oracle_bce(m: Arithmetic, x: Any, y: Any) -> Any:
    """The same in scalars, in the form that does not cancel: y softplus(-x) + (1 - y) softplus(x)."""
    return y * m.softplus(-x) + (1 - y) * m.softplus(x)
