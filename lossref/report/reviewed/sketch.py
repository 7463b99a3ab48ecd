"""A picture of a small case in letters: shapes as dots of Braille, masks as shades, other numbers as bars."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from rich.text import Text

from lossref.core.nouns import Array, Params, Spec
from lossref.report.pictures import masks
from lossref.report.shapes import Arrays, Point, Shape, shapes, tone

WIDE, HIGH = 36, 9  # letters
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a letter of Braille, row by row
BARS, SHADES = "▁▂▃▄▅▆▇█", " ░▒▓█"
COLOURS = {"pred": "blue", "true": "yellow", "point": "dim", "frame": "dim"}
ORDER = ("frame", "point", "pred", "true")  # what lies above
MOST_BARS, MOST_INPUTS = 36, 4
EVERY = {"true": 2}  # the truth is dotted, so that the two can be told apart where there is no colour
Dot = tuple[int, int]


def sketch(spec: Spec | None, arrays: Arrays, params: Params, at: Sequence[int]) -> list[Text]:
    """The picture, a line each, and the line that says what its colours are; nothing where nothing can be drawn."""
    try:
        placed = shapes(spec, arrays, params, at)
        framed = any(shape.tone == "frame" for shape in placed)
        grids = {} if framed else masks(spec, arrays)
        if grids:
            return list(_grids(grids))
        return _drawn(placed) if placed else list(_bars(arrays))
    except (
        ValueError,
        TypeError,
        IndexError,
        OverflowError,
        ZeroDivisionError,
    ):  # numbers of no size that can be drawn
        return []


def _key(names: Iterable[tuple[str, str]]) -> Text:
    parts = [Text(f"{'··' if kind in EVERY else '──'} {name}", COLOURS[kind]) for kind, name in names]
    return Text("   ").join(parts)


# Shapes ---------------------------------------------------------------------------------------------------


def _drawn(placed: Sequence[Shape]) -> list[Text]:
    scale, middle = _frame(placed)
    layers: dict[Dot, dict[str, int]] = {}
    for shape in sorted(placed, key=lambda one: ORDER.index(one.tone)):
        for x, y in _outline([_at(point, scale, middle) for point in shape.points], EVERY.get(shape.tone, 1)):
            cell = layers.setdefault((x // 2, y // 4), {})
            cell[shape.tone] = cell.get(shape.tone, 0) | DOTS[y % 4][x % 2]
    rows = [Text.assemble(*(_letter(layers.get((x, y), {})) for x in range(WIDE))) for y in range(HIGH)]
    legend = dict.fromkeys((one.tone, one.name) for one in placed if one.name)
    return [*(row for row in rows if row.plain.strip("\u2800 ")), _key(legend)]


def _frame(placed: Sequence[Shape]) -> tuple[float, Point]:
    image = [one for one in placed if one.tone in ("frame", "true")]
    framed = image if any(one.tone == "frame" for one in image) else placed
    points = np.array([point for one in framed for point in one.points])
    low, high = points.min(axis=0), points.max(axis=0)
    size = max(float((high - low).max()), 1e-300)
    extent = np.maximum(high - low, size / 1e3)
    scale = min((2 * WIDE - 3) / extent[0], (4 * HIGH - 3) / extent[1])
    return float(scale), (float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2)


def _at(point: Point, scale: float, middle: Point) -> Point:
    return WIDE + (point[0] - middle[0]) * scale, 2 * HIGH + (point[1] - middle[1]) * scale


def _outline(points: Sequence[Point], every: int) -> Iterator[Dot]:
    """The dots of a closed line, or of a point, as far as they lie in the picture."""
    dots = itertools.chain.from_iterable(
        _line(one, other) for one, other in zip(points, [*points[1:], points[0]], strict=True)
    )
    for number, (x, y) in enumerate(dots):
        if number % every == 0 and 0 <= x < 2 * WIDE and 0 <= y < 4 * HIGH:
            yield x, y


def _line(one: Point, other: Point) -> Iterator[Dot]:
    steps = min(max(math.ceil(max(abs(other[0] - one[0]), abs(other[1] - one[1]))), 1), 1000)
    for step in range(steps):
        part = step / steps
        yield round(one[0] + (other[0] - one[0]) * part), round(one[1] + (other[1] - one[1]) * part)


def _letter(cell: dict[str, int]) -> tuple[str, str]:
    if not cell:
        return " ", ""
    above = max(cell, key=ORDER.index)
    return chr(0x2800 + int(np.bitwise_or.reduce(list(cell.values())))), COLOURS[above]


# Masks and other numbers ----------------------------------------------------------------------------------


def _grids(found: Arrays) -> Iterator[Text]:
    """Masks side by side."""
    parts = {name: _shaded(array[: 2 * HIGH : 2, :WIDE]) for name, array in found.items()}
    for row in range(max(map(len, parts.values()))):
        yield Text("   ").join(
            Text(lines[row] if row < len(lines) else "", COLOURS[tone(name)]) for name, lines in parts.items()
        )
    yield _key((tone(name), name) for name in parts)


def _shaded(array: Array) -> list[str]:
    finite = np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)
    low, most = min(float(finite.min()), 0.0), max(float(finite.max()), 1.0)
    levels = np.clip((finite - low) / (most - low) * (len(SHADES) - 1), 0, len(SHADES) - 1).round().astype(int)
    return ["".join(SHADES[level] for level in row) for row in levels]


def _bars(arrays: Arrays) -> Iterator[Text]:
    many = {name: x for name, x in arrays.items() if x.size}
    for name, array in list(many.items())[:MOST_INPUTS]:
        numbers = array.reshape(-1)[:MOST_BARS]
        more = f" and {array.size - MOST_BARS} more" if array.size > MOST_BARS else ""
        finite = numbers[np.isfinite(numbers)]
        span = f"  {finite.min():.4g} to {finite.max():.4g}{more}" if finite.size else more
        yield Text.assemble((_bar(numbers), COLOURS[tone(name)]), f"  {name}", (span, "dim"))


def _bar(numbers: Array) -> str:
    finite = numbers[np.isfinite(numbers)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    room = high - low or 1.0
    return "".join(BARS[round((float(x) - low) / room * (len(BARS) - 1))] if math.isfinite(x) else "?" for x in numbers)
