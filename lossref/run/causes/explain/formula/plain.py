"""An oracle on plain floats: fast, with a gradient tape, and with one step of it done otherwise if so wished.

Every operation goes through `Floats.step`, which knows its place: the code object and the instruction it is called
from. So a formula can be run as it is, to learn its places, and again with another operation at one of them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any, NoReturn

from lossref.oracle.tape import Tie
from lossref.run.causes.explain.formula import derived

Place = tuple[CodeType, int, str]  # the code, the instruction, and the operation
Constants = tuple[float | None, ...]  # what operands were Python numbers
Step = Callable[..., Any]


class Plain:
    """A float, and how it was made: `inputs` are pairs (operand, partial derivative)."""

    __slots__ = ("inputs", "order", "tape", "value")

    def __init__(self, tape: Floats, value: float, inputs: tuple[tuple[Plain, float], ...] = ()) -> None:
        self.tape, self.value, self.inputs = tape, value, inputs
        self.order = len(tape.nodes)
        tape.nodes.append(self)

    def __add__(self, other: Any) -> Any:
        return self.tape.step("add", sys._getframe(1), self, other)

    def __radd__(self, other: Any) -> Any:
        return self.tape.step("add", sys._getframe(1), other, self)

    def __sub__(self, other: Any) -> Any:
        return self.tape.step("sub", sys._getframe(1), self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.tape.step("sub", sys._getframe(1), other, self)

    def __mul__(self, other: Any) -> Any:
        return self.tape.step("mul", sys._getframe(1), self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.tape.step("mul", sys._getframe(1), other, self)

    def __truediv__(self, other: Any) -> Any:
        return self.tape.step("div", sys._getframe(1), self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.tape.step("div", sys._getframe(1), other, self)

    def __pow__(self, exponent: float) -> Any:
        return self.tape.step("pow", sys._getframe(1), self, exponent)

    def __neg__(self) -> Any:
        return self.tape.step("neg", sys._getframe(1), self)

    def __lt__(self, other: Any) -> bool:
        return bool(self.tape.step("less", sys._getframe(1), self, other))

    def __gt__(self, other: Any) -> bool:
        return bool(self.tape.step("less", sys._getframe(1), other, self))


class Floats:
    """The arithmetic `m` of an oracle, on plain floats; at the `places` that are given another step is taken."""

    def __init__(self, places: Mapping[Place, Step] | None = None, most: float = math.inf) -> None:
        self.nodes: list[Plain] = []
        self.places, self.most, self.steps = places or {}, most, 0
        self.eps: float | None = None  # that of the case, if it has one
        self.pi = Plain(self, math.pi)

    def step(self, name: str, frame: FrameType, *args: Any, **kwargs: Any) -> Any:
        """The operation, or what is done instead of it at this place. Raises ArithmeticError after too many of them."""
        self.steps += 1
        if self.steps > self.most:
            raise ArithmeticError("a formula that is changed here comes to no end")
        instead = self.places.get((frame.f_code, frame.f_lasti, name))
        usual = derived.RAW[name]
        return usual(self, *args, **kwargs) if instead is None else instead(self, usual, *args, **kwargs)

    def made(self, value: float, inputs: tuple[tuple[Plain, float], ...]) -> Plain:
        """A number that was made of others."""
        return Plain(self, value, inputs)

    def number(self, x: float) -> Plain:
        """A leaf."""
        return Plain(self, float(x))

    def cells(self, *nested: Any) -> Iterator[tuple[Any, ...]]:
        """The numbers of equally nested tuples, side by side."""
        if not isinstance(nested[0], (tuple, list)):
            yield nested
        else:
            for parts in zip(*nested, strict=True):
                yield from self.cells(*parts)

    def sorted(self, xs: Iterable[Any]) -> list[Any]:
        """In ascending order."""
        return sorted(xs, key=lambda x: float(x.value))

    def floor(self, x: Any) -> int:
        """The integer part."""
        return math.floor(float(x.value))

    def tie(self, why: str) -> NoReturn:
        """No answer."""
        raise Tie(why)

    def __getattr__(self, name: str) -> Any:
        if name not in derived.RAW:
            raise AttributeError(name)
        return lambda *args, **kwargs: self.step(name, sys._getframe(1), *args, **kwargs)


def flat(nested: Any) -> list[Any]:
    """All that stands in nested tuples, in a row."""
    return [x for part in nested for x in flat(part)] if isinstance(nested, (tuple, list)) else [nested]


def flows(outputs: Sequence[tuple[Plain, float]], count: int) -> list[float]:
    """d (weighted sum of the outputs) / d node, for the first so many nodes of the tape.

    As torch does, a flow of 0 through an infinite slope is NaN; what no output depends on has 0.
    """
    nodes = outputs[0][0].tape.nodes
    adjoint: list[float | None] = [None] * len(nodes)
    for output, factor in outputs:
        adjoint[output.order] = (adjoint[output.order] or 0.0) + float(factor)
    for node in reversed(nodes):
        flow = adjoint[node.order]
        if flow is not None:
            for operand, partial in node.inputs:
                added = flow * float(partial)  # numpy warns of inf - inf, Python does not
                before = adjoint[operand.order]
                adjoint[operand.order] = added if before is None else before + added
    return [found or 0.0 for found in adjoint[:count]]
