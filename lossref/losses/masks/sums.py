"""Sums over masks of logits x and targets T: P T and P of each channel, P = sigmoid(x), and bce(x, T) of all pixels.

One pass over the numbers forward and one backward, a block at a time, with P kept: a number is worked on while it is in
the cache. The gradient is P (1 - P) (g_PT T + g_P) + g_bce (P - T).
Source: spec/30-elementary.md sections 0, 7 and 8.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.losses.assignment.static.form import form_of
from lossref.losses.classification.class_term import log_of_product

BLOCK = 1 << 18  # numbers worked on at a time


class MaskSums(NamedTuple):
    """Sums of P T and P over the pixels, (b, c) each, and of bce over everything, 0-d (0 if it was not asked for)."""

    both: Tensor
    total: Tensor
    entropy: Tensor


class _MaskSums(torch.autograd.Function):
    """`mask_sums` with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, pred: Tensor, target: Tensor, dtype: torch.dtype, entropy: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        p = torch.empty(pred.shape, dtype=dtype, device=pred.device)
        both, total, costs = [], [], [p.new_zeros(())]
        for logits, t, out in zip(_blocks(pred), _blocks(target), _blocks(p), strict=True):
            x = logits.to(dtype)
            torch.sigmoid(x, out=out)
            total.append(out.sum(1))
            both.append((out * t).sum(1))
            if entropy:
                costs.append(_entropy(x, t))
        ctx.save_for_backward(pred, target, p)
        ctx.entropy = entropy
        return (
            torch.cat(both).reshape(pred.shape[:2]),
            torch.cat(total).reshape(pred.shape[:2]),
            torch.stack(costs).sum(),
        )

    @staticmethod
    def backward(ctx: Any, *flow: Tensor) -> tuple[Tensor | None, ...]:
        pred, target, p = ctx.saved_tensors
        of_both, of_total = (g[:, :, None, None] for g in flow[:2])
        if torch.is_grad_enabled():  # a gradient of the gradient is wanted
            p = pred.to(p.dtype).sigmoid()
            slope = p * (1 - p) * (of_both * target + of_total) + flow[2] * (p - target)
            return slope.to(pred.dtype), None, None, None
        result = torch.empty_like(p)
        rows = _rows_at_a_time(p)
        parts = (_blocks(p), _blocks(target), *(g.flatten().split(rows) for g in flow[:2]), _blocks(result))
        for q, t, g, h, out in zip(*parts, strict=True):
            torch.mul(t, g[:, None], out=out).add_(h[:, None]).mul_(q).addcmul_(out, q, value=-1)
            if ctx.entropy:
                out.add_((q - t).mul_(flow[2]))
        return result.to(pred.dtype), None, None, None


def _entropy(x: Tensor, t: Tensor) -> Tensor:
    """Sum of bce = max(x, 0) - x t + log1p(e^-|x|), where a right and sure prediction costs nothing at first; 0-d."""
    linear = x.clamp(min=0).addcmul_(x, t, value=-1).sum()
    return linear + log_of_product(x.abs().neg_().exp_().reshape(-1))


def _rows_at_a_time(x: Tensor) -> int:
    """As many channels as make a block; all of them where starting an operator costs more than memory does."""
    if x.device.type != "cpu":
        return max(x.shape[:2].numel(), 1)
    return max(BLOCK // max(x.shape[2:].numel(), 1), 1)


def _blocks(x: Tensor) -> tuple[Tensor, ...]:
    """The channels (b c, h w) of x (b, c, h, w), some at a time."""
    return torch.split(x.flatten(2).flatten(0, 1), _rows_at_a_time(x))


def pays(pred: Tensor, target: Tensor) -> bool:
    """Whether one pass is worth its operators: on a CPU for more than two blocks, where the target wants no gradient.

    On a GPU starting an operator costs more than memory does, and the plain sums have fewer of them.
    """
    return form_of(pred) == "pairs" and pred.numel() > 2 * BLOCK and not target.requires_grad


def mask_sums(pred: Tensor, target: Tensor, dtype: torch.dtype, entropy: bool = False) -> MaskSums:
    """The sums for logits (b, c, h, w) and masks (b, c, h, w), computed and returned in `dtype`.

    The target gets no gradient.
    """
    return MaskSums(*_MaskSums.apply(pred, target, dtype, entropy))  # type: ignore[no-untyped-call]
