"""The CSV of a benchmark: one row for each spec, target, size, mode and metric."""

from __future__ import annotations

import csv
import math
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

import lossref
from lossref.bench.timing import Interval, Spread
from lossref.core.nouns import Spec, Target
from lossref.hosts.endings import TargetEnded
from lossref.hosts.process import HERE, Lodging
from lossref.hosts.worker.timed import Footprint
from lossref.run.atomic import write_text
from lossref.targets.lodged import version
from lossref.targets.resolve import Unavailable

NUMBERS = ("median", "q20", "q80", "ratio", "ci_low", "ci_high")
COUNTS = ("peak_live_bytes", "operators")
COMPARED = ("faster", "same", "slower", "unsure")
TIMED = (*COMPARED, "baseline", "alone")
NO_SPEC = "-"
ROUNDED = 1e-6  # relative: nine digits are written


class Settings(NamedTuple):
    """What was asked for; `seconds` is for everything together."""

    words: tuple[str, ...]
    spec: str = "*"
    device: str = "cpu"
    sizes: tuple[str, ...] = ("small", "train")
    vs: str = "reference"
    seed: int = 0
    seconds: float = 450.0
    dtype: str = "float32"
    lodging: Lodging = HERE


class Side(NamedTuple):
    """One implementation of one spec, and the TARGET word that it came from."""

    word: str
    target: Target


class Pair(NamedTuple):
    """One question: how does this side do in this mode at this size, against the base?

    `lacking` says why there is no comparison, if there is none; `torch` is the version of the host.
    """

    spec: Spec
    size: str
    mode: str
    side: Side
    base: Side | None
    lacking: str = ""
    torch: str = str(torch.__version__)


class Row(NamedTuple):
    """One line of the CSV. NaN: not measured; `note` says why, or with which parameters."""

    spec: str
    target: str
    version: str
    device: str
    dtype: str
    size: str
    mode: str
    metric: str
    median: float
    q20: float
    q80: float
    ratio: float
    ci_low: float
    ci_high: float
    verdict: str
    torch: str
    threads: int
    commit: str
    seed: int
    note: str

    @property
    def is_comparison(self) -> bool:
        """Whether it is the time of a target beside its baseline's, or says why there is none."""
        return self.metric == "seconds" and self.verdict != "baseline"


class Reading(NamedTuple):
    """What one implementation needs for one call."""

    seconds: Spread
    footprint: Footprint


def empty(pair: Pair, settings: Settings, verdict: str, note: str, side: Side | None = None) -> Row:
    """A row without numbers."""
    one = side or pair.side
    row = unknown(one.target.label, settings, verdict, note)
    row = row._replace(spec=pair.spec.name, size=pair.size, mode=pair.mode, torch=pair.torch)
    return row._replace(version=version_of(one.word, settings.lodging))


def unknown(word: str, settings: Settings, verdict: str, note: str) -> Row:
    """A row of a word of which no spec is known, because it cannot be imported."""
    return Row(
        NO_SPEC,
        word,
        "",
        settings.device,
        settings.dtype,
        NO_SPEC,
        "import",
        "seconds",
        *(math.nan, math.nan, math.nan),
        *(math.nan, math.nan, math.nan),
        verdict,
        str(torch.__version__),
        settings.lodging.threads,
        commit(),
        settings.seed,
        note,
    )


def of_target(
    pair: Pair, settings: Settings, mine: Reading, base: Reading | None, found: Interval, verdict: str, note: str
) -> list[Row]:
    """Time with its interval and verdict; counts with their ratio to the baseline's."""
    row = empty(pair, settings, verdict, note)
    seconds = row._replace(**mine.seconds._asdict(), ratio=found.ratio, ci_low=found.low, ci_high=found.high)
    return [seconds, *_counts(row._replace(verdict=""), mine.footprint, base.footprint if base else None)]


def of_base(pair: Pair, settings: Settings, base: Reading, note: str) -> list[Row]:
    """The same of the baseline, which everything is compared with."""
    row = empty(pair, settings, "baseline", note, pair.base)
    return [row._replace(**base.seconds._asdict(), ratio=1.0), *_counts(row, base.footprint, base.footprint)]


def _counts(row: Row, mine: Footprint, base: Footprint | None) -> list[Row]:
    found = []
    for metric in COUNTS:
        here, there = (math.nan if one is None else float(getattr(one, metric)) for one in (mine, base))
        ratio = here / there if there else math.nan
        found.append(row._replace(metric=metric, median=here, q20=here, q80=here, ratio=ratio))
    return found


def write(path: Path, rows: Sequence[Row]) -> None:
    """All rows so far, in one step: an interrupt leaves the file whole."""
    table = pd.DataFrame(rows, columns=Row._fields)
    write_text(path, str(table.to_csv(index=False, float_format="%.9g")))


def read(path: Path) -> list[Row]:
    """The rows of a CSV that `write` wrote. Raises ValueError for a file, or a row, that it did not write."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.DictReader(file)
        try:
            if tuple(lines.fieldnames or ()) != Row._fields:
                raise ValueError("its columns are others")
            return [_row(number, line) for number, line in enumerate(lines, 2)]
        except csv.Error as error:
            raise ValueError(str(error)) from None


def _row(number: int, line: dict[str, str]) -> Row:
    if line.keys() != set(Row._fields) or None in line.values():
        raise ValueError(f"line {number} has not as many fields as there are columns")
    row = Row(**{name: _value(name, text) for name, text in line.items()})
    if not row.is_comparison:
        return row
    if (row.verdict in COMPARED) != math.isfinite(row.ratio):
        raise ValueError(f"line {number} is {row.verdict!r}, and its ratio is {row.ratio:g}")
    if min(row.median, row.ratio, row.ci_low) < 0 or not _in_order(row.ci_low, row.ratio, row.ci_high):
        interval = f"a ratio of {row.ratio:g} ({row.ci_low:g} to {row.ci_high:g})"
        raise ValueError(f"line {number} is no measurement: {interval}")
    return row


def _in_order(low: float, ratio: float, high: float) -> bool:
    """Whether a ratio lies in its interval, up to what writing has rounded; also where one is not known."""
    return not (low > ratio * (1 + ROUNDED) or ratio > high * (1 + ROUNDED) or low > high)


def _value(name: str, text: str) -> Any:
    if name in NUMBERS:
        return float(text or "nan")
    return int(text) if name in ("threads", "seed") else text


@cache
def version_of(word: str, lodging: Lodging) -> str:
    """The version of what a TARGET word stands for, where it can be had; lossref's own for the reference."""
    try:
        return lossref.__version__ if word == "reference" else version(word, lodging)
    except (Unavailable, TargetEnded):
        return ""


@cache
def commit() -> str:
    """The commit of the working directory, with -dirty where files differ from it; empty where there is none."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
