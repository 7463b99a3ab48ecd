"""Which one step of the formula, left out or done otherwise, gives the target's numbers."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lossref.checks.attempts import Attempt
from lossref.core.nouns import Array, Case, Params, Spec
from lossref.oracle.answers import weights
from lossref.run.causes.explain.formula.changes import Change, changes
from lossref.run.causes.explain.formula.plain import Constants, Floats, Place, Plain, Step, flows
from lossref.run.causes.explain.quantity import Quantity, Told, reproduces

MOST_NUMBERS = 4_000  # of a run that is tried in hundreds of ways
MOST_PAIRS = 1_500
ROOM_OF_FLOATS = 4.0
NAMES = {"add": "sum", "sub": "difference", "mul": "product", "div": "quotient", "less": "comparison"}
NAMES |= dict.fromkeys(("min", "max"), "min or max")
ERRORS = (ArithmeticError, ValueError, TypeError, IndexError, AttributeError)
Setting = tuple[tuple[str, Any], ...]
Seen = dict[Place, Constants]


class Altered(NamedTuple):
    """A formula with other steps: what is done otherwise, in words, and how."""

    words: str
    steps: tuple[tuple[Place, Step], ...]
    cuts: bool

    def __and__(self, other: Altered) -> Altered:
        return Altered(f"{self.words}, and {other.words}", self.steps + other.steps, self.cuts and other.cuts)


class Bench:
    """The formula of an elementary loss, ready to be run on the cases with other steps."""

    def __init__(self, what: Quantity, told: Sequence[Told], settings: Params) -> None:
        self.what, self.settings = what, tuple(settings.items())
        usable = not what.spec.composite and all(one.got.size == one.want.size for one in told)
        self.told = sorted(told, key=lambda one: (not one.apart, size(one))) if usable else []
        self.singles = self._learnt() if self.told else []

    def _learnt(self) -> list[Altered]:
        """Every change at every place that the formula passes on these cases; none where floats cannot carry it out."""
        seen: Seen = {}
        for place, one in enumerate(self.told):
            usual, here = learnt(self.what.spec, one.shown.case, self.settings)
            numbers = None if usual is None else _shaped(usual, self.what, one)
            if numbers is None or numbers.size != one.want.size:
                return []
            seen = {**here, **seen}
            off = np.abs(numbers.ravel() - one.want.ravel())
            room = one.room.ravel() + ROOM_OF_FLOATS * np.where(np.isfinite(off), off, 0.0)
            self.told[place] = one._replace(room=room.reshape(one.want.shape))
        return list(every(tuple(seen.items()))) if any(one.apart for one in self.told) else []

    def gives(self, altered: Altered, what: Quantity, one: Told) -> Array | None:
        """A quantity on a case by the formula with other steps."""
        found = outcome(self.what.spec, one.shown.case, self.settings, altered.steps)
        return None if found is None else _shaped(found, what, one)

    def on(self, altered: Altered) -> Callable[[Quantity, Told], Array | None]:
        """The same for one way to alter it."""
        return partial(self.gives, altered)

    def found(self, of: Iterable[Altered]) -> Iterator[Altered]:
        """Those that have the target's numbers of the quantity on every case."""
        yield from (one for one in of if reproduces(partial(self.gives, one, self.what), self.told))

    def pairs(self) -> Iterator[Altered]:
        """Two gradients that are cut off, or let through, at once."""
        cuts = [one for one in self.singles if one.cuts and "operand" not in one.words] if self.what.wrt else []
        pairs = (one & other for one, other in itertools.combinations(cuts, 2) if one.steps[0][0] != other.steps[0][0])
        yield from itertools.islice(pairs, MOST_PAIRS)


def _shaped(found: Attempt, what: Quantity, one: Told) -> Array | None:
    """The quantity in what a run gave, whose value is a row of numbers."""
    return what.of(found._replace(shapes=one.shown.want.shapes if one.shown.want else ()))


def size(one: Told) -> int:
    """How many numbers a case has."""
    return sum(array.size for array in one.shown.case.inputs.values())


@lru_cache(maxsize=4096)
def every(places: tuple[tuple[Place, Constants], ...]) -> tuple[Altered, ...]:
    """Every single change at these places; of those that say the same one is kept."""
    found: dict[str, Altered] = {}
    for place, constants in places:
        for change in changes(place[2], constants):
            words = f"{text_of(place)} {change.words}"
            found.setdefault(words, Altered(words, ((place, change.other),), change.cuts))
    return (*found.values(), *_alike(places))


def _alike(places: tuple[tuple[Place, Constants], ...]) -> Iterator[Altered]:
    """The same change at every place of one operation: on one line, and in the whole formula."""
    alike: dict[tuple[str, str], dict[Place, Change]] = {}
    for place, constants in places:
        name = NAMES.get(place[2], place[2])
        for change, where in itertools.product(changes(place[2], constants), (_line(place), "of the formula")):
            alike.setdefault((f"every {name} {where}", change.words), {})[place] = change
    for (which, words), them in alike.items():
        if len(them) > 1:
            steps = tuple((place, change.other) for place, change in them.items())
            yield Altered(f"{which} {words}", steps, all(change.cuts for change in them.values()))


# Runs ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def learnt(spec: Spec, case: Case, settings: Setting) -> tuple[Attempt | None, Seen]:
    """What the formula gives as it is, and the steps that it takes; nothing where a run takes too long."""
    if sum(array.size for array in case.inputs.values()) > MOST_NUMBERS:
        return None, {}
    m = Floats()
    m.seen = {}
    found = run(spec, m, case, settings)
    return found, m.seen


@lru_cache(maxsize=60_000)
def outcome(spec: Spec, case: Case, settings: Setting, steps: tuple[tuple[Place, Step], ...]) -> Attempt | None:
    """What the formula gives with other steps, asked once."""
    return run(spec, Floats(dict(steps)), case, settings)


def run(spec: Spec, m: Floats, case: Case, settings: Setting) -> Attempt | None:
    """Value and gradients by the formula on these numbers; None where that fails."""
    leaves = {name: _leaves(m, domain.dtype, case.inputs[name]) for name, domain in spec.inputs.items()}
    count = len(m.nodes)
    inputs = {name: _nest(cells) for name, cells in leaves.items()}
    try:
        output = spec.oracle(m, **inputs, **{**case.params, **dict(settings)})
    except ERRORS:
        return None
    numbers = _flat(m, output)
    value = np.array([number.value for number in numbers])
    if not numbers or not spec.wrt:
        return Attempt(value, tuple(np.zeros(leaves[name].shape) for name in spec.wrt))
    found = flows(list(zip(numbers, weights((len(numbers),)), strict=True)), count)
    return Attempt(value, tuple(_at(leaves[name], found) for name in spec.wrt))


def _at(leaves: Array, found: Sequence[float]) -> Array:
    return np.array([found[leaf.order] for leaf in leaves.flat]).reshape(leaves.shape)


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
    source = linecache.getline(code.co_filename, line or 0).encode()
    text = source[begin:end] if line == last else source[begin:].strip() + b" ..."
    return f"`{text.decode()}` ({_line(place)[3:]}, {code.co_name})"


def _line(place: Place) -> str:
    code, instruction, _ = place
    file, line = Path(code.co_filename), list(code.co_positions())[instruction // 2][0]
    return f"in {file.parent.name}/{file.name}, line {line}"
