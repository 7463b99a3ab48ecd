"""The check upstream: whatever comes from above, and whichever inputs want a gradient, the backward pass is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lossref.checks.evidence import Evidence, compare_gradients, raised, require_gradients, with_zeros
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import TargetRaised, ask, call_of, result_of
from lossref.hosts.worker.messages import Returned
from lossref.oracle.budgets import UNIT, gradient_budget

MANTISSA = 1294217 / 2**20  # with the three bits of a weight it fills a float32, so that nothing is rounded on the way
SCALES = (-MANTISSA / 2**20, MANTISSA * 2**20, 0.0)  # as small as a mean leaves it, as large as mixed precision does
TINY, HUGE = 2.0**-120, 2.0**120  # what float32 rounds to 0 or cannot hold, times a scale
EVEN, ODD, ALIKE, EXPANDED = {"every": (0, 2)}, {"every": (1, 2)}, {"upstream": "repeated"}, {"upstream": "expanded"}
ROUNDINGS = 16  # of a gradient on its way
HALVES = " of every second number and of the others, added up,"
ONE_FOR_ALL = " of one number from above for all, without memory of its own"
ALONE = " where no other input needs a gradient"


def upstream(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The gradient is linear in what comes from above (tiny, huge, 0, of some numbers), and of any input alone."""
    require_gradients(target)
    ways: list[dict[str, Any]] = [{}, *({"scale": scale} for scale in SCALES), EVEN, ODD, ALIKE, EXPANDED]
    alone = spec.wrt if len(spec.wrt) > 1 else ()
    calls = [call_of(spec, case.inputs, dtype, spec.wrt, **how) for how in ways]
    calls += [call_of(spec, case.inputs, dtype, (name,)) for name in alone]
    returned = ask(spec, target, case, calls).returned
    own = result_of(returned[0]).gradient
    if not own:
        return Evidence()  # that nothing is connected is what the check connected says
    known = with_zeros(own, case)
    budget = _at_least(gradient_budget(spec, case, dtype), known, dtype)
    scaled, (even, odd, alike, expanded) = returned[1 : 1 + len(SCALES)], returned[1 + len(SCALES) : len(ways)]
    total = Evidence()
    for scale, one in zip(SCALES, scaled, strict=True):
        room = {name: _room(known[name], budget[name], scale) for name in spec.wrt}
        total += _held(spec, one, known, room, f" of {scale:g} times what came from above", scale)
    total += _held(spec, _added(spec, even, odd), known, {name: 2 * room for name, room in budget.items()}, HALVES)
    if not alike.raised:
        same = with_zeros({name: alike.gradients.get(name) for name in spec.wrt}, case)
        total += _held(spec, expanded, same, budget, ONE_FOR_ALL)
    for name, one in zip(alone, returned[len(ways) :], strict=True):
        total += _held(replace(spec, wrt=(name,)), one, known, budget, ALONE)
    return total


def _at_least(budget: Mapping[str, Array], known: Mapping[str, Array], dtype: str) -> dict[str, Array]:
    """The budgets, and some last places of what is given itself, which another convention makes larger than it is."""
    return {
        name: np.maximum(room, ROUNDINGS * UNIT[dtype] * np.abs(np.where(np.isfinite(known[name]), known[name], 0.0)))
        for name, room in budget.items()
    }


def _room(gradient: Array, budget: Array, scale: float) -> Array:
    """Two budgets of a gradient that is so many times as large; open where float32 would not hold a number."""
    finite = np.isfinite(budget)
    with np.errstate(over="ignore"):
        held = finite & ~(np.abs(np.nan_to_num(gradient)) * abs(scale) > HUGE)
    return np.where(held, 2 * np.where(finite, budget, 0.0) * abs(scale) + TINY, np.inf)


def _added(spec: Spec, one: Returned, other: Returned) -> Returned:
    """What two calls gave, added up; the one that raised if one did."""
    if one.raised or other.raised:
        return one if one.raised else other
    parts = ([found.gradients.get(name) for found in (one, other)] for name in spec.wrt)
    return replace(one, gradients={name: _sum(part) for name, part in zip(spec.wrt, parts, strict=True)})


def _sum(parts: list[Array | None]) -> Array | None:
    there = [part for part in parts if part is not None]
    with np.errstate(invalid="ignore"):
        return sum(there[1:], there[0]) if there else None


def _held(
    spec: Spec,
    one: Returned,
    known: Mapping[str, Array],
    budget: Mapping[str, Array],
    after: str,
    scale: float = 1.0,
) -> Evidence:
    """A call beside what it should give, `scale` times what is known; where that is no finite number, nothing is asked.

    Its kinds are its own: what fails only with other numbers from above is another fault than a wrong gradient.
    """
    try:
        result = result_of(one)
    except TargetRaised as error:
        return raised(TargetRaised(f"{error}{after}"))
    want, got = dict[str, Array](), dict[str, Array | None]()
    for name in spec.wrt:
        usual, mine = known[name], result.gradient.get(name)
        finite = np.isfinite(usual)
        want[name] = np.where(finite, usual, 0.0) * scale
        got[name] = mine if mine is None or mine.shape != usual.shape else np.where(finite, mine, 0.0)
    return compare_gradients(spec, replace(result, gradient=got), want, budget, after=after).kept_apart(after)
