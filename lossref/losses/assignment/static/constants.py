"""Small tables of numbers, made once for each device: a tensor that is made of numbers at every call is a copy each."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

Numbers = tuple[float, ...] | tuple[tuple[float, ...], ...]


def constant(numbers: Numbers, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The numbers as a tensor on the device of `like`, in its dtype unless said; not to be written to.

    Under torch.compile and with fake tensors it is made anew.
    """
    kind = dtype or like.dtype
    if torch.compiler.is_compiling() or type(like) not in (Tensor, torch.nn.Parameter):
        return torch.tensor(numbers, dtype=kind, device=like.device)
    return _made(numbers, kind, like.device)


@lru_cache(maxsize=256)
def _made(numbers: Numbers, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # one that is made in inference mode cannot be used in training
        return torch.tensor(numbers, dtype=dtype, device=device)
