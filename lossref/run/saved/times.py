"""How long jobs took the last time that this machine gave them out, kept beside the cache: the longest are begun first.

A time only says when a job is begun, never what comes out of it.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossref.oracle.cache import folder
from lossref.oracle.kept import digest_of
from lossref.run.atomic import write_text
from lossref.run.plan import Job, is_short

FILE = "times.json"
MOST = 20_000  # names; the latest are kept


def longest_first(plan: Sequence[Job]) -> list[int]:
    """The numbers of the jobs, those that took longest first.

    What was never timed goes by what it is: losses with a model come before all others, all else comes last.
    """
    known = kept()
    return sorted(range(len(plan)), key=lambda at: -expected(names_of(plan[at]), is_short(plan[at]), known))


def expected(names: Sequence[str], short: bool, known: Mapping[str, float]) -> float:
    """Seconds by the first of its names that is known; without one, nothing for what is short, else no end."""
    return next((known[one] for one in names if one in known), 0.0 if short else math.inf)


def names_of(job: Job) -> tuple[str, ...]:
    """A job by itself, and what it shares with the same questions to other implementations of the loss."""
    if job.status:
        return ()
    asked = (job.spec, job.rows, job.tier, job.lodging.device)
    return name(*asked, job.word, job.label, job.lodging.python, job.lodging.command), name(*asked)


def name(*parts: Any) -> str:
    """The name of what these say."""
    return digest_of(*parts).hex()[:16]


def remember(took: Iterable[tuple[Sequence[str], float]]) -> None:
    """Keep the seconds of what is done under all its names, the most where some share one; or say nothing."""
    place, new = _place(), dict[str, float]()
    for names, seconds in took:
        new |= {one: max(seconds, new.get(one, 0.0)) for one in names if seconds > 0}
    if place is None or not new:
        return
    latest = {**{one: seconds for one, seconds in kept().items() if one not in new}, **new}
    with contextlib.suppress(OSError):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_text(place, json.dumps(dict(list(latest.items())[-MOST:])))


def kept() -> dict[str, float]:
    """Seconds by name; none where nothing is kept, or what is there is no such file."""
    place = _place()
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(place.read_bytes()) if place is not None else {}
        if isinstance(found, dict):
            return {one: seconds for one, seconds in found.items() if type(seconds) is float and 0 < seconds < math.inf}
    return {}


def _place() -> Path | None:
    base = folder()
    return None if base is None else base / FILE
