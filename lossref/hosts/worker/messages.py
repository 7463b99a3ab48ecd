"""What judge and host say to each other: a `Question` with its calls, a `Reply` with what came back of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LAYOUTS = ("contiguous", "transposed", "sliced", "expanded", "repeated")


@dataclass(frozen=True, eq=False)
class Call:
    """One call of what a question has built.

    inputs:   name -> exact numbers (float64), in the order in which they are handed over
    dtypes:   name -> the dtype of the tensor that is made of them
    wrt:      the inputs to which gradients are asked
    layout:   of the inputs in memory, one of `LAYOUTS`; "expanded": every input is its first row, repeated
              without memory of its own; "repeated": the same numbers, with it
    alone:    the one input that has this layout; none: all
    upstream: the layout of the gradient that comes from above
    scale:    the factor of that gradient
    every:    (first, step) of the numbers that get one: k = first, first + step, ...; from above of all others comes 0
    context:  where the call stands and how, in words of `tensors`, or nothing
    """

    inputs: Mapping[str, Array]
    dtypes: Mapping[str, str]
    wrt: tuple[str, ...] = ()
    layout: str = "contiguous"
    alone: str = ""
    upstream: str = "contiguous"
    scale: float = 1.0
    every: tuple[int, int] = (0, 1)
    context: str = ""

    @property
    def usual_weights(self) -> bool:
        """Whether what comes from above is as the protocol has it."""
        return self.scale == 1.0 and tuple(self.every) == (0, 1) and self.upstream != "repeated"


@dataclass(frozen=True, eq=False)
class Question:
    """An implementation is built with the parameters, and then called, again and again.

    terms:  the names of what it returns, in order
    params: the parameters of the spec that it accepts
    calls:  in order; one that raises does not keep the next from being made
    device: where the inputs are
    absent: those of the terms that are 0 at these parameters, so that it may leave them out
    watch:  whether its attributes are compared from before the calls to after them
    beside: the parameters of another object of the same kind, which a call may stand beside
    """

    terms: tuple[str, ...]
    params: Mapping[str, Any]
    calls: tuple[Call, ...]
    device: str = "cpu"
    watch: bool = False
    absent: tuple[str, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Returned:
    """What one call gave: an exception in one line, or the terms as float64 and how they were.

    gradients: name -> d(weighted sum of all terms)/d(input), None where none reaches it; empty if nothing is connected
    written:   the inputs that the call wrote to, as sentences
    fleeting:  the terms, and gradients (d/dINPUT), whose numbers were overwritten by a later call
    moved:     (what, was, is) of the setting in which the call stood, if it has left another one
    """

    raised: str = ""
    values: tuple[Array, ...] = ()
    dtypes: tuple[str, ...] = ()
    gradients: Mapping[str, Array | None] = field(default_factory=dict)
    gradient_dtypes: Mapping[str, str | None] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    fleeting: tuple[str, ...] = ()
    moved: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Timed:
    """What was read while one thing was called again and again, or two in turns; or an exception in one line.

    seconds:    for each thing (rounds, 2): seconds for one call, two readings in each round
    footprints: for each thing the operators that ran in one call, and the bytes that were alive at the worst moment
    """

    raised: str = ""
    seconds: tuple[Array, ...] = ()
    footprints: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class Reply:
    """What the calls of one question gave, and what they left behind.

    changed: (what, was, is) of everything that is not as it was before the question
    printed: what was written to stdout and stderr meanwhile, its beginning and its end
    """

    returned: tuple[Returned, ...]
    changed: tuple[tuple[str, str, str], ...] = ()
    printed: str = ""
    seconds: float = 0.0
