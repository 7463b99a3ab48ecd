"""The check `refuses`: bad input raises or gives NaN. Nothing is asked that the formula does not make certain.

A NaN that no number depends on may vanish, a finite answer that is right is no mistake, and where the reference itself
gives a finite number there is nothing to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from lossref.checks.evidence import Evidence, compare_values, fitted, wrong
from lossref.checks.material import material
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.endings import DeviceLost
from lossref.hosts.probe import Result, TargetRaised, call, call_of, call_on, itself
from lossref.oracle.budgets import room_of, value_budget
from lossref.oracle.remembered import MIB, remembered
from lossref.oracle.tape import Tie, Uncertified

REFUSED = (TargetRaised, DeviceLost)  # on a GPU an index out of range ends the kernel, and raises nothing
Inputs = Mapping[str, Array]
PLACES = 12  # elements of an input that are tried, one after the other
GATES = 6  # cases on which it is found out whether an input is one
STEPS = (0.5, -0.5, 1.0, -1.0)  # to another value of an element, which may have an effect
NOTICED = 1e-9  # relative, of a value in float64: what an element that has no effect does not do


class Bad(NamedTuple):
    """Bad input: what is wrong with it, the good input, if any, whose answer is right, too; if `of_one`, one number."""

    label: str
    inputs: Inputs
    good: Callable[[], Inputs | None]
    of_one: bool = False


def refuses(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """A NaN, integers, and a shape that is refused raise or give NaN, never a finite number that is not right."""
    total, refused, before = Evidence(), "", _answered(spec, target, case, case.inputs, dtype)
    for bad in _bad_inputs(spec, case, target.only):
        given = _given(spec, target, case, bad.inputs, dtype)
        out = _if_finite(given)
        if out is None:
            total, refused = total + Evidence(1), refused or bad.label
        elif _answered(spec, itself(spec), case, bad.inputs, dtype) is None and not _is_right(
            spec, case, dtype, out, bad.good()
        ):
            total += wrong(f"{bad.label} gives {out.flat[0]:.6g}, expected an error or NaN", kind=bad.label)
        if before is not None and bad.of_one and not spec.composite:
            total += _others_stay(spec, case, dtype, bad, given)
    total += _integers(spec, target, case)
    return total if before is None or not refused else total + _unmoved(spec, target, case, dtype, before, refused)


def _unmoved(spec: Spec, target: Target, case: Case, dtype: str, before: Array, refused: str) -> Evidence:
    """What it has refused leaves nothing behind: good input is answered as it was before.

    A process that is not as it was is not kept: what is asked next finds another one.
    """
    after = _answered(spec, target, case, case.inputs, dtype)
    if after is not None and _are_near(spec, case, dtype, after, before):
        return Evidence()
    if target.host is not None:
        target.host.close()
    is_now = "refused" if after is None else "answered differently"
    return wrong(f"after {refused} was refused, good input is {is_now}", kind="after a refusal")


def _others_stay(spec: Spec, case: Case, dtype: str, bad: Bad, given: Array | None) -> Evidence:
    """Rows that a bad number has nothing to do with, by the reference, are NaN, too, or what they were."""
    right, spoilt = (_given(spec, itself(spec), case, inputs, "float64") for inputs in (case.inputs, bad.inputs))
    if given is None or right is None or spoilt is None or not given.size == right.size == spoilt.size > 1:
        return Evidence()
    got, want = given.ravel(), right.ravel()
    stays = (want == spoilt.ravel()) & np.isfinite(got)
    room = fitted(room_of(spec, case, dtype, right), right).ravel()
    moved = np.flatnonzero(stays & (np.abs(np.where(stays, got, want) - want) > room))
    if not moved.size:
        return Evidence(int(stays.sum()))
    at = moved[0]
    said = f"{bad.label} makes another number {got[at]:.6g}, which is {want[at]:.6g} without it"
    return wrong(said, kind=f"{bad.label}: others")


def _given(spec: Spec, target: Target, case: Case, inputs: Inputs, dtype: str) -> Array | None:
    """The numbers that it gives, None where it raises."""
    try:
        return call_on(spec, target, case, call_of(spec, inputs, dtype)).value
    except REFUSED:
        return None


def _if_finite(given: Array | None) -> Array | None:
    return given if given is not None and given.size > 0 and np.isfinite(given).all() else None


def _answered(spec: Spec, target: Target, case: Case, inputs: Inputs, dtype: str) -> Array | None:
    """The numbers that it gives if all of them are finite, None where it refuses."""
    return _if_finite(_given(spec, target, case, inputs, dtype))


def _is_right(spec: Spec, case: Case, dtype: str, out: Array, good: Inputs | None) -> bool:
    """Whether these numbers are what the reference gives for the input that the bad one may be taken for."""
    want = None if good is None else _answered(spec, itself(spec), case, good, "float64")
    return want is not None and _are_near(spec, case, dtype, out, want)


def _are_near(spec: Spec, case: Case, dtype: str, out: Array, want: Array) -> bool:
    """Whether no number is further off than its budget."""
    if out.size != want.size:
        return False
    return bool((np.abs(out.ravel() - want.ravel()) <= fitted(room_of(spec, case, dtype, want), want).ravel()).all())


def _bad_inputs(spec: Spec, case: Case, only: Container[str]) -> Iterator[Bad]:
    """What the specification refuses, and NaN where it matters; not where the target takes only some numbers.

    A NaN is no place, either: what has none does not count, as where it is the index of no image.
    """
    for name, domain in spec.inputs.items():
        asked = not (domain.dtype or domain.nan_free or domain.indexes or name in only)
        at = _place(spec, case, name) if asked else None
        if at is not None:
            bad, nothing = (_with(case.inputs, name, at, value) for value in (np.nan, 0.0))
            yield Bad(f"a NaN in {name}", bad, partial(_if_gate, spec, name, nothing), True)
        for axis in (number for number, axis in enumerate(domain.axes.split()) if axis in domain.refused.split()):
            size = case.inputs[name].shape[axis]
            if size >= 3:
                short = {**case.inputs, name: np.take(case.inputs[name], range(size - 1), axis)}
                shapes = ", ".join(f"{other} {tuple(x.shape)}" for other, x in short.items())
                yield Bad(f"the wrong shape of {name} ({shapes})", short, lambda: case.inputs)


def _if_gate(spec: Spec, name: str, nothing: Inputs) -> Inputs | None:
    return nothing if _is_gate(spec, name) else None


def _bytes(found: Result | None) -> int:
    return 1024 + (sum(slope.nbytes for slope in found.gradient.values() if slope is not None) if found else 0)


@remembered(16 * MIB, _bytes)
def _own(spec: Spec, case: Case) -> Result | None:
    try:
        return call(spec, itself(spec), case, "float64", grad=bool(spec.wrt))
    except TargetRaised:
        return None


@remembered(MIB, lambda found: 64)
def _place(spec: Spec, case: Case, name: str) -> int | None:
    """An element of an input on which the answer depends, the one that matters most; None where there is none.

    A NaN in one that is masked out, or belongs to an object without area, has nothing to spoil.
    """
    own = _own(spec, case)
    if own is None:
        return None
    slope = own.gradient.get(name)
    if slope is not None and slope.size and np.isfinite(slope).all() and slope.any():
        return int(np.abs(slope).argmax())
    size = case.inputs[name].size
    places = range(0, size, max(1, -(-size // PLACES)))
    return next((at for at in places if _matters(spec, case, name, at, own)), None)


@remembered(MIB, lambda found: 64)
def _is_gate(spec: Spec, name: str) -> bool:
    """Whether 0 in this input keeps other numbers from having an effect: a gate, which is shut for NaN, too.

    For NaN > 0 is false, and that a weight of NaN counts nothing is nothing that the formula rules out.
    """
    if name in spec.wrt:
        return False
    told = [_shuts(spec, case, name) for case in material(spec, "small", "quick", 0)[:GATES]]
    return True in told and False not in told


def _shuts(spec: Spec, case: Case, name: str) -> bool | None:
    """Whether a slope is 0 where this number is; None where no slope depends on it."""
    at = _place(spec, case, name)
    if at is None:
        return None
    there = float(case.inputs[name].reshape(-1)[at]) or STEPS[0]
    opened, shut = (_with(case.inputs, name, at, value) for value in (there, 0.0))
    slopes = [_own(spec, replace(case, inputs=one)) for one in (opened, shut)]
    if None in slopes:
        return None
    both = [[_slope(one, spec, case, name) for one in slopes if one] for name in spec.wrt]
    return any(((a != 0) & (b == 0)).any() for a, b in both) if any((a != b).any() for a, b in both) else None


def _slope(one: Result, spec: Spec, case: Case, name: str) -> Array:
    found = one.gradient.get(name)
    return np.zeros(case.inputs[name].shape) if found is None else found


def _matters(spec: Spec, case: Case, name: str, at: int, own: Result) -> bool:
    """Whether another value there changes the answer of the reference."""
    here = float(case.inputs[name].reshape(-1)[at])
    for step in STEPS:
        other = _answered(spec, itself(spec), case, _with(case.inputs, name, at, here + step), "float64")
        if other is not None and other.size == own.value.size:
            apart = np.abs(other.ravel() - own.value.ravel())
            if bool((apart > NOTICED * (1 + np.abs(own.value).ravel())).any()):
                return True
    return False


def _with(inputs: Inputs, name: str, at: int, value: float) -> Inputs:
    changed = np.array(inputs[name], dtype=np.float64)
    changed.reshape(-1)[at] = value
    return {**inputs, name: changed}


# Integers -----------------------------------------------------------------------------------------------


def _integers(spec: Spec, target: Target, case: Case) -> Evidence:
    """Integer input raises, gives NaN, or gives what the same numbers give as floats."""
    whole = replace(case, inputs={name: np.round(x) for name, x in case.inputs.items()})
    if spec.why_not(whole):
        return Evidence()
    dtypes = {name: domain.dtype or "int64" for name, domain in spec.inputs.items()}
    try:
        own = call(spec, itself(spec), whole, "float64")
        budget = fitted(value_budget(spec, whole, "float32"), own.value)
    except (TargetRaised, Tie, Uncertified):
        return Evidence()  # nobody knows what is right
    try:
        got = call_on(spec, target, case, replace(call_of(spec, whole.inputs, "int64"), dtypes=dtypes)).value
    except REFUSED:
        return Evidence(1)
    if got.size == own.value.size:  # a number that it refuses to give is no wrong one
        got = np.where(np.isfinite(got.reshape(own.value.shape)), got.reshape(own.value.shape), own.value)
        budget = np.where(np.isfinite(own.value), budget, np.inf)
    elif not np.isfinite(got).any():
        return Evidence(1)
    return compare_values(spec, own.shapes, got, own.value, budget, after=" on integer input")
