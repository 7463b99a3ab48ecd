"""A host in any language: a command that is spoken to on its stdin and stdout, as PROTOCOL.md says."""

from __future__ import annotations

import io
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from lossref.hosts.channel import Channel, Late, TooLarge
from lossref.hosts.endings import TargetEnded, how_it_ended, late, once_more, replaced
from lossref.hosts.probe import Story
from lossref.hosts.process import IMPORTS, Lodging, Unimportable
from lossref.hosts.spoken import Nonsense, Offer, offers, returned
from lossref.hosts.worker.messages import Array, Call, Question, Reply
from lossref.hosts.worker.words import plain

MORE = "the peer sent more than one answer"
MOST_LINE, MOST_ARRAY = 1 << 24, 1 << 31


class CannotAnswer(Exception):
    """The peer says that it cannot answer questions of this kind; the message is its reason."""


class CommandHost:
    """One peer process."""

    def __init__(self, lodging: Lodging) -> None:
        self.lodging = lodging
        self.offers: tuple[Offer, ...] = ()
        self.imports = Story()  # what is told of everything that it offers
        self._channel: Channel | None = None

    def describe(self) -> tuple[Offer, ...]:
        """The losses that the peer has. Raises `Unimportable` or `TargetEnded`."""
        said = late(IMPORTS * self.lodging.timeout, "its description", "given when asked")
        self.offers = once_more(self._described, said, self.imports)
        return self.offers

    def _described(self) -> tuple[Offer, ...]:
        said = self._said({"do": "describe"}, (), IMPORTS * self.lodging.timeout, "while it was asked what it has")
        try:
            return offers(said)
        except Nonsense as error:
            raise self._ended("crashed", str(error), "when it was asked what it has") from None

    def ask(self, thing: int, question: Question, story: Story | None = None) -> Reply:
        """The reply to a question; one that is not answered in time is put once more, to a fresh process."""
        return once_more(lambda: self._ask(thing, question, story), late(self.lodging.timeout), story)

    def _ask(self, thing: int, question: Question, story: Story | None) -> Reply:
        offer = self.offers[thing]
        if not offer.gradients and any(call.wrt for call in question.calls):
            raise CannotAnswer("it has no gradients")
        if any(call.context for call in question.calls):
            raise CannotAnswer("where a call stands is a matter of torch's, which it does not run in")
        if not offer.weights and not all(call.usual_weights for call in question.calls):
            raise CannotAnswer("it takes no weights from above but the usual ones (it does not describe 'weights')")
        arrays: list[Array] = []
        calls = [_plain_call(call, arrays) for call in question.calls]
        message = {"do": "ask", "loss": thing, "spec": offer.spec, "terms": question.terms, "params": question.params}
        if self._channel is not None and self._channel.process.poll() is not None:
            how = how_it_ended(self._channel.process)
            self.close()
            replaced(how, story)
        if self._channel is None and self._described() != self.offers:  # to start may take longer than an answer
            raise self._ended("crashed", "it describes other losses when it is started once more", "")
        begin = time.perf_counter()
        message["absent"] = question.absent
        said = self._said({**message, "calls": calls}, arrays, self.lodging.timeout, "")
        if "unsupported" in said:
            raise CannotAnswer(plain(str(said["unsupported"]))[:200])
        try:
            found = returned(said, question)
        except Nonsense as error:
            raise self._ended("crashed", str(error), "") from None
        return Reply(found, (), "", time.perf_counter() - begin)

    def _said(self, body: Mapping[str, Any], arrays: Sequence[Array], seconds: float, when: str) -> dict[str, Any]:
        channel = self._channel or self._start()
        deadline = time.monotonic() + seconds
        try:
            if channel.unread():  # it came late, and would be taken for the answer to this
                raise Nonsense(MORE)
            channel.send(_pack(body, arrays), deadline)
            said = _unpack(channel, deadline)
        except EOFError:
            raise self._ended("crashed", how_it_ended(channel.process), when) from None
        except Late:
            raise self._ended("timeout", f"gave no answer within {seconds:g} s", when) from None
        except (TooLarge, Nonsense) as error:
            raise self._ended("crashed", str(error), when) from None
        except BaseException:
            self.close()
            raise
        return said

    def _ended(self, status: str, how: str, when: str) -> TargetEnded:
        assert self._channel is not None
        self._channel.drain()
        printed = self._channel.output.text()
        self.close()
        return TargetEnded(status, " ".join(filter(None, (how, when))), printed)

    def _start(self) -> Channel:
        try:
            command = shlex.split(self.lodging.command)
            self._channel = Channel(command, private=False, memory=self.lodging.memory)
        except (OSError, IndexError, ValueError) as error:
            reason = getattr(error, "strerror", None) or (
                str(error) if isinstance(error, ValueError) else "it is empty"
            )
            raise Unimportable(f"the command {self.lodging.command!r} cannot be started: {reason}") from None
        return self._channel

    def is_outdated(self) -> bool:
        """Never: which files a command reads is not known."""
        return False

    def close(self) -> None:
        """End the peer and all that it has started."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


# Messages -----------------------------------------------------------------------------------------------


def _plain_call(call: Call, arrays: list[Array]) -> dict[str, Any]:
    """One call as JSON; its inputs are numbers of the arrays that follow the line."""
    inputs = {}
    for name, array in call.inputs.items():
        dtype = "float32" if call.dtypes[name] == "bfloat16" else call.dtypes[name]
        with np.errstate(over="ignore", invalid="ignore"):
            arrays.append(array.astype(dtype))
        inputs[name] = {"array": len(arrays) - 1}
    laid = "contiguous" if call.alone else call.layout  # a peer has one layout for all
    how: dict[str, Any] = {"layout": laid, "upstream": call.upstream}
    if not call.usual_weights:
        how |= {"scale": call.scale, "every": list(call.every)}
    return {"inputs": inputs, "dtypes": dict(call.dtypes), "gradients_to": list(call.wrt), **how}


def _pack(body: Mapping[str, Any], arrays: Sequence[Array]) -> list[bytes]:
    files = []
    for array in arrays:
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
        files.append(file.getvalue())
    line = json.dumps({**body, "arrays": [len(file) for file in files]})
    return [line.encode() + b"\n", *files]


def _unpack(channel: Channel, deadline: float) -> dict[str, Any]:
    try:
        said = json.loads(channel.line(MOST_LINE, deadline), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Nonsense(f"the peer sent no line of JSON ({plain(str(error))[:80]})") from None
    if not isinstance(said, dict):
        raise Nonsense("the peer sent JSON that is no object")
    sizes = said.pop("arrays", [])
    if not isinstance(sizes, list) or any(type(size) is not int or not 0 < size <= MOST_ARRAY for size in sizes):
        raise Nonsense("the peer sent no list of sizes in 'arrays'")
    arrays = [_array(channel.read(size, deadline)) for size in sizes]
    if channel.unread():
        raise Nonsense(MORE)
    return {"arrays": arrays, **said}


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _array(content: bytes) -> Array:
    try:
        found = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
            raise ValueError("no array of real numbers")
    except (ValueError, OSError, EOFError, MemoryError, SyntaxError) as error:
        raise Nonsense(f"the peer sent an array that is no .npy file ({plain(str(error))[:80]})") from None
    return found
