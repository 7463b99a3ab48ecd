"""How fast implementations are, and what they need, against a baseline; only those that are right are timed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console

from lossref import losses as catalog
from lossref.bench import lines as bench_lines
from lossref.bench import page as bench_page
from lossref.bench.footprint import footprint
from lossref.bench.inside import guarded
from lossref.bench.rows import TIMED, Pair, Reading, Row, Settings, Side, empty, of_base, of_target, version_of, write
from lossref.bench.standing import Standing, standing
from lossref.bench.timing import Interval, interleaved, interval, on_cuda, settled, spread, verdict, wall
from lossref.bench.workloads import modes_of, sizes_of, work, workload
from lossref.checks.material import with_defaults
from lossref.core.nouns import Case, Spec
from lossref.hosts.limits import limited
from lossref.hosts.probe import TargetRaised, applicable
from lossref.report.terminal import console
from lossref.run.about import facts, progress
from lossref.run.atomic import write_text
from lossref.targets.resolve import resolve

BOX, LONGEST = (0.1, 1.5), (0.4, 10.0)  # seconds that a pair is given, least and most: usually, at worst
GIVEN_UP = 60
LATE, OUT_OF_TIME = 1.15, "not measured: the time for everything was up; --seconds gives more"
UNKNOWN = Interval(math.nan, math.nan, math.nan)


class Contest(NamedTuple):
    """One implementation against the baseline (None: it has no such spec), at these (size, mode)."""

    spec: Spec
    side: Side
    base: Side | None
    questions: tuple[tuple[str, str], ...]


def plan(settings: Settings) -> list[Contest]:
    """Everything that is measured, in order. Raises what `resolve` and the catalogue raise."""
    bases = {one.spec: Side(settings.vs, one) for one in reversed(resolve(settings.vs))}
    sides = [Side(word, one) for word in settings.words for one in resolve(word)]
    found = []
    for spec in catalog.matching(settings.spec):
        sizes = [size for size in sizes_of(spec) if size in settings.sizes]
        questions = tuple((size, mode) for size in sizes for mode in modes_of(spec))
        mine = [side for side in sides if side.target.spec == spec.name]
        found += [Contest(spec, side, bases.get(spec.name), questions) for side in mine if questions]
    return found


def planned(contests: Sequence[Contest]) -> int:
    """The number of pairs that a complete run measures."""
    return sum(len(contest.questions) for contest in contests)


def measured(contests: Sequence[Contest], settings: Settings) -> Iterator[list[Row]]:
    """The rows of each pair in turn; the pairs that are left share the time that is left."""
    begin, left = time.perf_counter(), planned(contests)
    shown: set[tuple[Any, ...]] = set()
    for spec, side, base, questions in contests:
        late = time.perf_counter() - begin > LATE * settings.seconds
        mine = Standing("timeout", OUT_OF_TIME) if late else _allowed(spec, side, settings)
        lacking = _lacking(spec, base, settings) if mine.word == "pass" else ""
        for size, mode in questions:
            share = (settings.seconds - (time.perf_counter() - begin)) / left
            rows = _rows(Pair(spec, size, mode, side, base, lacking), settings, mine, share)
            # Targets that were asked the same share one row of the baseline.
            fresh = [row for row in rows if row.verdict != "baseline" or (*row[:8], row.note) not in shown]
            shown |= {(*row[:8], row.note) for row in fresh}
            left -= 1
            yield fresh


def _allowed(spec: Spec, side: Side, settings: Settings) -> Standing:
    """Whether the speed of this side may be shown."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        return Standing("unsupported", "torch finds no CUDA device here")
    return standing(spec, side.target, settings.dtype, settings.seed)


def _lacking(spec: Spec, base: Side | None, settings: Settings) -> str:
    """Why the baseline says nothing about this spec; empty if it does."""
    if base is None:
        return f"{settings.vs} has no {spec.name} to compare with"
    word, reason = _allowed(spec, base, settings)
    return "" if word == "pass" else f"not compared with {settings.vs}, which is not timed itself: {word}: {reason}"


