"""What the specs of all detection-type losses share: parameters, sizes, and laws of the returned numbers.

A law reverses, repeats or relabels images, objects or classes; `per_image` and `per_object` say which inputs
go along. Source: spec/40-yolo.md section 1, spec/00-conventions.md sections 3 and 8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lossref.core.laws import differs
from lossref.core.nouns import Array, Derived, Param, Span
from lossref.losses.assignment import meanings as words
from lossref.losses.assignment.cases import RULES as OF_ASSIGNER
from lossref.losses.box_terms.domains import CIOU_ALPHA
from lossref.losses.coordinates.dfl_decode import BINS

Inputs = Mapping[str, Array]
Params = Mapping[str, Any]
Law = Callable[..., str | None]

RULES = {
    "conflict": Param(
        "all",
        ("containing", "picked", "overlapping"),
        "objects that may get an anchor that several picked",
        means=words.CONFLICT,
    ),
    "metric_overlap": Param("ciou", ("iou",), "overlap in the assigner's metric", means=words.OVERLAP),
    "zero_metric": OF_ASSIGNER["zero_metric"],
    "small_boxes": Param(
        "stride1", ("stride0", "raised", "off"), "what a small side counts as", means=words.SMALL_BOXES
    ),
    "reach": Param(None, (1.5,), "greatest distance of an anchor from an object's centre, in cells", means=words.REACH),
    "at_least_one": OF_ASSIGNER["at_least_one"],
    "edge": OF_ASSIGNER["edge"],
    "ciou_alpha": CIOU_ALPHA,
}
GRID = {
    "imgsz": Param((64, 64), ((32, 64),), "height and width of the image in pixels", stated=False),
    "strides": Param((8, 16, 32), ((8, 16),), "pixels per cell of each level", stated=False),
    "reg_max": Param(16, (4, 1), "bins R of one side; 1: distances and L1", stated=False),
}
TOPK = {
    "tal_topk": Param(10, (5, 1), "anchors that an object picks", span=Span(1, 20, whole=True)),
    "tal_topk2": Param(
        None,
        (3,),
        "anchors that an object keeps after the conflicts; None or 0: tal_topk",
        span=Span(1, 20, whole=True),
    ),
}
GAINS = {
    "box_gain": Param(7.5, (2.0,), "factor of the box term", span=Span(0.0, 8.0)),
    "cls_gain": Param(0.5, (3.0,), "factor of the class term", span=Span(0.0, 8.0)),
    "dfl_gain": Param(1.5, (0.25,), "factor of the distance term", span=Span(0.0, 8.0)),
}


def anchors_of(imgsz: tuple[int, int], strides: tuple[int, ...]) -> int:
    """How many anchors the levels have together."""
    height, width = imgsz
    return sum((height // stride) * (width // stride) for stride in strides)


DERIVED = {**BINS, "A": Derived(("imgsz", "strides"), anchors_of)}
SIZES: dict[str, Any] = {
    "single": ({"b": 1, "n": 1, "c": 1},),
    "small": ({"b": 2, "n": 3, "c": 3}, {"b": 1, "n": 2, "c": 2}),
    "empty": ({"b": 2, "n": 0, "c": 2},),
    "bulk": ({"b": 4, "n": 80, "c": 80, "imgsz": (640, 640)},),
}


def detection_laws(
    per_image: tuple[str, ...], per_object: tuple[str, ...], terms: int = 3, scaled: int = 3
) -> tuple[Law, ...]:
    """Laws of a loss of predictions `per_image` and objects with batch_idx, cls and what is `per_object`.

    Of its `terms` numbers the first `scaled` are divided by one S and carry the number of images as a factor.
    """
    objects = ("batch_idx", "cls", *per_object)

    def order_of_objects(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
        """Reversing the objects changes nothing, unless two boxes are equal and the first one wins."""
        if len(np.unique(x["bboxes"], axis=0)) < len(x["bboxes"]):
            return None
        turned = {name: x[name][::-1].copy() for name in objects}
        return differs(f({**x, **turned}), f(x), 2 * tol, "reversing the objects")

    def order_of_images(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
        """Reversing the images, with the indices of the objects, changes nothing."""
        turned = {name: x[name][::-1].copy() for name in per_image}
        turned["batch_idx"] = len(x["boxes"]) - 1 - x["batch_idx"]
        return differs(f({**x, **turned}), f(x), 2 * tol, "reversing the images")

    def foreign_object(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
        """One more object of an image that does not exist changes nothing."""
        more = {name: np.concatenate([x[name], x[name][:1]]) for name in objects}
        more["batch_idx"][-1:] = len(x["boxes"])
        return differs(f({**x, **more}), f(x), 2 * tol, "an object of no image")

    def images_twice(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
        """Every image twice: all terms become twice as large (up to four times while S is raised to 1)."""
        twice = {name: np.concatenate([x[name]] * 2) for name in (*per_image, *objects)}
        legal = (x["batch_idx"] >= 0) & (x["batch_idx"] < len(x["boxes"]))
        again = np.where(legal, x["batch_idx"] + len(x["boxes"]), -1)
        twice["batch_idx"] = np.concatenate([np.where(legal, x["batch_idx"], -1), again])
        one, two = f(x)[:scaled], f({**x, **twice})[:scaled]
        ratio = min(max(float(two.sum() / one.sum()), 2.0), 4.0)
        return differs(two, ratio * one, 8 * tol[:scaled], "every image twice")

    def order_of_classes(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
        """Reversing the classes in scores and labels changes nothing."""
        turned = {name: x[name][:, ::-1].copy() for name in x if name.endswith("scores")}
        turned["cls"] = x["scores"].shape[1] - 1 - x["cls"]
        return differs(f({**x, **turned}), f(x), 2 * tol, "reversing the classes")

    def silent_class(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
        """A further class without objects whose logits are -10000 changes nothing."""
        silent = np.full_like(x["scores"][:, :1], -1e4)
        more = {name: np.concatenate([x[name], silent], axis=1) for name in x if name.endswith("scores")}
        return differs(f({**x, **more}), f(x), 2 * tol, "a class that is never predicted")

    def no_negative_term(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
        """No term is negative."""
        low = (f(x) + tol).min()
        return f"a term is {low:.9g}" if low < 0 else None

    laws: tuple[Law, ...] = (order_of_objects, order_of_images, foreign_object, order_of_classes, silent_class)
    return (*laws, no_negative_term, *((images_twice,) if scaled else ()))


def mirrored(f: Any, x: Inputs, params: Params, tol: Array) -> str | None:
    """Mirroring the image, predictions and objects, left to right changes nothing."""
    height, width = params["imgsz"]
    order: list[int] = []
    for s in params["strides"]:
        cells = len(order) + np.arange((height // s) * (width // s)).reshape(height // s, width // s)
        order += cells[:, ::-1].ravel().tolist()
    turned = {name: x[name][..., order] for name in x if name.endswith("scores")}
    for name in (name for name in x if name.endswith("boxes") and x[name].ndim == 3):
        sides = x[name].reshape(len(x[name]), 4, params["reg_max"], -1)[:, [2, 1, 0, 3]]
        turned[name] = sides.reshape(x[name].shape)[..., order]
    turned["bboxes"] = x["bboxes"] * [-1, 1, 1, 1] + [1, 0, 0, 0]
    return differs(f({**x, **turned}), f(x), 4 * tol, "mirroring the image")
