"""In which dtype a reference computes, and in which it answers (spec/05-decisions.md, D8 and D9)."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def compute_dtype(*tensors: Tensor) -> tuple[torch.dtype, torch.dtype]:
    """(dtype of the computation, promoted dtype of the floating inputs); half computes in float32."""
    floating = [t.dtype for t in tensors if t.is_floating_point()]
    result = functools.reduce(torch.promote_types, floating)
    return (torch.float32 if result in HALF else result), result


def as_it_is(x: Tensor) -> AbstractContextManager[Any]:
    """Where products are computed in the dtype that their factors have, under autocast too (D9)."""
    if x.device.type == "meta":  # which autocast does not know
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def beside(x: Tensor, pred: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A target on the device of the predictions, in a dtype if it is said; the host does not wait until it is there."""
    kind, there = dtype or x.dtype, pred.device
    if x.dtype == kind and x.device == there:  # asking is cheaper than a `.to` that has nothing to do
        return x
    return x.to(there, kind, non_blocking=there.type != "cpu")


def in_dtype(dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in one dtype; asking first is much cheaper than a `.to` that has nothing to do."""
    return tuple(t if t.dtype == dtype else t.to(dtype) for t in tensors)


def require_floating(**tensors: Tensor) -> None:
    """Raise TypeError with the name of the first input that is not floating."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise TypeError(f"{name}: expected a floating dtype, got {tensor.dtype}; call .float() first")


def require_same_shape(**tensors: Tensor) -> None:
    """Raise ValueError unless all inputs have one shape."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected equal shapes, got {listed}")
