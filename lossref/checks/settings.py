"""Cases with one parameter away from its default, drawn so that it matters.

Few small scenes hold a conflict, or an object without candidates: of several draws that one is taken on which the
reference gives something else at the default, and which the oracle can answer. Some rules no draw meets, and some
settings count only where another is away from its default: then it is the first corner on which that one setting does.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lossref.checks.material import CORNERS, Fixed, bytes_of, material, same_shapes
from lossref.core.nouns import Array, Case, Spec
from lossref.hosts.probe import Result, TargetRaised, call, itself
from lossref.oracle.answers import answer
from lossref.oracle.cache import place
from lossref.oracle.kept import once
from lossref.oracle.remembered import MIB, remembered
from lossref.oracle.tape import Tie, Uncertified

DRAWS = {True: 8, False: 60}  # of a loss with gradients, and of what only assigns, which is quick
TOLD_BY = ("core", "losses", "oracle", "hosts", "checks")  # rooms whose code decides which draw tells
APART = 1e-9  # of numbers around 1: what rounding does not do in float64
SUBJECT = "setting "  # flag of a corner that is asked about one setting, with its name: others may be changed, too


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
    """One of them: of the first draw that tells, or the first corner that does."""
    draw = telling_number(spec, tier, seed, fixed, at) if spec.composite else 0
    if draw >= 0:
        return material(spec, "setting", tier, seed + draw, fixed)[at]
    return next(one for number, one in _numbered_corners(spec, tier, seed, fixed, at) if number == draw)


def telling_number(spec: Spec, tier: str, seed: int, fixed: Fixed, at: int) -> int:
    """The number of the first draw that tells, below 0 that of a corner, 0 where none does.

    It is found out once, for it depends on no target: what is usually asked is recorded (`run/golden/corpus/drawn`).
    """

    def found_out() -> int:
        draws = ((more, material(spec, "setting", tier, seed + more, fixed)[at]) for more in _draws(spec))
        corners = _numbered_corners(spec, tier, seed, fixed, at)
        telling = (
            number
            for number, one in chain(draws, corners)
            if _telling(spec, one, dict(fixed)) and (number >= 0 or is_finite(spec, one))
        )
        return next(telling, 0)

    return int(once(place_of_draw(spec, tier, seed, fixed, at), found_out))


def place_of_draw(
    spec: Spec, tier: str, seed: int, fixed: Fixed, at: int, version: str = str(torch.__version__)
) -> Path | None:
    """Where it is kept which draw tells, by the references that such a version of torch computes."""
    asked = Case(spec.name, {}, dict(fixed), f"{tier} {seed} {at}")
    return place(f"draw in torch {version}", spec, asked, TOLD_BY)


def _draws(spec: Spec) -> range:
    return range(DRAWS[bool(spec.wrt)])


def _numbered_corners(spec: Spec, tier: str, seed: int, fixed: Fixed, at: int) -> Iterator[tuple[int, Case]]:
    """The corners with the setting of a drawn case, by -1, -2 and so on."""
    changed = changed_in(spec, material(spec, "setting", tier, seed, fixed)[at], dict(fixed))
    for name, value in changed.items():
        yield from zip(count(-1, -1), corners_at(spec, name, value, fixed))


def corners_at(spec: Spec, name: str, value: Any, fixed: Fixed = ()) -> Iterator[Case]:
    """The legal corners with one setting at a value, which is what they are then about."""
    for kind in CORNERS[1:]:
        for base in material(spec, kind, "quick", 0, fixed):
            params, flags = {**base.params, name: value}, (*base.flags, SUBJECT + name)
            case = replace(base, params=params, flags=flags, id=f"{base.id}, {name}={value!r}".replace("/", ":"))
            if same_shapes(spec, base.params, params) and spec.why_not(case) is None:
                yield case


def is_finite(spec: Spec, case: Case) -> bool:
    """Whether float64 can do it: a corner that is made for one setting may underflow under another."""
    found = _result(spec, case)
    return all(np.isfinite(x).all() for x in (found.value, *found.gradient.values()) if x is not None)


def changed_in(spec: Spec, case: Case, fixed: Container[str]) -> dict[str, Any]:
    """The parameters that are away from their defaults; a notation, or one that is fixed, is none of them.

    Of a corner that is about one setting that one alone: the others stay as they are.
    """
    about = [flag.removeprefix(SUBJECT) for flag in case.flags if flag.startswith(SUBJECT)]
    free = {
        name: value for name, value in case.params.items() if name not in fixed and not spec.params[name].convention
    }
    away = {name: value for name, value in free.items() if value != spec.params[name].default}
    return {name: value for name, value in away.items() if not about or name in about}


def at_default(spec: Spec, case: Case, fixed: Container[str]) -> Case | None:
    """The same case without the change, None where that is not a legal one."""
    usual = {**case.params, **{name: spec.params[name].default for name in changed_in(spec, case, fixed)}}
    found = replace(case, params=usual)
    return found if same_shapes(spec, case.params, usual) and spec.why_not(found) is None else None


def _telling(spec: Spec, case: Case, fixed: Container[str]) -> bool:
    return tells(spec, case, at_default(spec, case, fixed))


def tells(spec: Spec, case: Case, usual: Case | None) -> bool:
    """Whether the reference gives another value or gradient on the usual case, and the oracle has an answer."""
    return matters(spec, case, usual) and has_answer(spec, case)


def has_answer(spec: Spec, case: Case) -> bool:
    """Whether the oracle has one answer to a case, and can certify it."""
    try:
        answer(spec, case)
    except (Tie, Uncertified):
        return False
    return True


def matters(spec: Spec, case: Case, usual: Case | None) -> bool:
    """Whether the reference gives another value or gradient than on the usual case, or there is no such case."""
    try:
        return usual is None or _differ(_result(spec, case), _result(spec, usual))
    except TargetRaised:
        return False


def _result(spec: Spec, case: Case) -> Result:
    return call(spec, itself(spec), case, "float64", grad=bool(spec.wrt))


def _differ(one: Result, other: Result) -> bool:
    pairs = [(one.value, other.value), *((one.gradient.get(name), other.gradient.get(name)) for name in one.gradient)]
    return any(apart(a, b) for a, b in pairs)


def apart(a: Array | None, b: Array | None) -> bool:
    """Whether two answers are different ones, by more than orders of adding make of one."""
    if a is None or b is None:
        return a is not b
    return a.shape != b.shape or not bool(np.allclose(a, b, rtol=APART, atol=APART, equal_nan=True))
