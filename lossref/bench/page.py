"""The page of a benchmark: one HTML file that needs nothing but itself.

`bench.csv` and `run.json` are the truth; the page can be made again from them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

from lossref.bench.lines import Line, bytes_text, count_text, counted, lines, ratio_text, reasons, time_text
from lossref.bench.rows import COMPARED, read
from lossref.bench.workloads import SIZES
from lossref.hosts.worker.timed import MODES
from lossref.report.frame import filled
from lossref.run.atomic import write_text

ENDS = (2.0, 1000.0)  # the axis of ratios reaches to one of these, at least and at most, and to its inverse
STEPS = (1.2, 1.5, 2, 3, 5, 10, 30, 100, 1000)
Place = tuple[str, str]


def write(folder: Path) -> Path:
    """Write index.html beside bench.csv and run.json; returns its path."""
    rows, run = read(folder / "bench.csv"), json.loads((folder / "run.json").read_text(encoding="utf-8"))
    found = lines(rows)
    end, counts = _end(found), counted(found)
    texts = {"time": time_text, "bytes": bytes_text, "ratio": ratio_text, "count": count_text}
    page = filled(
        "bench.html",
        {**texts, "place": lambda ratio: _place(ratio, end), "isnan": math.isnan},
        run=run,
        made=run["made"],
        commit=next((row.commit for row in rows), ""),
        counts=counts,
        columns=_columns(found),
        groups=_groups(found),
        reasons=reasons(found),
        ticks=_ticks(end),
        compared=sum(count for word, count in counts.items() if word in COMPARED),
        isnan=math.isnan,
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"


def _columns(found: Iterable[Line]) -> dict[str, list[str]]:
    """Size -> modes that occur."""
    seen = {(line.time.size, line.time.mode) for line in found}
    columns = {size: [mode for mode in MODES if (size, mode) in seen] for size in SIZES}
    return {size: modes for size, modes in columns.items() if modes}


def _groups(found: Iterable[Line]) -> dict[tuple[str, str], dict[Place, Line]]:
    """(Spec, target) -> (size, mode) -> comparison; what is unsupported is only listed with the reasons."""
    groups: dict[tuple[str, str], dict[Place, Line]] = {}
    for line in (one for one in found if one.time.verdict != "unsupported" and one.time.size in SIZES):
        groups.setdefault((line.time.spec, line.time.target), {})[line.time.size, line.time.mode] = line
    return groups


def _end(found: Iterable[Line]) -> float:
    """The ratio at the right end of the axis."""
    ratios = [x for line in found for x in (line.time.ratio, line.time.ci_low, line.time.ci_high) if x > 0]
    return min(max([ENDS[0], *(1.1 * max(x, 1 / x) for x in ratios)]), ENDS[1])


def _ticks(end: float) -> list[float]:
    """1, and round ratios on both sides of it, one about half way to the end."""
    wide = max(step for step in STEPS if step <= end)
    half = max(step for step in STEPS if step <= max(math.sqrt(end), STEPS[0]))
    return sorted({1 / wide, 1 / half, 1.0, half, wide})


def _place(ratio: float, end: float) -> str:
    """Per cent from the left end of a logarithmic axis."""
    return f"{50 + 50 * min(max(math.log(ratio) / math.log(end), -1), 1):.2f}"
