"""What is timed: a case drawn from a spec's domains, as a function without arguments for each mode.

forward:  one call, recording what a gradient needs, as in training
backward: the gradient alone, again and again on one recorded call
full:     a call and its gradient
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.bench.inside import instance, outputs_of, tensors
from lossref.checks.material import draw_case
from lossref.core.nouns import Case, Params, Spec, Target
from lossref.hosts.probe import TargetRaised
from lossref.oracle.answers import weights

Work = Callable[[], object]
SIZES = {"small": "small", "train": "bulk"}
MODES = ("forward", "backward", "full")


def sizes_of(spec: Spec) -> tuple[str, ...]:
    """The sizes that the spec declares: small, train or both."""
    return tuple(size for size, kind in SIZES.items() if spec.sizes.get(kind))


def modes_of(spec: Spec) -> tuple[str, ...]:
    """All modes; only forward where there is nothing to differentiate."""
    return MODES if spec.wrt else MODES[:1]


def workload(spec: Spec, size: str, params: Params, seed: int) -> Case:
    """The one case of that size; the same for every implementation with these parameters."""
    rng = np.random.default_rng([seed, sum(map(ord, spec.name + size))])
    return draw_case(spec, rng, spec.sizes[SIZES[size]][0], params)


def work(spec: Spec, target: Target, case: Case, mode: str, dtype: str = "float32", device: str = "cpu") -> Work:
    """What one call of one mode does, on tensors of its own. Raises `TargetRaised`."""
    made = tensors(spec, case, dtype)
    inputs = {name: x.to(device).requires_grad_(name in spec.wrt) for name, x in made.items()}
    function = instance(target, case)
    first = outputs_of(spec, function, inputs)
    arguments = tuple(inputs[name] for name in spec.inputs)
    return _mode(mode, lambda: function(*arguments), first, tuple(inputs[name] for name in spec.wrt))


def _mode(mode: str, call: Callable[[], Any], first: tuple[Tensor, ...], leaves: tuple[Tensor, ...]) -> Work:
    """The timed function; `first` is what the call returned once."""
    if mode == "forward":
        return call
    places = [i for i, out in enumerate(first) if out.requires_grad]
    if not places:
        raise TargetRaised("the output is not connected to any input: there is no gradient to time")
    factors = tuple(torch.as_tensor(weights(tuple(first[i].shape))).to(first[i]) for i in places)
    ends = tuple(first[i] for i in places)
    if mode == "backward":
        return lambda: torch.autograd.grad(ends, leaves, factors, retain_graph=True, allow_unused=True)

    def full() -> object:
        out = call()
        ends = (out,) if isinstance(out, Tensor) else tuple(out[i] for i in places)
        return torch.autograd.grad(ends, leaves, factors, allow_unused=True)

    return full
