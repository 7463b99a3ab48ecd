"""Which one step of the formula, left out or done otherwise, gives the target's numbers."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lossref.core.nouns import Array, Case, Params, Spec
from lossref.oracle.answers import weights
from lossref.run.explain.changes import Change, changes
from lossref.run.explain.plain import Floats, Place, Plain, Step, flows
from lossref.run.explain.quantity import Quantity, Told, close

MOST_NODES = 20_000  # of a run that is tried in hundreds of ways
MOST_RUNS = 6_000
ROOM_OF_FLOATS = 4.0
ERRORS = (ArithmeticError, ValueError, TypeError, IndexError, AttributeError)


class Altered(NamedTuple):
    """A change of one step."""

    place: Place
    change: Change

    @property
    def words(self) -> str:
        """Which step, and what becomes of it."""
        return f"{text_of(self.place)} {self.change.words}"


def altered(what: Quantity, told: Sequence[Told], settings: Params) -> Iterator[str]:
    """Sentences for the single steps that explain every case."""
    found = _Bench(what, told, settings)
    for one in found.candidates:
        if found.reproduces({one.place: one.change.other}):
            yield f"agrees when {one.words}"


def altered_pairs(what: Quantity, told: Sequence[Told], settings: Params) -> Iterator[str]:
    """The same for two gradients that are cut off, or let through, at once."""
    found = _Bench(what, told, settings)
    cuts = [one for one in found.candidates if one.change.cuts] if what.wrt else []
    for one, other in itertools.combinations(cuts, 2):
        if one.place != other.place and found.reproduces({each.place: each.change.other for each in (one, other)}):
            yield f"agrees when {one.words}, and {other.words}"


class _Bench:
    """The formula of an elementary loss, ready to be run on the cases with other steps."""

    def __init__(self, what: Quantity, told: Sequence[Told], settings: Params) -> None:
        self.what, self.settings = what, settings
        usable = not what.spec.composite and all(one.got.size == one.want.size for one in told)
        self.told = sorted(told, key=lambda one: (not one.apart, _size(one))) if usable else []
        self.rooms: list[Array] = []
        self.candidates = self._learnt() if self.told else []

    def _learnt(self) -> list[Altered]:
        """Every change at every place that the formula passes on these cases."""
        seen: dict[Place, tuple[Any, ...]] = {}
        for one in self.told:
            usual, nodes = run(self.what, one.shown.case, self.settings, {}, seen)
            if usual is None or nodes > MOST_NODES or usual.size != one.want.size:
                return []
            off = np.abs(usual.ravel() - one.want.ravel())
            self.rooms.append(one.room.ravel() + ROOM_OF_FLOATS * np.where(np.isfinite(off), off, 0.0))
        if not any(not close(one.got, one.want, room) for one, room in zip(self.told, self.rooms, strict=True)):
            return []
        return [Altered(place, change) for place, args in seen.items() for change in changes(place[2], args)]

    def reproduces(self, steps: Mapping[Place, Step]) -> bool:
        """Whether the formula with these steps has the target's numbers on every case."""
        for one, room in zip(self.told, self.rooms, strict=True):
            found, _ = run(self.what, one.shown.case, self.settings, steps)
            if found is None or not close(one.got, found, room):
                return False
        return True


def _size(one: Told) -> int:
    return sum(array.size for array in one.shown.case.inputs.values())


def run(
    what: Quantity,
    case: Case,
    settings: Params,
    steps: Mapping[Place, Step],
    seen: dict[Place, tuple[Any, ...]] | None = None,
) -> tuple[Array | None, int]:
    """The quantity by the formula with these steps, and how many numbers it took; None where that fails."""
    m = Floats(steps)
    m.seen = seen
    leaves = {name: _leaves(m, domain.dtype, case.inputs[name]) for name, domain in what.spec.inputs.items()}
    count = len(m.nodes)
    try:
        output = what.spec.oracle(m, **{k: _nest(v) for k, v in leaves.items()}, **{**case.params, **settings})
    except ERRORS:
        return None, 0
    finally:
        m.seen = None
    terms = (output,) if len(what.spec.terms) == 1 else output
    return _taken(what, m, leaves, terms, count), len(m.nodes)


def _taken(what: Quantity, m: Floats, leaves: Mapping[str, Any], terms: Sequence[Any], count: int) -> Array | None:
    cells = [_flat(m, term) for term in terms]
    if not what.wrt:
        chosen = cells if not what.term else [cells[what.spec.terms.index(what.term)]]
        return np.array([cell.value for term in chosen for cell in term])
    numbers = [cell for term in cells for cell in term]
    if not numbers:
        return None
    found = flows(list(zip(numbers, weights((len(numbers),)), strict=True)), count)
    return np.array([found[leaf.order] for leaf in leaves[what.wrt].flat]).reshape(leaves[what.wrt].shape)


def _leaves(m: Floats, dtype: str, array: Array) -> Array:
    kinds = {"bool": bool, "int64": int}
    made = np.empty(array.size, dtype=object)
    for place, x in enumerate(np.asarray(array).flat):
        made[place] = kinds[dtype](x) if dtype else m.number(float(x))
    return made.reshape(np.shape(array))


def _nest(cells: Any) -> Any:
    if not isinstance(cells, np.ndarray):
        return cells
    return cells.item() if cells.ndim == 0 else tuple(_nest(part) for part in cells)


def _flat(m: Floats, nested: Any) -> list[Plain]:
    if isinstance(nested, (tuple, list)):
        return [cell for part in nested for cell in _flat(m, part)]
    return [nested if isinstance(nested, Plain) else m.number(float(nested))]


@lru_cache(maxsize=2048)
def text_of(place: Place) -> str:
    """The source of a step, and where it stands."""
    code, instruction, _ = place
    line, last, begin, end = list(code.co_positions())[instruction // 2]
    file = Path(code.co_filename)
    source = linecache.getline(code.co_filename, line or 0)
    text = source.encode()[begin:end].decode() if line == last else source[begin:].strip() + " ..."
    return f"`{text}` ({file.parent.name}/{file.name}, line {line}, {code.co_name})"
