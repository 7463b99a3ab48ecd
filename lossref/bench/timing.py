"""Which of two functions is faster: a bootstrap interval of the ratio, and a verdict, from what the clock read.

Each round of the clock (lossref/hosts/worker/clock.py) gives one logarithm of a ratio.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lossref.core.nouns import Array
from lossref.hosts.worker.clock import LEAST, Rounds, calm

RESAMPLES = 2000
LEVEL = 0.99
MARGIN, ROUGH = 1.05, 1.25  # a difference has to be larger than this: on a calm machine, on a busy one


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


def settled(rounds: Rounds) -> Rounds:
    """The calm rounds; all of them, if fewer than eight are calm."""
    kept = calm(rounds)
    return Rounds(rounds.first[kept], rounds.second[kept]) if kept.sum() >= LEAST else rounds


def spread(readings: Array) -> Spread:
    """Median and quantiles of all readings of one function."""
    return Spread(*(float(x) for x in np.quantile(readings, [0.5, 0.2, 0.8])))


def interval(rounds: Rounds, seed: int = 0) -> Interval:
    """Median ratio first : second of settled rounds, with its bootstrap interval at 99 %."""
    logs = np.log(rounds.first).mean(axis=1) - np.log(rounds.second).mean(axis=1)
    ratio = float(np.exp(np.median(logs)))
    if len(logs) < LEAST:
        return Interval(ratio, math.nan, math.nan)
    margin = MARGIN if calm(rounds).sum() >= LEAST else ROUGH
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
