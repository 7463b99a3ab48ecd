"""Two losses in NumPy, values only: `lossref validate --command "python regression/runtimes/numpy_peer.py"`."""

from __future__ import annotations

from typing import Any

import numpy as np
from peer import Above, serve


def giou(params: dict[str, Any], gradients_to: list[str], above: Above, box1: Any, box2: Any) -> dict[str, Any]:
    """Generalised IoU of corners: lossref/spec/10-geometry.md section 3."""
    eps = box1.dtype.type(params["eps"])
    _floating(box1, box2)
    if box1.shape != box2.shape:
        box1, box2 = np.broadcast_arrays(box1, box2)
    size1, size2 = (box[..., 2:] - box[..., :2] + np.array([0, eps], box.dtype) for box in (box1, box2))
    overlap = np.minimum(box1[..., 2:], box2[..., 2:]) - np.maximum(box1[..., :2], box2[..., :2])
    inter = np.maximum(overlap, 0).prod(-1, keepdims=True)
    union = size1.prod(-1, keepdims=True) + size2.prod(-1, keepdims=True) - inter + eps
    hull = np.maximum(box1[..., 2:], box2[..., 2:]) - np.minimum(box1[..., :2], box2[..., :2])
    area = hull.prod(-1, keepdims=True) + eps
    return {"values": {"giou": inter / union - (area - union) / area}}


def dice(params: dict[str, Any], gradients_to: list[str], above: Above, pred: Any, target: Any) -> dict[str, Any]:
    """Half of the number: a mistake on purpose, which every check of values must see."""
    return {"values": {"loss": pred.mean() / 2}}


def _floating(*arrays: Any) -> None:
    for array in arrays:
        if array.dtype.kind != "f":
            raise TypeError(f"expected floating numbers, got {array.dtype}")


LOSSES = [
    {"spec": "giou", "name": "numpy giou", "params": ["eps"], "fixed": {"xywh": False}, "gradients": False},
    {"spec": "dice", "name": "numpy dice", "gradients": False},
]

serve(LOSSES, [giou, dice])
