"""The operations of an oracle on plain floats, each with its partial derivatives: `RAW`, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

HALF = 0.5


def value_of(x: Any) -> float:
    """The float in a number, or the float itself."""
    return float(getattr(x, "value", x))


def made(m: Any, value: float, *inputs: tuple[Any, float]) -> Any:
    """A new number on the tape of `m`; what is no number of it takes no gradient."""
    return m.made(value, tuple((x, slope) for x, slope in inputs if hasattr(x, "tape")))


def _add(m: Any, a: Any, b: Any) -> Any:
    return made(m, value_of(a) + value_of(b), (a, 1.0), (b, 1.0))


def _sub(m: Any, a: Any, b: Any) -> Any:
    return made(m, value_of(a) - value_of(b), (a, 1.0), (b, -1.0))


def _mul(m: Any, a: Any, b: Any) -> Any:
    return made(m, value_of(a) * value_of(b), (a, value_of(b)), (b, value_of(a)))


def _div(m: Any, a: Any, b: Any) -> Any:
    over, under = value_of(a), value_of(b)
    quotient = _over(over, under)
    return made(m, quotient, (a, _over(1.0, under)), (b, _over(-quotient, under)))


def _over(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if not a or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _neg(m: Any, x: Any) -> Any:
    return made(m, -value_of(x), (x, -1.0))


def _pow_(m: Any, x: Any, exponent: float) -> Any:
    if exponent == 0:
        return made(m, 1.0)
    with np.errstate(all="ignore"):
        base = np.float64(value_of(x))
        return made(m, float(base**exponent), (x, float(exponent * base ** (exponent - 1))))


def _stop(m: Any, x: Any) -> Any:
    return made(m, value_of(x))


def _clamp(m: Any, x: Any, low: float | None = None, high: float | None = None) -> Any:
    value = value_of(x)
    if low is not None and value < low:
        return made(m, float(low))
    return made(m, float(high)) if high is not None and value > high else made(m, value, (x, 1.0))


def _least(m: Any, a: Any, b: Any) -> Any:
    return _pick(m, a, b, value_of(a) - value_of(b))


def _most(m: Any, a: Any, b: Any) -> Any:
    return _pick(m, a, b, value_of(b) - value_of(a))


def _pick(m: Any, a: Any, b: Any, side: float) -> Any:
    if a is b:
        return a
    if side == 0:
        return made(m, value_of(a), (a, HALF), (b, HALF))
    chosen = a if side < 0 else b
    return made(m, value_of(chosen), (chosen, 1.0))


def _absolute(m: Any, x: Any) -> Any:
    value = value_of(x)
    return made(m, abs(value), (x, float(np.sign(value))))


def sigmoid_of(x: float) -> float:
    """1 / (1 + e^-x)."""
    return 1 / (1 + math.exp(-x)) if x > 0 else (math.exp(x) / (1 + math.exp(x)) if x > -745 else 0.0)


def _softplus(m: Any, x: Any) -> Any:
    v = value_of(x)
    return made(m, max(v, 0.0) + math.log1p(math.exp(-abs(v))), (x, sigmoid_of(v)))


def _sigmoid(m: Any, x: Any) -> Any:
    p, q = sigmoid_of(value_of(x)), sigmoid_of(-value_of(x))
    return made(m, p, (x, p * q))


def _logsumexp(m: Any, xs: Any) -> Any:
    values = [value_of(x) for x in xs]
    top = max(values)
    parts = [math.exp(value - top) for value in values]
    total = sum(parts)
    return made(m, top + math.log(total), *((x, part / total) for x, part in zip(xs, parts, strict=True)))


def _total(m: Any, xs: Any) -> Any:
    xs = tuple(xs)
    return made(m, math.fsum(map(value_of, xs)), *((x, 1.0) for x in xs))


def _less(m: Any, a: Any, b: Any) -> bool:
    return value_of(a) < value_of(b)


def _smooth(f: Callable[[Any], Any], slope: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def applied(m: Any, x: Any) -> Any:
        with np.errstate(all="ignore"):
            at = np.float64(value_of(x))
            value = f(at)
            return made(m, float(value), (x, float(slope(at, value))))

    return applied


RAW: dict[str, Callable[..., Any]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    "pow": _pow_,
    "stop": _stop,
    "clamp": _clamp,
    "min": _least,
    "max": _most,
    "abs": _absolute,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "logsumexp": _logsumexp,
    "sum": _total,
    "less": _less,
    "exp": _smooth(np.exp, lambda x, y: y),
    "log": _smooth(np.log, lambda x, y: 1 / x),
    "log1p": _smooth(np.log1p, lambda x, y: 1 / (1 + x)),
    "sqrt": _smooth(np.sqrt, lambda x, y: HALF / y),
    "sin": _smooth(np.sin, lambda x, y: np.cos(x)),
    "cos": _smooth(np.cos, lambda x, y: -np.sin(x)),
    "atan": _smooth(np.arctan, lambda x, y: 1 / (1 + x * x)),
    "erf": _smooth(math.erf, lambda x, y: 2 / math.sqrt(math.pi) * math.exp(-x * x)),
}
