"""Settings are adopted, and failing rows judged again under them, until nothing more is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import Any

from lossref.checks import table
from lossref.checks.attempts import Attempts, at
from lossref.checks.settings import has_answer
from lossref.core.axes import frozen
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.limits import limited
from lossref.run.causes.judged import CHECK_SECONDS, Judged, Tracing, given_time
from lossref.run.causes.replied import told_again
from lossref.run.causes.settings import found as dialects
from lossref.run.causes.settings.cases import apart, drawn, held_out
from lossref.run.causes.settings.compared import Settings

ROUNDING = 2.0**-16  # of the size: errors that no setting makes
MOST_LARGE = 2  # large cases that a search goes through
ROUNDS = 3  # how often more settings are looked for, after those found were adopted
MOST_OF_A_KIND = 3  # failing cases of a kind and row that stand for it in a search
MOST_CASES = {False: 400, True: 12}  # that a search goes through: of an elementary loss, of a composite


def adopted(tracing: Tracing, rows: Sequence[Judged]) -> list[Judged]:
    """The rows as they come out under all settings that were found, which are then in `tracing`; none: none."""
    again, left = list[Judged](), list(rows)
    for _ in range(ROUNDS if rows else 0):
        more = _found(tracing, left)
        if more.items() <= tracing.settings.items():
            break
        before, tracing.settings = tracing.settings, more
        judged = [_under(tracing, row) for row in rows]
        if not _better(again or rows, judged, tracing.spec.composite):
            tracing.settings = before
            break
        again = judged
        left = [row for row, one in zip(rows, again, strict=True) if one.failing]
        if not left:
            break
    return again


def _found(tracing: Tracing, left: Sequence[Judged]) -> dict[str, Any]:
    """Settings found on small cases; where these show nothing new, on the large ones that fail, too."""
    cases = chain(_telling(tracing, left), held_out(tracing.spec, tracing.target, tracing.job.seed))
    pool = list(islice(dict.fromkeys(cases), MOST_CASES[tracing.spec.composite]))
    with given_time(tracing.job):
        pool = list(dict.fromkeys([*pool, *apart(tracing)]))
    large = [case for row in left if row.one.legal and not row.one.certified for case in _far_off(row)]
    held_to = [name for name, _ in tracing.job.dialect]
    more = dict[str, Any]()
    for cases_there, start in ((pool, {}), (list(dict.fromkeys(large))[:MOST_LARGE], tracing.settings)):
        with given_time(tracing.job):
            more = _searched(tracing, cases_there, held_to, start)
        if not more.items() <= tracing.settings.items():
            break
    return more


def _searched(tracing: Tracing, cases: Sequence[Case], held_to: Sequence[str], start: Settings) -> dict[str, Any]:
    """What the target follows on these cases, which is told by what it gives on them."""
    spec, target, known = tracing.spec, tracing.target, tracing.known
    beside = list(drawn(spec, target))
    given = [(case, *known.given(target, case)) for case in (*cases, *beside)]
    about = ("settings", held_to, start, len(cases), given)
    search = partial(dialects.found, spec, target, cases, known, held_to, start, beside)
    found = tracing.recalled.at_once(target, about, search)
    return {name: frozen(value) for name, value in found.items()}


def _far_off(row: Judged) -> Iterator[Case]:
    """The first case of each kind that is off by more than another rounding."""
    for failing in row.failing:
        case, problem = failing.found[0]
        error, size = (problem.detail.get(name, 0.0) for name in ("error", "size"))
        if not error <= ROUNDING * max(size, 1.0):
            yield case


def _better(before: Sequence[Judged], after: Sequence[Judged], composite: bool) -> bool:
    """Whether a kind of failure of one row is gone; of a composite also if some of its cases are, and no row has more.

    What an elementary loss gets right only here and there under a setting is no setting: a loss that is always 0 is
    right wherever that setting makes the loss 0. A number that is none, or not 0, is more than that.
    """
    pairs = list(zip(before, after, strict=True))
    gone = any({x.kind for x in one.failing} - {x.kind for x in two.failing} for one, two in pairs)
    counts = [(_count(one), _count(two)) for one, two in pairs]
    fewer = any(two < one for one, two in counts) and all(two <= one for one, two in counts)
    return gone or (fewer and (composite or any(_no_zero(one, two) for one, two in pairs)))


def _no_zero(before: Judged, after: Judged) -> bool:
    """Whether of some case that fails no more another number than 0 was given."""
    kept = {(one.kind, case.id, case.flags) for one in after.failing for case in one.cases}
    found = ((one.kind, case, problem) for one in before.failing for case, problem in one.found)
    gone = (problem for kind, case, problem in found if (kind, case.id, case.flags) not in kept)
    return any(problem.detail.get("got", 0.0) != 0 for problem in gone)


def _count(row: Judged) -> int:
    return sum(len(failing.found) for failing in row.failing)


def _under(tracing: Tracing, row: Judged) -> Judged:
    """A row judged again under the adopted settings, on those of its cases that leave them open."""
    defaults = {**tracing.spec.defaults(), **tracing.target.fixed}
    askable = [
        case for case in row.cases if all(case.params.get(n, defaults[n]) == defaults[n] for n in tracing.settings)
    ]
    pairs = [(case, at(case, tracing.change)) for case in askable]
    moved = [case for _, case in pairs if not row.one.legal or not tracing.spec.why_not(case)]
    try:
        with limited(CHECK_SECONDS[tracing.job.tier]):
            known = {case: row.known[usual] for usual, case in pairs if _stays(tracing, row, usual, case)}
            asked = told_again(tracing.held, tracing.heard or tracing.held)
            verdict, failing = table.check(row.one, tracing.spec, asked, moved, row.dtype, known)
    except TimeoutError:
        return row
    return Judged(row.one, replace(verdict, dtype=row.verdict.dtype), moved, failing, row.instead)


def _stays(tracing: Tracing, row: Judged, usual: Case, moved: Case) -> bool:
    """Whether a row passed on a case on which the settings change nothing, to the bit, of what the reference gives.

    Then the formula goes the same way at them, and the oracle need not be asked the same once more.
    """
    found = row.known.get(usual)
    if found is None or found.problems or found.left_out:
        return False
    before, after = (tracing.known.of(tracing.known.own, case) for case in (usual, moved))
    return before is not None and after is not None and before.is_same(after)


def _telling(tracing: Tracing, rows: Sequence[Judged]) -> Iterator[Case]:
    """Failing cases that have one answer: the first one of every kind of every row, then the second ones."""
    good = [
        _with_one_answer(tracing.spec, failing.cases, row.one.certified)
        for row in rows
        for failing in (row.failing if row.one.searched else ())
    ]
    for _ in range(MOST_OF_A_KIND):
        yield from (case for cases in good if (case := next(cases, None)) is not None)


def _with_one_answer(spec: Spec, cases: Sequence[Case], certified: bool) -> Iterator[Case]:
    """The legal ones; of those that the oracle can be asked about, the ones that it answers."""
    for case in cases:
        if not spec.why_not(case) and (not certified or has_answer(spec, case)):
            yield case


def settings_of(spec: Spec, target: Target, seed: int) -> dict[str, Any]:
    """The settings that a target follows on cases of every value check; none where it raises on all of them."""
    pool = list(islice(held_out(spec, target, seed), MOST_CASES[spec.composite]))
    return dialects.found(spec, target, pool, Attempts(spec)) if pool else {}
