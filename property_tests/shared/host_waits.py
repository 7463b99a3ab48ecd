"""What makes the host wait for a GPU, found without one: results, or shapes, that only values tell, and copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Each copies to the host, or has a shape that it must first be told.
WAITS = (
    *("_local_scalar_dense", "nonzero", "masked_select", "bincount", "equal", "is_nonzero", "item"),
    *("unique_consecutive", "unique_dim", "_unique2", "_unique", "allclose", "histc"),
)
BY_VALUES = ("repeat_interleave",)  # of a tensor of counts alone, where no size is said
BY_MASK = ("index", "index_put", "index_put_", "_index_put_impl_")


class _Watch(TorchDispatchMode):
    """Counts the operators that wait, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        said = _said(func, args, kwargs or {})
        if said:
            self.found[said] += 1
        return func(*args, **(kwargs or {}))


def _said(func: Any, args: Any, kwargs: Any) -> str:
    name = func._schema.name.removeprefix("aten::")
    if name in WAITS:
        return name
    if name in BY_VALUES and kwargs.get("output_size") is None and "Tensor" in func._overloadname:
        return f"{name} without output_size"
    if name in BY_MASK and any(x.dtype in (torch.bool, torch.uint8) for x in _indices(args)):
        return f"{name} with a mask"
    if name in ("_to_copy", "copy_") and _crosses(name, args, kwargs):
        return f"{name} to another device"
    if name == "lift_fresh" and args[0].ndim:  # what torch.tensor made of numbers on the host
        return "a tensor made of numbers"
    return ""


def _crosses(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a copy goes from one device to another; a single number on the CPU goes along with a kernel."""
    source, place = (args[1], args[0].device) if name == "copy_" else (args[0], kwargs.get("device") or args[0].device)
    return torch.device(place).type != source.device.type


def _indices(args: Any) -> list[Tensor]:
    return [x for x in tree_leaves(args[1]) if isinstance(x, Tensor)]


@contextmanager
def waits() -> Iterator[Counter[str]]:
    """Run the body; what in it would have waited, by name, with how often."""
    with _Watch() as watch:
        yield watch.found
