"""How much faster than the installed ultralytics: `make ratios`, the training workload of every loss.

    python regression/ratios                              on a CPU, two threads: eager against eager
    python regression/ratios --device cuda --csv FILE     on a GPU: eager, compiled, captured, and both (forms.py)

Batch 16, 640 x 640, 80 classes, 20 objects an image, float32; forward plus backward to all predictions, the two
implementations in turns in one process (lossref.hosts.worker.clock). Prints a table; asserts nothing. With --device
the script is unattended: one loss after the other, each row written when it is known, processes that die or hang
replaced, and the same command goes on where it ended.
"""

from __future__ import annotations

import argparse
import importlib
import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from workloads import NAMES, Workload, full, wanted, workload

import lossref
from lossref.bench.rows import commit
from lossref.bench.timing import interval, spread
from lossref.hosts.worker.clock import interleaved
from lossref.hosts.worker.timed import footprint
from lossref.run.atomic import write_text
from lossref.targets.adapters import ultralytics


class Measured(NamedTuple):
    """One line of the table and of the CSV; NaN and an empty text where this release lacks the class."""

    loss: str
    ratio: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    wanted: float = math.nan
    ours_ms: float = math.nan
    theirs_ms: float = math.nan
    ours_peak_mib: float = math.nan
    theirs_peak_mib: float = math.nan
    ours_value: float = math.nan
    theirs_value: float = math.nan
    note: str = ""

    def cells(self) -> list[str]:
        """The line as a person reads it."""
        if self.note:
            return [self.loss, *["-"] * 5, self.note]
        return [
            self.loss,
            f"{self.ratio:.2f}",
            f"{self.ci_low:.2f} to {self.ci_high:.2f}",
            f">= {self.wanted:g}",
            f"{self.ours_ms:.3g} / {self.theirs_ms:.3g} ms",
            f"{self.ours_peak_mib:.3g} / {self.theirs_peak_mib:.3g} MiB",
            f"{self.ours_value:.6g} / {self.theirs_value:.6g}",
        ]


def measured(one: Workload, seconds: float) -> Measured:
    """Ratio with its interval, what the issue asks for, times, peaks of live bytes, values."""
    package = ultralytics._find(one.name)
    if package is None or isinstance(package, str):
        return Measured(one.name, note=package or "not in this release")
    ours_full = full(one, one.build(getattr(lossref, one.name), "cpu"))
    theirs_full = full(one, one.build(package, "cpu"))
    values = float(ours_full()), float(theirs_full())
    rounds = interleaved(theirs_full, ours_full, box=seconds, longest=2 * seconds)
    found = interval(rounds)
    return Measured(
        one.name,
        found.ratio,
        found.low,
        found.high,
        wanted(one.name),
        spread(rounds.second).median * 1e3,
        spread(rounds.first).median * 1e3,
        footprint(ours_full).peak_live_bytes / 2**20,
        footprint(theirs_full).peak_live_bytes / 2**20,
        *values,
    )


def table(options: argparse.Namespace) -> None:
    """Eager against eager on two threads."""
    torch.set_num_threads(2)
    version = importlib.import_module("ultralytics").__version__
    shown = Table("loss", "ratio", "99 % interval", "wanted", "ours / theirs", "peak live", "values")
    screen, rows = Console(width=150), []
    for name in (name for name in NAMES if options.only in name):
        rows.append(measured(workload(name), options.seconds))
        shown.add_row(*rows[-1].cells())
        screen.print(*rows[-1].cells(), sep="  ")
    screen.print(f"lossref {lossref.__version__}, ultralytics {version}, torch {torch.__version__}, 2 threads")
    screen.print(shown)
    if options.csv:
        found = pd.DataFrame(rows).assign(ultralytics=version, torch=torch.__version__, threads=2, commit=commit())
        write_text(options.csv, str(found.to_csv(index=False, float_format="%.6g")))


def main() -> int:
    """Print the table, and write it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names that contain this word, or with --device one of A,B")
    parser.add_argument("--seconds", type=float, help="time box of each ratio: 20, with --device 2")
    parser.add_argument("--csv", type=Path, help="file for the table, with the versions in its last columns")
    parser.add_argument("--device", help="cuda, or cpu to try what would be done there")
    parser.add_argument("--small", action="store_true", help="with --device: small sizes, for trying the script")
    parser.add_argument("--limit-s", type=float, default=480, help="with --device: it ends in order after so many s")
    parser.add_argument("--compile-s", type=float, default=120, help="with --device: for compiling, beforehand")
    parser.add_argument("--jobs", type=int, default=16, help="with --device: processes that compile")
    parser.add_argument("--part", choices=("warm", "time", "count"), help=argparse.SUPPRESS)
    parser.add_argument("--loss", default="", help=argparse.SUPPRESS)
    parser.add_argument("--eager", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        from working import main as work

        return work(options)
    if options.device:
        from supervising import supervised

        return supervised(options)
    options.seconds = options.seconds or 20.0
    table(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
