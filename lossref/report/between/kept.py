"""Runs in one SQLite file: of each verdict its status, its error and a digest, and of each timing its ratio."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from lossref.core.nouns import Verdict
from lossref.run.findings import AGAINST
from lossref.run.saved.finished import row_of

TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    run INTEGER PRIMARY KEY, digest TEXT UNIQUE NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL,
    version TEXT NOT NULL, started TEXT NOT NULL, lossref TEXT NOT NULL, torch TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS verdicts (
    run INTEGER NOT NULL REFERENCES runs, spec TEXT NOT NULL, target TEXT NOT NULL, "check" TEXT NOT NULL,
    dtype TEXT NOT NULL, device TEXT NOT NULL, status TEXT NOT NULL, worst REAL, digest TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS ratios (
    run INTEGER NOT NULL REFERENCES runs, spec TEXT NOT NULL, target TEXT NOT NULL, size TEXT NOT NULL,
    mode TEXT NOT NULL, ratio REAL, low REAL, high REAL, verdict TEXT NOT NULL
);
"""
ODD = (
    "SELECT 1 FROM runs WHERE typeof(digest) || typeof(kind) || typeof(target) || typeof(version) || typeof(started) "
    "|| typeof(lossref) || typeof(torch) != 'texttexttexttexttexttexttext' OR kind NOT IN ('checks', 'timings')",
    "SELECT 1 FROM verdicts WHERE typeof(run) != 'integer' OR run NOT IN (SELECT run FROM runs) "
    'OR typeof(spec) || typeof(target) || typeof("check") || typeof(dtype) || typeof(device) || typeof(status) '
    "|| typeof(digest) != 'texttexttexttexttexttexttext' OR typeof(worst) NOT IN ('real', 'integer', 'null')",
    "SELECT 1 FROM ratios WHERE typeof(run) != 'integer' OR run NOT IN (SELECT run FROM runs) "
    "OR typeof(spec) || typeof(target) || typeof(size) || typeof(mode) || typeof(verdict) != 'texttexttexttexttext' "
    "OR typeof(ratio) NOT IN ('real', 'integer', 'null') OR typeof(low) NOT IN ('real', 'integer', 'null') "
    "OR typeof(high) NOT IN ('real', 'integer', 'null')",
)
"""Each finds a row that no run was kept as: SQLite stores anything in any column."""
FORM = 1
TIMES = ("seconds", "where", "case")  # of a verdict, what says nothing of what came out


class HistoryError(Exception):
    """A file that is no history; the message is one sentence."""


class Run(NamedTuple):
    """One run: `kind` is checks or timings, `statuses` how many verdicts of each."""

    run: int
    kind: str
    target: str
    version: str
    started: str
    lossref: str
    torch: str
    statuses: Mapping[str, int]


class Point(NamedTuple):
    """What one run says of one spec: the worst error over its budget, how many verdicts fail, the median ratio."""

    run: int
    spec: str
    worst: float | None
    failing: int
    ratio: float | None


