"""Changes of the constants of a formula: other sizes of those that are small, and a narrower type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from lossref.run.causes.explain.formula.plain import Constants
from lossref.run.causes.explain.formula.steps import constant, kept_narrow, with_

Other = Callable[..., Any]
SIZES = (1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3, 1.0)
LITTLE = 1e-2
LARGEST_FLOAT32 = 1e38


class Change(NamedTuple):
    """What is done instead: in words, by whom, whether it is only that a gradient is cut off, or is another one."""

    words: str
    other: Other
    cuts: bool = False
    flows: bool = False


def little(args: Constants) -> Iterator[Change]:
    """Other sizes of a small constant, or of one that nearly is a whole number (1 + eps)."""
    for place, x in enumerate(args):
        whole = 0 if x is None else round(x)
        if x is not None and 0 < abs(x - whole) <= LITTLE:
            for size in (0.0, *SIZES[:-1]):
                yield Change(f"has {whole + size!r} for {x!r}", partial(with_, place, partial(constant, whole + size)))


def kept_in_float32(args: Constants) -> Iterator[Change]:
    """A table, or a number made of constants, that is kept in float32."""
    for place, x in enumerate(args):
        if x is not None and abs(x) <= LARGEST_FLOAT32 and float(np.float32(x)) != x:
            yield Change(f"has its {('first', 'second')[place]} operand, a constant, in float32", kept_narrow[place])
