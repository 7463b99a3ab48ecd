"""Ends whatever a run has started, once the run itself is gone without a word: killed, say.

A process beside the run holds the one end of a pipe. The other end closes with the run, however it ends; every
process that bears the mark of the run in its environment, and all that is below one, is then killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

import psutil

RUN = "LOSSREF_RUN"
BYE = b"."
SWEEPS = 40


@contextmanager
def kept() -> Iterator[None]:
    """Run the body so that nothing which it has started outlives it, unless it comes to its end by itself."""
    before, mark = os.environ.get(RUN), uuid.uuid4().hex
    ours, theirs = _start(mark)
    _start_tracker()
    os.environ[RUN] = mark
    try:
        yield
        with contextlib.suppress(OSError):
            os.write(ours, BYE)
    finally:
        os.close(ours)
        theirs.wait()
        os.environ.pop(RUN)
        if before is not None:
            os.environ[RUN] = before


def _start(mark: str) -> tuple[int, subprocess.Popen[bytes]]:
    reads, ours = os.pipe()
    command = [sys.executable, "-c", "from lossref.hosts.keeper import main; main()", str(reads), mark]
    nothing = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, pass_fds=(reads,), start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing
        )
    finally:
        os.close(reads)
    return ours, process


def _start_tracker() -> None:
    """Python's own keeper of semaphores, which bears no mark: it clears them away, here without a word, and ends."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore"
    resource_tracker.ensure_running()
    os.environ.pop("PYTHONWARNINGS")
    if before is not None:
        os.environ["PYTHONWARNINGS"] = before


def main() -> None:
    """Wait for the end of the pipe, then end what is marked, until nothing is left."""
    pipe, mark = int(sys.argv[1]), sys.argv[2]
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a scheduler sends them to everything that it finds
        signal.signal(one, signal.SIG_IGN)
    if os.read(pipe, 1) == BYE:
        return
    for _ in range(SWEEPS):
        left = {below for one in _marked(mark) for below in _with_all_below(one)}
        if not left:
            return
        for one in left:
            with contextlib.suppress(psutil.Error):
                one.kill()
        time.sleep(0.02)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if one.environ().get(RUN) == mark and one.status() != psutil.STATUS_ZOMBIE and one.pid != os.getpid():
                yield one


def _with_all_below(one: psutil.Process) -> list[psutil.Process]:
    """A process, and those below it, which may have thrown their environment away."""
    with contextlib.suppress(psutil.Error):
        return [one, *one.children(recursive=True)]
    return [one]
