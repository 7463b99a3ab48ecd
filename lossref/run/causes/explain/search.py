"""Every claim that has the target's numbers, family by family, the plain ones first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache as cached
from functools import partial

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Array, Params, Target
from lossref.run.causes.explain.formula.altered import Altered, Bench
from lossref.run.causes.explain.memory import FULL, Claim, Whole, memory_of
from lossref.run.causes.explain.mostly import in_most, mostly
from lossref.run.causes.explain.narrow import TYPES, right_to, shows
from lossref.run.causes.explain.quantity import Gives, Quantity, Shown, Told, reproduces, size, told
from lossref.run.causes.explain.variants.fitted import fitted
from lossref.run.causes.explain.variants.grids import on_grids
from lossref.run.causes.explain.variants.inputs import taken
from lossref.run.causes.explain.variants.mistakes import (
    Variant,
    changed,
    changed_twice,
    epsilons,
    ignored,
    mistake_and_setting,
    mistakes,
    off_by_one,
    two_mistakes,
    weighed,
)
from lossref.run.causes.explain.variants.tensors import done_otherwise
from lossref.run.causes.explain.whole.factors import constant_offset, multiples, nearly_multiple, swapped_columns
from lossref.run.causes.explain.whole.reductions import reduced
from lossref.run.causes.explain.whole.terms import in_another_order, of_gradients, of_values

ITSELF = ["agrees"]
DETACHED = "; the value is right: look for what takes no gradient (.detach(), no_grad), or has a backward of its own"
AT_LEAST = 2  # cases that are wrong, where hundreds of claims are tried


class Search:
    """Everything that the families of claims look at; of the cases those that fail come first."""

    def __init__(
        self, what: Quantity, target: Target, shown: Sequence[Shown], known: Attempts, settings: Params, dtype: str
    ) -> None:
        self.what, self.target, self.known, self.settings, self.dtype = what, target, known, settings, dtype
        self.told = sorted(told(what, shown, settings, dtype), key=lambda one: not one.apart)
        self.elsewhere = cached(partial(_elsewhere, what, shown, settings, dtype))
        self.memory = memory_of(known)
        self.most = list[Variant]()  # what has the target's numbers on some case

    def plain(self) -> Iterator[str]:
        """Every sentence that is true and cheap to find, the plain ones first."""
        yield from self._before()
        yield from self._variants(self._settings())
        yield from self._narrow(ITSELF, [right])
        yield from self._variants(list(in_another_order(self.what.spec, self.told, self.settings)))
        yield from self._of_the_whole()
        yield from self._variants(self._first())
        yield from self._mistaken(mistakes(self.what.spec, self.settings))

    def costly(self) -> Iterator[str]:
        """The others: two faults at once, other inputs, a formula that is changed step by step, what is nearly so."""
        settings, second, of_inputs = self._settings(), self._second(), self._of_inputs()
        first = [*mistakes(self.what.spec, self.settings), *self._first()]
        yield from self._settings_and_factor(settings)
        yield from self._variants(second)
        yield from self._variants(of_inputs)
        yield from self._done_otherwise()
        yield from self._altered()
        yield from self._variants(list(fitted(self.what, self.target, self.told, self.known, self.settings)))
        yield from self._combined()
        variants = [*settings, *first, *second]
        yield from self._narrow([one.sentence for one in variants], [one.on(self.what, self.known) for one in variants])
        yield from (f"{self.what.words} {end}" for end in nearly_multiple(self.told))
        yield from in_most(self.what, self.told, self.known, [*settings, *first, *of_inputs, *self.most])
        yield from mostly(self.what, self.told, self.known, [*settings, *first, *of_inputs])

    def _settings(self) -> list[Variant]:
        return list(changed(self.what.spec, self.target, self.known.own, self.settings))

    def _before(self) -> Iterator[str]:
        """What explained another failure of this target: all that is wrong with it, or that failure alone."""
        for whole in (True, False):
            for sentence, claim in self.memory.claims.items():
                cases = [one for one in self.told if claim.able(one)] if claim.whole is whole else []
                if any(one.apart for one in cases) and reproduces(partial(claim.gives, self.what), cases):
                    yield sentence if whole else f"{self.what.words} {sentence}"

    def _of_the_whole(self) -> Iterator[str]:
        """What is made of the right quantity: a multiple, a reduction, another term."""
        subject, spec = self.what.words, self.what.spec
        ends = [
            *multiples(spec, self.told, right, settings=self.settings),
            *reduced(self.told),
            *of_values(self.what, self.told),
            *filter(None, (constant_offset(self.told), swapped_columns(self.told))),
        ]
        yield from (f"{subject} {end}" for end in ends)
        for parts in of_gradients(self.what, self.told, self.known, self.settings):
            yield f"{subject}: the part {parts}"

    def _first(self) -> list[Variant]:
        spec, own = self.what.spec, self.known.own
        return [
            *ignored(spec, self.target, self.settings),
            *epsilons(spec, self.target, own, self.settings),
            *off_by_one(spec, self.target, self.settings),
            *weighed(spec, self.target, self.settings),
        ]

    def _second(self) -> list[Variant]:
        spec = self.what.spec
        return [
            *changed_twice(spec, self.target, self.known.own, self.settings),
            *mistake_and_setting(spec, self.target, self.settings, self.what, self.told, self.known),
        ]

    def _of_inputs(self) -> list[Variant]:
        return [*taken(self.what.spec, self.settings), *on_grids(self.what.spec, self.settings)]

    def _variants(self, variants: Sequence[Variant]) -> Iterator[str]:
        """What another implementation of ours gives."""
        fits = [one for one in variants if reproduces(one.on(self.what, self.known), self.told)]
        yield from self._said((one.sentence, partial(one.gives, known=self.known)) for one in fits)

    def _mistaken(self, known: Sequence[Variant]) -> Iterator[str]:
        """A known mistake: one that explains all else, too, or the only one that explains this quantity.

        Where several do and none explains the rest, it is something that they have in common.
        """
        fits = [one for one in known if reproduces(one.on(self.what, self.known), self.told)]
        whole = [one for one in fits if self._whole(partial(one.gives, known=self.known))]
        but = "" if whole else self._but()
        yield from self._said(
            (one.sentence + but, partial(one.gives, known=self.known)) for one in whole or fits[: len(fits) == 1]
        )

    def _but(self) -> str:
        """What a mistake that has the target's gradient leaves open, where every value is right."""
        return DETACHED if self.what.wrt and not self._wrong() else ""

    def _narrow(self, sentences: Sequence[str], claimed: Sequence[Gives]) -> Iterator[str]:
        """What agrees to the precision of a type, where the target moves as if a part were computed in it."""
        for narrow in TYPES:
            if claimed != [right] and right_to(narrow._replace(least=0.0), self.told, right):
                continue  # the type alone accounts for it
            fits = [
                sentence
                for sentence, gives in zip(sentences, claimed, strict=True)
                if right_to(narrow, self.told, gives)
            ]
            if fits and shows(self.what, self.target, self.told, self.known, self.settings, narrow):
                yield from (f"{one}, to {narrow.name} precision: a part is computed in {narrow.name}" for one in fits)

    def _altered(self) -> Iterator[str]:
        purse = self.memory.purse if self.what.spec.composite else FULL
        bench = Bench(self.what, self.told, self.settings, self._wrong(), purse)
        for choice in (bench.singles, bench.pairs()):
            fits: list[Altered] = list(bench.found(choice))
            yield from self._said(((f"agrees when {one.words}", bench.on(one)) for one in fits), bench.able)

    def _done_otherwise(self) -> Iterator[str]:
        """One operation of the reference of a composite done otherwise; what explains all else, too, comes first."""
        apart = [one for one in self.told if one.apart]
        spec = self.what.spec
        if not spec.composite or len(apart) < AT_LEAST:
            return
        told = sorted(self.told, key=lambda one: (not one.apart, size(one.shown.case)))
        usual = told[len(apart) // 2]  # the smallest ones go through little of the formula
        told = [usual, *(one for one in told if one is not usual)]
        partly = list[Variant]()
        self.most = most = list[Variant]()
        for one, takes in done_otherwise(spec, told[0].shown.case, self.settings, self._wrong()):
            if not self.memory.operations.spend(takes):
                break
            if not reproduces(one.on(self.what, self.known), told[:1]):
                continue
            most.append(one)
            if reproduces(one.on(self.what, self.known), told):
                if self._whole(partial(one.gives, known=self.known)):
                    yield from self._variants([one])
                partly.append(one)
        yield from self._variants(partly)

    def _wrong(self) -> set[str]:
        """The terms of which any value is wrong."""
        every = [(self.what, self.told), *self.elsewhere()]
        return {what.term for what, cases in every if what.term and any(one.apart for one in cases)}

    def _said(
        self, claims: Iterable[tuple[str, Whole]], able: Callable[[Told], bool] = lambda one: True
    ) -> Iterator[str]:
        """Claims that explain the quantity: first those that explain all else, too, then what the others explain.

        They are held against the cases that they are `able` to speak of.
        """
        partly: list[str] = []
        for sentence, gives in claims:
            whole = self._whole(gives, able)
            self.memory.claims.setdefault(sentence, Claim(gives, able, whole))
            if whole:
                yield sentence
            partly.append(f"{self.what.words} {sentence}")
        yield from partly

    def _whole(self, gives: Whole, able: Callable[[Told], bool] = lambda one: True) -> bool:
        """Whether a claim has all other numbers of the target, too."""
        return all(reproduces(partial(gives, what), filter(able, cases)) for what, cases in self.elsewhere())

    def _settings_and_factor(self, settings: Sequence[Variant]) -> Iterator[str]:
        """A multiple of what another setting gives."""
        spec = self.what.spec
        for one in settings:
            where = one.sentence.removeprefix("agrees when ")
            for end in multiples(spec, self.told, one.on(self.what, self.known), "that", sized=not spec.composite):
                yield f"{self.what.words} {end} where {where}"

    def _combined(self) -> Iterator[str]:
        """Mistakes with a factor, and two mistakes at once."""
        spec, found = self.what.spec, mistakes(self.what.spec, self.settings)
        for one in found:
            for end in multiples(spec, self.told, one.on(self.what, self.known), "that", sized=not spec.composite):
                yield f"{one.sentence}; {self.what.words} {end}"
        for sentence, gives in two_mistakes(self.what, self.known, found):
            if reproduces(gives, self.told):
                yield sentence


def _elsewhere(
    what: Quantity, shown: Sequence[Shown], settings: Params, dtype: str
) -> list[tuple[Quantity, list[Told]]]:
    """Every other quantity of the spec, on the same cases."""
    return [(other, told(other, shown, settings, dtype)) for other in what.others]


def right(one: Told) -> Array:
    """The truth."""
    return one.want
