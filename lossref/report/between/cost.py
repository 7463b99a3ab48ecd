"""What runs cost: verdicts per second and core, and how long a hundred releases would take on so many cores."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossref.report.stored import ReportError, read
from lossref.run.findings.words import count
from lossref.run.session import JOBS

RELEASES, CORES = 100, (1, 10, 100)


@dataclass(frozen=True)
class Cost:
    """A run: its verdicts and specs, seconds of each job, and of the whole on so many processes; 0 where unknown."""

    folder: Path
    verdicts: int
    specs: int
    jobs: tuple[float, ...]
    wall: float
    processes: int

    @property
    def rate(self) -> float:
        """Verdicts per second of one core, for a job keeps one busy: judge and target wait for each other."""
        return self.verdicts / sum(self.jobs)


def cost(folder: Path) -> Cost:
    """What a run on disk cost. Raises `ReportError` where its jobs were not timed."""
    verdicts, run = read(folder)
    path = folder / JOBS
    lines = path.read_bytes().splitlines() if path.exists() else []
    jobs = tuple(_seconds(path, number, line) for number, line in enumerate(lines, 1))
    if not sum(jobs):
        raise ReportError(f"{folder} has no job that was timed (in {JOBS}); run the checks again, in one part")
    processes = int(run.get("processes", 0)) if run.get("finished") else 0
    return Cost(folder, len(verdicts), len({one.spec for one in verdicts}), jobs, float(run["seconds"]), processes)


def _seconds(path: Path, number: int, line: bytes) -> float:
    try:
        found: Any = json.loads(line)["seconds"]
        if type(found) is float and 0 <= found < float("inf"):
            return found
    except (ValueError, KeyError, TypeError):
        pass
    raise ReportError(f"line {number} of {path} is no job that was timed; run the checks again, without --resume")


def makespan(jobs: Sequence[float], cores: int) -> float:
    """Seconds until the last of these jobs is done: each core takes the longest that is left when it is free."""
    free = [0.0] * cores
    for seconds in sorted(jobs, reverse=True):
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def told(costs: Sequence[Cost]) -> Iterator[str]:
    """A line for each run, and what a matrix of releases would take, simulated from the jobs of the first one."""
    first = costs[0]
    for one in costs:
        yield _measured(one, first)
    how = "simulated: every job asked anew, the longest first, without the start of processes"
    yield f"a matrix of {RELEASES} releases x {count(first.specs, 'spec')}, each as {first.folder} ({how})"
    whole = RELEASES * first.jobs
    for cores in CORES:
        seconds = makespan(whole, cores)
        rate, busy = RELEASES * first.verdicts / seconds, sum(whole) / (cores * seconds)
        yield f"  {count(cores, 'core'):>9}  {_time(seconds):>9}  {rate:.3g} verdicts a second, {busy:.0%} busy"


def _measured(one: Cost, first: Cost) -> str:
    asked = f"{count(one.verdicts, 'verdict')} of {count(len(one.jobs), 'job')} in {_time(sum(one.jobs))} of one core"
    line = f"{one.folder}: {asked}, {one.rate:.3g} verdicts per second and core"
    if not one.processes:
        return f"{line} (no time of the whole: it was not carried out in one go)"
    where = f"{one.processes} process{'' if one.processes == 1 else 'es'}"
    took = f"{_time(one.wall)}, {one.verdicts / one.wall:.3g} verdicts a second"
    if one is not first and first.processes:
        took += f", {one.verdicts / one.wall / (first.verdicts / first.wall):.3g} times those of {first.folder}"
    return f"{line}; measured on {where}: {took} (simulated: {_time(makespan(one.jobs, one.processes))})"


def _time(seconds: float) -> str:
    """Seconds below two minutes, minutes below two hours, else hours."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
