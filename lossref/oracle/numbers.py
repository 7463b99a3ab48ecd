"""A number on the tape: a ball, and how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import flint
from flint import arb

ONE, MINUS_ONE, ZERO = arb(1), arb(-1), arb(0)


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Run the body with `bits` bits of working precision."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


class Recorder(Protocol):
    """What a number needs of the tape that it stands on."""

    nodes: list[Number]

    def number(self, x: float) -> Number:
        """A leaf of the tape."""
        ...

    def less(self, a: Number, b: Number | float) -> bool:
        """Whether a < b."""
        ...

    def pow(self, x: Number, exponent: float) -> Number:
        """x ** exponent."""
        ...


class Number:
    """A ball, and how it was made: `inputs` are pairs (operand, partial derivative)."""

    __slots__ = ("inputs", "order", "tape", "value")

    def __init__(self, tape: Recorder, value: arb, inputs: tuple[tuple[Number, arb], ...] = ()) -> None:
        self.tape = tape
        self.value = value
        self.inputs = inputs
        nodes = tape.nodes
        self.order = len(nodes)
        nodes.append(self)

    def __repr__(self) -> str:
        return self.value.str(12)

    def __add__(self, other: Number | float) -> Number:
        if isinstance(other, Number):
            return Number(self.tape, self.value + other.value, ((self, ONE), (other, ONE)))
        return Number(self.tape, self.value + other, ((self, ONE),))

    __radd__ = __add__

    def __neg__(self) -> Number:
        return Number(self.tape, -self.value, ((self, MINUS_ONE),))

    def __sub__(self, other: Number | float) -> Number:
        if isinstance(other, Number):
            return Number(self.tape, self.value - other.value, ((self, ONE), (other, MINUS_ONE)))
        return Number(self.tape, self.value - other, ((self, ONE),))

    def __rsub__(self, other: float) -> Number:
        return Number(self.tape, other - self.value, ((self, MINUS_ONE),))

    def __mul__(self, other: Number | float) -> Number:
        if isinstance(other, Number):
            return Number(self.tape, self.value * other.value, ((self, other.value), (other, self.value)))
        return Number(self.tape, self.value * other, ((self, arb(other)),))

    __rmul__ = __mul__

    def __truediv__(self, other: Number | float) -> Number:
        if not isinstance(other, Number):
            return Number(self.tape, self.value / other, ((self, ONE / arb(other)),))
        quotient = self.value / other.value
        return Number(self.tape, quotient, ((self, ONE / other.value), (other, -quotient / other.value)))

    def __lt__(self, other: Number | float) -> bool:
        return self.tape.less(self, other)

    def __gt__(self, other: Number | float) -> bool:
        return (other if isinstance(other, Number) else self.tape.number(other)) < self

    def __pow__(self, exponent: float) -> Number:
        return self.tape.pow(self, exponent)

    def __rtruediv__(self, other: float) -> Number:
        quotient = other / self.value
        return Number(self.tape, quotient, ((self, -quotient / self.value),))


def gradient(output: Number) -> list[tuple[Number, arb]]:
    """(node, d output / d node) for every node that `output` depends on, itself first."""
    return gradient_of_sum([(output, ONE)])


def gradient_of_sum(outputs: Sequence[tuple[Number, arb]]) -> list[tuple[Number, arb]]:
    """(node, d sum / d node) of a weighted sum of outputs, for every node that it depends on, the last one first."""
    nodes, found = outputs[0][0].tape.nodes, adjoints(outputs)
    return [(nodes[order], flow) for order in range(len(found) - 1, -1, -1) if (flow := found[order]) is not None]


def adjoints(outputs: Sequence[tuple[Number, arb]]) -> list[arb | None]:
    """d sum / d node of a weighted sum of outputs by the order of the node; None where it does not depend on it."""
    nodes = outputs[0][0].tape.nodes
    last = max(output.order for output, _ in outputs)
    adjoint: list[arb | None] = [None] * (last + 1)
    for output, factor in outputs:
        known = adjoint[output.order]
        adjoint[output.order] = factor if known is None else known + factor
    for order in range(last, -1, -1):
        flow = adjoint[order]
        if flow is None:
            continue
        for operand, partial in nodes[order].inputs:
            step = flow if partial is ONE else flow * partial
            below = operand.order
            known = adjoint[below]
            adjoint[below] = step if known is None else known + step
    return adjoint
