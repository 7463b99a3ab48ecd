"""A host in a process of its own: started, asked with a deadline, watched, and ended with all that it has started."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lossref.hosts.channel import Channel, Late, TooLarge
from lossref.hosts.endings import TargetEnded, how_it_ended
from lossref.hosts.worker import wire
from lossref.hosts.worker.messages import Question, Reply, Returned
from lossref.hosts.worker.words import plain

WORKER = Path(__file__).with_name("worker")
LOSSREF = Path(__file__).parents[1]
START_SECONDS = 120.0
IMPORTS = 3  # times the deadline of a question is what an import may take


@dataclass(frozen=True)
class Lodging:
    """How a host is kept: by which Python, on which device, within which limits; `command` is another language's."""

    python: str = ""
    command: str = ""
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
    """One worker process. What a target does to it, is done to it alone."""

    def __init__(self, lodging: Lodging) -> None:
        self.lodging = lodging
        self.facts: Mapping[str, Any] = {}
        self.found: Mapping[str, Any] = {}
        self._loaded: tuple[str, str, bool] | None = None
        self._channel: Channel | None = None

    def load(self, word: str, attribute: str = "", adapter: bool = False) -> Mapping[str, Any]:
        """What a word stands for in this host. Raises `Absent`, `Unimportable` or `TargetEnded`."""
        self._loaded = None
        found = self._load(word, attribute, adapter)
        self._loaded = (word, attribute, adapter)
        return found

    def loaded(self, word: str, attribute: str = "", adapter: bool = False) -> Mapping[str, Any]:
        """As `load`, but what has been loaded already is only shown again."""
        if self._loaded != (word, attribute, adapter):
            self.found = self.load(word, attribute, adapter)
        return self.found

    def _load(self, word: str, attribute: str, adapter: bool) -> Mapping[str, Any]:
        message = {"do": "load", "word": word, "attribute": attribute, "adapter": adapter}
        found = self._said(message, IMPORTS * self.lodging.timeout, f"while {word} was imported")
        if "absent" in found:
            raise Absent(plain(str(found["absent"])))
        if "problem" in found:
            raise Unimportable(plain(str(found["problem"])), plain(str(found.get("lacking", ""))))
        return found

    def ask(self, thing: int, question: Question) -> Reply:
        """The reply to a question; one that is not answered in time is put once more, to a fresh process.

        Raises `TargetEnded` where no process lives to answer it.
        """
        try:
            return self._ask(thing, question)
        except TargetEnded as error:
            if error.status != "timeout":
                raise
        return self._ask(thing, question)

    def _ask(self, thing: int, question: Question) -> Reply:
        if self._channel is None and self._loaded is not None:
            self._load(*self._loaded)
        said = self._said({"do": "ask", "thing": thing, "question": asdict(question)}, self.lodging.timeout, "")
        try:
            reply = _reply_of(said["reply"], self._printed)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.close()
            said_so = plain(str(said.get("problem", f"{type(error).__name__} {error}")))
            raise TargetEnded("crashed", f"the host sent no reply: {said_so}") from None
        if said.get("clean") is not True:
            self.close()
        return reply

    def _said(self, message: Mapping[str, Any], seconds: float, when: str) -> dict[str, Any]:
        """The answer to one message. Whatever keeps it from coming ends the process and raises `TargetEnded`."""
        channel = self._channel or self._start()
        deadline = time.monotonic() + seconds
        channel.output.clear()
        try:
            channel.send(wire.pack(message), deadline)
            said = wire.unpack(lambda count: channel.read(count, deadline))
            channel.drain()
            self._printed = channel.output.text()
        except EOFError:
            raise self._ended("crashed", how_it_ended(channel.process), when) from None
        except Late:
            raise self._ended("timeout", f"gave no answer within {seconds:g} s", when) from None
        except TooLarge as error:
            raise self._ended("crashed", str(error), when) from None
        except wire.Rubbish as error:
            raise self._ended("crashed", f"the host sent {error}", when) from None
        except BaseException:  # an alarm or Ctrl-C in the middle of a message: what comes next would be misread
            self.close()
            raise
        if isinstance(said, dict) and "lost" in said:
            raise self._ended("crashed", f"the device was lost: {plain(str(said['lost']))}", when)
        if not isinstance(said, dict) or "ended" in said:
            how = said.get("ended") if isinstance(said, dict) else "no message"
            raise self._ended("crashed", f"it asked to end the process: {plain(str(how))}", when)
        return said

    def _ended(self, status: str, how: str, when: str) -> TargetEnded:
        assert self._channel is not None
        self._channel.drain()
        printed = self._channel.output.text()
        self.close()
        return TargetEnded(status, " ".join(filter(None, (how, when))), printed)

    def _start(self) -> Channel:
        command = [self.lodging.python or sys.executable, str(WORKER)]
        try:
            self._channel = Channel(command, private=True, memory=self.lodging.memory)
        except OSError as error:
            raise Unimportable(f"{command[0]} cannot be started: {error.strerror}") from None
        start = {"do": "start", "threads": self.lodging.threads, "lossref": str(LOSSREF), "tf32": self.lodging.tf32}
        try:
            self.facts = self._said(start, START_SECONDS, "before anything was asked")
        except TargetEnded as error:
            said = error.printed.strip().splitlines()
            raise Unimportable(f"{command[0]} cannot be a host: {said[-1] if said else error}") from None
        return self._channel

    def close(self) -> None:
        """End the process, and every process that it has started; the next question starts it anew."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _reply_of(said: Mapping[str, Any], printed: str) -> Reply:
    returned = tuple(Returned(**one) for one in said["returned"])
    changed = tuple((plain(str(a)), plain(str(b)), plain(str(c))) for a, b, c in said["changed"])
    return Reply(returned, changed, printed, float(said["seconds"]))
