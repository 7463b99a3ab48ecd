"""Rotated boxes in scalars: the oracle parts of probiou and rbox2dist that the losses share.

Source: spec/10-geometry.md sections 4 and 9; arXiv 2106.06072.
"""

from __future__ import annotations

from typing import Any


def oracle_sides_of(m: Any, point: Any, box: Any) -> tuple[Any, ...]:
    """Distances l, t, r, b from a point to the sides of a rotated box, along its own axes."""
    x, y, w, h, r = box
    right = (point[0] - x) * m.cos(r) + (point[1] - y) * m.sin(r)  # how far the point lies along the w axis
    down = (point[1] - y) * m.cos(r) - (point[0] - x) * m.sin(r)
    return w / 2 + right, h / 2 + down, w / 2 - right, h / 2 - down


def oracle_similarity(m: Any, one: Any, two: Any, cov_floor: float) -> Any:
    """probiou of two boxes."""
    a1, b1, c1 = oracle_covariance(m, one, cov_floor)
    a2, b2, c2 = oracle_covariance(m, two, cov_floor)
    dx, dy, eps = one[0] - two[0], one[1] - two[1], 1e-7
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    delta = a * b - c * c
    apart = ((a * dy * dy + b * dx * dx) / 4 - c * dx * dy / 2) / (delta + eps)
    d1, d2 = (m.clamp(p * q - s * s, low=0.0) for p, q, s in ((a1, b1, c1), (a2, b2, c2)))
    shape = m.log(delta / (4 * m.sqrt(d1 * d2) + eps) + eps) / 2
    return 1 - m.sqrt(1 - m.exp(-m.clamp(apart + shape, low=eps, high=100.0)) + eps)


def oracle_covariance(m: Any, box: Any, cov_floor: float) -> tuple[Any, ...]:
    """Variance in x, variance in y and covariance of a box, as of a uniform density."""
    along, across = box[2] * box[2] / 12 + cov_floor, box[3] * box[3] / 12 + cov_floor
    cos, sin = m.cos(box[4]), m.sin(box[4])
    return (
        along * cos * cos + across * sin * sin,
        along * sin * sin + across * cos * cos,
        (along - across) * cos * sin,
    )
