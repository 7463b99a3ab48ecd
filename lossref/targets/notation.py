"""Which notation (xyxy or xywh, say) an implementation follows, and whether it is the one that it declares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lossref.checks.cases.limits import limited
from lossref.checks.material import fixed_of, material
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import TargetRaised, applicable, call
from lossref.oracle.answers import true_value
from lossref.oracle.tape import Tie, Uncertified
from lossref.targets.hints import forms_of

ASKED = 40
FOLLOWS = 0.5  # of the cases, the share that comes out right
NEAR = 1e-3  # of the largest number: another notation is further off, and float32 is not


def followed(spec: Spec, target: Target, name: str) -> tuple[Any, str]:
    """The setting of a notation parameter to test with, and what is to be said about it.

    That is the declared one, else the one under which most one-item cases come out right.
    """
    param, declared = spec.params[name], target.fixed.get(name)
    choices = (param.default, *param.others)
    right = {choice: _right(spec, replace(target, fixed={**target.fixed, name: choice})) for choice in choices}
    best = max(choices, key=lambda choice: (right[choice], choice == declared))
    follows = right[best][0] >= FOLLOWS
    neither = f"follows none of {', '.join(f'{name}={choice!r}' for choice in choices)}"
    if name in target.fixed:
        amiss = f"follows {name}={best!r}" if follows else neither
        agrees = follows and best == declared
        return declared, "" if agrees else f"declares {name}={declared!r}, but {amiss}"
    known = "which it follows" if follows else f"but it {neither}"
    return best, f"has no parameter {name}; tested with {name}={best!r}, {known}"


def _right(spec: Spec, target: Target) -> tuple[float, float]:
    """The share of cases that come out right, and how exactly they do."""
    found = material(limited(spec, target), "single", "quick", 0, fixed_of(spec, target.fixed))
    asked = [case for case in found if applicable(spec, target, case)][:ASKED]
    errors = [error for case in asked if (error := _error(spec, target, case)) is not None]
    share = sum(error < NEAR for error in errors) / len(errors) if errors else 1.0
    return share, sum(1 / (1 + error * 1e6) for error in errors)


def _error(spec: Spec, target: Target, case: Case) -> float | None:
    """How far off it is, of the largest number; infinite where it gives no such numbers, None where nobody knows.

    One that returns 1 minus the value follows a notation, too.
    """
    try:
        want = true_value(spec, case)
        got = _value(spec, target, case)
    except TargetRaised:
        return np.inf
    except (Tie, Uncertified):
        return None
    if got.size != want.size or not np.isfinite(got).all():
        return np.inf
    errors = [np.abs(one.reshape(want.shape) - want).max(initial=0) for one in forms_of(got)]
    return float(min(errors) / (1 + np.abs(want).max(initial=0)))


def _value(spec: Spec, target: Target, case: Case) -> Array:
    """What it gives in float64, or in float32 where that is all that it can do."""
    try:
        return call(spec, target, case, "float64").value
    except TargetRaised:
        return call(spec, target, case, "float32").value
