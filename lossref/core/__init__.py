"""All that a loss file may import: `from lossref.core import Domain, Param, Spec, corner, impostor, ...`.

The rules of dtypes (`compute_dtype`, `require_floating`, ...) bring torch along, and come when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lossref.core.declare import corner, impostor
from lossref.core.families import (
    BIN_TARGET_FAMILIES,
    BOX_FAMILIES,
    HARD_LABEL_FAMILIES,
    LABEL_FAMILIES,
    LOGIT_FAMILIES,
    NUMBER_FAMILIES,
    PAIR_FAMILIES,
    QUALITY_FAMILIES,
    unit_interval,
    xyxy_to_xywh,
)
from lossref.core.laws import differs, not_negative, permutation, repetition, rows_independent
from lossref.core.nouns import Array, Case, Domain, Param, Params, Span, Spec, Target

if TYPE_CHECKING:
    from lossref.core.precision import compute_dtype, in_dtype, require_floating, require_same_shape

__all__ = [
    "BIN_TARGET_FAMILIES",
    "BOX_FAMILIES",
    "HARD_LABEL_FAMILIES",
    "LABEL_FAMILIES",
    "LOGIT_FAMILIES",
    "NUMBER_FAMILIES",
    "PAIR_FAMILIES",
    "QUALITY_FAMILIES",
    "Array",
    "Case",
    "Domain",
    "Param",
    "Params",
    "Span",
    "Spec",
    "Target",
    "compute_dtype",
    "corner",
    "differs",
    "impostor",
    "in_dtype",
    "not_negative",
    "permutation",
    "repetition",
    "require_floating",
    "require_same_shape",
    "rows_independent",
    "unit_interval",
    "xyxy_to_xywh",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("lossref.core.precision"), name)
    raise AttributeError(f"module 'lossref.core' has no attribute {name!r}; it has {', '.join(__all__)}")
