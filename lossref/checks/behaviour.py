"""Checks of manners: pure, state, repeatable, strides, refuses. Same form as the checks of numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from lossref.checks.evidence import Evidence, compare_gradients, compare_values, fitted, require_gradients, wrong
from lossref.core.axes import name_of
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.endings import DeviceLost
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
    for term, found in floating:
        if found != dtype:
            where = f" for {term}" if len(spec.terms) > 1 else ""
            return wrong(f"{dtype} inputs give {found}{where}, expected {dtype}")
    return Evidence(len(got.dtypes) + len(got.gradient_dtype))


def pure(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """No input is written to."""
    (found,) = ask(spec, target, case, (call_of(spec, case.inputs, dtype),), watch=True).returned
    result_of(found)
    return wrong(found.written[0]) if found.written else Evidence(len(spec.inputs))


def state(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """A call changes nothing that outlives it: no attribute, no setting of torch, no random state, no handler."""
    kinds = ("float16", "float32", "float64")
    reply = ask(spec, target, case, [call_of(spec, case.inputs, kind) for kind in kinds], watch=True)
    result_of(reply.returned[kinds.index(dtype)])
    if not reply.changed:
        return Evidence(3)
    name, before, after = reply.changed[0]
    was, now = _apart(before, after)
    return wrong(f"{name} was {was} before the calls and is {now} after them")


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
    if returned[0].fleeting:
        return wrong(f"{returned[0].fleeting[0]}: the tensor that the first call returned was changed by a later call")
    budget = fitted(value_budget(spec, case, dtype), first.value)
    found = compare_values(spec, first.shapes, again.value, first.value, budget, after=" of the second call")
    after = " of the call after other calls"
    return found + compare_values(spec, first.shapes, later.value, first.value, budget, after=after)


def strides(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Inputs, and a gradient from above, that are no contiguous memory give what contiguous copies give."""
    own = call(spec, target, case, dtype, grad=True)
    want = {name: np.zeros_like(case.inputs[name]) if g is None else g for name, g in own.gradient.items()}
    budget, total = fitted(value_budget(spec, case, dtype), own.value), Evidence()
    for label, how in LAYOUTS:
        result = _laid_out(
            spec, target, case, call_of(spec, case.inputs, dtype, spec.wrt if target.gradients else (), **how), label
        )
        total += compare_values(spec, own.shapes, result.value, own.value, budget, after=f" on {label}")
        if own.gradient:
            total += compare_gradients(spec, result, want, gradient_budget(spec, case, dtype), after=f" on {label}")
    return total if spec.composite else total + _expanded(spec, target, case, dtype)


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


# Bad input ----------------------------------------------------------------------------------------------


def refuses(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Bad input raises or gives NaN; it is never turned into a finite number that is not right."""
    total = Evidence()
    for label, inputs in _bad_inputs(spec, case):
        try:
            out = call_on(spec, target, case, call_of(spec, inputs, dtype)).value
        except (TargetRaised, DeviceLost):  # on a GPU an index out of range ends the kernel, and raises nothing
            total += Evidence(1)
            continue
        finite = np.isfinite(out).all() and out.size > 0
        total += wrong(f"{label} gives {out.flat[0]:.6g}, expected an error or NaN") if finite else Evidence(1)
    return total + _integers(spec, target, case)


def _bad_inputs(spec: Spec, case: Case) -> Iterator[tuple[str, dict[str, Array]]]:
    for name, domain in spec.inputs.items():
        if not domain.dtype and not domain.nan_free:
            bad = {key: np.array(x, dtype=np.float64) for key, x in case.inputs.items()}
            bad[name].reshape(-1)[0] = np.nan
            yield f"a NaN in {name}", bad
        for axis in _shared_axes(spec, name):
            size = case.inputs[name].shape[axis]
            if size < 3:
                continue
            bad = {**case.inputs, name: np.take(case.inputs[name], range(size - 1), axis)}
            shapes = ", ".join(f"{other} {tuple(x.shape)}" for other, x in bad.items())
            yield f"the wrong shape of {name} ({shapes})", bad


def _shared_axes(spec: Spec, name: str) -> list[int]:
    """Axes that another input shares, or whose size is fixed: one less cannot be right."""
    others = {name_of(axis) for key, domain in spec.inputs.items() if key != name for axis in domain.axes.split()}
    axes = spec.inputs[name].axes.split()
    return [number for number, axis in enumerate(axes) if axis.isdigit() or name_of(axis) in others]


def _integers(spec: Spec, target: Target, case: Case) -> Evidence:
    """Integer input raises, or gives what the same numbers give as floats."""
    rounded: Mapping[str, Array] = {name: np.round(x) for name, x in case.inputs.items()}
    whole = replace(case, inputs=rounded)
    if spec.why_not(whole):
        return Evidence()
    one = replace(call_of(spec, whole.inputs, "int64"), dtypes=dict.fromkeys(spec.inputs, "int64"))
    try:
        out = call_on(spec, target, case, one)
    except (TargetRaised, DeviceLost):
        return Evidence(1)
    own = call(spec, target, whole, "float64")
    if not np.isfinite(out.value).any():
        return Evidence(1)
    budget = fitted(value_budget(spec, whole, "float32"), own.value)
    return compare_values(spec, own.shapes, out.value, own.value, budget, after=" on integer input")
