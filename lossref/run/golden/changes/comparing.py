"""What would change in the record of a spec: case by case, with what a person needs to judge it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lossref.core.nouns import Spec
from lossref.hosts.probe import itself
from lossref.oracle.answers import floats, outcome_of
from lossref.run.golden.changes.moves import JUDGED, Move, moves
from lossref.run.golden.files.packing import Tensors
from lossref.run.golden.files.volume import Entry, Stored, Volume
from lossref.run.golden.judging import evidence, question

NEW, GONE, QUESTION, ANSWER, BUDGETS, WORDS = "new", "gone", "question", "answer", "budgets", "words"
ORDER = "order"
KINDS = {
    NEW: "a case that was not recorded before",
    GONE: "a case that is no longer recorded",
    QUESTION: "other inputs or parameters under the same name",
    ANSWER: "the same question, another answer",
    BUDGETS: "the same answer, other budgets",
    WORDS: "the same question and answer, other words about it",
    ORDER: "the same cases in another order",
}
HUGE = 1e300  # what an infinite ratio is written down as
WHOLE = "all cases"  # the id of a change of order


@dataclass(frozen=True)
class Effect:
    """What a change does to the reference in one dtype: its largest error over budget before and after."""

    dtype: str
    old: float | None
    new: float | None


@dataclass(frozen=True)
class Off:
    """How far an answer is from the certified truth of its question: relative, and in numbers of float64."""

    relative: float
    ulp: float


@dataclass(frozen=True)
class Change:
    """One case of which the record would change.

    kind:      one of KINDS
    fields:    what of its entry changes, in words: "eps: 1e-07 -> 2e-07"
    moves:     how far the arrays of the answer move
    old, new:  how far old and new answer are from what the oracle now gives for their questions; None: nobody knows
    reference: what the change does to the reference, a row for each dtype
    decided:   "accepted" or "rejected"; empty: not yet
    """

    spec: str
    id: str
    kind: str
    why: str
    origin: str
    flags: tuple[str, ...]
    fields: tuple[str, ...] = ()
    moves: tuple[Move, ...] = ()
    old: Off | None = None
    new: Off | None = None
    reference: tuple[Effect, ...] = ()
    decided: str = ""

    @property
    def disagrees(self) -> bool:
        """Whether oracle and reference disagree about the new answer."""
        return any(one.new is not None and one.new > 1 for one in self.reference)


def weightiest_first(found: Iterable[Change]) -> list[Change]:
    """Spec by spec, what disagrees first, then what moved farthest in budgets of the narrowest dtype that is judged."""
    listed = list(found)
    specs = list(dict.fromkeys(one.spec for one in listed))
    return sorted(listed, key=lambda one: (specs.index(one.spec), not one.disagrees, -_weight(one)))


def _weight(change: Change) -> float:
    return max((move.budgets[-1] if move.budgets else HUGE for move in change.moves), default=0.0)


def changes(name: str, spec: Spec | None, old: Volume | None, new: Volume | None) -> tuple[Change, ...]:
    """Every case that would change, in the order of the new record; no spec: it is gone altogether."""
    before = {one.entry.id: one for one in old.cases} if old else {}
    after = {one.entry.id: one for one in new.cases} if new else {}
    found = [
        _change(name, spec, before.get(case), after.get(case))
        for case in dict.fromkeys([*after, *before])
        if differs(before.get(case), after.get(case))
    ]
    if not found and list(before) != list(after):
        found.append(Change(name, WHOLE, ORDER, "", "", ()))
    return tuple(found)


def differs(old: Stored | None, new: Stored | None) -> bool:
    """Whether anything but the version that wrote it is not the same."""
    return old is None or new is None or bool(_kind(old.entry, new.entry))


def _kind(old: Entry, new: Entry) -> str:
    if old.digests["inputs"] != new.digests["inputs"] or dict(old.params) != dict(new.params):
        return QUESTION
    if old.digests["answers"] != new.digests["answers"] or dict(old.values) != dict(new.values):
        return ANSWER
    if old.digests["budgets"] != new.digests["budgets"]:
        return BUDGETS
    return WORDS if any(_words(old, new)) else ""


def _change(name: str, spec: Spec | None, old: Stored | None, new: Stored | None) -> Change:
    shown = new or old
    assert shown is not None
    entry = shown.entry
    kind = (_kind(old.entry, new.entry) if new else GONE) if old else NEW
    return Change(
        *(name, entry.id, kind, entry.why, entry.origin, entry.flags),
        fields=tuple(_fields(old.entry, new.entry)) if old and new else (),
        moves=moves(old.tensors, new.tensors) if old and new else (),
        old=_off(spec, old),
        new=_off(spec, new),
        reference=tuple(_effects(spec, old, new)),
    )


# Words ----------------------------------------------------------------------------------------------------


def _fields(old: Entry, new: Entry) -> Iterator[str]:
    """What of an entry is not the same, in words."""
    for name in sorted({*old.params, *new.params}):
        if old.params.get(name) != new.params.get(name):
            yield f"{name}: {_shown(old.params, name)} -> {_shown(new.params, name)}"
    if old.digests["inputs"] != new.digests["inputs"]:
        yield "other inputs"
    yield from _words(old, new)


def _words(old: Entry, new: Entry) -> Iterator[str]:
    gone, come = sorted({*old.flags} - {*new.flags}), sorted({*new.flags} - {*old.flags})
    yield from (f"flag {flag} goes" for flag in gone)
    yield from (f"flag {flag} comes" for flag in come)
    for name in ("why", "origin", "radius", "ties", "drawn"):
        if getattr(old, name) != getattr(new, name):
            yield f"{name}: {getattr(old, name)!r} -> {getattr(new, name)!r}"


def _shown(params: Mapping[str, Any], name: str) -> str:
    return repr(params[name]) if name in params else "none"


# Truth and reference --------------------------------------------------------------------------------------


def _off(spec: Spec | None, stored: Stored | None) -> Off | None:
    """How far the recorded answer is from what the oracle gives for the recorded question now."""
    if spec is None or stored is None or not stored.entry.is_certified:
        return None
    truth = outcome_of(spec, question(spec, stored))
    if isinstance(truth, ArithmeticError):
        return None
    parts = (("value", truth.value), ("gradient", truth.gradient))
    now = {f"{kind}/{name}": floats(balls) for kind, arrays in parts for name, balls in arrays.items()}
    return _farthest(moves(_answers(stored.tensors), now))


def _answers(tensors: Tensors) -> Tensors:
    return {name: array for name, array in tensors.items() if name.startswith(("value/", "gradient/"))}


def _farthest(found: tuple[Move, ...]) -> Off:
    if any(one.shape for one in found):
        return Off(HUGE, HUGE)
    return Off(max([one.relative for one in found], default=0.0), float(max([one.ulp for one in found], default=0)))


def _effects(spec: Spec | None, old: Stored | None, new: Stored | None) -> Iterator[Effect]:
    if spec is None:
        return
    for dtype in JUDGED:
        yield Effect(dtype, _error(spec, old, dtype), _error(spec, new, dtype))


def _error(spec: Spec, stored: Stored | None, dtype: str) -> float | None:
    """The largest error of the reference over the recorded budget."""
    if stored is None:
        return None
    return min(evidence(spec, itself(spec), stored, question(spec, stored), dtype).worst, HUGE)
