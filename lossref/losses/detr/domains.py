"""The inputs that hungarian, detr and rtdetr share: normalised boxes, class logits, objects sorted by image.

Boxes are xywh, multiples of 1/64; their centres are mostly inside the image. Source: spec/50-detr.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossref.core.declare import corner
from lossref.core.nouns import Array, Case, Domain
from lossref.core.picking import Draw, Pick

BAD_COST = {
    "last": "a cost that is NaN or infinite becomes the worst of its image + 1",
    "zero": "a cost that is NaN or infinite becomes 0, so that its query wins",
}

CELL = 1 / 64


def _centre_and_size(pick: Pick, rows: int, centre: tuple[int, int], size: tuple[int, int]) -> Array:
    parts = [pick(*centre, rows), pick(*centre, rows), pick(*size, rows), pick(*size, rows)]
    return np.asarray(np.stack(parts, axis=1) * CELL)


def ordinary_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Sides 1/16 to 5/8."""
    return _centre_and_size(pick, rows, (8, 56), (4, 40))


def small_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Sides 1/64 to 1/16."""
    return _centre_and_size(pick, rows, (2, 62), (1, 4))


def large_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Most of the image, partly outside it."""
    return _centre_and_size(pick, rows, (24, 40), (40, 64))


def aligned_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Multiples of 1/4: edges and centres often coincide, where min, max and |x| have their ties."""
    return _centre_and_size(pick, rows, (1, 3), (1, 4)) * 16


NORMALISED_FAMILIES: dict[str, Draw] = {
    "ordinary": ordinary_box,
    "small": small_box,
    "large": large_box,
    "aligned": aligned_box,
}


def _logits(bound: int) -> Draw:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        return pick(-64 * bound, 64 * bound, rows * dims["row"]).reshape(rows, dims["row"]) / 64

    return draw


# Multiples of 1/64, so that two costs are hardly ever equal; beyond 8, float32 cannot tell ln(1 - q + 1e-8).
QUERY_LOGIT_FAMILIES: dict[str, Draw] = {"moderate": _logits(4), "confident": _logits(8)}


def spread_images(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Every object in any image."""
    return pick(0, dims["b"] - 1, rows * dims["row"]).reshape(rows, dims["row"])


