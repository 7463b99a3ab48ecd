"""Asks one target about one spec: every check of a job, failures made small, saved and explained."""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

from lossref import losses
from lossref.checks import table
from lossref.checks.ability import cannot, fair, judged_in
from lossref.checks.attempts import at
from lossref.checks.cases.decided import told
from lossref.checks.cases.flat import flat
from lossref.checks.cases.kinds import moderate
from lossref.checks.cases.values import moved, valued
from lossref.checks.cases.varied import finer, varied
from lossref.checks.material import material, shares
from lossref.checks.numbers import in_both
from lossref.checks.settings import setting
from lossref.checks.table import Check, cases_for
from lossref.core.nouns import Case, Spec, Target, Verdict
from lossref.hosts.endings import TargetEnded
from lossref.hosts.limits import limited
from lossref.hosts.worker import state
from lossref.hosts.worker.words import one_line
from lossref.oracle.answers import outcome_of, true_gradient, weights
from lossref.oracle.budgets import gradient_budget, reached
from lossref.run.atomic import append_line
from lossref.run.causes.causes import traced
from lossref.run.causes.explain import narrow
from lossref.run.causes.explain.formula import runs
from lossref.run.causes.explain.variants import tensors
from lossref.run.causes.failures import saved
from lossref.run.causes.judged import CHECK_SECONDS, Judged
from lossref.run.causes.replied import kept_of
from lossref.run.golden.corpus import drawn
from lossref.run.golden.feeding import fed
from lossref.run.plan import Job
from lossref.run.saved.finished import Outcome
from lossref.targets.lodged import Ended, lodged, settled
from lossref.targets.resolve import Unavailable, UnknownTarget

ENOUGH = 2  # checks that hung or crashed, after which the rest would too
ENDINGS = ("crashed", "timeout")
ENDING = 8  # deadlines that one hang may take: an import and the question, and both once more
VERDICTS = "verdicts.jsonl"
CASES = (at, finer, flat, material, moderate, moved, setting, told, valued, varied)
ANSWERS = (outcome_of, true_gradient, reached, gradient_budget, in_both, weights)
CAUSES = (narrow.moved, runs.learnt, runs.outcome, tensors.seen)
OF_A_SPEC = (*CASES, *ANSWERS, *CAUSES)  # functions that keep what they gave
Search = tuple[tuple[str, ...], str, tuple[Case, ...]]  # the kinds of case that are looked at, dtype, failing cases
Row = tuple[Verdict, Counter[str]]  # of one check, with the families of inputs that were drawn for it


def work(job: Job) -> Outcome:
    """All verdicts of one job, each on disk as soon as it is known, and how often each family of inputs was drawn.

    Raises `OSError` where they cannot be written.
    """
    of_one_spec(job.spec)
    state.allow_tf32(job.lodging.tf32)
    cpu = dict[str, float]()
    return _gathered((_noted(job, one) for one in _each(job, cpu)), cpu)


def asked(job: Job, target: Target) -> Outcome:
    """The same for a target that is at hand, which its word need not find, and without a folder."""
    cpu = dict[str, float]()
    return _gathered(_of(job, target, cpu), cpu)


@lru_cache(maxsize=1)
def of_one_spec(name: str) -> None:
    """Forget cases and answers when it is another spec's turn: they take hundreds of megabytes, and are not its own."""
    for one in OF_A_SPEC:
        one.cache_clear()
    gc.collect()  # what was found out about the last target refers to itself
    if trim := sys.platform == "linux" and getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # glibc's: else the memory of full-size cases stays with the process, and each has another size


def _gathered(rows: Iterable[Row], cpu: dict[str, float]) -> Outcome:
    """One verdict for each row, the last one, in the order in which they were first given."""
    verdicts, drawn, begin = dict[tuple[str, str], Verdict](), Counter[str](), time.monotonic()
    for verdict, families in rows:
        verdicts[verdict.check, verdict.dtype] = verdict
        drawn.update(families)
    return Outcome(list(verdicts.values()), dict(drawn), cpu, round(time.monotonic() - begin, 3))


def _noted(job: Job, row: Row) -> Row:
    if job.out:
        append_line(Path(job.out) / VERDICTS, json.dumps(asdict(row[0])))
    return row


def _each(job: Job, cpu: dict[str, float]) -> Iterator[Row]:
    status, reason = job.status, job.reason
    if not status:
        try:
            target = settled(lodged(job.word, job.as_spec, job.lodging)[job.thing])
        except (Unavailable, UnknownTarget) as error:
            status, reason = (error.status if isinstance(error, Ended) else "blocked"), str(error)
        except IndexError:
            status, reason = "blocked", f"{job.word} declares fewer targets than before"
        else:
            yield from _of(job, replace(target, label=job.label), cpu)
            return
    yield from ((unasked(job, row, status, reason), Counter()) for row in job.rows)


def _held(job: Job, target: Target) -> Target:
    """The target as one that implements the dialect it is held to; what it takes as a parameter it is asked anyway."""
    settings = {name: value for name, value in job.dialect if name not in target.accepts}
    return replace(target, fixed={**target.fixed, **settings}) if settings else target


