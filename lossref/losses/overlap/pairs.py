"""What the specs iou, giou, diou and ciou share beside the reference: oracle parts, domains, corners, laws.

Source: spec/10-geometry.md section 3. The oracle parts are scalar and know nothing of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner
from lossref.core.families import BOX_FAMILIES, PAIR_FAMILIES, flat_corners, flat_sizes, xyxy_to_xywh
from lossref.core.laws import differs, rows_independent
from lossref.core.nouns import Array, Case, Domain, Param, Span


def oracle_sides(m: Arithmetic, box: Any, xywh: bool, eps: float) -> tuple[Any, ...]:
    """Corners and sizes of one box, in scalars."""
    if not xywh:
        x1, y1, x2, y2 = box
        return x1, y1, x2, y2, x2 - x1, y2 - y1 + eps
    x, y, w, h = box
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2, w, h


def oracle_overlap(m: Arithmetic, a: tuple[Any, ...], b: tuple[Any, ...], eps: float) -> tuple[Any, Any]:
    """IoU and union of two boxes given as (x1, y1, x2, y2, w, h)."""
    across = m.clamp(m.min(a[2], b[2]) - m.max(a[0], b[0]), low=0.0)
    down = m.clamp(m.min(a[3], b[3]) - m.max(a[1], b[1]), low=0.0)
    inter = across * down
    union = a[4] * a[5] + b[4] * b[5] - inter + eps
    return inter / union, union


def oracle_enclosing(m: Arithmetic, a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, Any]:
    """Width and height of the box around both."""
    return m.max(a[2], b[2]) - m.min(a[0], b[0]), m.max(a[3], b[3]) - m.min(a[1], b[1])


def oracle_distance(m: Arithmetic, a: tuple[Any, ...], b: tuple[Any, ...], eps: float) -> Any:
    """Squared centre distance over squared diagonal of the enclosing box."""
    width, height = oracle_enclosing(m, a, b)
    dx, dy = (b[0] + b[2] - a[0] - a[2]) / 2, (b[1] + b[3] - a[1] - a[3]) / 2
    return (dx * dx + dy * dy) / (width * width + height * height + eps)


def pairwise(formula: Callable[..., Any]) -> Callable[..., Any]:
    """An oracle over (n, 4), (n, 4) from `formula(m, a, b, eps)` of one pair."""

    def oracle(m: Arithmetic, box1: Any, box2: Any, xywh: bool = True, eps: float = 1e-7, **variant: Any) -> Any:
        pairs = zip(box1, box2, strict=True)
        sides = ((oracle_sides(m, a, xywh, eps), oracle_sides(m, b, xywh, eps)) for a, b in pairs)
        return tuple((formula(m, a, b, eps, **variant),) for a, b in sides)

    return oracle


def _layout(x: Array, params: Mapping[str, Any]) -> Array:
    return xyxy_to_xywh(x) if params.get("xywh", True) else x


def _flat(x: Array, params: Mapping[str, Any], side: int) -> Array:
    return (flat_sizes if params.get("xywh", True) else flat_corners)(x, params, side)


def box_inputs(flat_xywh: bool = True) -> dict[str, Domain]:
    """The domains of box1 and box2; `flat_xywh=False` where w/h of a flat xywh box is undefined.

    Without eps no box may be flat.
    """

    def leave_out(params: Mapping[str, Any]) -> tuple[str, ...]:
        undefined = params.get("eps") == 0 or (params.get("xywh", True) and not flat_xywh)
        return ("zero area",) if undefined else ()

    def legal(x: Array, params: Mapping[str, Any]) -> str | None:
        size = x[..., 2:] if params.get("xywh", True) else x[..., 2:] - x[..., :2]
        if (size < 0).any():
            return "expected x1 <= x2 and y1 <= y2 (or w, h >= 0)"
        if not flat_xywh and params.get("xywh", True) and (size[..., 1] == 0).any():
            return "expected h > 0, because w/h is taken"
        if params.get("eps") == 0 and (size == 0).any():
            return "expected w > 0 and h > 0, because without eps the union of two flat boxes is 0"
        return None

    units = "boxes, xyxy or xywh, any length unit"
    shared: dict[str, Any] = {"legal": legal, "layout": _layout, "leave_out": leave_out, "unit": None, "flat": _flat}
    shared |= {"extent": _shortest_side, "leading": True}
    return {
        "box1": Domain("n 4", units, BOX_FAMILIES, **shared),
        "box2": Domain("n 4", units, PAIR_FAMILIES, given="box1", **shared),
    }


XYWH = {True: "boxes are given as (cx, cy, w, h)", False: "boxes are given as (x1, y1, x2, y2)"}
ALPHA = {
    "detached": "the factor alpha of CIoU takes no gradient",
    "attached": "gradient flows through the factor alpha of CIoU, too",
    "gated": "the factor alpha of CIoU takes no gradient, and is 0 below an IoU of 1/2",
}


BOX_PARAMS = {
    "xywh": Param(True, (False,), "boxes are (cx, cy, w, h) rather than (x1, y1, x2, y2)", True, means=XYWH),
    "eps": Param(1e-7, (1e-3, 1e-9), "absolute constant against division by zero", small=True, span=Span(0.0, 1.0)),
}

BOX_SIZES = {"single": ({"n": 1},), "small": ({"n": 5}, {"n": 4}), "bulk": ({"n": 4096},), "empty": ({"n": 0},)}

BOX_CORNERS = (
    ("identical", "every min and max is a tie, each side gets half", (1, 2, 4, 6.5), (1, 2, 4, 6.5)),
    ("nested", "the enclosing box is box1", (0, 0, 8, 4), (2, 1, 4, 3)),
    ("touching edge", "clamp passes the gradient at exactly zero overlap", (0, 0, 2, 4), (2, 0, 4, 4)),
    ("touching corner", "both overlaps are exactly zero", (0, 0, 2, 4), (2, 4, 5, 6)),
    ("disjoint", "IoU 0 without gradient, the others with", (0, 0, 1, 1), (3, 0, 4, 1)),
    ("crossing", "thin boxes, one lying, one standing", (0, 10, 50, 11), (20, 0, 21, 50)),
    ("elongated", "the aspect term is large", (0, 0, 8, 1), (3, -3, 5, 4)),
    ("tiny", "P1, P2 of the specification scaled by 2^-20", None, None),
)


def box_corners() -> tuple[Case, ...]:
    """The hand-written pairs, each in both layouts."""
    cases = []
    for name, why, first, second in BOX_CORNERS:
        pair = np.array([first or (1, 2, 4, 6.5), second or (2, 1.5, 5.25, 5)])
        pair = pair * 2.0**-20 if first is None else pair
        for xywh in (False, True):
            a, b = (xyxy_to_xywh(pair) if xywh else pair)[:, None]
            layout = "xywh" if xywh else "xyxy"
            cases.append(corner(f"{name}, {layout}", why, params={"xywh": xywh}, box1=a, box2=b))
    flat = {"box1": [(1, 2, 4, 2)], "box2": [(2, 1.5, 5.25, 5)]}
    cases.append(corner("zero height, xyxy", "the height is eps", params={"xywh": False}, **flat))
    return (*cases, *_broadcast_corners())


def _broadcast_corners() -> Iterator[Case]:
    rows, columns = [[(0, 0, 4, 2)], [(1, 1, 4, 4)]], [[(0, 0, 2, 5), (3, 3, 4, 6), (1, 2, 9, 9)]]
    for xywh in (False, True):
        layout = {"xywh": xywh}
        name, word = ("shape", "xywh" if xywh else "xyxy")
        yield corner(
            f"all pairs, {word}", "(n,1,4) with (1,m,4) is (n,m,1)", name, params=layout, box1=rows, box2=columns
        )
        one, many = (3, 3, 4, 4), columns[0]
        yield corner(f"one with many, {word}", "(4,) with (m,4) is (m,1)", name, params=layout, box1=one, box2=many)


# Laws ------------------------------------------------------------------------------------------------


def symmetric(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Swapping the boxes does not change the value."""
    return differs(f({"box1": x["box2"], "box2": x["box1"]}), f(x), 2 * tol, "swapping the boxes")


