"""Numbers that the prototype mask loss is drawn from, and laws of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossref.core.families import LOGIT_FAMILIES
from lossref.core.laws import differs
from lossref.core.nouns import Array

NUMBERS = {name: LOGIT_FAMILIES[name] for name in ("moderate", "zero", "+-20")}
ROWS = ("gt_mask", "pred", "xyxy", "area")


def complement(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging figure and ground costs the same with the opposite coefficients."""
    other = {**x, "gt_mask": 1 - x["gt_mask"], "pred": -x["pred"]}
    return differs(f(other), f(x), 2 * tol, "exchanging figure and ground")


def doubled_area(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Twice the area halves the cost."""
    return differs(f({**x, "area": 2 * x["area"]}), f(x) / 2, 2 * tol, "doubling the areas")


def transposed(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging x and y in masks, prototypes and boxes changes nothing."""
    turned = {name: x[name].swapaxes(1, 2).copy() for name in ("gt_mask", "proto")}
    return differs(f({**x, **turned, "xyxy": x["xyxy"][:, [1, 0, 3, 2]]}), f(x), 2 * tol, "exchanging x and y")


def backwards(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Coefficients and prototypes may be numbered backwards."""
    other = {**x, "pred": x["pred"][:, ::-1].copy(), "proto": x["proto"][::-1].copy()}
    return differs(f(other), f(x), 2 * tol, "reversing the prototypes")
