"""Checks of numbers: value, gradient, kinks, reduced, rare, bulk, varied.

Each is a plain function (spec, target, case, dtype) -> Evidence, about one case.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lossref.checks.behaviour import as_at_first
from lossref.checks.behaviour.constants import other_constants
from lossref.checks.cases.decided import decided
from lossref.checks.cases.recalled import recalled
from lossref.checks.evidence import (
    Evidence,
    beside,
    compare_gradients,
    compare_values,
    require_gradients,
    slack_of,
)
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import Result, call, itself
from lossref.oracle.answers import answer, true_gradient, true_value
from lossref.oracle.budgets import FLOOR, UNIT, VALUE_FACTOR, certified, gradient_budget, value_budget, value_floor
from lossref.oracle.remembered import MIB, remembered

BULK_VALUE, BULK_GRADIENT = 4.0, 8.0
DOUBTFUL = 64.0  # budgets: further off than this no rounding is


def value(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The value of one item against the oracle."""
    got, want = call(spec, target, case, dtype).value, true_value(spec, case)
    found = compare_values(
        spec, shapes_of(spec, case), got, want, value_budget(spec, case, dtype), slack_of(target, "value")
    )
    return found + as_at_first(spec, target, case, f"value {dtype}")


def shapes_of(spec: Spec, case: Case) -> list[tuple[int, ...]]:
    """The shape of every term, as the oracle gives it."""
    return [balls.shape for balls in answer(spec, case).value.values()]


