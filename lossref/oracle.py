"""What the number is: runs a spec's oracle on certified arithmetic, and turns the balls into budgets."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from flint import arb

from lossref.arith import Number, Tape, Tie, Uncertified, gradient, precision
from lossref.core import Answer, Array, Case, Spec

BITS = (128, 256, 1280, 4096, 16384, 65536)
RELATIVE = 2.0**-80
NOTHING = arb(2.0**-1000) * arb(2.0**-75)  # half the smallest number of float64
UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
DTYPE_BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
VALUE_FACTOR = 8.0
GRADIENT_FACTOR = 8.0
FLOOR = 1.0
ZERO = arb(0)


@lru_cache(maxsize=256)
def weights(shape: tuple[int, ...]) -> Array:
    """Upstream gradients that differ from each other, exact in every dtype; 1.75 for a single number."""
    count = int(np.prod(shape))
    signs = np.where(np.arange(count) % 3 == 1, -1.0, 1.0)
    return (signs * (7 - np.arange(count) % 5) / 4).reshape(shape)


@lru_cache(maxsize=20_000)
def answer(spec: Spec, case: Case) -> Answer:
    """Value and gradient of one case, certified to 2^-80 relative.

    A number below 2^-1075 in absolute value (a cancellation that is exactly zero, or e^-10000) counts
    as certified: every dtype rounds it to zero. Raises `Tie` or `Uncertified`.
    """
    for bits in BITS:
        try:
            result = evaluate(spec, case, bits, "raise")
        except Tie:
            if bits == BITS[-1]:
                raise
            continue
        worst = next((ball for ball in _balls(result) if not is_certified(ball)), None)
        if worst is None:
            return result
        if not worst.is_finite():
            raise Uncertified(f"{spec.name}: the formula gives no finite number for {case.id or 'this input'}")
    raise Uncertified(f"{spec.name}: a number of {case.id or 'this input'} is still too uncertain at {BITS[-1]} bits")


def is_certified(ball: arb) -> bool:
    """Whether the radius is below 2^-80 relative, or the number rounds to zero in every dtype."""
    if ball.is_exact():
        return bool(ball.is_finite())
    return bool(ball.rad() < RELATIVE * ball.abs_lower() or ball.abs_upper() < NOTHING)


def evaluate(spec: Spec, case: Case, bits: int, undecided: str) -> Answer:
    """One run of the oracle at one precision; the balls may be of any size."""
    with precision(bits):
        tape = Tape(undecided)
        leaves = {name: _leaves(tape, array) for name, array in case.inputs.items()}
        inputs = {name: _nest(cells) for name, cells in leaves.items()}
        output = spec.oracle(tape, **inputs, **case.params)
        outputs = {spec.terms[0]: output} if len(spec.terms) == 1 else dict(zip(spec.terms, output, strict=True))
        value = {name: _array(nested) for name, nested in outputs.items()}
        grads, condition = _backward(spec, leaves, value)
    tape.nodes.clear()  # nodes and tape refer to each other; this spares the garbage collector
    balls = {name: _map(lambda number: number.value, cells, object) for name, cells in value.items()}
    return Answer(balls, grads, condition, tape.margin, tape.ties, tape.open_branches, bits)


def _backward(
    spec: Spec, leaves: dict[str, Array], value: dict[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Gradient of the weighted sum of all outputs, and sum |number * adjoint| for each output."""
    totals: dict[int, arb] = {}
    condition = {}
    for term, cells in value.items():
        conditions = []
        for number, factor in zip(cells.flat, weights(cells.shape).flat, strict=True):
            flow = gradient(number)
            conditions.append(sum([abs(float(node.value) * float(adjoint)) for node, adjoint in flow]))
            for node, adjoint in flow:
                if not node.inputs:
                    totals[node.order] = totals.get(node.order, ZERO) + float(factor) * adjoint
        condition[term] = np.array(conditions).reshape(cells.shape)
    grads = {name: _map(lambda leaf: totals.get(leaf.order, ZERO), leaves[name], object) for name in spec.wrt}
    return grads, condition


def _balls(result: Answer) -> list[arb]:
    arrays = (*result.value.values(), *result.gradient.values())
    return [ball for array in arrays for ball in array.flat]


def _leaves(tape: Tape, array: Array) -> Array:
    return _map(lambda x: tape.number(float(x)), np.asarray(array, dtype=np.float64), object)