class Timing(NamedTuple):
    """One comparison of a benchmark."""

    spec: str
    target: str
    size: str
    mode: str
    ratio: float | None
    low: float | None
    high: float | None
    verdict: str


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, made where there is none; what the body adds is there as a whole or not at all.

    Raises `HistoryError` for another file.
    """
    try:
        base = sqlite3.connect(path)
        try:
            found = int(base.execute("PRAGMA user_version").fetchone()[0])
            if found not in (0, FORM) or (not found and base.execute("SELECT 1 FROM sqlite_master").fetchone()):
                raise HistoryError(f"{path} is another database, or of another lossref; name another --file")
            lost = found and {"runs", "verdicts", "ratios"} - {
                row[0] for row in base.execute("SELECT name FROM sqlite_master")
            }
            base.executescript(f"{TABLES} PRAGMA user_version = {FORM};")
            if lost or any(base.execute(one).fetchone() for one in ODD):
                raise HistoryError(
                    f"{path} is damaged: what it holds is not what lossref history wrote; name another --file"
                )
            with base:
                yield base
        finally:
            base.close()
    except sqlite3.Error as error:
        raise HistoryError(f"{path} is no history ({error}); name another --file") from None


def digest_of(row: Verdict) -> str:
    """Of all that a verdict says, but for how long it took and where things lie."""
    said = {name: value for name, value in asdict(row).items() if name not in TIMES}
    said["failures"] = [{**one, "case": ""} for one in said["failures"]]
    return hashlib.sha256(repr(said).encode("utf-8", "backslashreplace")).hexdigest()


def add_checks(base: sqlite3.Connection, run: Mapping[str, Any], verdicts: Sequence[Verdict]) -> bool:
    """Add a run of checks; False where it is there already."""
    rows = [(*row_of(one), one.status, min(one.worst, 1e308), digest_of(one)) for one in verdicts]
    number = _added(base, "checks", run, rows)
    if number:
        base.executemany("INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [(number, *row) for row in rows])
    return bool(number)


def add_timings(base: sqlite3.Connection, run: Mapping[str, Any], rows: Sequence[Timing]) -> bool:
    """Add a benchmark; False where it is there already."""
    number = _added(base, "timings", run, rows)
    if number:
        base.executemany("INSERT INTO ratios VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [(number, *row) for row in rows])
    return bool(number)


def _added(base: sqlite3.Connection, kind: str, run: Mapping[str, Any], rows: Sequence[Any]) -> int:
    facts = [str(run.get(name, "")) for name in ("target", "version", "started", "lossref", "torch")]
    digest = hashlib.sha256(repr((kind, facts, list(rows))).encode("utf-8", "backslashreplace")).hexdigest()
    found = base.execute(
        "INSERT OR IGNORE INTO runs (digest, kind, target, version, started, lossref, torch) VALUES (?,?,?,?,?,?,?)",
        (digest, kind, *facts),
    )
    return int(found.lastrowid or 0) if found.rowcount else 0


def runs(base: sqlite3.Connection) -> list[Run]:
    """All runs, the first one first."""
    counts = dict[int, dict[str, int]]()
    for run, status, number in base.execute("SELECT run, status, count(*) FROM verdicts GROUP BY run, status"):
        counts.setdefault(run, {})[status] = number
    rows = base.execute("SELECT run, kind, target, version, started, lossref, torch FROM runs ORDER BY started, run")
    return [Run._make((*row, counts.get(row[0], {}))) for row in rows]


def points(base: sqlite3.Connection) -> list[Point]:
    """What every run says of every spec."""
    checked = base.execute(
        f"SELECT run, spec, max(worst), sum(status IN ({', '.join('?' * len(AGAINST))})) "
        "FROM verdicts GROUP BY run, spec",
        AGAINST,
    )
    found = [Point(run, spec, worst, failing, None) for run, spec, worst, failing in checked]
    timed = dict[tuple[int, str], list[float]]()
    for run, spec, ratio in base.execute("SELECT run, spec, ratio FROM ratios WHERE ratio IS NOT NULL"):
        timed.setdefault((run, spec), []).append(ratio)
    return found + [Point(run, spec, None, 0, sorted(x)[len(x) // 2]) for (run, spec), x in timed.items()]


def moved(base: sqlite3.Connection, before: int, after: int) -> list[tuple[str, str, str, str, str]]:
    """The verdicts whose digest is another one: spec, check, dtype, and the status before and after."""
    return list(
        base.execute(
            'SELECT a.spec, a."check", a.dtype, a.status, b.status FROM verdicts a JOIN verdicts b '
            'USING (spec, target, "check", dtype, device) '
            "WHERE a.run = ? AND b.run = ? AND a.digest != b.digest ORDER BY a.rowid",
            (before, after),
        )
    )
