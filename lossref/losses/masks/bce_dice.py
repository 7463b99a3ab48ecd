"""Cross entropy plus Dice for semantic masks.

L = weight_bce * mean of bce(pred, T) + weight_dice * Dice(pred, T) with smooth 1. A target of another
size is resampled to the prediction by nearest neighbour: pixel (i, j) takes (floor(i h'/h), floor(j w'/w)),
exactly. Source: spec/30-elementary.md section 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import LABEL_FAMILIES, LOGIT_FAMILIES, unit_interval
from lossref.core.laws import differs, not_negative, permutation
from lossref.core.nouns import Array, Domain, Param, Span, Spec
from lossref.core.precision import beside, compute_dtype, require_floating
from lossref.losses.classification.bce import bce, kinked_bce, oracle_bce
from lossref.losses.classification.replaced import kind_of, own, plain_bce
from lossref.losses.masks.dice import MultiChannelDiceLoss, T, X, dice, dice_cost
from lossref.losses.masks.dice import oracle as dice_oracle
from lossref.losses.masks.sums import mask_sums, pays

SMOOTH = 1.0


def bce_dice(pred: Tensor, target: Tensor, weight_bce: float = 0.5, weight_dice: float = 0.5) -> Tensor:
    """BCE + Dice of logits (b, c, h, w) against masks (b, c, h', w') in [0, 1]; 0-d, promoted dtype.

    Half precision is computed in float32 and rounded once. Raises ValueError for other shapes,
    RuntimeError for a target that is not floating.
    """
    if not target.is_floating_point():
        raise RuntimeError(f"target: expected a floating dtype, got {target.dtype}; call .float() first")
    require_floating(pred=pred)
    if pred.ndim != 4 or target.ndim != 4 or pred.shape[:2] != target.shape[:2]:
        raise ValueError(
            f"expected (b, c, h, w) twice, equal in b and c; got pred {tuple(pred.shape)}, target {tuple(target.shape)}"
        )
    compute, result = compute_dtype(pred, target)
    x, t = pred.to(compute), _resample(beside(target, pred, compute), pred.shape[2], pred.shape[3])
    if not pays(x, t):
        entropy = weight_bce * binary_cross_entropy_with_logits(x, t)
        return entropy.add(dice(x, t, SMOOTH), alpha=weight_dice).to(result)
    both, total, entropy = mask_sums(x, t, compute, entropy=True)
    dissimilar = dice_cost(both, total + t.sum((2, 3)), SMOOTH).mean()
    return (weight_bce * entropy / x.numel() + weight_dice * dissimilar).to(result)


def _resample(target: Tensor, height: int, width: int) -> Tensor:
    """Nearest neighbour with the floor taken in integers; a no-op at equal size."""
    if target.shape[2:] == (height, width):
        return target
    rows = torch.arange(height, device=target.device) * target.shape[2] // height
    columns = torch.arange(width, device=target.device) * target.shape[3] // width
    return target[:, :, rows][:, :, :, columns]


def oracle(m: Arithmetic, pred: Any, target: Any, weight_bce: float = 0.5, weight_dice: float = 0.5) -> Any:
    """The loss in scalars."""
    sampled = tuple(
        tuple(_nearest(mask, len(x), len(x[0])) for mask, x in zip(masks, channels, strict=True))
        for masks, channels in zip(target, pred, strict=True)
    )
    costs = [oracle_bce(m, x, t) for x, t in m.cells(pred, sampled)]
    return weight_bce * (m.sum(costs) / len(costs)) + weight_dice * dice_oracle(m, pred, sampled, SMOOTH)


def _nearest(mask: Any, height: int, width: int) -> Any:
    tall, wide = len(mask), len(mask[0])
    return tuple(tuple(mask[i * tall // height][j * wide // width] for j in range(width)) for i in range(height))


def doubled_pixels(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Doubling every pixel of a target that is as large as the prediction changes nothing."""
    if x["pred"].shape != x["target"].shape:
        return None
    larger = x["target"].repeat(2, axis=2).repeat(2, axis=3)
    return differs(f({**x, "target": larger}), f(x), 2 * tol, "doubling every target pixel")


def resampled_bilinearly(pred: Tensor, target: Tensor, weight_bce: float, weight_dice: float) -> Tensor:
    t = interpolate(target, size=pred.shape[2:], mode="bilinear", align_corners=False)
    return weight_bce * bce(pred, t).mean() + weight_dice * dice(pred, t, SMOOTH)


def nearest_by_pixel_centres(pred: Tensor, target: Tensor, weight_bce: float, weight_dice: float) -> Tensor:
    t = interpolate(target, size=pred.shape[2:], mode="nearest-exact")
    return weight_bce * bce(pred, t).mean() + weight_dice * dice(pred, t, SMOOTH)


def smooth_of_dice(pred: Tensor, target: Tensor, weight_bce: float, weight_dice: float) -> Tensor:
    t = _resample(target, pred.shape[2], pred.shape[3])
    return weight_bce * bce(pred, t).mean() + weight_dice * dice(pred, t, 1e-6)


def cross_entropy_twice(pred: Tensor, target: Tensor, weight_bce: float, weight_dice: float) -> Tensor:
    t = _resample(target, pred.shape[2], pred.shape[3])
    return (weight_bce + weight_dice) * bce(pred, t).mean()


def sum_over_pixels(pred: Tensor, target: Tensor, weight_bce: float, weight_dice: float) -> Tensor:
    t = _resample(target, pred.shape[2], pred.shape[3])
    return weight_bce * (bce(pred, t).sum() / len(pred)) + weight_dice * dice(pred, t, SMOOTH)


