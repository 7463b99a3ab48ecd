"""Asks one target about one spec: every check of a job, failures made small, saved and explained."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from lossref import losses
from lossref.checks import table
from lossref.checks.attempts import Attempts
from lossref.checks.evidence import Evidence, wrong
from lossref.checks.material import material, shares
from lossref.checks.numbers import trusted
from lossref.checks.settings import setting
from lossref.checks.table import Check, cases_for
from lossref.core.nouns import Case, Spec, Target, Verdict
from lossref.hosts.command import CannotAnswer
from lossref.hosts.endings import TargetEnded
from lossref.hosts.limits import limited
from lossref.hosts.worker import state
from lossref.hosts.worker.words import one_line
from lossref.oracle.answers import outcome_of, true_gradient, weights
from lossref.oracle.budgets import gradient_budget, reached
from lossref.run.atomic import append_line
from lossref.run.explain import explain
from lossref.run.plan import Job
from lossref.run.saved import SavedCase, distinct, save
from lossref.run.shrink import shrink
from lossref.targets.lodged import Ended, lodged, settled
from lossref.targets.resolve import Unavailable, UnknownTarget

CHECK_SECONDS = {"quick": 40, "full": 400}
ENOUGH = 2  # checks that hung or crashed, after which the rest would too
ENDINGS = ("crashed", "timeout")
ENDING = 5  # deadlines that one hang may take: asked, asked once more, and two imports between
VERDICTS = "verdicts.jsonl"
Outcome = tuple[list[Verdict], dict[str, int]]
Search = tuple[tuple[str, ...], str, tuple[Case, ...]]  # the kinds of case that are looked at, dtype, failing cases
Row = tuple[Verdict, Counter[str]]  # of one check, with the families of inputs that were drawn for it


@dataclass(frozen=True)
class Told:
    """What the failures of one job have told so far: small failing cases, the latest first, and explanations.

    known: what was asked for explanations, and need not be asked again
    found: what a search has come to, and need not be searched again
    """

    known: Attempts
    failing: tuple[Case, ...] = ()
    reasons: tuple[str, ...] = ()
    found: Mapping[Search, str] = field(default_factory=dict)

    def of(self, case: Case) -> Told:
        """With one more failing case."""
        return replace(self, failing=(case, *self.failing))

    def because(self, search: Search, reason: str) -> Told:
        """With what one more search has come to."""
        return replace(self, reasons=(*self.reasons, reason), found={**self.found, search: reason})


def work(job: Job) -> Outcome:
    """All verdicts of one job, each on disk as soon as it is known, and how often each family of inputs was drawn.

    Raises `OSError` where they cannot be written.
    """
    _of_one_spec(job.spec)
    state.allow_tf32(job.lodging.tf32)
    return _gathered(_noted(job, one) for one in _each(job))


def asked(job: Job, target: Target) -> Outcome:
    """The same for a target that is at hand, which its word need not find, and without a folder."""
    return _gathered(_of(job, target))


@lru_cache(maxsize=1)
def _of_one_spec(name: str) -> None:
    """Forget cases and answers when it is another spec's turn: they take hundreds of megabytes, and are not its own."""
    for one in (outcome_of, true_gradient, reached, gradient_budget, trusted, material, setting, weights):
        one.cache_clear()


def _gathered(rows: Iterable[Row]) -> Outcome:
    verdicts, drawn = list[Verdict](), Counter[str]()
    for verdict, families in rows:
        verdicts.append(verdict)
        drawn.update(families)
    return verdicts, dict(drawn)


def _noted(job: Job, row: Row) -> Row:
    if job.out:
        append_line(Path(job.out) / VERDICTS, json.dumps(asdict(row[0])))
    return row


def _each(job: Job) -> Iterator[Row]:
    status, reason = job.status, job.reason
    if not status:
        try:
            target = settled(lodged(job.word, job.as_spec, job.lodging)[job.thing])
        except (Unavailable, UnknownTarget) as error:
            status, reason = (error.status if isinstance(error, Ended) else "blocked"), str(error)
        except IndexError:
            status, reason = "blocked", f"{job.word} declares fewer targets than before"
        else:
            yield from _of(job, replace(target, label=job.label))
            return
    yield from ((unasked(job, row, status, reason), Counter()) for row in job.rows)


def _of(job: Job, target: Target) -> Iterator[Row]:
    spec = losses.spec(job.spec)
    told, ended = Told(Attempts(spec)), 0
    for row in job.rows:
        if ended == ENOUGH:
            yield unasked(job, row, "blocked", f"not run: {ENOUGH} checks before it hung or crashed"), Counter()
            continue
        cases = cases_for(table.named(row[0]), spec, target, job.tier, job.seed)
        verdict, told = _row(job, row, spec, target, cases, told)
        ended += verdict.status in ENDINGS
        yield verdict, shares(cases)


