"""Is a run that is killed, whenever it is, resumed to the report of one that was not?

    python regression/killed_runs.py                                    20 trials on two elementary specs
    python regression/killed_runs.py --trials 5 mine.py --spec ciou     the words of `lossref validate`

Each trial kills a fresh run at a random moment, looks for processes that outlive it, and calls it again with
`--resume`. Sorted and without times, its summary.csv is to be that of the uninterrupted run, byte for byte. The exit
status is 1 if any is not.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil

WORDS = ("reference", "--spec", "iou", "--spec", "focal", "-j", "2")
MARK = "LOSSREF_TRIAL"
ORPHANS = 2.0  # seconds after which nothing may be left of a killed run


def command(words: list[str], folder: Path) -> list[str]:
    """The run, as a user would give it."""
    return [sys.executable, "-m", "lossref", "validate", *words, "--out", str(folder)]


def started(words: list[str]) -> tuple[subprocess.Popen[bytes], str]:
    """A run, and what all its processes bear in their environment."""
    mark = uuid.uuid4().hex
    nothing = subprocess.DEVNULL
    return subprocess.Popen(words, stdout=nothing, stderr=nothing, env={**os.environ, MARK: mark}), mark


def alive(mark: str) -> Iterator[psutil.Process]:
    """The processes that bear a mark."""
    for one in psutil.process_iter():
        try:
            if one.environ().get(MARK) == mark and one.status() != psutil.STATUS_ZOMBIE:
                yield one
        except (psutil.Error, OSError):
            continue


def orphans(mark: str) -> list[str]:
    """What is left of a run when nothing may be any more."""
    limit = time.monotonic() + ORPHANS
    while time.monotonic() < limit and any(alive(mark)):
        time.sleep(0.05)
    return [f"{one.pid} {one.name()}" for one in alive(mark)]


def summary(folder: Path) -> bytes:
    """summary.csv, sorted and without times."""
    rows = list(csv.DictReader(io.StringIO((folder / "summary.csv").read_text(encoding="utf-8"))))
    return "\n".join(sorted(repr({**row, "seconds": ""}) for row in rows)).encode()


def trial(words: list[str], folder: Path, moment: float, want: bytes) -> str:
    """What went wrong with one run that was killed after so many seconds; nothing if all is well."""
    run, mark = started(command(words, folder))
    try:
        run.wait(moment)
    except subprocess.TimeoutExpired:
        run.kill()
        run.wait()
    if left := orphans(mark):
        return f"outlived it: {', '.join(left)}"
    again = subprocess.run([*command(words, folder), "--resume"], capture_output=True, text=True)
    if again.returncode not in (0, 1, 3) or not (folder / "summary.csv").is_file():
        return f"--resume: exit status {again.returncode}: {again.stderr.strip()}"
    return "" if summary(folder) == want else f"another summary than that of the uninterrupted run: {folder}"


def main() -> int:
    """The trials; a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given, words = parser.parse_known_args()
    words, rng, place = words or list(WORDS), random.Random(given.seed), Path(tempfile.mkdtemp())
    begin = time.monotonic()
    subprocess.run(command(words, place / "whole"), capture_output=True)
    took, want, wrong = time.monotonic() - begin, summary(place / "whole"), 0
    for number in range(given.trials):
        moment = rng.uniform(0.0, took)
        problem = trial(words, place / f"{number}", moment, want)
        print(f"{number + 1:3}  killed after {moment:.1f} of {took:.1f} s: {problem or 'the same'}", flush=True)
        wrong += bool(problem)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
