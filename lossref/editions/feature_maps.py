"""Predictions of edition 8.3: feature maps (b, 4R + c, h, w) whose channels are box logits, then class scores.

A cell's channels are what the columns of `boxes` and `scores` hold in the current edition. What a task adds
comes beside the list of maps. Source: spec/60-api.md section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lossref.losses.detection.batch import targets_of


def heads_of(feats: Sequence[Tensor], reg_max: int, classes: int) -> dict[str, Any]:
    """boxes (b, 4R, A), scores (b, c, A) and feats of maps (b, 4R + c, h, w); RuntimeError for other channels."""
    channels = 4 * reg_max + classes
    for feat in feats:
        if feat.ndim != 4 or feat.shape[1] != channels:
            raise RuntimeError(f"expected feature maps (b, {channels}, h, w), got shape {tuple(feat.shape)}")
    boxes, scores = torch.cat([feat.flatten(2) for feat in feats], 2).split((4 * reg_max, classes), 1)
    return {"boxes": boxes, "scores": scores, "feats": list(feats)}


def with_one(preds: Any) -> Any:
    """(feats, keypoints or angles): the predictions themselves if they begin with a list, else their element 1."""
    return preds if isinstance(preds[0], list) else preds[1]


def with_two(preds: Any) -> Any:
    """(feats, coefficients, prototypes): the predictions themselves if there are three, else their element 1."""
    return preds if len(preds) == 3 else preds[1]


def prompt_maps(feats: Sequence[Tensor], reg_max: int, text_classes: int) -> list[Tensor]:
    """The maps without the scores of the text prompts, which come before those of the visual prompts.

    Raises RuntimeError where there are fewer channels than boxes and text prompts need.
    """
    first, last = 4 * reg_max, 4 * reg_max + text_classes
    for feat in feats:
        if feat.shape[1] < last:
            raise RuntimeError(f"expected feature maps (b, {last} or more, h, w), got shape {tuple(feat.shape)}")
    return [torch.cat([feat[:, :first], feat[:, last:]], 1) for feat in feats]


def require_upright(batch: dict[str, Any]) -> None:
    """Raise TypeError, with the RuntimeError as its cause, unless the objects of a batch have boxes (n, 4)."""
    try:
        targets_of(batch["batch_idx"], batch["cls"], batch["bboxes"].reshape(-1, 4), torch.float32)
    except RuntimeError as error:
        shapes = ", ".join(f"{name} {tuple(batch[name].shape)}" for name in ("batch_idx", "cls", "bboxes"))
        raise TypeError(f"expected objects with boxes (n, 4) xywh, got {shapes}") from error
