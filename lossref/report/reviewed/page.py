"""The page of a review: one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from lossref.report.frame import filled
from lossref.report.reviewed.cards import Card, cards
from lossref.run.about import facts
from lossref.run.atomic import write_text
from lossref.run.findings.words import count
from lossref.run.golden.changes.comparing import Change, weightiest_first
from lossref.run.golden.changes.pending import Pending
from lossref.run.golden.changes.words import number

MOST = 400  # cases on a page


def write(folder: Path, pending: Pending, path: Path) -> Path:
    """Write the page of what is pending in a folder; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    these = sorted(weightiest_first(pending.changes), key=lambda one: bool(one.decided))
    shown = list(cards(folder, pending, these[:MOST]))
    named = dict.fromkeys(one.change.spec for one in shown)
    write_text(
        path,
        filled(
            "review.html",
            {"svg": Markup, "short": number, "plural": count},
            run={**facts(len(these), 0, 1), "seed": None},
            folder=str(folder),
            counts=_counts(pending.changes),
            groups={name: [one for one in shown if one.change.spec == name] for name in named},
            left_out=max(len(these) - MOST, 0),
            amiss=sum(one.disagrees for one in these),
            largest=_largest,
        ),
    )
    return path


def _counts(changes: Sequence[Change]) -> dict[str, int]:
    words = [one.decided or ("disagrees" if one.disagrees else "open") for one in changes]
    return {word: words.count(word) for word in ("disagrees", "open", "accepted", "rejected") if word in words}


def _largest(mine: Sequence[Card], kind: str) -> float:
    moves = [move for one in mine for move in one.change.moves]
    return max((move.relative for move in moves if move.name.startswith(kind)), default=0.0)
