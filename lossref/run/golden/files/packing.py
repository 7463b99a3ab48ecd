"""Arrays as they are kept: each in the narrowest dtype that holds it exactly, read back as float64; budgets as codes.

A tensor is named CASE/PART: input/NAME, value/TERM, gradient/NAME, budget/value/TERM, budget/gradient/NAME and, where a
case holds only some numbers of a gradient, at/NAME (their places in row-major order) and norm/NAME.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from safetensors.numpy import save

from lossref.core.nouns import Array
from lossref.run.golden.files.raw import digests_of, raw_of

Tensors = Mapping[str, Array]
DTYPES = ("float64", "float32", "float16", "bfloat16")
NARROWEST = ("bool", "uint8", "int8", "float16", "int16", "uint16", "float32", "int32", "float64")
STEPS = 16  # codes of a budget to an octave
NO_BUDGET = np.int16(2**15 - 1)  # infinite, or the dtype leaves a choice open


def narrow(array: Array) -> Array:
    """The same numbers, signs of zeros included, in the first of `NARROWEST` that holds them all."""
    exact = np.array(array, dtype=np.float64, order="C")
    kinds = NARROWEST[0:1] if array.dtype == bool else NARROWEST[1:]
    return next(held for name in kinds for held in [_held(exact, name)] if _same(held, exact))


def _held(exact: Array, name: str) -> Array:
    with np.errstate(all="ignore"):
        return exact.astype(name)


def _same(held: Array, exact: Array) -> bool:
    return held.astype(np.float64).tobytes() == exact.tobytes()


def wide(array: Array) -> Array:
    """As float64, which is what every kept number means."""
    return array.astype(np.float64)


def codes(budget: Array) -> Array:
    """Budgets as int16: 16 codes to an octave, rounded down, so by at most 6 % too strict and never too wide."""
    with np.errstate(all="ignore"):
        fraction, exponent = np.frexp(np.where(np.isfinite(budget), budget, 1.0))
        found = (exponent - 1) * STEPS + np.floor((2 * fraction - 1) * STEPS).astype(np.int64)
    return np.where(np.isfinite(budget) & (budget > 0), found, NO_BUDGET).astype(np.int16)


def budgets(kept: Array) -> Array:
    """The budgets that codes stand for: 2^(code // 16) (1 + code % 16 / 16); infinity where there is none."""
    whole, part = np.divmod(kept.astype(np.int64), STEPS)
    found = np.ldexp(1 + part / STEPS, np.where(kept == NO_BUDGET, 0, whole))
    return np.where(kept == NO_BUDGET, np.inf, found)


def budget_of(tensors: Tensors, part: str, dtype: str) -> Array:
    """The budgets of one part of an answer, "value/TERM" or "gradient/NAME", in one dtype."""
    return np.asarray(budgets(tensors[f"budget/{part}"])[DTYPES.index(dtype)])


def digests(tensors: Tensors) -> dict[str, str]:
    """The digest of inputs, answers and budgets of one case."""
    return digests_of({name: (x.dtype.name, x.shape, _bytes(x)) for name, x in tensors.items()})


def _bytes(array: Array) -> bytes:
    return np.asarray(array, array.dtype.newbyteorder("<")).tobytes()


def packed(cases: Mapping[str, Tensors]) -> bytes:
    """The .safetensors of all cases, by id. Their bytes depend on nothing but the arrays."""
    return bytes(
        save({f"{case}/{name}": np.array(x, order="C") for case, mine in cases.items() for name, x in mine.items()})
    )


def unpacked(name: str, content: bytes) -> dict[str, dict[str, Array]]:
    """The tensors by case and part. Raises `Damaged`."""
    cases = raw_of(name, content)
    return {case: {part: _array(*one) for part, one in mine.items()} for case, mine in cases.items()}


def _array(dtype: str, shape: tuple[int, ...], content: bytes) -> Array:
    return np.frombuffer(content, np.dtype(dtype).newbyteorder("<")).astype(dtype).reshape(shape)