def _rows(pair: Pair, settings: Settings, mine: Standing, share: float) -> list[Row]:
    """What was measured, or one row that says why nothing was."""
    if mine.word != "pass":
        return [empty(pair, settings, *mine)]
    try:
        with limited(GIVEN_UP), guarded():
            case = workload(pair.spec, pair.size, pair.side.target.fixed, settings.seed)
            if pair.base and not pair.lacking and not applicable(pair.spec, pair.base.target, case):
                pair = pair._replace(lacking=f"{settings.vs} has no such parameters")
            return _measured(pair, settings, case, share)
    except TimeoutError:
        return [empty(pair, settings, "timeout", f"took more than {GIVEN_UP} s")]
    except TargetRaised as error:
        return [empty(pair, settings, "raised", str(error))]


def _measured(pair: Pair, settings: Settings, case: Case, share: float) -> list[Row]:
    """Both sides in turns; where nothing can be compared, the one side against itself, for its time alone."""
    other = pair.side if pair.lacking or pair.base is None else pair.base
    how = (case, pair.mode, settings.dtype, settings.device)
    first, second = work(pair.spec, pair.side.target, *how), work(pair.spec, other.target, *how)
    prints = footprint(first), footprint(second)
    clock = on_cuda if settings.device == "cuda" else wall
    # Most pairs leave half of their share to those that are slow, or disturbed.
    usual, worst = float(np.clip(share / 2, *BOX)), float(np.clip(3 * share, *LONGEST))
    rounds = settled(interleaved(first, second, usual, worst, clock, settings.seed))
    mine, theirs = Reading(spread(rounds.first), prints[0]), Reading(spread(rounds.second), prints[1])
    note = "; ".join(filter(None, (_parameters(pair.spec, case), pair.lacking, _checked_where(settings))))
    if pair.lacking:
        return of_target(pair, settings, mine, None, UNKNOWN, "alone", note)
    found = interval(rounds, settings.seed)
    rows = of_target(pair, settings, mine, theirs, found, verdict(found), note)
    against_itself = (other.word, other.target.label) == (pair.side.word, pair.side.target.label)
    return rows if against_itself else rows + of_base(pair, settings, theirs, note)


def _parameters(spec: Spec, case: Case) -> str:
    """The parameters that are not at their default."""
    usual = with_defaults(spec, {})
    return ", ".join(f"{name}={value!r}" for name, value in case.params.items() if usual.get(name) != value)


def _checked_where(settings: Settings) -> str:
    return "" if settings.device == "cpu" else "its answers were checked on the CPU"


def run(contests: Sequence[Contest], settings: Settings, folder: Path, screen: Console) -> tuple[list[Row], bool]:
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
        "targets": [" ".join(filter(None, (word, version_of(word)))) for word in settings.words],
        "vs": " ".join(filter(None, (settings.vs, version_of(settings.vs)))),
        "device": settings.device,
        "dtype": settings.dtype,
        **facts(pairs, settings.seed, torch.get_num_threads()),
        "made": 0,
    }


def main(contests: Sequence[Contest], settings: Settings, folder: Path, threads: int | None = None) -> bool:
    """Measure, write the CSV and the page, print the table; whether all was done, and something timed."""
    if threads:
        torch.set_num_threads(threads)
    rows, finished = run(contests, settings, folder, console(stderr=True))
    bench_lines.summary(rows, settings.vs)
    page = bench_page.write(folder)
    console().print(f"csv: {folder / 'bench.csv'}\npage: {page}", highlight=False, soft_wrap=True)
    if not finished:
        console(stderr=True).print(f"lossref: interrupted; what was measured is kept in {folder}", soft_wrap=True)
    return finished and any(row.verdict in TIMED for row in rows) and not any(row.note == OUT_OF_TIME for row in rows)
