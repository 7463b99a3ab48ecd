"""A host in a process of its own: started, asked with a deadline, watched, and ended with all that it has started."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lossref.hosts.endings import MARK, Output, TargetEnded, end_tree, how_it_ended, memory_of
from lossref.hosts.worker import wire
from lossref.hosts.worker.messages import Question, Reply, Returned
from lossref.hosts.worker.words import plain

WORKER = Path(__file__).with_name("worker")
LOSSREF = Path(__file__).parents[1]
START_SECONDS = 120.0
IMPORTS = 3  # times the deadline of a question is what an import may take
SLICE = 0.05  # seconds between two looks at memory and process


@dataclass(frozen=True)
class Lodging:
    """How a host is kept: by which Python, on which device, within which limits."""

    python: str = ""
    device: str = "cpu"
    timeout: float = 20.0
    memory: int = 0
    threads: int = 1
    tf32: bool = False


class Unimportable(Exception):
    """What a word names cannot be imported in the host; `lacking` is the package that is not there."""

    def __init__(self, message: str, lacking: str = "") -> None:
        super().__init__(message)
        self.lacking = lacking


class Absent(Exception):
    """A word names nothing; the message is one sentence."""


class ProcessHost:
    """One worker process and the pipes to it. What a target does to it, is done to it alone."""

    def __init__(self, lodging: Lodging) -> None:
        self.lodging = lodging
        self.facts: Mapping[str, Any] = {}
        self._loaded: tuple[str, str, bool] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()

    # What is asked ------------------------------------------------------------------------------------

    def load(self, word: str, attribute: str = "", adapter: bool = False) -> Mapping[str, Any]:
        """What a word stands for in this host. Raises `Absent`, `Unimportable` or `TargetEnded`."""
        self._loaded = None
        found = self._load(word, attribute, adapter)
        self._loaded = (word, attribute, adapter)
        return found

    def _load(self, word: str, attribute: str, adapter: bool) -> Mapping[str, Any]:
        message = {"do": "load", "word": word, "attribute": attribute, "adapter": adapter}
        found = self._said(message, IMPORTS * self.lodging.timeout, f"while {word} was imported")
        if "absent" in found:
            raise Absent(plain(str(found["absent"])))
        if "problem" in found:
            raise Unimportable(plain(str(found["problem"])), plain(str(found.get("lacking", ""))))
        return found

    def ask(self, thing: int, question: Question) -> Reply:
        """The reply to a question; a question that is not answered in time is asked once more, of a fresh process."""
        try:
            return self._ask(thing, question)
        except TargetEnded as error:
            if error.status != "timeout":
                raise
        return self._ask(thing, question)

    def _ask(self, thing: int, question: Question) -> Reply:
        if self._process is None and self._loaded is not None:
            self._load(*self._loaded)
        said = self._said({"do": "ask", "thing": thing, "question": asdict(question)}, self.lodging.timeout, "")
        if "problem" in said:
            raise TargetEnded("crashed", f"the host failed: {plain(str(said['problem']))}")
        try:
            reply = _reply_of(said["reply"], self._output.text())
            clean = bool(said["clean"])
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise TargetEnded("crashed", f"the host sent rubbish: {type(error).__name__} {error}") from None
        if not clean:
            self.close()
        return reply

    # How it is asked ----------------------------------------------------------------------------------

    def _said(self, message: Mapping[str, Any], seconds: float, when: str) -> dict[str, Any]:
        """The answer to one message. Whatever keeps it from coming ends the process and raises `TargetEnded`."""
        if self._process is None:
            self._start()
        self._output.clear()
        try:
            said = self._exchange(message, time.monotonic() + seconds)
        except EOFError:
            raise self._ended("crashed", how_it_ended(self._process), when) from None
        except TimeoutError as error:
            raise self._ended("timeout" if not error.args else "crashed", str(error) or _late(seconds), when) from None
        except wire.Rubbish as error:
            raise self._ended("crashed", f"the host sent {error}", when) from None
        except BaseException:  # an alarm or Ctrl-C in the middle of a message: what comes next would be misread
            self.close()
            raise
        if "ended" in said:
            raise self._ended("crashed", f"it asked to end the process ({plain(str(said['ended']))})", when)
        return said

    def _ended(self, status: str, how: str, when: str) -> TargetEnded:
        printed = self._output.text()
        self.close()
        return TargetEnded(status, " ".join(filter(None, (how, when))), printed)

    def _exchange(self, message: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        pieces = wire.pack(message)
        for piece in pieces:
            view = memoryview(piece)
            while view:
                self._wait(deadline, sending=True)
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(self._to, view[: 1 << 16]) :]
        said = wire.unpack(lambda count: self._read(count, deadline))
        self._output.drain(self._out)
        if not isinstance(said, dict):
            raise wire.Rubbish("a message that is no object")
        return said

    def _read(self, count: int, deadline: float) -> bytes:
        while len(self._buffer) < count:
            self._wait(deadline)
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    def _wait(self, deadline: float, sending: bool = False) -> None:
        """Until something can be read or written; TimeoutError at the deadline, or with a text where memory is up."""
        reads, writes = [self._from, self._out], [self._to] if sending else []
        ready, can_write, _ = select.select(reads, writes, [], SLICE)
        if self._out in ready:
            self._output.drain(self._out)
        if self._from in ready:
            part = os.read(self._from, 1 << 20)
            if not part:
                raise EOFError
            self._buffer += part
        if can_write or self._from in ready:
            return
        assert self._process is not None
        if self._process.poll() is not None and not ready:
            raise EOFError
        if self.lodging.memory and memory_of(self._process.pid) > self.lodging.memory:
            raise TimeoutError(f"used more than the {self.lodging.memory / 2**30:.2g} GiB of memory that it is given")
        if time.monotonic() > deadline:
            raise TimeoutError

    def _start(self) -> None:
        (theirs, self._to), (self._from, answers), (self._out, printed) = os.pipe(), os.pipe(), os.pipe()
        for pipe in (self._to, self._from, self._out):
            os.set_blocking(pipe, False)
        self.mark = uuid.uuid4().hex
        command = [self.lodging.python or sys.executable, str(WORKER), str(theirs), str(answers)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                pass_fds=(theirs, answers),
                start_new_session=True,
                env={**os.environ, MARK: self.mark},
            )
        except OSError as error:
            raise Unimportable(f"{command[0]} cannot be started: {error.strerror}") from None
        finally:
            for pipe in (theirs, answers, printed):
                os.close(pipe)
        self._buffer, self._output = bytearray(), Output()
        start = {"do": "start", "threads": self.lodging.threads, "lossref": str(LOSSREF), "tf32": self.lodging.tf32}
        try:
            self.facts = self._said(start, START_SECONDS, "before anything was asked")
        except TargetEnded as error:
            said = error.printed.strip().splitlines()
            raise Unimportable(f"{command[0]} cannot be a host: {said[-1] if said else error}") from None

    def close(self) -> None:
        """End the process, and every process that it has started; the next question starts it anew."""
        if self._process is None:
            return
        end_tree(self._process, self.mark)
        for pipe in (self._to, self._from, self._out):
            with contextlib.suppress(OSError):
                os.close(pipe)
        self._process = None


def _late(seconds: float) -> str:
    return f"gave no answer within {seconds:g} s"


def _reply_of(said: Mapping[str, Any], printed: str) -> Reply:
    returned = tuple(Returned(**one) for one in said["returned"])
    changed = tuple((plain(str(a)), plain(str(b)), plain(str(c))) for a, b, c in said["changed"])
    return Reply(returned, changed, printed, float(said["seconds"]))
