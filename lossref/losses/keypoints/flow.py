"""The normalising flow of RLE in torch, RealNVP (arXiv 1605.08803): errors to normal ones, coupling by coupling.

Source: spec/20-assignment.md section 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

from lossref.core.precision import HALF, as_it_is
from lossref.losses.assignment.static.constants import constant
from lossref.losses.assignment.static.strategy import looked_at
from lossref.losses.keypoints.flow_states import COUPLINGS, HIDDEN, layers_of

MASK = ((0, 1), (1, 0)) * 3
BACKWARDS = range(COUPLINGS - 1, -1, -1)
LOG_2PI = math.log(2 * math.pi)


def log_density(x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """Log-density of errors (n, 2) under the flow with the given state; (n,), dtype of x. Raises as `realnvp`.

    On a GPU the density of an error that is not finite is not finite (see `lossref.checked`).
    """
    if looked_at(x) and not bool(x.isfinite().all()):
        raise ValueError("x: expected finite numbers, got NaN or infinity")
    z, log_det = to_normal(x, parameters)
    return (log_det - z.square().sum(1) / 2 - LOG_2PI).to(x.dtype)


def to_normal(x: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """z (n, 2), where the standard normal is to be read at x (n, 2), and log_det (n,); at least float32.

    Parameters of another dtype are read in float32; for float64 errors that is a RuntimeError.
    """
    if x.ndim != 2 or x.shape[1] != 2 or not x.is_floating_point():
        raise ValueError(f"x: expected floating (n, 2), got {x.dtype} {tuple(x.shape)}")
    kinds = {tensor.dtype for tensor in parameters.values()}
    if x.dtype == torch.float64 and kinds != {torch.float64}:
        raise RuntimeError(f"x: float64 errors need float64 parameters, got {kinds}")
    z = x.float() if x.dtype in HALF else x
    log_det = z.new_zeros(len(z))
    for k in BACKWARDS:
        z, scale = undone(z, parameters, k, MASK[k])
        log_det = log_det - scale.sum(1)
    return z, log_det


class Coupling(NamedTuple):
    """u (n, 2), 1 - m (2,), s before its tanh (n, 2), t (n, 2); s and t are 0 where u is not."""

    u: Tensor
    mapped: Tensor
    scale: Tensor
    shift: Tensor


def coupling(z: Tensor, parameters: Mapping[str, Tensor], k: int, mask: tuple[int, int]) -> Coupling:
    kept = constant(mask, z)
    u, mapped = kept * z, 1 - kept
    return Coupling(u, mapped, _net(u, parameters, f"s.{k}") * mapped, _net(u, parameters, f"t.{k}") * mapped)


def undone(z: Tensor, parameters: Mapping[str, Tensor], k: int, mask: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """z before coupling k, and s."""
    c = coupling(z, parameters, k, mask)
    scale = c.scale.tanh()
    return c.mapped * (z - c.shift) * torch.exp(-scale) + c.u, scale


def _net(u: Tensor, parameters: Mapping[str, Tensor], name: str) -> Tensor:
    """Three linear layers with SiLU between them."""
    for layer in (0, 2, 4):
        weight, bias = (parameters[f"{name}.{layer}.{part}"].to(u.device, u.dtype) for part in ("weight", "bias"))
        with as_it_is(u):
            u = linear(silu(u) if layer else u, weight, bias)
    return u


@cache
def parameters_on(state: str, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """The same where and as they are needed."""
    with torch.inference_mode(False):
        return {name: x.to(device, dtype) for name, x in parameters_of(state).items()}


@cache
def parameters_of(state: str) -> dict[str, Tensor]:
    """The parameters of `STATES[state]` by their names in a state dict, float64 on the CPU."""
    kind: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
    found = {}
    for name in ("s", "t"):
        for k in range(COUPLINGS):
            for place, layer in zip((0, 2, 4), layers_of(state, name, k), strict=True):
                weight = torch.zeros(len(layer.bias), 2 if place == 0 else HIDDEN, **kind)
                cells = [(row, column, w) for row, line in enumerate(layer.weight) for column, w in line.items()]
                if cells:
                    rows, columns, values = zip(*cells, strict=True)
                    weight[rows, columns] = torch.tensor(values, **kind)
                found[f"{name}.{k}.{place}.weight"] = weight
                found[f"{name}.{k}.{place}.bias"] = torch.tensor(layer.bias, **kind)
    return found
