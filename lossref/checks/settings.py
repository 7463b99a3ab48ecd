"""Cases with one parameter away from its default, drawn so that it matters.

Few small scenes hold a conflict, or an object without candidates: of several draws that one is taken on which the
reference gives something else at the default, and which the oracle can answer.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lossref.checks.material import Fixed, bytes_of, material, same_shapes
from lossref.core.nouns import Array, Case, Spec
from lossref.hosts.probe import Result, TargetRaised, call, itself
from lossref.oracle.answers import answer
from lossref.oracle.outcomes import given, measured
from lossref.oracle.remembered import MIB, remembered
from lossref.oracle.tape import Tie, Uncertified

DRAWS = {True: 8, False: 60}  # of a loss with gradients, and of what only assigns, which is quick
TOLD_BY = ("core", "losses", "oracle", "hosts", "checks")  # rooms whose code decides which draw tells
APART = 1e-9  # of numbers around 1: what rounding does not do in float64


def settings(spec: Spec, tier: str, seed: int, fixed: Fixed, one_in: int = 1) -> tuple[Case, ...]:
    """Small cases, each with one parameter away from its default; of a composite those on which it matters.

    With `one_in` every third, say, beginning with that of the seed.
    """
    drawn = material(spec, "setting", tier, seed, fixed)
    return tuple(setting(spec, tier, seed, fixed, at) for at in range(seed % one_in, len(drawn), one_in))


def _bytes(case: Case) -> int:
    return bytes_of((case,))


@remembered(32 * MIB, _bytes)
def setting(spec: Spec, tier: str, seed: int, fixed: Fixed, at: int) -> Case:
    """One of them, of the first draw that tells."""
    draw = int(_telling_draw(spec, tier, seed, fixed, at)) if spec.composite else 0
    return material(spec, "setting", tier, seed + draw, fixed)[at]


def _telling_draw(spec: Spec, tier: str, seed: int, fixed: Fixed, at: int) -> float:
    """The number of the first draw that tells, 0 where none does: found out once, for it depends on no target."""

    def found_out() -> dict[str, Array]:
        draws = (material(spec, "setting", tier, seed + more, fixed)[at] for more in range(DRAWS[bool(spec.wrt)]))
        telling = (number for number, one in enumerate(draws) if _telling(spec, one, dict(fixed)))
        return {"draw": np.array(float(next(telling, 0)))}

    asked = Case(spec.name, {}, dict(fixed), f"{tier} {seed} {at}")
    found = given(measured(f"draw in torch {torch.__version__}", spec, asked, found_out, TOLD_BY))
    return float(found["draw"])


def changed_in(spec: Spec, case: Case, fixed: Container[str]) -> dict[str, Any]:
    """The parameters that are away from their defaults; a notation, or one that is fixed, is none of them."""
    free = {
        name: value for name, value in case.params.items() if name not in fixed and not spec.params[name].convention
    }
    return {name: value for name, value in free.items() if value != spec.params[name].default}


def at_default(spec: Spec, case: Case, fixed: Container[str]) -> Case | None:
    """The same case without the change, None where that is not a legal one."""
    usual = {**case.params, **{name: spec.params[name].default for name in changed_in(spec, case, fixed)}}
    found = replace(case, params=usual)
    return found if same_shapes(spec, case.params, usual) and spec.why_not(found) is None else None


def _telling(spec: Spec, case: Case, fixed: Container[str]) -> bool:
    return tells(spec, case, at_default(spec, case, fixed))


def tells(spec: Spec, case: Case, usual: Case | None) -> bool:
    """Whether the reference gives another value or gradient on the usual case, and the oracle has an answer."""
    try:
        if usual is not None and not _differ(_result(spec, case), _result(spec, usual)):
            return False
        answer(spec, case)
    except (TargetRaised, Tie, Uncertified):
        return False
    return True


def _result(spec: Spec, case: Case) -> Result:
    return call(spec, itself(spec), case, "float64", grad=bool(spec.wrt))


def _differ(one: Result, other: Result) -> bool:
    pairs = [(one.value, other.value), *((one.gradient.get(name), other.gradient.get(name)) for name in one.gradient)]
    return any(_apart(a, b) for a, b in pairs)


def _apart(a: Array | None, b: Array | None) -> bool:
    if a is None or b is None:
        return a is not b
    return a.shape != b.shape or not bool(np.allclose(a, b, rtol=APART, atol=APART, equal_nan=True))
