"""What is recorded of a spec: its cases with the certified answer, or at full size with that of the reference."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

import lossref
from lossref.core.nouns import Answer, Array, Case, Spec
from lossref.oracle import cache
from lossref.oracle.answers import (
    NOTHING,
    answer,
    certified_digits,
    climbed,
    endpoints,
    floats,
    is_certified,
    nearest,
)
from lossref.oracle.budgets import UNIT, gradient_budget, value_budget
from lossref.oracle.tape import Tie, Uncertified
from lossref.run.golden.corpus import full_size
from lossref.run.golden.corpus.cases import cases_of
from lossref.run.golden.corpus.witnesses import Contradicted, witnesses_of
from lossref.run.golden.files.form import CERTIFIED, RADIUS
from lossref.run.golden.files.packing import DTYPES, codes, digests, narrow
from lossref.run.golden.files.volume import Entry, Stored, Volume

FINE = 2.0**-400
SHOWN = 8  # numbers of a term that an entry shows in decimal digits
Rooms = dict[str, Array]


class Halfway(Exception):
    """A certified number that has no nearest float64 or decimal, as 1 + 2^-53: the case is left out."""


class Unrecordable(Exception):
    """A spec that cannot be recorded; the message says at which case, and why."""


@cache.bypassed()
def compute(spec: Spec, known: Volume | None = None) -> Volume:
    """Everything that is recorded of a spec. Raises `Unrecordable`.

    The certified part depends on nothing but the code. What the reference gives at full size differs in its last
    places from machine to machine: where a known answer is as good as the new one, it stays.
    """
    stored = list[Stored]()
    try:
        for case, origin in _asked(spec):
            with contextlib.suppress(Halfway):
                stored.append(certified(spec, case, origin))
    except (Uncertified, Contradicted) as error:
        raise Unrecordable(f"{spec.name} is not recorded: {error}") from error
    if not stored:
        raise Unrecordable(f"{spec.name} is not recorded: none of its cases has one answer; each is a tie")
    before = {one.entry.id: one for one in known.cases} if known else {}
    stored += [full_size.stored_of(spec, *one, before) for one in full_size.cases_of(spec)]
    return Volume(spec.name, tuple(stored))


def _asked(spec: Spec) -> Iterator[tuple[Case, str]]:
    yield from witnesses_of(spec)
    yield from ((case, CERTIFIED) for case in cases_of(spec))


def certified(spec: Spec, case: Case, origin: str = CERTIFIED) -> Stored:
    """One case with its certified answer, and the budgets of every dtype. Raises `Tie` or `Uncertified`."""
    truth = certain(spec, case)
    tensors = {f"input/{name}": narrow(array) for name, array in case.inputs.items()}
    for kind, arrays in (("value", truth.value), ("gradient", truth.gradient)):
        tensors |= {f"{kind}/{name}": narrow(np.asarray(floats(balls))) for name, balls in arrays.items()}
    tensors |= {f"budget/{name}": codes(room) for name, room in stacked(spec, case, truth).items()}
    values = {name: tuple(map(_digits, balls.flat[:SHOWN])) for name, balls in truth.value.items()}
    return Stored(entry(case, origin, RADIUS, tensors, values, truth.ties), tensors)


def entry(case: Case, origin: str, radius: str, tensors: Mapping[str, Array], values: Any, ties: int) -> Entry:
    """What is said of a case that is kept whole."""
    flags = tuple(sorted(set(case.flags)))
    said = (case.id, case.why, flags, dict(case.params), origin, radius, lossref.__version__)
    return Entry(*said, digests(tensors), values, ties, {})


def _digits(ball: Any) -> str:
    digits = certified_digits(ball)
    assert digits is not None, "certain() leaves no choice"
    return digits


def certain(spec: Spec, case: Case) -> Answer:
    """The answer with balls so small that 24 digits and the nearest float64 are unique."""
    found: tuple[Callable[[], Answer], ...] = (lambda: answer(spec, case), lambda: climbed(spec, case, _is_fine))
    for one in found:
        truth = one()
        if all(map(unique, _balls(truth))):
            return truth
    raise Halfway(f"{spec.name}: a number of {case.id or 'this input'} lies halfway between two float64 or decimals")


def _is_fine(ball: Any) -> bool:
    return is_certified(ball) and (
        ball.is_exact() or ball.rad() < FINE * ball.abs_lower() or ball.abs_upper() < NOTHING
    )


def _balls(found: Answer) -> Iterator[Any]:
    yield from (ball for array in (*found.value.values(), *found.gradient.values()) for ball in array.flat)


def unique(ball: Any) -> bool:
    """Whether every number in the ball has the same 24 digits and the same nearest float64."""
    if ball.abs_upper() < NOTHING:
        return True
    low, high = endpoints(ball)
    return certified_digits(ball) is not None and (nearest(ball) == float(low) == float(high) or nearest(ball) == 0)


# Budgets --------------------------------------------------------------------------------------------------


def stacked(spec: Spec, case: Case, truth: Answer) -> Rooms:
    """The budgets by "value/TERM" and "gradient/NAME", dtype first; infinite where a dtype leaves a choice open."""
    found = [rooms(spec, case, truth, dtype) for dtype in DTYPES]
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def rooms(spec: Spec, case: Case, truth: Answer, dtype: str) -> Rooms:
    """The budgets of one dtype."""
    shapes = {name: balls.shape for name, balls in truth.value.items()}
    lost = vanishes(spec, case, dtype)
    flat = None if lost else _or_open(lambda: value_budget(spec, case, dtype).ravel())
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    flat = np.full(ends[-1], np.inf) if flat is None else flat
    parts = np.split(flat, ends[:-1])
    found = {f"value/{name}": part.reshape(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
    slopes = _or_open(lambda: gradient_budget(spec, case, dtype)) if spec.wrt and not lost else {}
    for name in spec.wrt:
        shape = truth.gradient[name].shape
        found[f"gradient/{name}"] = np.broadcast_to(slopes[name] if slopes else np.inf, shape)
    return found


def vanishes(spec: Spec, case: Case, dtype: str) -> bool:
    """Whether a small setting is lost beside 1 where the dtype computes (half does in float32): eps of 1e-9, say.

    Then 0 / 0 may come of what the formula keeps apart, and nobody is judged by it.
    """
    unit = UNIT["float64" if dtype == "float64" else "float32"]
    return any(0 < case.params[name] < unit for name, one in spec.params.items() if one.small)


def _or_open(budget: Callable[[], Any]) -> Any:
    try:
        return budget()
    except Tie:
        return None
