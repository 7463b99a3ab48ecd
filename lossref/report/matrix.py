"""The matrix of a run, spec by check: one narrow cell for all dtypes of a check, and where it leads."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lossref.core.nouns import STATUSES, Finding, Verdict

NOT_FAILING = ("pass", "known", "unsupported", "inconclusive")
WORDS = {"unsupported": "n/a", "inconclusive": "?", "crashed": "crash", "timeout": "time", "dialect": "dial"}
WORST_FIRST = ("fail", "crashed", "timeout", "blocked", "fixed", "dialect", "known", "inconclusive", "pass")


class Cell(NamedTuple):
    """One check of one spec: its worst status, what stands in the cell, where it leads, what it says when asked."""

    status: str
    text: str
    link: str
    label: str


class Line(NamedTuple):
    """One spec of one target on one device: a cell for each column, None where the check is no part of the run."""

    spec: str
    target: str
    device: str
    cells: list[Cell | None]


def failing(verdict: Verdict) -> bool:
    """Whether the verdict stands against the target; a status nobody has heard of does."""
    return verdict.status not in NOT_FAILING


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Status -> number of verdicts, in the usual order, those that occur."""
    found = Counter(verdict.status for verdict in verdicts)
    return {status: found[status] for status in dict.fromkeys([*STATUSES, *found]) if found[status]}


def columns(verdicts: Sequence[Verdict], docs: Mapping[str, str]) -> list[str]:
    """The checks that were made, in the order of the docs."""
    made = {verdict.check for verdict in verdicts}
    return [name for name in dict.fromkeys([*docs, *(verdict.check for verdict in verdicts)]) if name in made]


def lines(verdicts: Sequence[Verdict], names: Sequence[str], found: Sequence[Finding]) -> list[Line]:
    """One line for each spec, target and device."""
    leads = {row: f"finding-{one.id}" for one in reversed(found) for row in one.rows}
    places: dict[tuple[str, str, str], dict[str, list[Verdict]]] = {}
    for one in verdicts:
        places.setdefault((one.spec, one.target, one.device), {}).setdefault(one.check, []).append(one)
    return [
        Line(*place, [_cell(rows[name], leads) if name in rows else None for name in names])
        for place, rows in places.items()
    ]


def _cell(rows: Sequence[Verdict], leads: Mapping[Verdict, str]) -> Cell:
    first = min(rows, key=_badness)
    link = next((leads[row] for row in sorted(rows, key=_badness) if row in leads), row_anchor(first))
    numbers = "; ".join(
        f"{row.dtype}{'' if row.device == 'cpu' else f' {row.device}'}: {row.status}, worst error "
        f"{ratio_text(row.worst)} of its budget, {row.examined} examined, {row.left_out} left out, {row.seconds:.2f} s"
        for row in rows
    )
    text = _text(first, max((row.worst for row in rows if row.status == first.status), default=0.0))
    return Cell(first.status, text, link, f"{first.spec}, {first.check}: {numbers}")


def row_anchor(row: Verdict) -> str:
    """The name of a row's place on the page: of its spec, there is one for each."""
    return f"rows-{row.spec}-{row.check}"


def _badness(row: Verdict) -> tuple[int, float]:
    place = WORST_FIRST.index(row.status) if row.status in WORST_FIRST else len(WORST_FIRST)
    return place if row.status != "unsupported" else len(WORST_FIRST), -row.worst


def _text(row: Verdict, worst: float) -> str:
    if row.status not in ("pass", "fail", "dialect"):
        return WORDS.get(row.status, row.status)
    if row.status != "pass" and not _of_numbers(row) and not 1 < worst < math.inf:
        return "✕"
    return "✓" if row.status == "pass" and not worst else ratio_text(worst)


def _of_numbers(row: Verdict) -> bool:
    """Whether what fails is a number that differs from the true one."""
    return ": got " in row.note or any(one.want is not None for one in row.failures)


def ratio_text(worst: float) -> str:
    """An error over its budget, in as few characters as still tell on which side of 1 it is."""
    if math.isinf(worst):
        return "∞"
    if 1 < worst < 1.05:
        return ">1"
    if 10 <= worst < 1000:
        return f"{worst:.0f}"
    if worst >= 1000 or 0 < worst < 0.01:
        return f"{worst:.0e}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")
    return f"{worst:.2g}"
