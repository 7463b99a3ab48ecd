"""What implementations give on a case, each asked once: explanations compare many of them, check after check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from lossref.core.nouns import Array, Case, Params, Spec, Target
from lossref.hosts.endings import DeviceLost
from lossref.hosts.probe import TargetRaised, call, itself
from lossref.oracle.kept import digest_of

MOST_BYTES = 64 * 2**20
FEW = 64  # numbers that are kept as they are
LARGE = 2**20  # bytes of an attempt, of which three at full size would drive out thousands of small ones
Change = tuple[tuple[str, Any], ...]
Question = tuple[Target, Case, Change, str]
Settings = tuple[tuple[str, str], ...]
Asked = tuple[int, bytes, Settings, str]
Arithmetic = tuple[str, str, int]  # the version of torch, what the processor is used for, threads


class Attempt(NamedTuple):
    """What an implementation gives on one case: the value, and the gradient of every differentiable input.

    shapes: of every term; of several terms the value holds the numbers in a row
    """

    value: Array
    gradients: tuple[Array, ...]
    shapes: tuple[tuple[int, ...], ...] = ()

    def is_same(self, other: Attempt) -> bool:
        """Whether every number is the same to the bit."""
        mine, theirs = (self.value, *self.gradients), (other.value, *other.gradients)
        alike = self.shapes == other.shapes and len(mine) == len(theirs)
        return alike and all(x.tobytes() == y.tobytes() for x, y in zip(mine, theirs, strict=True))

    def named(self, spec: Spec) -> dict[str, Array]:
        """Every quantity by the kind of failure that it would be: "value TERM", "gradient INPUT"."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        parts = np.split(self.value.ravel(), ends[:-1]) if len(spec.terms) > 1 else [self.value]
        values = {f"value {term}": part for term, part in zip(spec.terms, parts, strict=False)}
        return values | {f"gradient {name}": found for name, found in zip(spec.wrt, self.gradients, strict=False)}


class Sparse(NamedTuple):
    """An array without its zeros: the places of all others, in a row, and what stands there."""

    shape: tuple[int, ...]
    places: Array
    numbers: Array


class Thin(NamedTuple):
    """An attempt as it is kept: the value and every gradient."""

    arrays: tuple[Array | Sparse, ...]
    shapes: tuple[tuple[int, ...], ...]


class Attempts:
    """What was given on the cases of one spec; where that takes more than so many bytes, the oldest is forgotten.

    Large and small ones have as much room each.

    A question is its numbers and settings: a case that was moved to other settings is the same as one that is asked
    at them, and what was asked for last is the youngest.

    own:    the reference of the spec
    heard:  where questions are listed as they are put, known or not; None: nowhere
    beside: what is concluded from them; it is forgotten with them
    """

    def __init__(self, spec: Spec, most_bytes: int = MOST_BYTES) -> None:
        self.own = itself(spec)
        self.beside: object = None
        self.heard: list[Question] | None = None
        self._spec, self._room = spec, {True: most_bytes, False: most_bytes}
        self._known: dict[bool, dict[Asked, tuple[Target, Thin | None]]] = {True: {}, False: {}}
        self._cases: dict[tuple[Case, Change], tuple[Case, Settings]] = {}
        self._inputs: dict[int, tuple[Mapping[str, Array], bytes]] = {}

    def has(self, target: Target, case: Case, change: Params) -> bool:
        """Whether the target was asked about the case, at these other settings, in float64."""
        key, _ = self._told_apart(target, case, tuple(change.items()), "float64")
        return any(key in kept for kept in self._known.values())

    def of(self, target: Target, case: Case, change: Params | None = None, dtype: str = "float64") -> Attempt | None:
        """What a target gives on a case, at other settings if there is a change; None where it raises."""
        changes = tuple((change or {}).items())
        if self.heard is not None:
            self.heard.append((target, case, changes, dtype))
        key, there = self._told_apart(target, case, changes, dtype)
        known = next((kept.pop(key) for kept in self._known.values() if key in kept), None)
        if known is None:
            found = _thin(_attempt(self._spec, target, there, dtype))
            known = target, found  # the target is kept, so that its id stays its own
            self._make_room(_size(known[1]))
        self._known[_size(known[1]) > LARGE][key] = known
        return _whole(known[1])

    def _make_room(self, size: int) -> None:
        """Forget the oldest among those of about a size until there is room for it."""
        kept = self._known[size > LARGE]
        self._room[size > LARGE] -= size
        while self._room[size > LARGE] < 0 and kept:
            self._room[size > LARGE] += _size(kept.pop(next(iter(kept)))[1])

    def _told_apart(self, target: Target, case: Case, changes: Change, dtype: str) -> tuple[Asked, Case]:
        """What tells a question from others: its arrays, and its settings in any order; and the case at them."""
        if (case, changes) not in self._cases:
            there = at(case, changes)
            asked = {f"asked {name}": value for name, value in there.asked.items()}
            told = sorted((name, repr(value)) for name, value in {**there.params, **asked}.items())
            self._cases[case, changes] = there, tuple(told)
        there, settings = self._cases[case, changes]
        return (id(target), self._numbers(there.inputs), settings, dtype), there

    def _numbers(self, inputs: Mapping[str, Array]) -> bytes:
        """The digest of the arrays of a case: what is drawn once more has others with the same numbers."""
        if id(inputs) not in self._inputs:
            self._inputs[id(inputs)] = inputs, digest_of(inputs)
        return self._inputs[id(inputs)][1]

    def given(self, target: Target, case: Case) -> tuple[Attempt | None, Attempt | None]:
        """What a target gives on a case: in float64, or in float32 where it raises there."""
        exact = self.of(target, case)
        return exact, None if exact is not None else self.of(target, case, dtype="float32")


