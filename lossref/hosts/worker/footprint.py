"""What a call costs apart from time: operators that run, and bytes that are alive at the worst moment."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


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


def footprint(work: Callable[[], object]) -> Footprint:
    """The footprint of one call; what was there before, such as its inputs, is not part of it.

    Counted below autograd, where one name in Python can be several operators. Memory that an operator
    takes and gives back inside itself is not seen, so the figure is the same on every machine.
    """
    watch = _Watch()
    with watch:
        kept = work()
    del kept
    return Footprint(watch.operators, watch.peak)
