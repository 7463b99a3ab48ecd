"""Scenes for the losses that take predictions and objects: what a trained head might say about real objects.

Sites stand on a lattice in the image. Every anchor's prediction is a box around the nearest site, and every
object is a box near one, so that predictions and objects overlap and the choices of an assigner are clear.
Boxes are normalised by multiples of a power of two, logits are multiples of 1/8 or 1/64: all exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lossref.core.nouns import Array, Domain, Params
from lossref.core.picking import Draw, Pick

Dims = Mapping[str, Any]
UNIT = 64  # boxes are multiples of 1/64 of the image
FINE = 512  # and their small sides of 1/512


def spacing(dims: Dims) -> int:
    """Pixels between two sites."""
    return max(32, *(int(side) // 8 for side in dims["imgsz"]))


def sites(dims: Dims) -> Array:
    """(sites, 2): x, y in pixels."""
    height, width = dims["imgsz"]
    step = spacing(dims)
    grid = np.meshgrid(np.arange(step // 2, width, step), np.arange(step // 2, height, step))
    return np.stack(grid, axis=-1).reshape(-1, 2)


def anchors(dims: Dims) -> tuple[Array, Array]:
    """Centres (A, 2) in pixels and strides (A,) of all levels."""
    height, width = dims["imgsz"]
    points, strides = [], []
    for s in dims["strides"]:
        grid = np.meshgrid(np.arange(width // s), np.arange(height // s))
        points.append((np.stack(grid, axis=-1).reshape(-1, 2) + 0.5) * s)
        strides.append(np.full(len(points[-1]), s))
    return np.concatenate(points), np.concatenate(strides)


# Predictions -----------------------------------------------------------------------------------------------


def _around_sites(low: float, high: float) -> Draw:
    """Boxes whose sides lie low to high spacings from the nearest site; each row is one image."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
        points, strides = anchors(dims)
        lattice, step = sites(dims), spacing(dims)
        near = lattice[((points[:, None] - lattice) ** 2).sum(-1).argmin(1)]
        reach = pick(round(low * 64), round(high * 64), rows * 4 * len(points)).reshape(rows, 4, -1) * (step / 64)
        offset = np.concatenate([points - near, near - points], axis=1).T
        return _logits(pick, (offset + reach) / strides, dims["R"]).reshape(rows, -1)

    return draw


def _logits(pick: Pick, distance: Array, bins: int) -> Array:
    """Channels (rows, 4 R, A) that stand for distances (rows, 4, A) in stride units, with some noise."""
    if bins == 1:
        return np.asarray(np.round(distance * 64) / 64)
    away = np.abs(np.arange(bins)[:, None] - distance.clip(0)[:, :, None])
    noise = pick(-4, 4, away.size).reshape(away.shape)
    return np.asarray((np.round(-16 * away.clip(max=4)) + noise) / 8)


BOX_FAMILIES: dict[str, Draw] = {"close": _around_sites(3 / 8, 1 / 2), "rough": _around_sites(1 / 4, 5 / 8)}


def _per_unit(low: int, high: int, unit: int) -> Draw:
    """Multiples of 1/unit in [low, high]."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
        return pick(low * unit, high * unit, rows * dims["row"]).reshape(rows, -1) / unit

    return draw


SCORE_FAMILIES: dict[str, Draw] = {"any": _per_unit(-4, 4, 64), "sure": _per_unit(-1, 1, 1), "zero": _per_unit(0, 0, 1)}


# Objects ---------------------------------------------------------------------------------------------------


def _units(dims: Dims, per_image: int) -> Array:
    """One spacing in units of the image's width and height."""
    height, width = dims["imgsz"]
    return np.array([spacing(dims) * per_image / width, spacing(dims) * per_image / height])


