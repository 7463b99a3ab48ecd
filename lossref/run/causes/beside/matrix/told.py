"""What the cells of a matrix say: the settings that are followed, the findings, and what of both is new or gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossref.core.nouns import Finding
from lossref.hosts.worker.words import short
from lossref.run.causes.beside.matrix.asked import NOT_ASKED, Cell, Column
from lossref.run.findings import findings
from lossref.run.findings.words import KINDS_IN_ORDER, count

CONFORMS, DIALECT, FAILS, ABSENT, UNKNOWN = "conforms", "dialect", "fails", "absent", "unknown"
LONGEST = 200  # letters of a sentence


@dataclass(frozen=True)
class Said:
    """One finding of a cell, or one setting that it follows: its id, its kind, and what it is in words."""

    id: str
    kind: str
    sentence: str

    @property
    def brief(self) -> str:
        """A setting as "name value", anything else as its kind."""
        return (
            self.sentence.partition(" where the specification has")[0].replace(" is ", " ", 1)
            if self.kind == "dialect"
            else self.kind
        )


@dataclass(frozen=True)
class Told:
    """A cell in words.

    status: conforms, dialect (other settings, and nothing else), fails, absent (the column has no such loss), unknown
    new:    what the column before, if it had such a loss, has not; gone: what it has, and this one has no more
    replies: a digest of all replies; columns in which it is the same are the same, bit for bit
    """

    column: str
    spec: str
    status: str
    said: tuple[Said, ...] = ()
    new: tuple[Said, ...] = ()
    gone: tuple[Said, ...] = ()
    reason: str = ""
    replies: str = ""

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        if not self.said:
            return self.reason or self.status
        return "; ".join(f"{one.kind}: {one.sentence}" for one in self.said)

    @property
    def brief(self) -> str:
        """The settings, and how many findings of which kind."""
        if not self.said:
            return self.status
        kinds = Counter(one.kind for one in self.said if one.kind != "dialect")
        settings = [one.brief for one in self.said if one.kind == "dialect"]
        return ", ".join([*settings, *(count(kinds[kind], kind) for kind in KINDS_IN_ORDER if kinds[kind])])


def told(columns: Sequence[Column], cells: Sequence[Cell], in_a_row: bool) -> list[Told]:
    """Every cell in words, in the order of the columns; `in_a_row`: each column comes after the one before it."""
    rows, before = list[Told](), dict[str, Told]()
    for column in columns:
        mine = [cell for cell in cells if cell.column == column.name]
        found = findings([row for cell in mine for row in cell.verdicts])
        for cell in sorted(mine, key=lambda cell: cell.spec):
            one = _told(cell, found, before.get(cell.spec) if in_a_row else None)
            rows.append(one)
            if one.status not in (ABSENT, UNKNOWN):
                before[cell.spec] = one
    return rows


def _told(cell: Cell, found: Sequence[Finding], before: Told | None) -> Told:
    mine = [one for one in found if any(row.spec == cell.spec for row in one.rows)]
    said = tuple(Said(one.id, one.kind, short(one.sentence, LONGEST)) for one in mine)
    status = _status(cell, said)
    new, gone = tuple[Said, ...](), tuple[Said, ...]()
    if before is not None and status not in (ABSENT, UNKNOWN):
        new = tuple(one for one in said if one.id not in {other.id for other in before.said})
        gone = tuple(one for one in before.said if one.id not in {other.id for other in said})
    reason = cell.reason or ("nothing could be asked" if status == UNKNOWN else "")
    return Told(cell.column, cell.spec, status, said, new, gone, reason, cell.replies)


def _status(cell: Cell, said: Sequence[Said]) -> str:
    if cell.reason:
        return UNKNOWN if cell.reason.startswith(NOT_ASKED) else ABSENT
    if said:
        return DIALECT if all(one.kind == "dialect" for one in said) else FAILS
    statuses = {row.status for row in cell.verdicts}
    return CONFORMS if statuses & {"pass", "known"} and "inconclusive" not in statuses else UNKNOWN


def plain(columns: Sequence[Column], rows: Sequence[Told]) -> dict[str, Any]:
    """The matrix as plain data."""
    return {
        "columns": [{"name": one.name, "asked": one.word, "reason": one.reason} for one in columns],
        "cells": [_plain(row) for row in rows],
    }


def _plain(row: Told) -> dict[str, Any]:
    listed: Mapping[str, Sequence[Said]] = {"findings": row.said, "new": row.new, "gone": row.gone}
    return {
        **{name: getattr(row, name) for name in ("column", "spec", "status", "reason", "replies")},
        **{name: [vars(one) for one in found] for name, found in listed.items()},
    }


def changes(rows: Sequence[Told]) -> Iterator[tuple[str, list[tuple[str, Said, list[str]]]]]:
    """For each column what is new or gone there: "new" or "gone", what, and the specs in which it is."""
    for column in dict.fromkeys(row.column for row in rows):
        met = dict[tuple[str, str], tuple[Said, list[str]]]()
        for row in (one for one in rows if one.column == column):
            for sign, said in (("new", row.new), ("gone", row.gone)):
                for one in said:
                    met.setdefault((sign, one.id), (one, []))[1].append(row.spec)
        yield column, [(sign, one, specs) for (sign, _), (one, specs) in met.items()]
