"""What the number is: runs a spec's oracle on certified arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import chain, repeat
from typing import Any

import numpy as np
from flint import arb

from lossref.core.arithmetic import Operations
from lossref.core.nouns import Answer, Array, Case, Domain, Spec
from lossref.oracle.numbers import ZERO, adjoints
from lossref.oracle.outcomes import answered, given
from lossref.oracle.remembered import MIB, remembered
from lossref.oracle.tape import Number, Tape, Tie, Uncertified, Undecided, fresh, gradient, precision

BITS = (128, 256, 1280, 4096, 16384, 65536)
RELATIVE = 2.0**-80
NOTHING = arb(2.0**-1000) * arb(2.0**-75)  # half the smallest number of float64
Backward = tuple[dict[str, Array], dict[str, Array]]


def _bytes_of_array(found: Array) -> int:
    return 256 + int(found.nbytes)


@remembered(16 * MIB, _bytes_of_array)
def weights(shape: tuple[int, ...]) -> Array:
    """Upstream gradients that differ from each other, exact in every dtype; 1.75 for a single number."""
    count = int(np.prod(shape))
    signs = np.where(np.arange(count) % 3 == 1, -1.0, 1.0)
    return (signs * (7 - np.arange(count) % 5) / 4).reshape(shape)


def bytes_of(found: Answer | ArithmeticError) -> int:
    """What an answer takes in memory, about: a ball is an object of its own, with the digits of its midpoint."""
    if isinstance(found, ArithmeticError):
        return 1024
    return 1024 + len(_balls(found)) * (128 + found.bits // 8)


def answer(spec: Spec, case: Case) -> Answer:
    """Value and gradient of one case, certified to 2^-80 relative.

    A number below 2^-1075 in absolute value (a cancellation that is exactly zero, or e^-10000) counts
    as certified: every dtype rounds it to zero. Raises `Tie` or `Uncertified`.
    """
    return given(outcome_of(spec, case))


@remembered(256 * MIB, bytes_of)
def outcome_of(spec: Spec, case: Case) -> Answer | ArithmeticError:
    """The same with what it raises: that a case has no answer takes longest to find out."""
    return answered("answer", spec, case, lambda: climbed(spec, case, is_certified))


def climbed(spec: Spec, case: Case, accepted: Callable[[arb], bool]) -> Answer:
    """The answer at the first precision of `BITS` that decides every branch and whose every ball is `accepted`.

    Raises `Tie` where the last precision decides no better than the first, or no precision ever will, and
    `Uncertified` where a number is not finite, or not accepted at the last one either.
    """
    for bits in BITS:
        try:
            result = evaluate(spec, case, bits, "raise")
        except Tie as error:
            if bits == BITS[-1] or isinstance(error, Undecided):
                raise
            continue
        worst = next((ball for ball in _balls(result) if ball is not ZERO and not accepted(ball)), None)
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
    with precision(bits), fresh(undecided) as tape:
        leaves = {name: _leaves(tape, spec.inputs[name], array) for name, array in case.inputs.items()}
        m: Operations[Number] = tape
        output = spec.oracle(
            m, **{name: _tuples(cells.tolist(), cells.ndim) for name, cells in leaves.items()}, **case.params
        )
        value = {name: _array(tape, nested) for name, nested in _by_term(spec, output).items()}
        grads, condition = (_swept if spec.composite else _backward)(spec, leaves, value)
    balls = {name: each(lambda number: number.value, cells, object) for name, cells in value.items()}
    return Answer(balls, grads, condition, tape.margin, tape.ties, tape.open_branches, bits)


def _by_term(spec: Spec, output: Any) -> dict[str, Any]:
    """What an oracle returned, under the names of the terms."""
    if len(spec.terms) == 1:
        return {spec.terms[0]: output}
    if not isinstance(output, (tuple, list)) or len(output) != len(spec.terms):
        got = f"{len(output)} results" if isinstance(output, (tuple, list)) else "one result"
        raise ValueError(f"returned {got}, expected {len(spec.terms)}: {', '.join(spec.terms)}")
    return dict(zip(spec.terms, output, strict=True))


def _backward(spec: Spec, leaves: dict[str, Array], value: dict[str, Array]) -> Backward:
    """Gradient of the weighted sum of all outputs, and sum |number * adjoint| for each output."""
    totals: dict[int, arb] = {}
    conditions = []
    for number, factor in _weighted(value):
        flow = gradient(number)
        conditions.append(sum([abs(float(node.value) * float(adjoint)) for node, adjoint in flow]))
        for node, adjoint in flow:
            if not node.inputs:
                totals[node.order] = totals.get(node.order, ZERO) + factor * adjoint
    grads = {name: each(lambda leaf: totals.get(leaf.order, ZERO), leaves[name], object) for name in spec.wrt}
    return grads, _split(np.array(conditions), value)


def _swept(spec: Spec, leaves: dict[str, Array], value: dict[str, Array]) -> Backward:
    """The gradient alone, in one pass over the tape."""
    found = adjoints(outputs) if spec.wrt and (outputs := _weighted(value)) else []
    grads = {name: _along(found, leaves[name]) for name in spec.wrt}
    return grads, {name: np.zeros(cells.shape) for name, cells in value.items()}


def _along(found: list[arb | None], leaves: Array) -> Array:
    """What flows to the leaves of one input, which stand on the tape in a row: to most of them nothing."""
    first = leaves.flat[0].order if leaves.size else 0
    flows = chain(found[first : first + leaves.size], repeat(None))
    return np.fromiter((ZERO if flow is None else flow for flow in flows), object, leaves.size).reshape(leaves.shape)


def _weighted(value: dict[str, Array]) -> list[tuple[Number, arb]]:
    """All numbers of all outputs in a row, each with its upstream gradient."""
    numbers = [number for cells in value.values() for number in cells.flat]
    return [(number, arb(float(w))) for number, w in zip(numbers, weights((len(numbers),)), strict=True)]


def _split(flat: Array, value: dict[str, Array]) -> dict[str, Array]:
    """A row of numbers, one for each output number, cut into the shapes of the outputs."""
    ends = np.cumsum([cells.size for cells in value.values()])
    parts = np.split(flat, ends[:-1])
    return {name: part.reshape(cells.shape) for (name, cells), part in zip(value.items(), parts, strict=True)}


def _balls(result: Answer) -> list[arb]:
    arrays = (*result.value.values(), *result.gradient.values())
    return [ball for array in arrays for ball in array.flat]


def _leaves(tape: Tape, domain: Domain, array: Array) -> Array:
    """Numbers on the tape; plain Python integers or booleans where the input is no floating one."""
    if domain.dtype:
        return each(bool if domain.dtype == "bool" else int, array, object)
    return each(lambda x: Number(tape, arb(x)), np.asarray(array, dtype=np.float64), object)


def each(function: Callable[[Any], Any], cells: Array, dtype: Any) -> Array:
    """The function of every cell, in an array of the same shape."""
    return np.fromiter(map(function, cells.ravel().tolist()), dtype, cells.size).reshape(cells.shape)


def _tuples(nested: Any, depth: int) -> Any:
    if depth < 2:
        return tuple(nested) if depth else nested
    return tuple([_tuples(part, depth - 1) for part in nested])


def _array(tape: Tape, nested: Any) -> Array:
    shape: list[int] = []
    inner = nested
    while isinstance(inner, (tuple, list)):
        shape.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    result = np.empty(shape, dtype=object)
    for at in np.ndindex(*shape):
        cell = nested
        for index in at:
            cell = cell[index]
        result[at] = cell if isinstance(cell, Number) else tape.number(float(cell))
    return result


# From balls to numbers --------------------------------------------------------------------------------


def nearest(ball: arb) -> float:
    """The float64 nearest to the ball's midpoint; 0 for what rounds to zero."""
    return 0.0 if ball is ZERO or ball.abs_upper() < NOTHING else float(ball)


