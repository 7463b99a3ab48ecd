"""torch.nn.functional, where it has the same function or the same function at some parameters."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from lossref.core.nouns import Target
from lossref.losses import specs

ABSENT = "torch.nn.functional has no such function"


def version() -> str:
    """The installed release."""
    return str(torch.__version__)


def targets() -> list[Target]:
    """Focal at gamma 0 without balance, and DFL as cross entropy with probabilities on two bins."""
    declared = {
        "focal": Target(
            "focal",
            partial(partial, focal_without_focus),
            "torch",
            fixed={"gamma": 0.0, "alpha": 0.0},
            usage="from lossref.targets.adapters.torch import focal_without_focus\n"
            "out = focal_without_focus(pred, label)",
        ),
        "dfl": Target(
            "dfl",
            partial(partial, two_bins),
            "torch",
            accepts=("reg_max",),
            usage="from lossref.targets.adapters.torch import two_bins\nout = two_bins(pred_dist, target, {reg_max!r})",
        ),
    }
    return [declared.get(name, Target(name, partial, "torch", unsupported=ABSENT)) for name in specs()]


def focal_without_focus(pred: Tensor, label: Tensor) -> Tensor:
    """Focal loss at gamma = 0, alpha = 0: binary cross entropy."""
    cost = functional.binary_cross_entropy_with_logits(pred, label, reduction="none")
    return cost.mean(1).sum()


def two_bins(pred_dist: Tensor, target: Tensor, reg_max: int = 16) -> Tensor:
    """DFL as cross entropy against probabilities that sit on the two bins around the distance."""
    distance = target.clamp(0, reg_max - 1 - 0.01).reshape(-1, 1)
    bins = torch.arange(pred_dist.shape[1], dtype=target.dtype, device=target.device)
    weights = (1 - (distance - bins).abs()).clamp(min=0)
    cost = functional.cross_entropy(pred_dist, weights, reduction="none")
    return cost.reshape(target.shape).mean(-1, keepdim=True)
