"""Which settings a target follows instead of the defaults: found one after the other, each hides no longer the next.

A setting is adopted where the reference, moved to it, gives the very numbers of the target that it did not give
before, and disagrees nowhere where it agreed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Case, Param, Spec, Target
from lossref.run.causes.explain.quantity import NONE
from lossref.run.causes.explain.variants.mistakes import off_by_one
from lossref.run.causes.settings.compared import Compared, Place, Settings

EPSILONS = (0.0, 1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3)
MOSTLY = 0.01  # what may be left of an error that a setting takes away, where others are left
MOST_SETTINGS = 12
MOST_OF_THEM = 0.5  # wrong numbers that a setting sets right beside a fault that explains half of all
WHOLE = 3  # wrong numbers of one quantity that speak for a setting if it sets all of them right
HALF, ALL = 0.5, 1.0  # of the wrong numbers that a setting moves, that it has to set right: a named one, any number
SCALES = (0.0, 0.5, 2.0)  # of a weight: a term left out, or scaled
There = Callable[[Case], Mapping[str, float]]
PIVOTS = {False: 6, True: 3}  # failing cases that candidates are tried on first: of an elementary loss, of a composite


def found(
    spec: Spec,
    target: Target,
    cases: Sequence[Case],
    known: Attempts,
    held_to: Sequence[str] = (),
    start: Settings = NONE,
    drawn: Sequence[Case] = (),
) -> dict[str, Any]:
    """The settings, as they were found, that the target follows on these cases; those to `start` with were before.

    Those `drawn` beside tell settings apart that do the same on all cases.
    Of its fixed parameters it may have left those that it is only `held_to`.
    """
    defaults = {**spec.defaults(), **target.fixed}
    settings = dict(start)
    while len(settings) < MOST_SETTINGS:
        compared = Compared(spec, target, known, cases, settings, held_to, drawn=drawn, large=bool(start))
        change = _next(compared)
        if not change:
            break
        settings |= change
    return {name: value for name, value in settings.items() if value != defaults[name]}


def involved(compared: Compared, case: Case, kind: str) -> list[str]:
    """The settings without one of which the reference does not give what the target does, in this quantity."""
    defaults = {**compared.spec.defaults(), **compared.target.fixed}
    settings = [name for name in compared.settings if name in case.params]
    here = compared.at(case, {})
    quantities = [kind] if kind in here else list(here)
    found = []
    for name in settings:
        there = compared.at(case, {name: defaults[name]})
        if any(there.get(one, np.inf) > max(1.0, 2 * here[one]) for one in quantities):
            found.append(name)
    return found


def _next(compared: Compared) -> Settings:
    """One more setting, or two at once where neither helps alone."""
    bad = [place for place, error in compared.errors.items() if error > 1]
    pivots = list(dict.fromkeys(case for case, _ in bad))[: PIVOTS[compared.spec.composite]]
    singles = _singles(compared)
    for exactly in (True, False):
        tried = list[Settings]()
        for case in pivots:
            for change in singles:
                if change not in tried and _helps(compared, case, change, exactly):
                    tried.append(change)
        scores = [_score(compared, bad, change, exactly) for change in tried]
        score = max(scores, default=0.0)
        if score > 0:
            best = _told_apart(compared, [one for one, its in zip(tried, scores, strict=True) if its == score])
            return {} if _a_mistake(compared, bad, best, score) else best
    pairs = [] if compared.large else list(_pairs(compared))
    for exactly, case in itertools.product((True, False), pivots[: 1 if compared.spec.composite else 2]):
        for change in pairs:
            if _helps(compared, case, change, exactly) and _score(compared, bad, change, exactly) > 0:
                return change
    return {} if compared.large else _behind_a_fault(compared, bad, singles)


def _told_apart(compared: Compared, rivals: Sequence[Settings]) -> Settings:
    """Of settings that do the same on all cases the one that has the target's numbers on most of those drawn beside."""
    if len(rivals) == 1:
        return rivals[0]
    counts = [sum(error <= 1 for case in compared.drawn for error in compared.at(case, one).values()) for one in rivals]
    return rivals[counts.index(max(counts))]


