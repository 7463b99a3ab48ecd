"""What is different between two runs: findings that are gone, new, or the same with more or fewer rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lossref.core.nouns import Finding, Verdict
from lossref.run.findings import findings, words

Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Difference:
    """Findings of the second run that the first has not, of the first that the second has not, and of both."""

    new: tuple[Finding, ...]
    gone: tuple[Finding, ...]
    changed: tuple[tuple[Finding, Finding], ...]
    same: tuple[Finding, ...]


def difference(before: Sequence[Verdict], after: Sequence[Verdict]) -> Difference:
    """By the ids of the findings, which do not depend on numbers."""
    old, new = ({one.id: one for one in findings(verdicts)} for verdicts in (before, after))
    both = [(old[name], new[name]) for name in new if name in old]
    return Difference(
        tuple(one for name, one in new.items() if name not in old),
        tuple(one for name, one in old.items() if name not in new),
        tuple(pair for pair in both if _rows(pair[0]) != _rows(pair[1])),
        tuple(pair[1] for pair in both if _rows(pair[0]) == _rows(pair[1])),
    )


def _rows(one: Finding) -> set[Row]:
    return {(row.spec, row.check, row.dtype, row.device) for row in one.rows}


def told(found: Difference) -> Iterator[str]:
    """A line for each finding that is not the same, then how many are."""
    for sign, word, group in (("+", "new", found.new), ("-", "gone", found.gone)):
        for one in group:
            yield f"{sign} {word:7} {one.id}  {one.kind}: {one.sentence} ({words.accounts(one)})"
    for before, after in found.changed:
        more, fewer = len(_rows(after) - _rows(before)), len(_rows(before) - _rows(after))
        pairs = ((more, "more"), (fewer, "fewer"))
        change = ", ".join(f"{words.count(number, 'row')} {word}" for number, word in pairs if number)
        yield f"~ changed {after.id}  {after.kind}: {after.sentence} ({change})"
    counts = (len(found.new), len(found.gone), len(found.changed), len(found.same))
    yield "{} new, {} gone, {} changed, {} the same".format(*counts)
