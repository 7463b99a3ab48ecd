"""The forms of a loss: as it is, compiled, as a CUDA graph, and compiled as a CUDA graph.

Compiled is `lossref.compiled`; captured is `lossref.captured`, or, where that raises, a graph of the whole step that
is recorded here, with leaves that stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from readings import FORMS
from torch import Tensor
from workloads import Workload, full, gradients

import lossref

CLOSE = 1e-3  # of float32 sums in another order; a wrong form is off by more
Work = Callable[[], object]
Answer = tuple[Tensor, list[Tensor]]


class Lacking(Exception):
    """The form cannot be had; the message says why."""


class Formed(NamedTuple):
    """What is timed, what it gives, and how it was made."""

    work: Work
    answer: Callable[[], Answer]
    how: str = ""


def formed(one: Workload, loss: Any, form: str, device: str) -> Formed:
    """The loss in one form. Raises `Lacking`."""
    if form == "eager":
        return _called(one, loss, "")
    if form != "compiled" and not device.startswith("cuda"):
        raise Lacking("no CUDA")
    inner, how = (loss, "") if form == "captured" else compiled(loss)
    if form == "compiled":
        return _called(one, inner, how)
    given = getattr(lossref, "captured", None)
    said = "there is no lossref.captured"
    if given is not None:
        try:
            leaves = {name: x.detach().requires_grad_() for name, x in one.leaves.items()}
            found = _called(one, given(inner, *one.arguments(leaves)), f"{how} lossref.captured".strip())
            found.work()
            return found
        except Exception as error:
            torch.cuda.synchronize()
            said = f"lossref.captured raised {type(error).__name__}: {str(error)[:120]}"
    return _recorded(one, inner, f"{how} the whole step as one graph; {said}".strip())


def compiled(loss: Any) -> tuple[Any, str]:
    """The loss compiled, and by what."""
    given = getattr(lossref, "compiled", None)
    torch._dynamo.reset()
    if given is not None:
        return given(loss), "lossref.compiled"
    return torch.compile(loss, fullgraph=True, dynamic=False), "torch.compile, fullgraph"


def _called(one: Workload, loss: Any, how: str) -> Formed:
    return Formed(full(one, loss), lambda: gradients(one, loss), how)


def _recorded(one: Workload, loss: Any, how: str) -> Formed:
    """Forward and backward of leaves that stay in place, recorded once and replayed."""
    leaves = {name: x.detach().clone().requires_grad_() for name, x in one.leaves.items()}

    def step() -> Answer:
        total = one.total(loss(*one.arguments(leaves)))
        return total.detach(), list(torch.autograd.grad(total, list(leaves.values()), materialize_grads=True))

    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = step()

    def answer() -> Answer:
        graph.replay()
        return kept

    return Formed(graph.replay, answer, how)


def difference(got: Answer, want: Answer) -> float:
    """The largest relative difference of the value and of each gradient, by its norm; infinite for NaN."""
    pairs = [(got[0], want[0]), *zip(got[1], want[1], strict=True)]
    sizes = [float((a - b).norm() / b.norm().clamp(min=torch.finfo(b.dtype).tiny)) for a, b in pairs]
    return max((x if x == x else torch.inf for x in sizes), default=0.0)


__all__ = ["CLOSE", "FORMS", "Formed", "Lacking", "compiled", "difference", "formed"]
