"""What travels between a run and the processes that carry its jobs out elsewhere, and whether those are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import lossref
from lossref.hosts.endings import memory_for
from lossref.run.about import of_checks
from lossref.run.plan import Job
from lossref.run.saved.finished import Outcome

SAME = ("lossref", "code", "python", "torch", "version", "files")
"""What has to be the same here and there, so that the verdicts are; in the order in which it is looked at."""
WORDS = {"code": "code of lossref", "version": "release of the target"}


@dataclass(frozen=True)
class Order:
    """A run, and the number of the job in its plan that is to be carried out; None: only say whether you could.

    facts: what the run says of itself
    memory: bytes that a host may use; 0: half of the machine's, divided among its `places`
    """

    plan: tuple[Job, ...]
    facts: Mapping[str, Any]
    memory: int = 0
    places: int = 1
    at: int | None = None

    def job(self, out: str) -> Job | None:
        """The job, as it is carried out on this machine, into a folder of its own."""
        if self.at is None:
            return None
        job = self.plan[self.at]
        memory = self.memory or memory_for(self.places)
        return replace(job, out=out, lodging=replace(job.lodging, memory=memory))


class Done(NamedTuple):
    """What came out of a job, and the files that it saved: name -> content."""

    outcome: Outcome
    files: dict[str, bytes]


def facts_of(plan: Sequence[Job]) -> dict[str, Any]:
    """What has to be the same wherever a job of this plan is carried out."""
    words = list(dict.fromkeys(job.word for job in plan))
    found = {**of_checks(words, plan[0].tier, plan[0].seed, list(plan)), "code": _code()}
    return {name: found[name] for name in SAME}


def differs(order: Order) -> str:
    """What this machine has that the run has not, as the end of a sentence; nothing if its verdicts are the run's."""
    mine = facts_of(order.plan)
    for name in SAME:
        there, here = order.facts[name], mine[name]
        if there != here and name == "files":
            path = sorted(dict(there.items() ^ here.items()))[0]
            return f"its {path} is not that of the run; every worker has to see the same files"
        if there != here:
            what = WORDS.get(name, name)
            return f"its {what} is {here or 'not there'}, that of the run {there}; install the same"
    return ""


def _code() -> str:
    """The digest of all code of lossref, which a version does not tell where it is being worked on."""
    root, hasher = Path(lossref.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        source = path.read_bytes()
        hasher.update(repr((path.relative_to(root).as_posix(), len(source))).encode() + source)
    return hasher.hexdigest()[:12]
