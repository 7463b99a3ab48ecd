"""How far off a dtype may be: budgets computed from the oracle's own conditioning, never typed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from flint import arb

from lossref.core.nouns import Answer, Array, Case, Spec
from lossref.oracle.answers import answer, each, evaluate, in_a_row, true_gradient, true_value
from lossref.oracle.numbers import ZERO
from lossref.oracle.outcomes import given, measured
from lossref.oracle.remembered import MIB, remembered
from lossref.oracle.tape import Tie, Uncertified

UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
DTYPE_BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
TINY = {"float64": 2.0**-1022, "float32": 2.0**-126, "float16": 2.0**-14, "bfloat16": 2.0**-126}  # smallest normal
VALUE_FACTOR = 8.0
GRADIENT_FACTOR = 8.0
FLOOR = 1.0
REPEATED = 64.0  # units: the same code, asked the same twice
CERTIFIED = 4096  # numbers of a case that is certified where only rounding is in doubt: a second or two
LAST_PLACES = 2.0  # 2 u is a unit in the last place of 1, and the largest share of a number that one can be


def value_budget(spec: Spec, case: Case, dtype: str) -> Array:
    """B u (floor + |L| + sum |x_i dL/dx_i|), the x_i being every number of the computation.

    The floor is 1, or the largest logit: max(x, 0) - x y + ... cancels to any small number, and no
    implementation owes more than the rounding of what cancels. A composite has detached results on the
    way, whose rounding counts too: there it is the radius at the precision of the dtype.
    """
    floor = value_floor(spec, case, dtype)
    if spec.composite:
        found = VALUE_FACTOR * (floor + in_a_row(reach(spec, case, dtype, "value")))
    else:
        found = VALUE_FACTOR * (floor + UNIT[dtype] * in_a_row(answer(spec, case).condition))
    return np.maximum(found, last_places(true_value(spec, case), dtype))


def repeated(x: Array, dtype: str, least: float) -> Array:
    """What may lie between two answers of the same code: units of its largest number, which is at least `least`."""
    largest = np.abs(np.where(np.isfinite(x), x, 0.0)).max(initial=least)
    return np.full(x.shape, REPEATED * UNIT[dtype] * largest)


def room_of(spec: Spec, case: Case, dtype: str, value: Array) -> Array:
    """What may lie between two answers to one question: the budget, or what rounding does where none is certified."""
    try:
        return value_budget(spec, case, dtype)
    except (Tie, Uncertified):
        return np.full(value.shape, VALUE_FACTOR * UNIT[dtype] * (FLOOR + np.abs(value).max(initial=0.0)))


def last_places(truth: Array, dtype: str) -> Array:
    """Two units in the last place: that a formula has no rounding at all does not bind whoever takes another way."""
    return np.asarray(2 * LAST_PLACES * UNIT[dtype] * np.abs(truth))


def value_floor(spec: Spec, case: Case, dtype: str) -> float:
    """The rounding of 1, or of the largest logit."""
    logits = [np.abs(array).max(initial=FLOOR) for name, array in case.inputs.items() if spec.inputs[name].unit]
    return UNIT[dtype] * float(max(logits, default=FLOOR))


def rough(spec: Spec, case: Case, dtype: str) -> Answer:
    """The oracle at the precision of a dtype: the radius is what rounding in that dtype can do."""
    return evaluate(spec, case, DTYPE_BITS[dtype], "both")


def _bytes(arrays: Mapping[str, Array]) -> int:
    return 512 + sum(array.nbytes for array in arrays.values())


def _outcome_bytes(found: Mapping[str, Array] | ArithmeticError) -> int:
    return 512 if isinstance(found, ArithmeticError) else _bytes(found)


def reach(spec: Spec, case: Case, dtype: str, part: str) -> dict[str, Array]:
    """The radii of `rough` by name: of its "value" or its "gradient". Raises `Tie`."""
    found = given(reached(spec, case, dtype))
    return {name.partition("/")[2]: radii for name, radii in found.items() if name.startswith(f"{part}/")}


@remembered(64 * MIB, _outcome_bytes)
def reached(spec: Spec, case: Case, dtype: str) -> Mapping[str, Array] | ArithmeticError:
    """The radii of `rough`, or that it has none, kept for the next time: here and on disk."""
    return measured(f"reach {dtype}", spec, case, lambda: _radii(rough(spec, case, dtype)))


def _radii(loose: Answer) -> dict[str, Array]:
    parts = (("value", loose.value), ("gradient", loose.gradient))
    return {
        f"{part}/{name}": each(_radius, balls, np.float64) for part, arrays in parts for name, balls in arrays.items()
    }


@remembered(64 * MIB, _bytes)
def gradient_budget(spec: Spec, case: Case, dtype: str) -> dict[str, Array]:
    """What rounding in `dtype` can do to the gradient.

    The oracle runs again with the precision of the dtype: the radius of its own result bounds the
    rounding of the formula, and covers both sides of a branch that the dtype cannot resolve. A floor
    keeps what is below the dtype's resolution on the scale of the input out of the comparison.
    """
    truth, loose = true_gradient(spec, case), reach(spec, case, dtype, "gradient")
    budgets = {}
    for name in spec.wrt:
        exact = np.abs(truth[name])
        floor = _floor(spec, case, name) if spec.inputs[name].unit else exact.max(axis=-1, keepdims=True)
        room = GRADIENT_FACTOR * (UNIT[dtype] * floor + loose[name] + TINY[dtype])
        budgets[name] = np.maximum(room, last_places(truth[name], dtype))
    return budgets


def certified(spec: Spec, case: Case, dtype: str) -> tuple[Array, Array, dict[str, Array], dict[str, Array]] | None:
    """Value and its budget, gradient and its budgets; None where that takes too long or nobody knows."""
    if sum(x.size for x in case.inputs.values()) > CERTIFIED:
        return None
    try:
        slopes, rooms = (true_gradient(spec, case), gradient_budget(spec, case, dtype)) if spec.wrt else ({}, {})
        return true_value(spec, case), value_budget(spec, case, dtype), dict(slopes), dict(rooms)
    except (Tie, Uncertified):
        return None


def _floor(spec: Spec, case: Case, name: str) -> Array:
    """Element by element: 1, or the largest of the inputs of that shape there."""
    shape = case.inputs[name].shape
    beside = [np.abs(x) for key, x in case.inputs.items() if x.shape == shape and spec.inputs[key].unit]
    return np.asarray(np.maximum(FLOOR, np.max(beside, axis=0)) / (spec.inputs[name].unit or 1.0))


def _radius(ball: arb) -> float:
    if ball is ZERO:
        return 0.0
    radius = float(ball.rad()) if ball.is_finite() else math.inf
    return radius if math.isfinite(radius) else math.inf
