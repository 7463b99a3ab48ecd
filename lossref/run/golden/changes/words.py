"""A change in words: what moved and how far, who is nearer to the truth, and what it does to the reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lossref.run.golden.changes.comparing import (
    BUDGETS,
    GONE,
    HUGE,
    KINDS,
    NEW,
    ORDER,
    QUESTION,
    WORDS,
    Change,
    Effect,
    Off,
)
from lossref.run.golden.changes.moves import JUDGED, Move

DISAGREE = "oracle and reference disagree about the new answer"


def difference(change: Change) -> str:
    """What is different, in one line."""
    if change.kind in (NEW, GONE, BUDGETS, ORDER):
        return KINDS[change.kind]
    said = [*change.fields, *map(moved, change.moves)]
    return f"{change.kind}: {'; '.join(said)}" if said else KINDS[change.kind]


def moved(move: Move) -> str:
    """How far one array moved, in one line."""
    name = move.name.replace("gradient/", "d/d").removeprefix("value/")
    if move.shape:
        return f"{name}: {move.shape}"
    return f"{name} {number(move.relative)} relative, {number(move.ulp)} ULP ({move.moved} of {move.of} numbers)"


def budgets_of(sizes: Iterable[float]) -> list[str]:
    """A difference in units of the old budgets, dtype by dtype."""
    return [f"{number(x)} {dtype} budgets" for x, dtype in zip(sizes, JUDGED, strict=False)]


def number(x: float) -> str:
    """A number in three digits."""
    return "infinite" if abs(x) >= HUGE else f"{x:.3g}"


def nearer(change: Change) -> str:
    """Which of the two answers is nearer to the certified truth of its question."""
    if change.kind in (WORDS, BUDGETS, ORDER):
        return "the answer is the same"
    old, new = change.old, change.new
    if change.kind == GONE:
        return f"the answer that goes {_held(old)}" if old else "nobody knows the certified truth"
    if new is None:
        return "there is no certified truth at this size: the answer is that of the reference in float64"
    if change.kind == NEW:
        return f"the new answer {_held(new)}"
    if change.kind == QUESTION:
        return f"each answers its own question: the old answer {_held(old)}, the new one {_held(new)}"
    if old is None or old.relative == new.relative:
        return "both are as near"
    who = "the new one" if new.relative < old.relative else "the old one"
    return f"{who}: the old answer {_held(old)}, the new one {_held(new)}"


def _held(off: Off | None) -> str:
    if off is None:
        return "has no certified truth beside it"
    if off.ulp == 0:
        return "is the certified truth"
    return f"is {number(off.ulp)} ULP off ({number(off.relative)} relative)"


def effects(change: Change) -> Iterator[str]:
    """What the change does to the reference, dtype by dtype."""
    for one in change.reference:
        yield f"{one.dtype} {_ratio(one.old)} -> {_ratio(one.new)}{_verdict(one)}"


def _ratio(x: float | None) -> str:
    return "none" if x is None else number(x)


def _verdict(one: Effect) -> str:
    return " DISAGREES" if one.new is not None and one.new > 1 else ""
