"""A number on the tape: a ball, and how it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flint import arb

if TYPE_CHECKING:
    from lossref.arith import Tape

ONE, MINUS_ONE = arb(1), arb(-1)


class Number:
    """A ball, and how it was made: `inputs` are pairs (operand, partial derivative)."""

    __slots__ = ("inputs", "order", "tape", "value")

    def __init__(self, tape: Tape, value: arb, inputs: tuple[tuple[Number, arb], ...] = ()) -> None:
        self.tape = tape
        self.value = value
        self.inputs = inputs
        self.order = tape.count
        tape.count += 1

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


def gradient(output: Number) -> dict[int, tuple[Number, arb]]:
    """{order: (node, d output / d node)} for every node that `output` depends on."""
    nodes = _reachable(output)
    adjoint: dict[int, arb] = {output.order: ONE}
    result = {}
    for order in sorted(nodes, reverse=True):
        node, flow = nodes[order], adjoint[order]
        result[order] = (node, flow)
        for operand, partial in node.inputs:
            step = flow if partial is ONE else flow * partial
            known = adjoint.get(operand.order)
            adjoint[operand.order] = step if known is None else known + step
    return result


def _reachable(output: Number) -> dict[int, Number]:
    nodes = {output.order: output}
    waiting = [output]
    while waiting:
        for operand, _ in waiting.pop().inputs:
            if operand.order not in nodes:
                nodes[operand.order] = operand
                waiting.append(operand)
    return nodes
