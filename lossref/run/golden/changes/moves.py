"""How far apart two records of one case are: number by number, in units in the last place, relative, and in budgets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lossref.core.nouns import Array
from lossref.run.golden.files.packing import DTYPES, Tensors, budgets, wide

ANSWERS = ("value/", "gradient/", "norm/")
JUDGED = ("float64", "float32")  # the dtypes of which it is said how many budgets a difference is


@dataclass(frozen=True)
class Move:
    """How far one array of an answer moved.

    name:      "value/ciou", "gradient/box1"
    at:        where it moved farthest, old and new there; `shape` instead, in words, where the shapes differ
    ulp:       numbers of float64 between the two
    relative:  |new - old| / max(|old|, |new|)
    moved, of: how many of how many numbers differ
    budgets:   the largest difference over the old budget, of each dtype of JUDGED
    """

    name: str
    at: tuple[int, ...] = ()
    old: float = 0.0
    new: float = 0.0
    ulp: float = 0.0
    relative: float = 0.0
    moved: int = 0
    of: int = 0
    budgets: tuple[float, ...] = ()
    shape: str = ""


def moves(old: Tensors, new: Tensors) -> tuple[Move, ...]:
    """Every array of the answer that is not the same in both, values first."""
    return tuple(_moves(old, new))


def _moves(old: Tensors, new: Tensors) -> Iterator[Move]:
    for kind in ANSWERS:
        for name in sorted(name for name in {*old, *new} if name.startswith(kind)):
            if name not in old or name not in new:
                yield Move(name, shape="it is new" if name in new else "it is gone")
            elif old[name].shape != new[name].shape:
                yield Move(name, shape=f"its shape was {old[name].shape}, and is {new[name].shape}")
            elif not _same(wide(old[name]), wide(new[name])):
                yield _move(name, wide(old[name]), wide(new[name]), old.get(f"budget/{name}"))


def _same(one: Array, other: Array) -> bool:
    return one.tobytes() == other.tobytes()


def _move(name: str, old: Array, new: Array, codes: Array | None) -> Move:
    ratio = relative(old, new)
    where = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    at = tuple(int(i) for i in where)
    return Move(
        *(name, at, float(old[where]), float(new[where])),
        ulp=float(steps(float(old[where]), float(new[where]))),
        relative=float(ratio[where]),
        moved=int(np.count_nonzero(_ordered(old) != _ordered(new))),
        of=old.size,
        budgets=() if codes is None else _in_budgets(np.abs(new - old), budgets(codes)),
    )


def relative(old: Array, new: Array) -> Array:
    """|new - old| / max(|old|, |new|), and 0 where both are 0."""
    size = np.maximum(np.abs(old), np.abs(new))
    with np.errstate(all="ignore"):
        return np.asarray(np.where(size > 0, np.abs(new - old) / size, 0.0))


def _in_budgets(error: Array, rooms: Array) -> tuple[float, ...]:
    with np.errstate(all="ignore"):
        ratios = [error / rooms[DTYPES.index(dtype)] for dtype in JUDGED]
    return tuple(float(ratio.max(initial=0.0)) for ratio in ratios)


def steps(old: float, new: float) -> int:
    """How many numbers of float64 one is away from the other."""
    return abs(int(_ordered(np.float64(new))) - int(_ordered(np.float64(old))))


def _ordered(numbers: Array | np.float64) -> Array:
    """Integers in the order of the numbers, one apart where no number of float64 lies between; -0 is 0."""
    bits = np.asarray(numbers, dtype=np.float64).view(np.int64)
    return np.where(bits < 0, np.int64(-(2**63)) - bits, bits)
