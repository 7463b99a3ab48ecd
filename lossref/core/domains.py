"""Where the inputs of a loss live: `Domain`, its parameters, `Param`, and sizes that follow from others, `Derived`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from lossref.core.axes import shape_of
from lossref.core.picking import Draw, Pick, hypothesis_pick, rng_pick, spread

Array = np.ndarray[Any, Any]
Params = Mapping[str, Any]
Drawn = tuple[Array, tuple[str, ...]]


@dataclass(frozen=True)
class Span:
    """Which numbers a setting may be: `low` to `high`, both included; only integers where it counts something.

    Ends are sums of a few powers of two, for what lies between is drawn in 64ths, which every dtype holds.
    """

    low: float
    high: float
    whole: bool = False

    def values(self, rng: np.random.Generator, tiny: bool = False) -> tuple[float, ...]:
        """Those that are worth a test: small ones, the ends, integers for a float, and one that stands in no list.

        A `tiny` one only of an eps: what stands beside 1 may be kept in float32.
        """
        small = (2, 3, 5, 7, 8) if self.whole else (0.0, 0.5, 1, 2, *((2.0**-30,) if tiny else ()))
        listed = (self.low, *(one for one in small if self.low <= one <= self.high), self.high, self.any(rng))
        return tuple({(type(one), one): one for one in listed}.values())

    def any(self, rng: np.random.Generator) -> float:
        """One of them."""
        if self.whole:
            return int(rng.integers(int(self.low), int(self.high) + 1))
        return self.low + (self.high - self.low) * int(rng.integers(1, 64)) / 64


@dataclass(frozen=True)
class Param:
    """One parameter of a loss: its default, other values worth a test, and what it does.

    `convention=True` marks a choice of notation (xyxy or xywh, say): an implementation that has no
    such parameter is tested under whichever choice it follows, and the verdict says which. `small=True` marks a
    number like eps, of which implementations have many: an explanation tries the usual sizes. `on_cuda` are pairs of
    values: the first means there what the second says. `means` tells for values what having them does. `stated=False`
    marks a default that is none of the specification's: the tests need some size of a model, or a small number. `span`
    says which numbers it may be, of which some are asked beside the `others`.
    """

    default: Any
    others: tuple[Any, ...]
    doc: str
    convention: bool = False
    small: bool = False
    on_cuda: tuple[tuple[Any, Any], ...] = ()
    means: Mapping[Any, str] = field(default_factory=dict, hash=False)
    stated: bool = True
    span: Span | None = None

    def meaning(self, value: Any) -> str:
        """What an implementation does that has this value; nothing where there are no words for it."""
        words = self.means.get(value, "") if isinstance(value, Hashable) else ""
        return words or (self.means.get("", "").format(value) if value != self.default else "")


@dataclass(frozen=True)
class Derived:
    """A size that follows from others: `size(*values)` of the sizes and parameters named in `of`."""

    of: tuple[str, ...]
    size: Callable[..., int]


@dataclass(frozen=True)
class Domain:
    """Where one input lives.

    axes:     names and sizes, "n 4"; "4n R" is four times n, by R; "" is a single number
    dtype:    "bool" or "int64" where the input is that in every dtype under test
    units:    what the numbers mean, for people
    families: name -> draw(pick, rows, given, dims), the structured ways to fill rows
    row:      number of trailing axes that are drawn together
    given:    the input that this one is drawn in relation to
    legal:    None, or what is wrong with the values under these parameters
    layout:   from the form in which rows are drawn to the one the parameters ask for
    leave_out: families that do not exist under these parameters
    kink:     a number at which careless implementations have a kink that the formula does not have
    unit:     the length over which the loss changes by about 1; None: that of the row, see extent
    extent:   for each row, the shortest length in it that is not zero
    nan_free: a NaN may vanish here, because not every number of this input has an effect
    indexes:  the axis whose places its numbers are; objects out of order, or of no place, are asked apart ("rare")
    flat:     an array with one side (0: width, 1: height) of every box at 0, in the form that the parameters ask for
    leading:  whether any number of axes may stand in place of the first one, as the specification says
    refused:  axes, "b c", of which the specification says that another size is refused; of the rest it says nothing
    """

    axes: str
    units: str
    families: Mapping[str, Draw]
    row: int = 1
    given: str | None = None
    legal: Callable[[Array, Params], str | None] = lambda x, params: None
    layout: Callable[[Array, Params], Array] = lambda x, params: x
    leave_out: Callable[[Params], tuple[str, ...]] = lambda params: ()
    unit: float | None = 1.0
    kink: float | None = None
    extent: Callable[[Array, Params], Array] | None = None
    dtype: str = ""
    nan_free: bool = False
    indexes: str = ""
    flat: Callable[[Array, Params, int], Array] | None = None
    leading: bool = False
    refused: str = ""

    def shape(self, dims: Mapping[str, Any]) -> tuple[int, ...]:
        """The shape of this input at the given sizes, e.g. {"n": 3} -> (3, 4)."""
        return shape_of(self.axes, dims)

    def why_not(self, x: Array, params: Params) -> str | None:
        """None for a legal array, else the sentence the user sees."""
        axes = self.axes.split()
        if x.dtype.kind not in "fiub":
            return f"expected real numbers, got dtype {x.dtype}"
        if (x.ndim < 1 and axes) or (axes and axes[-1].isdigit() and x.shape[-1] != int(axes[-1])):
            return f"expected shape ({', '.join(axes)}), got {tuple(x.shape)}"
        if not np.all(np.isfinite(x)):
            return "expected finite numbers, got NaN or infinity"
        return self.legal(x, params)

    def draw(self, pick: Pick, dims: Mapping[str, Any], given: Array | None, order: Array) -> Array:
        """Fill the rows: row i comes from family number order[i]."""
        shape = self.shape(dims)
        row_shape = shape[len(shape) - self.row :]
        rows_size = int(np.prod(row_shape))
        flat_given = None if given is None else given.reshape(len(order), rows_size)
        rows = np.zeros((len(order), rows_size))
        for number, draw in enumerate(self.families.values()):
            mine = np.flatnonzero(order == number)
            if len(mine):
                part = None if flat_given is None else flat_given[mine]
                rows[mine] = draw(pick, len(mine), part, dict(dims, row=rows.shape[1]))
        return rows.reshape(shape)

    def count(self, dims: Mapping[str, Any]) -> int:
        """Number of rows at the given sizes."""
        shape = self.shape(dims)
        return int(np.prod(shape[: len(shape) - self.row]))

    def allowed(self, dims: Mapping[str, Any]) -> Array:
        """Numbers of the families that exist under the parameters in `dims`."""
        absent = self.leave_out(dims)
        return np.array([i for i, name in enumerate(self.families) if name not in absent])

    def bulk(self, rng: np.random.Generator, dims: Mapping[str, Any], given: Array | None = None) -> Drawn:
        """One array, its rows spread evenly over the families."""
        allowed = self.allowed(dims)
        order = allowed[spread(rng, len(allowed), self.count(dims))]
        return self.draw(rng_pick(rng), dims, given, order), self._names(order)

    def strategy(self, dims: Mapping[str, Any], given: Array | None = None, only: Any = None) -> Any:
        """The same as a Hypothesis strategy of (array, family names); `only` limits the families."""
        wanted = [i for i in self.allowed(dims).tolist() if only is None or list(self.families)[i] in only]
        return _composite()(self, dims, given, wanted)

    def _names(self, order: Array) -> tuple[str, ...]:
        names = list(self.families)
        return tuple(names[i] for i in order)


@cache
def _composite() -> Any:
    """The strategy of (array, family names) as a function of the domain, made once: Hypothesis reads its source."""
    from hypothesis import strategies as st

    @st.composite
    def arrays(draw: Any, domain: Domain, dims: Mapping[str, Any], given: Array | None, wanted: list[int]) -> Drawn:
        rows = domain.count(dims)
        order = np.array(draw(st.lists(st.sampled_from(wanted), min_size=rows, max_size=rows)), dtype=int)
        return domain.draw(hypothesis_pick(draw), dims, given, order), domain._names(order)

    return arrays