def composed_bce(pred: Tensor, target: Tensor, weight_bce: float, weight_dice: float) -> Tensor:
    t = _resample(target, pred.shape[2], pred.shape[3])
    return weight_bce * kinked_bce(pred, t).mean() + weight_dice * dice(pred, t, SMOOTH)


_DICE = kind_of(MultiChannelDiceLoss)


class BCEDiceLoss(nn.Module):
    """Drop-in for the class of that name; attributes weight_bce, weight_dice, bce, dice. See `bce_dice`."""

    def __init__(self, weight_bce: float = 0.5, weight_dice: float = 0.5) -> None:
        super().__init__()
        self.weight_bce = weight_bce
        self.weight_dice = weight_dice
        self.bce: Any = nn.BCEWithLogitsLoss()
        self.dice: Any = MultiChannelDiceLoss(smooth=SMOOTH)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """`bce_dice` with the parameters of this object; of other `bce` and `dice` than its own, their weighted sum."""
        if self.own_parts():
            return bce_dice(pred, target, self.weight_bce, self.weight_dice)
        t = _resample(target, pred.shape[2], pred.shape[3])
        cost: Tensor = self.weight_bce * self.bce(pred, t) + self.weight_dice * self.dice(pred, t)
        return cost

    def own_parts(self) -> bool:
        """Whether `bce` and `dice` are those that the object was made with."""
        return (
            plain_bce(self.bce, "mean")
            and own(self.dice, _DICE)
            and self.dice.smooth == SMOOTH
            and self.dice.reduction == "mean"
        )


_PLANE = [[[[0.5, -1], [2, 0.25]]]]
_STRIPES = [[[[1.0 if (i + j + c) % 3 == 0 else 0.0 for j in range(4)] for i in range(4)] for c in range(2)]]
_FLAT = [[[[0, 0], [0, 0]]]]


def _sizes(b: int, c: int, h: int, w: int, H: int, W: int) -> dict[str, int]:
    return {"b": b, "c": c, "h": h, "w": w, "H": H, "W": W}


_UNEVEN = (np.arange(30).reshape(1, 2, 3, 5) % 4) / 4

SPEC = Spec(
    name="bce_dice",
    summary="Cross entropy plus Dice for semantic masks",
    cite="spec/30-elementary.md section 8",
    inputs={
        "pred": Domain("b c h w", "logits", LOGIT_FAMILIES, row=2, kink=0.0, refused="b c"),
        "target": Domain(
            "b c H W", "mask in [0, 1], of any size", LABEL_FAMILIES, row=2, legal=unit_interval, refused="b c"
        ),
    },
    wrt=("pred",),
    params={
        "weight_bce": Param(0.5, (1.0, 0.0), "weight of the cross entropy", span=Span(0.0, 8.0)),
        "weight_dice": Param(0.5, (2.0, 0.0), "weight of the Dice loss", span=Span(0.0, 8.0)),
    },
    terms=("loss",),
    reference=bce_dice,
    oracle=oracle,
    sizes={
        "single": (_sizes(1, 1, 1, 1, 1, 1), _sizes(1, 1, 2, 3, 2, 3)),
        "small": (_sizes(2, 3, 2, 4, 2, 4), _sizes(1, 2, 2, 3, 4, 6), _sizes(2, 1, 4, 4, 2, 2)),
        "bulk": (_sizes(2, 8, 40, 32, 40, 32), _sizes(1, 2, 640, 416, 640, 416)),
        "empty": (_sizes(0, 2, 2, 2, 2, 2),),
    },
    laws=(not_negative, doubled_pixels, permutation(0, "pred", "target"), permutation(1, "pred", "target")),
    corners=(
        corner("mixed", "the worked example of the specification", pred=X, target=T),
        corner(
            "larger target", "4 x 4 against 2 x 2: pixel (0, 0) of each block", "shape", pred=X[:1], target=_STRIPES
        ),
        corner("smaller target", "1 x 1 against 2 x 2", "shape", pred=_PLANE, target=[[[[1]]]]),
        corner("other ratios", "2 x 2 against 3 x 5: row 1, column 2", pred=X[:1], target=_UNEVEN),
        corner("logits 0", "sigmoid - t, not a kink", "kink", pred=_FLAT, target=[[[[1, 0], [0.5, 0]]]]),
        corner("empty target", "Dice part 1 - 1 / (1 + sum P)", pred=_PLANE, target=_FLAT),
        corner("sure and right", "costs nothing", pred=[[[[1e4, -1e4]]]], target=[[[[1, 0]]]]),
        corner("sure and wrong", "cross entropy 1e4, Dice 2/3", pred=[[[[-1e4, 1e4]]]], target=[[[[1, 0]]]]),
    ),
    impostors=(
        impostor("bilinear", "the target is resampled bilinearly", "reduced shape", resampled_bilinearly),
        impostor("pixel centres", "nearest by pixel centres", "reduced shape", nearest_by_pixel_centres),
        impostor("smooth 1e-6", "the default of the Dice loss", "value", smooth_of_dice),
        impostor("cross entropy twice", "a second cross entropy in place of Dice", "value", cross_entropy_twice),
        impostor("sum over pixels", "cross entropy summed over pixels", "value", sum_over_pixels),
        impostor("composed bce", "clamp, abs and exp: wrong gradient at logit 0", "kinks", composed_bce),
    ),
    api="BCEDiceLoss(weight_bce=0.5, weight_dice=0.5)(pred, target)",
    returns="0-d",
)
