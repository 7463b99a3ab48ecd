"""The check params: what a setting does, at the values that stand in lists and at others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lossref.checks.cases.values import OWN, as_floats
from lossref.checks.evidence import Evidence, compare_gradients, compare_values, wrong
from lossref.checks.numbers import bulk, gradient_of, shapes_of
from lossref.checks.settings import at_default, changed_in
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import TargetRaised, call, itself
from lossref.oracle.answers import true_gradient, true_value
from lossref.oracle.budgets import gradient_budget, value_budget
from lossref.oracle.tape import Tie, Uncertified


def params(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Every declared parameter does what it says: the value at another setting, against the oracle."""
    if OWN in case.flags:
        return at_own_values(spec, target, case, dtype)
    want, budget = true_value(spec, case), value_budget(spec, case, dtype)
    usual, changed = at_default(spec, case, target.fixed), changed_in(spec, case, target.fixed)
    if usual is not None and _no_effect(spec, want, usual, budget):
        return gradient_of(spec, target, case, dtype) if spec.wrt and _turned(spec, case, usual) else Evidence()
    got = call(spec, target, case, dtype).value
    setting = ", ".join(f"{name}={value!r}" for name, value in changed.items())
    found = compare_values(spec, shapes_of(spec, case), got, want, budget, after=f" at {setting}")
    if found.problem and usual is not None and np.array_equal(got, call(spec, target, usual, dtype).value):
        name = ", ".join(changed)
        return wrong(f"{name} makes no difference here: {found.problem}", found.examined, f"no effect {name}")
    return found


def at_own_values(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Settings at values that stand in no list; an integer for a float may be refused, and is then asked as a float."""
    try:
        got = call(spec, target, case, dtype)
    except TargetRaised:
        floats = as_floats(spec, case)
        if all(type(value) is type(case.params[name]) for name, value in floats.items()):
            raise
        case = replace(case, params=floats)
        got = call(spec, target, case, dtype)
    if spec.composite:
        return bulk(spec, target, case, dtype)
    want = call(spec, itself(spec), case, dtype).shapes
    found = wrong(f"returned shape {got.shapes}, expected {want}", kind="shape") if got.shapes != want else Evidence(1)
    after = f" at {', '.join(f'{name}={value!r}' for name, value in changed_in(spec, case, target.fixed).items())}"
    room = value_budget(spec, case, dtype)
    found += compare_values(spec, shapes_of(spec, case), got.value, true_value(spec, case), room, after=after)
    if found.problem or not (spec.wrt and target.gradients):
        return found
    return found + _slope(spec, target, case, dtype, after)


def _slope(spec: Spec, target: Target, case: Case, dtype: str, after: str) -> Evidence:
    """The gradient there, where it is a number: a power below 1 has none in many right formulas where a factor is 0."""
    try:
        want, room = true_gradient(spec, case), gradient_budget(spec, case, dtype)
    except (Tie, Uncertified):
        return Evidence(0, 0.0, 1)
    got = call(spec, target, case, dtype, grad=True)
    own = {name: _where_finite(g, want[name]) for name, g in got.gradient.items()}
    if not own and not any(x.any() for x in want.values()):
        return Evidence()
    return compare_gradients(spec, replace(got, gradient=own), want, room, after=after)


def _where_finite(got: Array | None, want: Array) -> Array | None:
    """What was given, with the truth in place of what is no number."""
    return got if got is None or got.size != want.size else np.where(np.isfinite(got), got, want.reshape(got.shape))


def _no_effect(spec: Spec, want: Array, usual: Case, budget: Array) -> bool:
    """Whether the value is the same at the default; where that is undefined it is not."""
    try:
        return not _differ(want, true_value(spec, usual), budget)
    except (Tie, Uncertified):
        return False


def _turned(spec: Spec, case: Case, usual: Case) -> bool:
    """Whether a parameter that leaves the value alone changes the gradient."""
    here, there, room = true_gradient(spec, case), true_gradient(spec, usual), gradient_budget(spec, case, "float64")
    return any(_differ(here[k], there[k], room[k]) for k in spec.wrt)


def _differ(one: Array, other: Array, budget: Array) -> bool:
    return one.shape != other.shape or bool((np.abs(one - other) > 2 * budget).any())
