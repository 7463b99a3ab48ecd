"""The worked example and the wrong versions that the specs bbox and rotated_bbox share.

Source: spec/30-elementary.md sections 4 and 6 and its table of mistakes, rows 10 to 12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from lossref.core.declare import corner, impostor
from lossref.core.nouns import Case, Target
from lossref.losses.box_terms.parts import Dense

_Z = (0.5, -1, 0.25, 2, 0, 0.125, -0.5, 1, 1.5, 0.5, 0, -2, -0.75, 0.25, 3, 0.5)
_EYE = (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)
WORKED_EXAMPLE: dict[str, Any] = {
    "pred_dist": [[_Z, (0,) * 16, _EYE]],
    "anchor_points": [(0.5, 0.5), (1.5, 0.5), (0.5, 1.5)],
    "target_scores": [[(0.5, 0), (0, 0), (0.25, 0.5)]],
    "target_scores_sum": 1.25,
    "fg_mask": [[1, 0, 1]],
    "imgsz": (16, 32),
    "stride": [[8]] * 3,
}
ONE_BIN = [[(0.5, 0.5, 1, 0.75), (0.5, 0.5, 1, 1), (0.75, 1, 0.5, 0.5)]]


def variation(example: Mapping[str, Any], name: str, why: str, *flags: str, **changes: Any) -> Case:
    """The example with 4 bins, and some of its numbers and parameters changed."""
    params = {"reg_max": 4, **{key: changes.pop(key) for key in tuple(changes) if key not in example}}
    return corner(name, why, *flags, params=params, **{**example, **changes})


def on(change: Callable[[Dense], Dense], loss: Callable[..., Any]) -> Callable[..., Any]:
    """The right loss of wrong arguments."""

    def wrong(*inputs: Any, **params: Any) -> Any:
        return loss(*change(Dense(*inputs)), **params)

    return wrong


def _mask_ignored(x: Dense) -> Dense:
    return x._replace(fg_mask=x.fg_mask | True)


def _mean_over_positives(x: Dense) -> Dense:
    return x._replace(target_scores_sum=x.fg_mask.sum().clamp(min=1))


def _best_class(x: Dense) -> Dense:
    return x._replace(target_scores=x.target_scores.amax(-1, keepdim=True))


def _unweighted(x: Dense) -> Dense:
    return x._replace(target_scores=(x.target_scores[..., :1] * 0 + 1))


def _swapped_size(x: Dense) -> Dense:
    return x._replace(imgsz=torch.as_tensor(x.imgsz).flip(0))


def _no_stride(x: Dense) -> Dense:
    return x._replace(stride=x.stride * 0 + 1)


def _bins_first(x: Dense) -> Dense:
    logits = x.pred_dist.unflatten(-1, (-1, 4)).transpose(-1, -2)
    return x._replace(pred_dist=logits.flatten(-2))


def _summed_l1(loss: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*inputs: Any, **params: Any) -> Any:
        iou, cost = loss(*inputs, **params)
        return iou, cost * (4 if params["reg_max"] == 1 else 1)

    return wrong


def _disconnected(loss: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*inputs: Any, **params: Any) -> Any:
        x = Dense(*inputs)
        zero = x.pred_dist.new_zeros(())
        return loss(*inputs, **params) if x.fg_mask.any() else (zero, zero.clone())

    return wrong


def shared_impostors(loss: Callable[..., Any]) -> tuple[Target, ...]:
    """The wrong versions that both losses can have."""
    return (
        impostor("mask ignored", "negatives count", "reduced", on(_mask_ignored, loss)),
        impostor("mean over positives", "divides by their number, not by S", "value", on(_mean_over_positives, loss)),
        impostor("best class only", "largest score instead of the sum", "value", on(_best_class, loss)),
        impostor("unweighted", "every positive counts 1", "value", on(_unweighted, loss)),
        impostor("W and H swapped", "L1 in units of (H, W)", "value", on(_swapped_size, loss)),
        impostor("stride forgotten", "L1 in cells over pixels", "value", on(_no_stride, loss)),
        impostor("bins before sides", "logits read as (R, 4)", "value", on(_bins_first, loss)),
        impostor("L1 summed", "sum over the sides instead of the mean", "value", _summed_l1(loss)),
        impostor("no graph without positives", "a constant zero", "connected", _disconnected(loss)),
    )
