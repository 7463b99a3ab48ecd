"""Ctrl-C, and what a scheduler sends in its place: one sentence and exit status 3, from the first moment on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INCOMPLETE = 3
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def answered() -> Iterator[None]:
    """Around a whole command: each of `SIGNALS` is a KeyboardInterrupt, and whatever comes of it ends in a sentence.

    A signal that is ignored already, as by `nohup` or in the background of a shell, stays ignored.
    """
    heard = list[int]()

    def interrupt(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    for one in SIGNALS:
        if signal.getsignal(one) != signal.SIG_IGN:
            signal.signal(one, interrupt)
    try:
        yield
    except BaseException as error:  # in the middle of an import, say, it comes out as something else
        if not heard:
            raise
        deaf()
        exec(
            ""
        )  # else Python ends by SIGINT, whatever is said here, if it came in the `exec` of a text: it keeps a flag
        if not (isinstance(error, SystemExit) and error.code == INCOMPLETE):
            print("lossref: interrupted", file=sys.stderr)
        sys.exit(INCOMPLETE)


def deaf() -> None:
    """Hear no further interrupt: the first is being answered, and that comes to its end."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)


@contextmanager
def deferred() -> Iterator[None]:
    """An interrupt waits for the end of the body, and for ever in the processes that are started there."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
