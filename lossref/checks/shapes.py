"""Checks of shapes: shape, single, empty. Same form as the checks of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lossref.checks.evidence import Evidence, compare, compare_values, fitted, wrong
from lossref.checks.numbers import BULK_VALUE, measured, trusted, value
from lossref.core.axes import name_of, shape_of
from lossref.core.nouns import Array, Case, Domain, Spec, Target
from lossref.hosts.probe import ask, call, call_of, result_of
from lossref.hosts.worker.messages import Returned
from lossref.oracle.budgets import repeated, value_budget
from lossref.oracle.tape import Tie, Uncertified

AXES: dict[str, Callable[[int], Array]] = {
    "one axis": lambda n: np.array(0),
    "three axes": lambda n: np.arange(n)[None],
    "three axes, one of them of size 1": lambda n: np.arange(n)[:, None],
    "four axes": lambda n: np.arange(n)[None, :, None],
    "four axes, none of size 1": lambda n: (np.arange(30) % n).reshape(2, 3, 5),
}
"""Which of n rows stands where."""


def single(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The smallest input gives the right shape and value."""
    return _shape_of(spec, target, case, dtype) + value(spec, target, case, dtype)


def shape(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Every documented shape of the input gives the documented shape, and the reference's value."""
    if has_leading(spec) and _as_stated(spec, case):
        return _of_rows(spec, target, case, dtype) + _of_other_axes(spec, target, case, dtype)
    if not (target.trusted or _as_stated(spec, case)):
        return Evidence()  # what a loss does beyond the axes that its spec states is its own business
    return _of_rows(spec, target, case, dtype)


def _of_rows(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    found = _shape_of(spec, target, case, dtype)
    exact, rough = trusted(spec, case, dtype)
    got = call(spec, target, case, dtype).value
    room = np.maximum(measured(exact.value, rough.value, dtype, BULK_VALUE), _certified(spec, case, exact.value, dtype))
    return found + compare_values(spec, exact.shapes, got, exact.value, room)


def has_leading(spec: Spec) -> bool:
    """Whether each of its inputs may have any number of axes before its rows."""
    return all(domain.leading for domain in spec.inputs.values())


def _of_other_axes(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The rows under more axes, or one row under none: what is refused, or has another shape, is its own business."""
    plain = call_of(spec, case.inputs, dtype)
    count = len(next(iter(plain.inputs.values())))
    places = {word: rows_at(count) for word, rows_at in AXES.items()}
    calls = [replace(plain, inputs={name: x[at] for name, x in plain.inputs.items()}) for at in places.values()]
    own, *others = ask(spec, target, case, [plain, *calls]).returned
    rows, pairs = result_of(own).value, zip(others, places.items(), strict=True)
    return sum((_like(rows, one, dtype, *pair) for one, pair in pairs), Evidence())


def _like(rows: Array, one: Returned, dtype: str, word: str, at: Array) -> Evidence:
    """The answer to rows under other axes beside that to the rows."""
    if one.raised or result_of(one).value.shape != (*at.shape, *rows.shape[1:]):
        return Evidence(0, 0.0, 1)
    want, after = rows[at], f" of input with {word}"
    room = repeated(want, dtype, 1.0)
    return compare("the value" + after, result_of(one).value, want, room, kind="value" + after)


def _certified(spec: Spec, case: Case, value: Array, dtype: str) -> Array | float:
    """What rounding may do by the oracle, which sees more than one reference does; 0 where it is not asked."""
    if spec.composite or case.id.split(" ")[0] != "small" or spec.why_not(case):
        return 0.0
    try:
        return fitted(value_budget(spec, case, dtype), value)
    except (Tie, Uncertified):
        return 0.0


def _as_stated(spec: Spec, case: Case) -> bool:
    """Whether the shapes are those of the axes, each name of one size throughout; nothing is broadcast."""
    params = {**spec.defaults(), **case.params}
    sizes: dict[str, int] = {}
    for name, domain in spec.inputs.items():
        axes, shape = domain.axes.split(), case.inputs[name].shape
        if len(axes) != len(shape):
            return False
        sizes |= {axis: size for axis, size in zip(axes, shape, strict=True) if name_of(axis) == axis}
    dims = spec.dims(params, sizes)
    return all(_fits(domain, case.inputs[name].shape, dims) for name, domain in spec.inputs.items())


def _fits(domain: Domain, shape: tuple[int, ...], dims: Mapping[str, Any]) -> bool:
    """Whether each axis has its size; one of which no size is known may have any."""
    pairs = zip(domain.axes.split(), shape, strict=True)
    return all(size == shape_of(axis, dims)[0] for axis, size in pairs if not name_of(axis) or name_of(axis) in dims)


def _shape_of(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    want, got = trusted(spec, case, dtype)[0].shapes, call(spec, target, case, dtype).shapes
    if len(want) == 1:
        want, got = want[0], got[0]  # type: ignore[assignment]
    given = ", ".join(f"{name} {tuple(x.shape)}" for name, x in case.inputs.items())
    return Evidence(1) if got == want else wrong(f"returned shape {got}, expected {want} for {given}", kind="shape")


def empty(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """No item at all: shape and value as specified, and a gradient that can be taken."""
    found = _shape_of(spec, target, case, dtype)
    exact, rough = trusted(spec, case, dtype)
    got = call(spec, target, case, dtype, grad=True).value
    if got.size != exact.value.size or got.size == 0:
        return found
    room = measured(exact.value, rough.value, dtype, BULK_VALUE)
    return found + compare_values(spec, exact.shapes, got, exact.value, room)
