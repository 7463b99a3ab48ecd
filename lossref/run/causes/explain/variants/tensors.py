"""The reference with one operation done otherwise: what it calls is seen from outside, call by call.

A place is a call in our own code, as in `formula/`; a `TorchFunctionMode` sees every operation on tensors and where it
was called from. So a loss of many operations is tried in many ways, without a word about any of them.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType, MappingProxyType
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from lossref.checks.attempts import at
from lossref.core.nouns import Case, Params, Spec, Target
from lossref.hosts.probe import TargetRaised, call
from lossref.run.causes.explain.formula.places import text_of
from lossref.run.causes.explain.formula.plain import Place
from lossref.run.causes.explain.quantity import Setting
from lossref.run.causes.explain.variants.mistakes import Variant, otherwise
from lossref.run.causes.explain.variants.operations import VIEWS, Other, Step, others

OURS = str(Path(__file__).parents[4] / "losses")
LATE = 10  # places that are as much worth as one more thing done otherwise at one of them
SMALL, LARGE = 1e-2, 1e3  # the largest of the small constants, and of what they stand beside
SIZES = (0.0, 1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1.0)
Site = tuple[CodeType, int]
Called = tuple[Place, tuple[Site, ...]]  # an operation, and the calls that led to it, from the inside outwards


class Seen(NamedTuple):
    """The operations that a reference calls on a case: how many, what can be done otherwise, and what terms stand on.

    others: those at the last places first, for much stands on them; terms: the places behind each, none if unknown;
    constants: small ones, and where they stand
    """

    calls: int = 0
    others: tuple[tuple[Called, Other], ...] = ()
    terms: Mapping[str, frozenset[Called]] = MappingProxyType({})
    constants: Mapping[float, frozenset[Called]] = MappingProxyType({})


class Watched(TorchFunctionMode):
    """The operation at one place is done otherwise."""

    def __init__(self, place: Called, step: Step) -> None:
        super().__init__()
        self.place, self.step, self.names = place, step, (place[0][2], f"__{place[0][2]}__", f"{place[0][2]}_")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operation, or what is done instead."""
        how = kwargs or {}
        if func.__name__ in self.names and _place(sys._getframe(1), _name(func)) == self.place:
            return self.step(func, args, how)
        return func(*args, **how)


class Resized(TorchFunctionMode):
    """One small constant has another size, at these places or, without any, wherever it stands."""

    def __init__(self, constant: float, size: float, places: frozenset[Called]) -> None:
        super().__init__()
        self.constant, self.size, self.places = constant, size, places

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The usual operation, perhaps on another constant."""
        how = kwargs or {}
        there = self.constant in _small((*args, *how.values()))
        if there and (not self.places or _place(sys._getframe(1), _name(func)) in self.places):
            args, how = tuple(map(self._other, args)), {name: self._other(x) for name, x in how.items()}
        return func(*args, **how)

    def _other(self, x: Any) -> Any:
        return round(x) * (abs(x) > SMALL) + self.size if self.constant in _small([x]) else x


class Attached(TorchFunctionMode):
    """Every operation has its gradient, also where the formula wants none."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The usual operation."""
        with torch.enable_grad():
            return func(*args, **(kwargs or {}))


class Noted(TorchFunctionMode):
    """Notes every operation that our losses call, and of which others each number was made."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.kept = 0, list[Any]()
        self.seen: dict[Called, dict[str, Other]] = {}
        self.behind: dict[int, frozenset[Called]] = {}
        self.constants: dict[float, set[Called]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The usual operation."""
        how, name = kwargs or {}, _name(func)
        result, place = func(*args, **how), _place(sys._getframe(1), name)
        self.calls += 1
        if place is None:
            return result
        for constant in _small((*args, *how.values())):
            self.constants.setdefault(constant, set()).add(place)
        if name not in VIEWS:
            known = self.seen.setdefault(place, {})
            known |= {one.words: one for one in others(name, args, how, result) if one.words not in known}
        behind = frozenset([place]).union(*(self.behind.get(id(x), frozenset()) for x in _tensors((args, how))))
        for x in _tensors(result):
            self.behind[id(x)] = behind | self.behind.get(id(x), frozenset())
            self.kept.append(x)
        return result


def _small(args: Any) -> list[float]:
    """The small constants among operands, alone or beside a whole number (1 + eps)."""
    floats = [x for x in args if isinstance(x, float) and abs(x) < LARGE]
    beside = [x if abs(x) <= SMALL else float(f"{x - round(x):.6g}") for x in floats]
    return [x for x in beside if 0 < abs(x) <= SMALL]


def _name(func: Any) -> str:
    return str(getattr(func, "__name__", "")).strip("_")


