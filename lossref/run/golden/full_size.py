"""Cases of the size that a training has, of composites: drawn from a stored seed, answered by the reference in float64.

Inputs are held by their digest; of the answer the terms, the norm of each gradient, and 256 numbers of the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

import lossref
from lossref.checks.material import draw_case
from lossref.checks.numbers import bulk_truth
from lossref.core.nouns import Array, Case, Spec
from lossref.hosts.probe import Result
from lossref.run.golden.files.packing import DTYPES, budgets, codes, digests, narrow, wide
from lossref.run.golden.files.volume import REFERENCE, Entry, Stored

SEED = 20261122
FULL = 2
NUMBERS = 256
Rooms = dict[str, Array]


def cases_of(spec: Spec) -> Iterator[tuple[Case, dict[str, Any]]]:
    """The cases of a composite, and how each is drawn again: seed and sizes."""
    sizes = spec.sizes.get("bulk", ()) if spec.composite else ()
    for number in range(FULL if sizes else 0):
        drawn = {"seed": SEED + number, "sizes": dict(sizes[number % len(sizes)])}
        yield drawn_again(spec, f"full size {number}", drawn), drawn


def drawn_again(spec: Spec, name: str, drawn: Mapping[str, Any]) -> Case:
    """The case that a seed and sizes stand for."""
    sizes = {key: tuple(value) if isinstance(value, list) else value for key, value in drawn["sizes"].items()}
    case = draw_case(spec, np.random.default_rng(drawn["seed"]), sizes, {})
    return replace(case, id=name, flags=("full size",), why="drawn")


def stored_of(spec: Spec, case: Case, drawn: Mapping[str, Any], before: Mapping[str, Stored]) -> Stored:
    """The case with the reference's answer, or as it was before where that is as good."""
    exact, _, _ = bulk_truth(spec, case, "float64")
    known = before.get(case.id)
    if known and known.entry.drawn == drawn and _as_good(spec, case, known, exact):
        return known
    at = {name: _places(numbers(exact, name), NUMBERS // len(spec.wrt)) for name in spec.wrt}
    answers = picked(spec, exact, at)
    tensors = {name: narrow(array) for name, array in answers.items()}
    found = [_rooms(spec, case, at, dtype) for dtype in DTYPES]
    tensors |= {f"budget/{name}": codes(np.stack([one[name] for one in found])) for name in found[0]}
    values = {term: tuple(f"{x:.16e}" for x in answers[f"value/{term}"].flat[:8]) for term in spec.terms}
    said = (case.id, case.why, case.flags, dict(case.params), REFERENCE, "", lossref.__version__)
    return Stored(Entry(*said, {**digests(tensors), "inputs": inputs_digest(case)}, values, 0, dict(drawn)), tensors)


def inputs_digest(case: Case) -> str:
    """The digest that the inputs would have if they were kept."""
    return digests({f"input/{name}": narrow(array) for name, array in case.inputs.items()})["inputs"]


def picked(spec: Spec, found: Result, at: Mapping[str, Array]) -> dict[str, Array]:
    """The part of an answer that is kept: the terms, the norm of each gradient, and its numbers at these places."""
    answers = {f"value/{term}": array for term, array in zip(spec.terms, _by_term(found), strict=True)}
    for name, places in at.items():
        slopes = numbers(found, name)
        answers |= {f"at/{name}": places, f"gradient/{name}": slopes[places], f"norm/{name}": norm(slopes)}
    return answers


def _by_term(found: Result) -> list[Array]:
    ends = np.cumsum([int(np.prod(shape)) for shape in found.shapes])[:-1]
    parts = np.split(np.asarray(found.value).ravel(), ends)
    return [part.reshape(shape) for part, shape in zip(parts, found.shapes, strict=True)]


def numbers(found: Result, name: str) -> Array:
    """A gradient in a row."""
    slopes = found.gradient[name]
    assert slopes is not None
    return np.asarray(slopes, dtype=np.float64).ravel()


def norm(slopes: Array) -> Array:
    """The root of the sum of squares of what is finite; at an eps of 0 the formula has no number for some."""
    return np.asarray(np.sqrt(np.sum(np.square(np.where(np.isfinite(slopes), slopes, 0.0)))))


def _places(slopes: Array, count: int) -> Array:
    """Three quarters spread over what is not zero, the rest over all of it."""
    finite = np.flatnonzero(np.isfinite(slopes))
    busy = finite[slopes[finite] != 0]
    return np.unique(np.concatenate([_spread(busy, 3 * count // 4), _spread(finite, count // 4)]))


def _spread(places: Array, count: int) -> Array:
    return places[np.unique(np.linspace(0, len(places) - 1, min(count, len(places))).astype(np.int64))]


def _rooms(spec: Spec, case: Case, at: Mapping[str, Array], dtype: str) -> Rooms:
    """The budgets of the check of full size, of the numbers that are kept; of a norm, that of all numbers together."""
    exact, value_room, slope_rooms = bulk_truth(spec, case, dtype)
    like = replace(exact, value=np.broadcast_to(value_room, exact.value.shape))
    rooms = {f"value/{term}": array for term, array in zip(spec.terms, _by_term(like), strict=True)}
    for name, places in at.items():
        slopes = exact.gradient[name]
        assert slopes is not None
        row = np.broadcast_to(slope_rooms[name], slopes.shape).ravel()
        rooms |= {f"gradient/{name}": row[places], f"norm/{name}": norm(row)}
    return rooms


def differences(stored: Stored, found: Result, spec: Spec, dtype: str) -> dict[str, tuple[Array, Array, Array]]:
    """By part: what was found, what is recorded, and the budget of the dtype."""
    at = {name: wide(stored.tensors[f"at/{name}"]).astype(np.int64) for name in spec.wrt}
    got = picked(spec, found, at)
    room = {
        name: budgets(stored.tensors[f"budget/{name}"])[DTYPES.index(dtype)]
        for name in got
        if not name.startswith("at/")
    }
    return {name: (got[name], wide(stored.tensors[name]), room[name]) for name in room}


def _as_good(spec: Spec, case: Case, known: Stored, exact: Result) -> bool:
    """Whether a recorded answer is within the budget of float64 of what the reference gives here."""
    if known.entry.digests["inputs"] != inputs_digest(case):
        return False
    parts = differences(known, exact, spec, "float64").values()
    return all(got.shape == want.shape and bool((np.abs(got - want) <= room).all()) for got, want, room in parts)
