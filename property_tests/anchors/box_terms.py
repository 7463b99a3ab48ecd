"""Every number and edge case of the terms of boxes: DFL, the two box losses and the angle, to the digits printed.

Sources: spec/30-elementary.md sections 3 (DFL), 4 and 6 (box losses) and rows 8, 10 to 12 and 14 of its table of
mistakes, D8 to D12 of spec/05-decisions.md as far as these losses are concerned; the angle term of spec/40-yolo.md
section 5.4. Where the specification prints a measured and an exact value, the exact one counts (D8).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossref.losses.box_terms.angle import angle_loss
from lossref.losses.box_terms.bbox import BboxLoss
from lossref.losses.box_terms.dfl import DFLoss
from lossref.losses.box_terms.rotated_bbox import RotatedBboxLoss
from shared.digits import agrees, disagreements
from shared.three_ways import (
    CLASSES,
    WAYS,
    Anchor,
    Inputs,
    Mistake,
    asked,
    bf16,
    by_class,
    by_class_under,
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

Z = [(0.5, -1, 0.25, 2), (0, 0.125, -0.5, 1), (1.5, 0.5, 0, -2), (-0.75, 0.25, 3, 0.5)]
R4, R1 = {"reg_max": 4}, {"reg_max": 1}
SIDES = {"pred_dist": Z, "target": [(0.25, 1.5, 5, -1)]}
EYE = (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)
BOXES: dict[str, Any] = {
    "pred_dist": [[sum(Z, ()), (0,) * 16, EYE]],
    "pred_bboxes": [[(0, 0, 1.5, 1.25), (1, 0, 2.5, 1.5), (-0.25, 0.5, 1, 2)]],
    "anchor_points": [(0.5, 0.5), (1.5, 0.5), (0.5, 1.5)],
    "target_bboxes": [[(0.75, 0.25, 1.5, 1.5), (0, 0, 0, 0), (0, 0.5, 1.25, 4.75)]],
    "target_scores": [[(0.5, 0), (0, 0), (0.25, 0.5)]],
    "target_scores_sum": 1.25,
    "fg_mask": [[1, 0, 1]],
    "imgsz": (16, 32),
    "stride": [[8]] * 3,
}
ROTATED: dict[str, Any] = {
    **BOXES,
    "pred_bboxes": [[(0.75, 0.5, 1.5, 1.25, 0.25), (1.75, 0.75, 1.5, 1.5, 0), (0.5, 1.25, 1.25, 1.5, -0.5)]],
    "target_bboxes": [[(0.75, 0.75, 1.5, 1.25, 0.5), (0, 0, 0, 0, 0), (0.625, 1.5, 1.25, 2.5, -0.25)]],
}
ONE_BIN = {"pred_dist": [[(0.5, 0.5, 1, 0.75), (0.5, 0.5, 1, 1), (0.75, 1, 0.5, 0.5)]]}
NOTHING = "0 0 0 0"

DFL_ANCHORS = (
    Anchor(
        "mixed",
        "dfl",
        SIDES,
        {"loss": "2.9996569163"},
        R4,
        (
            ("pred_dist", 0, "-0.148941293679 -0.0538963896835 0.030029550677 0.172808132685"),
            ("pred_dist", 2, "0.154206096046 0.0567292524387 0.0319080309067 -0.242843379392"),
        ),
    ),
    Anchor(
        "each side by itself",
        "dfl",
        {"pred_dist": Z, "target": [(0.25,), (1.5,), (5,), (-1,)]},
        {"loss": "2.24427899845 1.88457526602 3.96317092414 3.90660247659"},
        R4,
    ),
    Anchor("integral", "dfl", {"pred_dist": Z, "target": [(0, 1, 2, 2)]}, {"loss": "1.3952819163"}, R4),
    # At R = 2 the bound is 0.99: with equal logits ln 2, with (0, 1) the value is ce(1) + 0.01.
    Anchor("two bins", "dfl", {"pred_dist": [(0, 1)], "target": [(1,)]}, {"loss": "0.323261687518"}, {"reg_max": 2}),
)

BOX_ANCHORS = (
    Anchor(
        "two positives",
        "bbox",
        BOXES,
        {"iou": "0.776693959785", "dfl": "1.4651887949"},
        R4,
        (
            ("pred_bboxes", (0, 0), "-0.11183906464 -0.113104052916 -0.0810404608601 -0.117650421887"),
            ("pred_bboxes", (0, 1), NOTHING),
            ("pred_bboxes", (0, 2), "-0.0471824877387 0.00882290690558 -0.159041866436 -0.144641281089"),
            ("pred_dist", np.s_[0, 0, :4], "-0.0845765174716 0.00344144412661 0.0120118202708 0.0691232530742"),
            ("pred_dist", np.s_[0, 2, 12:], "0.0262316556791 0.0262316556791 0.0247316556791 -0.0771949670372"),
            ("pred_dist", (0, 1), " ".join("0" * 16)),
        ),
    ),
    Anchor(
        "one bin",
        "bbox",
        {**BOXES, **ONE_BIN},
        {"dfl": "0.26875"},
        R1,
        (
            ("pred_dist", (0, 0), "0.025 0.05 0 -0.05"),
            ("pred_dist", (0, 1), NOTHING),
            ("pred_dist", (0, 2), "0.0375 0 -0.0375 -0.075"),
        ),
    ),
    Anchor("no positive", "bbox", {**BOXES, "fg_mask": [[0, 0, 0]]}, {"iou": "0", "dfl": "0"}, R4),
    Anchor(
        "two positives",
        "rotated_bbox",
        ROTATED,
        {"iou": "0.27622695907", "dfl": "1.73731047536"},
        R4,
        (
            (
                "pred_bboxes",
                (0, 0),
                "0.038340703191 -0.363083669271 0.00213615350862 -0.0378920282154 -0.00912728746603",
            ),
            ("pred_dist", np.s_[0, 0, :4], "-0.0435017199839 -0.037633353361 0.0120118202708 0.0691232530742"),
        ),
    ),
    Anchor(
        "one bin",
        "rotated_bbox",
        {**ROTATED, **ONE_BIN},
        {"dfl": "0.100467229628"},
        R1,
        (("pred_dist", (0, 0), "0.025 -0.05 -0.025 0.05"),),
    ),
    Anchor("no positive", "rotated_bbox", {**ROTATED, "fg_mask": [[0, 0, 0]]}, {"iou": "0", "dfl": "0"}, R4),
)
ANCHORS = (*DFL_ANCHORS, *BOX_ANCHORS)


@pytest.mark.parametrize(("way", "anchor"), asked(ANCHORS), ids=str)
def test_value(way: str, anchor: Anchor) -> None:
    assert wrong_values(way, anchor) == []


@pytest.mark.parametrize(("way", "anchor"), asked(anchor for anchor in ANCHORS if anchor.gradient), ids=str)
def test_gradient(way: str, anchor: Anchor) -> None:
    assert wrong_slopes(way, anchor) == []


ALONE = {"target_scores": [[(1, 0)] * 3], "target_scores_sum": 1}
PARTS = [
    ("bbox", 0, "0.315441016743", "1.9812194163"),
    ("bbox", 2, "0.161882722529", "1.12116838063"),
    ("rotated_bbox", 0, "0.762138988203", ""),
    ("rotated_bbox", 2, "0.698195742748", ""),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("spec", "anchor", "overlap", "dfl"), PARTS, ids=str)
def test_parts_of_one_positive(way: str, spec: str, anchor: int, overlap: str, dfl: str) -> None:
    """CIoU, probiou and DFL of each positive by itself, weight and normaliser 1."""
    inputs = {**(BOXES if spec == "bbox" else ROTATED), **ALONE, "fg_mask": [[i == anchor for i in range(3)]]}
    terms = WAYS[way](spec, inputs, R4).terms
    assert agrees(1 - terms["iou"], overlap)
    assert not dfl or agrees(terms["dfl"], dfl)


# How a careless implementation goes wrong -------------------------------------------------------------


def guarded_bin(z: Tensor, target: Tensor, reg_max: int) -> Tensor:
    """DFL clamped at R - 1, with the right bin guarded instead of the distance."""
    t = target.clamp(0, reg_max - 1)
    left = t.floor().long()
    right = (left + 1).clamp(max=reg_max - 1)
    cost = -z.log_softmax(-1)
    costs = [cost.gather(1, k.reshape(-1, 1)).view(t.shape) for k in (left, right)]
    return (costs[0] * (left + 1 - t) + costs[1] * (t - left)).mean(-1, keepdim=True)


# A mistake of the table that no impostor of the spec makes in the same way.
CARELESS = {"bin R guarded": guarded_bin}
L1 = {**BOXES, **ONE_BIN}
MISTAKES = (
    Mistake(8, "bin R guarded", "dfl", SIDES, "loss", "2.9996569163", "3.0046569163", R4),
    Mistake(8, "weights swapped", "dfl", SIDES, "loss", "2.9996569163", "2.4471569163", R4),
    Mistake(8, "sum over the sides", "dfl", SIDES, "loss", "2.9996569163", "11.9986276652", R4),
    Mistake(10, "n x n", "bbox", BOXES, "iou", "0.776693959785", "1.52267626073", R4),
    Mistake(11, "mean over positives", "bbox", BOXES, "iou", "0.776693959785", "0.485433724866", R4),
    Mistake(11, "GIoU", "bbox", BOXES, "iou", "0.776693959785", "0.794342878622", R4),
    Mistake(12, "W and H swapped", "bbox", L1, "dfl", "0.26875", "0.190625", R1),
    Mistake(12, "stride forgotten", "bbox", L1, "dfl", "0.26875", "0.03359375", R1),
    Mistake(12, "L1 summed", "bbox", L1, "dfl", "0.26875", "1.075", R1),
    Mistake(12, "L1 distances clamped", "bbox", L1, "dfl", "0.26875", "0.2625", R1),
    Mistake(14, "axis-aligned", "rotated_bbox", ROTATED, "dfl", "1.73731047536", "1.7371262949", R4),
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
    got = by_mistake(mistake, CARELESS)
    assert agrees(got, mistake.wrong)
    assert not agrees(got, mistake.right)


def test_clamping_the_distances_a_little_higher_cannot_be_seen() -> None:
    """R - 0.01 instead of R - 1.01 in the box loss: the DFL clamps again. No impostor."""
    right = by_class("bbox", BOXES, R4).terms["dfl"]
    distances = torch.tensor([(-0.25, 0.25, 1, 1), (0.5, 1, 0.75, 3.25)], dtype=f64).clamp(0, 4 - 0.01)
    logits = torch.tensor([sum(Z, ()), EYE], dtype=f64).reshape(-1, 4)
    cost = DFLoss(4)(logits, distances)[:, 0]
    assert (cost * torch.tensor([0.5, 0.75])).sum().item() / 1.25 == pytest.approx(right, rel=1e-14)


# DFL: what is said in words ---------------------------------------------------------------------------

DTYPES: list[tuple[str, list[torch.dtype], torch.dtype]] = [
    ("dfl", [f16, f16], f16),
    ("dfl", [bf16, bf16], bf16),
    ("dfl", [f32, f64], f64),
    ("dfl", [f64, f32], f64),
]
EXAMPLE: dict[str, Inputs] = {
    "dfl": {"pred_dist": np.zeros((4, 16)).tolist(), "target": [(0.25, 1.5, 5, -1)]},
}


@pytest.mark.parametrize(("name", "given", "expected"), DTYPES, ids=str)
def test_dtype_of_the_result(name: str, given: list[torch.dtype], expected: torch.dtype) -> None:
    """D8 and D9: promoted, and half precision gives what upstream gives it."""
    inputs = [torch.tensor(x).to(dtype) for x, dtype in zip(EXAMPLE[name].values(), given, strict=True)]
    (out,) = given_back(name, {}, inputs)
    assert out.dtype == expected
    assert bool(out.isfinite().all())


PRINTED: dict[str, tuple[Inputs, dict[str, Any], str]] = {"dfl": (SIDES, R4, "2.9996569163")}


@pytest.mark.parametrize("name", PRINTED)
@pytest.mark.parametrize("default", [f32, f64], ids=str)
def test_float64_is_not_narrowed_by_the_default_dtype(name: str, default: torch.dtype) -> None:
    inputs, params, printed = PRINTED[name]
    assert disagreements(by_class_under(default, name, inputs, params).value, printed) == []


@pytest.mark.parametrize("name", ["dfl"])
def test_classes_are_modules_without_state(name: str) -> None:
    loss: Any = CLASSES[name]()
    assert isinstance(loss, nn.Module)
    own = list(loss.state_dict()) + [key for key, _ in loss.named_parameters()]
    assert own == []
    assert list(loss.named_buffers()) == []


ATTRIBUTES: list[tuple[Any, dict[str, Any]]] = [
    (DFLoss(), {"reg_max": 16}),
    (DFLoss(8), {"reg_max": 8}),
]


@pytest.mark.parametrize(("loss", "expected"), ATTRIBUTES, ids=lambda x: str(x)[:40])
def test_attributes_are_those_of_the_constructor(loss: Any, expected: dict[str, Any]) -> None:
    assert {name: getattr(loss, name) for name in expected} == expected


def test_no_side_at_all_gives_no_loss() -> None:
    assert DFLoss()(torch.zeros(0, 16), torch.zeros(0, 4)).shape == (0, 1)


def test_dfl_has_no_forward() -> None:
    with pytest.raises(NotImplementedError):
        DFLoss().forward(torch.zeros(4, 16), torch.zeros(1, 4))


@pytest.mark.parametrize("dtype", [f64, f32, f16, bf16], ids=str)
def test_dfl_leaves_its_target_alone(dtype: torch.dtype) -> None:
    """QE4 is not reproduced: (5, -1) stays, and a leaf that wants a gradient is accepted."""
    target = torch.tensor(SIDES["target"], dtype=dtype, requires_grad=True)
    DFLoss(4)(torch.tensor(Z, dtype=dtype), target).sum().backward()
    assert target.tolist() == [[0.25, 1.5, 5, -1]]


def test_dfl_gradient_to_the_target() -> None:
    """ce(k + 1) - ce(k) = z_k - z_(k+1) over the four sides; nothing beyond the bounds."""
    target = torch.tensor(SIDES["target"], dtype=f64, requires_grad=True)
    DFLoss(4)(torch.tensor(Z, dtype=f64), target).sum().backward()
    assert target.grad is not None
    assert disagreements(target.grad, f"{1.5 / 4} {0.625 / 4} 0 0") == []


@pytest.mark.parametrize("dtype", [f64, f32, f16, bf16], ids=str)
@pytest.mark.parametrize("far", [15.0, 20.0, float("inf")])
def test_dfl_target_beyond_the_bound_is_clamped(far: float, dtype: torch.dtype) -> None:
    """Also in bfloat16, where the bound itself rounds to 15 (D9)."""
    logits = torch.arange(64).reshape(4, 16).to(dtype) / 16
    at_bound = DFLoss()(logits.to(f32 if dtype != f64 else f64), torch.full((1, 4), 14.99, dtype=f64)).to(dtype)
    got = DFLoss()(logits, torch.full((1, 4), far, dtype=dtype))
    assert got.dtype == dtype
    assert got.item() == pytest.approx(at_bound.item(), rel=2 * torch.finfo(dtype).eps)


def test_dfl_extra_bins_join_the_softmax() -> None:
    """Twice as many equal bins: ln 32 instead of ln 16."""
    got = DFLoss()(torch.zeros(4, 32, dtype=f64), torch.full((1, 4), 3.5, dtype=f64))
    assert got.item() == pytest.approx(np.log(32), rel=1e-15)


def test_dfl_fewer_bins_are_enough_where_none_is_missing() -> None:
    got = DFLoss()(torch.zeros(4, 8, dtype=f64), torch.full((1, 4), 6.5, dtype=f64))
    assert got.item() == pytest.approx(np.log(8), rel=1e-15)


# Box losses: what is said in words --------------------------------------------------------------------

BOX_LOSSES = [("bbox", BOXES), ("rotated_bbox", ROTATED)]
both = pytest.mark.parametrize(("spec", "example"), BOX_LOSSES, ids=[row[0] for row in BOX_LOSSES])


def arguments(spec: str, example: Inputs, dtype: torch.dtype = f64, **changes: Any) -> dict[str, Tensor]:
    return tensors(spec, {**example, **changes}, dtype, grad=True)


@both
@pytest.mark.parametrize("reg_max", [4, 1])
@pytest.mark.parametrize("scale", [0.25, 1.0, 1e9])
def test_no_positive_costs_nothing(spec: str, example: Inputs, reg_max: int, scale: float) -> None:
    """D10 and D11: the gradients are zeros, not None, also where a prediction is infinite."""
    given = {**example, **(ONE_BIN if reg_max == 1 else {})}
    x = arguments(spec, given, fg_mask=[[0, 0, 0]], target_scores_sum=scale)
    with torch.no_grad():
        x["pred_bboxes"][0, 0, 0] = float("inf")
    terms = CLASSES[spec](reg_max=reg_max)(*x.values())
    assert [term.item() for term in terms] == [0.0, 0.0]
    for gradient in torch.autograd.grad(sum(terms), [x["pred_dist"], x["pred_bboxes"]]):
        assert not gradient.any()


@both
def test_no_positive_and_no_normaliser_is_nan(spec: str, example: Inputs) -> None:
    x = arguments(spec, example, fg_mask=[[0, 0, 0]], target_scores_sum=0)
    assert all(term.isnan() for term in CLASSES[spec](reg_max=4)(*x.values()))


@both
def test_negatives_get_no_gradient(spec: str, example: Inputs) -> None:
    x = arguments(spec, example)
    terms = CLASSES[spec](reg_max=4)(*x.values())
    for gradient in torch.autograd.grad(sum(terms), [x["pred_dist"], x["pred_bboxes"]]):
        assert gradient[0, 0].any()
        assert not gradient[0, 1].any()


@both
def test_a_positive_without_scores_contributes_nothing(spec: str, example: Inputs) -> None:
    weightless = by_class(spec, {**example, "target_scores": [[(0.5, 0), (0, 0), (0, 0)]]}, R4)
    alone = by_class(spec, {**example, "fg_mask": [[1, 0, 0]]}, R4)
    assert weightless.terms == alone.terms
    assert not weightless.gradient["pred_dist"][0, 2].any()
    assert not weightless.gradient["pred_bboxes"][0, 2].any()


def test_identical_boxes_cost_what_eps_costs() -> None:
    """Width 1 and height 1: U = 2 (1 + eps) - 1 + eps, so 1 - IoU = 3 eps."""
    for way in WAYS.values():
        for w, h in ((1.0, 1.0), (1.0, 2.0), (4.0, 2.0)):
            box = [[(0, 0, w, h)] * 3]
            got = way("bbox", {**BOXES, **ALONE, "pred_bboxes": box, "target_bboxes": box, "fg_mask": [[1, 0, 0]]}, R4)
            assert got.terms["iou"] == pytest.approx((2 * w + 1) * 1e-7 / (w * h), rel=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_identical_rotated_boxes_cost_the_square_root_of_eps(way: str) -> None:
    """sqrt(1 - exp(-1e-7) + 1e-7) is 4.47213589910e-4, which the oracle gives.

    Float64 loses digits: 1 - exp(-1e-7) carries an error of u, which is u / 1e-7 of it. How
    much of that is seen depends on the processor's exp and log (4.47213589855e-4 and 4.47213589980e-4 have been seen).
    """
    same = {name: [[ROTATED["target_bboxes"][0][0]] * 3] for name in ("pred_bboxes", "target_bboxes")}
    found = WAYS[way]("rotated_bbox", {**ROTATED, **ALONE, **same, "fg_mask": [[1, 0, 0]]}, R4)
    lost = 2.0**-53 / 1e-7
    if way == "oracle":
        assert agrees(found.terms["iou"], "4.47213589910e-4")
    assert found.terms["iou"] == pytest.approx(4.47213589910e-4, rel=lost)
    assert not np.asarray(found.gradient["pred_bboxes"]).any()


@both
def test_zero_bins_are_one(spec: str, example: Inputs) -> None:
    assert CLASSES[spec](reg_max=0).dfl_loss is None
    assert CLASSES[spec](reg_max=1).dfl_loss is None
    found = by_class(spec, {**example, **ONE_BIN}, {"reg_max": 0})
    assert found.terms == by_class(spec, {**example, **ONE_BIN}, R1).terms


def test_constructors_of_the_box_losses() -> None:
    assert BboxLoss().dfl_loss.reg_max == 16
    assert isinstance(BboxLoss(4).dfl_loss, DFLoss)
    assert issubclass(RotatedBboxLoss, BboxLoss)
    assert inspect.signature(RotatedBboxLoss).parameters["reg_max"].default is inspect.Parameter.empty
    with pytest.raises(TypeError):
        RotatedBboxLoss()  # type: ignore[call-arg]


@both
def test_normaliser_may_be_a_number(spec: str, example: Inputs) -> None:
    x = arguments(spec, example)
    as_tensor = CLASSES[spec](reg_max=4)(*x.values())
    as_number = CLASSES[spec](reg_max=4)(*{**x, "target_scores_sum": 1.25}.values())
    assert [term.item() for term in as_number] == [term.item() for term in as_tensor]
    assert all(term.dtype == f64 for term in as_number)


@both
def test_targets_get_a_gradient_if_they_ask_for_one(spec: str, example: Inputs) -> None:
    """Nothing is detached but alpha: the distances and the weights carry gradients as well."""
    x = arguments(spec, example)
    for name in ("target_bboxes", "target_scores"):
        x[name].requires_grad_()
    terms = CLASSES[spec](reg_max=4)(*x.values())
    for term in terms:
        for gradient in torch.autograd.grad(term, [x["target_bboxes"], x["target_scores"]], retain_graph=True):
            assert gradient[0, 0].any()
            assert not gradient[0, 1].any()


EXAMPLES: dict[str, tuple[Inputs, Mapping[str, Any]]] = {"bbox": (BOXES, R4), "rotated_bbox": (ROTATED, R4)}
MIXED = [
    ("bbox", {"target_bboxes": f64}, f64),
    ("bbox", {"pred_dist": f16, "pred_bboxes": f16}, f32),
    ("bbox", {"target_scores_sum": f64}, f32),
    ("rotated_bbox", {"pred_bboxes": f64}, f64),
]


@pytest.mark.parametrize("dtype", [f64, f32, f16, bf16], ids=str)
@pytest.mark.parametrize("spec", EXAMPLES)
def test_one_dtype_is_kept(spec: str, dtype: torch.dtype) -> None:
    inputs, params = EXAMPLES[spec]
    for term in given_back(spec, params, tensors(spec, inputs, dtype).values()):
        assert term.dtype == dtype
        assert bool(term.isfinite())


@pytest.mark.parametrize(("spec", "kinds", "expected"), MIXED, ids=str)
def test_dtype_of_mixed_input(spec: str, kinds: Mapping[str, torch.dtype], expected: torch.dtype) -> None:
    """Promoted."""
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


@pytest.mark.parametrize("loss", [BboxLoss(), BboxLoss(1), RotatedBboxLoss(16)], ids=lambda loss: type(loss).__name__)
def test_modules_have_no_state(loss: nn.Module) -> None:
    assert list(loss.state_dict()) == list(loss.parameters()) == list(loss.buffers()) == []


def wrong(spec: str, **changes: Any) -> list[Any]:
    return list({**tensors(spec, EXAMPLES[spec][0]), **changes}.values())


REFUSED: list[tuple[str, str, Any, list[Tensor], type[Exception]]] = [
    ("NaN target", "dfl", {}, [torch.zeros(4, 16), torch.tensor([[1.0, 2.0, float("nan"), 3.0]])], IndexError),
    ("R = 1", "dfl", {"reg_max": 1}, [torch.zeros(4, 1), torch.zeros(1, 4)], IndexError),
    ("R = 1, large target", "dfl", {"reg_max": 1}, [torch.zeros(4, 1), torch.zeros(1, 4) + 5], IndexError),
    ("integer target", "dfl", {}, [torch.zeros(4, 16), torch.zeros(1, 4, dtype=torch.int64)], RuntimeError),
    ("row count", "dfl", {}, [torch.zeros(3, 16), torch.zeros(1, 4)], ValueError),
    ("too few bins reached", "dfl", {}, [torch.zeros(4, 8), torch.zeros(1, 4) + 7.5], IndexError),
    ("floating mask", "bbox", R4, wrong("bbox", fg_mask=torch.ones(1, 3)), IndexError),
    ("integer mask", "bbox", R4, wrong("bbox", fg_mask=torch.ones(1, 3, dtype=torch.int64)), IndexError),
    ("other bins", "bbox", R4, wrong("bbox", pred_dist=torch.zeros(1, 3, 64)), ValueError),
    ("rotated boxes", "bbox", R4, wrong("bbox", pred_bboxes=torch.zeros(1, 3, 5)), ValueError),
    ("too few points", "bbox", R4, wrong("bbox", anchor_points=torch.zeros(2, 2)), ValueError),
    ("too few targets", "bbox", R4, wrong("bbox", target_bboxes=torch.zeros(1, 2, 4)), ValueError),
    ("scores of other anchors", "bbox", R4, wrong("bbox", target_scores=torch.zeros(1, 2, 2)), ValueError),
    ("strides of other anchors", "bbox", R4, wrong("bbox", stride=torch.zeros(2, 1)), ValueError),
    ("NaN target", "bbox", R4, wrong("bbox", target_bboxes=torch.full((1, 3, 4), float("nan"))), IndexError),
    ("floating mask", "rotated_bbox", R4, wrong("rotated_bbox", fg_mask=torch.ones(1, 3)), IndexError),
    ("plain boxes", "rotated_bbox", R4, wrong("rotated_bbox", pred_bboxes=torch.zeros(1, 3, 4)), ValueError),
]


@pytest.mark.parametrize(
    ("name", "params", "inputs", "error"), [r[1:] for r in REFUSED], ids=[f"{r[1]}, {r[0]}" for r in REFUSED]
)
def test_bad_input_is_refused(name: str, params: Any, inputs: list[Tensor], error: type[Exception]) -> None:
    with pytest.raises(error):
        CLASSES[name](**params)(*inputs)


# The angle --------------------------------------------------------------------------------------------


def turned(delta: float, w: float = 2.0, h: float = 2.0) -> tuple[float, float]:
    """Value and derivative in the predicted angle of one positive of weight 1."""
    pred = torch.tensor([[0.0, 0, 1, 1, delta]], dtype=f64, requires_grad=True)
    target = torch.tensor([[0.0, 0, w, h, 0]], dtype=f64)
    loss = angle_loss(pred, target, torch.ones(1, dtype=f64), 1.0)
    loss.backward()
    assert pred.grad is not None
    return loss.item(), pred.grad[0, 4].item()


def test_angle_loss_is_periodic_and_flat_at_its_ends() -> None:
    assert turned(0.0) == (0.0, 0.0)
    assert turned(math.pi / 4) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-15))
    assert turned(0.3 + math.pi / 2) == (pytest.approx(turned(0.3)[0]), pytest.approx(turned(0.3)[1]))
    assert turned(0.3, 0, 0) == turned(0.3)
    assert 0 < turned(0.3, 4, 0)[0] < 1e-20
    assert turned(0.3, 1, 4)[0] == pytest.approx(turned(0.3, 4, 1)[0])