def _tensors(nested: Any) -> Iterator[torch.Tensor]:
    if isinstance(nested, torch.Tensor):
        yield nested
    elif isinstance(nested, (tuple, list, dict)):
        for part in nested.values() if isinstance(nested, dict) else nested:
            yield from _tensors(part)


def _place(frame: FrameType | None, name: str) -> Called | None:
    """Where in our losses an operation was called, and by whom on the way there; None where it is not ours."""
    chain = list[Site]()
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(OURS):
            chain.append((frame.f_code, frame.f_lasti))
        elif "torch" not in file:
            break
        frame = frame.f_back
    return ((*chain[0], name), tuple(chain[1:])) if chain else None


def _words(called: Called, all_of_them: Collection[Called]) -> str:
    """The source of an operation; of one that is called from several places, where from."""
    place, callers = called
    others = [one[1] for one in all_of_them if one[0] == place and one[1] != callers]
    for depth in range(1, len(callers) + 1):
        if all(other[-depth:] != callers[-depth:] for other in others):
            by = (*callers[-depth], "call")
            return f"{text_of(place)}, called by {text_of(by)}," if others else text_of(place)
    return text_of(place)


@lru_cache(maxsize=64)
def seen(spec: Spec, case: Case, settings: Setting) -> Seen:
    """What the reference calls on a case; nothing where it raises."""
    mode, outputs = Noted(), list[Any]()

    def build(**params: Any) -> Any:
        def asked(*inputs: Any) -> Any:
            with mode:
                outputs[:] = [spec.reference(*inputs, **params)]
            return outputs[0]

        return asked

    try:
        call(spec, otherwise(spec, "noted", build), at(case, settings), "float64", grad=bool(spec.wrt))
    except TargetRaised:
        return Seen()
    late = reversed(mode.seen.items())
    turns = [
        (at + LATE * turn, place, one)
        for at, (place, them) in enumerate(late)
        for turn, one in enumerate(them.values())
    ]
    ends = list(_tensors(outputs))
    terms = dict(zip(spec.terms, (mode.behind.get(id(x), frozenset()) for x in ends), strict=False))
    fits = len(ends) == len(spec.terms)
    constants = {constant: frozenset(places) for constant, places in mode.constants.items()}
    ordered = tuple((place, one) for _, place, one in sorted(turns, key=lambda x: x[0]))
    return Seen(mode.calls, ordered, terms if fits else {}, constants)


def done_otherwise(spec: Spec, case: Case, settings: Params, wrong: Collection[str]) -> Iterator[tuple[Variant, int]]:
    """The reference with one operation done otherwise, each with the number of operations that it takes.

    Where values are `wrong`, the operation is one that all of these terms stand on, and none of the others; where none
    is, a gradient is cut off, or flows where it did not.
    """
    found = seen(spec, case, tuple(settings.items()))
    for constant, places in found.constants.items():
        behind = frozenset(place for place in places if _stands_behind(place, found, wrong))
        for size, here in itertools.product(SIZES, (behind, frozenset[Called]()) if behind else ()):
            where = f"behind {', '.join(sorted(wrong))}" if here else "of the formula"
            words = f"agrees when every {constant!r} {where} is {size!r}"
            yield Variant(words, _at_another_size(spec, constant, size, here), settings), found.calls
    every = {place for place, _ in found.others}
    for place, one in found.others:
        if one.cuts if not wrong else _stands_behind(place, found, wrong):
            words = f"agrees when {_words(place, every)} {one.words}"
            yield Variant(words, _with(spec, place, one), settings), found.calls
    if not wrong:
        words = "agrees when a gradient flows through everything, also where the formula has none"
        yield Variant(words, _attached(spec), settings), found.calls


def _stands_behind(place: Called, found: Seen, wrong: Collection[str]) -> bool:
    return not found.terms or all((place in places) is (term in wrong) for term, places in found.terms.items())


@lru_cache(maxsize=20_000)
def _with(spec: Spec, place: Called, one: Other) -> Target:
    return _under(spec, one.words, Watched(place, one.step))


@lru_cache(maxsize=64)
def _attached(spec: Spec) -> Target:
    return _under(spec, "attached", Attached())


@lru_cache(maxsize=512)
def _at_another_size(spec: Spec, constant: float, size: float, places: frozenset[Called]) -> Target:
    return _under(spec, f"{constant} as {size}", Resized(constant, size, places))


def _under(spec: Spec, label: str, mode: TorchFunctionMode) -> Target:
    def build(**params: Any) -> Any:
        def asked(*inputs: Any) -> Any:
            with mode:
                return spec.reference(*inputs, **params)

        return asked

    return otherwise(spec, label, build)
