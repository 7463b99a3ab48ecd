"""Soft Dice loss for each image and channel, arXiv 1606.04797.

P = sigmoid(pred), dice = (2 sum P T + smooth) / (sum P + sum T + smooth) over the pixels (no squares),
1 - dice averaged over channels, then over images. Where sources differ: smooth stands below the fraction
only (`smooth_above`), a channel without a target pixel costs nothing (`empty_target`), soft targets share
min(P, T) (`soft_target`, arXiv 2302.05666). Source: spec/30-elementary.md section 7, QE5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import LABEL_FAMILIES, LOGIT_FAMILIES, unit_interval
from lossref.core.laws import differs, not_negative, permutation, repetition
from lossref.core.nouns import Array, Domain, Param, Span, Spec
from lossref.core.precision import beside, compute_dtype, require_floating
from lossref.losses.masks.sums import mask_sums, pays


def dice(
    pred: Tensor,
    target: Tensor,
    smooth: float = 1e-6,
    reduction: str = "mean",
    smooth_above: bool = True,
    empty_target: str = "counted",
    soft_target: str = "product",
) -> Tensor:
    """Dice loss of logits (b, c, h, w) against masks (b, c, h, w); 0-d, or (b,) without reduction.

    `reduction` is "mean", "sum"; any other string means none. The target may be floating, integer or
    boolean. Promoted dtype; half precision is computed in float32 and rounded once. Raises
    AssertionError for unequal shapes, IndexError unless there are four axes.
    """
    require_floating(pred=pred)
    if pred.shape != target.shape:
        raise AssertionError(f"expected equal shapes, got pred {tuple(pred.shape)}, target {tuple(target.shape)}")
    if pred.ndim != 4:
        raise IndexError(f"pred: expected shape (b, c, h, w), got {tuple(pred.shape)}")
    compute, result = compute_dtype(pred, target)
    t = beside(target, pred, compute)
    if soft_target == "product" and pays(pred, t):
        both, total, _ = mask_sums(pred, t, compute)
    else:
        p = pred.to(compute).sigmoid()
        both, total = (torch.minimum(p, t) if soft_target == "minimum" else p * t).sum((2, 3)), p.sum((2, 3))
    cost = dice_cost(both, total + t.sum((2, 3)), smooth, smooth_above)
    if empty_target == "dropped":
        cost = cost * (t != 0).any(3).any(2)
    if reduction == "mean":
        return cost.mean().to(result)  # channels and images at once: every image has as many
    return (cost.mean(1).sum() if reduction == "sum" else cost.mean(1)).to(result)


def dice_cost(both: Tensor, either: Tensor, smooth: float, smooth_above: bool = True) -> Tensor:
    """1 - dice of every channel, from the sums of P T and of P + T, (b, c) each."""
    half = (both + smooth / 2 if smooth_above else both) / (either + smooth)
    return torch.rsub(half, 1, alpha=2)  # two operators fewer than 1 - (2 both + smooth) / (...)


def oracle(
    m: Arithmetic,
    pred: Any,
    target: Any,
    smooth: float = 1e-6,
    reduction: str = "mean",
    smooth_above: bool = True,
    empty_target: str = "counted",
    soft_target: str = "product",
) -> Any:
    """The loss in scalars."""
    images = []
    for channels, masks in zip(pred, target, strict=True):
        pairs = zip(channels, masks, strict=True)
        costs = [oracle_channel(m, x, t, smooth, smooth_above, empty_target, soft_target) for x, t in pairs]
        images.append(m.sum(costs) / len(costs))
    if reduction not in ("mean", "sum"):
        return tuple(images)
    total = m.sum(images)
    return total / len(images) if reduction == "mean" else total


def oracle_channel(
    m: Arithmetic, x: Any, t: Any, smooth: float, smooth_above: bool, empty_target: str, soft_target: str
) -> Any:
    """1 - Dice of one channel of one image."""
    pairs = [(m.sigmoid(a), b + m.number(0.0)) for a, b in m.cells(x, t)]  # a target may be a plain int
    total = m.sum(b for _, b in pairs)
    if empty_target == "dropped" and not m.less(0 * total, total):
        return 0 * total
    both = m.sum(m.min(p, b) if soft_target == "minimum" else p * b for p, b in pairs)
    above = both * 2 + (smooth if smooth_above else 0)
    return 1 - above / (m.sum(p for p, _ in pairs) + total + smooth)


def shared(p: Tensor, t: Tensor, axes: tuple[int, ...] = (2, 3)) -> tuple[Tensor, Tensor]:
    """The sums of P T and of P + T over the axes."""
    return (p * t).sum(axes, keepdim=True), (p + t).sum(axes, keepdim=True)


def reduced(cost: Tensor, reduction: str) -> Tensor:
    per_image = cost.flatten(1).mean(1)
    if reduction not in ("mean", "sum"):
        return per_image
    return per_image.mean() if reduction == "mean" else per_image.sum()


def channels_together(pred: Tensor, target: Tensor, smooth: float, reduction: str, **rules: Any) -> Tensor:
    return reduced(dice_cost(*shared(pred.sigmoid(), target, (1, 2, 3)), smooth), reduction)


def images_together(pred: Tensor, target: Tensor, smooth: float, reduction: str, **rules: Any) -> Tensor:
    return reduced(dice_cost(*shared(pred.sigmoid(), target, (0, 2, 3)), smooth), reduction)


def everything_together(pred: Tensor, target: Tensor, smooth: float, reduction: str, **rules: Any) -> Tensor:
    return reduced(dice_cost(*shared(pred.sigmoid(), target, (0, 1, 2, 3)), smooth), reduction)


def squared_sums(pred: Tensor, target: Tensor, smooth: float, reduction: str, **rules: Any) -> Tensor:
    p = pred.sigmoid()
    both, _ = shared(p, target)
    return reduced(dice_cost(both, (p * p + target * target).sum((2, 3), keepdim=True), smooth), reduction)


def smooth_below_only(pred: Tensor, target: Tensor, smooth: float, reduction: str, **rules: Any) -> Tensor:
    return reduced(dice_cost(*shared(pred.sigmoid(), target), smooth, smooth_above=False), reduction)


def no_sigmoid(pred: Tensor, target: Tensor, smooth: float, reduction: str, **rules: Any) -> Tensor:
    return reduced(dice_cost(*shared(pred, target), smooth), reduction)


class MultiChannelDiceLoss(nn.Module):
    """Drop-in for the class of that name; attributes smooth and reduction. See `dice`."""

    def __init__(self, smooth: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__()
        self.smooth = smooth
        self.reduction = reduction

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """`dice` with the parameters of this object."""
        return dice(pred, target, self.smooth, self.reduction)


def transposed(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging rows and columns of all pixels changes nothing."""
    turned = {name: value.swapaxes(2, 3).copy() for name, value in x.items()}
    return differs(f(turned), f(x), 2 * tol, "exchanging rows and columns")


