"""Parameters that the flow is tested at, as plain numbers: exact in every dtype, and sparse for the oracle.

"zero" is the standard normal, "F0" and "F1" are the worked examples of spec/20-assignment.md section 5,
"woven" has every hidden unit at work.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

HIDDEN = 64
COUPLINGS = 6


class Layer(NamedTuple):
    """One linear layer: for each output its nonzero weights by input, and its bias."""

    weight: list[dict[int, float]]
    bias: list[float]


def _layer(outputs: int, weight: dict[tuple[int, int], float], bias: dict[int, float]) -> Layer:
    rows: list[dict[int, float]] = [{} for _ in range(outputs)]
    for (row, column), value in weight.items():
        if value:
            rows[row][column] = value
    return Layer(rows, [bias.get(row, 0.0) for row in range(outputs)])


def _zero(net: str, k: int) -> tuple[Layer, ...]:
    return _layer(HIDDEN, {}, {}), _layer(HIDDEN, {}, {}), _layer(2, {}, {})


def _f0(net: str, k: int) -> tuple[Layer, ...]:
    last = {0: 0.5, 1: 0.25} if net == "s" else {0: 0.125, 1: -0.25}
    return *_zero(net, k)[:2], _layer(2, {}, last)


def _f1(net: str, k: int) -> tuple[Layer, ...]:
    g = 0.5 if net == "s" else -0.25
    first = _layer(HIDDEN, {(0, 0): 1.0, (1, 1): 1.0}, {0: 0.125})
    second = _layer(HIDDEN, {(0, 0): 1.0, (1, 1): -1.0}, {1: 0.25})
    step = (k + 1) / 16
    return first, second, _layer(2, {(0, 1): g, (1, 0): g}, {0: step, 1: -step})


def _woven(net: str, k: int) -> tuple[Layer, ...]:
    turn = 2 * k + (net == "t")
    units = range(HIDDEN)
    first = {(i, j): ((7 * i + 3 * j + turn) % 9 - 4) / 4 for i in units for j in range(2)}
    second = {(i, i): ((3 * i + turn) % 5 - 2) / 4 for i in units}
    second |= {(i, (5 * i + 3 + k) % HIDDEN): ((11 * i + turn) % 7 - 3) / 4 for i in units}
    last = {(row, i): (((2 * row + 3) * i + turn) % 5 - 2) / 32 for row in range(2) for i in units}
    return (
        _layer(HIDDEN, first, {i: ((5 * i + turn) % 7 - 3) / 8 for i in units}),
        _layer(HIDDEN, second, {i: ((3 * i + 2 * turn) % 5 - 2) / 8 for i in units}),
        _layer(2, last, {row: ((row + 1) * (turn + 2) % 5 - 2) / 8 for row in range(2)}),
    )


STATES: dict[str, Callable[[str, int], tuple[Layer, ...]]] = {"woven": _woven, "zero": _zero, "F0": _f0, "F1": _f1}


@cache
def layers_of(state: str, net: str, k: int) -> tuple[Layer, ...]:
    """The three layers of net "s" or "t" of coupling k."""
    return STATES[state](net, k)
