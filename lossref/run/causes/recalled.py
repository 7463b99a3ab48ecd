"""What was concluded from the numbers of a target, kept on disk for the next run: from the same follows the same.

The name of an entry is the digest of all that a search looks at: the cases, what the target has given on them just now,
bit for bit, what was concluded before, lossref's code and what torch computes with. So nothing is believed of a target
because it was true yesterday: it is asked as ever, and only what its replies lead to is not worked out once more. Where
a search asked it about more cases, the entry says which, with the digests of the replies, and they are asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from lossref.checks.attempts import Attempt, Attempts, Question, arithmetic
from lossref.checks.evidence import Problem
from lossref.core.axes import frozen
from lossref.core.nouns import Case, Spec, Target
from lossref.oracle.cache import shelf
from lossref.oracle.kept import digest_of, keep, kept, once, packed, unpacked
from lossref.run.causes.explain.narrow import moved, moves

ROOMS = ("checks", "core", "hosts", "losses", "oracle", "run", "targets")
MOST_NUMBERS = 100_000  # of a case that an entry holds
LIKENESS = ("fixed", "accepts", "dtypes", "gradients", "device", "slack", "known")  # what searches read of a target
T = TypeVar("T")
Limit = Callable[[], AbstractContextManager[None]]
Shown = Sequence[tuple[Case, Attempt | None]]


@dataclass
class Recalled:
    """Of one target on one spec.

    `_row` stands for the sentences so far, each of which knows those before; it is None once a search for one came to
    no end. `_left_out` are the searches that were not made.
    """

    spec: Spec
    known: Attempts
    _row: bytes | None = b""
    _left_out: list[Callable[[], object]] = field(default_factory=list)

    def at_once(self, target: Target, about: Sequence[Any], search: Callable[[], T]) -> T:
        """What `search` gives, in plain data, or gave before: it looks at nothing but what it is `about`."""
        found: T = frozen(once(self._place(_digest(_like(target), about)), search))
        return found

    def in_a_row(
        self, target: Target, about: Sequence[Any], shown: Shown, search: Callable[[], str], limit: Limit
    ) -> str:
        """The sentence of a search that goes on from those before, and may ask about the cases when they move a little.

        Nothing is said where the `limit` of a search ends it.
        """
        digest = _digest(self._row, _like(target), about, shown)
        place = None if self._row is None else self._place(digest)
        earlier = kept(place)
        if earlier is not None and self._replies_again(target, shown, earlier[1], limit):
            self._row = digest
            self._left_out.append(search)
            return str(earlier[0])
        self.catch_up(limit)
        found, before, self._row = "", self._row, None
        with limit(), _heard(self.known) as questions:
            found = search()
            self._row = before if before is None else digest
        if self._row is not None:
            self._keep(place, found, target, shown, questions)
        return found

    def catch_up(self, limit: Limit) -> None:
        """Make the searches that were left out: what comes next wants to know all that they found."""
        left, self._left_out = self._left_out, []
        for search in left:
            before, self._row = self._row, None
            with limit():
                search()
                self._row = before

    def smallest(
        self,
        target: Target,
        about: Sequence[Any],
        case: Case,
        problem_on: Callable[[Case], Problem | None],
        search: Callable[[], Case],
    ) -> Case:
        """The smallest case that a search reached from this one, or reached before, if it fails by the same numbers."""
        place = self._place(_digest("smallest", _like(target), about, case))
        earlier = kept(place)
        if earlier is not None:
            before = _unpacked(case, earlier[0])
            if before is case or _digest(problem_on(before)).hex() == earlier[1]:
                return before
        found = search()
        if found is case:
            keep(place, [None, ""])
        elif sum(array.size for array in found.inputs.values()) <= MOST_NUMBERS:
            keep(place, [_packed(found), _digest(problem_on(found)).hex()])
        return found

    def _place(self, digest: bytes) -> Path | None:
        return shelf(self.spec, digest, ROOMS)

    def _keep(
        self, place: Path | None, found: str, target: Target, shown: Shown, questions: Sequence[Question]
    ) -> None:
        told = {case for case, _ in shown}
        put = ((case, dtype) for who, case, _, dtype in questions if who is target and case not in told)
        asked = tuple(dict.fromkeys(put))
        named = {case.id for case, _ in asked}
        by_move = {
            digest_of(one): [number, step, turn]
            for number, (base, _) in enumerate(shown)
            for step, turn, one in (moves(self.spec, base) if base.id in named else ())
        }
        found_again = [(by_move.get(digest_of(case)), case, dtype) for case, dtype in asked]
        replies = [[*move, dtype, self._reply(target, case, dtype)] for move, case, dtype in found_again if move]
        if len(replies) == len(asked):  # else it asked about what an entry cannot name
            keep(place, [found, replies])

    def _replies_again(self, target: Target, shown: Shown, asked: Any, limit: Limit) -> bool:
        """Whether the target gives to the cases, moved a little, what it gave when the entry was made."""
        same = False
        with limit():
            same = all(
                self._reply(target, moved(self.spec, shown[number][0], step, turn), dtype) == reply
                for number, step, turn, dtype, reply in asked
            )
        return same

    def _reply(self, target: Target, case: Case, dtype: str) -> str:
        return _digest(self.known.of(target, case, dtype=dtype)).hex()


@contextmanager
def _heard(known: Attempts) -> Iterator[list[Question]]:
    """The questions that are put in the body, whether they had been put before or not."""
    heard = list[Question]()
    known.heard = heard
    try:
        yield heard
    finally:
        known.heard = None


def _digest(*parts: Any) -> bytes:
    return digest_of(arithmetic(), *parts)


def _like(target: Target) -> tuple[Any, ...]:
    return tuple(getattr(target, name) for name in LIKENESS)


def _packed(case: Case) -> dict[str, Any]:
    return {"inputs": packed(case.inputs), "id": case.id, "flags": case.flags, "why": case.why}


def _unpacked(case: Case, content: Any) -> Case:
    if content is None:
        return case
    inputs = unpacked(content["inputs"])
    return replace(case, inputs=inputs, id=content["id"], flags=tuple(content["flags"]), why=content["why"])
