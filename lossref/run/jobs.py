"""Plans a run, and carries it out on any executor."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from lossref import losses as catalog
from lossref.checks import table as checks
from lossref.checks.evidence import wrong
from lossref.checks.material import shares
from lossref.checks.table import Check, cases_for
from lossref.core.nouns import Case, Spec, Target, Verdict
from lossref.hosts.limits import limited
from lossref.hosts.probe import one_line
from lossref.run.explain import NUMERIC, explain
from lossref.run.saved import SavedCase, save
from lossref.run.shrink import shrink
from lossref.targets.resolve import Unavailable, resolve

CHECK_SECONDS = {"quick": 40, "full": 400}
ENOUGH = 2


@dataclass(frozen=True)
class Job:
    """All checks of one target on one spec; plain words, so that it travels to any process."""

    word: str
    spec: str
    label: str
    rows: tuple[tuple[str, str], ...]
    tier: str
    seed: int
    out: str
    as_spec: str | None = None
    unsupported: str = ""


Told = tuple[list[Case], list[str]]  # small failing cases, the latest first, and the explanations found
Outcome = tuple[list[Verdict], dict[str, int]]


def plan(
    words: list[str],
    specs: str = "*",
    check: str = "*",
    dtypes: tuple[str, ...] = ("float64", "float32"),
    tier: str = "quick",
    seed: int = 0,
    out: Path = Path("reports"),
    as_spec: str | None = None,
) -> list[Job]:
    """One job for each target and spec. Raises what `resolve` and the catalogues raise."""
    wanted = [spec.name for spec in catalog.matching(specs)]
    chosen = [(one, dtype) for one in checks.matching(check) for dtype in one.dtypes if dtype in dtypes]
    jobs = []
    for word in words:
        for target in resolve(word, as_spec):
            if target.spec in wanted:
                spec, folder = catalog.spec(target.spec), str(out)
                rows = tuple((one.name, dtype) for one, dtype in chosen if checks.applies(one, spec))
                jobs.append(Job(word, target.spec, target.label, rows, tier, seed, folder, as_spec, target.unsupported))
    return jobs


def planned(jobs: list[Job]) -> int:
    """The number of verdicts that a complete run gives."""
    return sum(len(job.rows) for job in jobs)


def run(jobs: list[Job], executor: Executor) -> Iterator[Outcome]:
    """The outcome of each job as it completes, long ones first; a job that breaks its process is taken apart."""
    first = sorted(jobs, key=lambda job: not catalog.spec(job.spec).composite)
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
            verdicts.append(_verdict(one, "blocked", f"not run: {ENOUGH} checks before it crashed the process"))
            continue
        found = _alone(one)
        verdicts += found[0] if found else [_verdict(one, "crashed", "the process died while this check ran")]
        drawn.update(found[1] if found else {})
    return verdicts, dict(drawn)


def processes(count: int) -> ProcessPoolExecutor:
    """Fresh worker processes, each with one torch thread."""
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def work(job: Job) -> Outcome:
    """All verdicts of one job, and how often each family of inputs was drawn."""
    if job.unsupported:
        return [_verdict(replace(job, rows=(row,)), "unsupported", job.unsupported) for row in job.rows], {}
    spec = catalog.spec(job.spec)
    try:
        target = next(one for one in resolve(job.word, job.as_spec) if (one.spec, one.label) == (job.spec, job.label))
    except Unavailable as error:
        return [_verdict(replace(job, rows=(row,)), "blocked", str(error)) for row in job.rows], {}
    verdicts: list[Verdict] = []
    drawn = Counter[str]()
    told: Told = ([], [])
    for name, dtype in job.rows:
        if sum(verdict.status == "timeout" for verdict in verdicts) == ENOUGH:
            note = f"not run: {ENOUGH} checks before it gave no verdict in time"
            verdicts.append(_verdict(replace(job, rows=((name, dtype),)), "blocked", note))
            continue
        one = checks.named(name)
        drawn.update(shares(cases_for(one, spec, target, job.tier, job.seed)))
        verdicts.append(_row(replace(job, rows=((name, dtype),)), spec, target, one, dtype, told))
    return verdicts, dict(drawn)


def _row(job: Job, spec: Spec, target: Target, one: Check, dtype: str, told: Told) -> Verdict:
    """The verdict of one check, whatever the target does to it; failures are added to `told`."""
    cases = cases_for(one, spec, target, job.tier, job.seed)
    if dtype not in target.dtypes:
        return _verdict(job, "unsupported", f"declares no {dtype}")
    if not cases:
        return _verdict(job, "unsupported", _nothing_to_ask(one, target))
    seconds = CHECK_SECONDS[job.tier]
    try:
        with limited(seconds):
            verdict, failing = checks.check(one, spec, target, cases, dtype)
    except TimeoutError:
        return _verdict(job, "timeout", f"gave no verdict within {seconds} s")
    except Exception as error:  # a target can return what nobody thought of; the other checks go on
        return _verdict(job, "crashed", f"lossref could not examine this: {one_line(error)}")
    if failing is None:
        return replace(verdict, note=verdict.note or target.note)
    return _explained(job, spec, target, one, verdict, failing, told)


def _explained(
    job: Job, spec: Spec, target: Target, one: Check, verdict: Verdict, failing: Case, told: Told
) -> Verdict:
    """A failure with its smallest case saved, and the known variant that explains it if one does."""
    smallest, reason, dtype = failing, "", verdict.dtype
    with contextlib.suppress(TimeoutError), limited(CHECK_SECONDS[job.tier]):
        smallest = shrink(spec, target, one, failing, dtype)
    if one.name in NUMERIC and one.name not in ("bulk", "shape"):  # too large to certify again, no common shape
        told[0].insert(0, smallest)
    with contextlib.suppress(TimeoutError), limited(CHECK_SECONDS[job.tier]):
        reason = "" if verdict.status == "known" else _reason(spec, target, one, dtype, told)
    evidence = checks.examine(one, spec, target, smallest, dtype)
    if not evidence.problem:
        smallest, evidence = failing, checks.examine(one, spec, target, failing, dtype)
    if not evidence.problem:
        evidence = wrong(f"{verdict.note} (not on every call: it does not repeat itself)")
    name = f"cases/{spec.name}-{target.label}-{one.name}-{dtype}.json"
    saved = SavedCase(smallest, one.name, dtype, job.word, job.as_spec)
    found_by = f"found by `lossref validate {job.word}`, seed {job.seed}"
    save(Path(job.out) / name, spec, saved, target, evidence, why=found_by)
    note = f"{evidence.problem} ({target.note})" if target.note else evidence.problem
    note = f"{note} (known: {target.known[one.name]})" if verdict.status == "known" else note
    return replace(verdict, note=note, explanation=reason, case=name)


def _reason(spec: Spec, target: Target, one: Check, dtype: str, told: Told) -> str:
    try:
        found = explain(spec, target, one.name, dtype, *told)
    except TimeoutError:
        raise
    except Exception as error:  # the failure is reported all the same
        return f"lossref could not look for an explanation: {one_line(error)}"
    told[1].append(found)
    return found


def _nothing_to_ask(one: Check, target: Target) -> str:
    if one.name == "params":
        return "it has no parameter whose effect could be tested"
    return f"no case fits its fixed parameters {dict(target.fixed)}"


def _verdict(job: Job, status: str, note: str) -> Verdict:
    name, dtype = job.rows[0]
    return Verdict(job.spec, job.label, name, dtype, status, note=note)
