"""What a run looks like on a terminal; colour only where there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lossref.core.nouns import STATUSES, Finding, Verdict
from lossref.hosts.worker.words import printable, short
from lossref.run.about import progress
from lossref.run.findings import findings, headline, words
from lossref.run.session import exit_status

T = TypeVar("T")
MOST, MOST_IDLE, MOST_NAMED = 12, 3, 20  # findings, reasons why nothing was examined, and targets on one screen
LONGEST = 240  # letters of a sentence


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


def track(items: Sequence[T], doing: str) -> Iterator[T]:
    """The same items, with a progress bar on a terminal."""
    with progress(doing, len(items), console(stderr=True)) as advance:
        for one in items:
            yield one
            advance(1)


def summary(verdicts: Sequence[Verdict], run: Mapping[str, Any], folder: Path, status: int) -> None:
    """One screen: the sentence, the findings, what could not be examined, and how it ended."""
    found = findings(verdicts)
    word = _word(status)
    _say(headline(str(run.get("target", "")), str(run.get("version", "")), found, word))
    counts = Counter(one.status for one in verdicts)
    _say(f"{words.count(len({one.spec for one in verdicts}), 'spec')}, {_counted(counts)}{_devices(verdicts)}")
    several = len({one.target for one in verdicts}) > 1
    for line in _each_target(verdicts) if several else ():
        _say(line)
    for number, one in enumerate(found[:MOST], 1):
        _say(*_finding(number, one, folder, several))
    if len(found) > MOST:
        _say(f"and {words.count(len(found) - MOST, 'finding')} more, on the page and in verdicts.jsonl")
    idle: dict[tuple[str, str], list[Verdict]] = {}
    for row in filter(_is_told, verdicts):
        idle.setdefault((row.status, row.cause), []).append(row)
    for rows in list(idle.values())[:MOST_IDLE]:
        _say(f"{rows[0].status.upper()}  {_rows(rows)}: {rows[0].note}")
    if len(idle) > MOST_IDLE:
        _say(f"and {len(idle) - MOST_IDLE} more reasons why it was not examined, known, or no usual pass: on the page")
    _say(ending(verdicts, run, status))


def _is_told(row: Verdict) -> bool:
    """Whether a person has to know of it although nothing failed: a pass with slack, or that says little, too."""
    return row.status in ("inconclusive", "known") or (row.status == "pass" and bool(row.note))


def _each_target(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Which targets conform, and which do not: a line for each of the ways."""
    rows = dict[str, list[Verdict]]()
    for one in verdicts:
        rows.setdefault(one.target, []).append(one)
    ways = dict[str, list[str]]()
    for name, them in rows.items():
        ways.setdefault(_word(exit_status(them, len(them))), []).append(short(name))
    yield from (f"{way}: {words.listed(names, MOST_NAMED)}" for way, names in sorted(ways.items()))


def ending(verdicts: Sequence[Verdict], run: Mapping[str, Any], status: int) -> str:
    """How a run ended, in one line."""
    bad = sum(one.status in ("fail", "fixed", "dialect") for one in verdicts)
    return f"{_word(status)}: {bad} failures in {len(verdicts)} verdicts of {run['planned']} planned"


def _word(status: int) -> str:
    return {0: "conforms", 1: "does not conform"}.get(status, "incomplete")


def _finding(number: int, one: Finding, folder: Path, several: bool) -> Iterator[str]:
    """What it is, and of whom where there are several; how much it matters and where; how to see it again."""
    whose = f"{', '.join(dict.fromkeys(row.target for row in one.rows))}: " if several else ""
    yield f"{number:2}  {one.kind.upper()}  {short(whose + one.sentence, LONGEST)}"
    yield " · ".join(filter(None, (one.size, words.accounts(one) + _devices(one.rows), one.where, one.id)))
    if one.smallest and one.smallest.case:
        yield f"lossref replay {folder / one.smallest.case}"


def _devices(rows: Sequence[Verdict]) -> str:
    """On which devices, unless it is the CPU alone."""
    found = sorted({row.device for row in rows} or {"cpu"})
    return "" if found == ["cpu"] else f" (device {', '.join(found)})"


def _rows(rows: Sequence[Verdict]) -> str:
    """Which rows, by spec and check, the first few."""
    return words.listed(list(dict.fromkeys(f"{row.spec} {row.check} {row.dtype}" for row in rows)))


def _counted(counts: Mapping[str, int]) -> str:
    return "  ".join(f"{counts[status]} {status}" for status in dict.fromkeys([*STATUSES, *counts]) if counts[status])


def _say(*lines: str) -> None:
    console().print("\n      ".join(map(printable, lines)), **_PLAIN)


_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
