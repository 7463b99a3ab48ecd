"""What all YOLO losses read: the model object, the predictions, and the objects of a batch by image.

Source: spec/00-conventions.md sections 2 to 5, spec/05-decisions.md D8 to D11. Nothing is remembered between
calls, nothing that is read is written to. Where sources differ: objects have to be sorted by image, the
padded table has torch's default dtype, a foreign image index raises (QC1: such objects are ignored).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.precision import compute_dtype
from lossref.losses.assignment.static.strategy import looked_at
from lossref.losses.coordinates.make_anchors import make_anchors


class Head(NamedTuple):
    """What the losses read of a model; `hyp` is model.args itself, whose gains are read at every call."""

    device: torch.device
    hyp: Any
    stride: Tensor
    nc: int
    reg_max: int
    class_weights: Tensor | None


def read_head(model: Any) -> Head:
    """The attributes of model, model.args and model.model[-1]; StopIteration if the model has no parameter."""
    last, device = model.model[-1], next(iter(model.parameters())).device
    weights = getattr(model, "class_weights", None)
    if weights is not None:
        weights = torch.as_tensor(weights, device=device).detach().reshape(1, 1, -1).clone()
    return Head(device, model.args, last.stride, last.nc, last.reg_max, weights)


def branch(preds: Any) -> Any:
    """Element 1 of a tuple, anything else itself."""
    return preds[1] if isinstance(preds, tuple) else preds


class Grid(NamedTuple):
    """Anchors of all levels: points (A, 2) in stride units, strides (A, 1) in pixels, imgsz (H, W) in pixels."""

    points: Tensor
    strides: Tensor
    imgsz: tuple[float, float]


def grid_of(feats: Sequence[Tensor], strides: Sequence[float], *preds: Tensor) -> Grid:
    """The grid of feature maps (b, C, h, w), of which only the sizes are read; dtype of the predictions.

    Raises RuntimeError if a prediction (b, C, A) has another number of anchors.
    """
    dtype, _ = compute_dtype(*preds)
    empty = torch.empty(0, dtype=dtype, device=preds[0].device)
    points, steps = make_anchors([empty.new_empty((0, *feat.shape[1:])) for feat in feats], strides)
    for pred in preds:
        if pred.shape[-1] != len(points):
            raise RuntimeError(f"expected predictions for {len(points)} anchors, got shape {tuple(pred.shape)}")
    height, width = feats[0].shape[2:]
    return Grid(points, steps, (float(height * strides[0]), float(width * strides[0])))


def feats_of(imgsz: Sequence[float], strides: Sequence[float], like: Tensor) -> list[Tensor]:
    """Feature maps without content, one for each stride, of an image (H, W) in pixels."""
    return [like.new_empty((0, 1, int(imgsz[0] // s), int(imgsz[1] // s))) for s in strides]


# Objects ---------------------------------------------------------------------------------------------------


class Slots(NamedTuple):
    """Objects by image: row (b, G) of the batch that holds object g of the image, and whether there is one."""

    row: Tensor
    present: Tensor


def slots_of(batch_idx: Tensor, batch_size: int) -> Slots:
    """Rows of the batch by image, in the order of the batch, which need not be sorted.

    `batch_idx` (n,) or (n, 1). An index that is no image of the batch is left out (QC1), though it counts
    for G, the largest number of rows with one index. Raises ValueError for NaN.
    """
    index = batch_idx.reshape(-1)
    value, which, count = torch.unique(index, return_inverse=True, return_counts=True)
    if value.isnan().any():
        raise ValueError("batch_idx: expected image indices, got NaN")
    most = int(count.max()) if len(count) else 0
    order = which.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - (count.cumsum(0) - count)[which[order]]
    ours = ((index == index.floor()) & (index >= 0) & (index < batch_size)).nonzero()[:, 0]
    row = torch.zeros((batch_size, most), dtype=torch.long, device=index.device)
    present = torch.zeros_like(row, dtype=torch.bool)
    at = index[ours].long(), place[ours]
    row[at] = ours
    present[at] = True
    return Slots(row, present)


def padded(rows: Tensor, slots: Slots) -> Tensor:
    """Rows (n, ...) of the batch by image, (b, G, ...); zeros where there is no object."""
    if not slots.row.numel():
        return rows.new_zeros((*slots.row.shape, *rows.shape[1:]))
    present = slots.present.reshape(*slots.present.shape, *[1] * (rows.ndim - 1))
    return torch.where(present, rows[slots.row], 0)


def targets_of(batch_idx: Tensor, cls: Tensor, bboxes: Tensor, dtype: torch.dtype) -> Tensor:
    """(n, 2 + columns): image, class, box; RuntimeError if the lengths differ, ValueError for NaN that is looked at."""
    targets = torch.cat([x.reshape(-1, 1).to(dtype) for x in (batch_idx, cls)] + [bboxes.to(dtype)], 1)
    if looked_at(targets):
        require_numbers(targets)
    return targets


def require_numbers(targets: Tensor) -> None:
    """Raise ValueError for NaN in targets (n, 2 + columns)."""
    if targets.isnan().any():
        raise ValueError("batch: expected numbers in batch_idx, cls and bboxes, got NaN")


def class_indices(labels: Tensor, classes: int) -> Tensor:
    """Classes as int64, truncated toward zero; IndexError if one is not below the number of classes."""
    index = labels.long()
    if index.numel() and (int(index.max()) >= classes or int(index.min()) < -classes):
        raise IndexError(f"cls: expected classes below {classes}, got {int(index.min())} to {int(index.max())}")
    return index


# Predictions at positives ----------------------------------------------------------------------------------


def numbers_at(x: Tensor, flat: Tensor) -> Tensor:
    """Numbers of x at positions counted in row-major order, shape of `flat`; faster than several indices."""
    return x.reshape(-1).index_select(0, flat.reshape(-1)).reshape(flat.shape)


def rows_at(x: Tensor, image: Tensor, anchor: Tensor) -> Tensor:
    """Rows (n, C) of x (b, C, A) at pairs of image and anchor; the gradient is one scatter into zeros."""
    _, channels, anchors = x.shape
    channel = torch.arange(channels, device=x.device) * anchors
    return numbers_at(x, (image * (channels * anchors) + anchor)[:, None] + channel)


def kept_rows_at(x: Tensor, image: Tensor, anchor: Tensor, kept: Tensor) -> Tensor:
    """`rows_at` with zeros, and no gradient, where nothing is kept (n,)."""
    return torch.where(kept[:, None], rows_at(x, image, anchor), 0)


def vector_of(terms: Sequence[Tensor], *preds: Tensor) -> Tensor:
    """The named terms of a loss as a vector, in the promoted dtype of the predictions, at least float32."""
    dtype, _ = compute_dtype(*preds)
    return torch.stack([term.to(dtype) for term in terms])
