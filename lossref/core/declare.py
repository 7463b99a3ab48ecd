"""How a loss file declares its corner cases and its impostors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lossref.core.nouns import Case, Params, Target


def corner(name: str, why: str, *flags: str, params: Params | None = None, **inputs: Any) -> Case:
    """A case written by hand; `why` says what it is there for."""
    arrays = {key: np.asarray(value, dtype=np.float64) for key, value in inputs.items()}
    return Case("", arrays, params or {}, name, flags, why)


def impostor(label: str, why: str, caught_by: str, function: Callable[..., Any]) -> Target:
    """A plausible wrong implementation, and the checks (separated by blanks) that must reject it."""
    return Target(
        "", partial(partial, function), label, known=dict.fromkeys(caught_by.split(), why), note=why, trusted=True
    )
