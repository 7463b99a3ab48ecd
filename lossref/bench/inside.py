"""A target as a plain function in this process, for what is timed here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.probe import TargetRaised
from lossref.hosts.worker.carry import terms_of
from lossref.hosts.worker.words import one_line


def tensors(spec: Spec, case: Case, dtype: str) -> dict[str, Tensor]:
    """Fresh leaf tensors with the inputs of a case, in the dtype under test where they have none of their own."""
    return {
        name: torch.tensor(np.ascontiguousarray(array))
        .reshape(array.shape)
        .to(getattr(torch, spec.inputs[name].dtype or dtype))
        for name, array in case.inputs.items()
    }


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


def outputs_of(spec: Spec, function: Callable[..., Any], inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """The tensors that the callable returns for the inputs, one for each term, in the spec's order."""
    with guarded():
        return terms_of(function(*(inputs[name] for name in spec.inputs)), spec.terms)
