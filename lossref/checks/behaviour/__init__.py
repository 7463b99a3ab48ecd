"""Checks of manners: connected, dtype, pure, state, repeatable, strides. Same form as the checks of numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from lossref.checks.evidence import (
    Evidence,
    beside,
    compare_gradients,
    compare_values,
    fitted,
    require_gradients,
    wrong,
)
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.probe import Result, TargetRaised, ask, call, call_of, call_on, result_of
from lossref.hosts.worker.messages import Call
from lossref.oracle.budgets import gradient_budget, value_budget


def connected(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Every input that can be differentiated gets a gradient: zeros at least, never None."""
    require_gradients(target)
    found = call(spec, target, case, dtype, grad=True).gradient
    missing = [name for name in spec.wrt if found.get(name) is None]
    if missing:
        return wrong(f"no gradient reaches {', '.join(missing)} (None instead of zeros), which an optimiser skips")
    return Evidence(len(spec.wrt))


def keeps_dtype(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Output and gradients have the dtype of the inputs."""
    got = call(spec, target, case, dtype, grad=True)
    floating = [(term, found) for term, found in zip(spec.terms, got.dtypes, strict=True) if "float" in found]
    total = Evidence(len(got.dtypes) + len(got.gradient_dtype))
    for term, found in floating:
        where = f" for {term}" if len(spec.terms) > 1 else ""
        if found != dtype:
            total += wrong(f"{dtype} inputs give {found}{where}, expected {dtype}", 0, f"dtype of {term}")
    return total


def pure(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """No input is written to."""
    (found,) = ask(spec, target, case, (call_of(spec, case.inputs, dtype),), watch=True).returned
    result_of(found)
    said = (wrong(one, kind=f"writes {one.partition(' ')[0]}") for one in found.written)
    return sum(said, Evidence()) if found.written else Evidence(len(spec.inputs))


def state(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """A call changes nothing that outlives it: no attribute, no setting of torch, no random state, no handler."""
    kinds = ("float16", "float32", "float64")
    reply = ask(spec, target, case, [call_of(spec, case.inputs, kind) for kind in kinds], watch=True)
    result_of(reply.returned[kinds.index(dtype)])
    if not reply.changed:
        return Evidence(3)
    total = Evidence()
    for name, before, after in reply.changed:
        was, now = _apart(before, after)
        total += wrong(f"{name} was {was} before the calls and is {now} after them", kind=f"state {name}")
    return total


def _apart(one: str, other: str, room: int = 60) -> tuple[str, str]:
    """Both texts, cut to a length, from a little before they differ."""
    alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    start = alike - room // 3 if alike > room // 2 else 0

    def cut(text: str) -> str:
        return ("..." if start else "") + text[start : start + room] + ("..." if len(text) > start + room else "")

    return cut(one), cut(other)


def repeatable(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The same call gives the same result twice, and again after calls with other inputs and dtypes."""
    turned = {name: array[..., ::-1].copy() if array.ndim else array for name, array in case.inputs.items()}
    others = [(turned, dtype), *((case.inputs, kind) for kind in ("float32", "float64", "float16"))]
    asked = [(case.inputs, dtype)] * 2 + others + [(case.inputs, dtype)]
    returned = ask(spec, target, case, [call_of(spec, inputs, kind) for inputs, kind in asked]).returned
    first, again, later = (result_of(returned[number]) for number in (0, 1, -1))
    changed = "the tensor that the first call returned was changed by a later call"
    found = sum((wrong(f"{term}: {changed}", kind=f"fleeting {term}") for term in returned[0].fleeting), Evidence())
    budget = fitted(value_budget(spec, case, dtype), first.value)
    found += compare_values(spec, first.shapes, again.value, first.value, budget, after=" of the second call")
    after = " of the call after other calls"
    return found + compare_values(spec, first.shapes, later.value, first.value, budget, after=after)


def strides(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Inputs, and a gradient from above, that are no contiguous memory give what contiguous copies give."""
    own = call(spec, target, case, dtype, grad=True)
    want = {name: np.zeros_like(case.inputs[name]) if g is None else g for name, g in own.gradient.items()}
    budget, total = fitted(value_budget(spec, case, dtype), own.value), Evidence()

    def on(label: str, how: Mapping[str, str]) -> Evidence:
        wrt = spec.wrt if target.gradients else ()
        result = _laid_out(spec, target, case, call_of(spec, case.inputs, dtype, wrt, **how), label)
        found = compare_values(spec, own.shapes, result.value, own.value, budget, after=f" on {label}")
        if not own.gradient:
            return found
        return found + compare_gradients(spec, result, want, gradient_budget(spec, case, dtype), after=f" on {label}")

    for label, how in LAYOUTS:
        total = beside(total, partial(on, label, how))
    return total if spec.composite else beside(total, lambda: _expanded(spec, target, case, dtype))


LAYOUTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("transposed input", {"layout": "transposed"}),
    ("sliced input", {"layout": "sliced"}),
    ("a sliced gradient from above", {"upstream": "sliced"}),
    ("a transposed gradient from above", {"upstream": "transposed"}),
)


def _laid_out(spec: Spec, target: Target, case: Case, one: Call, label: str) -> Result:
    try:
        return call_on(spec, target, case, one)
    except TargetRaised as error:
        raise TargetRaised(f"{error} (on {label})") from error


def _expanded(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Every input is its first row, repeated without memory of its own."""
    repeated = {name: np.repeat(x[:1], len(x), 0) if x.ndim else x for name, x in case.inputs.items()}
    want = call_on(spec, target, case, call_of(spec, repeated, dtype))
    one = call_of(spec, repeated, dtype, layout="expanded")
    got = _laid_out(spec, target, case, one, "expanded input").value
    budget = fitted(value_budget(spec, replace(case, inputs=repeated), dtype), want.value)
    return compare_values(spec, want.shapes, got, want.value, budget, after=" on expanded input")
