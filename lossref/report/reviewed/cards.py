"""What is shown of one changed case: the change, its inputs, and the picture of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lossref.core.nouns import Params
from lossref.losses import specs
from lossref.report.pictures import Picture, picture
from lossref.report.shapes import Arrays
from lossref.run.golden.changes.comparing import GONE, KINDS, WHOLE, Change
from lossref.run.golden.changes.pending import Pending, pending_volume
from lossref.run.golden.changes.proposing import recorded
from lossref.run.golden.changes.words import effects, nearer
from lossref.run.golden.files.packing import wide
from lossref.run.golden.files.volume import Stored


@dataclass(frozen=True)
class Row:
    """One array of the answer: its name and place, old, new, and how far apart they are."""

    kind: str
    name: str
    old: float
    new: float
    ulp: float
    relative: float
    moved: str
    budgets: tuple[float, ...]
    shape: str


@dataclass(frozen=True, eq=False)
class Card:
    """One changed case; `inputs` are those that the new record has, of a case that goes those of the old one."""

    change: Change
    inputs: Arrays
    params: Params

    @property
    def name(self) -> str:
        """What `--case` takes."""
        return f"{self.change.spec}/{self.change.id}"

    @property
    def rows(self) -> list[Row]:
        """Value and gradient apart, values first."""
        return [_row(move) for move in self.change.moves]

    @property
    def at(self) -> tuple[int, ...]:
        """Where in the inputs the change is largest, as far as anybody can tell."""
        return next((move.at for move in self.change.moves if move.name.startswith("value/")), ())

    @property
    def meaning(self) -> str:
        """What kind of change it is."""
        return KINDS[self.change.kind]

    @property
    def nearer(self) -> str:
        """Which of the two answers is nearer to the certified truth."""
        return nearer(self.change)

    @property
    def reference(self) -> list[str]:
        """What the change does to the reference."""
        return list(effects(self.change))

    @cached_property
    def picture(self) -> Picture:
        """The inputs as SVG; an empty one at full size, where they are not kept."""
        case = {"spec": self.change.spec, "params": self.params, "detail": {"index": self.at}}
        return picture(case, self.inputs)

    @property
    def accept(self) -> str:
        """The command that accepts it."""
        return f"lossref golden accept --case {shlex.quote(self.name)} --why '...'"

    @property
    def size(self) -> str:
        """The shapes of the inputs."""
        return ", ".join(f"{name} ({' × '.join(map(str, array.shape))})" for name, array in self.inputs.items())


def _row(move: Any) -> Row:
    kind, _, name = move.name.partition("/")
    place = f"{list(move.at)}" if move.at else ""
    shown = f"d/d{name}{place}" if kind == "gradient" else f"{name}{place}"
    moved = f"{move.moved} of {move.of}"
    return Row(kind, shown, move.old, move.new, move.ulp, move.relative, moved, move.budgets, move.shape)


def cards(folder: Path, pending: Pending, these: Sequence[Change]) -> Iterator[Card]:
    """A card for each of these changes, in their order."""
    known: dict[tuple[str, bool], Mapping[str, Stored]] = {}
    for one in these:
        if one.id == WHOLE:
            yield Card(one, {}, {})
            continue
        place = one.spec, one.kind == GONE
        if place not in known:
            volume = recorded(folder, one.spec) if one.kind == GONE else pending_volume(folder, one.spec)
            known[place] = {stored.entry.id: stored for stored in volume.cases} if volume else {}
        yield _card(one, known[place].get(one.id))


def _card(change: Change, stored: Stored | None) -> Card:
    if stored is None:
        return Card(change, {}, {})
    held = {name.removeprefix("input/"): array for name, array in stored.tensors.items() if name.startswith("input/")}
    spec = specs().get(change.spec)
    inputs = {name: wide(held[name]) for name in (spec.inputs if spec else held) if name in held}
    return Card(change, inputs, dict(stored.entry.params))


def as_data(pending: Pending, these: Sequence[Change]) -> dict[str, Any]:
    """The same for programs: plain words, numbers and lists."""
    facts = {name: getattr(pending, name) for name in ("version", "base", "code")}
    rows = [
        {**asdict(one), "nearer": nearer(one), "reference_in_words": list(effects(one)), "disagrees": one.disagrees}
        for one in these
    ]
    return {**facts, "open": len(pending.open), "changes": rows}
