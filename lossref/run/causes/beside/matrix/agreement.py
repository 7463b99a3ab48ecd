"""Who agrees with whom: the same cases put to every two implementations of a loss, whatever the specification says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lossref.checks.attempts import arithmetic
from lossref.core.nouns import Spec, Target
from lossref.hosts.command import CannotAnswer
from lossref.hosts.endings import TargetEnded
from lossref.oracle.cache import shelf
from lossref.oracle.kept import digest_of, once
from lossref.run.causes.beside.differences import differing
from lossref.run.causes.beside.matrix.asked import Cell, Column
from lossref.run.causes.recalled import ROOMS
from lossref.targets.lodged import lodged, settled
from lossref.targets.resolve import Unavailable, UnknownTarget

Pair = tuple[str, str]


@dataclass(frozen=True)
class Agreement:
    """The implementations of one loss, those together that give the same numbers, the largest group first.

    apart:  for two that do not, what differs, and on how many cases of how many
    silent: pairs that no case can be put to, or one of which has ended, with the reason
    """

    spec: str
    groups: tuple[tuple[str, ...], ...]
    apart: tuple[tuple[Pair, str], ...] = ()
    silent: tuple[tuple[Pair, str], ...] = ()

    @property
    def sentence(self) -> str:
        """All agree; everyone but one; or who is with whom."""
        first, *others = self.groups
        if not others:
            return f"all {len(first)} agree"
        alone = [group[0] for group in others if len(group) == 1]
        if len(first) > 1 and len(others) == len(alone) == 1:
            return f"everyone but {alone[0]} agrees"
        if len(first) == 1:
            return "no two agree"
        return " | ".join(", ".join(group) for group in self.groups)


def of(columns: Sequence[Column], wanted: Sequence[Spec], cells: Sequence[Cell], seed: int) -> list[Agreement]:
    """For every loss that two of the columns have, who agrees with whom."""
    there = {(cell.column, cell.spec) for cell in cells if cell.verdicts}
    found = list[Agreement]()
    for spec in wanted:
        mine = [column for column in columns if (column.name, spec.name) in there]
        if len(mine) > 1:
            found.append(_of_spec(spec, mine, seed))
    return found


def _of_spec(spec: Spec, columns: Sequence[Column], seed: int) -> Agreement:
    rows = {(a.name, b.name): _beside(spec, a, b, seed) for a, b in itertools.combinations(columns, 2)}
    alike = [pair for pair, (reason, parts, _) in rows.items() if not reason and not parts]
    apart = tuple((pair, _words(parts, cases)) for pair, (reason, parts, cases) in rows.items() if parts and not reason)
    silent = tuple((pair, reason) for pair, (reason, _, _) in rows.items() if reason)
    return Agreement(spec.name, tuple(_groups([one.name for one in columns], alike)), apart, silent)


def _groups(names: Sequence[str], alike: Sequence[Pair]) -> Iterator[tuple[str, ...]]:
    """Those of which each agrees with every other one of the group: to agree "nearly" is not handed on."""
    found = list[list[str]]()
    for name in names:
        home = next((group for group in found if all((other, name) in alike for other in group)), None)
        if home is None:
            found.append([name])
        else:
            home.append(name)
    yield from sorted(map(tuple, found), key=lambda group: -len(group))


def _beside(spec: Spec, one: Column, other: Column, seed: int) -> tuple[str, list[list[Any]], int]:
    """Why the two cannot be compared, or what differs on how many cases, and how many were put to both."""
    digest = digest_of("agreement 1", arithmetic(), one.digest, other.digest, one.lodging.timeout, seed)
    place = shelf(spec, digest, ROOMS) if one.digest and other.digest else None
    reason, parts, cases = once(place, lambda: _compared(spec, one, other, seed))
    return reason, parts, cases


def _compared(spec: Spec, one: Column, other: Column, seed: int) -> list[Any]:
    try:
        row = differing(spec, _target(spec, one), _target(spec, other), seed)
    except (Unavailable, UnknownTarget, TargetEnded, CannotAnswer) as error:
        return [str(error), [], 0]
    return [row.reason, [[part.quantity, part.cases, part.apart] for part in row.differences], row.cases]


def _target(spec: Spec, column: Column) -> Target:
    found = lodged(column.word, None, column.lodging)
    return settled(next(target for target in found if target.spec == spec.name))


def _words(parts: Sequence[Sequence[Any]], cases: int) -> str:
    names = ", ".join(str(name) for name, _, _ in parts)
    return f"{names}: on {max(count for _, count, _ in parts)} of {cases} cases"
