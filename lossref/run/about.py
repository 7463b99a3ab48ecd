"""What a run says about itself, be it of checks or of timings: the facts in its run.json, and how far it is."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import lossref


def facts(planned: int, seed: int, threads: int) -> dict[str, Any]:
    """The command, when it was given, how much it is to do, and on what; for the page and for whoever repeats it."""
    return {
        "command": shlex.join(["lossref", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "planned": planned,
        "seed": seed,
        "threads": threads,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lossref": lossref.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
    }


@contextmanager
def progress(doing: str, total: int, screen: Console) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere; gives the function that is told how many more are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as shown:
        bar = shown.add_task(doing, total=total)
        yield lambda done: shown.advance(bar, done)
