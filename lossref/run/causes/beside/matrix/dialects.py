"""The dialects of a matrix: for each column the settings that it follows, as a file that --dialect reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lossref.core.nouns import Spec
from lossref.hosts.worker.words import plain
from lossref.run.causes.beside.matrix.asked import NOT_ASKED, Cell, Column
from lossref.run.causes.dialect_files import written
from lossref.run.saved import distinct


class Written(NamedTuple):
    """The dialect of a column: name and content of its file; without content why there is none."""

    column: str
    name: str
    content: str = ""
    why: str = ""


def dialects(
    package: str, columns: Sequence[Column], wanted: Sequence[Spec], cells: Sequence[Cell], command: str
) -> Iterator[Written]:
    """That of every column, of releases of a `package` or, without one, of targets. A part of one is none."""
    for column in columns:
        mine = [cell for cell in cells if cell.column == column.name]
        name = f"{distinct(f'{package}-{column.name}' if package else column.name)}.toml"
        verdicts = [row for cell in mine for row in cell.verdicts]
        lost = [cell.spec for cell in mine if cell.reason.startswith(NOT_ASKED)]
        lost += sorted({spec.name for spec in wanted} - {cell.spec for cell in mine})
        lost += [row.spec for row in verdicts if row.status in ("crashed", "timeout", "blocked")]
        if column.reason or lost:
            yield Written(column.name, name, why=column.reason or f"{lost[0]} was not asked to its end")
        elif not any(failure.settings for row in verdicts for failure in row.failures):
            yield Written(column.name, name, why="it follows the specification's settings")
        else:
            about = f"{package} {column.name}".strip()
            yield Written(column.name, name, written(verdicts, f"Settings of {about}, measured by: {plain(command)}"))
