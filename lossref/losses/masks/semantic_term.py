"""Cross entropy plus Dice of semantic logits against a class map, as lossref/losses/masks/bce_dice.py, never one-hot.

With T one-hot where a pixel is labelled and 0 elsewhere, and P = sigmoid(x):
mean bce = (sum softplus(x) - sum over labelled pixels of x at their class) / number of logits,
dice_bc = (2 sum P T + 1) / (sum P + sum T + 1) over the pixels of an image and class; the loss is
v mean bce + w mean(1 - dice). The target is a few indices, the gradient one pass over the logits and a
scatter. Source: spec/40-yolo.md section 2.1, spec/30-elementary.md section 8.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lossref.losses.masks.bce_dice import bce_dice

WEIGHTS = (0.5, 0.5)  # of cross entropy and Dice
SMOOTH = 1.0
LINEAR = 40.0  # above this softplus(x) is x in every dtype
BLOCK = 1 << 20  # numbers worked on at a time, so that what is in between stays in the cache


class _SemanticCost(torch.autograd.Function):
    """`semantic_cost` of logits (p, pixels), p planes, and flat places (n,) of the labelled ones."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, place: Tensor, dtype: torch.dtype, weights: tuple[float, float]) -> Tensor:
        planes, pixels = logits.shape
        chosen, plane = logits.reshape(-1)[place].to(dtype), place // pixels
        entropy, whole = _sums(logits, dtype)
        both = whole.new_zeros(planes).index_add_(0, plane, chosen.sigmoid())
        above, below = 2 * both + SMOOTH, whole + plane.bincount(minlength=planes) + SMOOTH
        ctx.save_for_backward(logits, place, above, below)
        ctx.dtype, ctx.weights = dtype, weights
        mean = (entropy - chosen.sum()) / logits.numel()
        return weights[0] * mean + weights[1] * (1 - above / below).mean()

    @staticmethod
    def backward(ctx: Any, flow: Tensor) -> tuple[Tensor | None, ...]:
        """v (P - T) / numel + w P (1 - P) (above / below - 2 T) / (planes below), with the weights v, w."""
        logits, place, above, below = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of the gradient is wanted
            cost = _dense_cost(logits, place, ctx.dtype, ctx.weights)
            return *torch.autograd.grad(cost, logits, flow, create_graph=True), None, None, None
        planes, pixels = logits.shape
        slope, bent = flow * ctx.weights[0] / logits.numel(), flow * ctx.weights[1] / planes / below
        scale = bent * above / below
        result = torch.empty_like(logits, memory_format=torch.contiguous_format)
        step = _step(pixels)
        for x, out, s in zip(*(torch.split(y, step) for y in (logits, result, scale)), strict=True):
            p = x.to(ctx.dtype).sigmoid()
            out.copy_((1 - p).mul_(s[:, None]).add_(slope).mul_(p))
        plane, p = place // pixels, logits.reshape(-1)[place].to(ctx.dtype).sigmoid()
        at_target = p * (scale - 2 * bent)[plane] * (1 - p) + slope * (p - 1)
        result.view(-1)[place] = at_target.to(result.dtype)
        return result, None, None, None


def _dense_cost(logits: Tensor, place: Tensor, dtype: torch.dtype, weights: tuple[float, float]) -> Tensor:
    """The same cost with a one-hot target, differentiable as often as one likes."""
    target = torch.zeros(logits.numel(), dtype=dtype, device=logits.device).index_fill(0, place, 1)
    return bce_dice(logits.to(dtype)[None, :, :, None], target.reshape(logits.shape)[None, :, :, None], *weights)


def _sums(logits: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Sum of softplus over everything, 0-d, and sum of sigmoid over each plane, (planes,)."""
    entropy, whole = [], []
    for x in torch.split(logits, _step(logits.shape[1])):
        entropy.append(softplus(x.to(dtype), threshold=LINEAR).sum())
        whole.append(x.to(dtype).sigmoid().sum(1))
    return torch.stack(entropy).sum(), torch.cat(whole)


def _step(pixels: int) -> int:
    return max(BLOCK // max(pixels, 1), 1)


def semantic_cost(
    logits: Tensor,
    classes: Tensor,
    labelled: Tensor,
    dtype: torch.dtype,
    weights: tuple[float, float] = WEIGHTS,
) -> Tensor:
    """BCE + Dice of logits (b, c, h, w) against classes (b, H, W), where labelled (b, H, W) is true; 0-d, `dtype`.

    A map of another size is resampled to (h, w) by nearest neighbour, the floor taken in integers. Raises
    ValueError for other shapes, RuntimeError for a class outside 0 .. c - 1, labelled or not.
    """
    require_maps(logits, classes, labelled)
    index = classes.long()
    require_classes(index, logits.shape[1])
    b, c, h, w = logits.shape
    index, labelled = nearest(index, h, w), nearest(labelled, h, w)
    image, y, x = labelled.nonzero(as_tuple=True)
    place = ((image * c + index[image, y, x]) * h + y) * w + x
    cost: Tensor = _SemanticCost.apply(logits.reshape(b * c, h * w), place, dtype, weights)  # type: ignore[no-untyped-call]
    return cost


def require_maps(logits: Tensor, classes: Tensor, labelled: Tensor) -> None:
    """Raise ValueError unless there are logits (b, c, h, w) and two maps (b, H, W)."""
    fits = logits.ndim == 4 and classes.ndim == 3 and classes.shape[:1] == logits.shape[:1]
    if not fits or classes.shape != labelled.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (logits, classes, labelled))
        raise ValueError(f"expected logits (b, c, h, w) and two maps (b, H, W), got {shapes}")


def require_classes(index: Tensor, classes: int) -> None:
    """Raise RuntimeError for a class of the map that has no logits."""
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= classes):
        raise RuntimeError(f"sem_masks: expected classes 0 to {classes - 1}, got others")


def nearest(plane: Tensor, height: int, width: int) -> Tensor:
    """Maps (n, H, W) at the size (height, width), by nearest neighbour."""
    rows = torch.arange(height, device=plane.device) * plane.shape[1] // height
    columns = torch.arange(width, device=plane.device) * plane.shape[2] // width
    return plane[:, rows][:, :, columns] if plane.shape[1:] != (height, width) else plane
