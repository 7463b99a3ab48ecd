"""How a host ends: by itself, or with all its children; what it said until then, and how much memory it used."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import psutil

from lossref.hosts.probe import Story
from lossref.hosts.worker.words import printable

MARK = "LOSSREF_HOST"
T = TypeVar("T")
KEPT = 4096  # bytes of output from the beginning, and from the end


class Process(Protocol):
    """What is asked of the process of a host, whoever has started it."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        ...

    def wait(self, timeout: float) -> int:
        """The same at its end. Raises `subprocess.TimeoutExpired`."""
        ...


class TargetEnded(Exception):
    """The process of a target is no more; `status` is that of the verdict: crashed or timeout."""

    def __init__(self, status: str, how: str, printed: str = "") -> None:
        super().__init__(how)
        self.status = status
        self.printed = printed


class DeviceLost(TargetEnded):
    """A kernel of the target failed (an index out of range, say), which spoils its device for all that comes after."""


def once_more(what: Callable[[], T], said: str = "", story: Story | None = None) -> T:
    """What it gives; put once more, to a fresh process, where no answer came in time: the machine may be busy.

    A story notes what is `said` of it, forgives nothing twice, and keeps how it ended else.
    """
    try:
        return _once_more(what, said, story)
    except TargetEnded as error:
        if story is not None and not isinstance(error, DeviceLost):
            story.ended.append(error)
        raise


def _once_more(what: Callable[[], T], said: str, story: Story | None) -> T:
    try:
        return what()
    except TargetEnded as error:
        if error.status != "timeout":
            raise
        _unless_again(error, story)
    found = what()
    if story is not None:
        story.forgive(said)
    return found


def _unless_again(error: TargetEnded, story: Story | None) -> None:
    """Raise how a process ended where something was forgiven before: one is an accident, two are not."""
    if story is not None and story.forgiven:
        raise TargetEnded(error.status, f"{error}; before, {story.forgiven[0]}", error.printed) from None


def late(seconds: float, what: str = "one question", again: str = "answered when asked") -> str:
    """What is said of a question that was answered at last, or of an import."""
    return f"{what} took longer than {seconds:g} s, and was {again} again in a new process"


def replaced(how: str, story: Story | None) -> None:
    """A process has ended while nobody asked it anything: killed from outside, it may be, but not twice."""
    said = f"{how} while nothing was asked"
    _unless_again(TargetEnded("crashed", said), story)
    if story is not None:
        story.forgive(f"{said}, and a new one was started")


class Output:
    """The beginning and the end of what was printed, however much it is."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget what was printed."""
        self._first, self._last, self._count = bytearray(), bytearray(), 0

    def drain(self, pipe: int) -> None:
        """Take what is there, a few megabytes at most."""
        for _ in range(16):
            try:
                part = os.read(pipe, 1 << 18)
            except BlockingIOError:
                return
            if not part:
                return
            self._count += len(part)
            room = KEPT - len(self._first)
            self._first += part[:room]
            self._last = (self._last + part[room:])[-KEPT:] if len(part) > room else self._last

    def text(self) -> str:
        """What was kept, with the number of bytes that were not; no control characters but line breaks."""
        left = self._count - len(self._first) - len(self._last)
        between = f"\n[... {left} bytes ...]\n" if left > 0 else ""
        return printable(self._first.decode("utf-8", "replace") + between + self._last.decode("utf-8", "replace"))


def how_it_ended(process: Process) -> str:
    """The exit code or the signal of a process whose pipe is closed."""
    try:
        code = process.wait(1.0)
    except subprocess.TimeoutExpired:
        return "the process closed the pipe to lossref"
    if code >= 0:
        return f"the process ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"the process was ended by {signal.Signals(-code).name}"
    return f"the process was ended by signal {-code}"


def memory_for(jobs: int) -> int:
    """Bytes that a host may use beside so many others: half of the machine's, divided among them."""
    return int(psutil.virtual_memory().total // (2 * jobs))


def memory_of(pid: int) -> int:
    """Resident bytes of a process and of everything below it."""
    total = 0
    for one in _tree(pid):
        with contextlib.suppress(psutil.Error):
            total += one.memory_info().rss
    return total


def _tree(pid: int) -> list[psutil.Process]:
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.Error:
        return []


def marked(mark: str) -> Iterator[psutil.Process]:
    """Every process that was started in a host, however often it has forked and left its session."""
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if name_of(mark) == one.name() or one.environ().get(MARK) == mark:
                yield one


def name_of(mark: str) -> str:
    """What a host that was forked, and whatever it forks, is called: their first environment is that of another."""
    return f"lr{mark[:12]}"


def _is_alive(one: psutil.Process) -> bool:
    """Whether a process is neither gone by now nor waits to be looked at for the last time."""
    try:
        return bool(one.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def end_tree(process: Process, mark: str) -> None:
    """Kill a process, its group, its descendants, and whatever bears its mark, until nothing of it is left."""
    below = _tree(process.pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for one in below:
        with contextlib.suppress(psutil.Error):
            one.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5.0)
    for _ in range(20):
        left = [one for one in marked(mark) if _is_alive(one)]
        if not left:
            return
        for one in left:
            with contextlib.suppress(psutil.Error):
                one.kill()
        time.sleep(0.02)
