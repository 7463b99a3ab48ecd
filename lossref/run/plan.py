"""What a run is going to ask: one job for each target and spec."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from lossref import losses
from lossref.checks import table
from lossref.core.nouns import Spec, Target
from lossref.hosts.process import HERE, Lodging
from lossref.hosts.worker.words import plain
from lossref.run.causes.dialect_files import Dialect
from lossref.targets.lodged import Ended, lodged, out_of_reach
from lossref.targets.marks import DTYPES
from lossref.targets.resolve import Unavailable, UnknownTarget

AT_DEFAULTS = Dialect("")
IMPORT = ("import", "-")  # the one row of a word of which nothing is known, because it cannot be imported


@dataclass(frozen=True)
class Job:
    """All checks of one target on one spec; plain words, so that it travels to any process.

    thing:  the number of the target among those of its word
    status: that of all rows, with its reason, where they are not asked: unsupported, blocked, crashed or timeout
    dialect: the settings that the target is held to, in place of the defaults
    small:  whether failing cases are made small, which is for whoever looks at them
    """

    word: str
    spec: str
    label: str
    rows: tuple[tuple[str, str], ...]
    tier: str
    seed: int
    out: str
    as_spec: str | None = None
    thing: int = 0
    status: str = ""
    reason: str = ""
    lodging: Lodging = HERE
    dialect: tuple[tuple[str, Any], ...] = ()
    small: bool = True


def plan(
    words: list[str],
    specs: str = "*",
    check: str = "*",
    dtypes: tuple[str, ...] = DTYPES,
    tier: str = "quick",
    seed: int = 0,
    out: Path = Path("reports"),
    as_spec: str | None = None,
    lodging: Lodging = HERE,
    devices: tuple[str, ...] = (),
    dialect: Dialect = AT_DEFAULTS,
) -> list[Job]:
    """One job for each target, spec and device, and one for each word that is lost before its targets are known.

    No `devices`: that of the lodging.

    Raises `UnknownTarget`, `UnknownSpec`, `UnknownCheck`; `Unavailable` where no word can be imported.
    """
    wanted = {spec.name: rows_of(spec, check, dtypes) for spec in losses.matching(specs)}
    jobs, lost, there = list[Job](), list[Unavailable](), dict[str, set[str]]()
    places = [replace(lodging, device=device) for device in devices or (lodging.device,)]
    homes: dict[tuple[Any, ...], str] = {}
    for word, place in itertools.product(dict.fromkeys(words), places):
        try:
            found = lodged(word, as_spec, place)
            barred = out_of_reach(word, place)
        except Unavailable as error:
            status = error.status if isinstance(error, Ended) else "blocked"
            jobs.append(
                Job(word, "-", plain(word), (IMPORT,), tier, seed, str(out), as_spec, 0, status, str(error), place)
            )
            lost.append(error)
            continue
        there.setdefault(word, set()).update(one.spec for one in found)
        for thing, one in enumerate(found):
            if one.spec in wanted and not _is_again(one, word, homes):
                why, rows = one.unsupported or barred, wanted[one.spec]
                status = "unsupported" if why else ""
                jobs.append(
                    Job(word, one.spec, one.label, rows, tier, seed, str(out), as_spec, thing, status, why, place)
                )
    if len(lost) == len({*words}) * len(places) and not any(isinstance(error, Ended) for error in lost):
        raise lost[0]
    _selects_something(there, specs, bool(lost))
    held = {spec.name: tuple(dialect.of(spec).items()) for spec in losses.matching(specs)}
    return _told_apart([replace(job, dialect=held.get(job.spec, ())) for job in jobs])


def _selects_something(there: Mapping[str, set[str]], specs: str, lost: bool) -> None:
    """Raise `UnknownTarget` for a word of which no spec is wanted, and for a wanted spec that no word has.

    What a word that cannot be imported would have is not known.
    """
    patterns = {one: {spec.name for spec in losses.matching(one)} for one in specs.split(",")}
    for word, has in there.items():
        if not any(has & names for names in patterns.values()):
            raise UnknownTarget(f"{word} has no implementation of {specs}; it has {', '.join(sorted(has)) or 'none'}")
    for one, names in patterns.items():
        if not lost and not any(has & names for has in there.values()):
            raise UnknownTarget(f"{', '.join(there)} has no implementation of {one}")


def _is_again(one: Target, word: str, homes: dict[tuple[Any, ...], str]) -> bool:
    """Whether another word has found the same object as the same spec, on this device: it counts once."""
    key = (one.home, one.spec, repr(sorted(one.fixed.items())), one.device)
    return bool(one.home) and homes.setdefault(key, word) != word


def _told_apart(jobs: list[Job]) -> list[Job]:
    """The jobs with labels of which no two are alike on one spec: with the word, or a number, where they were."""
    labels = Counter((job.spec, job.label) for job in jobs)
    found = list[Job]()
    taken = set[tuple[str, str]]()
    for job in jobs:
        alone = labels[job.spec, job.label] == 1
        label = job.label if alone else f"{job.label} ({plain(job.word)})"
        names = chain([label], (f"{label} #{number}" for number in count(2)))
        free = next(name for name in names if (job.spec, name) not in taken)
        taken.add((job.spec, free))
        found.append(replace(job, label=free))
    return found


def rows_of(spec: Spec, check: str = "*", dtypes: tuple[str, ...] = DTYPES) -> tuple[tuple[str, str], ...]:
    """The checks that a spec is asked, each with a dtype, in the order of the table. Raises `UnknownCheck`."""
    chosen = [one for one in table.matching(check) if table.applies(one, spec)]
    return tuple((one.name, dtype) for one in chosen for dtype in one.dtypes if dtype in dtypes)


def is_short(job: Job) -> bool:
    """Whether it is soon done: nothing is asked, or no loss with a model. The others come first."""
    spec = losses.specs().get(job.spec)
    return bool(job.status) or spec is None or not spec.composite


def planned(jobs: list[Job]) -> int:
    """The number of verdicts that a complete run gives."""
    return sum(len(job.rows) for job in jobs)
