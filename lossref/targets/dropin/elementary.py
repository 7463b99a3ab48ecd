"""The losses that take tensors only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from lossref.targets.dropin.entry import Entry, Mismatch, Shapes, parameters_of


def in_constructor(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
    """The object, with the parameters that its constructor has."""
    return kind(**{name: params[name] for name in parameters_of(kind) if name in params})


def with_names(*names: str) -> Callable[..., Any]:
    """Call with these inputs in this order; what is left of the parameters belongs to the constructor."""

    def ask(loss: Any, params: Mapping[str, Any], **inputs: Tensor) -> Any:
        return loss(*(inputs[name] for name in names))

    return ask


def _listed(*names: str) -> Callable[[Any], tuple[str, ...]]:
    return lambda kind: tuple(names)


def _entry(spec: str, name: str, params: str, inputs: str) -> Entry:
    words = params.split()
    shown = ", ".join(f"{word}={{{word}!r}}" for word in words)
    usage = f"from {{module}} import {name}\nout = {name}({shown})({', '.join(inputs.split())})"
    return Entry(spec, name, _listed(*words), in_constructor, with_names(*inputs.split()), usage=usage)


def _balanced(spec: str, name: str, inputs: str) -> Entry:
    """gamma and alpha: arguments of the constructor, or of the call in the first releases of 8.3."""

    def make(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
        chosen = {name: params[name] for name in ("gamma", "alpha")}
        return kind(**chosen) if "gamma" in parameters_of(kind) else partial(kind(), **chosen)

    plain = _entry(spec, name, "gamma alpha", inputs)
    return Entry(spec, name, plain.accepts, make, plain.ask, usage=plain.usage)


def _bbox(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    """Edition 8.3 has neither imgsz nor stride, so that it cannot refuse wrong ones."""
    names = [name for name in parameters_of(loss.forward) if name in x]
    if "stride" not in names and (x["imgsz"].shape, x["stride"].shape) != ((2,), (len(x["anchor_points"]), 1)):
        raise Mismatch("imgsz, stride: expected shapes (2,) and (A, 1)")
    return loss(*(x[name] for name in names))


def _with_sigmas(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
    return kind


def _keypoint(kind: Any, params: Mapping[str, Any], sigmas: Tensor, **x: Tensor) -> Any:
    return kind(sigmas)(x["pred_kpts"], x["gt_kpts"], x["kpt_mask"], x["area"])


def _classification(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    logits, cls = x.values()
    return loss(logits, {"cls": cls})[0]


ENTRIES = (
    _balanced("varifocal", "VarifocalLoss", "pred_score gt_score label"),
    _balanced("focal", "FocalLoss", "pred label"),
    _entry("dfl", "DFLoss", "reg_max", "pred_dist target"),
    _entry("dice", "MultiChannelDiceLoss", "smooth reduction", "pred target"),
    _entry("bce_dice", "BCEDiceLoss", "weight_bce weight_dice", "pred target"),
    _entry("rle", "RLELoss", "use_target_weight size_average residual", "sigma log_phi error target_weight"),
    Entry("bbox", "BboxLoss", _listed("reg_max"), in_constructor, _bbox),
    Entry("rotated_bbox", "RotatedBboxLoss", _listed("reg_max"), in_constructor, _bbox),
    Entry("keypoint", "KeypointLoss", _listed(), _with_sigmas, _keypoint),
    Entry("classification", "v8ClassificationLoss", _listed(), in_constructor, _classification),
)
