"""Carries a matrix out, column by column: what an earlier run has kept is taken, what is asked now is kept at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool

from lossref.core.nouns import Spec
from lossref.hosts.interrupts import deferred
from lossref.run.causes.beside.matrix.asked import NOT_ASKED, Cell, Column, How, Task, cell_of, keep_cell, kept_cell
from lossref.run.jobs import processes

ENDED = "a process of this run was ended from outside"


def planned(columns: Sequence[Column], wanted: Sequence[Spec], how: How) -> tuple[list[Cell], list[Task]]:
    """The cells that are kept, and what is to be asked: column by column, in each what takes long first."""
    known, tasks = list[Cell](), list[Task]()
    for column in columns:
        for spec in () if column.reason else sorted(wanted, key=lambda spec: not spec.composite):
            cell = kept_cell(column, spec, how)
            if cell is None:
                tasks.append(Task(column, spec.name, how))
            else:
                known.append(cell)
    return known, tasks


def carried_out(tasks: Sequence[Task], jobs: int) -> Iterator[Cell]:
    """Each cell as it is known, kept for the next run; one whose asking process died has that as its reason."""
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            yield _kept(task, cell_of(task))
        return
    with processes(min(jobs, len(tasks))) as executor:
        with deferred():
            waiting = {executor.submit(cell_of, task): task for task in tasks}
        for future in as_completed(waiting):
            task = waiting[future]
            try:
                cell = future.result()
            except BrokenProcessPool:
                cell = Cell(task.column.name, task.spec, reason=f"{NOT_ASKED}{ENDED}")
            yield _kept(task, cell)


def _kept(task: Task, cell: Cell) -> Cell:
    keep_cell(task.column, cell, task.how)
    return cell


def barred(columns: Sequence[Column], cells: Sequence[Cell]) -> tuple[list[Column], list[Cell]]:
    """Columns of which nothing could be asked, for one reason, with that as theirs, and the cells of the others."""
    there = list[Column]()
    for column in columns:
        reasons = {cell.reason for cell in cells if cell.column == column.name}
        (reason,) = reasons if len(reasons) == 1 else ("",)
        why = reason.removeprefix(NOT_ASKED) if reason.startswith(NOT_ASKED) else column.reason
        there.append(column._replace(reason=why))
    asked = {column.name for column in there if not column.reason}
    return there, [cell for cell in cells if cell.column in asked]
