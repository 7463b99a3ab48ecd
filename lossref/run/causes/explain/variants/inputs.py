"""One input taken for something else: ignored, in another notation or order, as probabilities, as one class."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.axes import times_of
from lossref.core.nouns import Params, Spec, Target
from lossref.run.causes.explain.variants.mistakes import Variant, given_back, otherwise
from lossref.run.causes.explain.variants.notation import corners_of, other_notation, sides_of

MOST_COLUMNS = 6
Change = Callable[[Tensor], Tensor]


class Taken(NamedTuple):
    """What is made of an input before the right formula sees it."""

    words: str
    change: Change


ANY = (
    Taken("is negated", torch.neg),
    Taken("is doubled", lambda x: x * 2),
    Taken("is halved", lambda x: x / 2),
    Taken("is cut off below 0", lambda x: x.clamp(min=0)),
    Taken("is cut off below 1", lambda x: x.clamp(min=1)),
    Taken("is limited to [0, 1]", lambda x: x.clamp(0, 1)),
    Taken("is squared", lambda x: x * x),
    Taken("is replaced by its root", lambda x: x.clamp(min=0).sqrt()),
    Taken("is put through a sigmoid", torch.sigmoid),
    Taken("is put through a softmax over its last axis", lambda x: x.softmax(-1) if x.ndim else x),
    Taken("is taken in degrees", lambda x: x * (math.pi / 180)),
    Taken("is reversed along its last axis", lambda x: x.flip(-1) if x.ndim else x),
    Taken("is rounded down", torch.floor),
    Taken("has 1 added to it", lambda x: x + 1),
    Taken("has 1 taken from it", lambda x: x - 1),
    Taken("is detached", torch.detach),
)
WEIGHTS = (
    Taken("is ignored (1 everywhere)", torch.ones_like),
    Taken("is ignored (0 everywhere)", torch.zeros_like),
    Taken("is taken for its largest class alone", lambda x: _largest(x) * x if x.ndim else x),
    Taken("is argmaxed over its last axis", lambda x: _largest(x) if x.ndim else x),
    Taken("counts as 1 wherever it is above 0", lambda x: (x > 0).to(x.dtype)),
    Taken("counts as 1 from 1/2 on", lambda x: (x >= 0.5).to(x.dtype)),
    Taken("is turned into 1 minus itself", lambda x: 1 - x),
    Taken("is divided by its sum", lambda x: x / x.sum()),
)
FOUR = (
    Taken("is read as xyxy where it is xywh", sides_of),
    Taken("is read as xywh where it is xyxy", corners_of),
    Taken("has its first corner taken for its centre", lambda x: _joined(_a(x) + _b(x) / 2, _b(x))),
    Taken("has its centre taken for its first corner", lambda x: _joined(_a(x) - _b(x) / 2, _b(x))),
    Taken("has 1 added to its last two columns", lambda x: _joined(_a(x), _b(x) + 1)),
)
COLUMN = (
    Taken("negated", torch.neg),
    Taken("taken as its absolute value", torch.abs),
    Taken("cut off below 0", lambda x: x.clamp(min=0)),
    Taken("halved", lambda x: x / 2),
    Taken("doubled", lambda x: x * 2),
    Taken("taken in degrees", lambda x: x * (math.pi / 180)),
    Taken("detached", torch.detach),
    Taken("left out (0)", torch.zeros_like),
)
ROWS = (
    *(
        Taken(f"is turned by {by} on its last axis but one", partial(torch.roll, shifts=by, dims=-2))
        for by in (1, 2, 3)
    ),
    Taken("has its last axis but one the other way round", lambda x: x.flip(-2)),
    Taken("has the places 1 and 3 of its last axis but one exchanged", lambda x: x[..., [0, 3, 2, 1], :]),
    Taken("has its last two axes exchanged", lambda x: x.transpose(-1, -2).reshape(x.shape)),
)
TRUTHS = (Taken("is ignored (all true)", torch.ones_like), Taken("is inverted", torch.logical_not))
NUMBERS = (Taken("is counted from 1", lambda x: x - 1), Taken("is shifted by one", lambda x: x + 1))


def _largest(x: Tensor) -> Tensor:
    largest: Tensor = torch.nn.functional.one_hot(x.argmax(-1), x.shape[-1])
    return largest.to(x.dtype)


def _a(x: Tensor) -> Tensor:
    return x[..., :2]


def _b(x: Tensor) -> Tensor:
    return x[..., 2:4]


def _joined(*parts: Tensor) -> Tensor:
    return torch.cat(parts, -1)


def taken(spec: Spec, settings: Params) -> Iterator[Variant]:
    """The reference with one input, every input of boxes, or two inputs exchanged, taken for something else."""
    for place, (name, domain) in enumerate(spec.inputs.items()):
        for one in _of(domain.axes, domain.dtype, name in spec.wrt):
            yield Variant(f"agrees when {name} {one.words}", changed(spec, (place,), one), settings)
    alike: dict[str, list[int]] = {}
    for place, domain in enumerate(spec.inputs.values()):
        alike.setdefault(domain.axes + domain.dtype, []).append(place)
    for places in (tuple(them) for them in alike.values() if len(them) > 1):
        names = [list(spec.inputs)[place] for place in places]
        for one in (*FOUR, *ANY):
            yield Variant(f"agrees when each of {', '.join(names)} {one.words}", changed(spec, places, one), settings)
        for pair in itertools.combinations(places, 2):
            words = " and ".join(list(spec.inputs)[place] for place in pair)
            yield Variant(f"agrees when {words} are exchanged", instead(spec, (pair, pair[::-1])), settings)
    yield from _turned(spec, settings)
    yield from _branches(spec, settings)
    yield from other_notation(spec, settings)
    for one in (*ANY, *FOUR, *WEIGHTS, *ROWS, *_columns(4), *_exchanges(4)) if len(spec.terms) == 1 else ():
        yield Variant(f"agrees when the result {one.words}", made_of_the_result(spec, one), settings)


def _turned(spec: Spec, settings: Params) -> Iterator[Variant]:
    """The reference with class ids that are one more, or one less, and begin again where there are no more classes."""
    axes = [domain.axes.split() for domain in spec.inputs.values()]
    having = [(place, them.index("c")) for place, them in enumerate(axes) if "c" in them]
    ids = [
        (place, name)
        for place, (name, one) in enumerate(spec.inputs.items())
        if one.dtype == "int64" and not one.indexes
    ]
    for (place, name), (by, words) in itertools.product(ids if having else (), ((1, "after"), (-1, "before"))):
        said = f"agrees when {name} counts as the class {words} it, and beyond the last one the first follows"
        yield Variant(said, next_class(spec, place, by, having[0]), settings)


@lru_cache(maxsize=64)
def next_class(spec: Spec, place: int, by: int, classes: tuple[int, int]) -> Target:
    """The reference with other class ids; `classes` are an input and its axis of classes."""

    def change(inputs: tuple[Any, ...]) -> list[Any]:
        count = inputs[classes[0]].shape[classes[1]]
        return [(x + by) % count if at == place else x for at, x in enumerate(inputs)]

    return _wrapped(spec, "other classes", change)


def _branches(spec: Spec, settings: Params) -> Iterator[Variant]:
    """The reference of a loss with two branches (boxes, one_boxes) that is given one of them twice."""
    names = list(spec.inputs)
    pairs = [(a, b) for a, b in itertools.permutations(range(len(names)), 2) if names[a].endswith(f"_{names[b]}")]
    for read, other in (*pairs, *((b, a) for a, b in pairs)):
        words = f"{names[other]} is read where {names[read]} is due"
        yield Variant(f"agrees when {words}", instead(spec, ((read, other),)), settings)
    if len(pairs) > 1:
        for both in (pairs, [(b, a) for a, b in pairs]):
            words = " and ".join(f"{names[other]} is read where {names[read]} is due" for read, other in both)
            yield Variant(f"agrees when {words}", instead(spec, tuple(both)), settings)


@lru_cache(maxsize=512)
def _of(axes: str, dtype: str, differentiable: bool) -> tuple[Taken, ...]:
    return tuple(_each_of(axes, dtype, differentiable))


def _each_of(axes: str, dtype: str, differentiable: bool) -> Iterator[Taken]:
    if dtype:
        yield from TRUTHS if dtype == "bool" else NUMBERS
        return
    yield from ANY if differentiable else (*WEIGHTS, *ANY)
    last = axes.split()[-1] if axes else ""
    yield from FOUR if last == "4" else ()
    if last.isdigit() and 1 < int(last) <= MOST_COLUMNS:
        yield from _exchanges(int(last))
        yield from _columns(int(last))
    for place, axis in enumerate(axes.split()):
        if axis[:1].isdigit() and not axis.isdigit():
            where = "its last axis" if axis is last else f"its axis {axis}"
            yield Taken(f"is read with {where} the other way round", partial(_regrouped, times_of(axis), place))


@lru_cache(maxsize=16)
def _exchanges(width: int) -> tuple[Taken, ...]:
    """Two columns in each other's place."""
    pairs = itertools.combinations(range(width), 2)
    return tuple(Taken(f"has its columns {a} and {b} exchanged", partial(_swapped, a, b)) for a, b in pairs)


