"""Calls a target on a case, and brings back plain arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core import Array, Case, Spec, Target
from lossref.oracle import weights


class TargetRaised(Exception):
    """The target raised; the message is one line with the type and what it said."""


@dataclass(frozen=True)
class Result:
    """What came back: the output in float64, its dtype and shape, and the gradients (None: none)."""

    value: Array
    dtype: torch.dtype
    shape: tuple[int, ...]
    gradient: Mapping[str, Array | None] = field(default_factory=dict)
    gradient_dtype: Mapping[str, torch.dtype | None] = field(default_factory=dict)


def itself(spec: Spec) -> Target:
    """The spec's own reference, as a target like any other."""
    return Target(spec.name, partial(partial, spec.reference), "reference", tuple(spec.params))


def tensors(case: Case, dtype: str) -> dict[str, Tensor]:
    """Fresh leaf tensors with the inputs of a case."""
    kind = getattr(torch, dtype)
    return {name: torch.tensor(array).to(kind) for name, array in case.inputs.items()}


def applicable(spec: Spec, target: Target, case: Case) -> bool:
    """Whether the target can be asked: a parameter it lacks must stand at the value it implements."""
    stands = {**spec.defaults(), **target.fixed}
    return all(case.params[name] == value for name, value in stands.items() if name not in target.accepts)


def instance(target: Target, case: Case) -> Callable[..., Any]:
    """The target built with the parameters of the case."""
    kept = {name: value for name, value in case.params.items() if name in target.accepts}
    with guarded():
        return target.build(**kept)


class guarded:
    """Turns whatever a target raises into `TargetRaised` with one line; silences its warnings."""

    def __enter__(self) -> None:
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._warnings.__exit__(kind, error, trace)
        if isinstance(error, (TimeoutError, KeyboardInterrupt, TargetRaised)) or error is None:
            return
        raise TargetRaised(one_line(error)) from error


def one_line(error: BaseException) -> str:
    """Type and first line of an exception."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__


def output_of(spec: Spec, function: Callable[..., Any], inputs: Mapping[str, Tensor]) -> Tensor:
    """The tensor that the callable returns for the inputs, in the spec's order."""
    with guarded():
        out = function(*(inputs[name] for name in spec.inputs))
        if not isinstance(out, Tensor):
            raise TypeError(f"returned {type(out).__name__}, expected a torch tensor")
        return out


def call(spec: Spec, target: Target, case: Case, dtype: str, grad: bool = False) -> Result:
    """Value and, if asked for, the gradient of the weighted sum of all outputs."""
    return call_on(spec, instance(target, case), tensors(case, dtype), spec.wrt if grad else ())


def call_on(
    spec: Spec, function: Callable[..., Any], inputs: Mapping[str, Tensor], wrt: tuple[str, ...] = ()
) -> Result:
    """The same for a callable that is already built and tensors that are already made."""
    inputs = {name: x.requires_grad_() if name in wrt and x.is_leaf else x for name, x in inputs.items()}
    out = output_of(spec, function, inputs)
    value = array_of(out)
    if not wrt or not out.requires_grad:
        return Result(value, out.dtype, tuple(out.shape))
    upstream = torch.as_tensor(weights(tuple(out.shape)), dtype=out.dtype, device=out.device)
    with guarded():
        grads = torch.autograd.grad(out, [inputs[name] for name in wrt], upstream, allow_unused=True)
    found = dict(zip(wrt, grads, strict=True))
    return Result(
        value,
        out.dtype,
        tuple(out.shape),
        {name: None if g is None else array_of(g) for name, g in found.items()},
        {name: None if g is None else g.dtype for name, g in found.items()},
    )


def array_of(tensor: Tensor) -> Array:
    """A tensor as a float64 array on the CPU."""
    return np.asarray(tensor.detach().to("cpu", torch.float64).numpy())
