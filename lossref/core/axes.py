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


def _size(axis: str, dims: Dims) -> int:
    match = re.fullmatch(r"(\d*)([A-Za-z]\w*)?", axis)
    if match is None:
        raise ValueError(f"cannot read the axis {axis!r}; write a number, a name, or 4n for four times n")
    number, name = match.groups()
    return int(number or 1) * (int(dims[name]) if name else 1)


def dims_of(params: Mapping[str, Any], dims: Dims) -> dict[str, Any]:
    """The sizes a domain sees: axis sizes, the parameters by name, and the sizes that follow from them.

    R bins from `reg_max`, A anchors from `imgsz` and `strides`, M masks from `overlap` (one for each
    image, or one for each object), K and D from `kpt_shape`.
    """
    found = {**params, **dims}
    if "reg_max" in found:
        found.setdefault("R", found["reg_max"])
    if "imgsz" in found and "strides" in found:
        height, width = found["imgsz"]
        found.setdefault("A", sum((height // s) * (width // s) for s in found["strides"]))
    if "overlap" in found and "n" in found:
        found.setdefault("M", found["b"] if found["overlap"] else found["n"])
    if "kpt_shape" in found:
        found.update(zip(("K", "D"), found["kpt_shape"], strict=True))
    return found


def frozen(value: Any) -> Any:
    """Lists, as JSON gives them back, as the tuples they were."""
    return tuple(frozen(part) for part in value) if isinstance(value, (list, tuple)) else value
