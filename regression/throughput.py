"""How many verdicts per second two processes give, beside one: `python regression/throughput.py [TIMES] [ARG...]`.

Runs of one and of two processes of one thread take turns (1 2, 2 1, ...), each `lossref validate ARG...`. The second
column of numbers is CPU seconds, of the run and of all that it started: what they grow by is what two processes do
twice, or wait for each other with a full core; what else is missing is a core that is idle, or that others have.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

WHAT = ("ultralytics",)
TIMES = 5


class Run(NamedTuple):
    """One run: verdicts, seconds by its own clock, by ours, and CPU seconds of it and of what it started."""

    verdicts: int
    seconds: float
    whole: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.verdicts / self.seconds


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(processes: int, words: list[str]) -> Run:
    """One run, into a folder that is thrown away. Raises where it came to no end."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "lossref", "validate", *words, "--jobs", str(processes), "--out", place]
        before, began = _cpu(), time.monotonic()
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        whole, cpu = time.monotonic() - began, _cpu() - before
        known = json.loads((Path(place) / "run.json").read_text()) if done.returncode in (0, 1) else {}
        if not known.get("finished"):
            raise SystemExit(f"{' '.join(command)} did not come to its end: {done.stderr[-500:]}")
        rows = (Path(place) / "verdicts.jsonl").read_text().splitlines()
        return Run(len(rows), known["seconds"], whole, cpu)


def main(times: int = TIMES, *words: str) -> int:
    """Print every pair, and the medians; whether two give 1.8 times the verdicts per second of one."""
    asked = list(words or WHAT)
    run(2, asked)  # what is kept from run to run is then there for all
    ratios, wholes, costs = list[float](), list[float](), list[float]()
    for number in range(times):
        order = (1, 2) if number % 2 == 0 else (2, 1)
        pair = {processes: run(processes, asked) for processes in order}
        one, two = pair[1], pair[2]
        ratios.append(two.rate / one.rate)
        wholes.append(one.whole / two.whole)
        costs.append(two.cpu / one.cpu)
        print(f"{one.verdicts} verdicts: {one.rate:.3g} and {two.rate:.3g} a second, {ratios[-1]:.3f} times; ", end="")
        print(f"whole commands {one.whole:.1f} and {two.whole:.1f} s, {wholes[-1]:.3f} times; ", end="")
        print(f"CPU {one.cpu:.1f} and {two.cpu:.1f} s, {costs[-1]:.3f} times", flush=True)
    print(f"median of {times}: {statistics.median(ratios):.3f} times the verdicts per second, ", end="")
    print(f"{statistics.median(wholes):.3f} of whole commands, {statistics.median(costs):.3f} times the CPU seconds")
    return int(statistics.median(ratios) < 1.8)


if __name__ == "__main__":
    sys.exit(main(*(int(one) if number == 0 else one for number, one in enumerate(sys.argv[1:]))))
