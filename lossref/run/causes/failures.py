"""A failing row with its failures: each with its smallest case, saved, and what explains it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lossref.checks import table
from lossref.checks.attempts import at
from lossref.checks.behaviour import FIRST
from lossref.checks.evidence import Evidence, Problem
from lossref.checks.table import Failing
from lossref.core.nouns import Case, Failure, Spec, Target, Verdict
from lossref.hosts.worker.words import one_line
from lossref.run.causes.explain import Shown, explain, unexplained
from lossref.run.causes.explain.covered import covered, there_alone
from lossref.run.causes.explain.quantity import quantity_of
from lossref.run.causes.in_dtype import alone
from lossref.run.causes.judged import Judged, Tracing, given_time, repeats
from lossref.run.causes.laws import of_law
from lossref.run.causes.settings import found as dialects
from lossref.run.causes.settings.adoption import MOST_CASES, MOST_OF_A_KIND
from lossref.run.causes.settings.cases import apart, further, held_out
from lossref.run.causes.smallest.once import small
from lossref.run.findings.words import DIFFERENTLY, NOTHING
from lossref.run.plan import Job
from lossref.run.saved import SavedCase, distinct, save
from lossref.targets.hints import hint

NARROW = "a part is computed in"  # how claims of precision begin
NUMBERS = ("value ", "gradient ", "no gradient ", "no effect ")  # kinds of failure that a claim can speak of


def verdict_of_row(tracing: Tracing, row: Judged, under: Judged | None) -> Verdict:
    """The verdict of a row with its failures: those that the adopted settings explain, and those that are left."""
    left, gone = under or row, tuple(_gone(row, under) if under else ())
    remaining = [_of_kind(tracing, left, failing, number) for number, failing in enumerate(left.failing)]
    explained = [_of_settings(tracing, row, failing, number) for number, failing in enumerate(gone, len(remaining))]
    passes = bool(explained) and under is not None and not remaining and under.verdict.status == "pass"
    verdict = under.verdict if under and (passes or remaining) else row.verdict
    failures = (*remaining, *explained)
    first = failures[0] if failures else Failure("", row.verdict.note)
    status = "dialect" if passes else row.verdict.status
    note = _with_notes(tracing.target, row, first.problem)
    took = round(row.verdict.seconds + (under.verdict.seconds if under else 0.0), 3)
    explanation = first.explanation if remaining else _words(explained)
    return replace(
        verdict, status=status, note=note, explanation=explanation, case=first.case, failures=failures, seconds=took
    )


def _with_notes(target: Target, row: Judged, problem: str) -> str:
    note = f"{problem} ({target.note})" if target.note else problem
    return f"{note} (known: {target.known[row.one.name]})" if row.verdict.status == "known" else note


def _words(explained: Sequence[Failure]) -> str:
    settings = dict.fromkeys(setting for one in explained for setting in one.settings)
    return _agrees(tuple(settings)) if settings else ""


def _agrees(settings: Sequence[str]) -> str:
    """The sentence about settings that are given as "name=value"."""
    return "agrees when " + " and ".join(f"{one.partition('=')[0]} is {one.partition('=')[2]}" for one in settings)


def _gone(row: Judged, under: Judged) -> Iterator[Failing]:
    """What fails at the defaults, less the cases that fail under the settings, too."""
    still = {(one.kind, case.id or case.why, case.flags) for one in under.failing for case in one.cases}
    for one in row.failing:
        found = tuple(pair for pair in one.found if (one.kind, pair[0].id or pair[0].why, pair[0].flags) not in still)
        if found:
            yield replace(one, found=found)


def _of_settings(tracing: Tracing, row: Judged, failing: Failing, number: int) -> Failure:
    names = list[str]()
    with given_time(tracing.job):
        for case in failing.cases[: 1 if tracing.spec.composite else MOST_OF_A_KIND]:
            names += [name for name in _involved(tracing, case, failing.kind) if name not in names]
    settings = tuple(f"{name}={tracing.settings[name]!r}" for name in names or tracing.settings)
    case = small(tracing, tracing.target, row, failing, ("settings", *settings))
    return _failure(
        tracing, tracing.target, row, failing, case, number, settings=settings, explanation=_agrees(settings)
    )


def _involved(tracing: Tracing, case: Case, kind: str) -> Sequence[str]:
    about = ("involved", kind, tracing.change, case, tracing.known.given(tracing.target, case))
    found = partial(dialects.involved, tracing.compared, case, kind)
    return tracing.recalled.at_once(tracing.target, about, found)


def _of_kind(tracing: Tracing, row: Judged, failing: Failing, number: int) -> Failure:
    key = ("kind", failing.kind if row.one.explained_on else f"{row.one.name}: {failing.kind}")
    under = tuple(f"{name}={value!r}" for name, value in tracing.settings.items())
    known = tracing.spec.composite and key in tracing.claims  # it did repeat itself in another row
    if failing.kind == FIRST or not (known or repeats(tracing, row, failing)):
        case = failing.cases[0]
        return _failure(tracing, tracing.held, row, failing, case, number, under=under, explanation=DIFFERENTLY)
    reason = _reason(tracing, row, failing, key) if row.verdict.status != "known" else ""
    one_cause = ("claim", reason) if reason and not reason.startswith(NOTHING) else key
    case = small(tracing, tracing.held, row, failing, one_cause)
    return _failure(tracing, tracing.held, row, failing, case, number, under=under, explanation=reason)


def _reason(tracing: Tracing, row: Judged, failing: Failing, key: tuple[str, ...]) -> str:
    """What explains failures of this kind in this row: in its dtype alone, or as in the other rows."""
    if not row.one.explained_on or not failing.kind.startswith(("value ", "gradient ")):
        return _claim(tracing, row, failing, key)
    found = ""
    with given_time(tracing.job):
        found = alone(tracing, failing.kind, failing.cases, row.dtype)
    found = found or _claim(tracing, row, failing, key)
    if row.one.certified or not found:
        return found
    found = found if found.startswith(NOTHING) else covered(tracing, failing.kind, failing.cases, found)
    large = ""
    if found.startswith(NOTHING):
        with given_time(tracing.job):
            large = there_alone(tracing, failing.kind, failing.cases)
    return large or found


def _claim(tracing: Tracing, row: Judged, failing: Failing, key: tuple[str, ...]) -> str:
    """What explains failures of this kind; looked for once."""
    if key not in tracing.claims and row.one.explained_on and failing.kind.startswith(NUMBERS):
        found = ""
        try:
            found = _sentence(tracing, row, failing)
        except Exception as error:  # the failure is reported all the same
            found = f"lossref could not look for an explanation: {one_line(error)}"
        tracing.claims[key] = found
    if failing.kind.startswith("law ") and row.dtype == "float64":
        return _of_precision(tracing, row, failing.kind) or of_law(tracing, failing)
    return tracing.claims.get(key, "")


def _of_precision(tracing: Tracing, row: Judged, kind: str) -> str:
    """The claim that a part is computed in a narrow type, if what fails in float64 passes in float32."""
    claim = next((found for found in tracing.claims.values() if NARROW in found), "")
    if not claim:
        return ""
    _, failing = table.check(row.one, tracing.spec, tracing.held, row.cases, "float32")
    return "" if any(one.kind == kind for one in failing) else claim


def _sentence(tracing: Tracing, row: Judged, failing: Failing) -> str:
    """A claim that reproduces the failures and all other cases; else what is known of them."""
    spec, target, known, kind = tracing.spec, tracing.held, tracing.known, failing.kind
    shown: list[Shown] | None = None
    with given_time(tracing.job):
        shown, dtype = _shown(tracing, row, failing)
    if shown is None:
        return ""

    def said() -> str:
        found = explain(spec, target, kind, shown, known, tracing.settings, dtype)
        return found or unexplained(spec, kind, shown, tracing.settings, dtype)

    about, given = ("sentence", kind, dtype, tracing.change), [(one.case, one.got) for one in shown]
    found = tracing.recalled.in_a_row(target, about, given, said, partial(given_time, tracing.job))
    return "; ".join(filter(None, (found, _hint(tracing, kind, shown)))) if found else ""


def _shown(tracing: Tracing, row: Judged, failing: Failing) -> tuple[list[Shown], str]:
    """What target and truth give on the cases that a claim is held against, and the dtype that the target can."""
    spec, target, known = tracing.spec, tracing.held, tracing.known
    telling = [case for case in failing.cases if row.one.certified and not spec.why_not(case)][:MOST_OF_A_KIND]
    others = [at(case, tracing.change) for case in held_out(spec, tracing.target, tracing.job.seed)]
    cases = list(dict.fromkeys([*telling, *others]))[: MOST_CASES[spec.composite]]
    cases = list(dict.fromkeys([*cases, *(at(case, tracing.change) for case in apart(tracing))]))
    dtype = "float64" if any(known.of(target, case) for case in cases[:MOST_OF_A_KIND]) else "float32"
    shown = [tracing.shown(case, dtype) for case in cases]
    more = further(tracing, quantity_of(spec, failing.kind), shown, dtype)
    return [*shown, *(tracing.shown(case, dtype) for case in more)], dtype


def _hint(tracing: Tracing, kind: str, shown: Sequence[Shown]) -> str:
    """The line to paste where the numbers are the right ones in another form."""
    what = quantity_of(tracing.spec, kind)
    pairs = ((what.of(one.got), what.of(one.want)) for one in shown if one.got and one.want)
    got, want = next(pairs, (None, None))
    return "" if what.wrt or got is None or want is None else hint(tracing.spec, tracing.target, got, want)


def _failure(
    tracing: Tracing, target: Target, row: Judged, failing: Failing, case: Case, number: int, **more: Any
) -> Failure:
    """The failure with its smallest case saved."""
    known = next((found for one, found in failing.found if one is case), None) if tracing.spec.composite else None
    problem = known or tracing.problem(row.one, target, case, row.dtype, failing.kind)
    if problem is None:
        case, problem = failing.found[0]
        again = tracing.problem(row.one, target, case, row.dtype, failing.kind)
        if again is None and more.get("explanation") != DIFFERENTLY:
            problem = replace(problem, sentence=f"{problem.sentence} (not on every call: it does not repeat itself)")
    usual = [found for one, found in failing.found if table.drawn(one)]
    detail = {name: float(problem.detail.get(name, math.nan)) for name in ("got", "want", "error", "budget")}
    numbers = {name: value if math.isfinite(value) else None for name, value in detail.items()}
    made = Failure(
        failing.kind,
        problem.sentence,
        case=saved(tracing.job, tracing.spec, target, row, case, problem, number),
        cases=len(failing.found),
        of=failing.of,
        usual=len(usual),
        of_usual=failing.of_usual,
        relative=max((_relative(one) for one in usual or [one for _, one in failing.found]), default=0.0),
        got=numbers["got"],
        want=numbers["want"],
        error=numbers["error"],
        budget=numbers["budget"],
    )
    return replace(made, **more)


def _relative(problem: Problem) -> float:
    error, size = problem.detail.get("error"), problem.detail.get("size")
    return float("inf") if error is None or error != error else error / (size or 1.0)


def saved(job: Job, spec: Spec, target: Target, row: Judged, case: Case, problem: Problem, number: int = 0) -> str:
    """The file that a case is saved in, relative to the folder of the run; nothing where there is no folder."""
    if not job.out:
        return ""
    dtype, device = row.verdict.dtype, target.device
    kept = SavedCase(case, row.one.name, row.dtype, job.word, job.as_spec, device=device, lodging=job.lodging)
    where = "" if device == "cpu" else f"-{distinct(device)}"
    again = f"-{number + 1}" if number else ""
    name = f"cases/{spec.name}-{distinct(target.label)}-{row.one.name}-{dtype}{where}{again}.json"
    found_by = f"found by `{_asked_by(job)}`, seed {job.seed}"
    save(Path(job.out) / name, spec, kept, target, Evidence(1, 0.0, 0, (problem,)), why=found_by)
    return name


def _asked_by(job: Job) -> str:
    """The command that asks the target of a job."""
    python = ["--python", job.lodging.python] if job.lodging.python else []
    return shlex.join(["lossref", "validate", *(["--command"] if job.lodging.command else []), job.word, *python])
