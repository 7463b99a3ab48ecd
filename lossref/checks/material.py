"""Which cases a spec is asked about: corners, one-item cases over all families, batches, full size."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from lossref.core.axes import name_of
from lossref.core.nouns import Array, Case, Params, Spec
from lossref.core.picking import rng_pick
from lossref.oracle.remembered import MIB, remembered

Dims = Mapping[str, Any]
CORNERS = ("shape", "rare", "corner")
ROUNDS = {("quick", False): (60, 6), ("full", False): (600, 40), ("quick", True): (3, 1), ("full", True): (40, 20)}


def conventions(spec: Spec) -> list[dict[str, Any]]:
    """Every combination of the parameters that are a choice of notation."""
    choices = {name: (param.default, *param.others) for name, param in spec.params.items() if param.convention}
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def with_defaults(spec: Spec, params: Params) -> dict[str, Any]:
    """The parameters, filled up with the defaults of the spec."""
    return {**spec.defaults(), **params}


def named_in(spec: Spec, dims: Dims) -> dict[str, Any]:
    """The parameters that an entry of `sizes` sets."""
    return {name: value for name, value in dims.items() if name in spec.params}


def same_shapes(spec: Spec, one: Params, other: Params) -> bool:
    """Whether the inputs have the same shapes under both parameter settings."""
    dims = {name: 2 for domain in spec.inputs.values() for name in map(name_of, domain.axes.split()) if name}
    shapes = [
        [domain.shape({**dims, **spec.dims(params, {"n": 3, "b": 2})}) for domain in spec.inputs.values()]
        for params in (with_defaults(spec, one), with_defaults(spec, other))
    ]
    return shapes[0] == shapes[1]


def has_kind(spec: Spec, kind: str) -> bool:
    """Whether the spec has material of a kind at all."""
    if kind in CORNERS:
        return any(corner_kind(spec, case) == kind for case in spec.corners)
    if kind == "flat":
        return any(domain.flat is not None for domain in spec.inputs.values())
    if kind in ("setting", "valued", "moved"):
        return any(param.others and not param.convention for param in spec.params.values())
    return kind in ("few", "moderate", "one", "usual", "varied") or kind in spec.sizes


def drawing_order(spec: Spec) -> list[str]:
    """Input names, each after the one that it is drawn in relation to."""
    return sorted(spec.inputs, key=lambda name: spec.inputs[name].given is not None)


def draw_case(spec: Spec, rng: np.random.Generator, dims: Dims, params: Params, turn: int | None = None) -> Case:
    """One case; with a `turn`, case number `turn` of a walk over the combinations of families."""
    full = with_defaults(spec, {**named_in(spec, dims), **params})
    sizes = spec.dims(full, {name: size for name, size in dims.items() if name not in spec.params})
    drawn: dict[str, Array] = {}
    flags: list[str] = []
    numbers = None if turn is None else _family_numbers(spec, sizes, turn)
    for name in drawing_order(spec):
        domain = spec.inputs[name]
        given = drawn[domain.given] if domain.given else None
        if numbers is None:
            drawn[name], families = domain.bulk(rng, sizes, given)
        else:
            allowed = domain.allowed(sizes)
            order = allowed[(numbers[name] + np.arange(domain.count(sizes))) % len(allowed)]
            drawn[name] = domain.draw(rng_pick(rng), sizes, given, order)
            families = tuple(list(domain.families)[i] for i in order)
        flags += [f"{name}={family}" for family in families]
    inputs = {name: spec.inputs[name].layout(drawn[name], full) for name in spec.inputs}
    return Case(spec.name, inputs, full, flags=tuple(flags), why="drawn")


def _family_numbers(spec: Spec, sizes: Dims, turn: int) -> dict[str, int]:
    """Which family of each input a turn begins with.

    Every combination in order where one walk holds them all. Otherwise each input goes round its own
    families, one step further on at each round, so that all families meet, two at a time.
    """
    counts = {name: len(spec.inputs[name].allowed(sizes)) for name in drawing_order(spec)}
    before = itertools.accumulate(counts.values(), initial=1, func=int.__mul__)
    if math.prod(counts.values()) <= ROUNDS["quick", False][0]:
        return {name: turn // stride for name, stride in zip(counts, before, strict=False)}
    return {name: turn + turn // count * place for place, (name, count) in enumerate(counts.items())}


def strategy(spec: Spec, dims: Dims, params: Params, like: Case | None = None) -> Any:
    """A Hypothesis strategy of cases; `like` limits it to the families of another case."""
    full = with_defaults(spec, {**named_in(spec, dims), **params})
    sizes = spec.dims(full, {name: size for name, size in dims.items() if name not in spec.params})
    return _composite()(spec, full, sizes, like)


@cache
def _composite() -> Any:
    """The strategy of cases as a function of the spec, made once: Hypothesis reads its source."""
    from hypothesis import strategies as st

    @st.composite
    def cases(draw: Any, spec: Spec, full: Params, sizes: Dims, like: Case | None) -> Case:
        drawn: dict[str, Array] = {}
        flags: list[str] = []
        for name in drawing_order(spec):
            domain = spec.inputs[name]
            given = drawn[domain.given] if domain.given else None
            only = families_of(like, name) if like else None
            drawn[name], families = draw(domain.strategy(sizes, given, only or None))
            flags += [f"{name}={family}" for family in families]
        inputs = {name: spec.inputs[name].layout(drawn[name], full) for name in spec.inputs}
        return Case(spec.name, inputs, full, flags=tuple(flags), why="drawn by Hypothesis")

    return cases


def families_of(case: Case, name: str) -> set[str]:
    """The families that one input of a case was drawn from."""
    return {flag.partition("=")[2] for flag in case.flags if flag.startswith(f"{name}=")}


def shares(cases: list[Case]) -> Counter[str]:
    """How often each family was drawn, by "input=family"."""
    return Counter(flag for case in cases for flag in case.flags if "=" in flag)


Fixed = tuple[tuple[str, Any], ...]


def fixed_of(spec: Spec, params: Params) -> Fixed:
    """The parameters that an implementation lacks, notation aside: every case is drawn with them."""
    return tuple((name, value) for name, value in params.items() if not spec.params[name].convention)


def bytes_of(cases: tuple[Case, ...]) -> int:
    """What the inputs of cases take in memory."""
    return sum(1024 + sum(array.nbytes for array in case.inputs.values()) for case in cases)


@remembered(128 * MIB, bytes_of)
def material(spec: Spec, kind: str, tier: str, seed: int, fixed: Fixed = ()) -> tuple[Case, ...]:
    """All cases of one kind: "single", "small", "setting", "bulk", "empty", or one of CORNERS."""
    if kind in CORNERS:
        return tuple(_corners(spec, kind, dict(fixed)))
    if kind == "setting":
        return tuple(_settings(spec, ROUNDS[tier, spec.composite][1], seed, dict(fixed)))
    rng = np.random.default_rng([seed, sum(map(ord, spec.name + kind))])
    found = list(_drawn(spec, kind, rng, *ROUNDS[tier, spec.composite], dict(fixed)))
    return tuple(replace(case, id=f"{kind} {number}") for number, case in enumerate(found))


def legal(spec: Spec, kinds: Iterable[str], tier: str, seed: int, fixed: Params) -> list[Case]:
    """The legal cases of these kinds, with these parameters at these values."""
    found = (case for kind in kinds for case in material(spec, kind, tier, seed, fixed_of(spec, fixed)))
    return [case for case in found if spec.why_not(case) is None and fixed.items() <= dict(case.params).items()]


def corner_kind(spec: Spec, case: Case) -> str:
    """Which checks ask a corner: a shape has a check of its own, and so have objects out of order or of no image."""
    if "shape" in case.flags:
        return "shape"
    return "rare" if "rare" in case.flags or _out_of_order(spec, case) else "corner"


def _out_of_order(spec: Spec, case: Case) -> bool:
    axes = {name: domain.axes.split() for name, domain in spec.inputs.items()}
    for name, axis in ((name, domain.indexes) for name, domain in spec.inputs.items() if domain.indexes):
        places = max(case.inputs[other].shape[found.index(axis)] for other, found in axes.items() if axis in found)
        index = case.inputs[name]
        if (np.diff(index) < 0).any() or (index != np.clip(np.floor(index), 0, places - 1)).any():
            return True
    return False


def _corners(spec: Spec, kind: str, fixed: Params) -> Iterator[Case]:
    for case in spec.corners:
        params = {**fixed, **case.params}
        if corner_kind(spec, case) == kind and same_shapes(spec, params, case.params):
            yield replace(case, params=with_defaults(spec, params))


def _drawn(
    spec: Spec, kind: str, rng: np.random.Generator, singles: int, batches: int, fixed: Params
) -> Iterator[Case]:
    for layout in conventions(spec):
        params = {**layout, **fixed}
        for dims in spec.sizes.get(kind, ()):
            if kind == "single":
                first = int(rng.integers(1000))
                yield from (draw_case(spec, rng, dims, params, first + turn) for turn in range(singles))
            else:
                rounds = batches if kind == "small" else 1
                yield from (draw_case(spec, rng, dims, params) for _ in range(rounds))


def _settings(spec: Spec, rounds: int, seed: int, fixed: Params) -> Iterator[Case]:
    """Small cases, each with one parameter away from its default."""
    rng = np.random.default_rng([seed, sum(map(ord, spec.name))])
    changes = [
        {name: setting}
        for name, param in spec.params.items()
        for setting in param.others
        if not param.convention and name not in fixed
    ]
    for change, layout in itertools.product(changes, conventions(spec)):
        for number in range(rounds):
            dims = spec.sizes["small"][number % len(spec.sizes["small"])]
            yield replace(draw_case(spec, rng, dims, {**layout, **fixed, **change}), id=f"{change} {number}")
