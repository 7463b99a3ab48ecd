"""Other steps: what is done at a place of a formula instead of the usual operation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lossref.run.causes.explain.formula.derived import RAW, value_of

Usual = Callable[..., Any]


def number(m: Any, x: Any) -> Any:
    """The same as a number of the tape."""
    return x if hasattr(x, "tape") else m.number(float(x))


def detached(m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """The usual result with no gradient through it."""
    return RAW["stop"](m, usual(m, *args, **how))


def rounded(m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """The usual result, rounded to float32."""
    found = usual(m, *args, **how)
    with np.errstate(over="ignore"):
        return RAW["add"](m, found, float(np.float32(value_of(found))) - value_of(found))


def operand(place: int, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """One of the operands itself."""
    return number(m, args[place])


def cut(place: int, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """The usual step on one operand that takes no gradient."""
    return usual(m, *(RAW["stop"](m, x) if at == place else x for at, x in enumerate(args)), **how)


def as_(name: str, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """Another operation on the same operands."""
    return RAW[name](m, *args)


def turned(name: str, m: Any, usual: Usual, a: Any, b: Any) -> Any:
    """Another operation on the operands in the other order."""
    return RAW[name](m, b, a)


def after(name: str, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """Another operation on the usual result."""
    return RAW[name](m, usual(m, *args, **how))


def scaled(factor: float, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """A multiple of the usual result."""
    return RAW["mul"](m, usual(m, *args, **how), factor)


def squared(m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """The square of the usual result."""
    found = usual(m, *args, **how)
    return RAW["mul"](m, found, found)


def with_(place: int, change: Callable[[Any, Any], Any], m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """The usual step on one operand that is changed."""
    return usual(m, *(change(m, x) if at == place else x for at, x in enumerate(args)), **how)


def plus(size: float, m: Any, x: Any) -> Any:
    """An operand and a little."""
    return RAW["add"](m, x, size)


def with_eps(place: int, change: Callable[[float, Any, Any], Any], m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """The usual step on one operand that is changed by the eps of the case. Raises ValueError where it has none."""
    if m.eps is None:
        raise ValueError("no eps")
    return with_(place, partial(change, m.eps), m, usual, *args, **how)


def at_least(size: float, m: Any, x: Any) -> Any:
    """An operand that is kept from becoming small."""
    return RAW["clamp"](m, number(m, x), low=size)


def times(factor: float, m: Any, x: Any) -> Any:
    """A multiple of an operand."""
    return value_of(x) * factor if not hasattr(x, "tape") else RAW["mul"](m, x, factor)


def _narrow(m: Any, x: Any) -> Any:
    """A Python number in float32; a number of the tape as it is."""
    return x if hasattr(x, "tape") else float(np.float32(x))


kept_narrow = (partial(with_, 0, _narrow), partial(with_, 1, _narrow))
"""The usual step on a constant operand, the first or the second, in float32."""


def constant(size: float, m: Any, x: Any) -> Any:
    """Another constant."""
    return size


def sum_with(size: float, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """The usual result and a little."""
    return RAW["add"](m, usual(m, *args, **how), size)


def with_eps_added(m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """The usual result and the eps of the case. Raises ValueError where it has none."""
    if m.eps is None:
        raise ValueError("no eps")
    return RAW["add"](m, usual(m, *args, **how), m.eps)


def without_eps(m: Any, usual: Usual, a: Any, b: Any) -> Any:
    """A sum without its constant part."""
    return number(m, a if hasattr(a, "tape") else b)


def kept_below(size: float, m: Any, usual: Usual, x: Any) -> Any:
    """The usual step, and beyond a size the operand itself, as torch's softplus."""
    return x if value_of(x) > size else usual(m, x)


def floored(size: float, m: Any, usual: Usual, *args: Any, **how: Any) -> Any:
    """The usual result, cut off below."""
    return RAW["clamp"](m, usual(m, *args, **how), low=size)


def one_bound(kept: str, m: Any, usual: Usual, x: Any, **how: Any) -> Any:
    """A clamp with one of its bounds."""
    return usual(m, x, **{name: bound for name, bound in how.items() if name == kept})


def strict(m: Any, usual: Usual, x: Any, **how: Any) -> Any:
    """A clamp through which no gradient flows at its bounds."""
    found = usual(m, x, **how)
    return RAW["stop"](m, found) if value_of(found) in how.values() else found


def straight(m: Any, usual: Usual, x: Any, **how: Any) -> Any:
    """A clamp through which the gradient flows everywhere."""
    return RAW["add"](m, x, value_of(usual(m, x, **how)) - value_of(x))


def at_a_tie(place: int, m: Any, usual: Usual, a: Any, b: Any) -> Any:
    """A choice that gives all of the gradient to one side at a tie."""
    return usual(m, a, b) if value_of(a) != value_of(b) else number(m, (a, b)[place])


def doubled_tie(m: Any, usual: Usual, a: Any, b: Any) -> Any:
    """A choice that gives each side all of the gradient at a tie."""
    found = usual(m, a, b)
    doubled = RAW["sub"](m, RAW["add"](m, found, found), value_of(found))
    return found if value_of(a) != value_of(b) else doubled


def no_tie(m: Any, usual: Usual, a: Any, b: Any) -> Any:
    """A choice that gives no gradient at a tie."""
    return usual(m, a, b) if value_of(a) != value_of(b) else RAW["stop"](m, a)


def mean(m: Any, usual: Usual, xs: Any) -> Any:
    """The mean for the sum."""
    parts = tuple(xs)
    return RAW["div"](m, usual(m, parts), len(parts))


def first(m: Any, usual: Usual, xs: Any) -> Any:
    """The first part of a sum."""
    parts = tuple(xs)
    return number(m, parts[0]) if parts else m.number(0.0)
