"""Known mistakes and other settings, alone and two at a time: what else gives the target's numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Array, Params, Spec, Target
from lossref.hosts.probe import itself
from lossref.run.causes.explain.quantity import NONE, Quantity, Told, close

EPSILONS = (
    0.0,
    1e-16,
    1e-15,
    1e-12,
    1e-10,
    1e-9,
    1e-8,
    1e-7,
    1e-6,
    1e-5,
    1e-4,
    1e-3,
)  # none so large that it takes a term away
FACTORS = ((0.0, "as 0"), (0.5, "as half of it"), (2.0, "twice"))


class Variant(NamedTuple):
    """What might explain a failure: a sentence, who is asked, and at which settings."""

    sentence: str
    who: Target
    change: Params = NONE

    def gives(self, what: Quantity, one: Told, known: Attempts) -> Array | None:
        """The quantity on a case; None where it raises or has none."""
        found = known.of(self.who, one.shown.case, self.change)
        return None if found is None else what.of(found)

    def on(self, what: Quantity, known: Attempts) -> partial[Array | None]:
        """The same as a function of the case alone."""
        return partial(self.gives, what, known=known)


def otherwise(spec: Spec, label: str, build: Callable[..., Any]) -> Target:
    """The reference done otherwise: another callable, which takes the same parameters."""
    return replace(itself(spec), build=build, label=label)


def given_back(spec: Spec, label: str, change: Callable[[Any], Any]) -> Target:
    """The reference with something else made of what it returns."""

    def build(**params: Any) -> Any:
        return lambda *inputs: change(spec.reference(*inputs, **params))

    return otherwise(spec, label, build)


def at_another(spec: Spec, label: str, name: str, other: Callable[[Any], Any]) -> Target:
    """The reference with another value of one parameter than it is given."""

    def build(**params: Any) -> Any:
        return partial(spec.reference, **{**params, name: other(params[name])})

    return otherwise(spec, label, build)


def mistakes(spec: Spec, settings: Params) -> list[Variant]:
    """What must be rejected, at the settings that were adopted."""
    return [Variant(f"agrees with {_named(wrong)}", wrong, settings) for wrong in spec.impostors]


def _named(wrong: Target) -> str:
    return f"the known mistake {wrong.label!r}: {wrong.note}"


def epsilons(spec: Spec, target: Target, own: Target, settings: Params) -> Iterator[Variant]:
    """Other sizes of whatever is like an eps, where the target does not take it."""
    for name, param in spec.params.items():
        if not param.small:
            continue
        stands = settings.get(name, target.fixed.get(name, param.default))
        for value in (one for one in EPSILONS if one != stands):
            yield Variant(f"agrees when {name} is {value!r}", own, {**settings, name: value})


def weighed(spec: Spec, target: Target, settings: Params) -> Iterator[Variant]:
    """The reference of a composite of which one weight counts as nothing, half or twice what the target is given."""
    for name, param in spec.params.items():
        if spec.composite and type(param.default) is float and name in target.accepts and not param.small:
            for by, words in FACTORS:
                said = f"agrees when {name} ({param.doc}) counts {words}, whatever it is"
                yield Variant(said, times(spec, name, by), settings)


def settings_of(spec: Spec, target: Target, settings: Params, again: bool = False) -> list[tuple[str, Params]]:
    """One more setting away from what is adopted, of the parameters that the target neither fixes nor takes.

    `again` also of those that were adopted.
    """
    found: list[tuple[str, Params]] = []
    for name, param in spec.params.items():
        if (name in target.fixed and not (again and name in settings)) or name in target.accepts:
            continue
        stands = settings.get(name, param.default)
        others = (value for value in (param.default, *param.others) if value != stands)
        found += [(f"{name} is {value!r}", {name: value}) for value in others]
    return found


def changed(spec: Spec, target: Target, own: Target, settings: Params, again: bool = False) -> Iterator[Variant]:
    """The reference at one more setting, or `again` at another value of one that was adopted."""
    for words, change in settings_of(spec, target, settings, again):
        yield Variant(f"agrees when {words}", own, {**settings, **change})


def off_by_one(spec: Spec, target: Target, settings: Params) -> Iterator[Variant]:
    """The reference that is given one more, or one less, of a whole number than the target, or than is specified."""
    for name, param in spec.params.items():
        if type(param.default) is not int or name in target.fixed:
            continue
        for by, words in ((-1, "one less"), (1, "one more")):
            said = f"counts as {words} than it is" if name in target.accepts else f"is {max(param.default + by, 1)}"
            yield Variant(f"agrees when {name} {said}", shifted(spec, name, by), settings)


def ignored(spec: Spec, target: Target, settings: Params) -> Iterator[Variant]:
    """The reference that is not given a parameter which the target takes."""
    for name, param in spec.params.items():
        if name in target.accepts and not param.convention:
            words = f"agrees when {name} is not looked at, and always counts as {param.default!r}"
            yield Variant(words, never_given(spec, name), settings)


@lru_cache(maxsize=256)
def never_given(spec: Spec, name: str) -> Target:
    """The reference with a parameter at its default, whatever it is given."""
    return at_another(spec, f"no {name}", name, lambda value: spec.params[name].default)


@lru_cache(maxsize=256)
def times(spec: Spec, name: str, factor: float) -> Target:
    """The reference with a number that is so many times what it is given."""
    return at_another(spec, f"{name} times {factor}", name, lambda value: value * factor)


@lru_cache(maxsize=256)
def shifted(spec: Spec, name: str, by: int) -> Target:
    """The reference with a number that is larger by so much than it is given, and 1 at least."""
    return at_another(spec, f"{name} {by:+d}", name, lambda value: max(value + by, 1))


def changed_twice(spec: Spec, target: Target, own: Target, settings: Params) -> Iterator[Variant]:
    """The reference at two more settings; of a composite there are too many."""
    single = [] if spec.composite else settings_of(spec, target, settings)
    for (words, change), (more, other) in itertools.combinations(single, 2):
        if not change.keys() & other.keys():
            yield Variant(f"agrees when {words} and {more}", own, {**settings, **change, **other})


def mistake_and_setting(
    spec: Spec, target: Target, settings: Params, what: Quantity, told: Sequence[Told], known: Attempts
) -> Iterator[Variant]:
    """A known mistake at one more setting; of a composite, which takes its time, those that may add up to the error."""
    apart = next((one for one in told if one.apart), None)
    alone = [*mistakes(spec, settings), *off_by_one(spec, target, settings)]
    for one, (words, change) in itertools.product(alone, settings_of(spec, target, settings)):
        there = {**settings, **change}
        parts = (one, Variant("", known.own, there))
        if not spec.composite or (apart is not None and _may_add_up(what, known, apart, *parts)):
            yield Variant(f"{one.sentence}, when {words}", one.who, there)


def _may_add_up(what: Quantity, known: Attempts, at: Told, one: Variant, other: Variant) -> bool:
    """Whether each has an effect on a case, and both together bring the truth nearer to the target than either."""
    first, second = one.gives(what, at, known), other.gives(what, at, known)
    both = _added(what, known, one, other, at)
    if first is None or second is None or both is None:
        return False
    if close(first, at.want, at.room) or close(second, at.want, at.room):
        return False
    off = (np.abs(x.ravel() - at.got.ravel()) for x in (both, first, second))
    left, *alone = (float(np.nan_to_num(x, nan=np.inf).max()) for x in off)
    return left < min(alone)


def two_mistakes(
    what: Quantity, known: Attempts, found: Sequence[Variant]
) -> Iterator[tuple[str, partial[Array | None]]]:
    """Two known mistakes whose differences from the truth add up."""
    for one, other in itertools.combinations(found, 2):
        names = " and ".join(_named(each.who) for each in (one, other))
        yield f"agrees with two known mistakes together, {names}", partial(_added, what, known, one, other)


def _added(what: Quantity, known: Attempts, one: Variant, other: Variant, at: Told) -> Array | None:
    first, second = one.gives(what, at, known), other.gives(what, at, known)
    if first is None or second is None or first.size != at.want.size or second.size != at.want.size:
        return None
    return first.reshape(at.want.shape) + second.reshape(at.want.shape) - at.want
