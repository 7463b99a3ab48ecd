"""Where drawn integers come from: a NumPy generator, or Hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


class Pick(Protocol):
    """Integers in [low, high]; low and high are numbers or arrays of `size` rows."""

    def __call__(self, low: Any, high: Any, size: int) -> Array:
        """`size` integers."""
        ...


Draw = Callable[[Pick, int, Array | None, Mapping[str, Any]], Array]


def rng_pick(rng: np.random.Generator) -> Pick:
    """`pick` from a NumPy generator."""

    def pick(low: Any, high: Any, size: int) -> Array:
        return np.asarray(rng.integers(low, np.asarray(high) + 1, size=size))

    return pick


def hypothesis_pick(draw: Callable[[Any], int]) -> Pick:
    """`pick` from Hypothesis' draw: small numbers first, so that failures shrink."""
    from hypothesis import strategies as st

    def pick(low: Any, high: Any, size: int) -> Array:
        lows, highs = np.broadcast_to(low, size), np.broadcast_to(high, size)
        return np.array([draw(st.integers(int(a), int(b))) for a, b in zip(lows, highs, strict=True)])

    return pick


def spread(rng: np.random.Generator, families: int, rows: int) -> Array:
    """A family number for each row: as even as it gets, in random order."""
    order = (np.arange(rows) + rng.integers(families)) % families
    return rng.permutation(order)
