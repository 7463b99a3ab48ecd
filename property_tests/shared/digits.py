"""Comparison with the numbers that the specification prints: to the digits printed."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROUNDED_FROM = 8  # a number printed with fewer digits is exact


def agrees(value: float, printed: str) -> bool:
    """Whether a value is the printed number, to one unit of its last digit (exact numbers: 1e-11 relative)."""
    number = Decimal(printed)
    if number == 0:
        return value == 0
    digits = len(printed.lower().partition("e")[0].lstrip("-0.").replace(".", ""))
    unit = Decimal(10) ** Decimal(number.as_tuple().exponent)
    room = unit if digits >= ROUNDED_FROM else abs(number) * Decimal("1e-11")
    return bool(np.isfinite(value)) and abs(Decimal(float(value)) - number) <= room


def disagreements(got: Any, printed: str) -> list[str]:
    """The pairs that differ; a different count of numbers is a disagreement too."""
    numbers = np.ravel(got.detach() if isinstance(got, Tensor) else got).tolist()
    wanted = printed.split()
    if len(numbers) != len(wanted):
        return [f"{len(numbers)} numbers instead of {len(wanted)}"]
    return [f"got {x:.15g}, printed {p}" for x, p in zip(numbers, wanted, strict=True) if not agrees(x, p)]


def printed(got: Any, *numbers: str) -> list[str]:
    """What differs from the printed numbers, beyond one unit of their last digit."""
    values = torch.as_tensor(got).detach().flatten().tolist()
    assert len(values) == len(numbers), f"{len(values)} numbers, expected {len(numbers)}"
    return [f"{value!r}, not {text}" for value, text in zip(values, numbers, strict=True) if not agrees(value, text)]


def close(got: Any, printed: str) -> None:
    """All numbers of a tensor or list are the printed ones."""
    assert disagreements(got, printed) == []


def near(got: Any, want: Any, tolerance: float = 1e-11) -> bool:
    """Equal to the 12 digits that the specification prints; both are a number or several."""
    flat = (
        got.detach().flatten().tolist() if isinstance(got, Tensor) else [got] if isinstance(got, float) else list(got)
    )
    wanted = list(want) if isinstance(want, (tuple, list)) else [want]
    return len(flat) == len(wanted) and all(
        math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-12) for a, b in zip(flat, wanted, strict=True)
    )
