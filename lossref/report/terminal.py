"""What a run looks like on a terminal; colour only where there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lossref.core.nouns import Spec, Verdict
from lossref.run.about import progress


def console(stderr: bool = False) -> Console:
    """A console without number highlighting."""
    return Console(stderr=stderr, highlight=False)


def table(columns: str, rows: Sequence[tuple[str, ...]]) -> Table:
    """A borderless table; the column names are separated by blanks, and _ stands for one."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns.split():
        grid.add_column(column.replace("_", " "))
    for row in rows:
        grid.add_row(*row)
    return grid


def track(items: Sequence[Spec], doing: str) -> Iterator[Spec]:
    """The same items, with a progress bar on a terminal."""
    with progress(doing, len(items), console(stderr=True)) as advance:
        for one in items:
            yield one
            advance(1)


def summary(verdicts: list[Verdict], expected: int, folder: Path, status: int) -> None:
    """A line for each spec, then each finding with the checks that made it."""
    verdicts = sorted(verdicts, key=lambda one: (one.target, one.spec))
    screen = console()
    rows = []
    for name in dict.fromkeys((one.target, one.spec) for one in verdicts):
        mine = [one for one in verdicts if (one.target, one.spec) == name]
        counts = Counter(one.status for one in mine)
        worst = max((one.worst for one in mine if one.status == "pass"), default=0.0)
        rows.append((*name, "  ".join(f"{n} {status}" for status, n in counts.most_common()), f"{worst:.2f}"))
    screen.print(table("target spec verdicts worst_error/budget_of_a_pass", rows))
    for group in _findings(verdicts):
        first = group[0]
        where = ", ".join(f"{one.check} {one.dtype}" for one in group)
        lines = [f"{first.status.upper()}  {first.target} {first.spec}: {where}", first.note, first.explanation]
        lines.append(f"lossref replay {folder / first.case}" if first.case else "")
        screen.print("\n      ".join(filter(None, lines)), **_PLAIN)
    bad = sum(one.status in ("fail", "fixed") for one in verdicts)
    word = {0: "conforms", 1: "does not conform"}.get(status, "incomplete")
    screen.print(f"{word}: {bad} failures in {len(verdicts)} verdicts of {expected} planned", **_PLAIN)


def _findings(verdicts: list[Verdict]) -> list[list[Verdict]]:
    """Verdicts that are neither pass nor unsupported, those of one cause together."""
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for one in verdicts:
        if one.status not in ("pass", "unsupported"):
            groups.setdefault((one.target, one.spec, one.status, one.cause), []).append(one)
    return list(groups.values())


_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