@lru_cache(maxsize=1)
def arithmetic() -> Arithmetic:
    """What decides the last bits of what torch computes here."""
    return str(torch.__version__), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()


@lru_cache(maxsize=512)
def at(case: Case, change: Change) -> Case:
    """The case with other settings: one object, so that what is known of it is found again."""
    return replace(case, params={**case.params, **dict(change)}) if change else case


def _attempt(spec: Spec, target: Target, case: Case, dtype: str) -> Attempt | None:
    try:
        result = call(spec, target, case, dtype, grad=bool(spec.wrt))
    except (TargetRaised, DeviceLost):
        return None
    found = (result.gradient.get(name) for name in spec.wrt)
    shapes = (case.inputs[name].shape for name in spec.wrt)
    zeros = (np.zeros(shape) if g is None else g for g, shape in zip(found, shapes, strict=True))
    return Attempt(result.value, tuple(zeros) if result.gradient else (), result.shapes)


def _thin(attempt: Attempt | None) -> Thin | None:
    """The attempt as it is kept: most gradients of a composite are 0 wherever nothing was assigned."""
    if attempt is None:
        return None
    return Thin(tuple(_without_zeros(x) for x in (attempt.value, *attempt.gradients)), attempt.shapes)


def _without_zeros(x: Array) -> Array | Sparse:
    """An array that is 0 almost everywhere as what is not, to the bit: -0.0 is none of the zeros."""
    places = np.flatnonzero(x.reshape(-1).view(np.int64)) if x.dtype == np.float64 and x.size > FEW else None
    return x if places is None or 2 * places.size > x.size else Sparse(x.shape, places, x.reshape(-1)[places])


def _whole(kept: Thin | None) -> Attempt | None:
    if kept is None:
        return None
    value, *gradients = map(_with_zeros, kept.arrays)
    return Attempt(value, tuple(gradients), kept.shapes)


def _with_zeros(x: Array | Sparse) -> Array:
    if not isinstance(x, Sparse):
        return x
    found = np.zeros(x.shape)
    found.reshape(-1)[x.places] = x.numbers
    return found


def _size(kept: Thin | None) -> int:
    arrays = [(x.places, x.numbers) if isinstance(x, Sparse) else (x,) for x in kept.arrays] if kept else []
    return 500 + sum(array.nbytes for parts in arrays for array in parts)
