"""Cross entropy plus Dice of semantic logits against a class map, without a look at any value.

What semantic_term.py computes at the labelled pixels, at all of them. Source: spec/40-yolo.md section 2.1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lossref.losses.assignment.static.strategy import looked_at
from lossref.losses.masks.semantic_term import LINEAR, SMOOTH, nearest, require_classes, require_maps


def slot_semantic_cost(
    logits: Tensor, classes: Tensor, labelled: Tensor, dtype: torch.dtype, weights: tuple[float, float], wanted: Tensor
) -> Tensor:
    """As `semantic_cost`, and 0 with a zero gradient unless it is `wanted` (0-d)."""
    require_maps(logits, classes, labelled)
    index = classes.long()
    if looked_at(index):
        require_classes(index, logits.shape[1])
    wrong = ((index < 0) | (index >= logits.shape[1])).any()
    height, width = logits.shape[2:]
    index = nearest(index, height, width).clamp(0, logits.shape[1] - 1).flatten(1)
    here = nearest(labelled, height, width).flatten(1)
    x = torch.where(wanted, logits.to(dtype).flatten(2), 0)
    chosen = torch.where(here, x.gather(1, index[:, None])[:, 0], 0)
    entropy = (softplus(x, 1, LINEAR).sum() - chosen.sum()) / x.numel()
    nothing = x.new_zeros(x.shape[:2])
    both = nothing.scatter_add(1, index, torch.where(here, chosen.sigmoid(), 0))
    count = nothing.scatter_add(1, index, here.to(dtype))
    dice = (2 * both + SMOOTH) / (x.sigmoid().sum(2) + count + SMOOTH)
    cost = weights[0] * entropy + weights[1] * (1 - dice).mean()
    return torch.where(wanted, cost.masked_fill(wrong, torch.nan), 0)