def last_image(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """All objects in the last image, the others have none."""
    return np.full((rows, dims["row"]), dims["b"] - 1)


def any_class(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Class ids 0 to c - 1."""
    return pick(0, dims["c"] - 1, rows * dims["row"]).reshape(rows, dims["row"])


def positive_sides(x: Array, params: Mapping[str, Any]) -> str | None:
    """Legal where w > 0 and h > 0."""
    return None if (x[..., 2:] > 0).all() else "expected w > 0 and h > 0"


def in_order(x: Array, params: Mapping[str, Any]) -> str | None:
    """Legal where image numbers start at 0 or above and never fall."""
    ordered = (np.diff(x) >= 0).all() and (x >= 0).all()
    return None if ordered else "expected image numbers from 0 on, in ascending order"


def not_below_zero(x: Array, params: Mapping[str, Any]) -> str | None:
    """Legal where no number is negative."""
    return None if (x >= 0).all() else "expected class ids from 0 on"


def boxes_of_queries(axes: str) -> Domain:
    """Predicted boxes; a NaN query is matched last, so that it may have no effect."""
    return Domain(axes, "predicted boxes, xywh normalised", NORMALISED_FAMILIES, legal=positive_sides, nan_free=True)


def logits_of_queries(axes: str) -> Domain:
    """Class logits of the queries."""
    return Domain(axes, "class logits", QUERY_LOGIT_FAMILIES)


def objects() -> dict[str, Domain]:
    """The objects of the whole batch: image, class and box of each."""
    return {
        "batch_idx": Domain(
            "n",
            "image of each object, ascending",
            {"spread": spread_images, "last image": last_image},
            dtype="int64",
            legal=in_order,
            layout=lambda x, params: np.sort(x),
            indexes="b",
            refused="n",
        ),
        "cls": Domain("n", "class ids", {"any": any_class}, 0, dtype="int64", legal=not_below_zero, refused="n"),
        "bboxes": Domain(
            "n 4", "boxes of the objects, xywh normalised", NORMALISED_FAMILIES, legal=positive_sides, refused="n"
        ),
    }


# Corner cases of the matching ----------------------------------------------------------------------

_BOXES = [(0.5, 0.5, 0.25, 0.25), (0.25, 0.25, 0.5, 0.5), (0.75, 0.5, 0.25, 0.5)]
_LOGITS = [(0, 1), (2, -1), (-1, 0.5)]
_OBJECTS = [(0.5, 0.5, 0.5, 0.25), (0.25, 0.375, 0.5, 0.25)]


def _case(
    name: str, why: str, boxes: Any, logits: Any, cls: Any, objects: Any, images: Any = (0, 0), **params: Any
) -> Case:
    """A corner of one image unless `images` says otherwise; every image has the same predictions."""
    count = max(images, default=0) + 1
    inputs = {"batch_idx": images, "cls": cls, "bboxes": np.reshape(objects, (-1, 4))}
    return corner(name, why, params=params, pred_bboxes=[boxes] * count, pred_scores=[logits] * count, **inputs)


def _eighths(*rows: tuple[int, int, int, int]) -> Array:
    return np.array(rows) / 8


def _tiny(*rows: tuple[int, int, int, int]) -> Array:
    """Boxes of a few 4096ths around the centre of the image."""
    return np.array(rows) / 4096 + [0.5, 0.5, 0, 0]


MATCHING_CORNERS = (
    _case("worked", "the cost table of the specification", _BOXES, _LOGITS, (1, 0), _OBJECTS, class_gain=2.0),
    _case("softmax", "the same with use_fl=False", _BOXES, _LOGITS, (1, 0), _OBJECTS, class_gain=2.0, use_fl=False),
    _case("two images", "each image solves its own block", _BOXES, _LOGITS, (1, 0), _OBJECTS, (0, 1)),
    _case("gap", "an image without objects between two others", _BOXES, _LOGITS, (1, 0), _OBJECTS, (0, 2)),
    _case("crowd", "only q of the objects are matched", _BOXES[:1], _LOGITS[:1], (1, 0), _OBJECTS),
    _case(
        "crowd, the last one fits",
        "all objects are looked at, not the first q",
        _BOXES[:1],
        _LOGITS[:1],
        (0, 1),
        [(0.125, 0.125, 0.125, 0.125), _BOXES[0]],
    ),
    _case(
        "1e-8",
        "it bounds what a hopeless logit costs",
        [_BOXES[0], (0.875, 0.875, 0.125, 0.125)],
        [(-60,), (-5,)],
        (0,),
        _BOXES[:1],
        (0,),
    ),
    _case(
        "tiny boxes",
        "an area of 6e-8, below the eps of GIoU",
        _tiny((2, 0, 1, 1), (0, 0, 2, 1)),
        [(1.75,), (-0.5,)],
        (0,),
        _tiny((0, 0, 1, 1)),
        (0,),
    ),
    _case("nothing", "no object at all: -1 everywhere", _BOXES, _LOGITS, (), (), ()),
    _case(
        "not greedy",
        "the first object must give way",
        _eighths((2, 6, 2, 4), (3, 3, 1, 1), (3, 5, 3, 1)),
        [(1, 0), (-3.5, 0.5), (-4, -4)],
        (0, 0),
        _eighths((6, 3, 2, 4), (6, 6, 2, 4)),
    ),
    _case(
        "exponent",
        "gamma 1.5 would match otherwise",
        _eighths((5, 2, 3, 4), (3, 6, 4, 2), (2, 2, 1, 3)),
        [(-2, -2.5), (2, -3), (-1, 1.5)],
        (1, 0),
        _eighths((2, 6, 4, 3), (3, 6, 1, 3)),
    ),
    _case(
        "negative part",
        "a confident query elsewhere costs more than -ln q says",
        _eighths((3, 6, 2, 3), (6, 2, 3, 1), (6, 3, 4, 1)),
        [(3.5, -2), (1, -1), (2, 1)],
        (1, 0),
        _eighths((4, 2, 4, 2), (3, 6, 1, 1)),
    ),
    _case(
        "sigmoid",
        "softmax would match otherwise",
        _eighths((5, 2, 2, 4), (5, 5, 1, 2), (2, 3, 2, 1)),
        [(-3, -3.5), (-3, 2.5), (3, -2.5)],
        (1, 1),
        _eighths((2, 5, 4, 1), (5, 4, 4, 4)),
    ),
    _case(
        "overlap",
        "without GIoU another query is nearer",
        _eighths((5, 6, 2, 1), (3, 3, 4, 1), (5, 3, 3, 4)),
        [(2, 0.5), (4, 3.5), (-3, 3.5)],
        (0, 0),
        _eighths((6, 6, 3, 4), (6, 3, 1, 3)),
    ),
)
