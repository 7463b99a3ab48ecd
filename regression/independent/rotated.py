"""Rotated boxes: probiou by the formula's letter and by determinants, dist2rbox by a matrix and by complex numbers.

Written from `lossref/spec/10-geometry.md` sections 3, 4 and 8 alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import lossref


class Gauss:
    """A box as a Gaussian: centre, the two variances along its own axes, and its covariance."""

    def __init__(self, box: Tensor) -> None:
        self.x, self.y, self.w, self.h, angle = box.unbind(-1)
        wide, high = self.w**2 / 12, self.h**2 / 12
        cos, sin = torch.cos(angle), torch.sin(angle)
        self.determinant = wide * high
        self.xx = wide * cos**2 + high * sin**2
        self.yy = wide * sin**2 + high * cos**2
        self.xy = (wide - high) * cos * sin


def hellinger(bd: Tensor, eps: float) -> Tensor:
    """Similarity of a Bhattacharyya distance."""
    return 1 - torch.sqrt(1 - torch.exp(-torch.clamp(bd, eps, 100.0)) + eps)


def aspect_term(one: Gauss, two: Gauss, similarity: Tensor, eps: float) -> Tensor:
    """v alpha of CIoU, alpha without a gradient."""
    slant = (torch.atan(two.w / two.h) - torch.atan(one.w / one.h)) ** 2
    v = slant * (4 / math.pi**2)
    return v * (v / (v - similarity + (1 + eps))).detach()


@lossref.target("probiou")
def probiou(obb1: Tensor, obb2: Tensor, CIoU: bool = False, eps: float = 1e-7) -> Tensor:
    """By the letter, on covariances."""
    p, q = Gauss(obb1), Gauss(obb2)
    a, b, c = p.xx + q.xx, p.yy + q.yy, p.xy + q.xy
    dx, dy = p.x - q.x, p.y - q.y
    delta = a * b - c**2
    mahalanobis = (a * dy**2 + b * dx**2) / 4 - c * dx * dy / 2
    d1 = torch.clamp(p.xx * p.yy - p.xy**2, min=0)
    d2 = torch.clamp(q.xx * q.yy - q.xy**2, min=0)
    shape = torch.log(delta / (4 * torch.sqrt(d1 * d2) + eps) + eps) / 2
    similarity = hellinger(mahalanobis / (delta + eps) + shape, eps)
    if CIoU:
        similarity = similarity - aspect_term(p, q, similarity, eps)
    return similarity.unsqueeze(-1)


@lossref.target("probiou")
class ProbIoU(torch.nn.Module):
    """By determinants: those of single boxes are products of variances, that of the sum has positive terms only."""

    def __init__(self, CIoU: bool = False, eps: float = 1e-7) -> None:
        super().__init__()
        self.aspect, self.eps = CIoU, eps

    def forward(self, obb1: Tensor, obb2: Tensor) -> Tensor:
        """(n, 5) and (n, 5) to (n, 1)."""
        p, q = Gauss(obb1), Gauss(obb2)
        turn = obb2[..., 4] - obb1[..., 4]
        cross = self.mixed(p, q, turn)
        delta = p.determinant + q.determinant + cross
        offset = torch.stack((p.x - q.x, p.y - q.y), -1)
        adjugate = torch.stack((p.yy + q.yy, -(p.xy + q.xy), -(p.xy + q.xy), p.xx + q.xx), -1)
        adjugate = adjugate.unflatten(-1, (2, 2))
        form = torch.einsum("...i,...ij,...j->...", offset, adjugate, offset)
        areas = torch.sqrt(p.determinant * q.determinant)
        shape = 0.5 * torch.log(delta / (4 * areas + self.eps) + self.eps)
        similarity = hellinger(form / (4 * (delta + self.eps)) + shape, self.eps)
        if self.aspect:
            similarity = similarity - aspect_term(p, q, similarity, self.eps)
        return similarity[..., None]

    @staticmethod
    def mixed(p: Gauss, q: Gauss, turn: Tensor) -> Tensor:
        """tr(adj(P) Q), of variances along the axes and the angle between them."""
        c2, s2 = torch.cos(turn) ** 2, torch.sin(turn) ** 2
        wp, hp, wq, hq = (one**2 / 12 for one in (p.w, p.h, q.w, q.h))
        return (wp * hq + hp * wq) * c2 + (wp * wq + hp * hq) * s2


@lossref.target("dist2rbox")
def dist2rbox_matrix(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor) -> Tensor:
    """The offset times a rotation matrix."""
    near, far = pred_dist[..., :2], pred_dist[..., 2:]
    angle = pred_angle[..., 0]
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
    centre = torch.einsum("...ij,...j->...i", rotation, (far - near) / 2) + anchor_points
    size = near + far
    centre, size = torch.broadcast_tensors(centre, size)
    return torch.cat((centre, size), -1)


@lossref.target("dist2rbox")
def dist2rbox_complex(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor) -> Tensor:
    """The offset times exp(i angle)."""
    left, top, right, bottom = pred_dist.unbind(-1)
    offset = torch.complex((right - left) / 2, (bottom - top) / 2)
    one = torch.ones_like(pred_angle[..., 0])
    turned = offset * torch.polar(one, pred_angle[..., 0])
    x, y = turned.real + anchor_points[..., 0], turned.imag + anchor_points[..., 1]
    return torch.stack(torch.broadcast_tensors(x, y, left + right, top + bottom), dim=-1)
