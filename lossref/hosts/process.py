"""A host in a process of its own: started, asked with a deadline, watched, and ended with all that it has started."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lossref.hosts.channel import SELDOM, SLICE, Channel, Late, TooLarge
from lossref.hosts.endings import DeviceLost, TargetEnded, how_it_ended, late, once_more, replaced
from lossref.hosts.probe import Story
from lossref.hosts.worker import wire
from lossref.hosts.worker.messages import Question, Reply, Returned, Timed
from lossref.hosts.worker.words import plain

WORKER = Path(__file__).with_name("worker")
LOSSREF = Path(__file__).parents[1]
START_SECONDS = 120.0
IMPORTS = 3  # times the deadline of a question is what an import may take, or all calls of what is timed
Key = tuple[str, str, bool, str]
Stamp = tuple[int, int] | None  # when a file was written, and how long it is; nothing for one that is not there
MOST_FILES = 10_000


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


HERE = Lodging()  # this Python, on a CPU, within the usual limits


class Unimportable(Exception):
    """What a word names cannot be imported in the host; `lacking` is the package that is not there."""

    def __init__(self, message: str, lacking: str = "") -> None:
        super().__init__(message)
        self.lacking = lacking


class Absent(Exception):
    """A word names nothing; the message is one sentence. `module`: of its two parts the first is there."""

    def __init__(self, message: str, module: bool = False) -> None:
        super().__init__(message)
        self.module = module


MALFORMED = (KeyError, TypeError, ValueError, AttributeError)  # what reading a message of another shape raises


class ProcessHost:
    """One worker process. What a target does to it, is done to it alone."""

    def __init__(self, lodging: Lodging) -> None:
        self.lodging = lodging
        self.facts: Mapping[str, Any] = {}
        self._words: dict[Key, Mapping[str, Any]] = {}
        self._files: dict[str, Stamp] = {}  # that it has imported, as they were then
        self.imports = Story()  # what is told of everything that was found here
        self._there = 0  # how many of the words this process has loaded
        self._channel: Channel | None = None

    def load(self, word: str, attribute: str = "", adapter: bool = False, as_spec: str = "") -> Mapping[str, Any]:
        """What a word stands for in this host, beside what has been loaded already; its things count from `first`.

        `as_spec` says what the one thing of that name is. Raises `Absent`, `Unimportable` or `TargetEnded`.
        """
        key = (word, attribute, adapter, as_spec)
        if key not in self._words:
            first = sum(len(found["things"]) for found in self._words.values())
            said = late(IMPORTS * self.lodging.timeout, "its import", "done when tried")
            self._words[key] = {**once_more(lambda: self._load_after(first, key), said, self.imports), "first": first}
            self._there += 1
        return self._words[key]

    def _load_after(self, first: int, key: Key) -> Mapping[str, Any]:
        self._load_again(first)
        return self._load(*key)

    def _load_again(self, thing: int, story: Story | None = None) -> None:
        """Load, into a process that is new, the words up to the one that this thing came from.

        One that ended while nobody asked it anything, killed from outside it may be, is replaced.
        """
        if self._channel is not None and self._channel.process.poll() is not None:
            how = how_it_ended(self._channel.process)
            self.close()
            replaced(how, story)
        for key, found in list(self._words.items())[self._there :]:
            if found["first"] > thing:
                return
            if len(self._load(*key)["things"]) != len(found["things"]):
                raise self._ended("crashed", f"{key[0]} has other things when it is imported once more", "")
            self._there += 1

    def _load(self, word: str, attribute: str, adapter: bool, as_spec: str) -> Mapping[str, Any]:
        message = {"do": "load", "word": word, "attribute": attribute, "adapter": adapter, "as_spec": as_spec}
        found = self._said(message, IMPORTS * self.lodging.timeout, f"while {word} was imported")
        if "absent" in found:
            raise Absent(plain(str(found["absent"])), found.get("module") is True)
        if "problem" in found:
            raise Unimportable(plain(str(found["problem"])), plain(str(found.get("lacking", ""))))
        self._files |= {str(file): _stamp(str(file)) for file in tuple(found.get("files", ()))[:MOST_FILES]}
        return found

    def is_outdated(self) -> bool:
        """Whether a file has changed that was imported here, so that the things of today are others."""
        return any(_stamp(file) != stamp for file, stamp in self._files.items())

    def ask(self, thing: int, question: Question, story: Story | None = None) -> Reply:
        """The reply to a question; one that is not answered in time is put once more, to a fresh process.

        That is forgiven once in a story. Raises `TargetEnded` where no process lives to answer it.
        """
        return once_more(lambda: self._ask(thing, question, story), late(self.lodging.timeout), story)

    def _ask(self, thing: int, question: Question, story: Story | None) -> Reply:
        self._load_again(thing, story)
        said = self._said({"do": "ask", "thing": thing, "question": asdict(question)}, self.lodging.timeout, "")
        try:
            reply = _reply_of(said["reply"], self._printed)
        except MALFORMED as error:
            raise self._no_reply(said, error) from None
        if said.get("clean") is not True:
            self.close()
        return reply

    def time(self, sides: Sequence[tuple[int, Question]], mode: str, box: float, longest: float, seed: int) -> Timed:
        """What the clock reads of one thing, or of two in turns, asked as their questions say.

        They are called for `box` seconds, for up to `longest` seconds where the machine is busy. Raises `TargetEnded`;
        nothing is asked once more, for the deadline is long.
        """
        self._load_again(max(thing for thing, _ in sides))
        asked = [(thing, asdict(question)) for thing, question in sides]
        how = {"mode": mode, "box": box, "longest": longest, "seed": seed}
        deadline = IMPORTS * self.lodging.timeout + longest
        said = self._said({"do": "time", "sides": asked, **how}, deadline, "while it was timed", SELDOM)
        try:
            found = _timed_of(said["timed"], len(sides))
        except MALFORMED as error:
            raise self._no_reply(said, error) from None
        if said.get("clean") is not True:
            self.close()
        return found

    def _no_reply(self, said: Mapping[str, Any], error: Exception) -> TargetEnded:
        self.close()
        said_so = plain(str(said.get("problem", f"{type(error).__name__} {error}")))
        return TargetEnded("crashed", f"the host sent no reply: {said_so}")

    def _said(self, message: Mapping[str, Any], seconds: float, when: str, pause: float = SLICE) -> dict[str, Any]:
        """The answer to one message. Whatever keeps it from coming ends the process and raises `TargetEnded`."""
        channel = self._channel or self._start()
        deadline, channel.pause = time.monotonic() + seconds, pause
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
            ended = self._ended("crashed", f"the device was lost: {plain(str(said['lost']))}", when)
            raise DeviceLost(ended.status, str(ended), ended.printed)
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
        self._there = 0


def _stamp(file: str) -> Stamp:
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def _timed_of(said: Mapping[str, Any], things: int) -> Timed:
    """What was read; ValueError unless it is of so many things, in numbers that a clock can show."""
    found = Timed(plain(str(said["raised"])), tuple(said["seconds"]), tuple(said["footprints"]))
    if not found.raised and {len(found.seconds), len(found.footprints)} != {things}:
        raise ValueError(f"not {things} readings")
    for readings, counts in zip(found.seconds, found.footprints, strict=True):
        if readings.shape != (len(readings), 2) or not ((readings > 0) & (readings < math.inf)).all():
            raise ValueError("readings that no clock gives")
        if len(counts) != 2 or not all(type(count) is int for count in counts):
            raise ValueError("no footprint")
    return found


def _reply_of(said: Mapping[str, Any], printed: str) -> Reply:
    returned = tuple(Returned(**one) for one in said["returned"])
    changed = tuple((plain(str(a)), plain(str(b)), plain(str(c))) for a, b, c in said["changed"])
    return Reply(returned, changed, printed, float(said["seconds"]))
