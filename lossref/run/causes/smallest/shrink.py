"""The smallest case on which a check still fails: fewer rows, then plainer numbers, of the failing case itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from lossref.checks.table import Check
from lossref.core.axes import name_of
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.run.causes.judged import GAVE_UP
from lossref.run.causes.smallest.trials import Trials

CALLS = {False: 40, True: 8}  # candidates; never seconds, or a run that is repeated saves other cases
OBJECTS = "n"  # the axis of a composite that may become shorter: its other axes belong to one geometry
GRIDS = (8, 32)  # steps of the grids that numbers are rounded to, from 0 to the largest of them
SEVERAL = 16  # numbers of an input that are made plainer one by one
Fails = Callable[[Case], bool]
Simpler = Callable[[Case], Case | None]


def shrink(
    spec: Spec, target: Target, check: Check, case: Case, dtype: str, kind: str = "", trials: Trials | None = None
) -> Case:
    """The smallest case reached on which the check still fails in this way; the case itself at worst.

    `trials` are what was tried for other failures of the target.
    """
    if not check.shrunk_to:
        return case
    trials = trials or Trials(spec)
    left = iter(range(CALLS[spec.composite]))

    def fails(candidate: Case) -> bool:
        """Whether the target fails on a legal case; it is not asked about another one."""
        if (check.legal and spec.why_not(candidate)) or next(left, None) is None:
            return False
        try:
            return _has(trials, check, candidate, dtype) and _fails(trials, check, target, candidate, dtype, kind)
        except ValueError:
            if check.legal:
                raise
            return False  # the oracle was asked about sizes that the formula does not have

    smaller = case
    for axis in [OBJECTS] if spec.composite else _axes(spec, case):
        smaller = _shorter(trials, axis, smaller, fails)
    for simpler in _plainer(trials, smaller):
        candidate = simpler(smaller)
        smaller = candidate if candidate is not None and fails(candidate) else smaller
    return case if smaller is case else _described(smaller, case)


def _described(smaller: Case, case: Case) -> Case:
    """Its families are no longer sure: other rows, other numbers."""
    flags = tuple(flag for flag in case.flags if "=" not in flag)
    return replace(smaller, id="", flags=flags, why=f"shrunk from {case.id or 'a drawn case'}")


def _has(trials: Trials, check: Check, case: Case, dtype: str) -> bool:
    """Whether the formula has a case: the reference does not fail it. Which sizes there are, axes alone do not say."""
    try:
        return not _fails(trials, check, trials.own, case, dtype)
    except GAVE_UP:
        raise
    except Exception:  # the oracle of a spec may ask for what is not there
        return False


def _fails(trials: Trials, check: Check, target: Target, case: Case, dtype: str, kind: str = "") -> bool:
    problems = trials.examined(check, target, case, dtype).problems
    return any(kind in ("", problem.kind) for problem in problems)


# Fewer rows -------------------------------------------------------------------------------------------


def _axes(spec: Spec, case: Case) -> list[str]:
    """Every named axis along which an input can be cut: one that is no multiple of a size ("4 R" is cut nowhere)."""
    found = dict[str, bool]()
    for name, domain in spec.inputs.items():
        axes = domain.axes.split()
        for axis in axes if len(axes) == case.inputs[name].ndim else ():
            if name_of(axis):
                found[name_of(axis)] = found.get(name_of(axis), True) and axis == name_of(axis)
    return [axis for axis, whole in found.items() if whole]


def _shorter(trials: Trials, axis: str, case: Case, fails: Fails) -> Case:
    """Half of an axis, and half of that again, while the check still fails."""
    while True:
        made = partial(_half, trials.spec, axis, case)
        halves = (trials.made((axis, case, which), partial(made, which)) for which in (0, 1))
        smaller = next((half for half in halves if half is not None and fails(half)), None)
        if smaller is None:
            return case
        case = smaller


def _half(spec: Spec, axis: str, case: Case, which: int) -> Case | None:
    """One half of every input along an axis; None where it is one long."""
    axes = {name: domain.axes.split() for name, domain in spec.inputs.items()}
    having = [name for name, them in axes.items() if axis in them and len(them) == case.inputs[name].ndim]
    places = {name: axes[name].index(axis) for name in having}
    sizes = {case.inputs[name].shape[place] for name, place in places.items()}
    if len(sizes) != 1 or max(sizes) < 2:
        return None
    size = max(sizes)
    kept = np.arange(size // 2) if which == 0 else np.arange(size // 2, size)
    halves = {name: case.inputs[name].take(kept, place) for name, place in places.items()}
    return replace(case, inputs={**case.inputs, **halves})


# Plainer numbers --------------------------------------------------------------------------------------


def _plainer(trials: Trials, case: Case) -> Iterator[Simpler]:
    """Whole inputs set to zero or rounded; of an elementary loss number by number, too."""
    spec = trials.spec
    whole = {OBJECTS} if spec.composite else set[str]()
    free = [name for name, one in spec.inputs.items() if not one.dtype and not whole & set(one.axes.split())]
    if spec.composite:
        yield from (partial(_without, trials, name) for name in free)
        return
    yield from (partial(_all_rounded, free, steps) for steps in GRIDS)
    yield from (partial(_all_rounded, [name], steps) for name in free for steps in GRIDS)
    for name in free:
        if case.inputs[name].size <= SEVERAL:
            numbers = range(case.inputs[name].size)
            yield from (partial(_changed, name, partial(_one_rounded, number)) for number in numbers)


def _without(trials: Trials, name: str, case: Case) -> Case | None:
    """The case with zeros for one input."""
    return trials.made((name, case), partial(_changed, name, np.zeros_like, case))


def _changed(name: str, change: Callable[[Array], Array], case: Case) -> Case | None:
    """The case with one input changed; None where that changes nothing."""
    changed = change(case.inputs[name])
    return None if np.array_equal(changed, case.inputs[name]) else replace(case, inputs={**case.inputs, name: changed})


def _all_rounded(names: list[str], steps: int, case: Case) -> Case | None:
    """Inputs on one grid, so that what coincides still does; None where they are on it, or have no largest number."""
    largest = max(float(np.abs(case.inputs[name]).max(initial=0.0)) for name in names)
    if not (0 < largest < math.inf):
        return None
    step = 2.0 ** math.floor(math.log2(largest)) / steps
    rounded = {name: np.round(case.inputs[name] / step) * step + 0.0 for name in names}
    same = all(np.array_equal(x, case.inputs[name]) for name, x in rounded.items())
    return None if same else replace(case, inputs={**case.inputs, **rounded})


def _one_rounded(number: int, array: Array) -> Array:
    """One number at its nearest power of two, or whole number."""
    changed = array.copy()
    value = float(array.flat[number])
    small = math.isfinite(value) and 0 < abs(value) < 1
    changed.flat[number] = math.copysign(2.0 ** round(math.log2(abs(value))), value) if small else np.round(value)
    return changed
