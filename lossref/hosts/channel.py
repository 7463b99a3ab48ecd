"""A process and the pipes to it: bytes go there and come back with a deadline, while its memory is watched."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence

from lossref.hosts import nursery
from lossref.hosts.endings import MARK, Output, Process, end_tree, memory_of

SLICE = 0.05  # seconds between two looks at memory and process
SELDOM = 0.5  # the same while the process reads a clock, which the looks would disturb
PART = 1 << 20
F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", 1031)
GRACE = 1.0  # seconds after the deadline in which an answer that is coming may come to its end


def _widen(pipe: int) -> None:
    """Let a pipe hold as much as an ordinary user may: each time that it is full the other side is waited for."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, F_SETPIPE_SZ, PART)


class Late(Exception):
    """The deadline has passed."""


class TooLarge(Exception):
    """The process uses more memory than it is given; the message says so."""


class Channel:
    """One process. `private` pipes are its own, numbered on its command line; else they are its stdin and stdout.

    Raises `OSError` where the command cannot be started.
    """

    def __init__(self, command: Sequence[str], private: bool, memory: int = 0, env: Mapping[str, str] | None = None):
        self.memory, self.mark, self.output = memory, uuid.uuid4().hex, Output()
        self.pause, self._buffer = SLICE, bytearray()
        (theirs, self._to), (self._from, answers), (self._out, printed) = os.pipe(), os.pipe(), os.pipe()
        for pipe in (self._to, self._from, self._out):
            os.set_blocking(pipe, False)
        for pipe in (self._to, self._from):
            _widen(pipe)
        try:
            said = {**os.environ, **(env or {}), MARK: self.mark}
            self.process: Process = (
                nursery.host(command, (theirs, answers, printed), said, self.mark)
                if private
                else subprocess.Popen(
                    command, stdin=theirs, stdout=answers, stderr=printed, start_new_session=True, env=said
                )
            )
        except BaseException:
            for pipe in (self._to, self._from, self._out):
                os.close(pipe)
            raise
        finally:
            for pipe in (theirs, answers, printed):
                os.close(pipe)

    def send(self, pieces: Sequence[bytes], deadline: float) -> None:
        """Write everything. Raises `Late`, `TooLarge`, or EOFError where the process is gone."""
        for piece in pieces:
            view = memoryview(piece)
            while view:
                if self._wait(deadline, sending=True):
                    try:
                        view = view[os.write(self._to, view[:PART]) :]
                    except BlockingIOError:
                        continue
                    except BrokenPipeError:
                        raise EOFError from None

    def read(self, count: int, deadline: float) -> bytes:
        """Exactly so many bytes."""
        while len(self._buffer) < count:
            self._wait(deadline)
        return self._take(count)

    def line(self, most: int, deadline: float) -> bytes:
        """All bytes up to the next line break; ValueError if there is none within so many."""
        seen = 0
        while (end := self._buffer.find(b"\n", seen)) < 0:
            seen = len(self._buffer)
            if seen > most:
                raise ValueError(f"a line of more than {most} bytes")
            self._wait(deadline)
        return self._take(end + 1)

    def unread(self) -> int:
        """Bytes that came until now and were not asked for."""
        with contextlib.suppress(BlockingIOError):
            self._buffer += os.read(self._from, PART)
        return len(self._buffer)

    def drain(self) -> None:
        """Take what was printed until now."""
        self.output.drain(self._out)

    def close(self) -> None:
        """End the process and all that it has started."""
        end_tree(self.process, self.mark)
        for pipe in (self._to, self._from, self._out):
            with contextlib.suppress(OSError):
                os.close(pipe)

    def _take(self, count: int) -> bytes:
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    def _wait(self, deadline: float, sending: bool = False) -> bool:
        """Until something can be read or written, for a moment at most; whether it can be written."""
        if time.monotonic() > deadline + GRACE:
            raise Late
        reads, writes = [self._from, self._out], [self._to] if sending else []
        ready, can_write, _ = select.select(reads, writes, [], self.pause)
        if self._out in ready:
            self.drain()
        if self._from in ready:
            part = os.read(self._from, PART)
            if not part:
                raise EOFError
            self._buffer += part
        elif not can_write:
            self._look(bool(ready), deadline)
        return bool(can_write)

    def _look(self, printing: bool, deadline: float) -> None:
        """Raise where there is no reason to wait any longer."""
        if self.process.poll() is not None and not printing:
            raise EOFError
        if self.memory and memory_of(self.process.pid) > self.memory:
            raise TooLarge(f"used more than the {self.memory / 2**30:.3g} GiB of memory that it is given")
        if time.monotonic() > deadline:
            raise Late
