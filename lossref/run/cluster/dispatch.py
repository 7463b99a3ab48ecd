"""Hands jobs out to places, one at a time each; the jobs of a place that is lost, or late, are handed out again.

A place is any `concurrent.futures.Executor` that does one thing at a time. What comes back from a place after its job
was given to another is not looked at, so that no job counts twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import Any, NamedTuple

from lossref.run.plan import Job

BEAT = 0.25  # seconds between two looks at the places
TRIES = 3  # of one job, before it is given up: one that ends its worker would end them all
DONE, REFUSED, FAILED = "done", "refused", "failed"
Places = Callable[[], Mapping[str, Executor]]
"""Where a job can be carried out now, by name; it raises where there will be none any more."""
Task = tuple[Any, ...]  # what an executor is given to submit: a function that returns a `Said`, and its arguments


class Said(NamedTuple):
    """What comes back from a place: the job is done; or the place is not fit for any; or it failed at this one."""

    kind: str
    sentence: str = ""
    body: Any = None


@dataclass(frozen=True)
class Try:
    """A job that is being carried out at a place, since when, and the machines that failed at it before."""

    job: Job
    place: str
    since: float
    failed: tuple[str, ...]


class Dispatch:
    """What is waiting, what is being carried out, and what was given up."""

    def __init__(
        self, jobs: Sequence[Job], places: Places, task: Callable[[Job, str], Task], tell: Callable[[str], None]
    ) -> None:
        self._waiting: list[tuple[Job, tuple[str, ...]]] = [(job, ()) for job in jobs]
        self._places, self._task, self._tell = places, task, tell
        self._out: dict[Future[Said], Try] = {}
        self._unfit = set[str]()
        self.given_up = list[Job]()

    def outcomes(self, most: Callable[[Job], float], patience: float) -> Iterator[tuple[Job, Any]]:
        """Each job with what came out of it, as it is done, but for those that are `given_up`.

        A job may take so many seconds at `most`. Ends early where there has been no place for `patience` seconds.
        """
        idle_since = time.monotonic()
        while self._waiting or self._out:
            there = {name: one for name, one in self._places().items() if name not in self._unfit}
            self._recall(there, most)
            self._hand_out(there)
            if self._out:
                idle_since = time.monotonic()
            elif self._waiting and time.monotonic() - idle_since > patience:
                self.given_up += [job for job, _ in self._waiting]
                return
            yield from self._done()

    def now(self) -> str:
        """What is being carried out, and where."""
        return "; ".join(f"{one.job.spec} of {one.job.label} on {one.place}" for one in list(self._out.values()))

    def _recall(self, there: Mapping[str, Executor], most: Callable[[Job], float]) -> None:
        """Take back what is out at a place that is gone, or that has had it for too long."""
        for future, one in [pair for pair in self._out.items() if not pair[0].done()]:
            late = time.monotonic() - one.since > most(one.job)
            if late or one.place not in there:
                del self._out[future]
                future.cancel()
                self._unfit |= {one.place} if late else set()
                how = f"had it for {most(one.job):.3g} s" if late else "is gone"
                self._again(one, f"{one.place} {how}")

    def _hand_out(self, there: Mapping[str, Executor]) -> None:
        busy = {one.place for one in self._out.values()}
        machines = {machine(one) for one in there if one not in self._unfit}
        for name in [one for one in there if one not in busy and one not in self._unfit]:
            at = next((at for at, one in enumerate(self._waiting) if _may(one[1], machine(name), machines)), None)
            if at is not None:
                job, failed = self._waiting.pop(at)
                self._out[there[name].submit(*self._task(job, name))] = Try(job, name, time.monotonic(), failed)

    def _done(self) -> Iterator[tuple[Job, Any]]:
        if not self._out:
            time.sleep(BEAT)
            return
        done = wait(self._out, BEAT, FIRST_COMPLETED).done
        self._places()  # raises where all places are gone at once: what was cancelled with them did not fail
        for future in done:
            one, said = self._out.pop(future), said_of(future)
            if said.kind == DONE:
                yield one.job, said.body
            elif said.kind == REFUSED:
                self._unfit.add(one.place)
                self._tell(f"{one.place} is left out: {said.sentence}")
                self._waiting.insert(0, (one.job, one.failed))
            else:
                self._again(one, f"{one.job.spec} failed on {one.place}: {said.sentence}")

    def _again(self, one: Try, why: str) -> None:
        """Put a job at the head of what is waiting, unless that was tried too often."""
        failed = (*one.failed, machine(one.place))
        if len(failed) < TRIES:
            self._tell(f"{why}; {one.job.spec} of {one.job.label} is asked again")
            self._waiting.insert(0, (one.job, failed))
        else:
            self._tell(f"{why}; {one.job.spec} of {one.job.label} is given up after {TRIES} tries")
            self.given_up.append(one.job)


def machine(place: str) -> str:
    """Where a place is: what its name says before the last stroke."""
    return place.rpartition("/")[0] or place


def _may(failed: Sequence[str], here: str, machines: set[str]) -> bool:
    """Whether a job is given to this machine: not where it failed, as long as there are others."""
    return here not in failed or machines <= set(failed)


def said_of(future: Future[Said]) -> Said:
    """What came back from a place; that it failed, where nothing did."""
    try:
        return Said(*future.result())
    except BaseException as error:  # a cancelled future raises none that is an Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return Said(FAILED, f"{type(error).__name__} {error}".strip())
