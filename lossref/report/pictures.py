"""A static picture of a small case, as SVG: shapes in two colours, masks as grids, other numbers as bars.

Colours are classes that the page gives its own; all text is escaped, and numbers are written by us.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lossref.core.nouns import Array, Spec
from lossref.losses import specs
from lossref.report.shapes import Arrays, Shape, shapes, tone
from lossref.run.saved.arrays import SPECIAL

WIDE, HIGH, EDGE = 240.0, 150.0, 10.0
MOST_BARS, MOST_ROWS, MOST_CELLS, MOST_MASKS = 48, 4, 32, 3
Box = tuple[float, float, float, float]


class Picture(NamedTuple):
    """The SVG of a case, and what its colours are: tone and name."""

    svg: str
    legend: list[tuple[str, str]]


NOTHING = Picture("", [])


def picture(case: Mapping[str, Any], beside: Arrays | None = None) -> Picture:
    """The picture of a saved case; an empty one where nothing can be drawn. `beside` are the numbers of a large one."""
    arrays = dict(beside or _arrays(case))
    try:
        body, legend = _drawn(case, arrays)
    except (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError):  # anybody may have changed the file
        return NOTHING
    label = html.escape(f"the smallest case: {', '.join(arrays)}")
    frame = f'viewBox="0 0 {WIDE:.0f} {HIGH:.0f}" role="img" aria-label="{label}"'
    return Picture(f'<svg class="picture" {frame}>{body}</svg>', legend) if body else NOTHING


def _drawn(case: Mapping[str, Any], arrays: Arrays) -> Picture:
    """Shapes of a whole image, else masks, else other shapes, else bars."""
    spec = specs().get(str(case.get("spec", "")))
    at = [one for one in (case.get("detail") or {}).get("index") or () if isinstance(one, int)]
    placed = shapes(spec, arrays, case.get("params") or {}, at)
    grids = {} if any(shape.tone == "frame" for shape in placed) else masks(spec, arrays)
    if grids:
        return Picture(_grids(list(grids.items())), [(tone(name), name) for name in grids])
    if placed:
        legend = dict.fromkeys((shape.tone, shape.name) for shape in placed if shape.name)
        return Picture(_shapes(placed), list(legend))
    many = {name: x for name, x in arrays.items() if x.size > 1} or {name: x for name, x in arrays.items() if x.size}
    return Picture(_bars(dict(list(many.items())[:MOST_ROWS])), [(tone(name), name) for name in many][:MOST_ROWS])


def _arrays(case: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    for name, entry in (case.get("inputs") or {}).items():
        if isinstance(entry, dict):
            flat = [SPECIAL.get(x, math.nan) if isinstance(x, str) else x for x in _flat(entry.get("values"))]
            shape = [size for size in entry.get("shape") or () if isinstance(size, int)]
            if math.prod(shape) == len(flat) and all(isinstance(x, int | float) for x in flat):
                yield name, np.array(flat, dtype=np.float64).reshape(shape)


def _flat(values: Any) -> Iterator[Any]:
    if isinstance(values, list):
        for part in values:
            yield from _flat(part)
    elif values is not None:
        yield values


# Shapes ---------------------------------------------------------------------------------------------------


def _shapes(found: Sequence[Shape]) -> str:
    if not found:
        return ""
    image = [shape for shape in found if shape.tone in ("frame", "true")]
    framed = image if any(shape.tone == "frame" for shape in image) else found
    points = np.array([point for shape in framed for point in shape.points])
    low, high = points.min(axis=0), points.max(axis=0)
    with np.errstate(over="ignore"):
        size = float(max((high - low).max(), 1e-300))
    extent = np.maximum(high - low, size / 1e3)
    scale = min((WIDE - 2 * EDGE) / extent[0], (HIGH - 2 * EDGE) / extent[1])
    middle = low / 2 + high / 2

    def placed(x: float, y: float) -> tuple[float, float]:
        return WIDE / 2 + (x - middle[0]) * scale, HIGH / 2 + (y - middle[1]) * scale

    order = {"frame": 0, "point": 1, "pred": 2, "true": 3}
    ranked = sorted(found, key=lambda shape: order[shape.tone])
    return "".join(_shape(shape.tone, [placed(*point) for point in shape.points]) for shape in ranked)


def _shape(kind: str, points: Sequence[tuple[float, float]]) -> str:
    if len(points) == 1:
        ((x, y),) = points
        return f'<circle class="p-{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{1.5 if kind == "point" else 3.5}"/>'
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon class="p-{kind}" points="{corners}"/>'


# Masks ----------------------------------------------------------------------------------------------------


def masks(spec: Spec | None, arrays: Arrays) -> dict[str, Array]:
    """The inputs that are pictures, the first image of each."""
    found = dict[str, Array]()
    for name, array in arrays.items():
        axes = spec.inputs[name].axes.split() if spec and name in spec.inputs else []
        if array.ndim >= 2 and axes and axes[-1].lower().startswith("w") and array.size:
            found[name] = array.reshape(-1, *array.shape[-2:])[0]
    return dict(list(found.items())[:MOST_MASKS])


def _grids(found: Sequence[tuple[str, Array]]) -> str:
    """Masks side by side."""
    step = WIDE / max(len(found), 1)
    boxes = [(n * step + 4, EDGE, step - 8, HIGH - 2 * EDGE) for n in range(len(found))]
    pairs = zip(found, boxes, strict=True)
    return "".join(_grid(tone(name), array[:MOST_CELLS, :MOST_CELLS], box) for (name, array), box in pairs)


def _grid(kind: str, array: Array, box: Box) -> str:
    left, top, wide, high = box
    rows, columns = array.shape
    cell = min(wide / columns, high / rows)
    left, top = left + (wide - cell * columns) / 2, top + (high - cell * rows) / 2
    low, most = float(np.nanmin(array, initial=0.0)), float(np.nanmax(array, initial=1.0))
    size = f'width="{cell * columns:.1f}" height="{cell * rows:.1f}"'
    frame = f'<rect class="p-frame" x="{left:.1f}" y="{top:.1f}" {size}/>'
    cells = "".join(
        f'<rect class="f-{kind}" x="{left + j * cell:.1f}" y="{top + i * cell:.1f}" width="{cell:.1f}" '
        f'height="{cell:.1f}" opacity="{(array[i, j] - low) / (most - low):.2f}"/>'
        for i in range(rows)
        for j in range(columns)
        if math.isfinite(array[i, j]) and array[i, j] > low
    )
    return frame + cells


# Other numbers --------------------------------------------------------------------------------------------


def _bars(arrays: Arrays) -> str:
    """A row of bars for each input."""
    step = HIGH / max(len(arrays), 1)
    rows = ((name, array.reshape(-1)[:MOST_BARS], number * step) for number, (name, array) in enumerate(arrays.items()))
    return "".join(_row(name, numbers, top, step) for name, numbers, top in rows)


def _row(name: str, numbers: Array, top: float, high: float) -> str:
    finite = numbers[np.isfinite(numbers)]
    most = float(np.abs(finite).max(initial=0.0)) or 1.0
    negative = bool((finite < 0).any())
    room, label = high - 18, f'<text class="p-name" x="4" y="{top + 11:.1f}">{html.escape(name[:32])}</text>'
    zero = top + 15 + (room / 2 if negative else room)
    step = min((WIDE - 8) / max(numbers.size, 1), 24)
    bars = "".join(
        _one_bar(tone(name), 4 + n * step, step, zero, float(x) / most * (room / 2 if negative else room))
        for n, x in enumerate(numbers)
    )
    return f'{label}{bars}<line class="p-zero" x1="4" x2="{WIDE - 4:.0f}" y1="{zero:.1f}" y2="{zero:.1f}"/>'


def _one_bar(kind: str, x: float, step: float, zero: float, high: float) -> str:
    if not math.isfinite(high):
        return f'<text class="p-name" x="{x:.1f}" y="{zero - 2:.1f}">{"nan" if math.isnan(high) else "∞"}</text>'
    y, size = (zero - high, high) if high >= 0 else (zero, -high)
    wide, tall = max(step - 1.5, 1), max(size, 0.8)
    return f'<rect class="f-{kind}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>'
