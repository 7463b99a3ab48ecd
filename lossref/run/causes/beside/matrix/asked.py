"""One cell of a matrix: what one implementation gives of one spec, judged, or known from another that replies alike."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from lossref.checks.ability import INSTEAD, cannot
from lossref.checks.attempts import arithmetic
from lossref.core.nouns import Spec, Target, Verdict, verdict_of
from lossref.hosts.command import CannotAnswer
from lossref.hosts.endings import TargetEnded
from lossref.hosts.kept import close_all
from lossref.hosts.process import Lodging
from lossref.hosts.worker.words import plain
from lossref.losses import spec as find
from lossref.oracle import kept as stored
from lossref.oracle.cache import shelf
from lossref.oracle.kept import digest_of
from lossref.run.ask import asked, of_one_spec
from lossref.run.causes.beside.matrix import heard
from lossref.run.causes.recalled import LIKENESS, ROOMS
from lossref.run.plan import Job, rows_of
from lossref.targets.lodged import lodged, settled
from lossref.targets.resolve import Unavailable, UnknownTarget

MOST_KEPT = 8  # of one spec: ways in which releases reply
FORM = "matrix 1"
NOT_ASKED = "not asked: "  # how a reason begins that is not the implementation's


class Column(NamedTuple):
    """One implementation of a matrix.

    name:   what stands above it, a release or a package
    word:   the TARGET word that it is asked by
    digest: of all that its replies hang on; empty where nobody can say, and then nothing of it is kept
    place:  the folder of the release, which its words may name
    reason: why nothing can be asked here
    """

    name: str
    word: str
    lodging: Lodging
    digest: str = ""
    place: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Cell:
    """What one column gives of one spec.

    verdicts: the rows; none where it was not asked, and then `reason` says why
    replies:  a digest of all that it replied, where it replied to all; cells of one digest have one origin
    seconds:  from its beginning to its end, by the clock on the wall
    """

    column: str
    spec: str
    verdicts: tuple[Verdict, ...] = ()
    reason: str = ""
    replies: str = ""
    seconds: float = 0.0


class How(NamedTuple):
    """How every cell is asked: the seed of the drawn cases, and in which dtypes."""

    seed: int = 0
    dtypes: tuple[str, ...] = ("float64",)


class Task(NamedTuple):
    """A cell that is to be asked; plain words, so that it travels to any process."""

    column: Column
    spec: str
    how: How


def cell_of(task: Task) -> Cell:
    """The verdicts of a cell: those of another one that replied the same to everything, or judged.

    Where the implementation has no such loss, or cannot be had, why.
    """
    column, begin = task.column, time.monotonic()
    of_one_spec(task.spec)
    try:
        reason = _barred(column)
        found = () if reason else lodged(column.word, None, column.lodging)
        mine = chosen(found, task.spec, column.word)
        target = mine[0] if mine else None
        if len(mine) > 1:
            raise UnknownTarget(
                f"it has {len(mine)} of {task.spec}: {', '.join(one.label for one in mine)}; name one, FILE.py:NAME"
            )
        if target is not None and not target.unsupported:
            cell = _asked(task, target)
            return replace(cell, seconds=round(time.monotonic() - begin, 2))
    except (Unavailable, UnknownTarget, TargetEnded, CannotAnswer) as error:
        reason = str(error)
    if reason:
        return Cell(column.name, task.spec, reason=f"{NOT_ASKED}{reason}")
    return Cell(column.name, task.spec, reason=plain(target.unsupported if target else f"it has no {task.spec}"))


def chosen(found: Iterable[Target], spec: str, word: str) -> list[Target]:
    """Those of a spec; of several that a package has, the one that bears its name alone."""
    mine = [one for one in found if one.spec == spec]
    return [one for one in mine if one.label == word] or mine


@lru_cache(maxsize=1)
def _barred(column: Column) -> str:
    """Why nothing of a column can be asked; those of the one before leave: each takes the memory of a torch."""
    close_all()
    try:
        lodged(column.word, None, column.lodging)
    except (Unavailable, UnknownTarget) as error:
        return str(error)
    return ""


def _asked(task: Task, target: Target) -> Cell:
    column, spec = task.column, find(task.spec)
    assert target.host is not None
    ears = heard.Listening(target.host, column.place)
    ready = settled(replace(target, host=ears))
    like = tuple(getattr(ready, name) for name in (*LIKENESS, "label", "only", "defaults"))
    alike = _alike(task, spec, ready, like)
    if alike is not None:
        return alike
    rows = rows_of(spec, dtypes=_dtypes(spec, ready, task.how.dtypes))
    job = Job(
        column.word, spec.name, target.label, rows, "quick", task.how.seed, "", lodging=column.lodging, small=False
    )
    outcome = asked(job, ready)
    verdicts = tuple(replace(one, seconds=0.0, where=one.where.replace(column.place, "")) for one in outcome.verdicts)
    replies = _keep(task, spec, like, ears, verdicts) if ears.steady else ""
    return Cell(column.name, spec.name, verdicts, "", replies)


def _dtypes(spec: Spec, target: Target, wanted: Sequence[str]) -> tuple[str, ...]:
    """The dtypes that are wanted, and the other one where it cannot compute in one of them: else nothing were asked."""
    lacking = [one for one in wanted if one not in target.dtypes or cannot(spec, target, one)]
    return tuple(dict.fromkeys((*wanted, *(INSTEAD[one] for one in lacking))))


def _alike(task: Task, spec: Spec, target: Target, like: Any) -> Cell | None:
    """The cell of another that replies to everything as this one does; the latest is tried first."""
    replies, at = heard.Replies(target, task.column.place, {}), partial(_shelf, spec)
    for digest in reversed(_index(task, spec, like)):
        verdicts = stored.kept(at("verdicts", digest))
        lines = heard.kept(at, digest) if verdicts is not None else None
        if lines and replies.are(lines):
            return Cell(task.column.name, spec.name, tuple(_verdicts(verdicts)), "", digest)
    return None


def _keep(task: Task, spec: Spec, like: Any, ears: heard.Listening, verdicts: tuple[Verdict, ...]) -> str:
    """Keep questions, replies and verdicts for the next release; gives the digest of the replies."""
    digest = _digest(like, [(name, reply) for name, (_, reply) in ears.heard.items()]).hex()
    at = partial(_shelf, spec)
    if heard.keep(at, digest, ears.heard):
        stored.keep(at("verdicts", digest), [asdict(one) for one in verdicts])
        others = [one for one in _index(task, spec, like) if one != digest]
        stored.keep(_index_at(task, spec, like), [*others, digest][-MOST_KEPT:])
    return digest


def _shelf(spec: Spec, what: str, digest: str) -> Path | None:
    return shelf(spec, _digest(what, digest), ROOMS)


def _index(task: Task, spec: Spec, like: Any) -> list[str]:
    return stored.kept(_index_at(task, spec, like)) or []


def _index_at(task: Task, spec: Spec, like: Any) -> Any:
    return shelf(spec, _digest("index", like, task.how), ROOMS)


def _digest(*parts: Any) -> bytes:
    return digest_of(FORM, arithmetic(), *parts)


def _verdicts(plain: Any) -> Iterator[Verdict]:
    yield from (verdict_of(one) for one in plain)


# Kept from run to run -----------------------------------------------------------------------------------


def kept_cell(column: Column, spec: Spec, how: How) -> Cell | None:
    """The cell as an earlier run has kept it, of the same release, code and surroundings; None where none has."""
    plain = stored.kept(_cell_at(column, spec, how)) if column.digest else None
    if plain is None:
        return None
    return Cell(**{**plain, "column": column.name, "verdicts": tuple(_verdicts(plain["verdicts"]))})


def keep_cell(column: Column, cell: Cell, how: How) -> None:
    """Keep it for the next run; not one that was not asked, or hung or died, which may be the machine's fault."""
    gone = any(one.status in ("timeout", "crashed") for one in cell.verdicts)
    if column.digest and not gone and not cell.reason.startswith(NOT_ASKED):
        plain = json.loads(json.dumps(asdict(cell)))
        stored.keep(_cell_at(column, find(cell.spec), how), plain)


def _cell_at(column: Column, spec: Spec, how: How) -> Any:
    return shelf(spec, _digest("cell", column.digest, column.lodging.timeout, how), ROOMS)
