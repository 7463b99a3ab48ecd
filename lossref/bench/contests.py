"""How fast implementations are, and what they need, against a baseline; only those that are right are timed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from lossref import losses as catalog
from lossref.bench import lines as bench_lines
from lossref.bench import page as bench_page
from lossref.bench.places import Place, Start, started
from lossref.bench.rows import (
    TIMED,
    Pair,
    Reading,
    Row,
    Settings,
    Side,
    empty,
    of_base,
    of_target,
    unknown,
    version_of,
    write,
)
from lossref.bench.standing import Standing
from lossref.bench.timing import Interval, interval, settled, spread, verdict
from lossref.bench.workloads import modes_of, sizes_of, workload
from lossref.checks.material import with_defaults
from lossref.checks.table import said_of
from lossref.core.nouns import Case, Spec
from lossref.hosts.endings import TargetEnded
from lossref.hosts.probe import applicable, call_of, question_of
from lossref.hosts.worker.clock import Rounds
from lossref.hosts.worker.messages import Question
from lossref.hosts.worker.timed import Footprint
from lossref.report.terminal import console
from lossref.run.about import facts, progress
from lossref.run.ask import ENDINGS, ENOUGH
from lossref.run.atomic import write_text
from lossref.targets.lodged import Ended, lodged
from lossref.targets.resolve import Unavailable

BOX, LONGEST = (0.1, 1.5), (0.4, 10.0)  # seconds that a pair is given, least and most: usually, at worst
LATE, OUT_OF_TIME = 1.15, "not measured: the time for everything was up; --seconds gives more"
TOO_LATE = Standing("timeout", OUT_OF_TIME)
UNKNOWN = Interval(math.nan, math.nan, math.nan)
GONE = f"not measured: {ENOUGH} measurements before it hung or crashed"


class Contest(NamedTuple):
    """One implementation against the baseline (None: it has no such spec), at these (size, mode)."""

    spec: Spec
    side: Side
    base: Side | None
    questions: tuple[tuple[str, str], ...]


class Lost(NamedTuple):
    """A word of which nothing is known, because it cannot be imported."""

    word: str
    standing: Standing


def plan(settings: Settings) -> list[Contest | Lost]:
    """Everything that is measured, word by word. Raises what `lodged` and the catalogue raise.

    `Unavailable` only where no word can be imported, or not the baseline.
    """
    bases = {one.spec: Side(settings.vs, one) for one in reversed(lodged(settings.vs, None, settings.lodging))}
    found, specs, lost = list[Contest | Lost](), catalog.matching(settings.spec), list[Unavailable]()
    for word in settings.words:
        try:
            mine = lodged(word, None, settings.lodging)
        except Unavailable as error:
            lost.append(error)
            found.append(Lost(word, Standing(error.status if isinstance(error, Ended) else "blocked", str(error))))
            continue
        for spec in specs:
            sizes = [size for size in sizes_of(spec) if size in settings.sizes]
            questions = tuple((size, mode) for size in sizes for mode in modes_of(spec))
            sides = [Side(word, one) for one in mine if one.spec == spec.name and questions]
            found += [Contest(spec, side, bases.get(spec.name), questions) for side in sides]
    if len(lost) == len(settings.words):
        raise lost[0]
    return found


def planned(contests: Sequence[Contest | Lost]) -> int:
    """The number of pairs that a complete run measures; what is lost counts as one."""
    return sum(1 if isinstance(contest, Lost) else len(contest.questions) for contest in contests)


def measured(contests: Sequence[Contest | Lost], settings: Settings) -> Iterator[list[Row]]:
    """The rows of each pair in turn; the pairs that are left share the time that is left."""
    begin, left = time.perf_counter(), planned(contests)
    shown: set[tuple[Any, ...]] = set()
    for contest in contests:
        if isinstance(contest, Lost):
            left -= 1
            yield [unknown(contest.word, settings, *contest.standing[:2])]
            continue
        spec, side, base, questions = contest
        late = time.perf_counter() - begin > LATE * settings.seconds
        start, ended = Start(side, base, None, TOO_LATE) if late else started(spec, side, base, settings), 0
        for size, mode in questions:
            share = (settings.seconds - (time.perf_counter() - begin)) / left
            rows = _rows(spec, size, mode, start, settings, share)
            ended += rows[0].verdict in ENDINGS and start.standing.word == "pass"
            if ended == ENOUGH:
                start = start._replace(standing=Standing(rows[0].verdict, GONE))
            # Targets that were asked the same share one row of the baseline.
            fresh = [row for row in rows if row.verdict != "baseline" or (*row[:8], row.note) not in shown]
            shown |= {(*row[:8], row.note) for row in fresh}
            left -= 1
            yield fresh


def _rows(spec: Spec, size: str, mode: str, start: Start, settings: Settings, share: float) -> list[Row]:
    """What was measured, or one row that says why nothing was."""
    side, base, place, found, lacking = start
    pair = Pair(spec, size, mode, side, base, lacking)
    if place is not None:
        pair = pair._replace(torch=str(place.host.facts.get("torch", "")))
    if found.word != "pass" or place is None:
        return [empty(pair, settings, found.word, found.reason)]
    case = workload(spec, size, side.target.fixed, settings.seed)
    if base and not lacking and not applicable(spec, base.target, _at(spec, base, case)):
        pair = pair._replace(lacking=f"{settings.vs} has no such parameters")
    try:
        return _measured(pair, place, settings, case, share)
    except TargetEnded as error:
        return [empty(pair, settings, error.status, said_of(error))]


def _measured(pair: Pair, place: Place, settings: Settings, case: Case, share: float) -> list[Row]:
    """Both sides in turns; where nothing can be compared, the one side for its time alone."""
    compared = [] if pair.lacking or pair.base is None or place.base is None else [(place.base, pair.base)]
    sides = [(thing, _question(pair, side, case, settings)) for thing, side in [(place.mine, pair.side), *compared]]
    # Most pairs leave half of their share to those that are slow, or disturbed.
    usual, worst = float(np.clip(share / 2, *BOX)), float(np.clip(3 * share, *LONGEST))
    found = place.host.time(sides, pair.mode, usual, worst, settings.seed)
    if found.raised:
        return [empty(pair, settings, "raised", found.raised)]
    rounds, prints = settled(Rounds(found.seconds[0], found.seconds[-1])), [Footprint(*one) for one in found.footprints]
    mine, theirs = Reading(spread(rounds.first), prints[0]), Reading(spread(rounds.second), prints[-1])
    note = "; ".join(filter(None, (_parameters(pair.spec, case), pair.lacking, _checked_where(settings))))
    if not compared:
        return of_target(pair, settings, mine, None, UNKNOWN, "alone", note)
    ratio = interval(rounds, settings.seed)
    rows = of_target(pair, settings, mine, theirs, ratio, verdict(ratio), note)
    return rows if place.mine == place.base else rows + of_base(pair, settings, theirs, note)


def _question(pair: Pair, side: Side, case: Case, settings: Settings) -> Question:
    """The case as this side is asked it, in the dtype and on the device that are timed."""
    call = call_of(pair.spec, case.inputs, settings.dtype, pair.spec.wrt)
    return question_of(pair.spec, replace(side.target, device=settings.device), _at(pair.spec, side, case), (call,))


def _at(spec: Spec, side: Side, case: Case) -> Case:
    """The case at the settings of a side: each is timed at its own dialect. Notation stays: the inputs are in it."""
    fixed = {name: value for name, value in side.target.fixed.items() if not spec.params[name].convention}
    return replace(case, params={**case.params, **fixed})


def _parameters(spec: Spec, case: Case) -> str:
    """The parameters that are not at their default."""
    usual = with_defaults(spec, {})
    return ", ".join(f"{name}={value!r}" for name, value in case.params.items() if usual.get(name) != value)


def _checked_where(settings: Settings) -> str:
    return "" if settings.device == "cpu" else "its answers were checked on the CPU"


def run(
    contests: Sequence[Contest | Lost], settings: Settings, folder: Path, screen: Console
) -> tuple[list[Row], bool]:
    """Measure with a progress bar on a terminal, keeping every row as it comes; False: interrupted."""
    folder.mkdir(parents=True, exist_ok=True)
    begin, rows, known = time.monotonic(), list[Row](), _facts(settings, planned(contests))
    finished = False
    write(folder / "bench.csv", rows)
    with progress("pairs", planned(contests), screen) as advance:
        try:
            for fresh in measured(contests, settings):
                rows += fresh
                known["made"] += 1
                write(folder / "bench.csv", rows)
                advance(1)
            finished = True
        except KeyboardInterrupt:
            pass  # what is finished is on disk; the caller says so
        finally:
            known["seconds"] = round(time.monotonic() - begin, 2)
            write_text(folder / "run.json", json.dumps(known, indent=1) + "\n")
    return rows, finished


def _facts(settings: Settings, pairs: int) -> dict[str, Any]:
    return {
        "targets": [" ".join(filter(None, (word, version_of(word, settings.lodging)))) for word in settings.words],
        "vs": " ".join(filter(None, (settings.vs, version_of(settings.vs, settings.lodging)))),
        "device": settings.device,
        "dtype": settings.dtype,
        **facts(pairs, settings.seed, settings.lodging.threads),
        "made": 0,
    }


def main(contests: Sequence[Contest | Lost], settings: Settings, folder: Path) -> bool:
    """Measure, write the CSV and the page, print the table; whether all was done, and something timed."""
    rows, finished = run(contests, settings, folder, console(stderr=True))
    bench_lines.summary(rows, settings.vs)
    page = bench_page.write(folder)
    console().print(f"csv: {folder / 'bench.csv'}\npage: {page}", highlight=False, soft_wrap=True)
    if not finished:
        console(stderr=True).print(f"lossref: interrupted; what was measured is kept in {folder}", soft_wrap=True)
    all_there = not any(isinstance(one, Lost) for one in contests) and not any(row.note == OUT_OF_TIME for row in rows)
    return finished and all_there and any(row.verdict in TIMED for row in rows)
