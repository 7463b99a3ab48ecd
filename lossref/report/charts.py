"""Small static charts of a run, as SVG: how near the budget the errors lie, and where the time goes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from lossref.core.nouns import Verdict

DECADES = range(-4, 5)  # of error over budget, the outermost for all that lies beyond
WIDE, HIGH, TOP = 520, 96, 14


def spread(verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """Dtype -> histogram of error over budget in decades; the budget stands between two bars."""
    dtypes = sorted({row.dtype for row in verdicts if row.examined}, reverse=True)
    return [(dtype, _histogram([row for row in verdicts if row.dtype == dtype and row.examined])) for dtype in dtypes]


def _histogram(rows: Sequence[Verdict]) -> str:
    found = Counter(_decade(row.worst) for row in rows)
    most, step = max(found.values(), default=1), WIDE / len(DECADES)
    bars = "".join(
        _bar((decade - DECADES[0]) * step, step, found[decade], most, "over" if decade >= 0 else "within")
        for decade in DECADES
    )
    at = -DECADES[0] * step
    ticks = ((n * step, _power(decade)) for n, decade in enumerate(DECADES[1:], 1))
    y = f'y="{TOP + HIGH + 14}" text-anchor="middle"'
    words = "".join(f'<text x="{x:.1f}" {y}>{text}</text>' for x, text in ticks)
    line = f'<line class="budget" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{TOP + HIGH + 3}"/>'
    label = f"{len(rows)} rows by their worst error over its budget; right of 1 it is beyond"
    size = f'viewBox="0 0 {WIDE} {TOP + HIGH + 18}"'
    return f'<svg class="chart" {size} role="img" aria-label="{label}">{bars}{line}{words}</svg>'


def _bar(x: float, step: float, count: int, most: int, tone: str) -> str:
    if not count:
        return ""
    high = max(HIGH * count / most, 1.5)
    y = TOP + HIGH - high
    bar = f'<rect class="{tone}" x="{x + 2:.1f}" y="{y:.1f}" width="{step - 4:.1f}" height="{high:.1f}" rx="2"/>'
    return f'{bar}<text x="{x + step / 2:.1f}" y="{y - 3:.1f}" text-anchor="middle">{count}</text>'


def _decade(worst: float) -> int:
    if worst <= 0:
        return DECADES[0]
    if math.isinf(worst):
        return DECADES[-1]
    below = math.ceil(math.log10(worst)) - 1  # exactly 1 lies within the budget
    return min(max(below, DECADES[0]), DECADES[-1])


def _power(decade: int) -> str:
    return {0: "1", 1: "10"}.get(decade, f"1e{decade}")


def times(verdicts: Sequence[Verdict]) -> list[tuple[str, float, float]]:
    """Check -> seconds, and their share of the largest; the slowest first."""
    found = dict[str, float]()
    for row in verdicts:
        found[row.check] = found.get(row.check, 0.0) + row.seconds
    most = max(found.values(), default=0.0) or 1.0
    return [(name, seconds, seconds / most) for name, seconds in _slowest(found)]


def _slowest(found: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(found.items(), key=lambda pair: -pair[1])
