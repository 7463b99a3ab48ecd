"""Who agrees with whom: the same cases put to every two implementations of a loss, whatever the specification says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossref.checks.attempts import arithmetic
from lossref.core.nouns import Spec, Target
from lossref.hosts.command import CannotAnswer
from lossref.hosts.endings import TargetEnded
from lossref.oracle.cache import shelf
from lossref.oracle.kept import digest_of, once
from lossref.run.causes.beside.differences import differing
from lossref.run.causes.beside.matrix.asked import Cell, Column, chosen
from lossref.run.causes.recalled import ROOMS
from lossref.targets.lodged import lodged, settled
from lossref.targets.resolve import Unavailable, UnknownTarget

Pair = tuple[str, str]


@dataclass(frozen=True)
class Agreement:
    """The implementations of one loss: those that can be asked the same, and of these who gives the same numbers.

    clusters: such as can be compared, each as groups that agree, the largest group first; none where no two can
    apart:    for two that do not agree, what differs, and on how many cases of how many
    silent:   pairs that no case can be put to, for they have other conventions, or one of which ended, with the reason
    """

    spec: str
    clusters: tuple[tuple[tuple[str, ...], ...], ...]
    apart: tuple[tuple[Pair, str], ...] = ()
    silent: tuple[tuple[Pair, str], ...] = ()

    @property
    def sentence(self) -> str:
        """All agree; everyone but one; or who is with whom. That two cannot be compared is no disagreement."""
        if not self.clusters:
            return "no two can be compared"
        if len(self.clusters) == 1:
            return _sentence(self.clusters[0])
        return "; ".join(f"{', '.join(itertools.chain(*groups))}: {_sentence(groups)}" for groups in self.clusters)


def _sentence(groups: Sequence[tuple[str, ...]]) -> str:
    first, *others = groups
    if not others:
        return f"all {len(first)} agree"
    if len(first) == 1:
        return "no two agree"
    if len(others) == len(others[0]) == 1:
        return f"everyone but {others[0][0]} agrees"
    return " | ".join(", ".join(group) for group in groups)


def pairs(columns: Sequence[Column]) -> list[tuple[Column, Column]]:
    """Every two columns that can be asked. No more than two hosts live at a time, so a pair has its turn once."""
    return list(itertools.combinations((one for one in columns if not one.reason), 2))


def of(
    told: Iterable[tuple[Column, Column]], wanted: Sequence[Spec], cells: Sequence[Cell], seed: int
) -> list[Agreement]:
    """For every loss that two of the pairs have, who agrees with whom."""
    there = {(cell.column, cell.spec) for cell in cells if cell.verdicts}
    rows = dict[str, dict[Pair, tuple[str, list[list[Any]], int]]]()
    for one, other in told:
        for spec in wanted:
            if {(one.name, spec.name), (other.name, spec.name)} <= there:
                rows.setdefault(spec.name, {})[one.name, other.name] = _beside(spec, one, other, seed)
    return [_of_spec(spec.name, rows[spec.name]) for spec in wanted if spec.name in rows]


def _of_spec(spec: str, rows: Mapping[Pair, tuple[str, list[list[Any]], int]]) -> Agreement:
    alike = [pair for pair, (reason, parts, _) in rows.items() if not reason and not parts]
    apart = tuple((pair, _words(parts, cases)) for pair, (reason, parts, cases) in rows.items() if parts and not reason)
    silent = tuple((pair, reason) for pair, (reason, _, _) in rows.items() if reason)
    compared = [pair for pair, (reason, _, _) in rows.items() if not reason]
    clusters = tuple(tuple(_groups(names, alike)) for names in _clusters(compared))
    return Agreement(spec, clusters, apart, silent)


def _clusters(compared: Sequence[Pair]) -> list[list[str]]:
    """Names that are joined by pairs, directly or by way of others."""
    found = list[list[str]]()
    for pair in compared:
        joined = [names for names in found if {*names} & {*pair}]
        found = [names for names in found if names not in joined]
        found.append(list(dict.fromkeys([*itertools.chain(*joined), *pair])))
    return found


def _groups(names: Sequence[str], alike: Sequence[Pair]) -> Iterator[tuple[str, ...]]:
    """Those of which each agrees with every other one of the group: to agree "nearly" is not handed on."""
    found = list[list[str]]()
    for name in names:
        home = next(
            (group for group in found if all({(other, name), (name, other)} & {*alike} for other in group)), None
        )
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
    return settled(chosen(found, spec.name, column.word)[0])


def _words(parts: Sequence[Sequence[Any]], cases: int) -> str:
    names = ", ".join(str(name) for name, _, _ in parts)
    far = max(far for _, _, far in parts)
    size = "one has no number where the other has" if math.isinf(far) else f"by {far:.1g} of the largest number"
    return f"{names}: on {max(count for _, count, _ in parts)} of {cases} cases, {size}"
