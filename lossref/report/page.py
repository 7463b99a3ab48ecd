"""The report of a run: summary.csv, and one HTML page that needs nothing but itself.

`verdicts.jsonl` and `run.json` are the truth; both files written here can be made again from them.
"""

from __future__ import annotations

import contextlib
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lossref.core.nouns import STATUSES, Verdict, verdict_of
from lossref.hosts.worker.words import printable
from lossref.report.frame import filled
from lossref.run.atomic import write_text
from lossref.run.saved import schema

NOT_FAILING = ("pass", "known", "unsupported", "inconclusive")
WORDS = {"unsupported": "n/a", "inconclusive": "?", "crashed": "crash", "timeout": "time"}
NUMBER = re.compile(r"-?\d[\d.]*(e[+-]?\d+)?|-?\b(inf|nan)\b")
FORMULA = re.compile(r"[=+\-@\t\r].", re.DOTALL)
SHOWN = 96  # numbers of one array on the page
Row = tuple[str, str, str, list[Verdict | None]]  # spec, target, device, and what stands in each column


class ReportError(Exception):
    """There is nothing to report on; the message says what is missing and what to do next."""


class Card(NamedTuple):
    """One failure, in every dtype in which it is the same one; the case is the first dtype's."""

    anchor: str
    verdicts: list[Verdict]
    case: Mapping[str, Any]
    errors: list[tuple[str, Mapping[str, Any]]]
    replays: list[str]


def write(directory: Path, docs: Mapping[str, str] | None = None) -> Path:
    """Write summary.csv and index.html beside the verdicts; returns the path of the page.

    `docs` says in one line what each check asserts, in the order of the columns; None: as `CHECKS` do.
    """
    verdicts, run = read(directory)
    if docs is None:
        from lossref.checks.table import CHECKS  # brings torch along, which a page from given docs does not need

        docs = {check.name: check.doc for check in CHECKS}
    columns = [field.name for field in fields(Verdict)]
    table = pd.DataFrame([asdict(verdict) for verdict in verdicts], columns=columns)
    texts = table.select_dtypes(exclude="number").columns
    table[texts] = table[texts].map(_cell_of_csv)
    write_text(directory / "summary.csv", str(table.to_csv(index=False)))
    write_text(directory / "index.html", _html(directory, verdicts, run, docs))
    return directory / "index.html"


def _cell_of_csv(text: Any) -> str:
    """Text that a spreadsheet does not take for a formula, nor a terminal for a command."""
    return printable(f"'{text}" if FORMULA.match(str(text)) else str(text))


def read(directory: Path) -> tuple[list[Verdict], dict[str, Any]]:
    """The verdicts of a run and what is known about the run, or `ReportError`."""
    *lines, unfinished = _content(directory, "verdicts.jsonl").split(b"\n")
    verdicts = [_verdict(directory, number, line) for number, line in enumerate(lines, 1)]
    # A line without its newline was cut off by an interrupt; the run is incomplete, not broken.
    with contextlib.suppress(ReportError):
        verdicts.append(_verdict(directory, len(lines) + 1, unfinished))
    return verdicts, _run(directory)


def _content(directory: Path, name: str) -> bytes:
    advice = f"run `lossref validate TARGET --out {directory}` first"
    if not directory.is_dir():
        raise ReportError(f"there is no directory {directory}; {advice}")
    if not (directory / name).is_file():
        raise ReportError(f"there is no {name} in {directory}; {advice}")
    return (directory / name).read_bytes()


def _verdict(directory: Path, number: int, line: bytes) -> Verdict:
    try:
        found = verdict_of(schema.read(line, "verdict", infinite=True))
        return replace(found, worst=float(found.worst))
    except (ValueError, TypeError, OverflowError) as error:
        place = f"line {number} of {directory / 'verdicts.jsonl'}"
        raise ReportError(f"{place} is not a verdict ({error}); delete that line, or run the checks again") from error


def _run(directory: Path) -> dict[str, Any]:
    try:
        return dict(schema.read(_content(directory, "run.json"), "run"))
    except schema.Fault as error:
        raise ReportError(f"{directory / 'run.json'} is broken ({error}); run the checks again") from None


def _html(directory: Path, verdicts: list[Verdict], run: dict[str, Any], docs: Mapping[str, str]) -> str:
    verdicts = _ordered(verdicts, list(run["families"]), list(docs))
    cards = [_card(directory, i, group) for i, group in enumerate(_folded(filter(_failing, verdicts)), 1)]
    columns = _columns(verdicts, docs)
    return filled(
        "report.html",
        {"array": _array_text, "number": _number_text, "ratio": _ratio_text},
        run=run,
        docs=docs,
        made=len(verdicts),
        counts=_counts(verdicts),
        headline=_headline(verdicts, run),
        columns=columns,
        rows=_rows(verdicts, columns),
        cell_text=_cell_text,
        cards=cards,
        card_of={verdict: card for card in cards for verdict in card.verdicts},
        exceptions=_folded(verdict for verdict in verdicts if verdict.status in NOT_FAILING[1:]),
        drawn=_drawn(run["families"]),
        devices=sorted({verdict.device for verdict in verdicts} or {"cpu"}),
    )


def _ordered(verdicts: list[Verdict], specs: list[str], checks: list[str]) -> list[Verdict]:
    """By spec and check, in the given orders (others last); dtypes widest first."""

    def rank(name: str, order: list[str]) -> int:
        return order.index(name) if name in order else len(order)

    widest_first = sorted(verdicts, key=lambda v: v.dtype, reverse=True)
    return sorted(widest_first, key=lambda v: (rank(v.spec, specs), v.spec, v.target, v.device, rank(v.check, checks)))


