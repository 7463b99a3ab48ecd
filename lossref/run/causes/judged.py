"""What is known of the rows of one job while their causes are looked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from lossref.checks.attempts import Attempts, Change
from lossref.checks.evidence import Evidence, Problem, wrong
from lossref.checks.table import Check, Failing, examine
from lossref.core.nouns import Case, Spec, Target, Verdict
from lossref.hosts.command import CannotAnswer
from lossref.hosts.endings import TargetEnded
from lossref.hosts.limits import limited
from lossref.run.causes.explain.quantity import Shown
from lossref.run.causes.recalled import Recalled
from lossref.run.causes.settings.compared import Compared
from lossref.run.causes.smallest.trials import Trials
from lossref.run.plan import Job

CHECK_SECONDS = {"quick": 40, "full": 400}  # of computing, for one check or one search
GAVE_UP = (TimeoutError, TargetEnded, CannotAnswer)
MOST_REPEATED = 3  # failing cases of a kind that are asked about once more
SAME_ERROR = 0.1  # relative: what sums in another order leave of an error that repeats itself


@contextmanager
def given_time(job: Job) -> Iterator[None]:
    """Around a search: after so long, or where the target ends its process, it is given up without a word."""
    with suppress(*GAVE_UP), limited(CHECK_SECONDS[job.tier]):
        yield


@dataclass(frozen=True)
class Judged:
    """One row as it came out: its verdict, the cases that it was given, and what failed, by kind.

    `instead` is the dtype in which it was judged, if the target cannot compute in that of the row. What is `known` of a
    case is what was found on it, by a check whose evidence is of that case alone.
    """

    one: Check
    verdict: Verdict
    cases: Sequence[Case]
    failing: tuple[Failing, ...]
    instead: str = ""
    known: Mapping[Case, Evidence] = field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """The dtype in which it was judged."""
        return self.instead or self.verdict.dtype


@dataclass
class Tracing:
    """The failing rows of one job, and what has been found out about them; `heard` of its target are kept replies."""

    job: Job
    spec: Spec
    target: Target
    known: Attempts
    heard: Target | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    smallest: dict[tuple[str, ...], Case] = field(default_factory=dict)
    claims: dict[tuple[str, ...], str] = field(default_factory=dict)
    _held: dict[Change, Target] = field(default_factory=dict)
    _found: dict[tuple[str, Change, Case, str], Evidence] = field(default_factory=dict)
    _compared: dict[Change, Compared] = field(default_factory=dict)
    _cases: dict[Change, list[Case]] = field(default_factory=dict)
    trials: Trials = field(init=False)
    recalled: Recalled = field(init=False)

    def __post_init__(self) -> None:
        self.trials = Trials(self.spec)
        self.recalled = Recalled(self.spec, self.known)

    @property
    def held(self) -> Target:
        """The target as one that implements the adopted settings; one object, so that it is asked everything once."""
        if not self.settings:
            return self.target
        if self.change not in self._held:
            self._held[self.change] = replace(self.target, fixed={**self.target.fixed, **self.settings})
        return self._held[self.change]

    def examined(self, one: Check, target: Target, case: Case, dtype: str) -> Evidence:
        """What a check finds on a case, of the target itself or as it is held; asked once, and not in the trials.

        A failure that does not repeat itself shows when the case that it was made small to is asked about anew.
        """
        key = one.name, () if target is self.target else self.change, case, dtype
        if key not in self._found:
            self._found[key] = examine(one, self.spec, target, case, dtype)
        return self._found[key]

    def shown(self, case: Case, dtype: str = "float64") -> Shown:
        """What the target, as it is held, gives on a case, and the truth."""
        return Shown(case, self.known.of(self.held, case, dtype=dtype), self.known.of(self.known.own, case))

    @property
    def compared(self) -> Compared:
        """The target beside the reference at the adopted settings; one object, so that it is compared once."""
        if self.change not in self._compared:
            self._compared[self.change] = Compared(self.spec, self.target, self.known, (), self.settings)
        return self._compared[self.change]

    def found_once(self, search: Callable[[], Iterator[Case]]) -> list[Case]:
        """The cases that a search gives at the adopted settings; it is made once."""
        if self.change not in self._cases:
            self._cases[self.change] = list(search())
        return self._cases[self.change]

    def problem(self, one: Check, target: Target, case: Case, dtype: str, kind: str) -> Problem | None:
        """What is wrong in this way with the reply to a case; a target may meanwhile end its process over it."""
        try:
            found = self.examined(one, target, case, dtype)
        except (TargetEnded, CannotAnswer) as error:
            found = wrong(str(error), kind=kind)
        return next((problem for problem in found.problems if problem.kind == kind), None)

    @property
    def change(self) -> Change:
        """The adopted settings as a change of a case."""
        return tuple(self.settings.items())


def repeats(tracing: Tracing, row: Judged, failing: Failing) -> bool:
    """Whether the first failing cases fail in this way again, by the same error: else there is no cause to look for."""
    again = failing.found[: 1 if tracing.spec.composite else MOST_REPEATED]
    return all(
        _alike(one, tracing.problem(row.one, tracing.held, case, row.dtype, failing.kind)) for case, one in again
    )


def _alike(one: Problem, other: Problem | None) -> bool:
    """Whether two answers to one question are wrong by about the same."""
    if other is None or "error" not in one.detail or "error" not in other.detail:
        return other is not None
    a, b = one.detail["error"], other.detail["error"]
    return a == b or not math.isfinite(a + b) or abs(a - b) <= SAME_ERROR * max(a, b)