def _row(
    job: Job, row: tuple[str, str], spec: Spec, target: Target, cases: list[Case], told: Told
) -> tuple[Verdict, Told]:
    """The verdict of one check, whatever the target does to it, and what has been told by then."""
    one, dtype = table.named(row[0]), row[1]
    if dtype not in target.dtypes:
        return unasked(job, row, "unsupported", f"declares no {dtype}"), told
    if not cases:
        return unasked(job, row, "unsupported", _nothing_to_ask(one, target)), told
    waiting = 0 if target.host is None else int(ENDING * job.lodging.timeout)
    try:
        with limited(CHECK_SECONDS[job.tier], waiting):
            verdict, failing = table.check(one, spec, target, cases, dtype)
    except TimeoutError:
        return unasked(job, row, "timeout", f"gave no verdict within {CHECK_SECONDS[job.tier]} s of computing"), told
    except Exception as error:  # a target can return what nobody thought of; the other checks go on
        return unasked(job, row, "crashed", f"lossref could not examine this: {one_line(error)}"), told
    if failing is None:
        return replace(verdict, note=verdict.note or target.note), told
    if verdict.status in ENDINGS:
        saved = _saved(job, target, one, failing, dtype)
        return replace(verdict, case=_kept(job, spec, target, saved, wrong(verdict.note))), told
    return _explained(job, spec, target, one, verdict, failing, told)


def _explained(
    job: Job, spec: Spec, target: Target, one: Check, verdict: Verdict, failing: Case, told: Told
) -> tuple[Verdict, Told]:
    """A failure with its smallest case saved, and the known variant that explains it if one does."""
    dtype, reason = verdict.dtype, ""
    smallest, told = _smallest(job, spec, target, one, dtype, failing, told)
    if verdict.status != "known":
        reason, told = _reason(job, spec, target, one, dtype, told)
    evidence = _examined(one, spec, target, smallest, dtype)
    if not evidence.problem:
        smallest, evidence = failing, _examined(one, spec, target, failing, dtype)
    if not evidence.problem:
        evidence = wrong(f"{verdict.note} (not on every call: it does not repeat itself)")
    note = f"{evidence.problem} ({target.note})" if target.note else evidence.problem
    note = f"{note} (known: {target.known[one.name]})" if verdict.status == "known" else note
    case = _kept(job, spec, target, _saved(job, target, one, smallest, dtype), evidence)
    return replace(verdict, note=note, explanation=reason, case=case), told


def _smallest(
    job: Job, spec: Spec, target: Target, one: Check, dtype: str, failing: Case, told: Told
) -> tuple[Case, Told]:
    """A small case that fails: one that did so in a check before, or else the failing one made small.

    Where a failing case stays as it is, what makes it fail may be what it is about (an index that is no image).
    """
    tells = one.certified and bool(one.explained_on)
    for case in told.failing if tells and one.shrunk_to else ():
        if _examined(one, spec, target, case, dtype).problem:
            return case, told
    smallest = failing
    with contextlib.suppress(TimeoutError, TargetEnded, CannotAnswer), limited(CHECK_SECONDS[job.tier]):
        smallest = shrink(spec, target, one, failing, dtype)
    return smallest, told.of(smallest) if tells else told


def _examined(one: Check, spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The evidence on a case that failed before; a target may meanwhile end its process over it."""
    try:
        return table.examine(one, spec, target, case, dtype)
    except (TargetEnded, CannotAnswer) as error:
        return wrong(str(error))


def _saved(job: Job, target: Target, one: Check, case: Case, dtype: str) -> SavedCase:
    return SavedCase(case, one.name, dtype, job.word, job.as_spec, label=target.label, device=target.device)


def _kept(job: Job, spec: Spec, target: Target, saved: SavedCase, evidence: Evidence) -> str:
    """The file that the case is saved in, relative to the folder of the run; nothing where there is no folder."""
    if not job.out:
        return ""
    where = "" if saved.device == "cpu" else f"-{distinct(saved.device)}"
    name = f"cases/{spec.name}-{distinct(target.label)}-{saved.check}-{saved.dtype}{where}.json"
    found_by = f"found by `lossref validate {job.word}`, seed {job.seed}"
    save(Path(job.out) / name, spec, saved, target, evidence, why=found_by)
    return name


def _reason(job: Job, spec: Spec, target: Target, one: Check, dtype: str, told: Told) -> tuple[str, Told]:
    """What explains the failing cases; a search that took too long, or broke, is not made again either."""
    search, found = (one.explained_on, dtype, told.failing), ""
    if search in told.found:
        return told.found[search], told
    try:
        with contextlib.suppress(TimeoutError), limited(CHECK_SECONDS[job.tier]):
            found = explain(spec, target, one, dtype, told.failing, told.reasons, told.known)
    except Exception as error:  # the failure is reported all the same
        return f"lossref could not look for an explanation: {one_line(error)}", told
    return found, told.because(search, found)


def _nothing_to_ask(one: Check, target: Target) -> str:
    if one.kinds == ("setting",):
        return "it has no parameter whose effect could be tested"
    return f"no case fits its fixed parameters {dict(target.fixed)}"


def unasked(job: Job, row: tuple[str, str], status: str, note: str) -> Verdict:
    """The verdict of a check that was not carried out."""
    return Verdict(job.spec, job.label, *row, status, note=note, device=job.lodging.device)
