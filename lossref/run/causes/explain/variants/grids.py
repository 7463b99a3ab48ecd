"""Mistakes about the grid of a composite: anchors in another order, the sides of the image exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lossref.core.nouns import Params, Spec, Target
from lossref.run.causes.explain.variants.mistakes import Variant, otherwise

Change = Callable[[Tensor, Params], Tensor]


def on_grids(spec: Spec, settings: Params) -> Iterator[Variant]:
    """The reference of a loss of anchors, with inputs that were taken to lie otherwise on the grid."""
    if not {"imgsz", "strides"} <= spec.params.keys():
        return
    anchored = tuple(place for place, domain in enumerate(spec.inputs.values()) if domain.axes.split()[-1:] == ["A"])
    words = "the anchors of each level go column by column"
    yield Variant(f"agrees when {words}", regridded(spec, anchored, _by_column), settings)
    words = "the anchors of the last level come first"
    yield Variant(f"agrees when {words}", regridded(spec, anchored, _last_level_first), settings)
    scaled = [(place, name) for place, name in enumerate(spec.inputs) if name in ("bboxes", "keypoints")]
    for place, name in scaled:
        words = f"{name} are scaled by (height, width) where (width, height) is due"
        yield Variant(f"agrees when {words}", regridded(spec, (place,), _sides_exchanged), settings)


def _by_column(x: Tensor, params: Params) -> Tensor:
    order = list[int]()
    for rows, columns in _levels(params):
        order += (torch.arange(rows * columns).reshape(columns, rows).t().flatten() + len(order)).tolist()
    return x[..., order]


def _last_level_first(x: Tensor, params: Params) -> Tensor:
    parts: tuple[Tensor, ...] = x.split([rows * columns for rows, columns in reversed(_levels(params))], -1)
    return torch.cat(parts[::-1], -1)


def _levels(params: Params) -> list[tuple[int, int]]:
    """Rows and columns of anchors of each level."""
    height, width = params["imgsz"]
    return [(int(height // stride), int(width // stride)) for stride in params["strides"]]


def _sides_exchanged(x: Tensor, params: Params) -> Tensor:
    height, width = params["imgsz"]
    scale = x.new_ones(x.shape[-1])
    pairs = 4 if x.shape[-1] >= 4 else 2
    scale[:pairs:2], scale[1:pairs:2] = height / width, width / height
    return x * scale


@lru_cache(maxsize=64)
def regridded(spec: Spec, places: tuple[int, ...], change: Change) -> Target:
    """The reference, given something else in these places, which depends on the parameters."""

    def build(**params: Any) -> Any:
        everything = {**spec.defaults(), **params}

        def asked(*inputs: Any) -> Any:
            return spec.reference(
                *(change(x, everything) if at in places else x for at, x in enumerate(inputs)), **params
            )

        return asked

    return otherwise(spec, "another grid", build)