def _map(function: Callable[[Any], Any], cells: Array, dtype: Any) -> Array:
    result = np.empty(cells.size, dtype=dtype)
    for number, cell in enumerate(cells.flat):
        result[number] = function(cell)
    return result.reshape(cells.shape)


def _nest(cells: Any) -> Any:
    if not isinstance(cells, np.ndarray):
        return cells
    return cells.item() if cells.ndim == 0 else tuple(_nest(part) for part in cells)


def _array(nested: Any) -> Array:
    shape: list[int] = []
    inner = nested
    while not isinstance(inner, Number):
        shape.append(len(inner))
        inner = inner[0]
    result = np.empty(shape, dtype=object)
    for at in np.ndindex(*shape):
        cell = nested
        for index in at:
            cell = cell[index]
        result[at] = cell
    return result


# From balls to numbers --------------------------------------------------------------------------------


def nearest(ball: arb) -> float:
    """The float64 nearest to the ball's midpoint; 0 for what rounds to zero."""
    return float(ball) if not ball.abs_upper() < NOTHING else 0.0


def floats(balls: Array) -> Array:
    """`nearest` of every ball."""
    return _map(nearest, balls, np.float64)


def endpoints(ball: arb) -> tuple[Fraction, Fraction]:
    """The exact lower and upper end of a finite ball."""
    mid, rad = _fraction(ball.mid()), _fraction(ball.rad())
    return mid - rad, mid + rad


def _fraction(exact: arb) -> Fraction:
    mantissa, exponent = (int(part) for part in exact.man_exp())
    return Fraction(mantissa) * Fraction(2) ** exponent


def value_budget(spec: Spec, case: Case, dtype: str) -> Array:
    """B u (floor + |L| + sum |x_i dL/dx_i|), the x_i being every number of the computation.

    The floor is 1, or the largest logit: max(x, 0) - x y + ... cancels to any small number, and no
    implementation owes more than the rounding of what cancels.
    """
    condition = answer(spec, case).condition[spec.terms[0]]
    logits = [np.abs(array).max(initial=FLOOR) for name, array in case.inputs.items() if spec.inputs[name].unit]
    return np.asarray(VALUE_FACTOR * UNIT[dtype] * (max(logits, default=FLOOR) + condition))


@lru_cache(maxsize=20_000)
def gradient_budget(spec: Spec, case: Case, dtype: str) -> dict[str, Array]:
    """What rounding in `dtype` can do to the gradient.

    The oracle runs again with the precision of the dtype: the radius of its own result bounds the
    rounding of the formula, and covers both sides of a branch that the dtype cannot resolve. A floor
    keeps what is below the dtype's resolution on the scale of the input out of the comparison.
    """
    truth = answer(spec, case)
    rough = evaluate(spec, case, DTYPE_BITS[dtype], "both")
    budgets = {}
    for name in spec.wrt:
        exact = np.abs(floats(truth.gradient[name]))
        floor = _floor(spec, case, name) if spec.inputs[name].unit else exact.max(axis=-1, keepdims=True)
        reach = _map(_reach, rough.gradient[name], np.float64)
        budgets[name] = np.asarray(GRADIENT_FACTOR * (UNIT[dtype] * floor + reach))
    return budgets


def _floor(spec: Spec, case: Case, name: str) -> Array:
    """Element by element: 1, or the largest of the inputs of that shape there."""
    shape = case.inputs[name].shape
    beside = [np.abs(x) for key, x in case.inputs.items() if x.shape == shape and spec.inputs[key].unit]
    return np.asarray(np.maximum(FLOOR, np.max(beside, axis=0)) / (spec.inputs[name].unit or 1.0))


def _reach(ball: arb) -> float:
    radius = float(ball.rad()) if ball.is_finite() else math.inf
    return radius if math.isfinite(radius) else math.inf


def certified_digits(ball: arb, digits: int = 24) -> str | None:
    """The number rounded to `digits` significant digits, or None where the ball leaves a choice."""
    if ball.abs_upper() < NOTHING:
        return "0"
    low, high = (_decimal(end, digits) for end in endpoints(ball))
    return low if low == high else None


def _decimal(x: Fraction, digits: int) -> str:
    from decimal import Context, Decimal

    context = Context(prec=digits)
    return format(context.divide(Decimal(x.numerator), Decimal(x.denominator)).normalize(context), "e")
