"""The sides of a comparison: what a word gives, "ultralytics==8.4.83", a file, a function; and how two go together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from lossref.core.nouns import Spec, Target
from lossref.hosts.endings import memory_for
from lossref.hosts.process import Lodging
from lossref.run.causes.beside.differences import Compared, compared
from lossref.run.causes.beside.releases import is_release, release
from lossref.targets.lodged import lodged, settled
from lossref.targets.resolve import Unavailable, UnknownTarget

Side = Mapping[str, Sequence[Target]]
Pair = tuple[Spec, Target, Target]
How = Callable[[Spec, Target, Target, int], Compared]


def side(word: str, as_spec: str | None, python: str, timeout: float) -> Side:
    """The targets of a word, by spec. Raises what `lodged` and `release` raise."""
    if is_release(word):
        word, python, _ = release(word, python)
    found: dict[str, list[Target]] = {}
    for target in lodged(word, as_spec, Lodging(python=python, timeout=timeout, memory=memory_for(2))):
        found.setdefault(target.spec, []).append(target)
    return found


def pairs(wanted: Sequence[Spec], one: Side, other: Side) -> Iterator[Pair]:
    """The targets of both that are the same loss: those of one label, or the only one of each."""
    for spec in wanted:
        mine, theirs = one.get(spec.name, ()), {target.label: target for target in other.get(spec.name, ())}
        for target in mine if theirs else ():
            if target.label in theirs:
                yield spec, target, theirs[target.label]
            elif len(mine) == len(theirs) == 1:
                yield spec, target, next(iter(theirs.values()))


def beside(pair: Pair, seed: int, how: How = compared) -> Compared:
    """What is different between the two of a pair."""
    spec, one, other = pair
    return how(spec, settled(one), settled(other), seed)


def first(rows: Sequence[Compared]) -> Compared:
    """Of the targets of one spec the first that differs; else any."""
    return next((row for row in rows if row.differences), rows[0])


def loading(timeout: float, there: Mapping[str, Side]) -> Callable[[str], Side | str]:
    """The targets of a word, or why it cannot be asked; each word is loaded once, and none that is `there`."""

    @cache
    def loaded(word: str) -> Side | str:
        if word in there:
            return there[word]
        try:
            return side(word, None, "", timeout)
        except (Unavailable, UnknownTarget) as error:
            return str(error)

    return loaded


def asking(
    spec: Spec, seed: int, loaded: Callable[[str], Side | str], how: How, known: Mapping[tuple[str, str], Compared]
) -> Callable[[str, str], Compared]:
    """What is different between two words in one loss; no pair is asked again."""

    @cache
    def ask(one: str, other: str) -> Compared:
        if (one, other) in known:
            return known[one, other]
        both = loaded(one), loaded(other)
        for found in both:
            if isinstance(found, str):
                return Compared(spec.name, 0, reason=found)
        rows = [beside(pair, seed, how) for pair in pairs([spec], *both)]  # type: ignore[arg-type]
        return first(rows) if rows else Compared(spec.name, 0, reason=f"one of them has no {spec.name}")

    return ask
