"""What a run looks like on a terminal; colour only where there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lossref.core.nouns import Spec, Verdict
from lossref.hosts.worker.words import printable
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
        grid.add_row(*(Text(printable(cell)) for cell in row))
    return grid


def track(items: Sequence[Spec], doing: str) -> Iterator[Spec]:
    """The same items, with a progress bar on a terminal."""
    with progress(doing, len(items), console(stderr=True)) as advance:
        for one in items:
            yield one
            advance(1)


def summary(verdicts: list[Verdict], expected: int, folder: Path, status: int) -> None:
    """A line for each spec, then each finding with the checks that made it."""
    verdicts = sorted(verdicts, key=_named)
    screen, elsewhere = console(), any(one.device != "cpu" for one in verdicts)
    rows = []
    for name in dict.fromkeys(map(_named, verdicts)):
        mine = [one for one in verdicts if _named(one) == name]
        counts = Counter(one.status for one in mine)
        worst = max((one.worst for one in mine if one.status == "pass"), default=0.0)
        said = "  ".join(f"{n} {status}" for status, n in counts.most_common())
        rows.append((*(name if elsewhere else name[:2]), said, f"{worst:.2f}"))
    columns = f"target spec {'device' if elsewhere else ''} verdicts worst_error/budget_of_a_pass"
    screen.print(table(columns, rows))
    for group in _findings(verdicts):
        first = group[0]
        where = ", ".join(f"{one.check} {one.dtype}" for one in group)
        where = f"{where}, {first.device}" if elsewhere else where
        lines = [f"{first.status.upper()}  {first.target} {first.spec}: {where}", first.note, first.explanation]
        lines.append(f"lossref replay {folder / first.case}" if first.case else "")
        screen.print("\n      ".join(map(printable, filter(None, lines))), **_PLAIN)
    bad = sum(one.status in ("fail", "fixed") for one in verdicts)
    word = {0: "conforms", 1: "does not conform"}.get(status, "incomplete")
    screen.print(f"{word}: {bad} failures in {len(verdicts)} verdicts of {expected} planned", **_PLAIN)


def _named(one: Verdict) -> tuple[str, str, str]:
    """What has a row of its own."""
    return one.target, one.spec, one.device


def _findings(verdicts: list[Verdict]) -> list[list[Verdict]]:
    """Verdicts that are neither pass nor unsupported, those of one cause together."""
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for one in verdicts:
        if one.status not in ("pass", "unsupported"):
            groups.setdefault((*_named(one), one.status, one.cause), []).append(one)
    return list(groups.values())


_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
