"""Every number and edge case of the keypoint losses and of the flow, to the digits printed.

Sources: spec/30-elementary.md sections 5 (RLE) and 9 (keypoint) and rows 13 and 17 of its table of mistakes; the
keypoint tables of spec/00-conventions.md section 7; the flow (RealNVP) of spec/20-assignment.md section 5 and its row
14; the likelihood of spec/40-yolo.md section 4.3; D8 to D12 of spec/05-decisions.md as far as these are concerned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossref.hosts.probe import call, itself
from lossref.losses.keypoints import realnvp as flow
from lossref.losses.keypoints.keypoint import KeypointLoss
from lossref.losses.keypoints.realnvp import RealNVP, parameters_of
from lossref.losses.keypoints.rle import RLELoss
from lossref.losses.keypoints.tables import OKS_SIGMA, RLE_WEIGHT
from lossref.oracle.answers import true_value
from lossref.oracle.tape import Tape, precision
from shared.corners import corner_of
from shared.digits import agrees, close, printed
from shared.three_ways import (
    CLASSES,
    WAYS,
    Anchor,
    Inputs,
    Mistake,
    asked,
    bf16,
    by_class,
    by_mistake,
    by_way,
    f16,
    f32,
    f64,
    given_back,
    tensors,
    wrong_slopes,
    wrong_values,
)

# The worked examples ----------------------------------------------------------------------------------

RLE: dict[str, Any] = {
    "sigma": [(0.5, 0.25), (0.125, 1), (0.75, 0.5)],
    "log_phi": (-1.5, 0.25, -3),
    "error": [(0.5, -1.25), (2, 0), (-0.375, 4)],
    "target_weight": (1, 1.5, 0.25),
}
KEYPOINTS: dict[str, Any] = {
    "pred_kpts": [[(1, 2), (3, 4), (5, 6.5)], [(0.5, 0.25), (1, 1), (2, 2)]],
    "gt_kpts": [[(1.5, 2.25), (3, 3.5), (5, 6)], [(0, 0), (0, 0), (0, 0)]],
    "kpt_mask": [(1, 0, 1), (1, 0, 0)],
    "area": [(8,), (4,)],
    "sigmas": (0.25, 0.5, 0.125),
}

ANCHORS = (
    Anchor(
        "three rows",
        "rle",
        RLE,
        {"loss": "0.839479052725"},
        {},
        (
            ("sigma", ..., "1.33333333333 2.66666666667 8 1 0.222222222222 0.333333333333"),
            ("log_phi", ..., "-0.666666666667 -1 -0.166666666667"),
            ("error", ..., "0.333333333333 -0.333333333333 0.5 0 -0.0833333333333 0.0833333333333"),
        ),
    ),
    Anchor("not residual", "rle", RLE, {"loss": "-0.564603722484"}, {"residual": False}),
    Anchor("summed", "rle", RLE, {"loss": "2.51843715817"}, {"size_average": False}),
    Anchor("without weights", "rle", RLE, {"loss": "3.50148613687"}, {"use_target_weight": False}),
    Anchor(
        "two objects",
        "keypoint",
        KEYPOINTS,
        {"loss": "0.14641493714"},
        {},
        (
            ("pred_kpts", 0, "-0.0578030507905 -0.0289015253952 0 0 0 0.194700195652"),
            ("pred_kpts", 1, "0.213836331568 0.106918165784 0 0 0 0"),
        ),
    ),
    Anchor(
        "second object invisible",
        "keypoint",
        {**KEYPOINTS, "kpt_mask": [(1, 0, 1), (0, 0, 0)]},
        {"loss": "0.0740876008827"},
    ),
    Anchor("area 0", "keypoint", {**KEYPOINTS, "area": [(0,), (0,)]}, {"loss": "0.99999999925"}),
    Anchor("all invisible", "keypoint", {**KEYPOINTS, "kpt_mask": [(0, 0, 0)] * 2}, {"loss": "0"}),
    Anchor(
        "area 0, exact hits",
        "keypoint",
        {**KEYPOINTS, "area": [(0,), (0,)], "pred_kpts": KEYPOINTS["gt_kpts"]},
        {"loss": "0"},
    ),
)


@pytest.mark.parametrize(("way", "anchor"), asked(ANCHORS), ids=str)
def test_value(way: str, anchor: Anchor) -> None:
    assert wrong_values(way, anchor) == []


@pytest.mark.parametrize(("way", "anchor"), asked(anchor for anchor in ANCHORS if anchor.gradient), ids=str)
def test_gradient(way: str, anchor: Anchor) -> None:
    assert wrong_slopes(way, anchor) == []


# How a careless implementation goes wrong -------------------------------------------------------------

MISTAKES = (
    Mistake(13, "log_phi once", "rle", RLE, "loss", "0.839479052725", "0.214479053"),
    Mistake(13, "divided by n D", "rle", RLE, "loss", "0.839479052725", "0.419739526"),
    Mistake(13, "divided by the weight", "rle", RLE, "loss", "0.839479052725", "0.915795330"),
    Mistake(13, "2 missing", "rle", RLE, "loss", "0.839479052725", "-0.431290778"),
    Mistake(13, "ln sigma missing", "rle", RLE, "loss", "0.839479052725", "1.38331294"),
    Mistake(17, "factor of the batch", "keypoint", KEYPOINTS, "loss", "0.14641493714", "0.147001692"),
    Mistake(17, "mean over all visible", "keypoint", KEYPOINTS, "loss", "0.14641493714", "0.147001692"),
    Mistake(17, "area squared", "keypoint", KEYPOINTS, "loss", "0.14641493714", "0.111280460"),
    Mistake(17, "sigma not doubled", "keypoint", KEYPOINTS, "loss", "0.14641493714", "0.457495518"),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_right_number_and_not_the_mistaken_one(way: str, mistake: Mistake) -> None:
    got = by_way(way, mistake)
    assert agrees(got, mistake.right)
    assert not agrees(got, mistake.wrong)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_impostor_gives_the_mistaken_number(mistake: Mistake) -> None:
    """The careless version is the mistake that the table means, in float64 to the digits printed."""
    got = by_mistake(mistake)
    assert agrees(got, mistake.wrong)
    assert not agrees(got, mistake.right)


# What is said in words --------------------------------------------------------------------------------


def rle_arguments(**changes: Any) -> list[Tensor]:
    return [torch.tensor(x, dtype=f64) for x in {**RLE, **changes}.values()]


def test_rle_of_no_row_is_zero() -> None:
    empty = [torch.zeros(0, 2), torch.zeros(0), torch.zeros(0, 2), torch.zeros(0)]
    for averaged in (True, False):
        assert RLELoss(size_average=averaged)(*empty).item() == 0.0


@pytest.mark.parametrize("residual", [True, False])
def test_rle_of_sigma_zero_is_minus_infinity(residual: bool) -> None:
    given = rle_arguments(sigma=[(0, 0.25), (0.125, 1), (0.75, 0.5)])
    assert RLELoss(residual=residual)(*given).item() == -np.inf


def test_rle_weights_of_every_shape() -> None:
    """(n,) and (n, 1) weigh rows, (n, D) every number, a single number all."""
    sigma, log_phi, error, weight = rle_arguments()
    rows = RLELoss()(sigma, log_phi, error, weight)
    assert RLELoss()(sigma, log_phi, error, weight[:, None]).item() == rows.item()
    assert RLELoss()(sigma, log_phi, error, weight[:, None].expand(3, 2)).item() == rows.item()
    unweighted = RLELoss(use_target_weight=False)(sigma, log_phi, error).item()
    assert RLELoss()(sigma, log_phi, error, torch.tensor(1.0)).item() == unweighted
    assert RLELoss(use_target_weight=False)(sigma, log_phi, error, 5 * weight).item() == unweighted
    columns = RLELoss()(sigma, log_phi, error, torch.tensor([[1.0, 0.0]] * 3)).item()
    alone = RLELoss(use_target_weight=False)(sigma[:, :1], log_phi, error[:, :1]).item()
    assert columns == pytest.approx(alone, rel=1e-14)


def test_rle_of_square_input_weighs_rows() -> None:
    """n = D: a weight (n,) still belongs to the rows."""
    sigma, log_phi, error, weight = (x[:2] for x in rle_arguments())
    rows = [RLELoss(size_average=False)(*(x[i : i + 1] for x in (sigma, log_phi, error, weight))) for i in range(2)]
    assert RLELoss(size_average=False)(sigma, log_phi, error, weight).item() == pytest.approx(
        sum(rows).item(), rel=1e-14
    )


def test_rle_refuses_a_missing_or_misshapen_weight() -> None:
    sigma, log_phi, error, weight = rle_arguments()
    with pytest.raises(AssertionError):
        RLELoss()(sigma, log_phi, error)
    with pytest.raises(RuntimeError):
        RLELoss()(sigma, log_phi, error, weight[:, None, None].expand(3, 2, 1))
    with pytest.raises(RuntimeError):
        RLELoss()(sigma, log_phi, error, weight[:2])


def test_keypoint_of_no_object_is_nan() -> None:
    nothing = torch.zeros(0, 3, 2)
    assert KeypointLoss(torch.ones(3))(nothing, nothing, torch.zeros(0, 3), torch.zeros(0, 1)).isnan()


def test_keypoint_mask_may_weigh() -> None:
    """A floating mask multiplies the terms, while the count still counts nonzeros."""
    x = tensors("keypoint", KEYPOINTS)
    sigmas = x.pop("sigmas")
    twice = KeypointLoss(sigmas)(**{**x, "kpt_mask": 2.0 * x["kpt_mask"].double()})
    assert agrees(twice.item(), "0.29282987428")
    assert KeypointLoss(sigmas)(**{**x, "kpt_mask": x["kpt_mask"].double()}).item() == KeypointLoss(sigmas)(**x).item()


def test_keypoint_is_exact_under_the_usual_default_dtype() -> None:
    """D8: 0.146414937249 is what a factor rounded to float32 gives."""
    assert torch.get_default_dtype() == f32
    value = by_class("keypoint", KEYPOINTS, {}).terms["loss"]
    assert agrees(value, "0.14641493714")
    assert not agrees(value, "0.146414937249")


@pytest.mark.parametrize("objects", [2, 3])
def test_keypoint_refuses_a_flat_area(objects: int) -> None:
    """Also where n = K, where it could be matched with the keypoints."""
    points = torch.zeros(objects, 3, 2)
    with pytest.raises(RuntimeError, match="area"):
        KeypointLoss(torch.ones(3))(points, points, torch.ones(objects, 3), torch.ones(objects))


def test_keypoint_reads_only_two_coordinates() -> None:
    x = tensors("keypoint", KEYPOINTS)
    longer = {name: torch.cat((x[name], x[name] * 7 + 1), -1) for name in ("pred_kpts", "gt_kpts")}
    sigmas = x.pop("sigmas")
    assert KeypointLoss(sigmas)(**{**x, **longer}).item() == KeypointLoss(sigmas)(**x).item()


def test_keypoint_has_a_gradient_to_the_area() -> None:
    x = tensors("keypoint", KEYPOINTS)
    sigmas, area = x.pop("sigmas"), x["area"].requires_grad_()
    (got,) = torch.autograd.grad(KeypointLoss(sigmas)(**x), area)
    step = 2.0**-16
    for row in range(2):
        moved = [x["area"].detach() + sign * step * torch.eye(2, dtype=f64)[row][:, None] for sign in (1, -1)]
        up, down = (KeypointLoss(sigmas)(**{**x, "area": area}).item() for area in moved)
        assert got[row].item() == pytest.approx((up - down) / (2 * step), rel=1e-6)


def test_keypoint_tables() -> None:
    """QC4 and QC5: quotients in float32, the first is not the float32 nearest to 0.026; weights in float64."""
    tenths = [0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89]
    assert OKS_SIGMA.dtype == f32
    assert OKS_SIGMA.tolist() == [float(np.float32(x) / np.float32(10)) for x in tenths]
    assert OKS_SIGMA[0].item() == 0.025999998673796654 != float(np.float32(0.026)) == 0.026000000536441803
    assert RLE_WEIGHT.dtype == f64
    assert RLE_WEIGHT.tolist() == [1.0] * 7 + [1.2] * 2 + [1.5] * 2 + [1.0] * 2 + [1.2] * 2 + [1.5] * 2


EXAMPLES: dict[str, tuple[Inputs, Mapping[str, Any]]] = {"rle": (RLE, {}), "keypoint": (KEYPOINTS, {})}
# D9: what half precision comes back as.
RESULTS = {"keypoint": {f16: f32, bf16: f32}}
MIXED = [
    ("rle", {"sigma": f64}, f64),
    ("rle", {"error": f64, "target_weight": f64}, f32),
    ("rle", {"sigma": f16, "log_phi": f16}, f16),
    ("keypoint", {"gt_kpts": f64}, f64),
    ("keypoint", {"pred_kpts": f16, "sigmas": f16}, f32),
]


@pytest.mark.parametrize("dtype", [f64, f32, f16, bf16], ids=str)
@pytest.mark.parametrize("spec", EXAMPLES)
def test_dtype_of_the_result(spec: str, dtype: torch.dtype) -> None:
    inputs, params = EXAMPLES[spec]
    for term in given_back(spec, params, tensors(spec, inputs, dtype).values()):
        assert term.dtype == RESULTS.get(spec, {}).get(dtype, dtype)
        assert bool(term.isfinite())


@pytest.mark.parametrize(("spec", "kinds", "expected"), MIXED, ids=str)
def test_dtype_of_mixed_input(spec: str, kinds: Mapping[str, torch.dtype], expected: torch.dtype) -> None:
    """Promoted; RLE has the dtype of sigma and log_phi, whatever error and weight are."""
    inputs, params = EXAMPLES[spec]
    given = {name: x.to(kinds.get(name, x.dtype)) for name, x in tensors(spec, inputs, f32).items()}
    assert {term.dtype for term in given_back(spec, params, given.values())} == {expected}


@pytest.mark.parametrize("spec", EXAMPLES)
def test_no_argument_is_changed(spec: str) -> None:
    """D12."""
    inputs, params = EXAMPLES[spec]
    given = tensors(spec, inputs)
    before = {name: x.clone() for name, x in given.items()}
    given_back(spec, params, given.values())
    assert all(torch.equal(x, before[name]) for name, x in given.items())


@pytest.mark.parametrize("loss", [RLELoss(), KeypointLoss(OKS_SIGMA)], ids=lambda loss: type(loss).__name__)
def test_modules_have_no_state(loss: nn.Module) -> None:
    assert list(loss.state_dict()) == list(loss.parameters()) == list(loss.buffers()) == []


def test_attributes_are_those_of_the_constructor() -> None:
    loss = RLELoss(False, True, False)
    assert (loss.use_target_weight, loss.size_average, loss.residual) == (False, True, False)
    assert KeypointLoss(OKS_SIGMA).sigmas is OKS_SIGMA


def wrong(spec: str, **changes: Any) -> list[Any]:
    return list({**tensors(spec, EXAMPLES[spec][0]), **changes}.values())


REFUSED: list[tuple[str, str, Any, list[Tensor], type[Exception]]] = [
    ("error of another shape", "rle", {}, wrong("rle", error=torch.zeros(3, 1)), ValueError),
    ("log_phi of another shape", "rle", {}, wrong("rle", log_phi=torch.zeros(3, 1)), ValueError),
    ("other sigmas", "keypoint", {}, wrong("keypoint", sigmas=torch.ones(2)), ValueError),
    ("fewer targets", "keypoint", {}, wrong("keypoint", gt_kpts=torch.zeros(1, 3, 2)), ValueError),
    ("one coordinate", "keypoint", {}, wrong("keypoint", gt_kpts=torch.zeros(2, 3, 1)), ValueError),
]


@pytest.mark.parametrize(
    ("name", "params", "inputs", "error"), [r[1:] for r in REFUSED], ids=[f"{r[1]}, {r[0]}" for r in REFUSED]
)
def test_bad_input_is_refused(name: str, params: Any, inputs: list[Tensor], error: type[Exception]) -> None:
    with pytest.raises(error):
        CLASSES[name](**params)(*inputs)


# RealNVP ----------------------------------------------------------------------------------------------


def flow_at(state: str, dtype: Any = torch.float64) -> RealNVP:
    module = RealNVP().to(dtype)
    missing = module.load_state_dict(parameters_of(state), strict=False)
    assert (set(missing.missing_keys), missing.unexpected_keys) == ({"loc", "cov", "mask"}, [])
    return module


def points(*rows: tuple[float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


FLOW_ANCHORS = [
    ("zero", [(1, 2)], "-4.33787706641", ""),
    (
        "F0",
        [(1, 2), (-0.5, 0.25)],
        "-4.98269613767 -4.17275488579",
        "-0.0225960961393 -0.68491247937 0.0711431962235 -0.282346465713",
    ),
    (
        "F1",
        [(1, 2), (0, 0)],
        "-9.2135424362 -2.43515378847",
        "8.02747724564 -5.11738345882 0.197165535492 -2.4952737888",
    ),
]


@pytest.mark.parametrize(("state", "rows", "value", "gradient"), FLOW_ANCHORS, ids=[row[0] for row in FLOW_ANCHORS])
def test_flow_anchors(state: str, rows: Any, value: str, gradient: str) -> None:
    for density in (flow_at(state).log_prob, lambda x: flow.realnvp(x, state)):
        x = points(*rows)
        found = density(x)
        close(found, value)
        found.sum().backward()
        if gradient:
            close(x.grad, gradient)
    with precision(128):
        m = Tape()
        found = flow.oracle(m, [[m.number(c) for c in row] for row in rows], state)
        close([float(number.value) for number in found], value)


def test_flow_of_f0_in_parts() -> None:
    z, log_det = flow_at("F0").backward_p(points((1, 2), (-0.5, 0.25)))
    close(z, "0.0903895466164 1.4280241435 -0.284589037498 0.588684805744")
    close(log_det, "-2.12110745899 -2.12110745899")
    close([-3 * np.tanh(0.5) - 3 * np.tanh(0.25)], "-2.12110745899")


def test_flow_gradients_of_parameters() -> None:
    module = flow_at("F1")
    module.log_prob(points((1, 2), (0, 0))).sum().backward()
    close(module.s[5][4].bias.grad, "0 11.8055664009")
    close(module.t[0][0].weight.grad[1], "0 -0.0424295592169")
    close(module.t[0][0].weight.grad[0], "0 0")
    assert module.loc.grad is None
    assert not module.mask.requires_grad


@pytest.mark.parametrize("state", ["woven", "F0"])
def test_flow_gradients_of_parameters_by_differences(state: str) -> None:
    """The oracle gives no gradient to parameters: central differences of every last bias and one weight each."""
    module, x = flow_at(state), points((1, 2), (-0.5, 0.25)).detach()
    module.log_prob(x).sum().backward()
    for name, parameter in module.named_parameters():
        if not name.endswith(("4.bias", "0.weight", "2.weight")):
            continue
        index, step = (1,) * parameter.ndim, 1e-5
        values = []
        with torch.no_grad():
            for sign in (1, -1):
                parameter[index] += sign * step
                values.append(module.log_prob(x).sum())
                parameter[index] -= sign * step
        assert abs((values[0] - values[1]) / (2 * step) - parameter.grad[index]) < 1e-6, name


def test_flow_state_dict_and_start() -> None:
    module = RealNVP()
    state = module.state_dict()
    wanted = {
        f"{net}.{k}.{i}.{part}" for net in "st" for k in range(6) for i in (0, 2, 4) for part in ("weight", "bias")
    }
    assert set(state) == wanted | {"loc", "cov", "mask"}
    assert len(state) == 75
    assert sum(x.numel() for x in module.parameters()) == 53784
    assert state["mask"].dtype == torch.float32
    assert state["mask"].tolist() == [[0, 1], [1, 0]] * 3
    assert state["loc"].tolist() == [0, 0]
    assert state["cov"].tolist() == [[1, 0], [0, 1]]
    for name, bound in (("0.weight", 0.0030151), ("2.weight", 0.0021651), ("0.bias", 0.70711), ("2.bias", 0.125)):
        top = max(tensor.abs().max().item() for key, tensor in state.items() if key.endswith(name))
        assert 0.9 * bound < top <= bound * 1.0001, name
    assert abs(RealNVP().log_prob(torch.zeros(1, 2)).item() + 1.8379) < 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_flow_of_float32_errors_with_other_parameters(dtype: Any) -> None:
    """QA17: computed in float32, and the module stays what it was."""
    module, plain = flow_at("F0", dtype), flow_at("F0", torch.float32)
    x = points((1, 2)).detach().float()
    assert torch.equal(module.log_prob(x), plain.log_prob(x))
    assert {p.dtype for p in module.parameters()} == {dtype}
    module.log_prob(x).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_bad_calls_of_the_flow() -> None:
    with pytest.raises(RuntimeError):
        flow_at("F0", torch.float32).log_prob(points((1, 2)))
    for bad in (torch.nan, torch.inf, -torch.inf):
        with pytest.raises(ValueError, match="NaN or infinity"):
            flow_at("F0").log_prob(torch.tensor([[1.0, bad]], dtype=torch.float64))
    for shape in ((4, 3), (2,)):
        with pytest.raises(ValueError, match=r"\(n, 2\)"):
            flow_at("F0").log_prob(torch.zeros(shape, dtype=torch.float64))


def test_flow_far_out_and_empty() -> None:
    """QA19, and finite but huge errors."""
    assert flow_at("F0", torch.float32).log_prob(torch.full((1, 2), 1e20)).item() == -torch.inf
    assert flow_at("F0").log_prob(torch.zeros(0, 2, dtype=torch.float64)).shape == (0,)


def test_flow_mistakes() -> None:
    """Table of mistakes, row 14."""
    x = points((1, 2)).detach()
    rows = (
        (flow.forward_order, "-9.52549215333"),
        (flow.masks_swapped, "-9.34270503473"),
        (flow.log_det_added, "-9.06379422653"),
        (flow.generative_direction, "-6.27988186256"),
    )
    for mistaken, numbers in rows:
        close(mistaken(x, "F1"), numbers)
    for mistaken in (flow.forward_order, flow.masks_swapped):
        assert torch.allclose(mistaken(x, "F0"), flow.realnvp(x, "F0")), "F0 does not see it"


# The likelihood ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["reference", "oracle"])
def test_likelihood_by_the_oracle(way: str) -> None:
    spec, case = corner_of("rle_keypoints", "example")
    value = true_value(spec, case) if way == "oracle" else call(spec, itself(spec), case, "float64").value
    assert not printed(value, "11.2889714135")
