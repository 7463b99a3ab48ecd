"""Two losses in JAX, values and gradients: `lossref validate --command "python regression/runtimes/jax_peer.py"`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from peer import Above, serve

os.environ["JAX_ENABLE_X64"] = "1"  # before the import: else there is no float64
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp

Loss = Callable[..., Any]


def giou(params: dict[str, Any], box1: Any, box2: Any) -> Any:
    """Generalised IoU of corners: lossref/spec/10-geometry.md section 3."""
    eps = params["eps"]
    for box in (box1, box2):
        if box.shape[-1] != 4:
            raise ValueError(f"expected boxes of four numbers, got shape {box.shape}")
    x1, y1, x2, y2 = jnp.split(box1, 4, -1)
    u1, v1, u2, v2 = jnp.split(box2, 4, -1)
    inter = clamped(jnp.minimum(x2, u2) - jnp.maximum(x1, u1)) * clamped(jnp.minimum(y2, v2) - jnp.maximum(y1, v1))
    union = (x2 - x1) * (y2 - y1 + eps) + (u2 - u1) * (v2 - v1 + eps) - inter + eps
    hull = (jnp.maximum(x2, u2) - jnp.minimum(x1, u1)) * (jnp.maximum(y2, v2) - jnp.minimum(y1, v1)) + eps
    return inter / union - (hull - union) / hull


def clamped(x: Any) -> Any:
    """max(x, 0) with the whole gradient at 0; `jnp.maximum` has half of it there."""
    return jnp.where(x < 0, 0, x)


def dice(params: dict[str, Any], pred: Any, target: Any) -> Any:
    """Soft Dice loss of each image and channel: lossref/spec/30-elementary.md section 7."""
    if pred.shape != target.shape or pred.ndim != 4:
        raise ValueError(f"expected equal shapes (b, c, h, w), got {pred.shape} and {target.shape}")
    p, smooth = jax.nn.sigmoid(pred), params["smooth"]
    both, either = (p * target).sum((2, 3)), p.sum((2, 3)) + target.sum((2, 3))
    cost = (1 - (2 * both + smooth) / (either + smooth)).mean(1)
    reduced: dict[str, Loss] = {"mean": jnp.mean, "sum": jnp.sum}
    return reduced.get(params["reduction"], jnp.asarray)(cost)


def answering(loss: Loss, term: str) -> Callable[..., dict[str, Any]]:
    """The answer to a call: the value, and the gradient of its numbers under the weights of the protocol."""

    def answer(params: dict[str, Any], gradients_to: list[str], above: Above, **inputs: Any) -> dict[str, Any]:
        for name, array in inputs.items():
            if array.dtype.kind != "f":
                raise TypeError(f"{name}: expected floating numbers, got {array.dtype}")
        given = {name: jnp.asarray(array) for name, array in inputs.items()}
        leaves = {name: given.pop(name) for name in gradients_to}
        out = jax.eval_shape(partial(loss, params), **leaves, **given)
        weights = jnp.asarray(above(out.shape), out.dtype)
        slopes, value = differentiated(loss, tuple(params.items()))(leaves, given, weights)
        return {"values": {term: value}, "gradients": {name: np.asarray(slope) for name, slope in slopes.items()}}

    return answer


@cache
def differentiated(loss: Loss, params: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """Gradients and value of the weighted sum, compiled as one: operator by operator each new shape takes seconds."""

    def weighted(leaves: dict[str, Any], rest: dict[str, Any], weights: Any) -> tuple[Any, Any]:
        value = loss(dict(params), **leaves, **rest)
        return (value * weights).sum(), value

    return jax.jit(jax.grad(weighted, has_aux=True))


LOSSES = [
    {"spec": "giou", "name": "jax giou", "params": ["eps"], "fixed": {"xywh": False}, "weights": True},
    {"spec": "dice", "name": "jax dice", "params": ["smooth", "reduction"], "weights": True},
]

serve(LOSSES, [answering(giou, "giou"), answering(dice, "loss")])
