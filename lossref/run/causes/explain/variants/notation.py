"""Boxes in the other notation: all of them, or one of them alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lossref.core.nouns import Params, Spec, Target
from lossref.run.causes.explain.variants.mistakes import Variant, at_another, otherwise


def sides_of(x: Tensor) -> Tensor:
    """Corners (x1, y1, x2, y2) as (cx, cy, w, h)."""
    a, b = x[..., :2], x[..., 2:4]
    return torch.cat([(a + b) / 2, b - a], -1)


def corners_of(x: Tensor) -> Tensor:
    """Boxes (cx, cy, w, h) as (x1, y1, x2, y2)."""
    a, b = x[..., :2], x[..., 2:4]
    return torch.cat([a - b / 2, a + b / 2], -1)


def other_notation(spec: Spec, settings: Params) -> Iterator[Variant]:
    """The reference that takes notation for the opposite, of everything or of one input."""
    for name, param in spec.params.items():
        if param.convention and len(param.others) == 1:
            words = f"agrees when {name} means the opposite ({param.default!r} for {param.others[0]!r} and the reverse)"
            yield Variant(words, flipped(spec, name), settings)
            boxes = [place for place, domain in enumerate(spec.inputs.values()) if domain.axes.endswith("4")]
            for place in boxes if name == "xywh" and len(boxes) > 1 else ():
                words = (
                    f"agrees when {list(spec.inputs)[place]} is not in the notation that {name} names, and the rest is"
                )
                yield Variant(words, misread(spec, tuple(boxes), place), settings)


@lru_cache(maxsize=64)
def flipped(spec: Spec, name: str) -> Target:
    """The reference with a parameter of two values at the other one."""
    values = (spec.params[name].default, *spec.params[name].others)
    return at_another(spec, f"other {name}", name, lambda value: values[1 - values.index(value)])


@lru_cache(maxsize=64)
def misread(spec: Spec, boxes: tuple[int, ...], raw: int) -> Target:
    """The reference in the other notation of boxes, to which all of them are brought but one."""

    def build(xywh: bool, **params: Any) -> Any:
        change = corners_of if xywh else sides_of

        def asked(*inputs: Any) -> Any:
            given = [change(x) if place in boxes and place != raw else x for place, x in enumerate(inputs)]
            return spec.reference(*given, xywh=not xywh, **params)

        return asked

    return otherwise(spec, "one box in the other notation", build)
