"""The sum of varifocal loss with value and slopes as one function, where starting an operator costs most: on a GPU.

w = alpha p^gamma (1 - y) + q y, b = bce(x, q). Slopes of b w: w (p - q) + b gamma (1 - p) (w - q y) in x, b y - x w
in q. Source: spec/30-elementary.md section 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossref.core.precision import as_it_is
from lossref.losses.assignment.static.form import form_of
from lossref.losses.classification.bce import bce, power


def weight_of_all(x: Tensor, q: Tensor, y: Tensor, gamma: float, alpha: float) -> Tensor:
    """The weight of every element."""
    return torch.lerp(alpha * power(x.sigmoid(), gamma), q, y)


def in_one(x: Tensor, q: Tensor, y: Tensor, gamma: float) -> bool:
    """Whether value and slope are worth one function: on a GPU, where a start costs most; a compiler does it alone."""
    on_its_own = form_of(x) == "static" and not torch.compiler.is_compiling()
    return on_its_own and gamma >= 1 and x.ndim > 1 and x.numel() > 0 and not y.requires_grad


def varifocal_sum(x: Tensor, q: Tensor, y: Tensor, gamma: float, alpha: float) -> Tensor:
    """Sum over all elements of logits x, quality q and label y of one shape and dtype; 0-d. No gradient reaches y."""
    total: Tensor = _Varifocal.apply(x, q, y, gamma, alpha)  # type: ignore[no-untyped-call]
    return total


class _Varifocal(torch.autograd.Function):
    """`varifocal_sum` with its slopes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, q: Tensor, y: Tensor, gamma: float, alpha: float) -> Tensor:
        p, cost = x.sigmoid(), bce(x, q)
        weight = p.pow(gamma).mul_(alpha).lerp_(q, y)
        ctx.save_for_backward(x, q, y, p, cost, weight)
        ctx.gamma, ctx.alpha = gamma, alpha
        return (cost * weight).sum()

    @staticmethod
    def backward(ctx: Any, flow: Tensor) -> tuple[Tensor | None, ...]:
        x, q, y, p, cost, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        with as_it_is(x):
            if torch.is_grad_enabled():  # a gradient of the gradient is wanted
                total = (bce(x, q) * weight_of_all(x, q, y, ctx.gamma, ctx.alpha)).sum()
                leaves = [one for one, asked in zip((x, q), wanted, strict=True) if asked]
                found = iter(torch.autograd.grad(total, leaves, flow, create_graph=True))
                return *(next(found) if asked else None for asked in wanted), None, None, None
            of_x = of_q = None
            if wanted[0]:
                focus = torch.addcmul(weight, q, y, value=-1).mul_(cost)
                of_x = (p - q).mul_(weight).add_(focus.addcmul_(focus, p, value=-1), alpha=ctx.gamma).mul_(flow)
            if wanted[1]:
                of_q = (cost * y).addcmul_(x, weight, value=-1).mul_(flow)
        return of_x, of_q, None, None, None
