"""The loop of a host: a message comes in, what it asks is done, a message goes out."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from . import state, things, wire
from .carry import Ended, carried_out
from .messages import Call, Question
from .timed import timed
from .words import one_line

_exit, _threads, _write, _unpack = os._exit, threading.enumerate, wire.write, wire.unpack
_waitid, ANY_CHILD = getattr(os, "waitid", None), 0x40000000  # __WALL of Linux: whichever thread started it, and how


class Lossref:
    """Finds the judge's own lossref, whichever else is installed here, and nothing else of the judge's environment."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The place of the package; its modules are found from there."""
        if name != "lossref":
            return None
        file = self.folder / "__init__.py"
        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(self.folder)])


class Worker:
    """One host: what has been loaded, and what the process was like before."""

    def __init__(self) -> None:
        self.builds: list[things.Build] = []
        self.clean = state.of_process()
        self.is_settled = True  # whether all was as it should be before the question that is asked now

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """What is said to one message."""
        does: dict[str, Callable[..., dict[str, Any]]] = {
            "start": self.start,
            "load": self.load,
            "ask": self.ask,
            "time": self.time,
        }
        word = str(message.get("do"))
        if word not in does:
            return {"problem": f"a host cannot {word!r}"}
        try:
            return does[word](**{name: part for name, part in message.items() if name != "do"})
        except (Ended, SystemExit) as error:
            return {"ended": str(error) if isinstance(error, Ended) else f"exit code {error.code}"}
        except things.Absent as error:
            return {"absent": str(error), "module": isinstance(error, things.NoFunction)}
        except BaseException as error:  # whatever was imported may raise anything
            first = error.__cause__ if message.get("adapter") and error.__cause__ else error  # what the package raised
            return {"problem": one_line(first), "lacking": _lacking(first)}

    def start(self, threads: int, lossref: str, tf32: bool) -> dict[str, Any]:
        """What holds for everything that is asked."""
        torch.set_num_threads(threads)
        state.allow_tf32(tf32)
        for name in [one for one in sys.modules if one.partition(".")[0] == "lossref"]:  # of a site's customization
            del sys.modules[name]
        sys.meta_path.insert(0, Lossref(lossref))
        self.clean = state.of_process()
        return dict(state.facts())

    def load(self, word: str, attribute: str, adapter: bool, as_spec: str) -> dict[str, Any]:
        """Import what a word stands for, and say what is there; the numbers of things go on."""
        found = list(self._found(word, attribute, adapter, as_spec))
        changed = [one for one in state.put_back(self.clean) if one[0] != state.RANDOM]
        self.is_settled = state.is_clean(self.clean)
        self.builds += [build for build, _ in found]
        version = things.version_of_adapter(word) if adapter else ""
        things_found = [row for _, row in found]
        return {"things": things_found, "version": version, "changed": changed, "files": things.sources()}

    def _found(
        self, word: str, attribute: str, adapter: bool, as_spec: str
    ) -> Iterator[tuple[things.Build, dict[str, Any]]]:
        if adapter:
            return things.rows_of_adapter(word)
        module = things.loaded(word)
        return things.named(module, attribute, as_spec) if attribute else things.marked(module)

    def ask(self, thing: int, question: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one question."""
        before = {*_threads()}
        try:
            reply = carried_out(self.builds[thing], _question(question))
        except Exception:  # what is looked at after the call is on the device, too
            if lost := state.lost(question["device"]):
                return {"lost": lost}
            raise
        if lost := state.lost(question["device"]):
            return {"lost": lost}
        left = _left(before)
        return {
            "reply": {**vars(reply), "changed": [*reply.changed, *left]},
            "clean": self._is_clean(left, reply.changed),
        }

    def time(
        self, sides: Sequence[tuple[int, Mapping[str, Any]]], mode: str, box: float, longest: float, seed: int
    ) -> dict[str, Any]:
        """Time one thing, or two in turns."""
        before = {*_threads()}
        asked = [(self.builds[thing], _question(question)) for thing, question in sides]
        found = timed(asked, mode, box, longest, seed)
        return {"timed": found, "clean": self._is_clean(_left(before), None)}

    def _is_clean(self, left: state.Changes, changed: Sequence[Any] | None) -> bool:
        """Whether the process can be kept; looked at where a question changed anything, or did not look (None)."""
        if changed is None or changed:
            self.is_settled = state.is_clean(self.clean)
        return self.is_settled and not left


def _question(said: Mapping[str, Any]) -> Question:
    return Question(**{**said, "calls": tuple(Call(**call) for call in said["calls"])})


def _left(before: set[threading.Thread]) -> state.Changes:
    """The threads and processes that were started and still run."""
    threads = [one.name for one in _threads() if one not in before and one.is_alive()]
    return [*(("the threads", "none of its own", name) for name in threads), *_children()]


def _lacking(error: BaseException) -> str:
    """The package that an import did not find."""
    return (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""


def _children() -> state.Changes:
    """The processes that were started and still run."""
    if _is_childless():
        return []
    found: set[str] = set()
    for listed in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= set(listed.read_text().split())
    return [("the processes that it started", "none", f"{len(found)} running")] if found else []


def _is_childless() -> bool:
    """Whether the kernel knows no child at all: to list them takes a tenth of a small question."""
    try:
        if _waitid and sys.platform == "linux":
            _waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | ANY_CHILD)
    except ChildProcessError:
        return True
    except OSError:
        pass
    return False


def serve(reads: int, writes: int) -> None:
    """Answer until the pipe is closed."""
    worker, read = Worker(), wire.reader(reads)
    while True:
        try:
            message = _unpack(read)
        except (EOFError, wire.Rubbish):
            _exit(0)
        reply = worker.answer(message)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        _write(writes, reply)
