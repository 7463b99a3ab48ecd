"""Which cases of a spec are recorded: corners, settings, families one by one, and batches.

Everything is drawn from one seed. What has several right answers (a matching or a top-k that is tied) is left out. A
composite has more of its corners, with one setting changed at a time, than of what is drawn, which is large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any

import numpy as np

from lossref.checks.material import conventions, draw_case, material, same_shapes, with_defaults
from lossref.checks.numbers import at_kink
from lossref.checks.settings import at_default, is_finite, tells
from lossref.core.nouns import Case, Spec
from lossref.oracle.answers import answer
from lossref.oracle.tape import Tie, Uncertified
from lossref.run.golden.corpus.telling import TABLE, telling

SEED = 20261122
SINGLES, BATCHES, ROUNDS = 48, 4, 3  # of one item in all, of each size of a batch, of each setting
SMALL = 600  # numbers; a drawn case of a composite that has more of them is large
TRIES = 12
MOST = 196
Dims = Mapping[str, Any]


def cases_of(spec: Spec) -> Iterator[Case]:
    """The cases that the oracle answers, each once, in order; their flags say which group they are of."""
    groups: dict[str, Iterable[Case]] = {"corner": _corners(spec), "setting": _settings(spec)}
    groups |= {"single": _singles(spec), "batch": _batches(spec)}
    found = (_flagged(spec, case, group) for group, cases in groups.items() for case in cases if answerable(spec, case))
    yield from islice(found, MOST)


def answerable(spec: Spec, case: Case) -> bool:
    """Whether the inputs have the axes of the spec, and the answer is unique.

    Other shapes are the reference's business; where a matching or a top-k is tied there is no answer.
    """
    if "shape" in case.flags or any(
        case.inputs[name].ndim != len(domain.axes.split()) for name, domain in spec.inputs.items()
    ):
        return False
    try:
        answer(spec, case)
    except Tie:
        return False
    return True


def _flagged(spec: Spec, case: Case, group: str) -> Case:
    return replace(case, flags=tuple(sorted({*case.flags, group, *_kink(spec, case)})))


def _kink(spec: Spec, case: Case) -> tuple[str, ...]:
    try:
        return ("kink",) if spec.wrt and not spec.composite and at_kink(spec, case) else ()
    except Uncertified:
        return ()


# The groups -----------------------------------------------------------------------------------------------


def _corners(spec: Spec) -> Iterator[Case]:
    yield from (replace(case, params=with_defaults(spec, case.params)) for case in spec.corners)


def _rng(spec: Spec, group: str) -> np.random.Generator:
    return np.random.default_rng([SEED, sum(map(ord, spec.name + group))])


def _drawn(spec: Spec, rng: np.random.Generator, group: str, dims: Dims, count: int, walk: bool) -> Iterator[Case]:
    """So many cases in every notation; with `walk` they go round the combinations of families."""
    for layout in conventions(spec):
        for number in range(count):
            case = draw_case(spec, rng, dims, layout, number if walk else None)
            yield replace(case, id=_name(f"{group} {_said(dims)} {number}", layout))


def _name(words: str, layout: Mapping[str, Any]) -> str:
    return " ".join([words, *(f"{name}={value!r}" for name, value in layout.items())]).replace("/", ":")


def _said(dims: Dims) -> str:
    return ",".join(f"{name}={value}" for name, value in dims.items()).replace(" ", "")


def _of_validate(spec: Spec, kind: str, count: int) -> Iterator[Case]:
    """Those that `lossref validate` asks of a composite, with their ids: so the record spares it the oracle."""
    yield from material(spec, kind, "quick", 0)[:count]


def is_small(spec: Spec, dims: Dims) -> bool:
    """Whether a drawn case of that size is as small as a corner."""
    case = draw_case(spec, np.random.default_rng(SEED), dims, conventions(spec)[0])
    return not spec.composite or sum(array.size for array in case.inputs.values()) <= SMALL


def _singles(spec: Spec) -> Iterator[Case]:
    rng, sizes = _rng(spec, "single"), spec.sizes["single"]
    if spec.composite:
        yield from _of_validate(spec, "single", 3 * len(sizes))
    for dims in sizes:
        count = SINGLES // (len(sizes) * len(conventions(spec))) // (4 if spec.composite else 1)
        if is_small(spec, dims):
            yield from _drawn(spec, rng, "single", dims, count, walk=True)


def _batches(spec: Spec) -> Iterator[Case]:
    rng = _rng(spec, "small")
    if spec.composite:
        yield from _of_validate(spec, "small", 1)
    for dims in spec.sizes["small"]:
        if is_small(spec, dims):
            yield from _drawn(spec, rng, "batch", dims, BATCHES, walk=False)


def _changes(spec: Spec) -> list[tuple[str, Any]]:
    """Every value of every setting but its default."""
    return [(name, value) for name, one in spec.params.items() if not one.convention for value in one.others]


def _settings(spec: Spec) -> Iterator[Case]:
    yield from telling(spec)
    for name, value in _changes(spec):
        if (spec.name, name, value) in TABLE and spec.composite:
            continue
        if not spec.composite:
            yield from _drawn_settings(spec, name, value)
        elif not any(_told(spec, case, name) for case in _usable_corners(spec) if case.params[name] == value):
            found = (case for cases in (_changed_corners, _drawn_until) for case in cases(spec, name, value))
            yield from islice(found, 1)


def _told(spec: Spec, case: Case, setting: str) -> bool:
    """Whether a corner is answered otherwise at the default of a setting, or has no such inputs there."""
    usual = replace(case, params={**case.params, setting: spec.params[setting].default})
    legal = same_shapes(spec, case.params, usual.params) and spec.why_not(usual) is None
    return tells(spec, case, usual if legal else None)


def _drawn_settings(spec: Spec, name: str, value: Any) -> Iterator[Case]:
    rng = _rng(spec, f"{name}={value!r}")
    for layout in conventions(spec):
        for number, dims in zip(range(ROUNDS), spec.sizes["small"] * ROUNDS, strict=False):
            case = draw_case(spec, rng, dims, {**layout, name: value})
            yield replace(case, id=_name(f"{name}={value!r} {number}", layout))


def _changed_corners(spec: Spec, name: str, value: Any) -> Iterator[Case]:
    """The corners on which this value of a setting gives something else than the default."""
    for base in _usable_corners(spec):
        case = replace(base, params={**base.params, name: value}, id=_name(f"{base.id}, {name}={value!r}", {}))
        legal = same_shapes(spec, base.params, case.params) and spec.why_not(case) is None
        if legal and _told(spec, case, name) and is_finite(spec, case):
            yield case


def _drawn_until(spec: Spec, name: str, value: Any) -> Iterator[Case]:
    """Drawn cases on which it does; where none is among the first, a setting has no case."""
    rng = _rng(spec, f"{name}={value!r}")
    for number in range(TRIES):
        case = draw_case(spec, rng, spec.sizes["single"][0], {name: value})
        if tells(spec, case, at_default(spec, case, ())):
            yield replace(case, id=_name(f"{name}={value!r} {number}", {}))


@cache
def _usable_corners(spec: Spec) -> tuple[Case, ...]:
    return tuple(case for case in _corners(spec) if answerable(spec, case))
