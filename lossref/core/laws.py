"""Laws: what holds for any case, with no oracle at hand.

A law is a plain function (f, x, params, tol) -> None or one sentence. `f(inputs)` calls the target in
float64 and returns an array (`f(inputs, name=dtype)`: an input in another dtype, None where that is refused), `x` are
the inputs of one case, `tol` is the oracle's budget for f(x).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Law = Callable[[Any, Mapping[str, Array], Mapping[str, Any], Array], str | None]


def differs(got: Array, want: Array, tol: Array, what: str) -> str | None:
    """None if got is within tol of want, else the sentence with the worst pair of numbers."""
    if got.shape != want.shape:
        return f"{what} changes the shape from {want.shape} to {got.shape}"
    with np.errstate(invalid="ignore"):
        error = np.where(np.isfinite(got) & np.isfinite(want), np.abs(got - want), np.inf) - tol
    if error.size == 0 or not (error > 0).any():
        return None
    at = np.unravel_index(int(np.argmax(error)), error.shape)
    return f"{what} changes the value from {want[at]:.17g} to {got[at]:.17g}"


def rows_independent(*names: str) -> Law:
    """Reversing the rows of the named inputs reverses the rows of the result."""

    def law(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
        reversed_rows = {**x, **{name: x[name][::-1].copy() for name in names}}
        return differs(f(reversed_rows)[::-1], f(x), 2 * tol, "reversing the rows")

    law.__name__ = "rows are independent"
    return law


def permutation(axis: int, *names: str) -> Law:
    """Reversing one axis of all the named inputs leaves the result alone."""

    def law(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
        turned = {**x, **{name: np.flip(x[name], axis).copy() for name in names}}
        return differs(f(turned), f(x), 2 * tol, f"reversing axis {axis}")

    law.__name__ = f"order along axis {axis} does not matter"
    return law


def repetition(axis: int, factor: float, *names: str) -> Law:
    """Repeating all the named inputs along one axis multiplies the result by `factor`."""

    def law(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
        twice = {**x, **{name: np.concatenate([x[name]] * 2, axis) for name in names}}
        return differs(f(twice), factor * f(x), 3 * tol, f"repeating the input along axis {axis}")

    law.__name__ = f"repeated along axis {axis}: times {factor:g}"
    return law


def not_negative(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """The value is never below zero."""
    value = f(x)
    return f"{value.min():.9g} is negative" if (value < -tol).any() else None
