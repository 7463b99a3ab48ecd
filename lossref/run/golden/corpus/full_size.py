"""Cases of the size that a training has, of composites: drawn from a stored seed, answered by the reference in float64.

Inputs are held by their digest; of the answer the terms, the norm of each gradient, and 256 numbers of the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

import lossref
from lossref.checks.numbers import bulk_truth
from lossref.core.nouns import Array, Case, Spec
from lossref.hosts.probe import Result, by_term, itself
from lossref.run.golden.files.form import REFERENCE
from lossref.run.golden.files.packing import DTYPES, codes, digests, narrow
from lossref.run.golden.files.volume import Entry, Stored
from lossref.run.golden.judging import judged
from lossref.run.golden.sampled import drawn_again, inputs_digest, norm, numbers, picked

SEED = 20261122
FULL = 2
NUMBERS = 256
Rooms = dict[str, Array]


def recipes(spec: Spec) -> Iterator[dict[str, Any]]:
    """How each case of a composite is drawn again: seed and sizes."""
    sizes = spec.sizes.get("bulk", ()) if spec.composite else ()
    for number in range(FULL if sizes else 0):
        of = {name: list(one) if isinstance(one, tuple) else one for name, one in sizes[number % len(sizes)].items()}
        yield {"seed": SEED + number, "sizes": of}  # as JSON gives it back, so that a known case is found to be so


def cases_of(spec: Spec) -> Iterator[tuple[Case, dict[str, Any]]]:
    """The cases of a composite, with their recipes."""
    for number, drawn in enumerate(recipes(spec)):
        yield drawn_again(spec, f"full size {number}", drawn), drawn


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
    rooms = {f"value/{term}": array for term, array in zip(spec.terms, by_term(like), strict=True)}
    for name, places in at.items():
        slopes = exact.gradient[name]
        assert slopes is not None
        row = np.broadcast_to(slope_rooms[name], slopes.shape).ravel()
        rooms |= {f"gradient/{name}": row[places], f"norm/{name}": norm(row)}
    return rooms


def _as_good(spec: Spec, case: Case, known: Stored, exact: Result) -> bool:
    """Whether a recorded answer is within the budget of float64 of what the reference gives here."""
    same = known.entry.digests["inputs"] == inputs_digest(case)
    return same and not judged(spec, itself(spec), known, exact, "float64").problems
