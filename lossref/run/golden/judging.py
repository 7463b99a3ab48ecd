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
from lossref.run.golden.files.packing import Tensors, budget_of, wide
from lossref.run.golden.files.volume import Stored
from lossref.run.golden.recorded import case_of
from lossref.run.golden.sampled import drawn_again, norm, numbers

CHECK = "golden"  # what slack and known failures call it


def question(spec: Spec, stored: Stored) -> Case:
    """The recorded question; inputs that are not kept are drawn again."""
    entry = stored.entry
    return drawn_again(spec, entry.id, entry.drawn) if entry.drawn else case_of(spec.name, stored)


def evidence(spec: Spec, target: Target, stored: Stored, case: Case, dtype: str) -> Evidence:
    """What the implementation gives for a recorded case, against the record; `case` is the recorded question.

    Of a case at full size the record has some numbers of each gradient, and its norm.
    """
    return asked(spec, target, stored, case, dtype)[1]


def asked(spec: Spec, target: Target, stored: Stored, case: Case, dtype: str) -> tuple[Result | None, Evidence]:
    """The same, and what it gave; None where it raised, or was not asked: the dtype has no budget at all."""
    lacking = _lacking(spec, stored)
    if not lacking and not any(np.isfinite(budget_of(stored.tensors, name, dtype)).any() for name in _judged(spec)):
        return None, Evidence(left_out=1)
    try:
        result = call(spec, target, case, dtype, grad=bool(spec.wrt))
    except TargetRaised as error:
        return None, raised(error)
    return result, judged(spec, target, stored, result, dtype)


def judged(spec: Spec, target: Target, stored: Stored, result: Result, dtype: str) -> Evidence:
    """What it gave, against the record; a record of a spec that had fewer terms or gradients is not this one."""
    lacking = _lacking(spec, stored)
    if lacking:
        return wrong(f"{lacking}: the record does not have it", kind=f"no {lacking} in the record")
    found = _values(spec, target, stored.tensors, result, dtype)
    if not spec.wrt or not target.gradients:
        return found
    return beside(found, lambda: _gradients(spec, target, stored.tensors, result, dtype))


def _lacking(spec: Spec, stored: Stored) -> str:
    return next((part for part in _judged(spec) if f"budget/{part}" not in stored.tensors), "")


def _values(spec: Spec, target: Target, tensors: Tensors, result: Result, dtype: str) -> Evidence:
    parts = [f"value/{term}" for term in spec.terms]
    want = _in_a_row([_truth(tensors, part) for part in parts])
    room = _in_a_row([budget_of(tensors, part, dtype) for part in parts])
    shapes = [tensors[part].shape for part in parts]
    return compare_values(spec, shapes, result.value, want, room, slack_of(target, CHECK))


def _in_a_row(arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate([array.ravel() for array in arrays])


def _truth(tensors: Tensors, part: str) -> Array:
    return wide(tensors[part])


def _judged(spec: Spec) -> list[str]:
    return [*(f"value/{term}" for term in spec.terms), *(f"gradient/{name}" for name in spec.wrt)]


def _gradients(spec: Spec, target: Target, tensors: Tensors, result: Result, dtype: str) -> Evidence:
    if any(f"at/{name}" in tensors for name in spec.wrt):
        return sum((_of_some(name, target, tensors, result, dtype) for name in spec.wrt), Evidence())
    want = {name: _truth(tensors, f"gradient/{name}") for name in spec.wrt}
    room = {name: budget_of(tensors, f"gradient/{name}", dtype) for name in spec.wrt}
    return compare_gradients(spec, result, want, room, slack_of(target, CHECK))


def _of_some(name: str, target: Target, tensors: Tensors, result: Result, dtype: str) -> Evidence:
    """The numbers of a gradient that were recorded, at their places, and its norm."""
    at, got = wide(tensors[f"at/{name}"]).astype(np.int64), result.gradient.get(name)
    if got is None:
        return wrong(f"d/d{name}: no gradient reaches this input (None)", kind=f"no gradient {name}")
    if at.size and int(at.max()) >= got.size:
        return wrong(f"d/d{name}: {got.size} numbers, expected more", kind=f"size of gradient {name}")
    slopes = numbers(result, name)
    parts = (
        (f"gradient/{name}", slopes[at], f"d/d{name} at the recorded places"),
        (f"norm/{name}", norm(slopes), f"norm of d/d{name}"),
    )
    return sum((_compared(part, mine, said, target, tensors, dtype) for part, mine, said in parts), Evidence())


def _compared(part: str, mine: Array, said: str, target: Target, tensors: Tensors, dtype: str) -> Evidence:
    want, room = _truth(tensors, part), budget_of(tensors, part, dtype)
    return compare(said, mine, want, room, slack_of(target, CHECK), part.replace("/", " "))
