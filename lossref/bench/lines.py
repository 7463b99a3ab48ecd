"""A benchmark as people read it: one line for each comparison, numbers as text, a table on the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from lossref.bench.rows import COMPARED, TIMED, Row
from lossref.hosts.worker.timed import MODES
from lossref.report.terminal import console, table

TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
WIDE = 140  # columns, where there is no terminal to ask
PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}


class Line(NamedTuple):
    """One comparison: the rows of time, bytes and operators, each with that of the baseline (None: there is none)."""

    time: Row
    base: Row | None
    peak: Row | None
    base_peak: Row | None
    operators: Row | None
    base_operators: Row | None


def lines(rows: Sequence[Row]) -> list[Line]:
    """Every comparison, timed or not, with what belongs to it; those of one spec stand together."""
    mine = {(row.target, *_question(row, row.metric)): row for row in rows if row.verdict != "baseline"}
    base = {_question(row, row.metric): row for row in rows if row.verdict == "baseline"}
    found = []
    for row in rows:
        if row.is_comparison:
            questions = [_question(row, metric) for metric in ("peak_live_bytes", "operators")]
            counts = [side for one in questions for side in (mine.get((row.target, *one)), base.get(one))]
            found.append(Line(row, base.get(_question(row, "seconds")), *counts))
    return sorted(found, key=lambda line: line.time.spec)


def _question(row: Row, metric: str) -> tuple[str, ...]:
    return (row.spec, row.size, row.mode, row.note, metric)


def counted(found: Iterable[Line]) -> dict[str, int]:
    """Verdict -> number of comparisons, those that occur."""
    counts = Counter(line.time.verdict for line in found)
    return {word: counts[word] for word in dict.fromkeys([*COMPARED, *counts]) if counts[word]}


def reasons(found: Iterable[Line]) -> list[tuple[Row, int]]:
    """Why something was not timed or not compared: its first row, and how many there are."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in (line.time for line in found):
        if row.verdict not in COMPARED:
            groups.setdefault((row.spec, row.target, row.verdict, row.note), []).append(row)
    return [(group[0], len(group)) for group in groups.values()]


# Numbers as text ------------------------------------------------------------------------------------


def time_text(seconds: float) -> str:
    """Three digits and a unit."""
    return _scaled(seconds, TIMES)


def bytes_text(count: float) -> str:
    """Three digits and a unit; bytes below a thousand as they are."""
    return f"{count:.0f} B" if count < BYTES[-1][0] else _scaled(count, BYTES)


def count_text(count: float) -> str:
    """A whole number."""
    return "—" if math.isnan(count) else f"{count:,.0f}"


def ratio_text(ratio: float) -> str:
    """0.0042, 0.96, 1.04, 12.5, 130."""
    return "—" if math.isnan(ratio) else f"{ratio:.2g}" if ratio < 0.1 else _digits(ratio)


def _scaled(x: float, units: Sequence[tuple[float, str]]) -> str:
    if math.isnan(x):
        return "—"
    size, name = next((unit for unit in units if x >= unit[0]), units[-1])
    return f"{_digits(x / size)} {name}"


def _digits(x: float) -> str:
    return f"{x:.{0 if x >= 100 else 1 if x >= 10 else 2}f}"


# The terminal ---------------------------------------------------------------------------------------


def summary(rows: Sequence[Row], vs: str) -> None:
    """A row for each spec, target and size, then why the rest was not timed."""
    found, screen = lines(rows), console()
    shown: dict[tuple[str, str, str], dict[str, Line]] = {}
    for line in found:
        if line.time.verdict in TIMED:
            shown.setdefault((line.time.spec, line.time.target, line.time.size), {})[line.time.mode] = line
    if shown:
        heads = "spec target size forward backward full time peak operators"
        grid = table(heads, [(*name, *_cells(modes)) for name, modes in shown.items()])
        screen.width = max(screen.width, 0 if screen.is_terminal else WIDE)
        screen.print(grid)
        screen.print(f"Ratios: time of the target over that of {vs}; below 1 the target is faster.", **PLAIN)
        screen.print(f"Time, peak live bytes, operators: target : {vs}, in the last mode of the row.", **PLAIN)
    for row, count in reasons(found):
        screen.print(f"{row.verdict.upper()}  {row.target} {row.spec} ({count}x): {row.note}", **PLAIN)
    screen.print(", ".join(f"{count} {word}" for word, count in counted(found).items()) or "nothing to time", **PLAIN)


def _cells(modes: dict[str, Line]) -> tuple[str, ...]:
    """Three ratios with their verdicts, and what the last mode needs."""
    rows = [modes[mode].time if mode in modes else None for mode in MODES]
    ratios = [f"{ratio_text(row.ratio)} {row.verdict}" if row else "" for row in rows]
    last = list(modes.values())[-1]
    peak, operators = (last.peak, last.base_peak), (last.operators, last.base_operators)
    time = _both(last.time, last.base, time_text)
    return (*ratios, time, _both(*peak, bytes_text), _both(*operators, count_text))


def _both(mine: Row | None, base: Row | None, text: Callable[[float], str]) -> str:
    return " : ".join(text(row.median) for row in (mine, base) if row)
