"""What of a case can be drawn: boxes, rotated boxes, points and keypoints, in the length unit of the case."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lossref.core.nouns import Array, Spec

MOST = 40  # shapes of one input
MOST_ANCHORS = 500
TRUE = ("gt", "target", "true", "label", "box2", "obb2", "bbox", "keypoints", "xyxy", "cls")
Point = tuple[float, float]
Arrays = Mapping[str, Array]


class Shape(NamedTuple):
    """A polygon, or a dot where there is one point; `tone` is one of pred, true, point, frame; `name` says what."""

    points: tuple[Point, ...]
    tone: str
    name: str = ""


def shapes(spec: Spec | None, arrays: Arrays, params: Mapping[str, Any], at: Sequence[int]) -> list[Shape]:
    """Everything that has a place, of the image or item that the wrong number belongs to."""
    if "bboxes" in arrays and "boxes" in arrays and params.get("imgsz") and params.get("strides"):
        return list(_scene(arrays, params))
    found = [shape for name, array in arrays.items() for shape in _of(spec, name, array, params, at)]
    return found if any(shape.tone in ("pred", "true") for shape in found) else []


def tone(name: str) -> str:
    """Whether an input is the truth, or what was predicted."""
    return "true" if name.startswith(TRUE) else "pred"


def _of(spec: Spec | None, name: str, array: Array, params: Mapping[str, Any], at: Sequence[int]) -> Iterator[Shape]:
    domain = spec.inputs.get(name) if spec else None
    if domain is None or array.ndim < 2:
        return
    units, last = domain.units, array.shape[-1]
    if array.ndim > 2 or domain.axes.startswith("n "):
        array = _chosen(array, at)
    rows = array.reshape(-1, last)[:MOST]
    if last in (4, 5) and "xy" in units:
        centred = "xywh" in units and ("xyxy" not in units or bool(params.get("xywh", True)))
        yield from (Shape(corners(row, centred), tone(name), name) for row in rows if np.isfinite(row).all())
    elif last >= 2 and ("keypoint" in name or "kpt" in name) and "x, y" in units:
        yield from (
            Shape(((float(row[0]), float(row[1])),), tone(name), name) for row in rows if np.isfinite(row).all()
        )
    elif last == 2 and ("points" in name or "point" in units):
        yield from (Shape(((float(x), float(y)),), "point", name) for x, y in rows if math.isfinite(x + y))


def _chosen(array: Array, at: Sequence[int]) -> Array:
    """The part that the wrong number belongs to, along the first axis; else the first of few, all of a row."""
    if at and 0 <= at[0] < array.shape[0]:
        return array[at[0] : at[0] + 1]
    return array[:1] if array.ndim > 2 else array


def corners(row: Array, centred: bool) -> tuple[Point, ...]:
    """The corners of a box (x1, y1, x2, y2), (cx, cy, w, h) or (cx, cy, w, h, r)."""
    a, b, c, d = map(float, row[:4])
    if not centred:
        return (a, b), (c, b), (c, d), (a, d)
    turn = float(row[4]) if len(row) > 4 else 0.0
    cos, sin = math.cos(turn), math.sin(turn)
    around = ((-c / 2, -d / 2), (c / 2, -d / 2), (c / 2, d / 2), (-c / 2, d / 2))
    return tuple((a + x * cos - y * sin, b + x * sin + y * cos) for x, y in around)


# A whole detection loss -----------------------------------------------------------------------------------


def _scene(arrays: Arrays, params: Mapping[str, Any]) -> Iterator[Shape]:
    """The first image that has an object: its frame, anchors, objects, keypoints and a few boxes of the head."""
    high, wide = map(float, params["imgsz"])
    yield Shape(((0.0, 0.0), (wide, 0.0), (wide, high), (0.0, high)), "frame")
    images = arrays.get("batch_idx", np.zeros(0)).reshape(-1)
    image = int(images[0]) if images.size and 0 <= images[0] < arrays["boxes"].shape[0] else 0
    mine = [number for number in range(len(images)) if images[number] == image]
    anchors = list(_anchors(high, wide, params["strides"]))
    finest = _finest(anchors)
    yield from (Shape(((x, y),), "point", "anchors") for x, y, stride in anchors if stride >= finest)
    objects = arrays["bboxes"].reshape(-1, arrays["bboxes"].shape[-1]) if arrays["bboxes"].size else np.zeros((0, 4))
    scale = np.array([wide, high, wide, high, 1.0])
    truth = [corners(objects[n] * scale[: objects.shape[1]], True) for n in mine[:MOST]]
    if len(anchors) == arrays["boxes"].shape[-1]:
        yield from (
            Shape(box, "pred", "predicted at the anchor nearest to an object")
            for box in _predicted(arrays["boxes"][image], anchors, truth)
        )
    yield from (Shape(box, "true", "objects") for box in truth if np.isfinite(box).all())
    for n in mine[:MOST] if "keypoints" in arrays else ():
        points = ((float(x) * wide, float(y) * high) for x, y in arrays["keypoints"][n][:, :2])
        yield from (Shape((point,), "true", "keypoints") for point in points)


def _anchors(high: float, wide: float, strides: Sequence[float]) -> Iterator[tuple[float, float, float]]:
    """x, y and stride of every anchor, level by level, row by row."""
    for stride in strides:
        cells = itertools.product(range(int(high // stride)), range(int(wide // stride)))
        yield from (((j + 0.5) * stride, (i + 0.5) * stride, stride) for i, j in cells)


def _finest(anchors: Sequence[tuple[float, float, float]]) -> float:
    """The stride from which on anchors are drawn: of a large image those of coarse levels only, or none."""
    strides = sorted({stride for _, _, stride in anchors})
    few = (one for one in strides if sum(stride >= one for _, _, stride in anchors) <= MOST_ANCHORS)
    return next(few, math.inf)


def _predicted(
    logits: Array, anchors: Sequence[tuple[float, float, float]], truth: Sequence[tuple[Point, ...]]
) -> Iterator[tuple[Point, ...]]:
    """What the head predicts at the anchor that is nearest to the middle of each object."""
    bins = logits.shape[0] // 4
    for box in truth:
        middle = np.mean(box, axis=0)
        nearest = min(range(len(anchors)), key=lambda n: math.dist(anchors[n][:2], middle))
        x, y, stride = anchors[nearest]
        sides = _distances(logits[:, nearest].reshape(4, bins)) * stride
        found = corners(np.array([x - sides[0], y - sides[1], x + sides[2], y + sides[3]]), False)
        if np.isfinite(found).all():
            yield found


def _distances(logits: Array) -> Array:
    """Four distances in cells: expected bins, or the numbers themselves where there is one bin."""
    bins = logits.shape[1]
    if bins == 1:
        return logits[:, 0]
    with np.errstate(all="ignore"):
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: Array = weights @ np.arange(bins) / weights.sum(axis=1)
    return found
