"""Which of two functions is faster: interleaved pairs, a bootstrap interval of the ratio, a verdict.

A machine that slows down does so for both, if they take turns quickly enough: the order A B B A
cancels every drift that is linear over the four. Each round gives one logarithm of a ratio. Which of
the two begins a round is drawn, so that no beat of the machine (a scheduler's, say) favours one.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from lossref.core.nouns import Array

Work = Callable[[], object]
Clock = Callable[[Work, int], float]

LEAST = 8  # rounds: the range of eight ratios holds their median with 99 %
LASTS = 2e-3  # seconds that one reading takes at least
CALM, QUICK = 1.25, 1.5  # readings further from each other, or from the quickest, tell of the machine
WARM_UP = 2
RESAMPLES = 2000
LEVEL = 0.99
MARGIN, ROUGH = 1.05, 1.25  # a difference has to be larger than this: on a calm machine, on a busy one


class Rounds(NamedTuple):
    """Seconds for one call, (rounds, 2): two readings of each function in each round."""

    first: Array
    second: Array


class Interval(NamedTuple):
    """Time of the first function over that of the second, and where the true ratio lies; NaN: not known.

    A ratio within `margin` of 1 is not called a difference.
    """

    ratio: float
    low: float
    high: float
    margin: float = MARGIN


class Spread(NamedTuple):
    """Median and the middle 60 %."""

    median: float
    q20: float
    q80: float


def wall(work: Work, repeats: int) -> float:
    """Seconds that so many calls take, by the clock on the wall."""
    begin = time.perf_counter_ns()
    for _ in range(repeats):
        work()
    return (time.perf_counter_ns() - begin) * 1e-9


def on_cuda(work: Work, repeats: int) -> float:
    """Seconds between two events on the device; launching is part of it, waiting for the host is not."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(repeats):
        work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) * 1e-3


def interleaved(first: Work, second: Work, box: float, longest: float, clock: Clock = wall, seed: int = 0) -> Rounds:
    """Rounds A B B A or B A A B for `box` seconds; up to `longest` seconds until eight of them are calm."""
    rng, works = np.random.default_rng(seed), (first, second)
    with _no_collection():
        repeats = _repeats(works, clock)
        begin, kept = time.perf_counter(), list[tuple[list[float], list[float]]]()
        while not kept or _goes_on(time.perf_counter() - begin, box, longest, kept):
            readings: tuple[list[float], list[float]] = ([], [])
            begins = int(rng.integers(2))
            for turn in (begins, 1 - begins, 1 - begins, begins):
                readings[turn].append(clock(works[turn], repeats[turn]) / repeats[turn])
            kept.append(readings)
    return _rounds(kept)


def _rounds(kept: list[tuple[list[float], list[float]]]) -> Rounds:
    seconds = np.array(kept)
    return Rounds(seconds[:, 0], seconds[:, 1])


def _goes_on(passed: float, box: float, longest: float, kept: list[tuple[list[float], list[float]]]) -> bool:
    return passed < box or (passed < longest and _calm(_rounds(kept)).sum() < LEAST)


def _repeats(works: tuple[Work, Work], clock: Clock) -> list[int]:
    """How many calls a reading of each needs, after a warm-up; the same for both, if they are about as fast.

    The quickest of a few readings decides: a reading that was interrupted looks long enough.
    """
    found = []
    for work in works:
        for _ in range(WARM_UP):
            work()
        repeats = 1
        while (took := _quickest(work, repeats, clock)) < LASTS:
            repeats = max(repeats + 1, math.ceil(1.2 * repeats * LASTS / max(took, LASTS / 100)))
        found.append(repeats)
    return [max(found)] * 2 if max(found) <= 2 * min(found) else found


def _quickest(work: Work, repeats: int, clock: Clock) -> float:
    """The shortest of five readings, or of fewer where they are long."""
    took = clock(work, repeats)
    for _ in range(4 if took < 10 * LASTS else 0):
        took = min(took, clock(work, repeats))
    return took


@contextmanager
def _no_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _calm(rounds: Rounds) -> Array:
    """Which rounds were not disturbed: of each function, both readings are alike and not far from its quickest."""
    alike = [readings.max(axis=1) <= CALM * readings.min(axis=1) for readings in rounds]
    quick = [readings.max(axis=1) <= QUICK * readings.min() for readings in rounds]
    return np.asarray(np.all([*alike, *quick], axis=0))


def settled(rounds: Rounds) -> Rounds:
    """The calm rounds; all of them, if fewer than eight are calm."""
    calm = _calm(rounds)
    return Rounds(rounds.first[calm], rounds.second[calm]) if calm.sum() >= LEAST else rounds


def spread(readings: Array) -> Spread:
    """Median and quantiles of all readings of one function."""
    return Spread(*(float(x) for x in np.quantile(readings, [0.5, 0.2, 0.8])))


def interval(rounds: Rounds, seed: int = 0) -> Interval:
    """Median ratio first : second of settled rounds, with its bootstrap interval at 99 %."""
    logs = np.log(rounds.first).mean(axis=1) - np.log(rounds.second).mean(axis=1)
    ratio = float(np.exp(np.median(logs)))
    if len(logs) < LEAST:
        return Interval(ratio, math.nan, math.nan)
    margin = MARGIN if _calm(rounds).sum() >= LEAST else ROUGH
    chosen = np.random.default_rng(seed).integers(len(logs), size=(RESAMPLES, len(logs)))
    tail = (1 - LEVEL) / 2
    low, high = np.exp(np.quantile(np.median(logs[chosen], axis=1), [tail, 1 - tail]))
    return Interval(ratio, float(low), float(high), margin)


def verdict(found: Interval) -> str:
    """faster or slower: the whole interval is beyond the margin; same: it is within 5 %; else unsure."""
    if found.high < 1 / found.margin:
        return "faster"
    if found.low > found.margin:
        return "slower"
    return "same" if found.low >= 1 / MARGIN and found.high <= MARGIN else "unsure"
