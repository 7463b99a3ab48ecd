"""Interleaved pairs: two functions take turns, and the clock is read around each.

A machine that slows down does so for both, if they take turns quickly enough: the order A B B A
cancels every drift that is linear over the four. Which of the two begins a round is drawn, so that no
beat of the machine (a scheduler's, say) favours one.
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

from .messages import Array

Work = Callable[[], object]
Clock = Callable[[Work, int], float]

LEAST = 8  # rounds: the range of eight ratios holds their median with 99 %
LASTS = 2e-3  # seconds that one reading takes at least
CALM, QUICK = 1.25, 1.5  # readings further from each other, or from the quickest, tell of the machine
WARM_UP = 2
_now, _passed = time.perf_counter_ns, time.perf_counter  # bound before a target can patch them


class Rounds(NamedTuple):
    """Seconds for one call, (rounds, 2): two readings of each function in each round."""

    first: Array
    second: Array


def wall(work: Work, repeats: int) -> float:
    """Seconds that so many calls take, by the clock on the wall."""
    begin = _now()
    for _ in range(repeats):
        work()
    return (_now() - begin) * 1e-9


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
        begin, kept = _passed(), list[tuple[list[float], list[float]]]()
        while not kept or _goes_on(_passed() - begin, box, longest, kept):
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
    return passed < box or (passed < longest and calm(_rounds(kept)).sum() < LEAST)


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


def calm(rounds: Rounds) -> Array:
    """Which rounds were not disturbed: of each function, both readings are alike and not far from its quickest."""
    alike = [readings.max(axis=1) <= CALM * readings.min(axis=1) for readings in rounds]
    quick = [readings.max(axis=1) <= QUICK * readings.min() for readings in rounds]
    return np.asarray(np.all([*alike, *quick], axis=0))
