"""Checks of manners: pure, state, repeatable, strides, refuses. Same form as the checks of numbers."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.checks.evidence import Evidence, compare_gradients, compare_values, fitted, wrong
from lossref.core.axes import name_of
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import TargetRaised, call_on, instance, outputs_of, tensors
from lossref.oracle.budgets import gradient_budget, value_budget


def pure(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """No input is written to."""
    inputs = tensors(spec, case, dtype)
    before = {name: x.clone() for name, x in inputs.items()}
    outputs_of(spec, instance(target, case, dtype), inputs)
    for name, x in inputs.items():
        if x.shape != before[name].shape or not torch.equal(x.nan_to_num(), before[name].nan_to_num()):
            at = int((x != before[name]).flatten().nonzero()[0]) if x.shape == before[name].shape else 0
            return wrong(
                f"{name} was written to: element {at} was {before[name].flatten()[at].item():g} before the call "
                f"and is {x.flatten()[at].item():g} after it"
            )
    return Evidence(len(inputs))


def state(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The implementation keeps nothing that a call changed: not in its attributes, not in the default dtype."""
    function = instance(target, case, dtype)
    before = {**snapshot(function), "torch's default dtype": str(torch.get_default_dtype())}
    for kind in ("float16", "float32", "float64"):
        try:
            outputs_of(spec, function, tensors(spec, case, kind))
        except TargetRaised:
            if kind == dtype:
                raise
    after = {**snapshot(function), "torch's default dtype": str(torch.get_default_dtype())}
    found = [name for name in before | after if before.get(name) != after.get(name)]
    changed = [name for name in found if not name.endswith(".device")]  # where the last input was, by contract
    if changed:
        name = changed[0]
        was, now = _apart(str(before.get(name)), str(after.get(name)))
        return wrong(f"{name} was {was} before the calls and is {now} after them")
    return Evidence(3)


def _apart(one: str, other: str, room: int = 60) -> tuple[str, str]:
    """Both texts, cut to a length, from a little before they differ."""
    alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    start = alike - room // 3 if alike > room // 2 else 0

    def cut(text: str) -> str:
        return ("..." if start else "") + text[start : start + room] + ("..." if len(text) > start + room else "")

    return cut(one), cut(other)


def snapshot(function: Any, path: str = "", depth: int = 4) -> dict[str, str]:
    """Every attribute below a callable that can be told apart, as text."""
    if isinstance(function, Tensor):
        return {path: f"{str(function.dtype).removeprefix('torch.')} {function.detach().tolist()}"}
    if isinstance(function, (bool, int, float, str, bytes, type(None), np.ndarray)):
        return {path: repr(function)}
    inside = _inside(function)
    if not inside or depth == 0:
        return {}
    found = {}
    for name, part in inside.items():
        found.update(snapshot(part, f"{path}.{name}".lstrip("."), depth - 1))
    return found


def _inside(thing: Any) -> dict[str, Any]:
    if isinstance(thing, functools.partial):
        return {"": thing.func, "keywords": thing.keywords, "arguments": thing.args}
    if isinstance(thing, Mapping):
        return {str(key): part for key, part in thing.items()}
    if isinstance(thing, (list, tuple, set)):
        return {str(number): part for number, part in enumerate(thing)}
    if inspect.ismodule(thing):
        return {}
    inside = {name: part for name, part in getattr(thing, "__dict__", {}).items() if not name.startswith("__")}
    for number, cell in enumerate(getattr(thing, "__closure__", None) or ()):
        inside[f"closure {number}"] = _cell(cell)
    if getattr(thing, "__defaults__", None):
        inside["defaults"] = thing.__defaults__
    return inside


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the name is not bound yet
        return None


