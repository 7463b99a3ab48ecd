"""Keypoints: their loss, the residual log-likelihood and its flow, two ways each.

Written from `lossref/spec/30-elementary.md` sections 5 and 9, and `20-assignment.md` section 5 alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lossref
from lossref.losses.keypoints.flow import parameters_of


# torch takes the derivative of expm1 from its result, so that what is left of it near 1 has few digits
@lossref.target("keypoint", slack={"gradient": (2, "the derivative of torch.expm1 is computed as its result plus 1")})
class Keypoint(nn.Module):
    """Made with the sigmas, called with points, truth, mask and area."""

    def __init__(self, sigmas: Tensor) -> None:
        super().__init__()
        self.sigmas = sigmas

    def forward(self, pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor) -> Tensor:
        """One number for all objects."""
        seen = kpt_mask.to(pred_kpts.dtype)
        offset = pred_kpts[..., :2] - gt_kpts[..., :2]
        scale = 8 * self.sigmas.to(pred_kpts.dtype) ** 2 * (area + 1e-9)
        cost = -torch.expm1(-(offset**2).sum(-1) / scale)
        factor = seen.shape[1] / ((seen != 0).sum(1, keepdim=True).to(seen.dtype) + 1e-9)
        return (factor * cost * seen).mean()


@lossref.target("keypoint")
def keypoint(pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    """A loop over the objects; K of the factor and K of the mean cancel."""
    total = 0 * pred_kpts[..., :2].sum()
    for points, truth, mask, size in zip(pred_kpts, gt_kpts, kpt_mask, area, strict=True):
        weight = mask.to(points.dtype)
        dx, dy = points[:, 0] - truth[:, 0], points[:, 1] - truth[:, 1]
        e = (dx * dx + dy * dy) / ((2 * sigmas.to(points.dtype)) ** 2) / (size + 1e-9) / 2
        total = total + torch.dot(1 - torch.exp(-e), weight) / (torch.count_nonzero(mask).to(points.dtype) + 1e-9)
    return total / len(pred_kpts)


@lossref.target("rle")
def rle(
    sigma: Tensor,
    log_phi: Tensor,
    error: Tensor,
    target_weight: Tensor | None = None,
    use_target_weight: bool = True,
    size_average: bool = True,
    residual: bool = True,
) -> Tensor:
    """Sums over the columns first: log phi counts in every one."""
    columns = sigma.shape[1]
    logs = torch.log(sigma)
    cost = logs - log_phi[:, None]
    if residual:
        cost = cost + logs + math.log(2) + error.abs()
    if use_target_weight:
        assert target_weight is not None
        weight = target_weight[:, None] if target_weight.ndim == 1 else target_weight
        cost = cost * weight.expand(-1, columns) if weight.ndim else cost * weight
    return cost.sum() / max(len(sigma), 1) if size_average else cost.sum()


@lossref.target("rle")
class RLE(nn.Module):
    """Made with three switches; the likelihood as the logarithm of one product."""

    def __init__(self, use_target_weight: bool = True, size_average: bool = True, residual: bool = True) -> None:
        super().__init__()
        self.use_target_weight, self.size_average, self.residual = use_target_weight, size_average, residual

    def forward(self, sigma: Tensor, log_phi: Tensor, error: Tensor, target_weight: Tensor | None = None) -> Tensor:
        """-ln(phi q / sigma), q the Laplace density."""
        laplace = -torch.log(2 * sigma) - torch.abs(error) if self.residual else torch.zeros_like(sigma)
        likelihood = log_phi.unsqueeze(1) + laplace - torch.log(sigma)
        weight = torch.ones_like(sigma)
        if self.use_target_weight:
            if target_weight is None:
                raise AssertionError("no weight")
            weight = target_weight.unsqueeze(1) if target_weight.dim() == 1 else target_weight
        terms = -likelihood * weight
        rows = sigma.shape[0] if self.size_average and sigma.numel() else 1
        return terms.sum(0).sum() / rows


def perceptron(parameters: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Three linear layers with SiLU between them."""
    for layer in (0, 2, 4):
        weight, bias = parameters[f"{name}.{layer}.weight"], parameters[f"{name}.{layer}.bias"]
        x = F.linear(x, weight.to(x.dtype), bias.to(x.dtype))
        x = x * torch.sigmoid(x) if layer < 4 else x
    return x


@lossref.target("realnvp")
def log_prob(x: Tensor, state: str = "woven") -> Tensor:
    """Coordinate by coordinate, from the parameters as they are named."""
    parameters = parameters_of(state)
    x = x if x.is_floating_point() else x.double()
    z = list(x.unbind(-1))
    log_det = 0 * z[0]
    for k in range(5, -1, -1):
        kept = 1 if k % 2 == 0 else 0
        moved = 1 - kept
        lone = [torch.zeros_like(z[0])] * 2
        lone[kept] = z[kept]
        u = torch.stack(lone, -1)
        s = torch.tanh(perceptron(parameters, f"s.{k}", u))[:, moved]
        z[moved] = (z[moved] - perceptron(parameters, f"t.{k}", u)[:, moved]) * torch.exp(-s)
        log_det = log_det - s
    return log_det - (z[0] ** 2 + z[1] ** 2) / 2 - math.log(2 * math.pi)


def net(*, bounded: bool) -> nn.Sequential:
    """One of the twelve networks."""
    layers: list[nn.Module] = [nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2)]
    return nn.Sequential(*layers, nn.Tanh()) if bounded else nn.Sequential(*layers)


@lossref.target("realnvp")
class Flow(nn.Module):
    """A module with the names of the state dictionary; the density of the base by torch.distributions."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(2))
        self.register_buffer("cov", torch.eye(2))
        self.register_buffer("mask", torch.tensor([[0.0, 1.0], [1.0, 0.0]] * 3))
        self.s = nn.ModuleList(net(bounded=True) for _ in range(6))
        self.t = nn.ModuleList(net(bounded=False) for _ in range(6))

    def log_prob(self, x: Tensor) -> Tensor:
        """From the error to the normal."""
        log_det = x.new_zeros(len(x))
        for k in reversed(range(6)):
            mask = self.mask[k].to(x.dtype)
            u = x * mask
            s, t = self.s[k](u) * (1 - mask), self.t[k](u) * (1 - mask)
            x = u + (1 - mask) * (x - t) * torch.exp(-s)
            log_det = log_det - s.sum(1)
        base = torch.distributions.Normal(0.0, 1.0)
        density: Tensor = base.log_prob(x).sum(-1)
        return density + log_det
