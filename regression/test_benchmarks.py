"""How fast the oracle is. Benchmarks report; they do not fail on a noisy machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lossref.cases import material
from lossref.catalog import spec, specs
from lossref.core import Case
from lossref.oracle import evaluate, is_certified

PAIR = {"box1": np.array([[1, 2, 4, 6.5]]), "box2": np.array([[2, 1.5, 5.25, 5]])}


def test_certified_ciou_of_one_pair(benchmark: Any) -> None:
    """The design asks for value and gradient in 0.25 ms or less."""
    case = Case("ciou", PAIR, {"xywh": False, "eps": 1e-7})
    truth = benchmark(evaluate, spec("ciou"), case, 128, "raise")
    assert all(is_certified(ball) for ball in (*truth.value["ciou"].flat, *truth.gradient["box1"].flat))


@pytest.mark.parametrize("name", list(specs()))
def test_certified_batch(benchmark: Any, name: str) -> None:
    case = material(spec(name), "small", "quick", 0)[0]
    assert benchmark(evaluate, spec(name), case, 128, "raise").value
