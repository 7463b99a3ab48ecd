"""Focal and varifocal loss: modules with the cross entropy of torch, functions with softplus, and one in float64.

Written from `lossref/spec/30-elementary.md` sections 0 to 2 alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lossref


def entropy(x: Tensor, y: Tensor) -> Tensor:
    """bce(x, y) as ln(1 + e^x) - x y."""
    return torch.logaddexp(x, torch.zeros_like(x)) - x * y


@lossref.target("focal")
class Focal(nn.Module):
    """Made with gamma and alpha, called with logits and labels."""

    def __init__(self, gamma: float = 1.5, alpha: float = 0.25) -> None:
        super().__init__()
        self.gamma, self.alpha = gamma, alpha

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        """A sum over all axes but the second, over which a mean is taken."""
        label = label.to(pred.dtype)
        cost = F.binary_cross_entropy_with_logits(pred, label, reduction="none")
        missed = label * torch.sigmoid(-pred) + (1 - label) * torch.sigmoid(pred)
        cost = cost * missed**self.gamma
        if self.alpha > 0:
            cost = torch.lerp(cost * (1 - self.alpha), cost * self.alpha, label)
        return cost.sum() / pred.shape[1]


@lossref.target("focal")
def focal(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
    """1 - p_t from p_t itself, log-sum-exp for the entropy."""
    p = pred.sigmoid()
    hit = p * label + (1 - p) * (1 - label)
    balance = label * alpha + (1 - label) * (1 - alpha) if alpha > 0 else 1.0
    return (entropy(pred, label) * (1 - hit).pow(gamma) * balance).mean(1).sum()


@lossref.target("varifocal")
class Varifocal(nn.Module):
    """Made with gamma and alpha, called with logits, quality and label."""

    def __init__(self, gamma: float = 2.0, alpha: float = 0.75) -> None:
        super().__init__()
        self.gamma, self.alpha = gamma, alpha

    def forward(self, pred_score: Tensor, gt_score: Tensor, label: Tensor) -> Tensor:
        """Negatives weigh alpha p^gamma, positives their quality."""
        negative = self.alpha * pred_score.sigmoid().pow(self.gamma) * (1 - label)
        weight = negative + gt_score * label
        cost = F.binary_cross_entropy_with_logits(pred_score, gt_score, reduction="none")
        return (weight * cost).mean(dim=1).sum()


@lossref.target("varifocal")
def varifocal(pred_score: Tensor, gt_score: Tensor, label: Tensor, gamma: float = 2.0, alpha: float = 0.75) -> Tensor:
    """Two sums, in float64 inside: what the negatives cost, and the positives."""
    x, q, y = pred_score.double(), gt_score.double(), label.double()
    negative = torch.exp(gamma * F.logsigmoid(x)) * alpha * (-F.logsigmoid(-x) - x * q)
    positive = q * (-q * F.logsigmoid(x) - (1 - q) * F.logsigmoid(-x))
    total = torch.einsum("...,...->", negative, 1 - y) + torch.einsum("...,...->", positive, y)
    kind = torch.promote_types(pred_score.dtype, gt_score.dtype)
    return (total / x.shape[1]).to(kind if kind.is_floating_point else torch.float64)
