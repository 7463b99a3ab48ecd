"""The check defaults: a call that leaves the settings out is one at the defaults of the specification."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lossref.checks.evidence import Evidence, compare_gradients, compare_values, with_zeros, wrong
from lossref.checks.settings import at_default, changed_in
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.command import CannotAnswer
from lossref.hosts.probe import Result, TargetRaised, ask, call_of, result_of
from lossref.oracle.budgets import TINY, repeated

SAID = "called without keywords it"
USUAL = (0, 1, 2, 3, 0.5, 1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)  # what a number may be that stands in no signature


def states_defaults(spec: Spec) -> bool:
    """Whether the specification has a default for any setting."""
    return any(param.stated for param in spec.params.values())


def defaults(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Called without keywords it answers as it does where the specification's defaults are given."""
    usual = at_default(spec, case, target.fixed) if changed_in(spec, case, target.fixed) else case
    names = _left_out(spec, target, usual or case)
    if usual is None or not names:
        return Evidence()
    try:
        given = _asked(spec, target, usual, (), dtype)
    except TargetRaised:
        return Evidence(0, 0.0, 1)  # other checks say so
    try:
        found = _beside(usual, spec, dtype, _asked(spec, target, usual, names, dtype), given)
    except TargetRaised as error:
        kind = f"raises {str(error).partition(':')[0]} at its defaults"
        return wrong(f"{SAID} raised {error}{_signed(spec, target, names)}", kind=kind)
    if not found.problems:
        return found
    told = [one for name in names for one in _about(spec, target, usual, name, dtype, given)]
    return sum(told, Evidence()) if told else wrong(f"{SAID} gives another {found.problem}")


def _left_out(spec: Spec, target: Target, case: Case) -> tuple[str, ...]:
    """The settings that can be left out here: the target has a default for them, and so has the specification.

    Raises `CannotAnswer` where there can be none in any case.
    """
    stated = [name for name in target.accepts if spec.params[name].stated]
    own = [name for name in stated if name in target.defaults]
    if not own:
        listed = ", ".join(stated)
        raise CannotAnswer(f"it is always given {listed}" if stated else "it takes no setting that has a default")
    return tuple(name for name in own if case.params[name] == spec.params[name].default)


def _asked(spec: Spec, target: Target, case: Case, out: Sequence[str], dtype: str) -> Result:
    """What it gives when these settings are left out, value and gradient; called twice, so that it is no first call."""
    less = replace(target, accepts=tuple(name for name in target.accepts if name not in out))
    ways = ((), spec.wrt if target.gradients else ())
    first, second = ask(spec, less, case, [call_of(spec, case.inputs, dtype, wrt) for wrt in ways]).returned
    result_of(first)
    return result_of(second)


def _beside(case: Case, spec: Spec, dtype: str, got: Result, want: Result) -> Evidence:
    """One answer beside another one to the same question, which owe each other no more than the last places."""
    found = compare_values(spec, want.shapes, got.value, want.value, repeated(want.value, dtype, TINY[dtype]))
    if not got.gradient or not want.gradient:
        return found
    slopes = with_zeros(want.gradient, case)
    room = {name: repeated(slope, dtype, TINY[dtype]) for name, slope in slopes.items()}
    return found + compare_gradients(spec, got, slopes, room)


def _about(spec: Spec, target: Target, case: Case, name: str, dtype: str, given: Result) -> Iterator[Evidence]:
    """Whether it is this setting that stands elsewhere, and where, as far as asking tells."""
    try:
        alone = _asked(spec, target, case, (name,), dtype)
    except TargetRaised:
        return
    if not _beside(case, spec, dtype, alone, given).problems:
        return
    values = _values(spec, target, name)
    value = next((one for one in values if _gives(spec, target, case, {name: one}, dtype, alone)), None)
    stands = f"with {name} = {value!r}" if value is not None else f"with another {name}"
    default = f"the specification's default is {spec.params[name].default!r}"
    yield wrong(f"{SAID} answers as {stands}; {default}", kind=f"default {name}")


def _signed(spec: Spec, target: Target, names: Sequence[str]) -> str:
    """The first setting of which the signature has another default than the specification."""
    for name in names:
        mine, default = target.defaults[name], spec.params[name].default
        if mine is not None and mine != default:
            return f": {name} is {mine!r} in its signature; the specification's default is {default!r}"
    return ""


def _values(spec: Spec, target: Target, name: str) -> Iterator[Any]:
    """What the setting may stand at: what the signature says, what the specification knows, and usual numbers."""
    param, said = spec.params[name], target.defaults[name]
    yield from () if said is None else (said,)
    yield from (one for one in param.others if one is not None)
    if isinstance(param.default, (int, float)) and not isinstance(param.default, bool):
        yield from map(type(param.default), USUAL)


def _gives(spec: Spec, target: Target, case: Case, change: dict[str, Any], dtype: str, want: Result) -> bool:
    """Whether it gives the same with a setting at a value."""
    try:
        found = _asked(spec, target, replace(case, params={**case.params, **change}), (), dtype)
    except TargetRaised:
        return False
    same = found.shapes == want.shapes and not _beside(case, spec, dtype, found, want).problems
    return same and bool(np.isfinite(want.value).any())
