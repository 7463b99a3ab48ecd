"""Sum of the binary cross entropies of all logits against targets that are zero but at a few places.

sum softplus(x) - sum over the places of x t, which is the sum of bce(x, t). The dense target is never built;
the gradient, sigmoid(x) - t, is one pass and a scatter. Source: spec/40-yolo.md section 1.3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

BLOCK = 1 << 20  # numbers worked on at a time, so that what is in between stays in the cache
LINEAR = 40.0  # above this softplus(x) is x in float64, too: e^-40 is below the resolution of 40
HALVINGS = 3  # one logarithm serves 2^3 numbers
BOUND = 10.0  # (1 + e^10)^(2^3) is below the largest float32


class _SparseBCE(torch.autograd.Function):
    """`sparse_bce` with its gradient."""

    @staticmethod
    def forward(logits: Tensor, place: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
        flat = logits.reshape(-1)
        return _softplus_sum(flat, dtype) - (flat[place].to(dtype) * target).sum()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        logits, place, target, ctx.dtype = inputs
        ctx.save_for_backward(logits, place, target)

    @staticmethod
    def backward(ctx: Any, *flow: Tensor) -> tuple[Tensor | None, ...]:
        logits, place, target = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of the gradient is wanted
            slope = logits.to(ctx.dtype).sigmoid().reshape(-1).index_add(0, place, -target)
            return (slope * flow[0]).reshape(logits.shape).to(logits.dtype), None, None, None
        result = torch.empty(logits.numel(), dtype=logits.dtype, device=logits.device)
        flat = logits.reshape(-1)
        for x, out in zip(torch.split(flat, BLOCK), torch.split(result, BLOCK), strict=True):
            torch.mul(x.to(ctx.dtype).sigmoid(), flow[0], out=out)
        result[place] = ((flat[place].to(ctx.dtype).sigmoid() - target) * flow[0]).to(result.dtype)
        return result.reshape(logits.shape), None, None, None


def _softplus_sum(flat: Tensor, dtype: torch.dtype) -> Tensor:
    """Sum of softplus(x) over x (n,), 0-d; exponentials are cheap on a CPU, logarithms are not."""
    if flat.device.type == "cpu" and flat.numel() and float(flat.amax()) <= BOUND:
        buffer = torch.empty(min(flat.numel(), BLOCK), dtype=dtype, device=flat.device)
        blocks = [log_of_product(torch.exp(x.to(dtype), out=buffer[: len(x)])) for x in torch.split(flat, BLOCK)]
    else:
        blocks = [softplus(x.to(dtype), 1, LINEAR).sum() for x in torch.split(flat, BLOCK)]
    return torch.stack(blocks).sum()


def log_of_product(e: Tensor) -> Tensor:
    """Sum of log1p(e) for e >= 0 (n,), 0-d; overwrites e.

    log1p(a) + log1p(b) = log1p(a + b + a b), where all parts are positive: no digit of a small one is lost.
    """
    rest = e[len(e) >> HALVINGS << HALVINGS :].log1p().sum()
    e = e[: len(e) >> HALVINGS << HALVINGS]
    for _ in range(HALVINGS):
        e, other = e.chunk(2)
        e.addcmul_(e, other).add_(other)
    return e.log1p_().sum() + rest


def sparse_bce(logits: Tensor, place: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
    """Sum of bce(logits, t), t = target (n,) at the flat positions `place` (n,), all different, else 0; 0-d.

    Computed and returned in `dtype`; a NaN logit anywhere makes it NaN. The target gets no gradient.
    """
    total: Tensor = _SparseBCE.apply(logits, place, target.detach().to(dtype), dtype)  # type: ignore[no-untyped-call]
    return total
