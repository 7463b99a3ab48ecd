"""RealNVP: log-density of 2-D errors as a normalising flow, arXiv 1605.08803; in RLE, arXiv 2107.11291.

Coupling k keeps one coordinate, u = m z, and maps the other: z <- (1 - m) (z - t(u)) exp(-s(u)) + u, with log_det
<- log_det - s(u), for k = 5 to 0; log p(x) = -|z|^2 / 2 - ln(2 pi) + log_det. s ends in tanh. Where sources
differ: half precision and NaN. Source: spec/20-assignment.md section 5, spec/05-decisions.md D9.

Yours: `state` names the numbers of the flow, and `lossref.losses.keypoints.flow.parameters_of(state)` gives them,
float64 by name: s.K.L.weight, s.K.L.bias and the same of t, for couplings K = 0 to 5 and linear layers L = 0, 2, 4
(sizes 2, 64, 64, 2). A function looks them up; a class with `load_state_dict` and `log_prob` is handed them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import LOGIT_FAMILIES
from lossref.core.laws import differs, rows_independent
from lossref.core.nouns import Array, Domain, Param, Spec
from lossref.core.picking import Draw, Pick
from lossref.core.precision import HALF
from lossref.losses.keypoints.flow import (
    BACKWARDS,
    LOG_2PI,
    MASK,
    coupling,
    log_density,
    parameters_of,
    parameters_on,
    to_normal,
    undone,
)
from lossref.losses.keypoints.flow_states import COUPLINGS, HIDDEN, layers_of

Step = Callable[[Tensor, int], tuple[Tensor, Tensor]]


def realnvp(x: Tensor, state: str = "woven") -> Tensor:
    """Log-density of errors (n, 2) under the flow with the parameters of `STATES[state]`; (n,).

    float64 is computed in float64, all else in float32 and rounded once. Raises ValueError for another shape
    and for NaN or infinite x. Formula: spec/20-assignment.md section 5.
    """
    if not x.is_floating_point():
        return log_density(x, parameters_of(state))  # which says what is wrong
    return log_density(x, parameters_on(state, x.device, torch.float32 if x.dtype in HALF else x.dtype))


def oracle(m: Arithmetic, x: Any, state: str = "woven") -> Any:
    """The log-density in scalars: each coupling changes one coordinate, fed by the other."""
    found = []
    for point in x:
        z, turned = list(point), m.sum([])
        for k in (5, 4, 3, 2, 1, 0):
            fed, mapped = (1, 0) if k % 2 == 0 else (0, 1)
            scale = oracle_net(m, z[fed], fed, mapped, layers_of(state, "s", k))
            scale = 1 - 2 * m.sigmoid(-2 * scale)  # tanh
            shift = oracle_net(m, z[fed], fed, mapped, layers_of(state, "t", k))
            z[mapped] = (z[mapped] - shift) * m.exp(-scale)
            turned = turned - scale
        found.append(turned - (z[0] * z[0] + z[1] * z[1]) / 2 - m.log(m.pi * 2))
    return tuple(found)


def oracle_net(m: Arithmetic, x: Any, fed: int, mapped: int, layers: Any) -> Any:
    """Output number `mapped` of three layers, input number `fed` being x and the other one 0."""
    signals: dict[int, Any] = {fed: x}
    for number, (weight, bias) in enumerate(layers):
        wanted = [mapped] if number == 2 else range(len(bias))
        sums = {
            row: m.sum([signals[at] * w for at, w in weight[row].items() if at in signals]) + bias[row]
            for row in wanted
        }
        signals = {row: y * m.sigmoid(y) for row, y in sums.items()} if number < 2 else sums
    return signals[mapped]


# Laws ------------------------------------------------------------------------------------------------


def bounded(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """No more than 6 - ln(2 pi), because every coupling contracts by less than e."""
    value = f(x)
    return f"{value.max():.9g} is above 6 - ln(2 pi)" if (value > COUPLINGS - LOG_2PI + tol).any() else None


def one_by_one(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """A row alone has the density that it has in company."""
    alone = np.concatenate([np.ravel(f({"x": row[None]})) for row in x["x"]])
    return differs(alone, f(x), 2 * tol, "leaving the other rows out")


# Impostors -------------------------------------------------------------------------------------------


def density_by(step: Step, x: Tensor, order: Iterable[int] = BACKWARDS) -> Tensor:
    """Log-density by a careless step, which takes z and k and gives z and s."""
    z, log_det = x, x.new_zeros(len(x))
    for k in order:
        z, scale = step(z, k)
        log_det = log_det - scale.sum(1)
    return log_det - z.square().sum(1) / 2 - LOG_2PI


def forward_order(x: Tensor, state: str) -> Tensor:
    return density_by(lambda z, k: undone(z, parameters_of(state), k, MASK[k]), x, range(COUPLINGS))


def masks_swapped(x: Tensor, state: str) -> Tensor:
    return density_by(lambda z, k: undone(z, parameters_of(state), k, MASK[1 - k % 2]), x)


def log_det_added(x: Tensor, state: str) -> Tensor:
    z, log_det = to_normal(x, parameters_of(state))
    return -log_det - z.square().sum(1) / 2 - LOG_2PI


def generative_direction(x: Tensor, state: str) -> Tensor:
    def done(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
        c = coupling(z, parameters_of(state), k, MASK[k])
        scale = c.scale.tanh()
        return c.mapped * (z * torch.exp(scale) + c.shift) + c.u, scale

    return density_by(done, x)


def shift_last(x: Tensor, state: str) -> Tensor:
    def undone_last(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
        c = coupling(z, parameters_of(state), k, MASK[k])
        scale = c.scale.tanh()
        return c.mapped * (z * torch.exp(-scale) - c.shift) + c.u, scale

    return density_by(undone_last, x)


def no_tanh(x: Tensor, state: str) -> Tensor:
    def unbounded(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
        c = coupling(z, parameters_of(state), k, MASK[k])
        return c.mapped * (z - c.shift) * torch.exp(-c.scale) + c.u, c.scale

    return density_by(unbounded, x)


def no_constant(x: Tensor, state: str) -> Tensor:
    z, log_det = to_normal(x, parameters_of(state))
    return log_det - z.square().sum(1) / 2


class RealNVP(nn.Module):
    """Drop-in for the class of that name, with its state dict; nothing is cast or changed by a call.

    Weights start Xavier-uniform with gain 0.01, so that a fresh flow is nearly affine.
    """

    loc: Tensor
    cov: Tensor
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(2))
        self.register_buffer("cov", torch.eye(2))
        self.register_buffer("mask", torch.tensor(MASK, dtype=torch.float32))
        self.s = nn.ModuleList([nn.Sequential(*_layers(), nn.Tanh()) for _ in range(COUPLINGS)])
        self.t = nn.ModuleList([nn.Sequential(*_layers()) for _ in range(COUPLINGS)])
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, gain=0.01)

    def backward_p(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`to_normal` with the parameters of this object, rounded to the dtype of x."""
        z, log_det = to_normal(x, dict(self.named_parameters()))
        return z.to(x.dtype), log_det.to(x.dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        """`log_density` with the parameters of this object."""
        return log_density(x, dict(self.named_parameters()))


def _layers() -> tuple[nn.Module, ...]:
    return nn.Linear(2, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 2)


def _far(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Errors of 16 to 64 standard deviations on either side."""
    row = dims["row"]
    sign = 2 * pick(0, 1, rows * row) - 1
    return np.asarray(sign * pick(16, 64, rows * row), dtype=np.float64).reshape(rows, row)


_FAMILIES: dict[str, Draw] = {"moderate": LOGIT_FAMILIES["moderate"], "zero": LOGIT_FAMILIES["zero"], "far": _far}
_POINTS = [(1, 2), (0, 0), (-0.5, 0.25)]

STATE = {
    "woven": "the layers of the flow have the woven pattern of flow_states",
    "F0": "the flow has the state F0 of flow_states",
    "F1": "the flow has the state F1 of flow_states",
    "zero": "all parameters of the flow are 0",
}
_STATE = "the flow's parameters: a row of flow_states.STATES"

SPEC = Spec(
    name="realnvp",
    summary="Normalising flow, the prior of residual log-likelihood estimation",
    cite="spec/20-assignment.md section 5; arXiv 1605.08803, 2107.11291",
    inputs={"x": Domain("n 2", "errors in units of sigma", _FAMILIES)},
    wrt=("x",),
    params={"state": Param("woven", ("F0", "F1", "zero"), _STATE, means=STATE, stated=False)},
    terms=("log_prob",),
    reference=realnvp,
    oracle=oracle,
    sizes={"single": ({"n": 1},), "small": ({"n": 2}, {"n": 3}), "bulk": ({"n": 4096},), "empty": ({"n": 0},)},
    laws=(rows_independent("x"), bounded, one_by_one),
    corners=(
        *(
            corner(f"{state}, mixed", why, params={"state": state}, x=_POINTS)
            for state, why in (
                ("woven", "every hidden unit at work"),
                ("zero", "the standard normal"),
                ("F0", "an affine flow: the worked example of the specification"),
                ("F1", "couplings that differ: the worked example of the specification"),
            )
        ),
        corner("on the axes", "one of the inputs of every net is 0", x=[(0, 3), (-3, 0)]),
        corner("far out", "1000 standard deviations away", params={"state": "F1"}, x=[(1024, -1024)]),
    ),
    impostors=(
        impostor("forward order", "k = 0 to 5", "value", forward_order),
        impostor("masks swapped", "the wrong coordinate is kept", "value", masks_swapped),
        impostor("sign of log_det", "added instead of subtracted", "value", log_det_added),
        impostor("generative direction", "from normal to errors", "value", generative_direction),
        impostor("shift last", "z exp(-s) - t instead of (z - t) exp(-s)", "value", shift_last),
        impostor("no tanh", "s is not bounded", "value", no_tanh),
        impostor("no constant", "ln(2 pi) is forgotten", "value", no_constant),
    ),
    api="RealNVP().log_prob(x)",
    returns="(n,): one number for each error",
    composite=True,
)
