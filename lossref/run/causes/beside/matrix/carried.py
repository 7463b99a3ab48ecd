"""Carries a matrix out, column by column: what an earlier run has kept is taken, what is asked now is kept at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool

from lossref.core.nouns import Spec
from lossref.hosts.interrupts import deferred
from lossref.run.causes.beside.matrix.asked import NOT_ASKED, Cell, Column, How, Task, cell_of, keep_cell, kept_cell
from lossref.run.jobs import as_a_worker, processes
from lossref.run.saved import times

ENDED = "a process of this run was ended from outside"


def planned(columns: Sequence[Column], wanted: Sequence[Spec], how: How) -> tuple[list[Cell], list[Task]]:
    """The cells that are kept, and what is to be asked: column by column, in each what takes long first."""
    known, tasks, seconds = list[Cell](), list[Task](), times.kept()
    for column in columns:
        left = list[tuple[float, Task]]()
        for spec in () if column.reason else wanted:
            cell, task = kept_cell(column, spec, how), Task(column, spec.name, how)
            if cell is None:
                left.append((times.expected(_names(task), not spec.composite, seconds), task))
            else:
                known.append(cell)
        tasks += [task for _, task in sorted(left, key=lambda one: -one[0])]
    return known, tasks


def _names(task: Task) -> tuple[str, str]:
    """A cell by itself, and what it shares with those beside it, which are often asked as long."""
    asked = ("cell", task.column.word, task.spec, task.how)
    return times.name(*asked, task.column.name, task.column.lodging.python), times.name(*asked)


def carried_out(tasks: Sequence[Task], jobs: int) -> Iterator[Cell]:
    """Each cell as it is known, kept for the next run; one whose asking process died has that as its reason."""
    took = list[tuple[tuple[str, str], float]]()
    try:
        for task, cell in _asked(tasks, jobs):
            took.append((_names(task), cell.seconds))
            yield _kept(task, cell)
    finally:
        times.remember(took)


def _asked(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Cell]]:
    if jobs == 1 or len(tasks) < 2:
        with as_a_worker():
            yield from ((task, cell_of(task)) for task in tasks)
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
            yield task, cell


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
