"""Inputs of the rotated detection loss: turned objects, angles, corners of fixture F, mirroring.

Source: spec/40-yolo.md sections 0, 5 and 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossref.core.declare import corner
from lossref.core.laws import differs
from lossref.core.nouns import Array, Case, Params
from lossref.core.picking import Draw, Pick
from lossref.core.scenes import FINE, OBJECT_FAMILIES, ordinary
from lossref.losses.detection.cases import BETWEEN_STRIDES, LIFT
from lossref.losses.detection.cases import fixture_f as f


def _turned(draw: Draw) -> Draw:
    """The same boxes with an angle of the range of labels, in 64ths."""

    def turned(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        return np.concatenate([draw(pick, rows, given, dims), pick(-50, 150, rows)[:, None] / 64], axis=1)

    return turned


def _upright(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    return np.concatenate([ordinary(pick, rows, given, dims), np.zeros((rows, 1))], axis=1)


def _below_two_pixels(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """One side of 1 to 2 pixels, 2 included: that one is kept. On too coarse a grid, its least one."""
    box = _turned(ordinary)(pick, rows, given, dims)
    axis, at = pick(0, 1, rows), np.arange(rows)
    pixel = (FINE / np.array(dims["imgsz"][::-1]))[axis]
    least = np.ceil(pixel).astype(int)
    box[at, 2 + axis] = pick(least, np.maximum(least, np.floor(2 * pixel).astype(int)), rows) / FINE
    return box


def angles(low: int, high: int) -> Draw:
    """Angles of low to high 64ths."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        return pick(low, high, rows * dims["row"]).reshape(rows, -1) / 64

    return draw


OBJECTS = {name: _turned(draw) for name, draw in OBJECT_FAMILIES.items()} | {
    "upright": _upright,
    "below 2 px": _below_two_pixels,
}


def mirrored(f: Any, x: Mapping[str, Array], params: Params, tol: Array) -> str | None:
    """Mirroring the image left to right changes nothing: angles change their sign."""
    height, width = params["imgsz"]
    order: list[int] = []
    for s in params["strides"]:
        cells = len(order) + np.arange((height // s) * (width // s)).reshape(height // s, width // s)
        order += cells[:, ::-1].ravel().tolist()
    sides = x["boxes"].reshape(len(x["boxes"]), 4, params["reg_max"], -1)[:, [2, 1, 0, 3]]
    turned = {"boxes": sides.reshape(x["boxes"].shape)[..., order], "scores": x["scores"][..., order]}
    turned["angle"] = -x["angle"][..., order]
    turned["bboxes"] = x["bboxes"] * [-1, 1, 1, 1, -1] + [1, 0, 0, 0, 0]
    return differs(f({**x, **turned}), f(x), 8 * tol, "mirroring the image")


def _of_f(name: str, why: str, *rows: tuple[float, ...], reg_max: int = 4, objects: Any = None, **more: Any) -> Case:
    """Fixture F with objects (image, class, x, y, w, h, angle), or those of F with angles."""
    objects = objects or (f.objects(*rows) if rows else {**f.objects(), "bboxes": f.rotated()})
    given = {"boxes": f.boxes(reg_max), "scores": f.scores(), "angle": f.angle(), **objects}
    changed = {key: more.pop(key) for key in tuple(more) if key in given}
    return corner(name, why, params=f.params(reg_max, **more), **{**given, **changed})


_ROTATED = tuple((*row, turn) for row, turn in zip(f.ROWS, f.ANGLES, strict=True))
_BESIDE = (
    (0, 0, 42 / 64, 27 / 64, 38 / 64, 27 / 64, 75 / 64),
    (0, 1, 9 / 64, 16 / 64, 16 / 64, 30 / 64, 3 / 64),
    (0, 0, 34 / 64, 48 / 64, 44 / 64, 10 / 64, 27 / 64),
    (0, 1, 34 / 64, 19 / 64, 37 / 64, 11 / 64, 56 / 64),
)
_CROWD = (
    (0, 1, 23 / 64, 42 / 64, 49 / 64, 43 / 64, 9 / 16),
    (0, 1, 20 / 64, 27 / 64, 37 / 64, 63 / 64, 11 / 32),
    (0, 1, 23 / 64, 22 / 64, 43 / 64, 53 / 64, 93 / 64),
    (0, 1, 23 / 64, 28 / 64, 40 / 64, 38 / 64, 31 / 64),
)
_SMALL = (0, 0, 3 / 8, 1 / 2, 1 / 16, 3 / 16, 0.25)

CORNERS = (
    _of_f("worked example", "fixture F with angles"),
    _of_f("one bin", "distances instead of bins, L1", reg_max=1),
    _of_f("objects in another order", "not sorted by image", _ROTATED[2], _ROTATED[0], _ROTATED[1]),
    _of_f("no object", "zero gradients, S is 1", objects=f.no_object(5)),
    _of_f("dropped", "h H is 1 pixel: as no object", (0, 0, 7 / 16, 3 / 8, 3 / 4, 1 / 32, 0)),
    _of_f("kept", "w W is 2 pixels; sum of the target scores below 1", (0, 0, 7 / 16, 1 / 2, 1 / 32, 3 / 4, 0)),
    _of_f("small object", "4 x 6 px: candidates as if 16 x 16, true size elsewhere", _SMALL),
    _of_f("small object enlarged", "in overlap and targets, too", _SMALL, small_rboxes="enlarged"),
    _of_f("upright", "all angles 0", *((*row, 0) for row in f.ROWS), angle=np.zeros((2, 1, 40))),
    _of_f("second top-k", "one anchor for each of two objects", _ROTATED[0], (0, 1, 0.40625, 0.5, 0.5, 0.75, 0.5)),
    _of_f("half turns", "angles of the objects more by pi", *((*row[:6], row[6] + 3.140625) for row in _ROTATED)),
    _of_f("beside", "the largest overlap is of an object that does not contain the anchor", *_BESIDE),
    _of_f("crowd", "objects take anchors that they did not pick", *_CROWD),
    _of_f("small sides as they are", "4 x 6 px contain no anchor", _SMALL, tal_topk=1, small_boxes="off"),
    _of_f("lifted bins", "logits of 100 and -120, no other loss", boxes=f.boxes() + LIFT),
    _of_f("12 px", "a side between two strides is not small", (*BETWEEN_STRIDES, 0.25)),
    _of_f("floor under the variances", "as releases from 8.4.190 have it", cov_floor=0.01),
    _of_f("edition 8.3", "distances of the unturned box, no angle term", edition="8.3"),
    _of_f("one bin in edition 8.3", "no distance term", reg_max=1, edition="8.3"),
    _of_f("dropped, kept in edition 8.3", "h W is 2", (0, 0, 7 / 16, 3 / 8, 3 / 4, 1 / 32, 0), edition="8.3"),
    _of_f("kept, dropped in edition 8.3", "w H is 1", (0, 0, 7 / 16, 1 / 2, 1 / 32, 3 / 4, 0), edition="8.3"),
    _of_f("small object in edition 8.3", "4 x 6 px: no candidate", _SMALL, edition="8.3"),
)
