"""Sum of the cross entropies of all logits against targets at given places, which may coincide where they are 0.

The sum of class_term.py in few kernels and without a look at any value: sum of softplus(x)
minus sum of x t; the slope is sigmoid(x), from which t is taken away at its place. Source: spec/40-yolo.md section 1.3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lossref.losses.classification.class_term import LINEAR


class _SlotBCE(torch.autograd.Function):
    """`slot_bce` with its gradient, which is one table and a scatter into it."""

    @staticmethod
    def forward(logits: Tensor, place: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
        x = logits.reshape(-1)
        part = torch.where(target == 0, 0, x.index_select(0, place).to(dtype) * target)
        return softplus(x.to(dtype), 1, LINEAR).sum() - part.sum()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        logits, place, target, ctx.dtype = inputs
        ctx.save_for_backward(logits, place, target)

    @staticmethod
    def backward(ctx: Any, *flow: Tensor) -> tuple[Tensor | None, ...]:
        logits, place, target = ctx.saved_tensors
        x = logits.to(ctx.dtype).reshape(-1)
        slope = torch.ops.aten.softplus_backward(flow[0].expand_as(x), x, 1, LINEAR)
        slope = slope.index_add(0, place, target * -flow[0])
        return slope.reshape(logits.shape).to(logits.dtype), None, None, None


def slot_bce(logits: Tensor, place: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
    """Sum of bce(logits, t), t the sum of the targets (m,) at each flat position `place` (m,), else 0; 0-d.

    Computed and returned in `dtype`; a NaN logit anywhere makes it NaN. The target gets no gradient.
    """
    total: Tensor = _SlotBCE.apply(logits, place, target.detach().to(dtype), dtype)  # type: ignore[no-untyped-call]
    return total
