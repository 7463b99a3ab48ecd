"""What is remembered from one failure of a target to the next: claims that held, and what may be spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Array
from lossref.run.causes.explain.quantity import Quantity, Told

OPERATIONS = 800_000  # of references that are done otherwise, for all failures of one target on one composite
STEPS = 600_000  # and numbers given to them, of changed formulas, for all failures of one target on one composite
Whole = Callable[[Quantity, Told], Array | None]


@dataclass
class Purse:
    """Steps that may still be carried out: counted, so that a busy machine changes no sentence."""

    left: float

    def spend(self, steps: int) -> bool:
        """Take so many; whether there were enough."""
        self.left -= steps
        return self.left >= 0


FULL = Purse(float("inf"))


class Claim(NamedTuple):
    """What a claim gives, the cases that it is able to speak of, and whether it held of the whole loss."""

    gives: Whole
    able: Callable[[Told], bool]
    whole: bool


@dataclass
class Memory:
    """Of one target: claims that held, by sentence; and its purses."""

    claims: dict[str, Claim] = field(default_factory=dict)
    purse: Purse = field(default_factory=lambda: Purse(STEPS))
    operations: Purse = field(default_factory=lambda: Purse(OPERATIONS))


def memory_of(known: Attempts) -> Memory:
    """What is remembered beside these attempts, and goes with them: what held of them holds on to them."""
    if not isinstance(known.beside, Memory):
        known.beside = Memory()
    return known.beside