def _drawn(families: Mapping[str, Mapping[str, int]]) -> dict[str, list[tuple[str, str, int]]]:
    """Per spec: input, family of its values, how many rows."""
    return {
        spec: [(*key.partition("=")[::2], n) for key, n in counts.items()]
        for spec, counts in families.items()
        if counts
    }


def _failing(verdict: Verdict) -> bool:
    """Whether the verdict stands against the target; a status nobody has heard of does."""
    return verdict.status not in NOT_FAILING


def _headline(verdicts: list[Verdict], run: dict[str, Any]) -> tuple[str, str]:
    """The status that colours the headline, and what it says of the target."""
    counts, total, failed = _counts(verdicts), len(verdicts), sum(map(_failing, verdicts))
    if failed:
        return "fail", f"does not conform: {failed} of {total} checks fail"
    if total < run["planned"] or not total:
        return "known", f"run incomplete: {total} of {run['planned']} checks made, none failed"
    if "inconclusive" in counts:
        return "known", f"is not shown to conform: {counts['inconclusive']} of {total} checks examined nothing"
    if "pass" not in counts:
        return "known", "is not shown to conform: no check passed"
    known = counts.get("known")
    return "pass", f"conforms, apart from {known} known failure{'s'[: known - 1]}" if known else "conforms"


def _counts(verdicts: list[Verdict]) -> dict[str, int]:
    """Status -> number of verdicts, in the usual order, those that occur."""
    found = Counter(verdict.status for verdict in verdicts)
    return {status: found[status] for status in dict.fromkeys([*STATUSES, *found]) if found[status]}


def _columns(verdicts: list[Verdict], docs: Mapping[str, str]) -> dict[str, list[str]]:
    """Check -> dtypes it ran in."""
    names = dict.fromkeys([*docs, *(verdict.check for verdict in verdicts)])
    found = {name: {verdict.dtype for verdict in verdicts if verdict.check == name} for name in names}
    return {name: sorted(dtypes, reverse=True) for name, dtypes in found.items() if dtypes}


def _rows(verdicts: list[Verdict], columns: Mapping[str, list[str]]) -> list[Row]:
    """One row for each spec, target and device."""
    # Of two verdicts on the same question, the one that stands against the target is shown.
    found = {(v.spec, v.target, v.device, v.check, v.dtype): v for v in sorted(verdicts, key=_failing)}
    places = [(check, dtype) for check, dtypes in columns.items() for dtype in dtypes]
    names = dict.fromkeys((verdict.spec, verdict.target, verdict.device) for verdict in verdicts)
    return [(*name, [found.get((*name, *place)) for place in places]) for name in names]


def _cell_text(verdict: Verdict, card: Card | None) -> str:
    if verdict.status not in ("pass", "fail"):
        return WORDS.get(verdict.status, verdict.status)
    if verdict.status == "fail" and not (card and card.errors) and not 1 < verdict.worst < math.inf:
        return "✕"
    return "✓" if verdict.status == "pass" and not verdict.worst else _ratio_text(verdict.worst)


def _ratio_text(worst: float) -> str:
    """An error over its budget, in as few characters as still tell on which side of 1 it is."""
    if math.isinf(worst):
        return "∞"
    if 1 < worst < 1.05:
        return ">1"
    if 10 <= worst < 10_000:
        return f"{worst:.0f}"
    return f"{worst:.0e}" if 0 < worst < 0.001 else f"{worst:.2g}"


def _folded(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """Verdicts that say the same up to their numbers, together; failures of different checks stay apart."""
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for v in verdicts:
        same = (v.check if _failing(v) else "", NUMBER.sub("#", v.note), v.explanation)
        groups.setdefault((v.spec, v.target, v.device, v.status, *same), []).append(v)
    return list(groups.values())


def _card(directory: Path, number: int, group: list[Verdict]) -> Card:
    cases = [_case(directory / verdict.case) for verdict in group]
    errors = [(v.dtype, case["detail"]) for v, case in zip(group, cases, strict=True) if case.get("detail")]
    replays = [f"lossref replay {shlex.quote((directory / v.case).as_posix())}" for v in group if v.case]
    return Card(f"failure-{number}", group, cases[0], errors, replays)


def _case(path: Path) -> Mapping[str, Any]:
    """The shrunk case, or nothing: a lost file must not cost the rest of the page."""
    try:
        return dict(schema.read(path.read_bytes(), "case", whole=False))
    except (OSError, ValueError):
        return {}


def _array_text(values: Any) -> str:
    """An array, one line per row of its last axis, cut short where it is long."""
    array = np.asarray(values, dtype=object)
    numbers = [_number_text(x) for x in array.ravel()]
    step, wide = max((1, *array.shape[-1:])), max(map(len, numbers[:SHOWN]), default=0)
    padded = [x.rjust(wide) for x in numbers[:SHOWN]]
    lines = ["  ".join(padded[i : i + step]) for i in range(0, len(padded), step)]
    hidden = [f"… {len(numbers) - SHOWN} more numbers, see the file"] if len(numbers) > SHOWN else []
    return "\n".join(lines + hidden) or "(empty)"


def _number_text(x: Any) -> str:
    """A number as it can be typed back, without a trailing .0."""
    return repr(x).removesuffix(".0") if isinstance(x, float) else str(x)
