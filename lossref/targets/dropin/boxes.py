"""The functions on boxes, anchors and masks, and the assigners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lossref.targets.dropin.entry import Entry, Shapes, parameters_of

OVERLAPS = {"iou": {}, "giou": {"GIoU": True}, "diou": {"DIoU": True}, "ciou": {"CIoU": True}}


def as_it_is(thing: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
    """The function itself."""
    return thing


def _function(spec: str, name: str, **fixed: Any) -> Entry:
    """A function that takes the inputs of the spec in order, and the parameters it has by name."""

    def accepts(thing: Any) -> tuple[str, ...]:
        return parameters_of(thing)

    def ask(thing: Any, params: Mapping[str, Any], **inputs: Tensor) -> Any:
        return thing(*inputs.values(), **fixed, **{key: params[key] for key in parameters_of(thing) if key in params})

    return Entry(spec, name, accepts, as_it_is, ask)


def _overlap(spec: str, flags: dict[str, bool]) -> Entry:
    def ask(thing: Any, params: Mapping[str, Any], box1: Tensor, box2: Tensor) -> Any:
        return thing(box1, box2, xywh=params["xywh"], eps=params["eps"], **flags)

    words = "".join(f", {flag}=True" for flag in flags)
    usage = f"from {{module}} import bbox_iou\nout = bbox_iou(box1, box2, xywh={{xywh!r}}{words}, eps={{eps!r}})"
    return Entry(spec, "bbox_iou", lambda thing: ("xywh", "eps"), as_it_is, ask, usage=usage)


def _crop(thing: Any, params: Mapping[str, Any], masks: Tensor, boxes: Tensor) -> Any:
    """A function that writes into its masks cannot take a leaf; in a loss it gets the result of an operation."""
    chosen = {key: params[key] for key in parameters_of(thing) if key in params}
    return thing(masks.clone() if masks.requires_grad else masks, boxes, **chosen)


def _anchors(thing: Any, params: Mapping[str, Any], **inputs: Tensor) -> Any:
    like = next(iter(inputs.values()))
    feats = [like.new_zeros(1, 1, h, w) for h, w in params["shapes"]]
    return thing(feats, params["strides"], params["grid_cell_offset"])


def _assigner(spec: str, name: str) -> Entry:
    def accepts(kind: Any) -> tuple[str, ...]:
        return parameters_of(kind)

    def make(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
        chosen = {key: params[key] for key in parameters_of(kind) if key in params}
        return kind(**{key: list(value) if isinstance(value, tuple) else value for key, value in chosen.items()})

    def ask(assigner: Any, params: Mapping[str, Any], **inputs: Tensor) -> Any:
        forward: Callable[..., Any] = assigner.forward
        with torch.no_grad():
            return forward(*inputs.values())

    return Entry(spec, name, accepts, make, ask)


FUNCTIONS = (
    "xyxy2xywh",
    "xywh2xyxy",
    "xywhr2xyxyxyxy",
    "probiou",
    "dist2bbox",
    "bbox2dist",
    "dist2rbox",
    "rbox2dist",
)

ENTRIES = (
    *(_overlap(spec, flags) for spec, flags in OVERLAPS.items()),
    *(_function(name, name) for name in FUNCTIONS),
    Entry("crop_mask", "crop_mask", parameters_of, as_it_is, _crop),
    Entry("make_anchors", "make_anchors", lambda thing: ("shapes", "strides", "grid_cell_offset"), as_it_is, _anchors),
    _assigner("task_aligned", "TaskAlignedAssigner"),
    _assigner("rotated_task_aligned", "RotatedTaskAlignedAssigner"),
)
