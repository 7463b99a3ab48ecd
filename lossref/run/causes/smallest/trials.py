"""What checks find on the cases by which failures are made small: each is made once, and each question asked once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from lossref.checks.evidence import Evidence
from lossref.checks.table import Check, examine
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.probe import itself

Key = tuple[str, int, Case, str]


@dataclass
class Trials:
    """Of one spec. Failures of several kinds begin at one case, and go the same way for a while."""

    spec: Spec
    own: Target = field(init=False)
    _found: dict[Key, tuple[Target, Evidence]] = field(default_factory=dict)
    _made: dict[Hashable, Case | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.own = itself(self.spec)

    def examined(self, one: Check, target: Target, case: Case, dtype: str) -> Evidence:
        """What a check finds on a case; asked once."""
        key = one.name, id(target), case, dtype  # the target is kept, so that its id stays its own
        if key not in self._found:
            self._found[key] = target, examine(one, self.spec, target, case, dtype)
        return self._found[key][1]

    def made(self, key: Hashable, make: Callable[[], Case | None]) -> Case | None:
        """What `make` gives, one object for each key, so that what is found on it is found again."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]
