"""Carries a matrix out, column by column: what an earlier run has kept is taken, what is asked now is kept at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

from lossref.core.nouns import Spec, Target
from lossref.hosts.interrupts import deferred
from lossref.hosts.worker.words import plain
from lossref.run.causes.beside.matrix.asked import Cell, Column, How, Task, cell_of, keep_cell, kept_cell
from lossref.run.jobs import processes
from lossref.targets.lodged import lodged
from lossref.targets.resolve import Unavailable, UnknownTarget


class Plan(NamedTuple):
    """Cells that are known, columns of which nothing can be known with their reasons, and what is to be asked."""

    known: list[Cell]
    tasks: list[Task]
    columns: list[Column]


def planned(columns: Sequence[Column], wanted: Sequence[Spec], how: How) -> Plan:
    """What is to be asked of these columns; of one of which all is kept not even its import."""
    known, tasks, told = list[Cell](), list[Task](), list[Column]()
    for column in columns:
        kept = {} if column.reason else {spec.name: kept_cell(column, spec, how) for spec in wanted}
        known += [cell for cell in kept.values() if cell]
        left = [spec for spec in wanted if kept and not kept[spec.name]]
        try:
            found = _first(lodged(column.word, None, column.lodging)) if left else {}
        except (Unavailable, UnknownTarget) as error:
            told.append(column._replace(reason=str(error)))
            continue
        told.append(column)
        for spec in left:
            thing, target = found.get(spec.name, (0, None))
            if target is None or target.unsupported:
                reason = target.unsupported if target else f"{column.name} has no {spec.name}"
                known.append(Cell(column.name, spec.name, reason=plain(reason)))
                keep_cell(column, known[-1], how)
            else:
                tasks.append(Task(column, spec.name, thing, target.label, how))
    return Plan(known, _long_first(tasks, wanted, columns), told)


def _first(targets: Sequence[Target]) -> dict[str, tuple[int, Target]]:
    """By spec the first target, and its number."""
    found = dict[str, tuple[int, Target]]()
    for number, one in enumerate(targets):
        found.setdefault(one.spec, (number, one))
    return found


def _long_first(tasks: list[Task], wanted: Sequence[Spec], columns: Sequence[Column]) -> list[Task]:
    """Column by column, for each wants a process of its own; in each what takes long first."""
    short = {spec.name: not spec.composite for spec in wanted}
    order = {column.name: number for number, column in enumerate(columns)}
    return sorted(tasks, key=lambda task: (order[task.column.name], short[task.spec]))


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
                yield _kept(task, future.result())
            except BrokenProcessPool:
                yield Cell(
                    task.column.name, task.spec, reason="not asked: a process of this run was ended from outside"
                )


def _kept(task: Task, cell: Cell) -> Cell:
    if cell.verdicts:
        keep_cell(task.column, cell, task.how)
    return cell
