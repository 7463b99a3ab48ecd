"""What an oracle may compute with: `Arithmetic`, the type of its first argument `m`, and the numbers it hands out.

An oracle is scalar Python on such numbers: `+ - * / **`, comparisons, and the functions listed here. Whoever
carries it out (certified balls on a tape, today) decides what a number is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn, Protocol, TypeVar


class Scalar(Protocol):
    """A number of an oracle, with the operators of Python."""

    def __add__(self, other: Any, /) -> Any:
        """The sum with a number or a float."""

    def __sub__(self, other: Any, /) -> Any:
        """The difference."""

    def __mul__(self, other: Any, /) -> Any:
        """The product."""

    def __truediv__(self, other: Any, /) -> Any:
        """The quotient."""

    def __pow__(self, exponent: float, /) -> Any:
        """A power of a base that is not negative, as `pow`."""

    def __neg__(self) -> Any:
        """The number with the other sign."""

    def __lt__(self, other: Any, /) -> bool:
        """As `less`."""


S = TypeVar("S", bound=Scalar)


class Operations(Protocol[S]):
    """The functions of a number, for one type of numbers."""

    pi: S

    def number(self, x: float, /) -> S:
        """The exact value of a float; the gradient to it is not asked."""
        ...

    def stop(self, x: S, /) -> S:
        """`x` with no gradient flowing through it."""
        ...

    def cells(self, *nested: Any) -> Iterator[tuple[Any, ...]]:
        """The numbers of equally nested tuples, side by side, in row-major order."""
        ...

    def exp(self, x: S, /) -> S:
        """e^x."""
        ...

    def log(self, x: S, /) -> S:
        """The natural logarithm."""
        ...

    def log1p(self, x: S, /) -> S:
        """ln(1 + x)."""
        ...

    def sqrt(self, x: S, /) -> S:
        """The square root; its slope at 0 is infinite."""
        ...

    def sin(self, x: S, /) -> S:
        """The sine of x in radians."""
        ...

    def cos(self, x: S, /) -> S:
        """The cosine of x in radians."""
        ...

    def atan(self, x: S, /) -> S:
        """The arc tangent, in radians."""
        ...

    def erf(self, x: S, /) -> S:
        """The error function."""
        ...

    def sigmoid(self, x: S, /) -> S:
        """1 / (1 + e^-x)."""
        ...

    def softplus(self, x: S, /) -> S:
        """ln(1 + e^x)."""
        ...

    def logsumexp(self, xs: Sequence[S], /) -> S:
        """ln(sum e^x)."""
        ...

    def sum(self, xs: Iterable[S], /) -> S:
        """The sum; of nothing it is 0."""
        ...

    def pow(self, x: S, exponent: float, /) -> S:
        """x^exponent for x >= 0; 0^0 is 1."""
        ...

    def min(self, a: S, b: S, /) -> S:
        """The smaller one; at a tie each receives half of the gradient."""
        ...

    def max(self, a: S, b: S, /) -> S:
        """The larger one; at a tie each receives half of the gradient."""
        ...

    def abs(self, x: S, /) -> S:
        """The absolute value; its slope at 0 is 0."""
        ...

    def clamp(self, x: S, /, low: float | None = None, high: float | None = None) -> S:
        """x limited to [low, high]; both bounds pass the gradient."""
        ...

    def less(self, a: S, b: S | float, /) -> bool:
        """Whether a < b: a decision, through which no gradient flows."""
        ...

    def sorted(self, xs: Iterable[S], /) -> list[S]:
        """In ascending order."""
        ...

    def floor(self, x: S, /) -> int:
        """The integer part of x."""
        ...

    def tie(self, why: str, /) -> NoReturn:
        """Say that several choices are equally right, so that the case has no answer."""
        ...


Arithmetic = Operations[Any]
