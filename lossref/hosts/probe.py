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

from lossref.core.nouns import Array, Case, Spec, Target
from lossref.oracle.answers import weights


class TargetRaised(Exception):
    """The target raised; the message is one line with the type and what it said."""


@dataclass(frozen=True)
class Result:
    """What came back: all output numbers in float64, dtype and shape of each term, the gradients (None: none).

    `value` is the array of a single term, or the numbers of several terms in a row.
    """

    value: Array
    dtypes: tuple[torch.dtype, ...]
    shapes: tuple[tuple[int, ...], ...]
    gradient: Mapping[str, Array | None] = field(default_factory=dict)
    gradient_dtype: Mapping[str, torch.dtype | None] = field(default_factory=dict)


def itself(spec: Spec) -> Target:
    """The spec's own reference, as a target like any other."""
    return Target(spec.name, partial(partial, spec.reference), "reference", tuple(spec.params))


def tensors(spec: Spec, case: Case, dtype: str) -> dict[str, Tensor]:
    """Fresh leaf tensors with the inputs of a case, in the dtype under test where they have none of their own."""
    return {
        name: torch.tensor(np.ascontiguousarray(array))
        .reshape(array.shape)
        .to(getattr(torch, spec.inputs[name].dtype or dtype))
        for name, array in case.inputs.items()
    }


def applicable(spec: Spec, target: Target, case: Case) -> bool:
    """Whether the target can be asked: a parameter it lacks must stand at the value it implements."""
    stands = {**spec.defaults(), **target.fixed}
    return all(case.params[name] == value for name, value in stands.items() if name not in target.accepts)


def instance(target: Target, case: Case, dtype: str = "float32") -> Callable[..., Any]:
    """The target built with the parameters of the case; one that needs the sizes of the inputs is told them."""
    kept = {name: value for name, value in case.params.items() if name in target.accepts}
    with guarded():
        built = target.build(**kept)
        if hasattr(built, "prepare"):
            built.prepare({name: array.shape for name, array in case.inputs.items()}, dtype)
        return built


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


def outputs_of(spec: Spec, function: Callable[..., Any], inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """The tensors that the callable returns for the inputs, one for each term, in the spec's order."""
    with guarded():
        out = function(*(inputs[name] for name in spec.inputs))
        found = (out,) if len(spec.terms) == 1 else _listed(out, len(spec.terms))
        if len(found) != len(spec.terms):
            raise TypeError(f"returned {len(found)} results, expected {len(spec.terms)}: {', '.join(spec.terms)}")
        for term, one in zip(spec.terms, found, strict=True):
            if not isinstance(one, Tensor):
                raise TypeError(f"returned {type(one).__name__} for {term}, expected a torch tensor")
        return found


def _listed(out: Any, terms: int) -> tuple[Any, ...]:
    """The terms of a vector, a tuple, a dict, or a pair (vector, items) as training scripts are given it."""
    found = tuple(out.values() if isinstance(out, Mapping) else out)
    if len(found) == 2 != terms and all(isinstance(one, Tensor) and one.ndim == 1 for one in found):
        both = (*found[0].unbind(), *found[1].unbind())
        return both if len(both) == terms else found[0].unbind()
    return found


def call(spec: Spec, target: Target, case: Case, dtype: str, grad: bool = False) -> Result:
    """Value and, if asked for, the gradient of the weighted sum of all outputs."""
    return call_on(spec, instance(target, case, dtype), tensors(spec, case, dtype), spec.wrt if grad else ())


def call_on(
    spec: Spec, function: Callable[..., Any], inputs: Mapping[str, Tensor], wrt: tuple[str, ...] = ()
) -> Result:
    """The same for a callable that is already built and tensors that are already made."""
    inputs = {name: x.requires_grad_() if name in wrt and x.is_leaf else x for name, x in inputs.items()}
    outs = outputs_of(spec, function, inputs)
    arrays = [array_of(out) for out in outs]
    value = arrays[0] if len(arrays) == 1 else np.concatenate([array.ravel() for array in arrays])
    found = gradients(outs, {name: inputs[name] for name in wrt})
    return Result(
        value,
        tuple(out.dtype for out in outs),
        tuple(tuple(out.shape) for out in outs),
        {name: None if g is None else array_of(g) for name, g in found.items()},
        {name: None if g is None else g.dtype for name, g in found.items()},
    )


def gradients(outs: tuple[Tensor, ...], inputs: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    """The gradient of the weighted sum of all outputs; empty if no output is connected to any input."""
    ends_at = np.cumsum([out.numel() for out in outs])
    upstream = map(torch.as_tensor, np.split(weights((int(ends_at[-1]),)), ends_at[:-1]))
    pairs = [(out, w.reshape(out.shape).to(out)) for out, w in zip(outs, upstream, strict=True) if out.requires_grad]
    if not pairs or not inputs:
        return {}
    ends, factors = zip(*pairs, strict=True)
    with guarded():
        found = torch.autograd.grad(ends, tuple(inputs.values()), factors, allow_unused=True)
    return dict(zip(inputs, found, strict=True))


def array_of(tensor: Tensor) -> Array:
    """A tensor as a float64 array on the CPU."""
    return np.asarray(tensor.detach().to("cpu", torch.float64).numpy())
