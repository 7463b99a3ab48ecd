"""A matrix as files: matrix.json, matrix.csv, and a page that needs nothing but itself; and in lines."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lossref.hosts.worker.words import printable
from lossref.report.frame import filled
from lossref.report.stored import cell
from lossref.run.about import facts
from lossref.run.atomic import write_text
from lossref.run.causes.beside.matrix.agreement import Agreement
from lossref.run.causes.beside.matrix.asked import Column
from lossref.run.causes.beside.matrix.told import Said, Told, changes, plain
from lossref.run.findings.words import listed

COLUMNS = ("column", "spec", "status", "cell", "sentence", "new", "gone", "replies")
MOST = 6  # names in one line
WORDS = {
    "conforms": "as the specification has it",
    "dialect": "other settings, and nothing else",
    "fails": "findings beside the settings",
    "absent": "no such loss there",
    "unknown": "not asked, or nothing examined",
}


class Run(NamedTuple):
    """Neighbours of one spec that say the same: the first cell, and how many columns it spans."""

    cell: Told
    wide: int


def write(
    folder: Path, package: str, columns: Sequence[Column], rows: Sequence[Told], agree: Sequence[Agreement], seed: int
) -> Path:
    """Write all three; returns the path of the page. `package` is that of releases, else nothing."""
    content = {**plain(columns, rows), "agreement": [{**vars(one), "sentence": one.sentence} for one in agree]}
    run = facts(len(rows), seed, 1)
    write_text(folder / "matrix.json", json.dumps({"run": run, **content}, indent=1) + "\n")
    write_text(folder / "matrix.csv", _csv(rows))
    counts = Counter(row.status for row in rows)
    page = filled(
        "matrix.html",
        {},
        run=run,
        incomplete=False,
        commit="",
        columns=columns,
        package=package,
        lines=_lines(columns, rows),
        changed=[(name, found) for name, found in changes(rows) if found],
        agree=agree,
        counts={word: counts[word] for word in WORDS if counts[word]},
        words=WORDS,
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"


def _csv(rows: Sequence[Told]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        moved = ("; ".join(one.sentence for one in found) for found in (row.new, row.gone))
        said = (row.column, row.spec, row.status, row.brief, row.sentence, *moved, row.replies)
        writer.writerow(map(cell, said))
    return text.getvalue()


def _lines(columns: Sequence[Column], rows: Sequence[Told]) -> list[tuple[str, list[Run]]]:
    """For each spec its cells, neighbours that say the same as one; specs that nobody has come last."""
    there = {(row.column, row.spec): row for row in rows}
    found = list[tuple[str, list[Run]]]()
    for spec in sorted({row.spec for row in rows}):
        cells = [there.get((one.name, spec), Told(one.name, spec, "unknown", reason=one.reason)) for one in columns]
        groups = (list(group) for _, group in itertools.groupby(cells, _likeness))
        found.append((spec, [Run(group[0], len(group)) for group in groups]))
    return sorted(found, key=lambda line: all(run.cell.status == "absent" for run in line[1]))


def _likeness(cell: Told) -> tuple[str, str, list[str]]:
    """What neighbours of one block have in common; the numbers in their sentences may differ."""
    return cell.status, cell.brief, [one.id for one in cell.said]


# In lines -----------------------------------------------------------------------------------------------


def lines(columns: Sequence[Column], rows: Sequence[Told], agree: Sequence[Agreement]) -> Iterator[str]:
    """A line for each column, with what is new and gone there below it; then who agrees with whom."""
    told = dict(changes(rows))
    for column in columns:
        counts = Counter(row.status for row in rows if row.column == column.name)
        said = ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word])
        yield printable(f"{column.name}  {column.reason or said}")
        for sign, one, specs in told.get(column.name, ()):
            yield printable(f"    {'+' if sign == 'new' else '-'} {_brief(one)} ({listed(specs, MOST)})")
    for row in agree:
        pairs = [pair for pair, _ in (*row.apart, *row.silent)]
        names = dict.fromkeys([*itertools.chain(*itertools.chain(*row.clusters)), *itertools.chain(*pairs)])
        beside = f" ({', '.join(names)})" if len(row.clusters) < 2 else ""
        yield printable(f"{row.spec}  {row.sentence}{beside}")


def _brief(one: Said) -> str:
    return one.brief if one.kind == "dialect" else f"{one.kind}: {one.sentence}"
