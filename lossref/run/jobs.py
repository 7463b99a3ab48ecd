"""Carries out a plan on any executor; a job that breaks its process is taken apart."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context

from lossref import losses
from lossref.core.nouns import Verdict
from lossref.run.ask import ENOUGH, Outcome, unasked, work
from lossref.run.plan import Job


def run(jobs: list[Job], executor: Executor) -> Iterator[Outcome]:
    """The outcome of each job as it completes, long ones first; a job that breaks its process is taken apart."""
    first = sorted(jobs, key=lambda job: bool(job.status) or not losses.spec(job.spec).composite)
    waiting: dict[Future[Outcome], Job] = {executor.submit(work, job): job for job in first}
    broken: list[Job] = []
    for future in as_completed(waiting):
        try:
            yield future.result()
        except BrokenProcessPool:
            broken.append(waiting[future])
    for job in broken:
        yield _alone(job) or _taken_apart(job)


def _alone(job: Job) -> Outcome | None:
    """A job in a process of its own; None if that process died."""
    with processes(1) as executor:
        try:
            return executor.submit(work, job).result()
        except BrokenProcessPool:
            return None


def _taken_apart(job: Job) -> Outcome:
    """Check by check, until so many have crashed that the rest would too."""
    verdicts: list[Verdict] = []
    drawn = Counter[str]()
    for row in job.rows:
        one = replace(job, rows=(row,))
        if sum(verdict.status == "crashed" for verdict in verdicts) == ENOUGH:
            verdicts.append(unasked(job, row, "blocked", f"not run: {ENOUGH} checks before it crashed the process"))
            continue
        found = _alone(one)
        verdicts += found[0] if found else [unasked(job, row, "crashed", "the process died while this check ran")]
        drawn.update(found[1] if found else {})
    return verdicts, dict(drawn)


def processes(count: int) -> ProcessPoolExecutor:
    """Fresh worker processes, each with one torch thread."""
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
