"""Certified arithmetic for the oracle: balls (python-flint `arb`) on a reverse-mode gradient tape.

One scalar formula, run once, gives the value and the gradient to every input, each with a certified
radius. The same formula run again at the precision of a dtype gives, as the radius of its result, a
bound on what rounding in that dtype can do: that is where gradient budgets come from.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cmp_to_key
from typing import Any, NoReturn

import flint
from flint import arb

from lossref.oracle.numbers import ONE, Number, gradient, precision

__all__ = ["Number", "Tape", "Tie", "Uncertified", "Undecided", "fresh", "gradient", "precision"]

HALF = arb(0.5)
EITHER = arb(0.5, 0.5)
ANY_SIGN = arb(0, 1)


class Tie(ArithmeticError):
    """Two numbers that must be ordered, and that their balls cannot order."""


class Uncertified(ArithmeticError):
    """A number whose certified radius stays too large at every precision that was tried."""


class Undecided(Tie):
    """Several choices that are equally right, at any precision."""


class Tape:
    """The arithmetic `m` an oracle gets as its first argument: `lossref.core.arithmetic.Operations` on balls.

    `undecided` says what a comparison does when the balls overlap: "raise" a `Tie`, or "both": keep
    the hull of both branches, so that the result covers whichever one a dtype happens to take.
    """

    def __init__(self, undecided: str = "raise") -> None:
        self.nodes: list[Number] = []
        self.undecided = undecided
        self.margin = math.inf
        self.ties = 0
        self.open_branches = 0
        self.pi = Number(self, arb.pi())

    def number(self, x: float) -> Number:
        """A leaf of the tape with the exact value of the float `x`."""
        return Number(self, arb(x))

    def stop(self, x: Number) -> Number:
        """`x` with no gradient flowing through it."""
        return Number(self, x.value)

    def cells(self, *nested: Any) -> Iterator[tuple[Number, ...]]:
        """The numbers of equally nested tuples, side by side, in row-major order."""
        if isinstance(nested[0], Number):
            yield nested
        else:
            for parts in zip(*nested, strict=True):
                yield from self.cells(*parts)

    def _unary(self, x: Number, value: arb, partial: arb) -> Number:
        return Number(self, value, ((x, partial),))

    def exp(self, x: Number) -> Number:
        value = x.value.exp()
        return self._unary(x, value, value)

    def log(self, x: Number) -> Number:
        return self._unary(x, x.value.log(), ONE / x.value)

    def log1p(self, x: Number) -> Number:
        return self._unary(x, x.value.log1p(), ONE / (ONE + x.value))

    def sqrt(self, x: Number) -> Number:
        root = x.value.sqrt()
        return self._unary(x, root, HALF / root)

    def sin(self, x: Number) -> Number:
        return self._unary(x, x.value.sin(), x.value.cos())

    def cos(self, x: Number) -> Number:
        return self._unary(x, x.value.cos(), -x.value.sin())

    def atan(self, x: Number) -> Number:
        return self._unary(x, x.value.atan(), ONE / (ONE + x.value * x.value))

    def erf(self, x: Number) -> Number:
        slope = 2 / arb.pi().sqrt() * (-x.value * x.value).exp()
        return self._unary(x, x.value.erf(), slope)

    def sigmoid(self, x: Number) -> Number:
        p, q = _sigmoid(x.value), _sigmoid(-x.value)
        return self._unary(x, p, p * q)

    def softplus(self, x: Number) -> Number:
        """ln(1 + e^x), without cancellation on either side."""
        v = x.value
        value = v + (-v).exp().log1p() if v > 0 else v.exp().log1p()
        return self._unary(x, value, _sigmoid(v))

    def logsumexp(self, xs: Sequence[Number]) -> Number:
        top = max(x.value.mid() for x in xs)
        terms = [(x.value - top).exp() for x in xs]
        total = sum(terms, arb(0))
        return Number(self, top + total.log(), tuple((x, t / total) for x, t in zip(xs, terms, strict=True)))

    def sum(self, xs: Iterable[Number]) -> Number:
        xs = tuple(xs)
        return Number(self, sum((x.value for x in xs), arb(0)), tuple((x, ONE) for x in xs))

    def pow(self, x: Number, exponent: float) -> Number:
        """x ** exponent for x >= 0; 0 ** 0 is 1."""
        if exponent == 0:
            return Number(self, arb(1))
        return self._unary(x, _power(x.value, exponent), exponent * _power(x.value, exponent - 1))

    def _side(self, a: arb, b: arb) -> int | None:
        """-1, 0 or 1 as a is below, equal to or above b; None where that cannot be told."""
        if a < b:
            side = -1
        elif a > b:
            side = 1
        elif a.is_exact() and b.is_exact():
            self.ties += 1
            self.margin = 0.0
            return 0
        elif self.undecided == "raise":
            raise Tie(f"cannot order {a.str(15)} and {b.str(15)} at {flint.ctx.prec} bits")
        else:
            self.open_branches += 1
            return None
        largest = max(abs(float(a)), abs(float(b)))
        self.margin = min(self.margin, abs(float(a - b)) / largest if largest else 0.0)
        return side

    def _pick(self, a: Number, b: Number, side: int | None) -> Number:
        """a if side < 0, b if side > 0; at a tie each receives half of the gradient."""
        if side is None:
            return Number(self, a.value.union(b.value), ((a, EITHER), (b, EITHER)))
        if side == 0:
            return Number(self, a.value, ((a, HALF), (b, HALF)))
        chosen = a if side < 0 else b
        return Number(self, chosen.value, ((chosen, ONE),))

    def min(self, a: Number, b: Number) -> Number:
        return a if a is b else self._pick(a, b, self._side(a.value, b.value))

    def max(self, a: Number, b: Number) -> Number:
        return a if a is b else self._pick(b, a, self._side(a.value, b.value))

    def abs(self, x: Number) -> Number:
        side = self._side(x.value, arb(0))
        return self._unary(x, abs(x.value), ANY_SIGN if side is None else arb(side))

    def clamp(self, x: Number, low: float | None = None, high: float | None = None) -> Number:
        """x limited to [low, high]; both bounds pass the gradient."""
        for bound, outside in ((low, -1), (high, 1)):
            if bound is None:
                continue
            limit = self._constant(bound)
            side = self._side(x.value, limit)
            if side == outside:
                return Number(self, limit)
            if side is None:
                x = Number(self, x.value.union(limit), ((x, EITHER),))
        return x

    def _constant(self, x: float) -> arb:
        """A constant; at the precision of a dtype it is rounded like everything else."""
        exact = arb(x)
        return exact if self.undecided == "raise" else exact * arb(1, 2.0**-flint.ctx.prec)

    def less(self, a: Number, b: Number | float) -> bool:
        """Whether a < b; always decided, or a `Tie` is raised."""
        other = b.value if isinstance(b, Number) else arb(b)
        side = self._side(a.value, other)
        if side is None:
            raise Tie(f"cannot order {a.value.str(15)} and {other.str(15)} at {flint.ctx.prec} bits")
        return side < 0

    def tie(self, why: str) -> NoReturn:
        """Say that several choices are equally right, so that the case has no answer."""
        raise Undecided(why)

    def sorted(self, xs: Iterable[Number]) -> list[Number]:

        def order(a: Number, b: Number) -> int:
            return -1 if self.less(a, b) else int(self.less(b, a))

        return sorted(xs, key=cmp_to_key(order))

    def floor(self, x: Number) -> int:
        """The integer part of x, as a Python int (no gradient)."""
        value = x.value.floor().unique_fmpz()
        if value is None:
            raise Tie(f"cannot tell the integer part of {x.value.str(15)} at {flint.ctx.prec} bits")
        self.less(x, float(int(value)))
        self.less(x, float(int(value) + 1))
        return int(value)


@contextmanager
def fresh(undecided: str = "raise") -> Iterator[Tape]:
    """A tape for the body, emptied afterwards; no cycles are looked for among its numbers, all needed to the end."""
    tape, before = Tape(undecided), gc.isenabled()
    gc.disable()
    try:
        yield tape
    finally:
        tape.nodes.clear()  # nodes and tape refer to each other; this spares the garbage collector
        if before:
            gc.enable()


def _sigmoid(x: arb) -> arb:
    return ONE / (ONE + (-x).exp()) if x > 0 else x.exp() / (ONE + x.exp())


def _power(x: arb, exponent: float) -> arb:
    if exponent == int(exponent) and abs(exponent) < 64:
        return _integer_power(x, int(exponent))
    if x > 0:
        return (exponent * x.log()).exp()
    if exponent < 0:
        return arb.nan()
    if x.is_exact() and x.is_zero():
        return arb(0)
    top = arb(x.upper())
    return arb(0).union((exponent * top.log()).exp())


def _integer_power(x: arb, exponent: int) -> arb:
    if exponent < 0:
        return ONE / _integer_power(x, -exponent)
    result = ONE
    for _ in range(exponent):
        result = result * x
    return result
