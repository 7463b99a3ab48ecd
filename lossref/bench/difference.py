"""What is different between two benchmarks: the same comparisons in two CSV files, beside each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lossref.bench.lines import ratio_text
from lossref.bench.rows import Row

KEY = ("spec", "target", "size", "mode", "device", "dtype")
CLOSE = 0.05  # a ratio within so much of another one is the same


class Difference(NamedTuple):
    """One comparison in both files: its row before and after."""

    before: Row
    after: Row

    @property
    def word(self) -> str:
        """Faster or slower where the intervals lie apart, and by more than 5 %; another word where one is not timed."""
        old, new = self.before, self.after
        if math.isnan(old.ratio) or math.isnan(new.ratio):
            return "the same" if old.verdict == new.verdict else f"{old.verdict} before, {new.verdict} now"
        if math.isnan(old.ci_low + old.ci_high + new.ci_low + new.ci_high):
            return "unsure"
        if new.ci_high < old.ci_low and new.ratio < old.ratio * (1 - CLOSE):
            return "faster"
        if new.ci_low > old.ci_high and new.ratio > old.ratio * (1 + CLOSE):
            return "slower"
        return "the same"


class Between(NamedTuple):
    """Comparisons of both files, and those that one of them alone has."""

    both: list[Difference]
    gone: list[Row]
    new: list[Row]

    @property
    def differs(self) -> bool:
        """Whether anything is faster or slower, or was timed in one of them alone."""
        return bool(self.gone or self.new) or any(one.word not in ("the same", "unsure") for one in self.both)


def difference(before: Sequence[Row], after: Sequence[Row]) -> Between:
    """Time against time, each over that of its baseline on the machine where it was measured."""
    old, new = ({_key(row): row for row in rows if row.is_comparison} for rows in (before, after))
    return Between(
        [Difference(old[key], new[key]) for key in old if key in new],
        [row for key, row in old.items() if key not in new],
        [row for key, row in new.items() if key not in old],
    )


def _key(row: Row) -> tuple[str, ...]:
    return tuple(str(getattr(row, name)) for name in KEY)


def told(found: Between) -> Iterator[str]:
    """A line for each comparison that is not the same, then how many are."""
    for one in found.both:
        if one.word not in ("the same", "unsure"):
            yield f"{_name(one.after)}  {_ratio(one.before)} -> {_ratio(one.after)}  {one.word}"
    for word, rows in (("gone", found.gone), ("new", found.new)):
        for row in rows:
            yield f"{_name(row)}  {_ratio(row)}  {word}"
    words = [one.word for one in found.both]
    apart = sum(word not in ("the same", "unsure", "faster", "slower") for word in words)
    counts = [words.count(word) for word in ("faster", "slower", "the same", "unsure")]
    yield "{} faster, {} slower, {} the same, {} unsure, {} timed in one of them alone".format(
        *counts, apart + len(found.gone) + len(found.new)
    )


def _name(row: Row) -> str:
    return f"{row.spec} of {row.target}, {row.size} {row.mode}"


def _ratio(row: Row) -> str:
    if math.isnan(row.ratio):
        return row.verdict
    inside = "" if math.isnan(row.ci_low) else f" ({ratio_text(row.ci_low)} to {ratio_text(row.ci_high)})"
    return f"{ratio_text(row.ratio)}{inside}"
