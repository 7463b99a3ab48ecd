"""Which outputs of a formula depend on which of its steps: on a tape that notes what every number was made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import FrameType
from typing import Any

from lossref.run.causes.explain.formula.plain import Constants, Floats, Place, Plain, flat

GROUPED = ("sum", "logsumexp")
Terms = Mapping[str, frozenset[Place]]


class Noted(Floats):
    """Plain floats that note at which place each was made, and of which others, also where the gradient is cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[Place, Constants] = {}
        self.origin: dict[int, Place] = {}
        self.parts: dict[Place, int] = {}
        self.parents: dict[int, tuple[int, ...]] = {}

    def step(self, name: str, frame: FrameType, *args: Any, **kwargs: Any) -> Any:
        """The usual operation."""
        args = (tuple(args[0]),) if name in GROUPED else args
        place, begin = (frame.f_code, frame.f_lasti, name), len(self.nodes)
        self.seen.setdefault(place, tuple(map(_constant, args)))
        found = super().step(name, frame, *args, **kwargs)
        if isinstance(found, Plain) and found.order >= begin:
            operands = args[0] if name in GROUPED else args
            self.parts[place] = len(operands)
            self.origin[found.order] = place
            self.parents[found.order] = tuple(x.order for x in operands if isinstance(x, Plain))
        return found

    def behind(self, outputs: Iterable[Plain]) -> frozenset[Place]:
        """The places at which numbers were made that these depend on."""
        waiting, known = [x.order for x in outputs], set[int]()
        while waiting:
            order = waiting.pop()
            if order not in known:
                known.add(order)
                waiting += self.parents.get(order, ())
        return frozenset(self.origin[order] for order in known if order in self.origin)

    def once(self) -> dict[Place, float]:
        """The numbers of places that are passed a single time: what a whole loss is made of."""
        found, twice = dict[Place, float](), set[Place]()
        for order, place in self.origin.items():
            twice |= {place} & found.keys()
            found[place] = self.nodes[order].value
        return {place: value for place, value in found.items() if place not in twice}


def _constant(x: Any) -> float | None:
    """The operand if it is a Python number."""
    return float(x) if isinstance(x, (int, float)) else None


def by_term(m: Noted, terms: Sequence[str], output: Any) -> Terms:
    """For every term of a loss the places that it depends on; of one that has no terms apart, all of them."""
    parts = output if len(terms) > 1 and len(output) == len(terms) else [output] * len(terms)
    numbers = ([x for x in flat(part) if isinstance(x, Plain)] for part in parts)
    return {term: m.behind(them) for term, them in zip(terms, numbers, strict=True)}
