"""A run as it is on disk: `verdicts.jsonl` and `run.json` are the truth, summary.csv is made of them."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lossref.core.nouns import STATUSES, Verdict, verdict_of
from lossref.hosts.worker.words import printable
from lossref.run.atomic import write_text
from lossref.run.saved import schema
from lossref.run.saved.finished import row_of

UNFAILED = ("pass", "unsupported")
FORMULA = re.compile(r"[=+\-@\t\r].", re.DOTALL)
COLUMNS = [field.name for field in fields(Verdict) if field.name != "failures"]


class ReportError(Exception):
    """There is nothing to report on; the message says what is missing and what to do next."""


def write_csv(directory: Path, verdicts: Sequence[Verdict]) -> None:
    """Write summary.csv: every verdict, less the single failures, which do not fit into a cell."""
    table = pd.DataFrame([asdict(verdict) for verdict in verdicts], columns=COLUMNS)
    texts = table.select_dtypes(exclude="number").columns
    table[texts] = table[texts].map(cell)
    write_text(directory / "summary.csv", str(table.to_csv(index=False)))


def cell(text: Any) -> str:
    """Text that a spreadsheet does not take for a formula, nor a terminal for a command."""
    return printable(f"'{text}" if FORMULA.match(str(text)) else str(text))


def read(directory: Path) -> tuple[list[Verdict], dict[str, Any]]:
    """The verdicts of a run and what is known about the run, or `ReportError`."""
    *lines, unfinished = _content(directory, "verdicts.jsonl").split(b"\n")
    verdicts = [_verdict(directory, number, line) for number, line in enumerate(lines, 1)]
    # A line without its newline was cut off by an interrupt; the run is incomplete, not broken.
    with contextlib.suppress(ReportError):
        verdicts.append(_verdict(directory, len(lines) + 1, unfinished))
    run = _run(directory)
    latest = list({row_of(one): one for one in verdicts}.values())  # of a row that was asked again
    if len(latest) > int(run["planned"]):
        raise ReportError(
            f"{directory / 'run.json'} says that {run['planned']} checks were planned, and verdicts.jsonl has "
            f"{len(latest)}; run the checks again"
        )
    return latest, run


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
        if contradiction := _contradiction(found):
            raise ValueError(contradiction)
        return replace(found, worst=float(found.worst))
    except (ValueError, TypeError, OverflowError) as error:
        place = f"line {number} of {directory / 'verdicts.jsonl'}"
        raise ReportError(f"{place} is not a verdict ({error}); delete that line, or run the checks again") from error


def _contradiction(found: Verdict) -> str:
    """What no run writes: a status that is none, a pass of nothing, or with a failure."""
    if found.status not in STATUSES:
        return f"status is {found.status!r}, which is not one of {', '.join(STATUSES)}"
    if found.status == "pass" and not found.examined:
        return "status is pass, and examined is 0"
    failed = found.failures or found.case or math.isinf(found.worst)
    return f"status is {found.status}, and a failure stands beside it" if found.status in UNFAILED and failed else ""


def _run(directory: Path) -> dict[str, Any]:
    try:
        return dict(schema.read(_content(directory, "run.json"), "run"))
    except schema.Fault as error:
        raise ReportError(f"{directory / 'run.json'} is broken ({error}); run the checks again") from None


def read_case(path: Path) -> dict[str, Any]:
    """A saved case, or nothing: a lost file must not cost the rest of a report."""
    try:
        return dict(schema.read(path.read_bytes(), "case", whole=False))
    except (OSError, ValueError):
        return {}
