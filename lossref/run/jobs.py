"""Carries out a plan on any executor; a job that breaks its process is taken apart."""

from __future__ import annotations

import contextlib
import gc
import json
import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from lossref import losses
from lossref.core.nouns import Spec, Verdict
from lossref.hosts.interrupts import deaf, deferred
from lossref.hosts.worker.words import printable
from lossref.run.ask import ENOUGH, VERDICTS, unasked, work
from lossref.run.plan import Job
from lossref.run.saved.finished import Outcome, spent

T = TypeVar("T")
SELDOM = (100_000, 20, 50)  # an oracle makes millions of numbers and no cycles: looking for some took a fifth of a run


def in_turn(jobs: list[Job]) -> Iterator[tuple[Job, Outcome]]:
    """Each job with its outcome, one after the other, in this process and on one torch thread."""
    with as_a_worker():
        for job in jobs:
            yield job, work(job)


@contextmanager
def as_a_worker() -> Iterator[None]:
    """Run the body as one of the worker processes would, on one torch thread: the last bits of sums depend on that."""
    import torch

    before, often = torch.get_num_threads(), gc.get_threshold()
    torch.set_num_threads(1)
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        gc.set_threshold(*often)


def waited_for(left: Sequence[Job], count: int) -> str:
    """Which rows are asked now, as far as their folder tells: of each of the first so many jobs the next one."""
    now = left[:count]
    told = Counter[tuple[str, str, str]]()
    path = Path(now[0].out) / VERDICTS if now else None
    for line in {*path.read_bytes().splitlines()} if path and path.exists() else ():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            told[row["spec"], row["target"], row["device"]] += 1
    said = []
    for job in now:
        at = told[job.spec, job.label, job.lodging.device]
        check = " ".join(job.rows[at]) if at < len(job.rows) else "looking for causes"
        said.append(f"{job.spec} of {job.label}, {check}")
    return printable(f"asking {'; '.join(said)}") if said else ""


def together(jobs: list[Job], executor: Executor) -> Iterator[tuple[Job, Outcome | None]]:
    """Each job with its outcome as it completes; None where its process died, or one beside it."""
    with deferred():
        waiting: dict[Future[Outcome], Job] = {executor.submit(work, job): job for job in jobs}
    for future in as_completed(waiting):
        try:
            yield waiting[future], future.result()
        except BrokenProcessPool:
            yield waiting[future], None


def by_itself(job: Job, forget: Callable[[], None]) -> Outcome:
    """A job in a process of its own; where that dies, too, check by check. `forget` what was said before each try."""
    forget()
    found = _alone(job)
    if found is None:
        forget()
        return _taken_apart(job)
    return found


def _alone(job: Job) -> Outcome | None:
    """A job in a process of its own; None if that process died."""
    with processes(1) as executor:
        try:
            with deferred():
                asked = executor.submit(work, job)
            return asked.result()
        except BrokenProcessPool:
            return None


def _taken_apart(job: Job) -> Outcome:
    """Check by check, until so many have crashed that the rest would too."""
    verdicts: list[Verdict] = []
    drawn, parts = Counter[str](), list[Outcome]()
    for row in job.rows:
        one = replace(job, rows=(row,))
        if sum(verdict.status == "crashed" for verdict in verdicts) == ENOUGH:
            verdicts.append(unasked(job, row, "blocked", f"not run: {ENOUGH} checks before it crashed the process"))
            continue
        found = _alone(one)
        verdicts += found.verdicts if found else [unasked(job, row, "crashed", "the process died while this check ran")]
        drawn.update(found.families if found else {})
        parts += [found] if found else []
    return Outcome(verdicts, dict(drawn), spent(parts), sum(one.seconds for one in parts))


def each_spec(specs: Sequence[Spec], work: Callable[[Spec], T], jobs: int) -> Iterator[tuple[str, T]]:
    """Each spec by name with what `work` gives, as it is done; in so many processes, where there is enough to do.

    Long ones come first. `work` has to be found again by its name, as a function of a module or a `partial` of one.
    """
    order = sorted(specs, key=lambda one: not one.composite)
    if jobs == 1 or len(order) < jobs:
        yield from ((one.name, work(one)) for one in order)
        return
    with processes(jobs) as executor:
        waiting = {executor.submit(_of_spec, work, one.name): one.name for one in order}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def _of_spec(work: Callable[[Spec], T], name: str) -> T:
    return work(losses.spec(name))


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh worker processes, each with one torch thread; none outlives an error in the body."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=spawn, initializer=_start_worker) as executor:
        try:
            yield executor
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                deaf()
            executor.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.kill()
            raise


def _start_worker() -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked until here: an import is cut off nowhere
    torch.set_num_threads(1)
    gc.set_threshold(*SELDOM)
    gc.freeze()  # what was imported stays, and need not be looked at
