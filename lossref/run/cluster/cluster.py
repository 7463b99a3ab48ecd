"""The workers of a Dask cluster as places where jobs are carried out, and one run on them."""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from lossref.hosts.worker.words import plain, short
from lossref.losses import FILES
from lossref.oracle.cache import SWITCH
from lossref.run.about import progress
from lossref.run.ask import ENDING, ENOUGH, VERDICTS
from lossref.run.atomic import append_line, write_bytes
from lossref.run.causes.judged import CHECK_SECONDS
from lossref.run.cluster.client import ANYWHERE, CONNECT, ClusterError, connected, errands
from lossref.run.cluster.dispatch import DONE, REFUSED, Dispatch, machine, said_of
from lossref.run.cluster.order import Done, Order
from lossref.run.plan import Job, planned
from lossref.run.saved.finished import Outcome
from lossref.run.session import Session

ENLIST = 120.0  # and a worker, to say whether it is fit; it imports torch meanwhile
SILENT = 30.0  # without a sign of life, and a worker is gone
LOOK = 1.0  # between two looks at who is there
LONGEST = 20  # times what a check may compute is what a job may take, beside what is waited for


@contextmanager
def joined(word: str, order: Order, tell: Callable[[str], None]) -> Iterator[Cluster]:
    """The cluster that a word names, with at least one worker that is fit for the orders of a run.

    `tell` is told, in a sentence, of each worker that is not. Raises `BadAddress` or `ClusterError`.
    """
    with connected(word) as client:
        found = Cluster(word, client, order, tell)
        try:
            found.enlist()
            yield found
        finally:
            found.leave()


