"""Every number and every edge case of spec/30-elementary.md sections 4, 5, 6, 9 and 10, to the digits printed.

Also its table of mistakes, rows 10 to 14, 17 and 18, the keypoint tables of spec/00-conventions.md section 7,
and D8 to D12 of spec/05-decisions.md as far as these losses are concerned.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anchors.overlap import agrees, disagreements
from lossref.core.nouns import Case
from lossref.losses import spec as spec_named
from lossref.losses.box_terms.bbox import BboxLoss
from lossref.losses.box_terms.dfl import DFLoss
from lossref.losses.box_terms.rotated_bbox import RotatedBboxLoss
from lossref.losses.classification.classification import v8ClassificationLoss
from lossref.losses.keypoints.keypoint import KeypointLoss
from lossref.losses.keypoints.rle import RLELoss
from lossref.losses.keypoints.tables import OKS_SIGMA, RLE_WEIGHT
from lossref.oracle.answers import answer, floats, weights
from lossref.oracle.tape import Uncertified

Inputs = Mapping[str, Any]
f64, f32, f16, bf16 = torch.float64, torch.float32, torch.float16, torch.bfloat16

# The worked examples ------------------------------------------------------------------------------------

Z = (0.5, -1, 0.25, 2, 0, 0.125, -0.5, 1, 1.5, 0.5, 0, -2, -0.75, 0.25, 3, 0.5)
EYE = (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)
BOXES: dict[str, Any] = {
    "pred_dist": [[Z, (0,) * 16, EYE]],
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
CLASSES: dict[str, Any] = {"logits": [(1, -0.5, 0.25), (0, 2, -1)], "cls": (2, 1)}
R4, R1 = {"reg_max": 4}, {"reg_max": 1}


class Anchor(NamedTuple):
    """Printed numbers: of each term, and chosen parts of the gradient by (term, input, index)."""

    name: str
    spec: str
    inputs: Inputs
    terms: Mapping[str, str]
    params: Mapping[str, Any] = {}
    gradient: tuple[tuple[str, str, Any, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.spec}, {self.name}"


NOTHING = "0 0 0 0"
ANCHORS = (
    Anchor(
        "two positives",
        "bbox",
        BOXES,
        {"iou": "0.776693959785", "dfl": "1.4651887949"},
        R4,
        (
            ("iou", "pred_bboxes", (0, 0), "-0.11183906464 -0.113104052916 -0.0810404608601 -0.117650421887"),
            ("iou", "pred_bboxes", (0, 1), NOTHING),
            ("iou", "pred_bboxes", (0, 2), "-0.0471824877387 0.00882290690558 -0.159041866436 -0.144641281089"),
            ("dfl", "pred_dist", np.s_[0, 0, :4], "-0.0845765174716 0.00344144412661 0.0120118202708 0.0691232530742"),
            ("dfl", "pred_dist", np.s_[0, 2, 12:], "0.0262316556791 0.0262316556791 0.0247316556791 -0.0771949670372"),
            ("dfl", "pred_dist", (0, 1), " ".join("0" * 16)),
        ),
    ),
    Anchor(
        "one bin",
        "bbox",
        {**BOXES, **ONE_BIN},
        {"dfl": "0.26875"},
        R1,
        (
            ("dfl", "pred_dist", (0, 0), "0.025 0.05 0 -0.05"),
            ("dfl", "pred_dist", (0, 1), NOTHING),
            ("dfl", "pred_dist", (0, 2), "0.0375 0 -0.0375 -0.075"),
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
                "iou",
                "pred_bboxes",
                (0, 0),
                "0.038340703191 -0.363083669271 0.00213615350862 -0.0378920282154 -0.00912728746603",
            ),
            ("dfl", "pred_dist", np.s_[0, 0, :4], "-0.0435017199839 -0.037633353361 0.0120118202708 0.0691232530742"),
        ),
    ),
    Anchor(
        "one bin",
        "rotated_bbox",
        {**ROTATED, **ONE_BIN},
        {"dfl": "0.100467229628"},
        R1,
        (("dfl", "pred_dist", (0, 0), "0.025 -0.05 -0.025 0.05"),),
    ),
    Anchor("no positive", "rotated_bbox", {**ROTATED, "fg_mask": [[0, 0, 0]]}, {"iou": "0", "dfl": "0"}, R4),
    Anchor(
        "three rows",
        "rle",
        RLE,
        {"loss": "0.839479052725"},
        {},
        (
            ("loss", "sigma", ..., "1.33333333333 2.66666666667 8 1 0.222222222222 0.333333333333"),
            ("loss", "log_phi", ..., "-0.666666666667 -1 -0.166666666667"),
            ("loss", "error", ..., "0.333333333333 -0.333333333333 0.5 0 -0.0833333333333 0.0833333333333"),
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
            ("loss", "pred_kpts", 0, "-0.0578030507905 -0.0289015253952 0 0 0 0.194700195652"),
            ("loss", "pred_kpts", 1, "0.213836331568 0.106918165784 0 0 0 0"),
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
    Anchor(
        "two images",
        "classification",
        CLASSES,
        {"loss": "0.723910881706"},
        {},
        (
            (
                "loss",
                "logits",
                ...,
                "0.294898831828 0.0658008235735 -0.360699655402 0.0570975996923 -0.0781026327593 0.021005033067",
            ),
        ),
    ),
    Anchor("one ignored", "classification", {**CLASSES, "cls": (-100, 1)}, {"loss": "0.169846019556"}),
)


# Three ways to the same number --------------------------------------------------------------------------


class Found(NamedTuple):
    """Values by term, gradients by (term, input)."""

    terms: Mapping[str, float]
    gradient: Mapping[tuple[str, str], Any]


def keypoint_class(**params: Any) -> Callable[..., Tensor]:
    return lambda pred, gt, mask, area, sigmas: KeypointLoss(sigmas)(pred, gt, mask, area)


def classification_class(**params: Any) -> Callable[..., Tensor]:
    return lambda logits, cls: v8ClassificationLoss()(logits, {"cls": cls})[0]


BUILD: dict[str, Callable[..., Callable[..., Any]]] = {
    "bbox": BboxLoss,
    "rotated_bbox": RotatedBboxLoss,
    "rle": RLELoss,
    "keypoint": keypoint_class,
    "classification": classification_class,
}


def tensors(spec: str, inputs: Inputs, dtype: torch.dtype = f64, grad: bool = False) -> dict[str, Tensor]:
    domains, wrt = spec_named(spec).inputs, spec_named(spec).wrt
    kinds = {name: getattr(torch, domains[name].dtype) if domains[name].dtype else dtype for name in inputs}
    return {name: torch.tensor(inputs[name], dtype=kinds[name], requires_grad=grad and name in wrt) for name in domains}


def by_torch(build: Callable[..., Callable[..., Any]], spec: str, inputs: Inputs, params: Any) -> Found:
    """Each term in float64, and the gradient of each term by itself."""
    one_spec, leaves = spec_named(spec), tensors(spec, inputs, grad=True)
    out = build(**params)(*leaves.values())
    outs = dict(zip(one_spec.terms, (out,) if isinstance(out, Tensor) else out, strict=True))
    assert all(x.dtype == f64 and x.shape == () for x in outs.values())
    found = {}
    for term, x in outs.items():
        grads = torch.autograd.grad(x, [leaves[n] for n in one_spec.wrt], retain_graph=True, allow_unused=True)
        found |= {(term, name): g for name, g in zip(one_spec.wrt, grads, strict=True)}
    return Found({term: x.item() for term, x in outs.items()}, {at: g for at, g in found.items() if g is not None})


def by_reference(spec: str, inputs: Inputs, params: Any) -> Found:
    return by_torch(partial(partial, spec_named(spec).reference), spec, inputs, params)


def by_class(spec: str, inputs: Inputs, params: Any) -> Found:
    return by_torch(BUILD[spec], spec, inputs, params)


def by_oracle(spec: str, inputs: Inputs, params: Any) -> Found:
    """The oracle's gradient is that of a weighted sum; boxes belong to the first term, distances to the second."""
    one_spec = spec_named(spec)
    truth = answer(one_spec, Case(spec, {name: np.asarray(x, dtype=float) for name, x in inputs.items()}, params))
    factor = dict(zip(one_spec.terms, weights((len(one_spec.terms),)), strict=True))
    owner = {"pred_bboxes": "iou", "pred_dist": "dfl"}
    gradient = {
        (owner.get(name, "loss"), name): floats(g) / factor[owner.get(name, "loss")]
        for name, g in truth.gradient.items()
    }
    return Found({term: floats(truth.value[term]).item() for term in one_spec.terms}, gradient)


