"""The first claim that has the target's numbers on every case it is held against, as one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Array, Params, Spec, Target
from lossref.run.explain.altered import altered, altered_pairs
from lossref.run.explain.factors import constant_offset, in_words, multiples, swapped_columns
from lossref.run.explain.mistakes import Variant, changed, epsilons, mistake_and_setting, mistakes, two_mistakes
from lossref.run.explain.narrow import Narrow, narrowed, right_to
from lossref.run.explain.quantity import Gives, Quantity, Shown, Told, quantity_of, reproduces, told
from lossref.run.explain.reductions import reduced
from lossref.run.explain.terms import of_gradients, of_values

__all__ = ["explain"]


def explain(
    spec: Spec,
    target: Target,
    kind: str,
    shown: Sequence[Shown],
    known: Attempts,
    settings: Mapping[str, Any],
    dtype: str = "float64",
) -> str:
    """One true sentence about the failures of a kind; nothing where no claim reproduces them on every case.

    The failing cases come first; `settings` are what has been adopted, and the truth of `shown` is that at them.
    """
    if kind.startswith("raises"):
        return ""
    what = quantity_of(spec, kind)
    cases = told(what, shown, settings, dtype)
    if not any(one.apart for one in cases):
        return ""
    search = _Search(what, target, cases, known, settings)
    return next(search.sentences(), "")


class _Search:
    """Everything that the families of claims look at."""

    def __init__(
        self, what: Quantity, target: Target, told: Sequence[Told], known: Attempts, settings: Params
    ) -> None:
        self.what, self.target, self.told, self.known = what, target, told, known
        self.settings = settings

    def sentences(self) -> Iterator[str]:
        """Every sentence that is true, the plain ones first."""
        yield from self._of_the_whole()
        yield from self._variants(self._first(), ())
        types = narrowed(self.what, self.target, self.told, self.known, self.settings)
        yield from self._narrow(types)
        if not types:
            yield from self._variants(self._second(), ())
            yield from self._altered()
            yield from self._combined()
        else:
            yield from self._variants([*self._first(), *self._second()], types)

    def _of_the_whole(self) -> Iterator[str]:
        """What is made of the right quantity: a multiple, a reduction, another term."""
        subject, spec = self.what.words, self.what.spec
        ends = [
            *multiples(spec, self.told, right),
            *reduced(self.told),
            *of_values(self.what, self.told),
            *filter(None, (constant_offset(self.told), swapped_columns(self.what, self.told))),
        ]
        yield from (f"{subject} {end}" for end in ends)
        for parts in of_gradients(self.what, self.told, self.known, self.settings):
            yield f"{subject}: the part {parts}"

    def _first(self) -> list[Variant]:
        spec, own = self.what.spec, self.known.own
        return [*mistakes(spec, self.settings), *epsilons(spec, self.target, own, self.settings)]

    def _second(self) -> list[Variant]:
        spec = self.what.spec
        return [
            *changed(spec, self.target, self.known.own, self.settings),
            *mistake_and_setting(spec, self.target, self.settings),
        ]

    def _variants(self, variants: Sequence[Variant], types: Sequence[Narrow]) -> Iterator[str]:
        """What another implementation of ours gives; to the precision of a type, if there are types."""
        for one in variants:
            gives = one.on(self.what, self.known)
            if not types and reproduces(gives, self.told):
                yield one.sentence
            fits = (narrow for narrow in types if right_to(narrow, self.told, gives))
            yield from (f"{one.sentence}, to {narrow.name} precision" for narrow in fits)

    def _narrow(self, types: Sequence[Narrow]) -> Iterator[str]:
        for narrow in types:
            if right_to(narrow, self.told, right):
                yield f"agrees to {narrow.name} precision only: a part of it is computed in {narrow.name}"

    def _altered(self) -> Iterator[str]:
        yield from altered(self.what, self.told, self.settings)
        yield from altered_pairs(self.what, self.told, self.settings)

    def _combined(self) -> Iterator[str]:
        """Mistakes with a factor, and two mistakes at once."""
        spec, found = self.what.spec, mistakes(self.what.spec, self.settings)
        for one in found:
            for end in multiples(spec, self.told, one.on(self.what, self.known), "that"):
                yield f"{one.sentence}; {self.what.words} {end}"
        for sentence, gives in two_mistakes(self.what, self.told, self.known, found):
            if reproduces(gives, self.told):
                yield sentence


def right(one: Told) -> Array:
    """The truth."""
    return one.want