def repeatable(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The same call gives the same result twice, and again after calls with other inputs and dtypes."""
    function = instance(target, case, dtype)
    first = call_on(spec, function, tensors(spec, case, dtype))
    again = call_on(spec, function, tensors(spec, case, dtype))
    turned = {name: array[..., ::-1].copy() if array.ndim else array for name, array in case.inputs.items()}
    other = replace(case, inputs=turned)
    for one, kind in ((other, dtype), (case, "float32"), (case, "float64"), (case, "float16")):
        try:
            call_on(spec, function, tensors(spec, one, kind))
        except TargetRaised:
            continue
    later = call_on(spec, function, tensors(spec, case, dtype))
    budget = fitted(value_budget(spec, case, dtype), first.value)
    found = compare_values(spec, first.shapes, again.value, first.value, budget, after=" of the second call")
    after = " of the call after other calls"
    return found + compare_values(spec, first.shapes, later.value, first.value, budget, after=after)


def strides(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Non-contiguous, sliced and expanded inputs give what contiguous copies give."""
    own = call_on(spec, instance(target, case, dtype), tensors(spec, case, dtype), spec.wrt)
    want = {name: np.zeros_like(case.inputs[name]) if g is None else g for name, g in own.gradient.items()}
    budget, total = fitted(value_budget(spec, case, dtype), own.value), Evidence()
    for label, layout in (("transposed", _transposed), ("sliced", _sliced)):
        inputs = {name: layout(x) for name, x in tensors(spec, case, dtype).items()}
        result = _named(label, functools.partial(call_on, spec, instance(target, case, dtype), inputs, spec.wrt))
        total += compare_values(spec, own.shapes, result.value, own.value, budget, after=f" on {label} input")
        if own.gradient:
            total += compare_gradients(spec, result, want, gradient_budget(spec, case, dtype))
    return total if spec.composite else total + _expanded(spec, target, case, dtype)


def _named(label: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except TargetRaised as error:
        raise TargetRaised(f"{error} (on {label} input)") from error


def _transposed(x: Tensor) -> Tensor:
    return x if x.ndim == 0 else x.transpose(0, -1).contiguous().transpose(0, -1)


def _sliced(x: Tensor) -> Tensor:
    return x if x.ndim == 0 else x.repeat_interleave(2, dim=-1)[..., ::2]


def _expanded(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Every input is its first row, repeated without memory of its own."""
    rows = {name: x[:1].expand(x.shape) if x.ndim else x for name, x in tensors(spec, case, dtype).items()}
    copies = {name: x.clone() for name, x in rows.items()}
    want = call_on(spec, instance(target, case, dtype), copies)
    got = _named("expanded", lambda: call_on(spec, instance(target, case, dtype), rows)).value
    repeated = {name: np.repeat(x[:1], len(x), 0) if x.ndim else x for name, x in case.inputs.items()}
    budget = fitted(value_budget(spec, replace(case, inputs=repeated), dtype), want.value)
    return compare_values(spec, want.shapes, got, want.value, budget, after=" on expanded input")


# Bad input ----------------------------------------------------------------------------------------------


def refuses(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Bad input raises or gives NaN; it is never turned into a finite number that is not right."""
    total = Evidence()
    for label, inputs in _bad_inputs(spec, case, dtype):
        try:
            out = call_on(spec, instance(target, case, dtype), inputs).value
        except TargetRaised:
            total += Evidence(1)
            continue
        finite = np.isfinite(out).all() and out.size > 0
        total += wrong(f"{label} gives {out.flat[0]:.6g}, expected an error or NaN") if finite else Evidence(1)
    return total + _integers(spec, target, case)


def _bad_inputs(spec: Spec, case: Case, dtype: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    for name, domain in spec.inputs.items():
        if not domain.dtype and not domain.nan_free:
            bad = tensors(spec, case, dtype)
            bad[name].view(-1)[0] = float("nan")
            yield f"a NaN in {name}", bad
        for axis in _shared_axes(spec, name):
            bad = tensors(spec, case, dtype)
            if bad[name].shape[axis] < 3:
                continue
            bad[name] = bad[name].narrow(axis, 0, bad[name].shape[axis] - 1).clone()
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
    inputs = {name: x.long() for name, x in tensors(spec, whole, "float64").items()}
    try:
        out = call_on(spec, instance(target, case, "float64"), inputs)
    except TargetRaised:
        return Evidence(1)
    own = call_on(spec, instance(target, case, "float64"), tensors(spec, whole, "float64"))
    if not np.isfinite(out.value).any():
        return Evidence(1)
    budget = fitted(value_budget(spec, whole, "float32"), own.value)
    return compare_values(spec, own.shapes, out.value, own.value, budget, after=" on integer input")
