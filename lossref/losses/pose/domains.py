"""What the specs of the pose losses share: domains of keypoints, and laws.

Source: spec/00-conventions.md sections 3 and 4, spec/40-yolo.md sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lossref.core.laws import differs
from lossref.core.nouns import Array, Derived, Domain, Param, Span
from lossref.core.picking import Pick
from lossref.core.scenes import UNIT, Dims
from lossref.losses.detection.laws import DERIVED as DETECTION_DERIVED

Inputs = Mapping[str, Array]
Params = Mapping[str, Any]

POSE = {
    "pose_gain": Param(12.0, (3.0,), "factor of the location term", span=Span(0.0, 16.0)),
    "kobj_gain": Param(1.0, (0.25,), "factor of the visibility term", span=Span(0.0, 8.0)),
    "kpt_shape": Param(
        (3, 3), ((3, 2), (17, 3)), "keypoints of an object, and values of one: x, y[, visibility]", stated=False
    ),
}


class Channels(Domain):
    """A domain whose channels are all values of all keypoints: KD = K times D."""

    def shape(self, dims: Mapping[str, Any]) -> tuple[int, ...]:
        """The shape at the given sizes."""
        return super().shape({**dims, "KD": dims["K"] * dims["D"]})


def _eighths(reach: int) -> Any:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
        return pick(-8 * reach, 8 * reach, rows * dims["row"]).reshape(rows, -1) / 8

    return draw


def _keypoints(low: int, high: int) -> Any:
    """Points anywhere in the image, in 1/64 of it, with a visibility from low to high."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
        values = np.zeros((rows, dims["K"], dims["D"]))
        values[..., :2] = pick(0, UNIT, rows * dims["K"] * 2).reshape(rows, -1, 2) / UNIT
        values[..., 2:] = pick(low, high, rows * dims["K"]).reshape(rows, -1, 1)
        return values.reshape(rows, -1)

    return draw


KEYPOINT_FAMILIES = {
    "some visible": _keypoints(0, 2),
    "all visible": _keypoints(1, 2),
    "none visible": _keypoints(0, 0),
}


def keypoint_predictions() -> dict[str, Domain]:
    """kpts."""
    families = {"near": _eighths(2), "far": _eighths(8)}
    return {"kpts": Channels("b KD A", "raw x, y[, visibility logit], by keypoint", families, row=2, nan_free=True)}


def sigma_predictions() -> dict[str, Domain]:
    """kpts_sigma."""
    return {
        "kpts_sigma": Domain(
            "b 2K A", "logits of sigma", {"near": _eighths(2), "far": _eighths(6)}, row=2, nan_free=True
        )
    }


def keypoint_targets() -> dict[str, Domain]:
    """keypoints, nan_free because those of an object without positives have no effect."""
    units = "x, y normalised by the image[, visibility: 0 or not]"
    return {"keypoints": Domain("n K D", units, KEYPOINT_FAMILIES, row=2, nan_free=True)}


# Laws ------------------------------------------------------------------------------------------------


def order_of_keypoints(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
    """Reversing the keypoints of predictions and objects changes nothing, where all weigh alike."""
    turned = {name: _reversed(x[name], params) for name in ("kpts", "kpts_sigma") if name in x}
    turned["keypoints"] = x["keypoints"][:, ::-1].copy()
    return differs(f({**x, **turned}), f(x), 2 * tol, "reversing the keypoints")


def visibility_is_zero_or_not(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
    """Any visibility but 0 counts alike, where boxes assign."""
    if params["metric_overlap"] not in ("ciou", "iou"):
        return None
    other = x["keypoints"].copy()
    other[..., 2:] *= -3
    return differs(f({**x, "keypoints": other}), f(x), 2 * tol, "scaling the visibilities by -3")


def invisible_points(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
    """Where an invisible keypoint is does not matter."""
    other = x["keypoints"].copy()
    if other.shape[-1] > 2:
        other[other[..., 2] == 0] = [0.75, 0.125, 0]
    return differs(f({**x, "keypoints": other}), f(x), 2 * tol, "moving invisible keypoints")


def pose_laws(form: str, pose: tuple[int, ...]) -> tuple[Callable[..., str | None], ...]:
    """Laws of a pose loss; `pose` are the numbers of the terms that are made of keypoints."""
    own = list(pose)

    def detection_apart(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
        """Predicted keypoints have no effect on the terms of the boxes, unless anchors are assigned by them."""
        if params["metric_overlap"] not in ("ciou", "iou"):
            return None
        rest = np.setdiff1d(np.arange(len(tol)), own)
        return differs(f({**x, "kpts": x["kpts"] + 1})[rest], f(x)[rest], 2 * tol[rest], "moving predicted keypoints")

    def images_twice_for_keypoints(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
        """Every image twice: means over the positives stay, and there are twice as many images."""
        return differs(f(_twice(x))[own], 2 * f(x)[own], 4 * tol[own], "every image twice")

    def mirrored(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
        """Mirroring the image, predictions and objects, left to right changes nothing."""
        return differs(f({**x, **_mirrored(x, params, form)}), f(x), 4 * tol, "mirroring the image")

    laws = (order_of_keypoints, visibility_is_zero_or_not, invisible_points)
    return (*laws, detection_apart, images_twice_for_keypoints, mirrored)


def _twice(x: Inputs) -> dict[str, Array]:
    """All images and objects two times; objects of no image stay what they are."""
    twice = {name: np.concatenate([x[name]] * 2) for name in x}
    index, images = x["batch_idx"], len(x["boxes"])
    ours = (index >= 0) & (index < images) & (index % 1 == 0)
    twice["batch_idx"] = np.concatenate([np.where(ours, index, -1), np.where(ours, index + images, -1)])
    return twice


def _reversed(x: Array, params: Params) -> Array:
    """Channels (b, K times something, A) with the keypoints in reverse order."""
    K = params["kpt_shape"][0]
    return x.reshape(len(x), K, x.shape[1] // K, -1)[:, ::-1].reshape(x.shape)


def _mirrored(x: Inputs, params: Params, form: str) -> dict[str, Array]:
    order: list[int] = []
    for s in params["strides"]:
        rows, columns = params["imgsz"][0] // s, params["imgsz"][1] // s
        order += (len(order) + np.arange(rows * columns).reshape(rows, columns)[:, ::-1]).ravel().tolist()
    sides = x["boxes"].reshape(len(x["boxes"]), 4, params["reg_max"], -1)[:, [2, 1, 0, 3]]
    kpts = x["kpts"].copy()
    kpts[:, :: params["kpt_shape"][1]] *= -1  # form "v8": 2 x + p - 1/2 becomes its mirror image for 1/2 - x
    kpts[:, :: params["kpt_shape"][1]] += 0.5 if form == "v8" else 0.0
    turned = {"boxes": sides.reshape(x["boxes"].shape), "scores": x["scores"], "kpts": kpts}
    turned |= {name: x[name] for name in ("kpts_sigma",) if name in x}
    found = {name: y[..., order] for name, y in turned.items()}
    flip = np.ones(x["keypoints"].shape[-1])
    flip[0] = -1
    found["keypoints"] = x["keypoints"] * flip + (flip < 0)
    found["bboxes"] = x["bboxes"] * [-1, 1, 1, 1] + [1, 0, 0, 0]
    return found


DERIVED = {
    **DETECTION_DERIVED,
    "K": Derived(("kpt_shape",), lambda shape: int(shape[0])),
    "D": Derived(("kpt_shape",), lambda shape: int(shape[1])),
}
