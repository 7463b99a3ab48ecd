"""One run on disk: verdicts are kept as they come, so that an interrupted run loses nothing."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from lossref.checks import table as checks
from lossref.core.nouns import Verdict
from lossref.hosts.endings import TargetEnded
from lossref.hosts.process import Lodging
from lossref.run import jobs as running
from lossref.run import plan as planning
from lossref.run.about import facts, progress
from lossref.run.ask import Outcome
from lossref.run.atomic import write_text
from lossref.targets.lodged import facts as host_facts
from lossref.targets.lodged import version
from lossref.targets.resolve import Unavailable


class Session:
    """The folder of a run: verdicts.jsonl grows line by line, run.json says how it was made."""

    def __init__(self, folder: Path, words: list[str], plan: list[planning.Job], tier: str, seed: int) -> None:
        self.folder = folder
        self.expected = planning.planned(plan)
        self.verdicts: list[Verdict] = []
        self._drawn: dict[str, Counter[str]] = {}
        self._begin = time.monotonic()
        self._facts = _facts(words, tier, seed, self.expected, plan[0].lodging)

    def __enter__(self) -> Session:
        (self.folder / "cases").mkdir(parents=True, exist_ok=True)
        if (self.folder / "verdicts.jsonl").exists():
            for old in (self.folder / "cases").glob("*.json"):
                old.unlink()
        write_text(self.folder / "verdicts.jsonl", "")
        self._write_facts()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write_facts()

    def keep(self, outcome: Outcome) -> None:
        """Write the verdicts of one job."""
        verdicts, drawn = outcome
        with (self.folder / "verdicts.jsonl").open("a") as file:
            file.writelines(json.dumps(asdict(one)) + "\n" for one in verdicts)
        self.verdicts += verdicts
        for one in verdicts[:1]:
            self._drawn.setdefault(one.spec, Counter()).update(drawn)

    def exit_status(self) -> int:
        """0 conforms, 1 does not, 3 incomplete."""
        return exit_status(self.verdicts, self.expected)

    def _write_facts(self) -> None:
        families = {spec: dict(drawn) for spec, drawn in sorted(self._drawn.items())}
        known = {**self._facts, "families": families, "seconds": round(time.monotonic() - self._begin, 2)}
        write_text(self.folder / "run.json", json.dumps(known, indent=1) + "\n")


def exit_status(verdicts: Collection[Verdict], expected: int) -> int:
    """0 conforms, 1 does not, 3 incomplete: fewer verdicts than expected, unfinished ones, or nothing that passed."""
    statuses = Counter(one.status for one in verdicts)
    if statuses["fail"] or statuses["fixed"]:
        return 1
    unfinished = sum(statuses[name] for name in ("inconclusive", "blocked", "crashed", "timeout"))
    nothing_passed = not (statuses["pass"] or statuses["known"])
    return 3 if unfinished or len(verdicts) < expected or nothing_passed else 0


def _facts(words: list[str], tier: str, seed: int, planned: int, lodging: Lodging) -> dict[str, Any]:
    found = [host for host in (_host(word, lodging) for word in words) if host]
    return {
        "target": ", ".join(words),
        "version": ", ".join(filter(None, (_version(word, lodging) for word in words))),
        "tier": tier,
        **facts(planned, seed, threads=1),
        "hosts": [dict(pairs) for pairs in dict.fromkeys(tuple(host.items()) for host in found)],
        "notes": ["TF32 was allowed on the GPU"] if lodging.tf32 else [],
    }


def _version(word: str, lodging: Lodging) -> str:
    try:
        return version(word, lodging)
    except (Unavailable, TargetEnded):
        return ""


def _host(word: str, lodging: Lodging) -> dict[str, str]:
    """Where a word lives: its Python and torch, and its GPU where it is asked on one."""
    found = {name: fact for name, fact in host_facts(word, lodging).items() if fact}
    return {"interpreter": lodging.python, **found} if lodging.python and found else found


def follow(kept: Session, plan: list[planning.Job], jobs: int, console: Console) -> bool:
    """Run the plan with a progress bar on a terminal; False if it was interrupted."""
    bar = progress("verdicts", kept.expected, console)
    with running.processes(min(jobs, len(plan))) as executor, bar as advance:
        try:
            for outcome in running.run(plan, executor):
                kept.keep(outcome)
                advance(len(outcome[0]))
        except KeyboardInterrupt:
            _stop_workers(executor)
            return False
    return True


def check_docs() -> dict[str, str]:
    """Check name -> what it asserts."""
    return {one.name: one.doc for one in checks.CHECKS}


def _stop_workers(executor: Executor) -> None:
    """Forget what is waiting and end what is running, so that Ctrl-C is answered at once."""
    executor.shutdown(wait=False, cancel_futures=True)
    for process in multiprocessing.active_children():
        process.terminate()