X = [[[[0.5, -1], [2, 0.25]], [[-3, 1], [0, 0.75]]], [[[1, 1], [-1, -1]], [[0.5, 0.5], [0.25, -0.25]]]]
T = [[[[1, 0], [1, 0]], [[0, 0], [0, 1]]], [[[0, 0], [0, 0]], [[1, 1], [0, 0]]]]
AXES = "b c h w"
SIZES = {
    "single": ({"b": 1, "c": 1, "h": 1, "w": 1}, {"b": 1, "c": 1, "h": 2, "w": 3}),
    "small": ({"b": 2, "c": 3, "h": 2, "w": 4}, {"b": 3, "c": 1, "h": 3, "w": 2}),
    "bulk": ({"b": 2, "c": 8, "h": 40, "w": 32}, {"b": 1, "c": 2, "h": 640, "w": 416}),
    "empty": ({"b": 0, "c": 2, "h": 2, "w": 2}, {"b": 1, "c": 2, "h": 0, "w": 2}),
}
_ONE = [[[[1, 1], [1, 1]]]]
_NONE = [[[[0, 0], [0, 0]]]]
_SOFT = [[[[0.5, 0.25], [1, 0.75]]]]
_PLANE = [[[[0.5, -1], [2, 0.25]]]]

REDUCTION = {"mean": "the mean over the images", "sum": "the sum over the images", "none": "one number for each image"}
ABOVE = {True: "smooth is added above and below the fraction", False: "smooth is added below the fraction alone"}
EMPTY = {
    "counted": "a channel without a target pixel counts as any other",
    "dropped": "a channel without a target pixel costs 0",
}
SHARED = {"product": "P and T share P T", "minimum": "P and T share min(P, T)"}

