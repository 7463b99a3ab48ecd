"""Laws of the assigners: what the order of images, anchors and objects, padding and the origin do.

The outputs come in a row; `_terms` cuts them apart again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossref.core.laws import differs
from lossref.core.nouns import Array

Inputs = Mapping[str, Array]


def _terms(row: Array, x: Inputs, params: Mapping[str, Any]) -> list[Array]:
    """Labels, boxes, scores, mask and index, each (b, A, ...)."""
    images, anchors, box = x["pd_bboxes"].shape
    widths = [1, box, params["num_classes"], 1, 1]
    parts = np.split(row, np.cumsum([images * anchors * width for width in widths])[:-1])
    return [part.reshape(images, anchors, -1) for part in parts]


def _differs(got: list[Array], want: list[Array], tol: list[Array], what: str) -> str | None:
    for mine, truth, room in zip(got, want, tol, strict=True):
        found = differs(mine, truth, 2 * room, what)
        if found:
            return found
    return None


def _reversed(x: Inputs, axis: int, *names: str) -> dict[str, Array]:
    return {**x, **{name: np.flip(x[name], axis).copy() for name in names}}


def order_of_the_images(f: Any, x: Inputs, params: Mapping[str, Any], tol: Array) -> str | None:
    """Reversing the images reverses the answers."""
    names = [name for name in x if name != "anc_points"]
    got, want, room = (_terms(v, x, params) for v in (f(_reversed(x, 0, *names)), f(x), tol))
    return _differs([part[::-1] for part in got], want, room, "reversing the images")


def order_of_the_anchors(f: Any, x: Inputs, params: Mapping[str, Any], tol: Array) -> str | None:
    """Reversing the anchors with their predictions reverses the answers."""
    turned = {**_reversed(x, 1, "pd_scores", "pd_bboxes"), "anc_points": x["anc_points"][::-1].copy()}
    got, want, room = (_terms(v, x, params) for v in (f(turned), f(x), tol))
    return _differs([part[:, ::-1] for part in got], want, room, "reversing the anchors")


def order_of_the_objects(f: Any, x: Inputs, params: Mapping[str, Any], tol: Array) -> str | None:
    """Reversing the objects leaves mask and scores alone, unless two overlaps are equal."""
    turned = _reversed(x, 1, "gt_labels", "gt_bboxes", "mask_gt")
    got, want, room = (_terms(v, x, params)[2:4] for v in (f(turned), f(x), tol))
    equal = any(len(np.unique(boxes, axis=0)) < len(boxes) for boxes in x["gt_bboxes"])
    lost = bool(((want[0].max(-1) == 0) & (want[1][..., 0] > 0)).any())  # perhaps by the rule for overlap 0
    return None if equal or lost else _differs(got, want, room, "reversing the objects")


def padding(f: Any, x: Inputs, params: Mapping[str, Any], tol: Array) -> str | None:
    """One row of padding more changes nothing."""
    more = {name: np.concatenate([x[name], 0 * x[name][:, :1]], 1) for name in ("gt_labels", "gt_bboxes", "mask_gt")}
    return differs(f({**x, **more}), f(x), 2 * tol, "a row of padding")


def anchor_alone(f: Any, x: Inputs, params: Mapping[str, Any], tol: Array) -> str | None:
    """A score of another class than an anchor's object has no effect where it is the only class."""
    lone = np.broadcast_to(x["gt_labels"][:, :1], x["gt_labels"].shape)
    other = (lone[:, 0, 0].astype(int) + 1) % params["num_classes"]
    changed = x["pd_scores"].copy()
    changed[np.arange(len(other)), :, other] = 0.5
    one = {**x, "gt_labels": lone.copy()}
    return differs(f({**one, "pd_scores": changed}), f(one), 2 * tol, "the score of a class without objects")


def targets_in_range(f: Any, x: Inputs, params: Mapping[str, Any], tol: Array) -> str | None:
    """Targets lie in [0, 1], at one class at most, and are 0 off the positives."""
    labels, _, scores, mask, _ = _terms(f(x), x, params)
    if scores.min() < 0 or scores.max() > 1:
        return f"target scores from {scores.min():.9g} to {scores.max():.9g}"
    off = np.arange(params["num_classes"]) != labels
    if scores[off].any() or scores[mask[..., 0] == 0].any():
        return "a target score off the positives or at another class than the object's"
    return None


def within_reach_of_a_real_object(f: Any, x: Inputs, params: Mapping[str, Any], tol: Array) -> str | None:
    """An image without real objects has no positive."""
    mask = _terms(f(x), x, params)[3]
    empty = ~x["mask_gt"].astype(bool).any(axis=(1, 2))
    return "a positive in an image without real objects" if mask[empty].any() else None


LAWS = (
    order_of_the_images,
    order_of_the_anchors,
    order_of_the_objects,
    padding,
    anchor_alone,
    targets_in_range,
    within_reach_of_a_real_object,
)
