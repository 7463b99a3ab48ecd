"""Inputs of the assigners: anchors on a grid of 8 pixels, predictions around them, objects, classes, padding.

All lengths are multiples of 1/4 pixel and all probabilities of 1/64, so that every comparison is exact. The
setup S and its cases are those of spec/20-assignment.md section 1.9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossref.core.declare import corner
from lossref.core.families import unit_interval, xyxy_to_xywh
from lossref.core.nouns import Array, Case, Domain, Param, Params, Span
from lossref.core.picking import Draw, Pick
from lossref.losses.assignment import meanings as words

CELL = 8
PLAIN = 4
ROTATED = 5
Dims = Mapping[str, Any]


def grid_points(anchors: int) -> Array:
    """Centres (A, 2) of cells of 8 pixels, row by row, in rows as long as there are columns."""
    wide = max(1, round(anchors**0.5))
    at = np.arange(anchors)
    return np.stack([at % wide, at // wide], axis=1) * CELL + CELL / 2


def _image(anchors: int) -> float:
    return float(grid_points(anchors).max(initial=CELL) + CELL / 2)


def on_the_grid(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
    """Cell centres."""
    return np.tile(grid_points(dims["A"]).ravel(), (rows, 1))


def off_the_grid(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
    """Cell centres moved by up to 3 pixels, each on its own."""
    shift = pick(-12, 12, rows * dims["row"]).reshape(rows, -1) / 4
    return on_the_grid(pick, rows, given, dims) + shift


def _sided(low: int, high: int) -> Draw:
    """Boxes with sides of low to high quarters of a pixel, centred in the image."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
        end = int(4 * _image(dims["A"]))
        middle = np.stack([pick(end // 5, end - end // 5, rows) for _ in "xy"], axis=1)
        half = np.stack([pick(low, high, rows) for _ in "xy"], axis=1) / 2
        return np.concatenate([middle - half, middle + half], axis=1) / 4

    return draw


def one_small_side(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
    """One side below the smallest stride, the other above."""
    box = _sided(64, 112)(pick, rows, given, dims)
    axis, side = pick(0, 1, rows), pick(16, 31, rows) / 4
    at = np.arange(rows)
    box[at, 2 + axis] = box[at, axis] + side
    return box


def edge_on_centres(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
    """Edges exactly on rows and columns of cell centres."""
    cells = int(_image(dims["A"])) // CELL
    first = np.stack([pick(0, max(0, cells - 3), rows) for _ in "xy"], axis=1)
    length = np.stack([pick(2, 3, rows) for _ in "xy"], axis=1)
    return np.concatenate([first, first + length], axis=1) * CELL + CELL / 2


def outside_box(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
    """Beyond the image: contains no anchor."""
    return _sided(64, 112)(pick, rows, given, dims) + 2 * _image(dims["A"]) + pick(0, 64, rows)[:, None] / 4


OBJECT_FAMILIES: dict[str, Draw] = {
    "large": _sided(64, 96),
    "medium": _sided(40, 64),
    "one small side": one_small_side,
    "small": _sided(20, 31),
    "edges on centres": edge_on_centres,
    "outside": outside_box,
}


def _around(elsewhere: int) -> Draw:
    """Each prediction contains its cell centre; one in `elsewhere` lies far away instead (0: none)."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
        points, count = grid_points(dims["A"]), rows * dims["A"]
        reach = pick(14, 44, 4 * count).reshape(rows, -1, 4) / 4
        far = 16 * _image(dims["A"]) * (pick(1, elsewhere, count) == 1 if elsewhere else np.zeros(count))
        low = points - reach[..., :2] + far.reshape(rows, -1, 1)
        return np.concatenate([low, low + reach[..., :2] + reach[..., 2:]], axis=-1).reshape(rows, -1)

    return draw


PREDICTION_FAMILIES: dict[str, Draw] = {"around": _around(0), "some elsewhere": _around(8)}


def _turned(draw_box: Draw, low: int, high: int) -> Draw:
    """The same boxes as centre, size and an angle of low to high 64ths."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
        box = xyxy_to_xywh(draw_box(pick, rows, given, dims).reshape(-1, 4))
        angle = pick(low, high, len(box))[:, None] / 64
        return np.concatenate([box, angle], axis=1).reshape(rows, -1)

    return draw


ROTATED_OBJECTS = {name: _turned(draw, -50, 150) for name, draw in OBJECT_FAMILIES.items()} | {
    "upright, edges on centres": _turned(edge_on_centres, 0, 0)
}
ROTATED_PREDICTIONS = {name: _turned(draw, -50, 150) for name, draw in PREDICTION_FAMILIES.items()}


def _sixtyfourths(low: int, high: int, unit: int) -> Draw:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
        return pick(low, high, rows * dims["row"]).reshape(rows, -1) / unit

    return draw


def _integers(low: int, high: int | str) -> Draw:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
        top = dims[high] - 1 if isinstance(high, str) else high
        return pick(low, top, rows * dims["row"]).reshape(rows, -1)

    return draw


def _class_in_range(x: Array, params: Params) -> str | None:
    wrong = x.size and (x.min() < 0 or x.max() >= params["num_classes"])
    return f"expected classes 0 to {params['num_classes'] - 1}" if wrong else None


def inputs(box: int) -> dict[str, Domain]:
    """The six inputs of an assigner whose boxes have 4 or 5 numbers."""
    objects, predictions = (
        (OBJECT_FAMILIES, PREDICTION_FAMILIES) if box == PLAIN else (ROTATED_OBJECTS, ROTATED_PREDICTIONS)
    )
    layout = "xyxy" if box == PLAIN else "xywhr"
    scores = {"any": _sixtyfourths(1, 63, 64), "low": _sixtyfourths(1, 63, 4096), "sure": _sixtyfourths(1, 1, 1)}
    masks = {"all real": _integers(1, 1), "some padding": _integers(0, 1), "all padding": _integers(0, 0)}
    return {
        "pd_scores": Domain("b A num_classes", "probabilities", scores, legal=unit_interval, nan_free=True),
        "pd_bboxes": Domain(
            f"b A {box}", f"predicted boxes {layout} in pixels", predictions, row=2, nan_free=True, unit=None
        ),
        "anc_points": Domain(
            "A 2",
            "points in pixels",
            {"grid": on_the_grid, "off the grid": off_the_grid},
            row=2,
            nan_free=True,
            unit=None,
        ),
        "gt_labels": Domain(
            "b G 1", "classes", {"any": _integers(0, "num_classes")}, legal=_class_in_range, dtype="int64", unit=None
        ),
        "gt_bboxes": Domain(f"b G {box}", f"objects {layout} in pixels", objects, unit=None),
        "mask_gt": Domain("b G 1", "whether there is an object", masks, row=2, dtype="bool"),
    }


COUNTS = {
    "topk": Param(2, (1, 3), "anchors that an object picks", stated=False, span=Span(1, 12, whole=True)),
    "num_classes": Param(2, (4,), "classes of the result", stated=False, span=Span(1, 9, whole=True)),
    "alpha": Param(0.5, (1.0,), "exponent of the score", stated=False, span=Span(0.0, 4.0)),
    "beta": Param(6.0, (2.0,), "exponent of the overlap", span=Span(0.0, 8.0)),
    "stride": Param((8, 16, 32), ((8,), (16, 32)), "strides of the levels, in pixels", stated=False),
    "eps": Param(1e-9, (1e-3,), "absolute constant against division by zero", small=True, span=Span(2.0**-30, 0.25)),
    "topk2": Param(
        None, (1, 2), "anchors that an object keeps after the conflicts; None or 0: topk", span=Span(1, 12, whole=True)
    ),
}
RULES = {
    "conflict": Param(
        "all",
        ("containing", "picked", "overlapping"),
        "objects that may get an anchor picked twice",
        means=words.CONFLICT,
    ),
    "overlap": Param("ciou", ("iou",), "CIoU or plain IoU as the overlap", means=words.OVERLAP),
    "zero_metric": Param("kept", ("dropped",), "candidates with metric 0 among the top k", means=words.ZERO_METRIC),
    "small_boxes": Param(
        "stride1", ("off", "stride0", "raised"), "what a small side counts as", means=words.SMALL_BOXES
    ),
    "reach": Param(None, (1.5,), "greatest distance from the centre, in units of stride[0]", means=words.REACH),
    "at_least_one": Param(
        "off", ("nearest", "best"), "anchor of an object without candidates; best: libreyolo", means=words.AT_LEAST_ONE
    ),
    "edge": Param("open", ("closed",), "whether an anchor on an edge is inside; closed: libreyolo", means=words.EDGE),
}
TERMS = ("target_labels", "target_bboxes", "target_scores", "fg_mask", "target_gt_idx")
SIZES: dict[str, tuple[Mapping[str, int], ...]] = {
    "single": ({"b": 1, "A": 16, "G": 1},),
    "small": ({"b": 2, "A": 16, "G": 2}, {"b": 1, "A": 20, "G": 3}),
    "empty": ({"b": 2, "A": 16, "G": 0},),
}


# Setup S -------------------------------------------------------------------------------------------------


def setup_s(box: int) -> dict[str, Array]:
    """Predictions, scores and anchors of the setup S; boxes turned by i/8 - 1 for five numbers."""
    i = np.arange(16.0)
    points = grid_points(16)
    x, y = points.T
    boxes = np.stack([x - 9, y - 8, x + 7 + i / 8, y + 9], axis=1)
    if box == ROTATED:
        boxes = np.concatenate([xyxy_to_xywh(boxes), (i / 8 - 1)[:, None]], axis=1)
    scores = np.stack([(i + 1) / 32, (17 - i) / 32], axis=1)
    return {"pd_scores": scores[None], "pd_bboxes": boxes[None], "anc_points": points}


def setup(name: str, why: str, *objects: tuple[int, tuple[float, ...]], scores: Any = None, **params: Any) -> Case:
    """A case of the setup S with objects (class, box)."""
    given = setup_s(len(objects[0][1]))
    if scores is not None:
        given["pd_scores"] = np.asarray(scores)
    return placed(name, why, given, *objects, **params)


def placed(
    name: str, why: str, given: Mapping[str, Array], *objects: tuple[int, tuple[float, ...]], **params: Any
) -> Case:
    """A case of one image with given predictions and anchors, and objects (class, box)."""
    found: dict[str, Any] = {
        **given,
        "gt_labels": [[[label] for label, _ in objects]],
        "gt_bboxes": [[box for _, box in objects]],
        "mask_gt": np.ones((1, len(objects), 1)),
    }
    params = {"num_classes": given["pd_scores"].shape[-1], **params}
    return corner(name, why, params=params, **{key: found[key] for key in inputs(len(objects[0][1]))})