def floats(balls: Array) -> Array:
    """`nearest` of every ball."""
    return each(nearest, balls, np.float64)


def endpoints(ball: arb) -> tuple[Fraction, Fraction]:
    """The exact lower and upper end of a finite ball."""
    mid, rad = _fraction(ball.mid()), _fraction(ball.rad())
    return mid - rad, mid + rad


def _fraction(exact: arb) -> Fraction:
    mantissa, exponent = (int(part) for part in exact.man_exp())
    return Fraction(mantissa << exponent) if exponent >= 0 else Fraction(mantissa, 1 << -exponent)


def in_a_row(arrays: Mapping[str, Array]) -> Array:
    """One term: its array; several: all their numbers in a row."""
    found = list(arrays.values())
    return found[0] if len(found) == 1 else np.concatenate([array.ravel() for array in found])


def _bytes_of_arrays(arrays: Mapping[str, Array]) -> int:
    return 512 + sum(array.nbytes for array in arrays.values())


def true_value(spec: Spec, case: Case) -> Array:
    """The certified value as float64: of one term as it is, of several in a row."""
    return floats(in_a_row(answer(spec, case).value))


@remembered(64 * MIB, _bytes_of_arrays)
def true_gradient(spec: Spec, case: Case) -> Mapping[str, Array]:
    """The certified gradient to every differentiable input as float64."""
    return {name: floats(balls) for name, balls in answer(spec, case).gradient.items()}


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