def _at_sites(pick: Pick, rows: int, dims: Dims, part: int = 8) -> Array:
    """Centres (rows, 2) in units of 1/64, up to one `part` of a spacing away from a site."""
    height, width = dims["imgsz"]
    lattice = sites(dims)
    step = _units(dims, UNIT)
    shift = np.stack([pick(-int(k // part), int(k // part), rows) for k in step], axis=1)
    return np.asarray(lattice[pick(0, len(lattice) - 1, rows)] * (UNIT / np.array([width, height])) + shift)


def ordinary(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
    """Sides of 5/8 to 5/4 spacings."""
    sides = [pick(int(k * 5 // 8), int(k * 5 // 4), rows) for k in _units(dims, UNIT)]
    return np.concatenate([_at_sites(pick, rows, dims), np.stack(sides, axis=1)], axis=1) / UNIT


def thin(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
    """One side of 7/8, the other of 5/16 spacings."""
    upright = pick(0, 1, rows)[:, None] == np.arange(2)
    sides = np.where(upright, _units(dims, UNIT) * 7 // 8, _units(dims, UNIT) * 5 // 16)
    return np.concatenate([_at_sites(pick, rows, dims), sides], axis=1) / UNIT


def small_side(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
    """As ordinary, with one side below the smallest stride, and closer to its site."""
    box = ordinary(pick, rows, given, dims)
    box[:, :2] = _at_sites(pick, rows, dims, 16) / UNIT
    upright = pick(0, 1, rows)[:, None] == np.arange(2)
    pixel = FINE / np.array(dims["imgsz"][::-1])
    least = min(5, dims["strides"][0] * 5 / 8)  # pixels
    below = [pick(math.ceil(least * k), math.ceil(dims["strides"][0] * k) - 1, rows) / FINE for k in pixel]
    box[:, 2:] = np.where(upright, np.stack(below, axis=1), box[:, 2:])
    return box


def border(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
    """Ends at the left or the upper border of the image, or half a spacing of 1/8 beyond it."""
    box = ordinary(pick, rows, given, dims)
    first = _units(dims, 1) / 2
    upright = pick(0, 1, rows)[:, None] == np.arange(2)
    inward = box[:, 2:] / 2 - np.where(pick(0, 1, rows)[:, None], first / 8, 0)
    box[:, :2] = np.where(upright, inward, box[:, :2])
    return box


OBJECT_FAMILIES: dict[str, Draw] = {"ordinary": ordinary, "thin": thin, "small side": small_side, "border": border}


def _images(draw_index: Any) -> Draw:
    """The image of every object, in one row."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
        return np.asarray(draw_index(pick, rows * dims["row"], dims["b"]), dtype=float).reshape(rows, -1)

    return draw


INDEX_FAMILIES: dict[str, Draw] = {
    "evenly": _images(lambda pick, count, images: np.arange(count) * images // max(count, 1)),
    "at random": _images(lambda pick, count, images: np.sort(pick(0, images - 1, count))),
    "last image only": _images(lambda pick, count, images: np.full(count, images - 1)),
}


def _classes(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
    return pick(0, dims["c"] - 1, rows * dims["row"]).reshape(rows, -1)


def _one_class(pick: Pick, rows: int, given: Array | None, dims: Dims) -> Array:
    return np.repeat(pick(0, dims["c"] - 1, rows)[:, None], dims["row"], axis=1)


def _whole(x: Array, params: Params) -> str | None:
    wrong = x.size and ((x != np.floor(x)).any() or x.min() < 0)
    return "expected class ids 0, 1, ..., as whole numbers" if wrong else None


def _solid(x: Array, params: Params) -> str | None:
    return None if (x[..., 2:4] > 0).all() else "expected w > 0 and h > 0"


def prediction_inputs(channels: str = "4R") -> dict[str, Domain]:
    """boxes and scores."""
    return {
        "boxes": Domain(
            f"b {channels} A",
            "logits of R bins for each side; R = 1: distances in cells",
            BOX_FAMILIES,
            row=2,
            nan_free=True,
            refused="A",
        ),
        "scores": Domain("b c A", "class logits", SCORE_FAMILIES, row=2, refused="A"),
    }


def object_inputs(families: Mapping[str, Draw] = OBJECT_FAMILIES, numbers: int = 4) -> dict[str, Domain]:
    """batch_idx, cls and bboxes."""
    return {
        "batch_idx": Domain(
            "n",
            "image of each object, in any order; an index that is no image is ignored",
            INDEX_FAMILIES,
            unit=None,
            indexes="b",
            refused="n",
        ),
        "cls": Domain(
            "n", "class of each object", {"any": _classes, "one": _one_class}, unit=None, legal=_whole, refused="n"
        ),
        "bboxes": Domain(
            f"n {numbers}",
            "xywh, normalised by the image",
            families,
            unit=None,
            legal=_solid,
            refused="n" if numbers == 4 else f"n {numbers}",  # 40-yolo.md section 5.3: none upright there
        ),
    }
