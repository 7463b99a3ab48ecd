"""What is timed, as a function without arguments for each mode, and what the clock and the counters read of it.

forward:  one call, recording what a gradient needs, as in training
backward: the gradient alone, again and again on one recorded call
full:     a call and its gradient
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from . import state, tensors
from .carry import Build, built, terms_of
from .clock import Work, interleaved, on_cuda, wall
from .messages import Question, Timed
from .words import one_line

MODES = ("forward", "backward", "full")
_new, _grad = torch.as_tensor, torch.autograd.grad


class Unconnected(Exception):
    """There is no gradient to time."""


def timed(sides: Sequence[tuple[Build, Question]], mode: str, box: float, longest: float, seed: int) -> Timed:
    """One thing, or two in turns, for `box` seconds; for up to `longest` seconds where the machine is busy.

    Each is called as its question says, on inputs of its own. The state of the process is put back.
    """
    before = state.of_process()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _timed(sides, mode, box, longest, seed)
    except SystemExit:
        raise
    except Unconnected as error:
        return Timed(str(error))
    except BaseException as error:  # a target may raise anything
        return Timed(one_line(error))
    finally:
        state.put_back(before)


def _timed(sides: Sequence[tuple[Build, Question]], mode: str, box: float, longest: float, seed: int) -> Timed:
    works = [work(build, question, mode) for build, question in sides]
    prints = tuple(tuple(footprint(one)) for one in works)
    clock = on_cuda if sides[0][1].device.startswith("cuda") else wall
    rounds = interleaved(works[0], works[-1], box, longest, clock, seed)
    return Timed("", tuple(rounds)[: len(works)], prints)


def work(build: Build, question: Question, mode: str) -> Work:
    """What one call of one mode does; raises what the target raises, or `Unconnected`."""
    call = question.calls[0]
    inputs = tensors.given(call, question.device)
    function, arguments = built(build, question), tuple(inputs.values())
    first = terms_of(function(*arguments), question.terms, question.absent)
    return _mode(mode, lambda: function(*arguments), first, tuple(inputs[name] for name in call.wrt))


def _mode(mode: str, call: Callable[[], Any], first: tuple[Tensor, ...], leaves: tuple[Tensor, ...]) -> Work:
    """The timed function; `first` is what the call returned once."""
    if mode == "forward":
        return call
    places = [i for i, out in enumerate(first) if out.requires_grad]
    if not places:
        raise Unconnected("the output is not connected to any input: there is no gradient to time")
    factors = tuple(_new(tensors.weights(first[i].numel())).reshape(first[i].shape).to(first[i]) for i in places)
    ends = tuple(first[i] for i in places)
    if mode == "backward":
        return lambda: _grad(ends, leaves, factors, retain_graph=True, allow_unused=True)

    def full() -> object:
        out = call()
        ends = (out,) if isinstance(out, Tensor) else tuple(out[i] for i in places)
        return _grad(ends, leaves, factors, allow_unused=True)

    return full


# What a call costs apart from time: operators that run, and bytes that are alive at the worst moment -----


class Footprint(NamedTuple):
    """Operators that reached the dispatcher, and the peak of the bytes that they had allocated."""

    operators: int
    peak_live_bytes: int


class _Watch(TorchDispatchMode):
    """Counts operators, and follows the storage of every tensor they return until it is freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators = self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for storage in _storages((args, kwargs)):
            self._follow(storage, 0)  # not seen before, so it was there before
        out = func(*args, **(kwargs or {}))
        self.operators += 1
        for storage in _storages(out):
            self._follow(storage, storage.nbytes())
        return out

    def _follow(self, storage: torch.UntypedStorage, size: int) -> None:
        if storage._cdata in self._known:
            return
        self._known.add(storage._cdata)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._freed, storage._cdata, size).atexit = False

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
    return [tensor.untyped_storage() for tensor in tensors if tensor.layout is torch.strided]


def footprint(work: Work) -> Footprint:
    """The footprint of one call; what was there before, such as its inputs, is not part of it.

    Counted below autograd, where one name in Python can be several operators. Memory that an operator
    takes and gives back inside itself is not seen, so the figure is the same on every machine.
    """
    watch = _Watch()
    with watch:
        kept = work()
    del kept
    return Footprint(watch.operators, watch.peak)
