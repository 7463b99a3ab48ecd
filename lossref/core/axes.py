"""Axes by name: from "b 4R A" and the sizes of a case to a shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Dims = Mapping[str, Any]


def shape_of(axes: str, dims: Dims) -> tuple[int, ...]:
    """The shape that a string of axes stands for, e.g. "n 4" at {"n": 3} -> (3, 4); "" is 0-d."""
    return tuple(_size(axis, dims) for axis in axes.split())


def name_of(axis: str) -> str:
    """The name in an axis: R in "4R", nothing in "4"."""
    return axis.lstrip("0123456789")


def times_of(axis: str) -> int:
    """How many times its name an axis is: 4 in "4R", 1 in "R"."""
    return int(axis.removesuffix(name_of(axis)) or 1)


def _size(axis: str, dims: Dims) -> int:
    match = re.fullmatch(r"(\d*)([A-Za-z]\w*)?", axis)
    if match is None:
        raise ValueError(f"cannot read the axis {axis!r}; write a number, a name, or 4n for four times n")
    number, name = match.groups()
    return int(number or 1) * (int(dims[name]) if name else 1)


def frozen(value: Any) -> Any:
    """Lists, as JSON gives them back, as the tuples they were."""
    return tuple(frozen(part) for part in value) if isinstance(value, (list, tuple)) else value
