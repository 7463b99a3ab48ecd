"""Which of the two forms of a loss is computed: pairs of candidates on a CPU, tables of fixed size on a GPU.

"pairs" looks at an object only where it may have an anchor, so its shapes depend on values: the least arithmetic, and
on a GPU many waits. "static" has shapes that depend on shapes alone: nothing is copied to the host, forward and
backward are the same kernels at every call, so that they can be captured in a CUDA graph or compiled. Both give the
same numbers to rounding. Under torch.compile the static form is taken on a CPU, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

FORMS = ("pairs", "static")
SMALLEST = 64  # slots for objects
LARGEST = 1 << 28  # slots times anchors of a table, 1 GiB of float32; the pairs beyond

_FORM: ContextVar[str | None] = ContextVar("form", default=None)
_CHECKED: ContextVar[bool | None] = ContextVar("checked", default=None)


def chosen(scores: Tensor, objects: int) -> str:
    """The form for scores (b, c, A) and so many objects in the batch: "pairs" or "static"."""
    if slots_for(objects) * scores.shape[-1] > LARGEST or not scores.numel():
        return "pairs"
    if torch.compiler.is_compiling():
        return "static"
    return _FORM.get() or ("pairs" if scores.device.type == "cpu" else "static")


def slots_for(objects: int) -> int:
    """How many slots objects get: the next power of two, 64 at least, so that few sizes occur in an epoch."""
    slots = SMALLEST
    while slots < objects:
        slots *= 2
    return slots


def looked_at(x: Tensor) -> bool:
    """Whether values of x may be read by the host: on a CPU, and where `checked` asks for it."""
    if torch.compiler.is_compiling():
        return False
    wanted = _CHECKED.get()
    return x.device.type == "cpu" if wanted is None else wanted


@contextmanager
def checked(wanted: bool = True) -> Iterator[None]:
    """Within it the values of objects are checked on every device, or with False on none.

    A class that has no score raises IndexError, NaN in the objects ValueError, as on a CPU. On a GPU this waits for
    the device; without it such a batch costs NaN there, as it does under torch.compile and in a CUDA graph.
    """
    token = _CHECKED.set(wanted)
    try:
        yield
    finally:
        _CHECKED.reset(token)


@contextmanager
def forced(form: str) -> Iterator[None]:
    """Within it this form is computed on every device; for tests. ValueError unless it is one of `FORMS`."""
    if form not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
    token = _FORM.set(form)
    try:
        yield
    finally:
        _FORM.reset(token)