@lru_cache(maxsize=16)
def _columns(width: int) -> tuple[Taken, ...]:
    """One column, or the last two of four, taken for something else."""
    groups = [(place,) for place in range(width)] + [(place, place + 1) for place in range(0, width - 1, 2)]
    return tuple(Taken(_words(group, one), partial(_in_columns, group, one)) for group in groups for one in COLUMN)


def _words(group: tuple[int, ...], one: Taken) -> str:
    return f"has its column{'s' * (len(group) > 1)} {' and '.join(map(str, group))} {one.words}"


def _in_columns(group: tuple[int, ...], one: Taken, x: Tensor) -> Tensor:
    parts = [one.change(part) if place in group else part for place, part in enumerate(x.unbind(-1))]
    return torch.stack(parts, -1)


def _swapped(one: int, other: int, x: Tensor) -> Tensor:
    order = list(range(x.shape[-1]))
    order[one], order[other] = order[other], order[one]
    return x[..., order]


def _regrouped(parts: int, axis: int, x: Tensor) -> Tensor:
    """An axis of parts x R numbers, read as one of R x parts."""
    regrouped: Tensor = x.movedim(axis, -1).unflatten(-1, (-1, parts)).transpose(-1, -2).flatten(-2).movedim(-1, axis)
    return regrouped


@lru_cache(maxsize=4096)
def changed(spec: Spec, places: tuple[int, ...], one: Taken) -> Target:
    """The reference, given something else in these places."""

    def change(inputs: tuple[Any, ...]) -> list[Any]:
        return [one.change(x) if at in places else x for at, x in enumerate(inputs)]

    return _wrapped(spec, one.words, change)


@lru_cache(maxsize=256)
def instead(spec: Spec, pairs: tuple[tuple[int, int], ...]) -> Target:
    """The reference that reads, in the first place of each pair, the input in the second."""
    other = dict(pairs)
    return _wrapped(spec, "other inputs", lambda inputs: [inputs[other.get(at, at)] for at in range(len(inputs))])


@lru_cache(maxsize=256)
def made_of_the_result(spec: Spec, one: Taken) -> Target:
    """The reference, with something else made of its result."""
    return given_back(spec, one.words, one.change)


def _wrapped(spec: Spec, words: str, change: Callable[[tuple[Any, ...]], list[Any]]) -> Target:
    def build(**params: Any) -> Any:
        return lambda *inputs: spec.reference(*change(inputs), **params)

    return otherwise(spec, words, build)