def gradient(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The gradient of one item, away from kinks, against the oracle."""
    return Evidence() if not spec.composite and at_kink(spec, case) else gradient_of(spec, target, case, dtype)


def kinks(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The gradient exactly at a tie, a clamp or a logit of 0, where the rule decides."""
    return gradient_of(spec, target, case, dtype) if at_kink(spec, case) else Evidence()


def at_kink(spec: Spec, case: Case) -> bool:
    """Whether the case lies exactly on a branch, is marked as such, or has an input at its kink."""
    here = any(
        (case.inputs[name] == domain.kink).any() for name, domain in spec.inputs.items() if domain.kink is not None
    )
    return "kink" in case.flags or here or answer(spec, case).ties > 0


def gradient_of(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The gradient of a case against the oracle."""
    require_gradients(target)
    want = true_gradient(spec, case)
    result = call(spec, target, case, dtype, grad=True)
    return compare_gradients(spec, result, want, gradient_budget(spec, case, dtype), slack_of(target, "gradient"))


def reduced(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Value and gradient of a batch, with upstream gradients that differ from each other."""
    found = value(spec, target, case, dtype)
    return beside(found, lambda: gradient_of(spec, target, case, dtype)) if spec.wrt and target.gradients else found


def rare(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Legal input that is often forgotten (objects in any order, an image index that is none), against the oracle."""
    return reduced(spec, target, case, dtype)


# Against the reference, where no oracle fits ----------------------------------------------------------


def _bytes(pair: tuple[Result, Result]) -> int:
    arrays = [array for one in pair for array in (one.value, *one.gradient.values()) if array is not None]
    return 1024 + sum(array.nbytes for array in arrays)


def trusted(spec: Spec, case: Case, dtype: str) -> tuple[Result, Result]:
    """The reference in float64 and in the dtype (float32 where the dtype is float64, to scale from)."""
    return in_both(spec, case, "float32" if dtype == "float64" else dtype)


@remembered(64 * MIB, _bytes)
def in_both(spec: Spec, case: Case, lower: str) -> tuple[Result, Result]:
    """The reference in float64 and in a lower dtype: one pair for the rows of float64 and of float32."""
    own = itself(spec)
    return call(spec, own, case, "float64", grad=True), call(spec, own, case, lower, grad=True)


def measured(exact: Array, rough: Array, dtype: str, factor: float) -> Array:
    """The reference's own worst relative error in the dtype, times a factor, for every number."""
    size = FLOOR + np.abs(np.where(np.isfinite(exact), exact, 0.0))
    with np.errstate(invalid="ignore"):
        error = np.nan_to_num(np.abs(rough - exact) / size, nan=0.0, posinf=0.0)
    worst = float(error.max()) if error.size else 0.0
    scale = UNIT["float64"] / UNIT["float32"] if dtype == "float64" else 1.0
    return np.asarray(factor * max(worst * scale, UNIT[dtype]) * size)


def _summing(case: Case, value: Array, dtype: str) -> Array:
    """What adding n numbers in pairs may cost, u log2(n): the reference can be lucky, or add more cleverly."""
    numbers = sum(x.size for x in case.inputs.values()) / max(value.size, 1)
    size = FLOOR + np.abs(np.where(np.isfinite(value), value, 0.0))
    return np.asarray(UNIT[dtype] * np.log2(max(numbers, 2.0)) * size)


def bulk(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Full size: value and gradient against the reference, budgets from the reference's own error.

    That error is one draw, and the reference may be the one that is off: what is no further away than rounding can be
    is put to the oracle. What that cannot certify is left out in float64, where nothing exceeds the reference.
    """
    got = call(spec, target, case, dtype, grad=True)
    asked = case.inputs, case.params, case.asked  # not the families of a hundred thousand rows
    about = ("bulk", asked, dtype, slack_of(target, "bulk"), target.gradients, got)
    return recalled(spec, about, lambda: _at_full_size(spec, target, case, dtype, got))


def _at_full_size(spec: Spec, target: Target, case: Case, dtype: str, got: Result) -> Evidence:
    truth = bulk_truth(spec, case, dtype)
    found = _against(spec, target, got, *truth)
    if not 1 < found.worst <= DOUBTFUL:
        return found
    if sure := certified(spec, case, dtype):
        return _against(spec, target, got, replace(truth[0], value=sure[0], gradient=dict(sure[2])), sure[1], sure[3])
    return Evidence(0, 0.0, 1) if dtype == "float64" else found


def _against(
    spec: Spec, target: Target, got: Result, exact: Result, value_room: Array, rooms: dict[str, Array]
) -> Evidence:
    slack = slack_of(target, "bulk")
    found = compare_values(spec, exact.shapes, *_required(got.value, exact.value, value_room), slack)
    if not spec.wrt or not target.gradients:
        return found
    want: dict[str, Array] = {}
    budgets: dict[str, Array] = {}
    mine: dict[str, Array | None] = dict(got.gradient)
    for name, room in rooms.items():
        none = exact.gradient[name] is None and got.gradient.get(name) is None
        true = _known(exact.gradient[name], room)
        own = true if none else got.gradient.get(name)
        mine[name], want[name], budgets[name] = _required(own, true, room)
    return found + compare_gradients(spec, replace(got, gradient=mine if got.gradient else {}), want, budgets, slack)


def varied(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Other lengths, counts and classes than usual, numbers with full mantissas, logits in between: as at full size."""
    if not decided(spec, case):  # as drawn it is, but not at every setting, nor made smaller
        return Evidence(0, 0.0, 1)
    found = bulk(spec, target, case, dtype)
    if dtype != "float32":
        return found

    def known(one: Case, value: Array) -> tuple[Array, Array]:
        exact, room, _ = bulk_truth(spec, one, dtype)
        return exact.value, room

    return found + other_constants(spec, target, case, dtype, known)


def bulk_truth(spec: Spec, case: Case, dtype: str) -> tuple[Result, Array, dict[str, Array]]:
    """The reference in float64, and the budgets of a dtype: of the value, and of the gradient by input.

    There is no budget where the reference has no number in the dtype: 0 / 0 at an eps that it rounds away.
    """
    exact, rough = trusted(spec, case, dtype)
    room = np.maximum(measured(exact.value, rough.value, dtype, BULK_VALUE), _summing(case, exact.value, dtype))
    room = np.maximum(room, VALUE_FACTOR * value_floor(spec, case, dtype))  # logits that cancel owe no more here
    rooms = dict[str, Array]()
    for name in spec.wrt:
        here, there = (_known(one.gradient[name], case.inputs[name]) for one in (exact, rough))
        found = _row_budget(spec, name, case, here, there, dtype)
        rooms[name] = np.where(np.isfinite(there) | ~np.isfinite(here), found, np.inf)
    return exact, np.where(np.isfinite(rough.value) | ~np.isfinite(exact.value), room, np.inf), rooms


def _required(got: Array | None, want: Array, budget: Array) -> tuple[Any, Array, Array]:
    """What was given, the truth and the budget, with 0 in both wherever the reference gives NaN, or there is no budget.

    There the formula has no number (0 / 0, at an eps of 0), and nothing is asked.
    """
    nothing = np.isnan(want) | np.isinf(np.broadcast_to(budget, want.shape))
    if not nothing.any():
        return got, want, budget
    room = np.where(nothing, np.inf, np.broadcast_to(budget, want.shape))
    asked = got if got is None or got.size != want.size else np.where(nothing, 0.0, got.reshape(want.shape))
    return asked, np.where(nothing, 0.0, want), room


def _row_budget(spec: Spec, name: str, case: Case, exact: Array, rough: Array, dtype: str) -> Array:
    """As `measured`, and at least what the largest logit of the row owes; in units of the row without a fixed unit.

    Terms of the size 1 / (shortest side) can cancel to nothing, and leave their rounding behind.
    """
    if spec.inputs[name].unit:
        logits = np.abs(case.inputs[name]).max(axis=-1, keepdims=True, initial=FLOOR) if exact.ndim else FLOOR
        return np.maximum(measured(exact, rough, dtype, BULK_GRADIENT), BULK_GRADIENT * UNIT[dtype] * logits)
    extents = [domain.extent(case.inputs[key], case.params) for key, domain in spec.inputs.items() if domain.extent]
    largest = np.abs(np.nan_to_num(exact, nan=0.0, posinf=0.0, neginf=0.0)).max(axis=-1, keepdims=True)
    row = np.maximum(largest, 1 / np.min(extents, axis=0))
    with np.errstate(invalid="ignore"):  # 0 / 0
        return np.asarray(row * measured(exact / row, rough / row, dtype, BULK_GRADIENT))


def _known(gradient: Array | None, given: Array) -> Array:
    """A gradient; zeros where none is connected, as at a setting that takes an input out."""
    return np.zeros(given.shape) if gradient is None else gradient
