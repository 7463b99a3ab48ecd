"""A formula carried out on plain floats: as it is, to learn its steps, and with other steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from lossref.checks.attempts import Attempt
from lossref.core.nouns import Array, Case, Spec
from lossref.oracle.answers import each, weights
from lossref.run.causes.explain.formula.influence import Noted, Terms, by_term
from lossref.run.causes.explain.formula.places import text_of
from lossref.run.causes.explain.formula.plain import Constants, Floats, Place, Plain, Step, flat, flows
from lossref.run.causes.explain.quantity import Setting, size

MOST_NUMBERS = {False: 4_000, True: 12_000}  # of a run that is tried in hundreds of ways: elementary, composite
AT_MOST = 5  # times the usual steps that a changed formula may take
ERRORS = (ArithmeticError, ValueError, TypeError, LookupError, AttributeError)
Seen = Mapping[Place, Constants]


class Learnt(NamedTuple):
    """A formula as it was carried out on one case.

    given: the value and gradients, None where that takes too long; seen: its steps; terms: the steps that each term
    depends on; once: the numbers of steps that are taken a single time, and the parts of sums, by words; steps: a count
    """

    given: Attempt | None = None
    seen: Seen = MappingProxyType({})
    terms: Terms = MappingProxyType({})
    once: Mapping[str, float] = MappingProxyType({})
    steps: int = 0


@lru_cache(maxsize=512)
def learnt(spec: Spec, case: Case, settings: Setting) -> Learnt:
    """What the formula gives as it is, and the steps that it takes; nothing where a run takes too long."""
    if size(case) > MOST_NUMBERS[spec.composite]:
        return Learnt()
    m = Noted()
    output, given = carried_out(spec, m, case, settings)
    terms = {} if given is None else by_term(m, spec.terms, output)
    return Learnt(given, m.seen, terms, _once(m), m.steps)


def _once(m: Noted) -> dict[str, float]:
    numbers = m.once()
    parts = {
        f"the number of parts of {text_of(place)}": float(m.parts[place]) for place in numbers if place[2] == "sum"
    }
    least = {f"max({words}, 1)": max(number, 1.0) for words, number in parts.items()}
    return {text_of(place): number for place, number in numbers.items()} | parts | least


class Outcome(NamedTuple):
    """What a formula gives, None where it fails; `steep` if a slope on its way is infinite: its gradient may be NaN."""

    given: Attempt | None
    steep: bool


@lru_cache(maxsize=60_000)
def outcome(spec: Spec, case: Case, settings: Setting, steps: tuple[tuple[Place, Step], ...]) -> Outcome:
    """What the formula gives with other steps, asked once."""
    m = Floats(dict(steps), AT_MOST * max(learnt(spec, case, settings).steps, 1))
    _, given = carried_out(spec, m, case, settings)
    return Outcome(given, not spec.composite and not all(isfinite(x) for node in m.nodes for _, x in node.inputs))


def carried_out(spec: Spec, m: Floats, case: Case, settings: Setting) -> tuple[Any, Attempt | None]:
    """What the formula returns on these numbers, and its value and gradients; None where it fails."""
    leaves = {name: _leaves(m, domain.dtype, case.inputs[name]) for name, domain in spec.inputs.items()}
    inputs = {name: _nest(cells) for name, cells in leaves.items()}
    params = {**case.params, **dict(settings)}
    m.eps = params.get("eps")
    try:
        output = spec.oracle(m, **inputs, **params)
    except ERRORS:
        return None, None
    return output, _given(spec, m, output, leaves)


def _given(spec: Spec, m: Floats, output: Any, leaves: Mapping[str, Array]) -> Attempt:
    numbers = [x if isinstance(x, Plain) else m.number(float(x)) for x in flat(output)]
    value = np.array([number.value for number in numbers])
    if not numbers or not spec.wrt:
        return Attempt(value, tuple(np.zeros(leaves[name].shape) for name in spec.wrt))
    count = 1 + max((leaf.order for name in spec.wrt for leaf in leaves[name].flat), default=0)
    found = flows(list(zip(numbers, weights((len(numbers),)), strict=True)), count)
    return Attempt(value, tuple(each(lambda leaf: found[leaf.order], leaves[name], np.float64) for name in spec.wrt))


def _leaves(m: Floats, dtype: str, array: Array) -> Array:
    kinds = {"bool": bool, "int64": int}
    return each(kinds[dtype] if dtype else lambda x: m.number(float(x)), np.asarray(array), object)


def _nest(cells: Any) -> Any:
    if not isinstance(cells, np.ndarray):
        return cells
    return cells.item() if cells.ndim == 0 else tuple(_nest(part) for part in cells)
