"""Settings at values that stand in no list: 0, 1, 2, the ends of what is legal, an int for a float, one that is drawn.

Of an elementary spec each by itself, for the oracle; of a composite all at once, held beside the reference. And every
value that does stand in a list, on the smallest input: what it gives has a shape there, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, islice
from typing import Any

import numpy as np

from lossref.checks.cases.decided import decided
from lossref.checks.material import Fixed, bytes_of, conventions, draw_case, same_shapes
from lossref.checks.settings import apart
from lossref.core.nouns import Case, Param, Params, Spec
from lossref.hosts.probe import TargetRaised, call, itself
from lossref.oracle.remembered import MIB, remembered

OWN = "own value"  # the flag of these cases
TOGETHER, TRIES = 2, 6  # cases of a composite, and draws until the reference can do one


@remembered(32 * MIB, bytes_of)
def valued(spec: Spec, seed: int, fixed: Fixed = ()) -> tuple[Case, ...]:
    """The cases of a spec; parameters that stand somewhere stay there."""
    rng = np.random.default_rng([seed, sum(map(ord, f"{spec.name}valued"))])
    if spec.composite:
        return tuple(islice(_together(spec, rng, dict(fixed)), TOGETHER))
    return (*_one_by_one(spec, rng, dict(fixed)), *_pairs(spec, rng, dict(fixed)))


@remembered(MIB, bytes_of)
def moved(spec: Spec, seed: int, fixed: Fixed = ()) -> tuple[Case, ...]:
    """One small case with every setting at another value than the default; of a composite, every number."""
    if spec.composite:
        return valued(spec, seed, fixed)[:1]
    rng = np.random.default_rng([seed, sum(map(ord, f"{spec.name}moved"))])
    stands = {**conventions(spec)[0], **dict(fixed)}
    others = {name: one.others[0] for name, one in free(spec, stands).items()}
    drawn = (
        _asked(spec, rng, spec.sizes["small"][0], {**stands, **others}, "all settings moved") for _ in range(TRIES)
    )
    return tuple(islice((case for case in drawn if _can_be_done(spec, case)), 1 if others else 0))


def _one_by_one(spec: Spec, rng: np.random.Generator, fixed: Params) -> Iterator[Case]:
    layouts = conventions(spec)
    for number, (name, value, kind) in enumerate(_changes(spec, rng, fixed)):
        dims = spec.sizes[kind][number % len(spec.sizes[kind])]
        params = {**layouts[number % len(layouts)], **fixed, name: value}
        tries = range(TRIES if kind == "small" else 1)
        yield from _best(spec, [_asked(spec, rng, dims, params, f"{name}={value!r} {kind}") for _ in tries], name)


def _best(spec: Spec, drawn: Sequence[Case], name: str) -> Iterator[Case]:
    """The first case on which a setting shows, else the first that can be done at all."""
    spare: list[Case] = []
    for case in drawn:
        if _can_be_done(spec, case):
            if _shows(spec, case, name):
                yield case
                return
            spare.append(case)
    yield from spare[:1]


def _asked(spec: Spec, rng: np.random.Generator, dims: Mapping[str, Any], params: Params, id: str) -> Case:
    case = draw_case(spec, rng, dims, params)
    return replace(case, id=id, flags=(*case.flags, OWN))


def _shows(spec: Spec, case: Case, name: str) -> bool:
    """Whether the reference gives another value at the default of a setting, or has no such inputs there."""
    usual = replace(case, params={**case.params, name: spec.params[name].default})
    if spec.why_not(usual) is not None or not same_shapes(spec, case.params, usual.params):
        return True
    here, there = (call(spec, itself(spec), one, "float64").value for one in (case, usual))
    return apart(here, there)


def _changes(spec: Spec, rng: np.random.Generator, fixed: Params) -> Iterator[tuple[str, Any, str]]:
    """Each setting with a value, and the size of the input on which it is asked."""
    for name, param in free(spec, fixed).items():
        yield from ((name, value, "single") for value in param.others)
        if param.span is not None:
            yield from ((name, value, "small") for value in param.span.values(rng, param.small))


def free(spec: Spec, fixed: Params) -> dict[str, Param]:
    """The settings that can be moved: those that do not stand somewhere, and are no choice of notation."""
    return {name: one for name, one in spec.params.items() if name not in fixed and not one.convention and one.others}


def _pairs(spec: Spec, rng: np.random.Generator, fixed: Params) -> Iterator[Case]:
    """Every two settings moved at once, three times: what is wrong with both may be right with either."""
    layouts = conventions(spec)
    for number, (one, other) in enumerate(combinations(free(spec, fixed).items(), 2)):
        for turn in (0, -1, None):
            moved = {name: _value(param, turn, rng) for name, param in (one, other)}
            params = {**layouts[number % len(layouts)], **fixed, **moved}
            id = f"{' '.join(f'{name}={value!r}' for name, value in moved.items())} small"
            drawn = (_asked(spec, rng, spec.sizes["small"][0], params, id) for _ in range(TRIES))
            yield from islice((case for case in drawn if _can_be_done(spec, case)), 1)


def _value(param: Param, turn: int | None, rng: np.random.Generator) -> Any:
    """The first of the other values, or the last; or one that stands in no list, if it may be any."""
    return param.span.any(rng) if turn is None and param.span is not None else param.others[turn or 0]


def _together(spec: Spec, rng: np.random.Generator, fixed: Params) -> Iterator[Case]:
    spans = {name: one.span for name, one in spec.params.items() if one.span is not None and name not in fixed}
    for number in range(TOGETHER if spans else 0):
        moved = ({**fixed, **{name: one.any(rng) for name, one in spans.items()}} for _ in range(TRIES))
        drawn = (_asked(spec, rng, spec.sizes["small"][0], params, f"settings {number}") for params in moved)
        yield from islice((case for case in drawn if _can_be_done(spec, case) and decided(spec, case)), 1)


def _can_be_done(spec: Spec, case: Case) -> bool:
    """Whether it is legal, and the reference has a number for it."""
    if spec.why_not(case) is not None:
        return False
    try:
        return bool(np.isfinite(call(spec, itself(spec), case, "float64").value).all())
    except TargetRaised:
        return False


def as_floats(spec: Spec, case: Case) -> Params:
    """The parameters with a float for each integer that stands where the specification has a float."""
    floats = {name for name, one in spec.params.items() if isinstance(one.default, float)}
    return {name: float(value) if name in floats else value for name, value in case.params.items()}
