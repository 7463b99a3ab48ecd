"""A time limit around work that runs somebody else's code: an alarm, and the end of the process where it hangs."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 10
PATIENCE = 6  # seconds of wall clock for each one of computing: a busy machine is no reason


@contextmanager
def limited(seconds: int, waiting: int = 0) -> Iterator[None]:
    """Raise TimeoutError in the body after so many seconds of computing, in the main thread only, not on Windows.

    What is no computing of this process (it sleeps, others come first) has `PATIENCE` times as long, and `waiting` on
    top of it for what is asked elsewhere.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    longest = PATIENCE * seconds + waiting

    def too_late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    clocks = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, longest)}
    before = {one: signal.signal(one, too_late) for one in clocks}
    for timer, most in clocks.values():
        signal.setitimer(timer, most)
    with _end_of_process(longest + GRACE):
        try:
            yield
        finally:
            for timer, _ in clocks.values():
                signal.setitimer(timer, 0)
            for one, handler in before.items():
                signal.signal(one, handler)


@contextmanager
def _end_of_process(seconds: int) -> Iterator[None]:
    """End a worker that hangs in native code, where no alarm reaches it; the run then takes the job apart."""
    if multiprocessing.parent_process() is None:
        yield
        return
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
