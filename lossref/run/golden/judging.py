"""An implementation against a recorded case: recorded answer, recorded budgets. Neither the oracle nor python-flint."""

from __future__ import annotations

import numpy as np

from lossref.checks.evidence import (
    Evidence,
    beside,
    compare,
    compare_gradients,
    compare_values,
    raised,
    slack_of,
    wrong,
)
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import Result, TargetRaised, call
from lossref.run.golden.files.packing import DTYPES, Tensors, budgets, wide
from lossref.run.golden.files.volume import Stored

CHECK = "golden"  # what slack and known failures call it


def evidence(spec: Spec, target: Target, stored: Stored, case: Case, dtype: str) -> Evidence:
    """What the implementation gives for a recorded case, against the record; `case` is the recorded question.

    Of a case at full size the record has some numbers of each gradient, and its norm.
    """
    return asked(spec, target, stored, case, dtype)[1]


def asked(spec: Spec, target: Target, stored: Stored, case: Case, dtype: str) -> tuple[Result | None, Evidence]:
    """The same, and what it gave; None where it raised."""
    try:
        result = call(spec, target, case, dtype, grad=bool(spec.wrt))
    except TargetRaised as error:
        return None, raised(error)
    found = _values(spec, target, stored.tensors, result, dtype)
    if not spec.wrt or not target.gradients:
        return result, found
    return result, beside(found, lambda: _gradients(spec, target, stored.tensors, result, dtype))


def _values(spec: Spec, target: Target, tensors: Tensors, result: Result, dtype: str) -> Evidence:
    want = [wide(tensors[f"value/{term}"]) for term in spec.terms]
    room = [_budget(tensors, f"value/{term}", dtype) for term in spec.terms]
    shapes = [one.shape for one in want]
    return compare_values(spec, shapes, result.value, *map(_in_a_row, (want, room)), slack_of(target, CHECK))


def _in_a_row(arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate([array.ravel() for array in arrays])


def _budget(tensors: Tensors, name: str, dtype: str) -> Array:
    return np.asarray(budgets(tensors[f"budget/{name}"])[DTYPES.index(dtype)])


def _gradients(spec: Spec, target: Target, tensors: Tensors, result: Result, dtype: str) -> Evidence:
    want = {name: wide(tensors[f"gradient/{name}"]) for name in spec.wrt}
    room = {name: _budget(tensors, f"gradient/{name}", dtype) for name in spec.wrt}
    if not any(f"at/{name}" in tensors for name in spec.wrt):
        return compare_gradients(spec, result, want, room, slack_of(target, CHECK))
    total = Evidence()
    for name in spec.wrt:
        total += _of_some(name, tensors, result.gradient.get(name), want[name], room[name], slack_of(target, CHECK))
    return total


def _of_some(name: str, tensors: Tensors, got: Array | None, want: Array, room: Array, slack: float) -> Evidence:
    """The numbers of a gradient that were recorded, at their places."""
    at = wide(tensors[f"at/{name}"]).astype(np.int64)
    if got is None:
        return wrong(f"d/d{name}: no gradient reaches this input (None)", kind=f"no gradient {name}")
    if at.size and int(at.max()) >= got.size:
        return wrong(f"d/d{name}: {got.size} numbers, expected more", kind=f"size of gradient {name}")
    return compare(f"d/d{name} at the recorded places", got.ravel()[at], want, room, slack, f"gradient {name}")
