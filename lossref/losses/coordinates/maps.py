"""What the maps between boxes, points and distances have in common: families of inputs, sizes, laws.

Source: spec/10-geometry.md sections 1, 6 to 9. The maps are linear in all lengths, so their gradients have
no length of their own: every domain has the extent 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lossref.core.families import BOX_FAMILIES, ordinary_box
from lossref.core.laws import Law, differs
from lossref.core.nouns import Array, Domain, Params
from lossref.core.picking import Draw, Pick


def inverted_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """An ordinary box whose corners have changed places: both sizes are negative."""
    return ordinary_box(pick, rows, given, dims)[:, [2, 3, 0, 1]]


ANY_BOX_FAMILIES: dict[str, Draw] = {**BOX_FAMILIES, "inverted": inverted_box}


def _grid(low: int, high: int, per_unit: int, shift: float = 0.0) -> Draw:
    """low to high in steps of 1 / per_unit (both are numbers of steps), plus a shift."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        row = dims["row"]
        return pick(low, high, rows * row).reshape(rows, row) / per_unit + shift

    return draw


def symmetric_distances(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """l = r and t = b: the point is the centre, and no rotation shows."""
    half = pick(1, 64, 2 * rows).reshape(rows, 2) / 8
    return np.concatenate([half, half], axis=1)


POINT_FAMILIES: dict[str, Draw] = {
    "cell centre": _grid(0, 79, 1, 0.5),
    "cell corner": _grid(0, 79, 1),
    "anywhere": _grid(-256, 768, 8),
}

DISTANCE_FAMILIES: dict[str, Draw] = {
    "ordinary": _grid(0, 128, 8),
    "symmetric": symmetric_distances,
    "zero": _grid(0, 0, 1),
    "negative": _grid(-64, 0, 8),
    "large": _grid(0, 1024, 1),
}

ANGLE_FAMILIES: dict[str, Draw] = {
    "label range": _grid(-25, 75, 32),
    "zero": _grid(0, 0, 1),
    "tiny": _grid(-4, 3, 2048, 2.0**-12),
    "beyond pi": _grid(202, 804, 64),
}

ROW_SIZES = {"single": ({"n": 1},), "small": ({"n": 5}, {"n": 4}), "bulk": ({"n": 4096},), "empty": ({"n": 0},)}


def no_length(x: Array, params: Params) -> Array:
    """The extent of rows whose gradients have no length."""
    return np.ones((len(x), 1))


def length_domain(axes: str, units: str, families: Mapping[str, Draw], **more: Any) -> Domain:
    """A domain of a linear map."""
    return Domain(axes, units, families, unit=None, extent=no_length, **more)


def turning_room(arms: Array) -> Array:
    """What adding pi or pi / 2 to an angle below 16 can do to a point at the end of an arm, in float64."""
    return np.asarray(2.0**-49 * np.abs(arms))


# Laws ------------------------------------------------------------------------------------------------


def scales(*names: str) -> Law:
    """Four times the lengths is four times the result."""

    def law(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
        larger = {**x, **{name: 4 * x[name] for name in names}}
        return differs(f(larger), 4 * f(x), 8 * tol, "four times all lengths")

    law.__name__ = "scales with the lengths"
    return law


def inverted_by(inverse: Callable[..., Array], name: str) -> Law:
    """Undoing the map, `inverse(result, inputs, params)` in NumPy, gives the named input back."""

    def law(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
        room = 8 * np.max(tol, initial=0.0)
        return differs(inverse(f(x), x, params), x[name], np.full_like(x[name], room), "there and back")

    law.__name__ = f"can be undone: {name}"
    return law