WAYS = {"reference": by_reference, "class": by_class, "oracle": by_oracle}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("anchor", ANCHORS, ids=str)
def test_value(way: str, anchor: Anchor) -> None:
    found = WAYS[way](anchor.spec, anchor.inputs, anchor.params)
    assert {term: disagreements(found.terms[term], printed) for term, printed in anchor.terms.items()} == {
        term: [] for term in anchor.terms
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("anchor", [anchor for anchor in ANCHORS if anchor.gradient], ids=str)
def test_gradient(way: str, anchor: Anchor) -> None:
    gradient = WAYS[way](anchor.spec, anchor.inputs, anchor.params).gradient
    for term, name, index, printed in anchor.gradient:
        assert disagreements(gradient[term, name][index], printed) == []


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


# How a careless implementation goes wrong ---------------------------------------------------------------


class Mistake(NamedTuple):
    """A row of the table: what is asked, the right number and the one that the mistake gives."""

    row: int
    impostor: str
    spec: str
    inputs: Inputs
    term: str
    right: str
    wrong: str
    params: Mapping[str, Any] = {}

    def __str__(self) -> str:
        return f"row {self.row}, {self.impostor}"


L1 = {**BOXES, **ONE_BIN}
MISTAKES = (
    Mistake(10, "n x n", "bbox", BOXES, "iou", "0.776693959785", "1.52267626073", R4),
    Mistake(11, "mean over positives", "bbox", BOXES, "iou", "0.776693959785", "0.485433724866", R4),
    Mistake(11, "GIoU", "bbox", BOXES, "iou", "0.776693959785", "0.794342878622", R4),
    Mistake(12, "W and H swapped", "bbox", L1, "dfl", "0.26875", "0.190625", R1),
    Mistake(12, "stride forgotten", "bbox", L1, "dfl", "0.26875", "0.03359375", R1),
    Mistake(12, "L1 summed", "bbox", L1, "dfl", "0.26875", "1.075", R1),
    Mistake(12, "L1 distances clamped", "bbox", L1, "dfl", "0.26875", "0.2625", R1),
    Mistake(13, "log_phi once", "rle", RLE, "loss", "0.839479052725", "0.214479053"),
    Mistake(13, "divided by n D", "rle", RLE, "loss", "0.839479052725", "0.419739526"),
    Mistake(13, "divided by the weight", "rle", RLE, "loss", "0.839479052725", "0.915795330"),
    Mistake(13, "2 missing", "rle", RLE, "loss", "0.839479052725", "-0.431290778"),
    Mistake(13, "ln sigma missing", "rle", RLE, "loss", "0.839479052725", "1.38331294"),
    Mistake(14, "axis-aligned", "rotated_bbox", ROTATED, "dfl", "1.73731047536", "1.7371262949", R4),
    Mistake(17, "factor of the batch", "keypoint", KEYPOINTS, "loss", "0.14641493714", "0.147001692"),
    Mistake(17, "mean over all visible", "keypoint", KEYPOINTS, "loss", "0.14641493714", "0.147001692"),
    Mistake(17, "area squared", "keypoint", KEYPOINTS, "loss", "0.14641493714", "0.111280460"),
    Mistake(17, "sigma not doubled", "keypoint", KEYPOINTS, "loss", "0.14641493714", "0.457495518"),
    # Row 18 prints no numbers: twice and a 64th of the sum, 2 * 0.723910881706 and the same over 64.
    Mistake(18, "times the batch", "classification", CLASSES, "loss", "0.723910881706", "1.447821763412"),
    Mistake(18, "divided by 64", "classification", CLASSES, "loss", "0.723910881706", "0.0226222150533"),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_right_number_and_not_the_mistaken_one(way: str, mistake: Mistake) -> None:
    got = WAYS[way](mistake.spec, mistake.inputs, mistake.params).terms[mistake.term]
    assert agrees(got, mistake.right)
    assert not agrees(got, mistake.wrong)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_impostor_gives_the_mistaken_number(mistake: Mistake) -> None:
    """The careless version is the mistake that the table means, in float64 to the digits printed."""
    one_spec = spec_named(mistake.spec)
    build = next(target.build for target in one_spec.impostors if target.label == mistake.impostor)
    full = {**one_spec.defaults(), **mistake.params}
    got = by_torch(build, mistake.spec, mistake.inputs, full).terms[mistake.term]
    assert agrees(got, mistake.wrong)
    assert not agrees(got, mistake.right)


def test_clamping_the_distances_a_little_higher_cannot_be_seen() -> None:
    """R - 0.01 instead of R - 1.01 in the box loss: the DFL clamps again. No impostor."""
    right = by_class("bbox", BOXES, R4).terms["dfl"]
    distances = torch.tensor([(-0.25, 0.25, 1, 1), (0.5, 1, 0.75, 3.25)], dtype=f64).clamp(0, 4 - 0.01)
    logits = torch.tensor([Z, EYE], dtype=f64).reshape(-1, 4)
    cost = DFLoss(4)(logits, distances)[:, 0]
    assert (cost * torch.tensor([0.5, 0.75])).sum().item() / 1.25 == pytest.approx(right, rel=1e-14)


# Box losses: what is said in words ----------------------------------------------------------------------

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
    terms = BUILD[spec](reg_max=reg_max)(*x.values())
    assert [term.item() for term in terms] == [0.0, 0.0]
    for gradient in torch.autograd.grad(sum(terms), [x["pred_dist"], x["pred_bboxes"]]):
        assert not gradient.any()


@both
def test_no_positive_and_no_normaliser_is_nan(spec: str, example: Inputs) -> None:
    x = arguments(spec, example, fg_mask=[[0, 0, 0]], target_scores_sum=0)
    assert all(term.isnan() for term in BUILD[spec](reg_max=4)(*x.values()))


@both
def test_negatives_get_no_gradient(spec: str, example: Inputs) -> None:
    x = arguments(spec, example)
    terms = BUILD[spec](reg_max=4)(*x.values())
    for gradient in torch.autograd.grad(sum(terms), [x["pred_dist"], x["pred_bboxes"]]):
        assert gradient[0, 0].any()
        assert not gradient[0, 1].any()


@both
def test_a_positive_without_scores_contributes_nothing(spec: str, example: Inputs) -> None:
    weightless = by_class(spec, {**example, "target_scores": [[(0.5, 0), (0, 0), (0, 0)]]}, R4)
    alone = by_class(spec, {**example, "fg_mask": [[1, 0, 0]]}, R4)
    assert weightless.terms == alone.terms
    assert not weightless.gradient["dfl", "pred_dist"][0, 2].any()
    assert not weightless.gradient["iou", "pred_bboxes"][0, 2].any()


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
    assert not np.asarray(found.gradient["iou", "pred_bboxes"]).any()


@both
def test_zero_bins_are_one(spec: str, example: Inputs) -> None:
    assert BUILD[spec](reg_max=0).dfl_loss is None
    assert BUILD[spec](reg_max=1).dfl_loss is None
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
    as_tensor = BUILD[spec](reg_max=4)(*x.values())
    as_number = BUILD[spec](reg_max=4)(*{**x, "target_scores_sum": 1.25}.values())
    assert [term.item() for term in as_number] == [term.item() for term in as_tensor]
    assert all(term.dtype == f64 for term in as_number)


@both
def test_targets_get_a_gradient_if_they_ask_for_one(spec: str, example: Inputs) -> None:
    """Nothing is detached but alpha: the distances and the weights carry gradients as well."""
    x = arguments(spec, example)
    for name in ("target_bboxes", "target_scores"):
        x[name].requires_grad_()
    terms = BUILD[spec](reg_max=4)(*x.values())
    for term in terms:
        for gradient in torch.autograd.grad(term, [x["target_bboxes"], x["target_scores"]], retain_graph=True):
            assert gradient[0, 0].any()
            assert not gradient[0, 1].any()


# Point losses: what is said in words --------------------------------------------------------------------


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


# Classification: what is said in words ------------------------------------------------------------------


def classify(logits: Any, cls: Any) -> Tensor:
    return v8ClassificationLoss()(logits, {"cls": cls})[0]


LOGITS = torch.tensor(CLASSES["logits"], dtype=f64)


def test_classification_of_probabilities() -> None:
    """The mean of - sum c ln p, which is linear in c."""
    one_hot = torch.eye(3, dtype=f64)[[2, 1]]
    assert agrees(classify(LOGITS, one_hot).item(), "0.723910881706")
    soft = torch.tensor([(0.25, 0.25, 0.5), (0.5, 0, 0.25)], dtype=f64)
    parts = [
        [-sum(c * lp for c, lp in zip(row, logp, strict=True))]
        for row, logp in zip(soft, LOGITS.log_softmax(-1), strict=True)
    ]
    assert classify(LOGITS, soft).item() == pytest.approx(float(sum(p[0] for p in parts)) / 2, rel=1e-14)
    assert classify(LOGITS.float(), soft).dtype == f32


@pytest.mark.parametrize(
    "preds",
    [LOGITS, (None, LOGITS), [None, LOGITS], (LOGITS.softmax(-1), LOGITS)],
    ids=["tensor", "tuple", "list", "both"],
)
def test_classification_takes_the_second_of_a_pair(preds: Any) -> None:
    """QC2: a tensor, a tuple or a list."""
    assert agrees(classify(preds, torch.tensor([2, 1])).item(), "0.723910881706")


def test_classification_items_are_detached() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss, items = v8ClassificationLoss()(logits, {"cls": torch.tensor([2, 1])})
    assert loss.requires_grad
    assert not items.requires_grad
    assert loss.shape == items.shape == ()
    assert loss.item() == items.item()


def test_classification_of_nothing_is_nan() -> None:
    assert classify(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)).isnan()
    assert classify(LOGITS, torch.tensor([-100, -100])).isnan()
    with pytest.raises(Uncertified):
        by_oracle("classification", {**CLASSES, "cls": (-100, -100)}, {})  # 0 / 0


BAD_LABELS: list[tuple[str, Any, type[Exception]]] = [
    ("too large", torch.tensor([3, 0]), IndexError),
    ("negative", torch.tensor([-1, 0]), IndexError),
    ("nearly ignored", torch.tensor([-101, 0]), IndexError),
    ("two axes", torch.tensor([[2], [1]]), RuntimeError),
    ("floating", torch.tensor([2.0, 1.0]), RuntimeError),
    ("int32", torch.tensor([2, 1], dtype=torch.int32), RuntimeError),
    ("too many", torch.tensor([2, 1, 0]), RuntimeError),
]


@pytest.mark.parametrize(("cls", "error"), [row[1:] for row in BAD_LABELS], ids=[row[0] for row in BAD_LABELS])
def test_bad_labels_are_refused(cls: Tensor, error: type[Exception]) -> None:
    with pytest.raises(error):
        classify(LOGITS, cls)


def test_missing_labels_are_a_key_error() -> None:
    with pytest.raises(KeyError):
        v8ClassificationLoss()(LOGITS, {})


def test_classification_is_a_plain_class() -> None:
    assert not isinstance(v8ClassificationLoss(), nn.Module)
    assert list(inspect.signature(v8ClassificationLoss).parameters) == []


# All five -----------------------------------------------------------------------------------------------

EXAMPLES: dict[str, tuple[Inputs, Mapping[str, Any]]] = {
    "bbox": (BOXES, R4),
    "rotated_bbox": (ROTATED, R4),
    "rle": (RLE, {}),
    "keypoint": (KEYPOINTS, {}),
    "classification": (CLASSES, {}),
}
# D9: what half precision comes back as.
RESULTS = {"keypoint": {f16: f32, bf16: f32}}


@pytest.mark.parametrize("dtype", [f64, f32, f16, bf16], ids=str)
@pytest.mark.parametrize("spec", EXAMPLES)
def test_dtype_of_the_result(spec: str, dtype: torch.dtype) -> None:
    inputs, params = EXAMPLES[spec]
    out = BUILD[spec](**params)(*tensors(spec, inputs, dtype).values())
    for term in (out,) if isinstance(out, Tensor) else out:
        assert term.dtype == RESULTS.get(spec, {}).get(dtype, dtype)
        assert bool(term.isfinite())


MIXED = [
    ("bbox", {"target_bboxes": f64}, f64),
    ("bbox", {"pred_dist": f16, "pred_bboxes": f16}, f32),
    ("bbox", {"target_scores_sum": f64}, f32),
    ("rotated_bbox", {"pred_bboxes": f64}, f64),
    ("rle", {"sigma": f64}, f64),
    ("rle", {"error": f64, "target_weight": f64}, f32),
    ("rle", {"sigma": f16, "log_phi": f16}, f16),
    ("keypoint", {"gt_kpts": f64}, f64),
    ("keypoint", {"pred_kpts": f16, "sigmas": f16}, f32),
    ("classification", {"logits": f16}, f16),
]


@pytest.mark.parametrize(("spec", "kinds", "expected"), MIXED, ids=str)
def test_dtype_of_mixed_input(spec: str, kinds: Mapping[str, torch.dtype], expected: torch.dtype) -> None:
    """Promoted; RLE has the dtype of sigma and log_phi, whatever error and weight are."""
    inputs, params = EXAMPLES[spec]
    given = {name: x.to(kinds.get(name, x.dtype)) for name, x in tensors(spec, inputs, f32).items()}
    out = BUILD[spec](**params)(*given.values())
    assert {term.dtype for term in ((out,) if isinstance(out, Tensor) else out)} == {expected}


@pytest.mark.parametrize("spec", EXAMPLES)
def test_no_argument_is_changed(spec: str) -> None:
    """D12."""
    inputs, params = EXAMPLES[spec]
    given = tensors(spec, inputs)
    before = {name: x.clone() for name, x in given.items()}
    BUILD[spec](**params)(*given.values())
    assert all(torch.equal(x, before[name]) for name, x in given.items())


MODULES = [BboxLoss(), BboxLoss(1), RotatedBboxLoss(16), RLELoss(), KeypointLoss(OKS_SIGMA)]


@pytest.mark.parametrize("loss", MODULES, ids=lambda loss: type(loss).__name__)
def test_modules_have_no_state(loss: nn.Module) -> None:
    assert list(loss.state_dict()) == list(loss.parameters()) == list(loss.buffers()) == []


def test_attributes_are_those_of_the_constructor() -> None:
    loss = RLELoss(False, True, False)
    assert (loss.use_target_weight, loss.size_average, loss.residual) == (False, True, False)
    assert KeypointLoss(OKS_SIGMA).sigmas is OKS_SIGMA


def wrong(spec: str, **changes: Any) -> list[Any]:
    inputs, _ = EXAMPLES[spec]
    return list({**tensors(spec, inputs), **changes}.values())


REFUSED: list[tuple[str, str, list[Any], type[Exception]]] = [
    ("floating mask", "bbox", wrong("bbox", fg_mask=torch.ones(1, 3)), IndexError),
    ("integer mask", "bbox", wrong("bbox", fg_mask=torch.ones(1, 3, dtype=torch.int64)), IndexError),
    ("other bins", "bbox", wrong("bbox", pred_dist=torch.zeros(1, 3, 64)), ValueError),
    ("rotated boxes", "bbox", wrong("bbox", pred_bboxes=torch.zeros(1, 3, 5)), ValueError),
    ("too few points", "bbox", wrong("bbox", anchor_points=torch.zeros(2, 2)), ValueError),
    ("too few targets", "bbox", wrong("bbox", target_bboxes=torch.zeros(1, 2, 4)), ValueError),
    ("scores of other anchors", "bbox", wrong("bbox", target_scores=torch.zeros(1, 2, 2)), ValueError),
    ("strides of other anchors", "bbox", wrong("bbox", stride=torch.zeros(2, 1)), ValueError),
    ("NaN target", "bbox", wrong("bbox", target_bboxes=torch.full((1, 3, 4), float("nan"))), IndexError),
    ("floating mask", "rotated_bbox", wrong("rotated_bbox", fg_mask=torch.ones(1, 3)), IndexError),
    ("plain boxes", "rotated_bbox", wrong("rotated_bbox", pred_bboxes=torch.zeros(1, 3, 4)), ValueError),
    ("error of another shape", "rle", wrong("rle", error=torch.zeros(3, 1)), ValueError),
    ("log_phi of another shape", "rle", wrong("rle", log_phi=torch.zeros(3, 1)), ValueError),
    ("other sigmas", "keypoint", wrong("keypoint", sigmas=torch.ones(2)), ValueError),
    ("fewer targets", "keypoint", wrong("keypoint", gt_kpts=torch.zeros(1, 3, 2)), ValueError),
    ("one coordinate", "keypoint", wrong("keypoint", gt_kpts=torch.zeros(2, 3, 1)), ValueError),
]


@pytest.mark.parametrize(
    ("spec", "inputs", "error"), [row[1:] for row in REFUSED], ids=[f"{row[1]}, {row[0]}" for row in REFUSED]
)
def test_bad_input_is_refused(spec: str, inputs: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        BUILD[spec](**EXAMPLES[spec][1])(*inputs)