SPEC = Spec(
    name="dice",
    summary="Soft Dice loss for each image and channel",
    cite="spec/30-elementary.md section 7; arXiv 1606.04797",
    inputs={
        "pred": Domain(AXES, "logits", LOGIT_FAMILIES, row=2, refused=AXES),
        "target": Domain(AXES, "mask in [0, 1]", LABEL_FAMILIES, row=2, legal=unit_interval, refused=AXES),
    },
    wrt=("pred",),
    params={
        "smooth": Param(1e-6, (1.0, 1e-3), "added above and below the fraction", small=True, span=Span(0.0, 4.0)),
        "reduction": Param(
            "mean", ("sum", "none"), "over images: mean, sum, any other string for none", means=REDUCTION
        ),
        "smooth_above": Param(
            True, (False,), "whether smooth is added above the fraction as well; not in kornia", means=ABOVE
        ),
        "empty_target": Param(
            "counted", ("dropped",), "a channel without a target pixel; dropped: costs 0, as in smp", means=EMPTY
        ),
        "soft_target": Param(
            "product", ("minimum",), "what P and T share; minimum: segmentation_models_pytorch (smp)", means=SHARED
        ),
    },
    terms=("loss",),
    reference=dice,
    oracle=oracle,
    sizes=SIZES,
    laws=(
        not_negative,
        transposed,
        permutation(1, "pred", "target"),
        permutation(3, "pred", "target"),
        repetition(1, 1, "pred", "target"),
    ),
    corners=(
        corner("mixed", "the worked example: two images, two channels", "kink", pred=X, target=T),
        corner("empty target", "costs about 1 with the default smooth", pred=_PLANE, target=_NONE),
        corner(
            "empty target, smooth 1", "costs 1 - 1 / (1 + sum P)", params={"smooth": 1.0}, pred=_PLANE, target=_NONE
        ),
        corner("smooth below only", "nothing above", params={"smooth_above": False}, pred=_PLANE, target=_NONE),
        corner("minimum", "P and T share min(P, T)", params={"soft_target": "minimum"}, pred=_PLANE, target=_SOFT),
        corner("dropped", "costs nothing", params={"empty_target": "dropped"}, pred=_PLANE, target=_NONE),
        corner("full target", "every pixel is set", pred=_PLANE, target=_ONE),
        corner("sure and right", "costs nothing", pred=[[[[1e4, -1e4]]]], target=[[[[1, 0]]]]),
        corner("sure and wrong", "costs 1", pred=[[[[-1e4, 1e4]]]], target=[[[[1, 0]]]]),
        corner("logits 0", "P = 1/2 on every pixel", "kink", pred=_NONE, target=[[[[1, 0], [0.5, 0]]]]),
        corner(
            "one number for each image",
            "reduction none is (b,)",
            "shape",
            params={"reduction": "none"},
            pred=X,
            target=T,
        ),
    ),
    impostors=(
        impostor("channels together", "one Dice for all channels of an image", "reduced", channels_together),
        impostor("images together", "one Dice for each channel of the batch", "reduced", images_together),
        impostor("everything together", "one Dice for all images and channels", "reduced", everything_together),
        impostor("squares", "squared sums below the fraction", "value", squared_sums),
        impostor("smooth below only", "smooth missing above the fraction", "value params", smooth_below_only),
        impostor("no sigmoid", "takes logits for probabilities", "value", no_sigmoid),
    ),
    api="MultiChannelDiceLoss(smooth=1e-6, reduction='mean')(pred, target)",
    returns="0-d, or (b,) without reduction",
)
