"""ultralytics, any release 8.3 or 8.4: bbox_iou of its metrics and the elementary losses.

Its float64 results depend on torch's default dtype (spec/05-decisions.md, D8), so every call with
float64 inputs runs under default dtype float64. A class that a release lacks is unsupported.
"""

from __future__ import annotations

import importlib
import inspect
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lossref.core import Target
from lossref.resolve import quietly

BOXES = {"iou": {}, "giou": {"GIoU": True}, "diou": {"DIoU": True}, "ciou": {"CIoU": True}}
CLASSES = {
    "varifocal": ("VarifocalLoss", ("gamma", "alpha"), "pred_score, gt_score, label"),
    "focal": ("FocalLoss", ("gamma", "alpha"), "pred, label"),
    "dfl": ("DFLoss", ("reg_max",), "pred_dist, target"),
    "dice": ("MultiChannelDiceLoss", ("smooth", "reduction"), "pred, target"),
    "bce_dice": ("BCEDiceLoss", ("weight_bce", "weight_dice"), "pred, target"),
}


def _module(name: str) -> Any:
    """A module of the package, imported without its settings file, its chatter and the network."""
    os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(tempfile.gettempdir()) / "lossref-ultralytics"))
    os.environ.setdefault("YOLO_OFFLINE", "true")
    with quietly("ultralytics"):
        return importlib.import_module(f"ultralytics.{name}")


def version() -> str:
    """The installed release."""
    with quietly("ultralytics"):
        return str(importlib.import_module("ultralytics").__version__)


def targets() -> list[Target]:
    """One target for each spec; what this release lacks is declared unsupported."""
    metrics, losses = _module("utils.metrics"), _module("utils.loss")
    boxes = [_box_target(name, flags, metrics) for name, flags in BOXES.items()]
    return boxes + [_class_target(name, *entry, losses) for name, entry in CLASSES.items()]


def _box_target(name: str, flags: dict[str, bool], metrics: Any) -> Target:
    def build(**params: Any) -> Callable[..., Any]:
        return partial(metrics.bbox_iou, **flags, **params)

    words = "".join(f", {flag}=True" for flag in flags)
    usage = (
        "from ultralytics.utils.metrics import bbox_iou\n"
        f"out = bbox_iou(box1, box2, xywh={{xywh!r}}{words}, eps={{eps!r}})"
    )
    return Target(name, build, "ultralytics", ("xywh", "eps"), usage=usage)


def _class_target(spec: str, name: str, params: tuple[str, ...], inputs: str, losses: Any) -> Target:
    kind = getattr(losses, name, None)
    if kind is None:
        return Target(spec, partial, "ultralytics", unsupported=f"ultralytics {version()} has no {name}")
    listed = ", ".join(f"{param}={{{param}!r}}" for param in params)
    usage = f"from ultralytics.utils.loss import {name}\nout = {name}({listed})({inputs})"
    if params[0] not in inspect.signature(kind).parameters:
        usage = f"from ultralytics.utils.loss import {name}\nout = {name}()({inputs}, {listed})"
        return Target(spec, partial(_parameters_in_the_call, kind), "ultralytics", params, usage=usage)
    return Target(spec, lambda **values: _Default64(kind(**values)), "ultralytics", params, usage=usage)


def _parameters_in_the_call(kind: Any, **params: Any) -> Callable[..., Any]:
    """The first releases of 8.3 take gamma and alpha in forward."""
    return _Default64(partial(kind(), **params))


class _Default64:
    """Calls a loss with torch's default dtype at float64 when the inputs are float64."""

    def __init__(self, loss: Callable[..., Any]) -> None:
        self.loss = loss

    def __call__(self, *inputs: torch.Tensor) -> Any:
        before = torch.get_default_dtype()
        if any(x.dtype == torch.float64 for x in inputs):
            torch.set_default_dtype(torch.float64)
        try:
            return self.loss(*inputs)
        finally:
            torch.set_default_dtype(before)
