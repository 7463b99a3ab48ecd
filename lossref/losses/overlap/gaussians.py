"""Rotated boxes as Gaussians: covariance, Bhattacharyya distance, similarity; arXiv 2106.06072.

The steps of probiou; the rotated losses take them one by one. Source:
spec/10-geometry.md section 4.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

FLOOR = {0.0: "nothing is added to the variances of a box", "": "{} is added to both variances of every box"}


class Covariance(NamedTuple):
    """[[a, c], [c, b]] of each box, of the leading shape."""

    a: Tensor
    b: Tensor
    c: Tensor


def covariance(w: Tensor, h: Tensor, r: Tensor, cov_floor: float) -> Covariance:
    """The covariance of uniform boxes w x h turned by r, `cov_floor` added along both sides."""
    along, across = w**2 / 12 + cov_floor, h**2 / 12 + cov_floor
    cos, sin = r.cos(), r.sin()
    cos2, sin2 = cos**2, sin**2
    return Covariance(along * cos2 + across * sin2, along * sin2 + across * cos2, (along - across) * cos * sin)


def bhattacharyya(dx: Tensor, dy: Tensor, one: Covariance, two: Covariance, eps: float) -> Tensor:
    """BD, the clamped distance of two Gaussians whose centres are (dx, dy) apart."""
    a, b, c = one.a + two.a, one.b + two.b, one.c + two.c
    delta = a * b - c**2
    d1 = (one.a * one.b - one.c**2).clamp(min=0)
    d2 = (two.a * two.b - two.c**2).clamp(min=0)
    t1 = (a * dy**2 + b * dx**2) / (delta + eps) / 4
    t2 = -(c * dx * dy) / (delta + eps) / 2
    t3 = (delta / (4 * root(d1 * d2) + eps) + eps).log() / 2
    return (t1 + t2 + t3).clamp(eps, 100)


def root(x: Tensor) -> Tensor:
    """The square root of x >= 0, whose slope at 0 counts as 0, not as infinite (D15)."""
    flat = x == 0
    return x.masked_fill(flat, 1).sqrt().masked_fill(flat, 0)


def similarity(distance: Tensor, eps: float) -> Tensor:
    """1 - Hellinger distance."""
    return 1 - root(1 - (-distance).exp() + eps)


def aspect_penalty(iou: Tensor, w1: Tensor, h1: Tensor, w2: Tensor, h2: Tensor, eps: float) -> Tensor:
    """v alpha of CIoU from the raw sizes; alpha carries no gradient."""
    v = (4 / math.pi**2) * (torch.atan(w2 / h2) - torch.atan(w1 / h1)) ** 2
    alpha = (v / (v - iou + (1 + eps))).detach()
    return v * alpha
