"""What a target was asked and what it replied, so that another one can be put the same questions.

A verdict follows from replies. Where another release replies to every question, bit for bit, as one before it has, it
has the verdicts of that one, and nobody needs to judge them again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from lossref.core.axes import frozen
from lossref.core.nouns import Array, Host, Target
from lossref.hosts.endings import TargetEnded
from lossref.hosts.worker.messages import Call, Question, Reply
from lossref.oracle.cache import read, write
from lossref.oracle.kept import digest_of

MOST_BYTES = 48 * 2**20  # of the numbers of all questions about one spec; of more nothing is kept
WORDS = "words"  # in a file of numbers, the text beside them
LARGE = 2**16  # bytes of an array that has a file of its own
Line = tuple[Question, str]  # what was asked, and the digest of the reply
Shelf = Callable[[str, str], Path | None]
"""(what it is, its digest) -> the file of an entry of the cache; None where nothing is kept."""


class Listening:
    """A host that notes what is asked, each question once, with the digest of the reply.

    `steady` says whether that may stand for the target: it has always replied, and the same to the same question.
    """

    def __init__(self, host: Host, place: str) -> None:
        self._host, self._place = host, place
        self.heard = dict[str, Line]()
        self.steady = True

    def ask(self, thing: int, question: Question, story: Any = None) -> Reply:
        """As the host."""
        try:
            reply: Reply = self._host.ask(thing, question, story)
        except TargetEnded:
            self.steady = False
            raise
        line = (question, said(reply, self._place))
        self.steady &= self.heard.setdefault(digest_of(question).hex(), line)[1] == line[1]
        return reply

    def close(self) -> None:
        """As the host."""
        self._host.close()


def said(reply: Reply, place: str) -> str:
    """A digest of all that verdicts can depend on: not of seconds, what was printed, and where the release lies."""
    text = (reply.changed, [(one.raised, one.written, one.moved) for one in reply.returned])
    numbers = [replace(one, raised="", written=(), moved=()) for one in reply.returned]
    return digest_of(repr(text).replace(place, "") if place else repr(text), numbers).hex()


@dataclass
class Replies:
    """Puts questions to one target, each once. It `ended` where one was not replied to."""

    target: Target
    place: str
    known: dict[str, str]
    ended: bool = False

    def are(self, lines: Mapping[str, Line]) -> bool:
        """Whether it replies to all of them like this."""
        return all(self._reply(name, question) == wanted for name, (question, wanted) in lines.items())

    def _reply(self, name: str, question: Question) -> str:
        if name not in self.known and not self.ended:
            host = self.target.host
            assert host is not None
            try:
                self.known[name] = said(host.ask(self.target.thing, question, self.target.story), self.place)
            except TargetEnded:
                self.ended = True
        return self.known.get(name, "")


# Kept ---------------------------------------------------------------------------------------------------


def keep(shelf: Shelf, digest: str, heard: Mapping[str, Line]) -> bool:
    """Keep questions and replies, every array once: large ones by themselves, which other releases are asked, too.

    False where they are too many, or nothing is kept.
    """
    arrays, listed = dict[str, Array](), list[Any]()
    for name, (question, reply) in heard.items():
        calls = [{**vars(call), "inputs": _named(call.inputs, arrays)} for call in question.calls]
        listed.append([name, reply, {**vars(question), "calls": calls}])
    large = {name: array for name, array in arrays.items() if array.nbytes > LARGE}
    places = {name: shelf("numbers", name) for name in large}
    home = shelf("replies", digest)
    if home is None or sum(array.nbytes for array in arrays.values()) > MOST_BYTES:
        return False
    for name, place in places.items():
        if place is not None and not place.exists():
            write(place, zlib.compress(save({name: large[name]}), 1))
    words = np.frombuffer(json.dumps(listed, default=_plain).encode(), np.uint8)
    small = {name: array for name, array in arrays.items() if name not in large}
    write(home, zlib.compress(save({**small, WORDS: words}), 1))
    return True


def _plain(number: Any) -> Any:
    return number.item()  # of numpy


def _named(inputs: Mapping[str, Array], arrays: dict[str, Array]) -> dict[str, str]:
    found = {name: digest_of(array).hex() for name, array in inputs.items()}
    arrays |= {found[name]: np.ascontiguousarray(array).reshape(array.shape) for name, array in inputs.items()}
    return found


def kept(shelf: Shelf, digest: str) -> dict[str, Line] | None:
    """What `keep` has kept; None where not all of it is there any more."""
    try:
        arrays = _loaded(shelf("replies", digest))
        listed = json.loads(arrays.pop(WORDS).tobytes())
        return dict(_lines(listed, arrays, shelf))
    except (SafetensorError, ValueError, KeyError, TypeError, zlib.error):
        return None


def _loaded(place: Path | None) -> dict[str, Array]:
    content = None if place is None else read(place)
    return {} if content is None else dict(load(zlib.decompress(content)))


def _lines(listed: Any, arrays: dict[str, Array], shelf: Shelf) -> Iterator[tuple[str, Line]]:
    for name, reply, plain in listed:
        calls = tuple(Call(**{**call, "inputs": _arrays(call["inputs"], arrays, shelf)}) for call in _calls(plain))
        fields = {key: frozen(part) for key, part in plain.items() if key not in ("calls", "params", "beside")}
        params = {key: {one: frozen(part) for one, part in plain[key].items()} for key in ("params", "beside")}
        yield name, (Question(**{**fields, **params, "calls": calls}), reply)


def _calls(plain: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The calls of a question, with tuples where JSON has lists."""
    for call in plain["calls"]:
        yield {key: frozen(part) if isinstance(part, list) else part for key, part in call.items()}


def _arrays(names: Mapping[str, str], arrays: dict[str, Array], shelf: Shelf) -> dict[str, Array]:
    for digest in names.values():
        if digest not in arrays:
            arrays |= _loaded(shelf("numbers", digest))
    return {name: arrays[digest] for name, digest in names.items()}