def _a_mistake(compared: Compared, bad: Sequence[Place], change: Settings, score: float) -> bool:
    """Whether a known mistake sets more right than a number does; or as much, where no source has that number.

    A term left out is a mistake, and no weight of 0, nor some other weights that do much the same.
    """
    spec = compared.spec
    if not any(type(spec.params[name].default) is float for name in change):
        return False
    besides = (replace(compared, own=wrong) for wrong in spec.impostors)
    most = max((_set_right(compared, bad, partial(one.at, change={}), True, ALL) for one in besides), default=0.0)
    return most > score or (most == score and any(_unnamed(spec, name, value) for name, value in change.items()))


def _unnamed(spec: Spec, name: str, value: Any) -> bool:
    """Whether a value stands in no source: one that takes a term away or scales it."""
    param = spec.params[name]
    return (
        type(param.default) is float and not param.small and (not value or value not in (param.default, *param.others))
    )


def _behind_a_fault(compared: Compared, bad: Sequence[Place], singles: Sequence[Settings]) -> Settings:
    """A setting that shows itself only where a number that the target takes counts as one more, or one less."""
    spec, target = compared.spec, compared.target
    for one in off_by_one(spec, target, compared.settings) if spec.composite else ():
        beside = replace(compared, own=one.who)
        left = [place for place, error in beside.errors.items() if error > 1]
        if not left or 2 * len(left) > len(bad):
            continue
        for change in singles:
            if _helps(beside, left[0][0], change, True) and _score(beside, left, change, True) > MOST_OF_THEM:
                return change
    return {}


def _helps(compared: Compared, case: Case, change: Settings, exactly: bool) -> bool:
    there = compared.at(case, change)
    return any(
        compared.errors[case, name] > 1 and (error <= 1 if exactly else _mostly(error, compared.errors[case, name]))
        for name, error in there.items()
    )


def _mostly(error: float, before: float) -> bool:
    return error <= MOSTLY * before < np.inf


def _score(compared: Compared, bad: Sequence[Place], change: Settings, exactly: bool) -> float:
    """The share of the wrong numbers that a change of settings sets right."""
    unnamed = any(_unnamed(compared.spec, name, value) for name, value in change.items())
    return _set_right(compared, bad, partial(compared.at, change=change), exactly, ALL if unnamed else HALF)


def _set_right(compared: Compared, bad: Sequence[Place], there: There, exactly: bool, needed: float) -> float:
    """The share of the wrong numbers that are right there; 0 where more are wrong, or too many move in vain.

    That it moves others in vain is no matter where it sets all of one quantity right: those have another fault, too.
    Where it need not be exact, a number is set right of which one hundredth of the error is left.
    """
    wrong, right, moved = set(bad), 0, 0
    set_right = Counter[str]()  # places of each quantity
    for case in dict.fromkeys(case for case, _ in compared.errors):
        for name, error in there(case).items():
            before = compared.errors.get((case, name), np.inf)
            if (case, name) not in wrong:
                if error > 1:
                    return 0.0
                continue
            if error != before:
                moved += 1
                right += error <= 1 or (not exactly and _mostly(error, before))
                set_right[name] += error <= 1
    whole = any(set_right[name] == count >= WHOLE for name, count in Counter(name for _, name in bad).items())
    return right / len(bad) if bad and moved and (whole or right >= needed * moved) else 0.0


def _singles(compared: Compared) -> list[Settings]:
    """Every other value of a parameter that the target neither fixes nor takes: conventions first, then numbers."""
    spec = compared.spec
    found = sorted(_free(compared), key=lambda one: (not isinstance(one[1], str), _unnamed(spec, *one)))
    return [{name: value} for name, value in found]


def _free(compared: Compared) -> Iterator[tuple[str, Any]]:
    spec, target = compared.spec, compared.target
    for name, param in spec.params.items():
        if name in target.accepts or (name in target.fixed and name not in compared.held_to):
            continue
        here = compared.settings.get(name, target.fixed.get(name, param.default))
        values = dict.fromkeys((param.default, *param.others, *_further(spec, param)))
        yield from (
            (name, value) for value in values if value != here and (isinstance(value, str) or not compared.large)
        )


def _further(spec: Spec, param: Param) -> Sequence[float]:
    """Values that no source has, but an implementation may: other sizes of an eps, terms of a decision left out."""
    if param.small:
        return EPSILONS
    scaled = spec.composite and type(param.default) is float
    return [param.default * scale for scale in SCALES] if scaled else []


def _pairs(compared: Compared) -> Iterator[Settings]:
    named = [(name, value) for name, value in _free(compared) if value in compared.spec.params[name].others]
    for (one, first), (other, second) in itertools.combinations(named, 2):
        if one != other:
            yield {one: first, other: second}
