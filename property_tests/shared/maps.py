"""Two ways to the outputs of a map of coordinates, and to chosen slopes: the torch reference and the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossref.losses import spec as spec_named
from lossref.oracle.tape import Number, Tape, gradient, precision
from shared.digits import agrees

Inputs = Mapping[str, Any]
Array = np.ndarray[Any, Any]
f64 = torch.float64
BITS = 256


class Anchor(NamedTuple):
    """All printed numbers of the output, and of gradients as (outputs summed, input, numbers).

    `exact` where the printed number is one of float64 and has fewer true digits than are printed.
    """

    name: str
    spec: str
    inputs: Inputs
    value: str
    gradients: tuple[tuple[tuple[int, ...], str, str], ...] = ()
    params: Mapping[str, Any] = {}
    exact: str = ""

    def __str__(self) -> str:
        return f"{self.spec}, {self.name}"


def by_reference(a: Anchor) -> tuple[Array, list[Array]]:
    """All outputs in a row, and each gradient that is asked for, in float64."""
    spec = spec_named(a.spec)
    leaves = {name: torch.tensor(a.inputs[name], dtype=f64, requires_grad=True) for name in spec.inputs}
    out = spec.reference(*leaves.values(), **a.params).reshape(-1)
    found = [
        torch.autograd.grad(out[list(wanted)].sum(), leaves[name], retain_graph=True)[0].reshape(-1).numpy()
        for wanted, name, _ in a.gradients
    ]
    return out.detach().numpy(), found


def nested(tape: Tape, x: Any) -> Any:
    return tuple(nested(tape, part) for part in x) if isinstance(x, (tuple, list)) else tape.number(float(x))


def flat(x: Any) -> list[Any]:
    return [number for part in x for number in flat(part)] if isinstance(x, (tuple, list)) else [x]


def by_oracle(a: Anchor) -> tuple[Array, list[Array]]:
    """The same from the oracle, at 256 bits."""
    spec = spec_named(a.spec)
    with precision(BITS):
        tape = Tape()
        leaves = {name: nested(tape, a.inputs[name]) for name in spec.inputs}
        out = flat(spec.oracle(tape, **leaves, **{**spec.defaults(), **a.params}))
        found = [slopes(tape.sum([out[i] for i in wanted]), flat(leaves[name])) for wanted, name, _ in a.gradients]
    return np.array([float(number.value) for number in out]), found


def slopes(number: Number, leaves: list[Number]) -> Array:
    flow = {node.order: float(adjoint) for node, adjoint in gradient(number)}
    return np.array([flow.get(leaf.order, 0.0) for leaf in leaves])


WAYS: dict[str, Callable[[Anchor], tuple[Array, list[Array]]]] = {"reference": by_reference, "oracle": by_oracle}


def check(way: str, one: Anchor) -> None:
    """All printed numbers of an anchor."""
    value, gradients = WAYS[way](one)
    printed = (way == "oracle" and one.exact) or one.value
    assert all_agree(value, printed), (value, printed)
    for got, (_, name, slope) in zip(gradients, one.gradients, strict=True):
        assert all_agree(got, slope), (name, got, slope)


def all_agree(found: Any, printed: str) -> bool:
    numbers = [float(x) for x in np.ravel(found)]
    rows = zip(numbers, printed.split(), strict=True)
    return all(agrees(number, text) if float(text) else abs(number) < 1e-15 for number, text in rows)


def rows(*boxes: Any, dtype: torch.dtype = f64) -> Tensor:
    return torch.tensor(boxes, dtype=dtype)


class Mistake(NamedTuple):
    """A careless version, an input that reveals it, and one (if any) on which it is right."""

    row: int
    label: str
    spec: Any
    reveals: Inputs
    hides: Inputs | None = None
    params: Mapping[str, Any] = {}

    def __str__(self) -> str:
        return f"row {self.row}, {self.label}"


def impostor(spec: Any, label: str, inputs: Inputs, **params: Any) -> Array:
    """What the careless version gives, in float64."""
    target = next(target for target in spec.impostors if target.label == label)
    given = [torch.tensor(inputs[name], dtype=f64) for name in spec.inputs]
    return np.asarray(target.build(**{**spec.defaults(), **params})(*given).detach())


def right(spec: Any, inputs: Inputs, **params: Any) -> Array:
    given = [torch.tensor(inputs[name], dtype=f64) for name in spec.inputs]
    return np.asarray(spec.reference(*given, **params).detach())


def check_mistake(mistake: Mistake) -> None:
    """The careless version is wrong on the one input, and (if there is another) right on the other."""

    def error(inputs: Inputs) -> float:
        wrong = impostor(mistake.spec, mistake.label, inputs, **mistake.params)
        return float(np.abs(wrong - right(mistake.spec, inputs, **mistake.params)).max())

    assert error(mistake.reveals) > 1e-5
    if mistake.hides is not None:
        assert error(mistake.hides) < 1e-13
