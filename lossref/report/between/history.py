"""The page of a history: for every spec its worst error, its failing verdicts and its ratio, from run to run."""

from __future__ import annotations

import html
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from lossref.report.between.kept import HistoryError, Point, Run, moved, opened, points, runs
from lossref.report.frame import filled
from lossref.run.about import facts
from lossref.run.atomic import write_text

WIDE, HIGH, EDGE = 420.0, 54.0, 6.0
ERRORS, RATIOS = (-4.0, 4.0), (-3.0, 3.0)  # decades of error over budget, doublings of time over that of the baseline
OVER = ("date", "release")


class Line(NamedTuple):
    """One spec: charts of its errors and its ratios, and how many verdicts failed in the last run that asked."""

    spec: str
    errors: str
    ratios: str
    failing: int | None
    before: int | None


def write(file: Path, folder: Path, over: str = "date") -> Path:
    """Write history.html into a folder; runs in the order of their dates, or of the releases that they asked.

    Raises `HistoryError` where the file is none, or has no run.
    """
    if not file.is_file():
        raise HistoryError(f"there is no {file}; lossref history add DIR --file {file} makes it")
    with opened(file) as base:
        found, told = runs(base), points(base)
        found = found if over == "date" else sorted(found, key=_release)
        checked = [one for one in found if one.kind == "checks"]
        changed = [(a, b, moved(base, a.run, b.run)) for a, b in itertools.pairwise(checked)]
    if not found:
        raise HistoryError(f"{file} has no run yet; lossref history add DIR --file {file} adds one")
    page = filled(
        "history.html",
        {"svg": Markup},
        run=facts(len(found), 0, 1) | {"seed": None},
        incomplete=False,
        commit="",
        counts={},
        runs=found,
        over=over,
        timed=any(one.kind == "timings" for one in found),
        lines=list(_lines(found, told)),
        changed=[(a, b, rows) for a, b, rows in changed if rows],
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "history.html", page)
    return folder / "history.html"


def _release(run: Run) -> tuple[str, list[int], str]:
    return run.target, [int(number) for number in re.findall(r"\d+", run.version)], run.started


def _lines(found: Sequence[Run], told: Sequence[Point]) -> Iterator[Line]:
    place = {run.run: number for number, run in enumerate(found)}
    for spec in sorted({one.spec for one in told}):
        mine = sorted((one for one in told if one.spec == spec), key=lambda one: place[one.run])
        checked = [one for one in mine if one.worst is not None]
        failing = [one.failing for one in checked]
        errors = _chart(
            found, place, checked, lambda one: _log(one.worst, 10.0), ERRORS, f"{spec}: worst error over its budget"
        )
        timed = [one for one in mine if one.ratio is not None]
        ratios = _chart(
            found, place, timed, lambda one: _log(one.ratio, 2.0), RATIOS, f"{spec}: time over the baseline's"
        )
        last, before = (failing[-1] if failing else None), (failing[-2] if len(failing) > 1 else None)
        yield Line(spec, errors, ratios, last, before)


def _log(x: float | None, base: float) -> float:
    return math.log(max(x or 0.0, 1e-300), base)


def _chart(
    found: Sequence[Run],
    place: dict[int, int],
    mine: Sequence[Point],
    high: Callable[[Point], float],
    ends: tuple[float, float],
    label: str,
) -> str:
    """A point for each run, joined, and a line at 1, which is the budget, or the baseline."""
    if not mine:
        return ""
    step = (WIDE - 2 * EDGE) / max(len(found) - 1, 1)

    def at(one: Point) -> tuple[float, float]:
        return EDGE + place[one.run] * step, _y(min(max(high(one), ends[0]), ends[1]), ends)

    dots = "".join(
        f'<circle class="{"bad" if one.failing else "good"}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>'
        for one, (x, y) in ((one, at(one)) for one in mine)
    )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, mine))
    one = f'<line class="one" x1="0" x2="{WIDE:.0f}" y1="{_y(0, ends):.1f}" y2="{_y(0, ends):.1f}"/>'
    size = f'viewBox="0 0 {WIDE:.0f} {HIGH:.0f}" role="img" aria-label="{html.escape(label)}"'
    return f'<svg class="chart" {size}>{one}<polyline points="{path}"/>{dots}</svg>'


def _y(high: float, ends: tuple[float, float]) -> float:
    return EDGE + (HIGH - 2 * EDGE) * (ends[1] - high) / (ends[1] - ends[0])
