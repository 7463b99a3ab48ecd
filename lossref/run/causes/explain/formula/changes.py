"""What may be done otherwise at one step of a formula: for each operation, words and the other step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from lossref.run.causes.explain.formula.constants import SIZES, Change, kept_in_float32, little
from lossref.run.causes.explain.formula.derived import value_of
from lossref.run.causes.explain.formula.plain import Constants
from lossref.run.causes.explain.formula.steps import (
    after,
    as_,
    at_a_tie,
    at_least,
    constant,
    cut,
    detached,
    doubled_tie,
    first,
    floored,
    kept_below,
    mean,
    no_tie,
    one_bound,
    operand,
    plus,
    rounded,
    scaled,
    squared,
    straight,
    strict,
    sum_with,
    times,
    turned,
    with_,
    with_eps,
)

FACTORS = (2.0, 0.5)
RESCALED = {
    **{2.0: "doubled", 0.5: "halved", -1.0: "negated", 4.0: "taken 4 times", 0.25: "a quarter of it"},
    **{math.pi: "taken pi times", 1 / math.pi: "divided by pi", math.pi / 4: "taken pi/4 times"},
}


def _cut_operands(args: Constants) -> Iterator[Change]:
    if len(args) == 2 and args == (None, None):
        yield Change("takes its first operand detached", partial(cut, 0), cuts=True)
        yield Change("takes its second operand detached", partial(cut, 1), cuts=True)


def _none(args: Constants) -> Iterator[Change]:
    yield from ()


def _of_add(args: Constants) -> Iterator[Change]:
    yield Change("is without its second part", partial(operand, 0))
    yield Change("is without its first part", partial(operand, 1))
    yield Change("is a difference", partial(as_, "sub"))
    yield from _twice()
    yield from little(args)


def _twice() -> Iterator[Change]:
    for place, word in ((1, "second"), (0, "first")):
        yield Change(f"has twice its {word} part", partial(with_, place, partial(times, 2.0)))
        yield Change(f"has half its {word} part", partial(with_, place, partial(times, 0.5)))


def _of_sub(args: Constants) -> Iterator[Change]:
    yield Change("is without what is subtracted", partial(operand, 0))
    yield Change("is only what is subtracted", partial(operand, 1))
    yield Change("is a sum", partial(as_, "add"))
    yield Change("is the other way round", partial(turned, "sub"))
    yield from _grown()
    yield from _twice()
    yield from little(args)


def _grown() -> Iterator[Change]:
    """Sizes of boxes with an eps, or a pixel, that the formula has not."""
    for size in SIZES:
        yield Change(f"has {size!r} added to it", partial(sum_with, size))
    yield Change("is its absolute value", partial(after, "abs"))
    yield Change("is cut off below 0", partial(floored, 0.0))


def _of_mul(args: Constants) -> Iterator[Change]:
    yield Change("is without its second factor", partial(operand, 0))
    yield Change("is without its first factor", partial(operand, 1))
    yield Change("is a quotient", partial(as_, "div"))
    yield Change("is a sum", partial(as_, "add"))
    yield Change("is squared", squared)
    for place in (at for at, x in enumerate(args) if x is not None and 0 < x < 1):
        yield Change("has 1 - c for its constant factor c", partial(with_, place, lambda m, x: 1 - x))
    yield from _rescaled()


def _rescaled() -> Iterator[Change]:
    for factor, words in RESCALED.items():
        yield Change(f"is {words}", partial(scaled, factor))


def _of_div(args: Constants) -> Iterator[Change]:
    yield Change("is not divided", partial(operand, 0))
    yield Change("is a product", partial(as_, "mul"))
    yield Change("is squared", squared)
    yield from _rescaled()
    if args[1] is None:
        yield Change("has eps added to its divisor", partial(with_eps, 1, plus))
        yield Change("has its divisor kept at eps or above", partial(with_eps, 1, at_least))
    if args[0] is None:
        yield Change("has eps added to its dividend", partial(with_eps, 0, plus))
    if args[1] is None:
        for size in SIZES:
            yield Change(f"has {size!r} added to its divisor", partial(with_, 1, partial(plus, size)))
            yield Change(f"has its divisor kept at {size!r} or above", partial(with_, 1, partial(at_least, size)))


def _of_neg(args: Constants) -> Iterator[Change]:
    yield Change("has the other sign", partial(operand, 0))


def _of_clamp(args: Constants) -> Iterator[Change]:
    yield Change("is left out", partial(operand, 0))
    yield Change("has its lower bound alone", partial(one_bound, "low"))
    yield Change("has its upper bound alone", partial(one_bound, "high"))
    yield Change("passes no gradient at its bound", strict, flows=True)
    yield Change("passes the gradient beyond its bounds, too", straight, flows=True)


def _of_choice(args: Constants) -> Iterator[Change]:
    yield Change("is the smaller one", partial(as_, "min"))
    yield Change("is the larger one", partial(as_, "max"))
    yield Change("is always the first", partial(operand, 0))
    yield Change("is always the second", partial(operand, 1))
    yield Change("gives all of the gradient to the first at a tie", partial(at_a_tie, 0), flows=True)
    yield Change("gives all of the gradient to the second at a tie", partial(at_a_tie, 1), flows=True)
    yield Change("gives each all of the gradient at a tie", doubled_tie, flows=True)
    yield Change("gives no gradient at a tie", no_tie, flows=True)


def _of_function(args: Constants) -> Iterator[Change]:
    yield Change("is left out", partial(operand, 0))
    yield Change("is squared", squared)
    yield Change("takes twice its argument", partial(with_, 0, partial(times, 2.0)))
    yield Change("takes half its argument", partial(with_, 0, partial(times, 0.5)))
    yield Change("takes minus its argument", partial(with_, 0, partial(times, -1.0)))
    yield Change("takes degrees for radians", partial(with_, 0, partial(times, math.pi / 180)))
    for size in (*SIZES[:-1], 1.0):
        yield Change(f"has {size!r} added to its argument", partial(with_, 0, partial(plus, size)))
        yield Change(f"has its argument kept at {size!r} or above", partial(with_, 0, partial(at_least, size)))
    yield from _rescaled()


LIKE = {"log": ("log1p",), "log1p": ("log",), "sin": ("cos",), "cos": ("sin",), "sqrt": ("abs",)}


def _of_named(name: str, args: Constants) -> Iterator[Change]:
    yield from _of_function(args)
    for other in LIKE.get(name, ()):
        yield Change(f"is {other}", partial(as_, other))


def _of_sigmoid(args: Constants) -> Iterator[Change]:
    yield from _of_function(args)
    yield Change("is applied twice", partial(after, "sigmoid"))


def _of_softplus(args: Constants) -> Iterator[Change]:
    yield Change("is its argument above 20, the threshold of torch's softplus", partial(kept_below, 20.0))
    yield from _of_function(args)


def _of_sum(args: Constants) -> Iterator[Change]:
    yield Change("is a mean", mean)
    yield Change("is its first part alone", first)
    yield from _rescaled()


def _of_pow(args: Constants) -> Iterator[Change]:
    yield Change("is left out", partial(operand, 0))
    yield Change("is 1", lambda m, usual, x, exponent: m.number(1.0))
    yield Change("is a product", partial(as_, "mul"))
    for size in (1.0, 2.0, 3.0, 0.5):
        yield Change(f"has the exponent {size:g}", partial(with_, 1, partial(constant, size)))
    for factor in FACTORS:
        yield Change(f"has {factor:g} times its exponent", partial(with_, 1, partial(times, factor)))
    for size in SIZES[:-1]:
        yield Change(f"has {size!r} added to its base", partial(with_, 0, partial(plus, size)))
        yield Change(f"has its base kept at {size!r} or above", partial(with_, 0, partial(at_least, size)))


def _of_stop(args: Constants) -> Iterator[Change]:
    yield Change("is left out", partial(operand, 0), cuts=True)


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
    "softplus": _of_softplus,
    "logsumexp": _none,
}


def changes(name: str, args: Constants) -> Iterator[Change]:
    """All that is tried at a step of that name; `args` are the Python numbers among its operands."""
    yield from OF.get(name, _none)(args)
    if name not in ("less", "stop"):
        yield Change("is detached", detached, cuts=True)
        yield Change("is rounded to float32", rounded)
        yield from kept_in_float32(args[:2]) if name in ("add", "sub", "mul", "div") else ()
        yield from _cut_operands(args)
