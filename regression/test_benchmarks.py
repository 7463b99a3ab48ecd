"""How fast the oracle is, and the references on the workloads of `lossref bench`.

Benchmarks report; they do not fail on a noisy machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lossref.bench.workloads import modes_of, sizes_of, workload
from lossref.checks.material import material
from lossref.core.nouns import Case
from lossref.hosts.probe import call_of, itself, question_of
from lossref.hosts.worker.timed import work
from lossref.losses import spec, specs
from lossref.oracle.answers import evaluate, is_certified
from lossref.run.golden.corpus.cases import answerable

PAIR = {"box1": np.array([[1, 2, 4, 6.5]]), "box2": np.array([[2, 1.5, 5.25, 5]])}
WORKLOADS = [(name, size, mode) for name, one in specs().items() for size in sizes_of(one) for mode in modes_of(one)]


def test_certified_ciou_of_one_pair(benchmark: Any) -> None:
    """The design asks for value and gradient in 0.25 ms or less."""
    case = Case("ciou", PAIR, {"xywh": False, "eps": 1e-7})
    truth = benchmark(evaluate, spec("ciou"), case, 128, "raise")
    assert all(is_certified(ball) for ball in (*truth.value["ciou"].flat, *truth.gradient["box1"].flat))


@pytest.mark.benchmark(max_time=0.1, min_rounds=1)
@pytest.mark.parametrize("name", list(specs()))
def test_certified_batch(benchmark: Any, name: str) -> None:
    case = next(case for case in material(spec(name), "small", "full", 0) if answerable(spec(name), case))
    assert benchmark(evaluate, spec(name), case, 128, "raise").value


@pytest.mark.benchmark(max_time=0.02, min_rounds=1)
@pytest.mark.parametrize(("name", "size", "mode"), WORKLOADS, ids=["-".join(one) for one in WORKLOADS])
def test_workload(benchmark: Any, name: str, size: str, mode: str) -> None:
    one = spec(name)
    case = workload(one, size, {}, 0)
    question = question_of(one, itself(one), case, [call_of(one, case.inputs, "float32", one.wrt)])
    assert benchmark(work(itself(one).build, question, mode)) is not None
