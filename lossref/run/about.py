"""What a run says about itself, be it of checks or of timings: the facts in its run.json, and how far it is."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import lossref
from lossref.checks.table import CHECKS
from lossref.hosts.endings import TargetEnded
from lossref.hosts.process import Lodging
from lossref.losses import origin, specs
from lossref.run.plan import Job, planned
from lossref.targets.lodged import facts as host_facts
from lossref.targets.lodged import lodged, version
from lossref.targets.resolve import Unavailable, UnknownTarget

QUIET = 60.0  # seconds between two lines where there is no terminal
OFTEN = 2.0  # seconds between two looks at what is waited for, where there is one


def facts(rows: int, seed: int, threads: int) -> dict[str, Any]:
    """The command, when it was given, how much it is to do, and on what; for the page and for whoever repeats it."""
    return {
        "command": shlex.join(["lossref", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "planned": rows,
        "seed": seed,
        "threads": threads,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lossref": lossref.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
    }


def of_checks(words: list[str], tier: str, seed: int, plan: list[Job]) -> dict[str, Any]:
    """The facts of a run of checks, with the digests of its plan and of the files that declare what it asks."""
    lodging = plan[0].lodging
    found = [host for host in (_host(word, lodging) for word in words) if host]
    return {
        "target": ", ".join(words),
        "version": ", ".join(filter(None, (_version(word, lodging) for word in words))),
        "tier": tier,
        **facts(planned(plan), seed, threads=1),
        "hosts": [dict(pairs) for pairs in dict.fromkeys(tuple(host.items()) for host in found)],
        "notes": [*(["TF32 was allowed on the GPU"] if lodging.tf32 else []), *_held_to(plan)],
        "plan": digest_of(plan),
        "files": _files(plan),
    }


def digest_of(plan: list[Job]) -> str:
    """A digest of all that a run is going to ask, wherever it is written, on however many processes."""
    asked = [
        replace(job, out="", lodging=replace(plan[0].lodging, memory=0)) for job in plan
    ]  # memory goes with --jobs
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def check_docs() -> dict[str, str]:
    """Check name -> what it asserts."""
    return {one.name: one.doc for one in CHECKS}


def _held_to(plan: list[Job]) -> list[str]:
    """The settings of the dialect, if the targets are held to one."""
    settings = dict.fromkeys(f"{name}={value!r}" for job in plan for name, value in job.dialect)
    return [f"held to a dialect: {', '.join(settings)}"] if settings else []


def _host(word: str, lodging: Lodging) -> dict[str, str]:
    """Where a word lives: its Python and torch, and its GPU where it is asked on one."""
    found = {name: fact for name, fact in host_facts(word, lodging).items() if fact}
    return {"interpreter": lodging.python, **found} if lodging.python and found else found


def _version(word: str, lodging: Lodging) -> str:
    with contextlib.suppress(Unavailable, TargetEnded):
        return version(word, lodging)
    return ""


def _files(plan: list[Job]) -> dict[str, str]:
    """The digest of each file that declares a target or a spec of this run."""
    known = [job for job in plan if job.spec in specs()]  # not of a word that cannot be imported
    declared = {origin(specs()[job.spec]) for job in known}
    for word in {job.word for job in known}:
        with contextlib.suppress(Unavailable, UnknownTarget, TargetEnded):
            found = lodged(word, plan[0].as_spec, plan[0].lodging)
            declared |= {one.where.rpartition(":")[0] for one in found}
    there = [path for name in sorted(declared) if name and (path := Path(name)).is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in there}


@contextmanager
def progress(
    doing: str, total: int, screen: Console, asking: Callable[[], str] = lambda: ""
) -> Iterator[Callable[[int], None]]:
    """A bar with the time left on a terminal, one line a minute elsewhere; gives the function that is told of more.

    `asking` says what is waited for: it is shown also where nothing gets done.
    """
    if not screen.is_terminal:
        lines = _Lines(doing, total, screen, asking)
        with _meanwhile(QUIET, lines.say):
            yield lines.advance
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    more = (TimeRemainingColumn(), TextColumn("left"), TextColumn("{task.fields[now]}", markup=False))
    with Progress(*columns, *more, console=screen, transient=True) as shown:
        bar = shown.add_task(doing, total=total, now="")
        with _meanwhile(OFTEN, lambda: shown.update(bar, now=asking())):
            yield lambda done: shown.advance(bar, done)


@contextmanager
def _meanwhile(seconds: float, what: Callable[[], None]) -> Iterator[None]:
    """Do it again and again beside the body, which may wait for a target that hangs."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(max(seconds, 0.05)):
            with contextlib.suppress(OSError, ValueError):  # a folder that is gone, a stream that is closed
                what()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Lines:
    """Says how far it is when a minute has gone by since it last did, so that a log shows that it lives."""

    def __init__(self, doing: str, total: int, screen: Console, asking: Callable[[], str]) -> None:
        self._doing, self._total, self._screen, self._asking = doing, total, screen, asking
        self._began = self._said = time.monotonic()
        self._so_far = 0

    def advance(self, done: int) -> None:
        """So many more are done."""
        self._so_far += done
        self.say()

    def say(self) -> None:
        """The line, if it is due."""
        now = time.monotonic()
        if now - self._said < QUIET or self._so_far >= self._total:
            return
        self._said = now
        left = (now - self._began) / self._so_far * (self._total - self._so_far) if self._so_far else 0.0
        about = f", about {left / 60:.0f} min left" if self._so_far else ""
        line = f"{self._so_far} of {self._total} {self._doing}{about}"
        self._screen.print(
            "; ".join(filter(None, (line, self._asking()))), highlight=False, markup=False, soft_wrap=True
        )