def _of(job: Job, target: Target, cpu: dict[str, float]) -> Iterator[Row]:
    """Each row as it was judged; then those that fail once more, with their causes; what either took is in `cpu`."""
    begin = time.process_time()
    target = _held(job, target)
    spec, ended, failing = losses.spec(job.spec), 0, list[Judged]()
    fed(spec)
    drawn.fed(spec)
    unable = {dtype: cannot(spec, target, dtype) for dtype in dict.fromkeys(dtype for _, dtype in job.rows)}
    heard = kept_of(target) if spec.composite else target  # an elementary loss answers faster than it is told apart
    for row in job.rows:
        if ended == ENOUGH:
            yield unasked(job, row, "blocked", f"not run: {ENOUGH} checks before it hung or crashed"), Counter()
            continue
        cases = cases_for(table.named(row[0]), spec, target, job.tier, job.seed)
        judged = _as_it_went(target, _row(job, row, spec, heard, cases, unable))
        ended += judged.verdict.status in ENDINGS and all(one.kind != table.LOST for one in judged.failing)
        failing += [judged] if judged.failing and judged.verdict.status not in ENDINGS else []
        yield judged.verdict, shares(cases)
    judged_by = time.process_time()
    yield from ((_told(verdict, _story(target)[0]), Counter()) for verdict in traced(job, spec, target, failing, heard))
    cpu |= {"checks": round(judged_by - begin, 3), "causes": round(time.process_time() - judged_by, 3)}


def _as_it_went(target: Target, judged: Judged) -> Judged:
    """A row with what its numbers do not say: no end of a process is lost, whatever question it came with.

    It may have been a question about a dtype, or the notation, and the same one did no harm when it was put again.
    """
    verdict = judged.verdict
    if verdict.status == "unsupported":  # it was not asked; that is told of one that was
        return judged
    said, ended = _story(target)
    if judged.failing and verdict.status not in ENDINGS:  # its note is written when its cause is known
        if said or ended:
            target.story.untold = [*said, *map(table.said_of, ended)]
        return judged
    if ended and verdict.status not in ENDINGS:
        verdict = replace(verdict, status=ended[0].status, note=table.said_of(ended[0]), where=target.where)
        judged = replace(judged, failing=())
    return replace(judged, verdict=_told(verdict, said))


def _story(target: Target) -> tuple[list[str], list[TargetEnded]]:
    taken: tuple[list[str], list[TargetEnded]] = target.story.taken() if target.story is not None else ([], [])
    return taken


def _told(verdict: Verdict, said: list[str]) -> Verdict:
    """The verdict with what is to be told, unless its note says so."""
    more = [one for one in said if one not in verdict.note]
    return replace(verdict, note="; ".join(filter(None, (verdict.note, *more)))) if more else verdict


def _row(
    job: Job, row: tuple[str, str], spec: Spec, target: Target, cases: list[Case], unable: Mapping[str, str]
) -> Judged:
    """How one check came out, whatever the target does to it; in the other dtype where it is `unable` in this one."""
    one = table.named(row[0])
    dtype = judged_in(one, row[1], unable)

    def not_asked(status: str, note: str) -> Judged:
        return Judged(one, unasked(job, row, status, note), cases, ())

    if row[1] not in target.dtypes:
        return not_asked("unsupported", f"declares no {row[1]}")
    if not dtype:
        return not_asked("unsupported", unable[row[1]])
    if not cases:
        return not_asked("unsupported", _nothing_to_ask(one, target))
    waiting = 0 if target.host is None else int(ENDING * job.lodging.timeout)
    try:
        with limited(CHECK_SECONDS[job.tier], waiting):
            asked_on = cases if dtype == row[1] else fair(one, spec, cases, dtype)
            verdict, failing = table.check(one, spec, target, asked_on, dtype, known := table.Known())
    except TimeoutError:
        return not_asked("timeout", f"gave no verdict within {CHECK_SECONDS[job.tier]} s of computing")
    except Exception as error:  # a target can return what nobody thought of; the other checks go on
        return not_asked("crashed", f"lossref could not examine this: {one_line(error)}")
    if dtype != row[1]:
        verdict = replace(verdict, dtype=row[1], note=verdict.note or f"judged in {dtype}: it {unable[row[1]]}")
    known = known if one.alone and spec.composite else {}
    judged = Judged(one, verdict, asked_on, failing, "" if dtype == row[1] else dtype, known)
    if verdict.status in ENDINGS:
        case, problem = failing[0].found[0]
        return replace(judged, verdict=replace(verdict, case=saved(job, spec, target, judged, case, problem)))
    return judged if failing else replace(judged, verdict=replace(verdict, note=verdict.note or target.note))


def _nothing_to_ask(one: Check, target: Target) -> str:
    if "setting" in one.kinds:
        return "it has no parameter whose effect could be tested"
    return f"no case fits its fixed parameters {dict(target.fixed)}"


def unasked(job: Job, row: tuple[str, str], status: str, note: str) -> Verdict:
    """The verdict of a check that was not carried out."""
    return Verdict(job.spec, job.label, *row, status, note=note, device=job.lodging.device)
