"""What may be done otherwise at one step of a formula: for each operation, words and the other step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from lossref.run.explain.derived import RAW, value_of

Constants = tuple[float | None, ...]
Usual = Callable[..., Any]
Other = Callable[..., Any]
SIZES = (1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3, 1.0)
LITTLE = 1e-2
FACTORS = (2.0, 0.5)
RESCALED = {
    **{2.0: "doubled", 0.5: "halved", -1.0: "negated", 4.0: "taken 4 times", 0.25: "a quarter of it"},
    **{math.pi: "taken pi times", 1 / math.pi: "divided by pi", math.pi / 4: "taken pi/4 times"},
}


class Change(NamedTuple):
    """What is done instead: in words, by whom, and whether it is only that a gradient is cut off."""

    words: str
    other: Other
    cuts: bool = False


def changes(name: str, args: Constants) -> Iterator[Change]:
    """All that is tried at a step of that name; `args` are the Python numbers among its operands."""
    yield from OF.get(name, _none)(args)
    if name not in ("less", "stop"):
        yield Change("is detached", _detached, cuts=True)
        yield from _cut_operands(args)


def _none(args: Constants) -> Iterator[Change]:
    yield from ()


def _number(m: Any, x: Any) -> Any:
    """The same as a number of the tape."""
    return x if hasattr(x, "tape") else m.number(float(x))


def _detached(m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    return RAW["stop"](m, usual(m, *args, **how))


def _operand(place: int, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    return _number(m, args[place])


def _cut(place: int, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    return usual(m, *(RAW["stop"](m, x) if at == place else x for at, x in enumerate(args)), **how)


def _cut_operands(args: Constants) -> Iterator[Change]:
    if len(args) == 2 and args == (None, None):
        yield Change("takes its first operand detached", partial(_cut, 0), cuts=True)
        yield Change("takes its second operand detached", partial(_cut, 1), cuts=True)


def _as(name: str, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    return RAW[name](m, *args)


def _turned(name: str, m: Any, usual: Usual, a: Any, b: Any) -> Any:
    return RAW[name](m, b, a)


def _after(name: str, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    return RAW[name](m, usual(m, *args, **how))


def _scaled(factor: float, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    return RAW["mul"](m, usual(m, *args, **how), factor)


def _squared(m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    found = usual(m, *args, **how)
    return RAW["mul"](m, found, found)


def _with(place: int, change: Callable[[Any, Any], Any], m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    return usual(m, *(change(m, x) if at == place else x for at, x in enumerate(args)), **how)


def _plus(size: float, m: Any, x: Any) -> Any:
    return RAW["add"](m, x, size)


def _at_least(size: float, m: Any, x: Any) -> Any:
    return RAW["clamp"](m, _number(m, x), low=size)


def _times(factor: float, m: Any, x: Any) -> Any:
    return value_of(x) * factor if not hasattr(x, "tape") else RAW["mul"](m, x, factor)


def _constant(size: float, m: Any, x: Any) -> Any:
    return size


# By operation ----------------------------------------------------------------------------------------


def _of_add(args: Constants) -> Iterator[Change]:
    yield Change("is without its second part", partial(_operand, 0))
    yield Change("is without its first part", partial(_operand, 1))
    yield Change("is a difference", partial(_as, "sub"))
    yield from _twice()
    yield from _little(args)


def _twice() -> Iterator[Change]:
    for place, word in ((1, "second"), (0, "first")):
        yield Change(f"has twice its {word} part", partial(_with, place, partial(_times, 2.0)))
        yield Change(f"has half its {word} part", partial(_with, place, partial(_times, 0.5)))


def _little(args: Constants) -> Iterator[Change]:
    """Other sizes of a small constant, or of one that nearly is a whole number (1 + eps)."""
    for place, x in enumerate(args):
        whole = 0 if x is None else round(x)
        if x is not None and 0 < abs(x - whole) <= LITTLE:
            for size in (0.0, *SIZES[:-1]):
                yield Change(f"has {whole + size!r} for {x!r}", partial(_with, place, partial(_constant, whole + size)))


def _of_sub(args: Constants) -> Iterator[Change]:
    yield Change("is without what is subtracted", partial(_operand, 0))
    yield Change("is only what is subtracted", partial(_operand, 1))
    yield Change("is a sum", partial(_as, "add"))
    yield Change("is the other way round", partial(_turned, "sub"))
    yield from _grown()
    yield from _twice()
    yield from _little(args)


def _grown() -> Iterator[Change]:
    """Sizes of boxes with an eps, or a pixel, that the formula has not."""
    for size in SIZES:
        yield Change(f"has {size!r} added to it", partial(_sum_with, size))
    yield Change("is its absolute value", partial(_after, "abs"))
    yield Change("is cut off below 0", partial(_floored, 0.0))


def _sum_with(size: float, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    return RAW["add"](m, usual(m, *args, **how), size)


def _floored(size: float, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    return RAW["clamp"](m, usual(m, *args, **how), low=size)


def _of_mul(args: Constants) -> Iterator[Change]:
    yield Change("is without its second factor", partial(_operand, 0))
    yield Change("is without its first factor", partial(_operand, 1))
    yield Change("is a quotient", partial(_as, "div"))
    yield Change("is a sum", partial(_as, "add"))
    yield Change("is squared", _squared)
    yield from _rescaled()


def _rescaled() -> Iterator[Change]:
    for factor, words in RESCALED.items():
        yield Change(f"is {words}", partial(_scaled, factor))


def _of_div(args: Constants) -> Iterator[Change]:
    yield Change("is not divided", partial(_operand, 0))
    yield Change("is a product", partial(_as, "mul"))
    yield Change("is squared", _squared)
    if args[1] is None:
        for size in SIZES:
            yield Change(f"has {size!r} added to its divisor", partial(_with, 1, partial(_plus, size)))
            yield Change(f"has its divisor kept at {size!r} or above", partial(_with, 1, partial(_at_least, size)))
    yield from _rescaled()


def _of_neg(args: Constants) -> Iterator[Change]:
    yield Change("has the other sign", partial(_operand, 0))


def _of_clamp(args: Constants) -> Iterator[Change]:
    yield Change("is left out", partial(_operand, 0))
    yield Change("has its lower bound alone", partial(_one_bound, "low"))
    yield Change("has its upper bound alone", partial(_one_bound, "high"))
    yield Change("passes no gradient at its bound", _strict)
    yield Change("passes the gradient beyond its bounds, too", _straight)


def _one_bound(kept: str, m: Any, usual: Usual, x: Any, **how: Any) -> Any:
    return usual(m, x, **{name: bound for name, bound in how.items() if name == kept})


def _strict(m: Any, usual: Usual, x: Any, **how: Any) -> Any:
    found = usual(m, x, **how)
    return RAW["stop"](m, found) if value_of(found) in how.values() else found


def _straight(m: Any, usual: Usual, x: Any, **how: Any) -> Any:
    return RAW["add"](m, x, value_of(usual(m, x, **how)) - value_of(x))


def _of_choice(args: Constants) -> Iterator[Change]:
    yield Change("is the smaller one", partial(_as, "min"))
    yield Change("is the larger one", partial(_as, "max"))
    yield Change("is always the first", partial(_operand, 0))
    yield Change("is always the second", partial(_operand, 1))
    yield Change("gives all of the gradient to the first at a tie", partial(_at_a_tie, 0))
    yield Change("gives all of the gradient to the second at a tie", partial(_at_a_tie, 1))
    yield Change("gives each all of the gradient at a tie", _doubled_tie)
    yield Change("gives no gradient at a tie", _no_tie)


def _at_a_tie(place: int, m: Any, usual: Usual, a: Any, b: Any) -> Any:
    return usual(m, a, b) if value_of(a) != value_of(b) else _number(m, (a, b)[place])


def _doubled_tie(m: Any, usual: Usual, a: Any, b: Any) -> Any:
    found = usual(m, a, b)
    doubled = RAW["sub"](m, RAW["add"](m, found, found), value_of(found))
    return found if value_of(a) != value_of(b) else doubled


def _no_tie(m: Any, usual: Usual, a: Any, b: Any) -> Any:
    return usual(m, a, b) if value_of(a) != value_of(b) else RAW["stop"](m, a)


def _of_function(args: Constants) -> Iterator[Change]:
    yield Change("is left out", partial(_operand, 0))
    yield Change("is squared", _squared)
    yield Change("takes twice its argument", partial(_with, 0, partial(_times, 2.0)))
    yield Change("takes half its argument", partial(_with, 0, partial(_times, 0.5)))
    yield Change("takes minus its argument", partial(_with, 0, partial(_times, -1.0)))
    yield Change("takes degrees for radians", partial(_with, 0, partial(_times, math.pi / 180)))
    for size in (*SIZES[:-1], 1.0):
        yield Change(f"has {size!r} added to its argument", partial(_with, 0, partial(_plus, size)))
        yield Change(f"has its argument kept at {size!r} or above", partial(_with, 0, partial(_at_least, size)))
    yield from _rescaled()


LIKE = {"log": ("log1p",), "log1p": ("log",), "sin": ("cos",), "cos": ("sin",), "sqrt": ("abs",)}


def _of_named(name: str, args: Constants) -> Iterator[Change]:
    yield from _of_function(args)
    for other in LIKE.get(name, ()):
        yield Change(f"is {other}", partial(_as, other))


def _of_sigmoid(args: Constants) -> Iterator[Change]:
    yield from _of_function(args)
    yield Change("is applied twice", partial(_after, "sigmoid"))


def _of_sum(args: Constants) -> Iterator[Change]:
    yield Change("is a mean", _mean)
    yield Change("is its first part alone", _first)
    yield from _rescaled()


def _mean(m: Any, usual: Usual, xs: Any) -> Any:
    parts = tuple(xs)
    return RAW["div"](m, usual(m, parts), len(parts))


def _first(m: Any, usual: Usual, xs: Any) -> Any:
    parts = tuple(xs)
    return _number(m, parts[0]) if parts else m.number(0.0)


def _of_pow(args: Constants) -> Iterator[Change]:
    yield Change("is left out", partial(_operand, 0))
    yield Change("is 1", lambda m, usual, x, exponent: m.number(1.0))
    for size in (1.0, 2.0, 3.0, 0.5):
        yield Change(f"has the exponent {size:g}", partial(_with, 1, partial(_constant, size)))
    for factor in FACTORS:
        yield Change(f"has {factor:g} times its exponent", partial(_with, 1, partial(_times, factor)))
    for size in SIZES[:-1]:
        yield Change(f"has {size!r} added to its base", partial(_with, 0, partial(_plus, size)))
        yield Change(f"has its base kept at {size!r} or above", partial(_with, 0, partial(_at_least, size)))


def _of_stop(args: Constants) -> Iterator[Change]:
    yield Change("is left out", partial(_operand, 0), cuts=True)


def _of_less(args: Constants) -> Iterator[Change]:
    yield Change("holds at equality, too", lambda m, usual, a, b: value_of(a) <= value_of(b))
    yield Change("is turned round", lambda m, usual, a, b: value_of(a) >= value_of(b))
    yield Change("always holds", lambda m, usual, a, b: True)
    yield Change("never holds", lambda m, usual, a, b: False)


OF: dict[str, Callable[[tuple[Any, ...]], Iterator[Change]]] = {
    "add": _of_add,
    "sub": _of_sub,
    "mul": _of_mul,
    "div": _of_div,
    "neg": _of_neg,
    "clamp": _of_clamp,
    "min": _of_choice,
    "max": _of_choice,
    "sigmoid": _of_sigmoid,
    "sum": _of_sum,
    "pow": _of_pow,
    "stop": _of_stop,
    "less": _of_less,
    **{name: partial(_of_named, name) for name in ("exp", "log", "log1p", "sqrt", "sin", "cos", "atan", "erf", "abs")},
    "softplus": _of_function,
    "logsumexp": _none,
}
