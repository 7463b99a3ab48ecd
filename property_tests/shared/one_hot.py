"""Class maps as one-hot targets."""

from __future__ import annotations

import torch
from torch import Tensor


def one_hot(classes: Tensor, count: int) -> Tensor:
    """(n, H, W) classes as (n, count, H, W), float64."""
    return torch.nn.functional.one_hot(classes.long(), count).permute(0, 3, 1, 2).to(torch.float64)