class Cluster:
    """Workers and what they were last heard to do; one place for each thread of each of them."""

    def __init__(self, word: str, client: Any, order: Order, tell: Callable[[str], None]) -> None:
        self._word, self._client, self._order, self._tell = word, client, order, tell
        self._run = uuid.uuid4().hex[:12]
        self._heard: dict[str, tuple[float, float]] = {}  # address -> its last sign of life by two clocks: theirs, ours
        self._places: dict[str, Executor] = {}
        self._left_out = dict[str, str]()
        self._looked = -LOOK
        self._seen: dict[str, tuple[int, float]] = {}
        self._seen_at = time.monotonic()
        self._lost = ""
        self._ended = threading.Event()
        self._dispatch: Dispatch | None = None
        self._first = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()
        self._first.wait(CONNECT)

    def enlist(self) -> None:
        """Ask every worker whether it is fit for the run. Raises `ClusterError` where none is."""
        if not self.places():
            raise ClusterError(f"the scheduler at {self._word} has no worker; {ANYWHERE}")
        asked = self._asked()
        limit = time.monotonic() + ENLIST
        while asked and time.monotonic() < limit:
            answered = wait(asked, LOOK, FIRST_COMPLETED).done
            there = self.places()  # first, for where the scheduler is gone all that it was asked is cancelled
            for future in answered:
                self._judge(asked.pop(future), *said_of(future)[:2])
            for future in [one for one, place in asked.items() if place not in there]:
                silent = machine(asked[future]) in self._seen
                why = f"nothing was heard of it for {SILENT:.0f} s" if silent else "it went while it was asked"
                self._judge(asked.pop(future), REFUSED, why)
        for place in asked.values():
            self._judge(place, REFUSED, f"it did not say within {ENLIST:.0f} s whether it is fit")
        if not self.places():
            who, why = next(iter(self._left_out.items()))
            raise ClusterError(f"no worker of {self._word} can carry out this run: {who} is left out: {why}")
        for who, why in self._left_out.items():
            self._tell(f"{who} is left out: {why}")

    def carried_out(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Each job with its outcome as it is done, the long ones first; its files and verdicts are on disk by then.

        Raises `ClusterError` where some are left that no worker has brought to their end, after all others.
        """
        order = {id(job): at for at, job in enumerate(self._order.plan)}
        self._dispatch = Dispatch(jobs, self.places, lambda job, place: self._task(place, order[id(job)]), self._tell)
        for job, body in self._dispatch.outcomes(lambda job: longest(job) + SILENT, SILENT):
            done: Done = pickle.loads(body)
            _keep(job, done)
            yield job, done.outcome
        if lost := self._dispatch.given_up:
            which = ", ".join(dict.fromkeys(f"{job.spec} of {job.label}" for job in lost))
            raise ClusterError(f"no worker of {self._word} has brought these to their end: {short(which, 400)}")

    def now(self) -> str:
        """What is being carried out, and where."""
        return self._dispatch.now() if self._dispatch else ""

    def places(self) -> Mapping[str, Executor]:
        """Where a job can be carried out now. Raises `ClusterError` where the scheduler is gone."""
        if self._client.status != "running":
            self._lost = self._lost or "it has closed the connection"
        if self._lost or time.monotonic() - self._looked >= LOOK:
            self._look()
            self._looked = time.monotonic()
        return self._places

    def leave(self) -> None:
        """Ask for nothing any more; what is still carried out comes to its end there, and nobody looks at it."""
        self._ended.set()

    def _watch(self) -> None:
        """Ask the scheduler again and again who is there: in a thread of its own, for it may never answer."""
        while not self._ended.is_set():
            try:
                self._seen, self._seen_at = self._client.run_on_scheduler(errands()["seen"]), time.monotonic()
            except Exception as error:
                self._lost = plain(str(error)) or type(error).__name__
                return
            finally:
                self._first.set()
            self._ended.wait(LOOK)

    def _look(self) -> None:
        seen, waited = self._seen, time.monotonic() - self._seen_at
        if self._lost or waited > SILENT:
            why = self._lost or f"for {SILENT:.0f} s"
            raise ClusterError(f"the scheduler at {self._word} does not answer any more ({why})")
        now = time.monotonic()
        for who, (_, last) in seen.items():
            if who not in self._heard or self._heard[who][0] != last:
                self._heard[who] = last, now
        alive = {who: seen[who][0] for who in seen if now - self._heard[who][1] <= SILENT and who not in self._left_out}
        names = {f"{who}/{number}": who for who, threads in alive.items() for number in range(threads)}
        self._places = {name: self._places.get(name) or self._place(who) for name, who in names.items()}

    def _place(self, worker: str) -> Executor:
        found: Executor = self._client.get_executor(workers=[worker], allow_other_workers=False, pure=False, retries=0)
        return found

    def _asked(self) -> dict[Future[Any], str]:
        """The first place of every worker, asked whether it is fit."""
        firsts = {machine(place): place for place in reversed(list(self._places))}
        return {self._places[one].submit(*self._task(one, None)): one for one in firsts.values()}

    def _judge(self, place: str, kind: str, why: str) -> None:
        if kind != DONE:
            who = machine(place)
            self._left_out[who] = why
            self._places = {name: one for name, one in self._places.items() if machine(name) != who}

    def _task(self, place: str, at: int | None) -> tuple[Any, ...]:
        """The errand to a place, as an executor is given it."""
        threads = sum(machine(one) == machine(place) for one in self._places)
        order = pickle.dumps(replace(self._order, at=at, places=max(threads, 1)))
        told = {name: os.environ[name] for name in (FILES, SWITCH) if name in os.environ}
        seconds = ENLIST if at is None else longest(self._order.plan[at])
        return errands()["errand"], f"{self._run}/{place}", order, os.getcwd(), told, seconds


def follow(kept: Session, afar: Cluster, console: Console) -> None:
    """Carry out what is left of a run's plan on a cluster, with a progress bar on a terminal. Raises `ClusterError`."""
    left = kept.left()
    kept.at_once = len(afar.places()) if len(left) == len(kept.plan) else 0
    with progress("verdicts", planned(left), console, afar.now) as advance:
        for job, outcome in afar.carried_out(left):
            kept.keep(job, outcome)
            advance(len(job.rows))


def longest(job: Job) -> float:
    """Seconds that a job may take at one place before it is carried out at another.

    Its own limits would end each check and each search in it; this is for what they do not end.
    """
    return LONGEST * CHECK_SECONDS[job.tier] + ENOUGH * ENDING * job.lodging.timeout


def _keep(job: Job, done: Done) -> None:
    """Write what a job has saved, and its verdicts, as a job that is carried out here does."""
    for name, content in done.files.items():
        write_bytes(Path(job.out) / "cases" / Path(name).name, content)
    for one in done.outcome.verdicts:
        append_line(Path(job.out) / VERDICTS, json.dumps(asdict(one)))