def translation(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Moving both boxes by one size of the first does not change the value."""
    step = _extent(x["box1"], params)
    shift = step * ([1, -2, 0, 0] if params["xywh"] else [1, -2, 1, -2])
    moved = {name: box + shift for name, box in x.items()}
    return differs(f(moved), f(x), 2 * tol, "moving both boxes by the same step")


def mirror(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Mirroring both boxes in the y axis does not change the value."""
    order, sign = ([0, 1, 2, 3], [-1, 1, 1, 1]) if params["xywh"] else ([2, 1, 0, 3], [-1, 1, -1, 1])
    mirrored = {name: box[:, order] * sign for name, box in x.items()}
    return differs(f(mirrored), f(x), 2 * tol, "mirroring both boxes")


def transposed(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging x and y does not change the value (xywh only: in xyxy eps is on the height)."""
    if not params["xywh"]:
        return None
    exchanged = {name: box[:, [1, 0, 3, 2]] for name, box in x.items()}
    return differs(f(exchanged), f(x), 2 * tol, "exchanging x and y")


def bounded(low: float, high: float) -> Callable[..., str | None]:
    """The value lies in [low, high] for boxes that have an area, up to rounding."""

    def law(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
        value = f(x)
        solid = np.all([_size(box, params).min(axis=1, keepdims=True) > 0 for box in x.values()], axis=0)
        wrong = solid & ((value < low - tol) | (value > high + tol))
        return f"{value[wrong].flat[0]:.9g} is outside [{low}, {high}]" if wrong.any() else None

    law.__name__ = f"between {low:g} and {high:g}"
    return law


def _extent(box: Array, params: Mapping[str, Any]) -> Array:
    return np.asarray(_size(box, params).max(axis=1, keepdims=True))


def _shortest_side(box: Array, params: Mapping[str, Any]) -> Array:
    size = _size(box, params)
    return np.asarray(np.where(size > 0, size, np.inf).min(axis=1, keepdims=True))


def _size(box: Array, params: Mapping[str, Any]) -> Array:
    return box[:, 2:] if params["xywh"] else box[:, 2:] - box[:, :2]


def box_fields(low: float, high: float, flat_xywh: bool = True, **params: Param) -> dict[str, Any]:
    """The fields that the four specs have in common; their values lie in [low, high]."""
    return {
        "inputs": box_inputs(flat_xywh),
        "wrt": ("box1", "box2"),
        "params": {**BOX_PARAMS, **params},
        "sizes": BOX_SIZES,
        "laws": (symmetric, translation, mirror, transposed, bounded(low, high), rows_independent("box1", "box2")),
        "corners": box_corners(),
        "returns": "(n, 1): one number for each pair",
    }
