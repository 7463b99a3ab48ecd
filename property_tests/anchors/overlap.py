"""Every number and edge case of the overlaps of boxes, to the digits printed.

Sources: spec/10-geometry.md sections 3 (IoU and its kin) and 4 (probiou), and rows 6 and 7 of its table of mistakes.
Where the specification prints a measured and an exact value, the exact one counts (spec/05-decisions.md, D8).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossref.checks.material import material
from lossref.losses import spec as spec_named
from lossref.losses.overlap import probiou as prob
from lossref.losses.overlap.bbox_iou import bbox_iou
from lossref.losses.overlap.probiou import covariance, oracle_covariance, probiou
from lossref.oracle.tape import Tape, Uncertified, precision
from shared import maps
from shared.digits import agrees
from shared.maps import BITS, all_agree, impostor, rows
from shared.three_ways import (
    WAYS,
    Anchor,
    Inputs,
    asked,
    bf16,
    by_oracle,
    by_reference,
    by_torch,
    f16,
    f32,
    f64,
    wrong_slopes,
    wrong_values,
)

# IoU, GIoU, DIoU and CIoU: the table of anchors -------------------------------------------------------

P1, P2 = (1, 2, 4, 6.5), (2, 1.5, 5.25, 5)
P1_CENTRE, P2_CENTRE = (2.5, 4.25, 3, 4.5), (3.625, 3.25, 3.25, 3.5)
XYXY, XYWH = {"xywh": False}, {"xywh": True}
KINDS = {"iou": {}, "giou": {"GIoU": True}, "diou": {"DIoU": True}, "ciou": {"CIoU": True}}


def pair(first: Any, second: Any, scale: float = 1.0) -> Inputs:
    return {"box1": [[scale * x for x in first]], "box2": [[scale * x for x in second]]}


def box_anchor(name: str, kind: str, boxes: Inputs, value: str, params: Any, gradient: str = "") -> Anchor:
    return Anchor(name, kind, boxes, {kind: value}, params, (("box1", 0, gradient),) if gradient else ())


P_XYXY, P_XYWH = pair(P1, P2), pair(P1_CENTRE, P2_CENTRE)
TOUCHING = pair((0, 0, 2, 4), (2, 0, 4, 4))
DISJOINT = pair((0, 0, 1, 1), (3, 0, 4, 1))
FLAT = pair((1, 2, 4, 2), P2)
SAME_XYXY, SAME_XYWH = pair((2, 3, 3, 5), (2, 3, 3, 5)), pair((2.5, 4, 1, 2), (2.5, 4, 1, 2))
LARGER_XYWH = pair((2.5, 4, 2, 4), (2.5, 4, 2, 4))
TINY_XYXY, TINY_XYWH = pair(P1, P2, 2.0**-20), pair(P1_CENTRE, P2_CENTRE, 2.0**-20)

ANCHORS = (
    box_anchor(
        "xyxy",
        "iou",
        P_XYXY,
        "0.317880782492",
        XYXY,
        "0.0757861455924 -0.0891188955177 0.133678341592 -0.0505240959389",
    ),
    box_anchor(
        "xyxy", "giou", P_XYXY, "0.206116106547", XYXY, "0.0730179818538 -0.136177718826 0.20426658126 -0.0869946899901"
    ),
    box_anchor(
        "xyxy",
        "diou",
        P_XYXY,
        "0.265268300756",
        XYXY,
        "0.0915259169404 -0.112340956422 0.159803160109 -0.0615284542911",
    ),
    box_anchor(
        "xyxy",
        "ciou",
        P_XYXY,
        "0.265111400025",
        XYXY,
        "0.0912248911238 -0.112140272548 0.160104185926 -0.0617291381644",
    ),
    box_anchor(
        "xywh", "iou", P_XYWH, "0.317880793018", XYWH, "0.209464495794 -0.139642997196 0.0289460989696 0.0192973993131"
    ),
    box_anchor(
        "xywh", "giou", P_XYWH, "0.206116087661", XYWH, "0.277284564803 -0.223172408673 0.0656242994272 0.0245915168826"
    ),
    box_anchor(
        "xywh", "diou", P_XYWH, "0.265268311282", XYWH, "0.251329085659 -0.173869416452 0.0341386225541 0.025406250589"
    ),
    box_anchor(
        "xywh", "ciou", P_XYWH, "0.265111410533", XYWH, "0.251329085659 -0.173869416452 0.0344396484001 0.0252055666916"
    ),
    box_anchor("touching", "iou", TOUCHING, "0", XYXY, "0 0 0.249999992188 0"),
    box_anchor("disjoint", "iou", DISJOINT, "0", XYXY, "0 0 0 0"),
    box_anchor("disjoint", "giou", DISJOINT, "-0.4999999375", XYXY),
    box_anchor("disjoint", "diou", DISJOINT, "-0.529411761592", XYXY),
    box_anchor("disjoint", "ciou", DISJOINT, "-0.529411761592", XYXY),
    box_anchor("zero height", "iou", FLAT, "0", XYXY),
    box_anchor("zero height", "giou", FLAT, "-0.235294074048", XYXY),
    box_anchor("zero height", "diou", FLAT, "-0.0932989687644", XYXY),
    box_anchor(
        "zero height",
        "ciou",
        FLAT,
        "-0.152275608476",
        XYXY,
        "0.0109512185637 -0.182394549934 0.0371134003458 0.264868776466",
    ),
    box_anchor("identical 1 x 2, xyxy", "iou", SAME_XYXY, "0.99999985", XYXY),
    box_anchor("identical 1 x 2, xyxy", "giou", SAME_XYXY, "0.99999995", XYXY),
    box_anchor("identical 1 x 2, xyxy", "diou", SAME_XYXY, "0.99999985", XYXY),
    box_anchor("identical 1 x 2, xyxy", "ciou", SAME_XYXY, "0.99999985", XYXY),
    *(box_anchor("identical 1 x 2, xywh", kind, SAME_XYWH, "0.99999995", XYWH) for kind in KINDS),
    *(box_anchor("identical 2 x 4, xywh", kind, LARGER_XYWH, "0.9999999875", XYWH) for kind in KINDS),
    box_anchor("scaled by 2^-20, xyxy", "ciou", TINY_XYXY, "-6.30072274067e-05", XYXY),
    box_anchor("scaled by 2^-20, xywh", "ciou", TINY_XYWH, "-7.35827261806e-05", XYWH),
)


@pytest.mark.parametrize(("way", "anchor"), asked(ANCHORS), ids=str)
def test_value(way: str, anchor: Anchor) -> None:
    assert wrong_values(way, anchor) == []


@pytest.mark.parametrize(("way", "anchor"), asked(anchor for anchor in ANCHORS if anchor.gradient), ids=str)
def test_gradient(way: str, anchor: Anchor) -> None:
    assert wrong_slopes(way, anchor) == []


def test_alpha_attached_is_another_gradient() -> None:
    wrong, right = "0.0909112263913", "0.0912248911238"
    attached = by_torch(
        partial(partial, bbox_iou, CIoU=True), "ciou", P_XYXY, {"xywh": False, "eps": 1e-7, "alpha": "attached"}
    )
    assert agrees(attached.gradient["box1"][0, 0], wrong)
    for way in (by_reference, by_oracle):
        start = way("ciou", P_XYXY, XYXY).gradient["box1"][0, 0]
        assert agrees(start, right)
        assert not agrees(start, wrong)


# IoU and its kin: what is said in words ---------------------------------------------------------------


def boxes(*rows: Any, dtype: torch.dtype = torch.float64, grad: bool = False) -> Tensor:
    return torch.tensor(rows, dtype=dtype, requires_grad=grad)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((3, 4), (3, 4), (3, 1)),
        ((3, 1, 4), (1, 5, 4), (3, 5, 1)),
        ((0, 4), (0, 4), (0, 1)),
        ((4,), (4,), (1,)),
        ((4,), (7, 4), (7, 1)),
        ((0, 1, 4), (1, 5, 4), (0, 5, 1)),
    ],
    ids=str,
)
def test_shapes_broadcast_and_keep_a_last_axis(kind: str, first: Any, second: Any, expected: Any) -> None:
    assert bbox_iou(torch.ones(first), torch.ones(second), **KINDS[kind]).shape == expected


def test_broadcast_pairs_are_the_single_ones() -> None:
    rows, columns = boxes(P1_CENTRE, P2_CENTRE), boxes(P2_CENTRE, (0, 0, 1, 9), P1_CENTRE)
    table = bbox_iou(rows[:, None], columns[None], CIoU=True)
    alone = [[bbox_iou(row, column, CIoU=True).item() for column in columns] for row in rows]
    assert table[..., 0].tolist() == alone


FLAG_SETS = [
    (giou, diou, ciou, "ciou" if ciou else "diou" if diou else "giou" if giou else "iou")
    for giou in (False, True)
    for diou in (False, True)
    for ciou in (False, True)
]


@pytest.mark.parametrize(("giou", "diou", "ciou", "winner"), FLAG_SETS)
def test_priority_of_the_flags(giou: bool, diou: bool, ciou: bool, winner: str) -> None:
    got = bbox_iou(boxes(P1), boxes(P2), xywh=False, GIoU=giou, DIoU=diou, CIoU=ciou).item()
    printed = {a.spec: a.terms[a.spec] for a in ANCHORS if a.name == "xyxy"}
    assert [kind for kind, value in printed.items() if agrees(got, value)] == [winner]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("same", [SAME_XYXY, SAME_XYWH], ids=["xyxy", "xywh"])
def test_identical_boxes_are_exactly_one_in_float32(kind: str, same: Inputs) -> None:
    first, second = (torch.tensor(box, dtype=torch.float32) for box in same.values())
    assert bbox_iou(first, second, xywh=same is SAME_XYWH, **KINDS[kind]).item() == 1.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("xywh", [False, True], ids=["xyxy", "xywh"])
def test_identical_boxes_in_half_precision(dtype: torch.dtype, kind: str, xywh: bool) -> None:
    """D9: 1 + eps rounds away in half precision, but nothing is computed there."""
    first, second = (boxes((2, 3, 3, 5), dtype=dtype, grad=True) for _ in range(2))
    value = bbox_iou(first, second, xywh=xywh, **KINDS[kind])
    assert value.dtype == dtype
    assert value.item() == 1.0
    for gradient in torch.autograd.grad(value.sum(), [first, second]):
        assert gradient.dtype == dtype
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (torch.float64, torch.float64, torch.float64),
        (torch.float32, torch.float64, torch.float64),
        (torch.float16, torch.float32, torch.float32),
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.bfloat16, torch.bfloat16),
    ],
    ids=str,
)
def test_overlap_has_the_promoted_dtype(first: torch.dtype, second: torch.dtype, expected: torch.dtype) -> None:
    assert bbox_iou(boxes(P1_CENTRE, dtype=first), boxes(P2_CENTRE, dtype=second), CIoU=True).dtype == expected


NO_SIZE = pair((2, 3, 0, 0), P2_CENTRE)


@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
@pytest.mark.parametrize("way", ["reference", "oracle"])
def test_no_size_is_finite_without_the_aspect(way: str, kind: str) -> None:
    found = WAYS[way](kind, NO_SIZE, XYWH)
    assert np.isfinite(found.value).all()
    assert np.isfinite(found.gradient["box1"]).all()


def test_no_size_has_no_ciou() -> None:
    """w / h is 0 / 0: the reference keeps the NaN, the oracle refuses to certify one."""
    assert np.isnan(by_reference("ciou", NO_SIZE, XYWH).value).all()
    with pytest.raises(Uncertified, match="no finite number"):
        by_oracle("ciou", NO_SIZE, XYWH)


@pytest.mark.parametrize("way", ["reference", "oracle"])
def test_aspect_gradient_of_a_point_is_huge(way: str) -> None:
    found = WAYS[way]("ciou", pair((2.5, 3, 2.5, 3), P2), XYXY)
    assert np.isfinite(found.value).all()
    assert 1e5 < np.abs(found.gradient["box1"]).max() < 1e8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["reference", "oracle"])
def test_disjoint_boxes_attract_each_other_except_by_iou(way: str, kind: str) -> None:
    gradient = WAYS[way](kind, DISJOINT, XYXY).gradient
    assert np.any(gradient["box1"]) == np.any(gradient["box2"]) == (kind != "iou")


@pytest.mark.parametrize("way", ["reference", "oracle"])
def test_inverted_boxes_follow_the_formula(way: str) -> None:
    """Both boxes inverted in x and y: U = 4 + 3, C = 3, hence 7 / 3 - 1, up to eps."""
    found = WAYS[way]("giou", pair((2, 2, 0, 0), (1.5, 2, 0, 0)), XYXY)
    assert found.value.item() == pytest.approx(4 / 3, rel=1e-6)


@pytest.mark.parametrize(("kind", "low"), [("iou", 0.0), ("giou", -1.0), ("diou", -1.0), ("ciou", -2.0)])
def test_range_of_valid_boxes(kind: str, low: float) -> None:
    """Up to rounding; a box without area is none: in xyxy its enclosing area may be eps alone."""
    cases = [c for c in material(spec_named(kind), "single", "quick", 3) if "box1=zero area" not in c.flags]
    values = [by_reference(kind, case.inputs, case.params).value.item() for case in cases]
    assert low - 1e-12 <= min(values)
    assert max(values) <= 1 + 1e-12
    assert max(values) > 0.9, "no pair of boxes comes near the upper end"


@pytest.mark.parametrize("shape", [(3, 5), (3, 3), (2,), ()], ids=str)
@pytest.mark.parametrize("name", ["box1", "box2"])
def test_last_axis_other_than_four_is_refused(name: str, shape: tuple[int, ...]) -> None:
    given = {"box1": torch.ones(3, 4), "box2": torch.ones(3, 4), name: torch.ones(shape)}
    with pytest.raises(ValueError, match=name):
        bbox_iou(**given)


# probiou ----------------------------------------------------------------------------------------------


def obb_pair(first: Any, second: Any) -> Inputs:
    return {"obb1": [first], "obb2": [second]}


OBB1, OBB2 = (4, 4, 6, 2, 0.5), (5, 4.5, 4, 3, -0.25)
WORKED = obb_pair(OBB1, OBB2)
SLOPE1 = "0.100746314116 0.0698393995209 -0.0197643094793 0.110033056438 -0.116375517725"
SLOPE2 = "-0.100746314116 -0.0698393995209 -0.0108535842025 0.0258666818989 0.135841760188"
FAR = obb_pair((0, 0, 1, 1, 0), (100, 0, 1, 1, 0))
NOTHING = "0 0 0 0 0"
PROBIOU_ANCHORS = (
    maps.Anchor("worked", "probiou", WORKED, "0.547805611771", (((0,), "obb1", SLOPE1), ((0,), "obb2", SLOPE2))),
    maps.Anchor(
        "far",
        "probiou",
        FAR,
        "-4.99999988079e-08",
        (((0,), "obb1", NOTHING), ((0,), "obb2", NOTHING)),
        exact="-4.99999987500e-08",  # 1 - sqrt(1 + 1e-7); next to 1, float64 has steps of 1.1e-16
    ),
    maps.Anchor(
        "identical",
        "probiou",
        obb_pair(OBB1, OBB1),
        "0.999552786410",
        (((0,), "obb1", NOTHING), ((0,), "obb2", NOTHING)),
    ),
)


@pytest.mark.parametrize("one", PROBIOU_ANCHORS, ids=str)
@pytest.mark.parametrize("way", maps.WAYS)
def test_anchor(way: str, one: maps.Anchor) -> None:
    maps.check(way, one)


def similarity(first: Any, second: Any, **more: Any) -> float:
    return probiou(rows(first), rows(second), **more).item()


def sloped(first: Any, second: Any, dtype: torch.dtype = f64, **more: Any) -> tuple[float, Tensor, Tensor]:
    """Value and both gradients."""
    one, two = (rows(box, dtype=dtype).requires_grad_() for box in (first, second))
    value = probiou(one, two, **more)
    first_slope, second_slope = torch.autograd.grad(value.sum(), [one, two])
    return value.item(), first_slope[0], second_slope[0]


COVARIANCES = [
    (OBB1, "2.38706974116 0.946263592176 1.12196131308"),
    (OBB2, "1.29762824722 0.785705086115 -0.13983244876"),
]


@pytest.mark.parametrize(("box", "printed"), COVARIANCES, ids=["obb1", "obb2"])
def test_covariance(box: Any, printed: str) -> None:
    assert all_agree(torch.stack(covariance(*rows(box)[0, 2:], 0.0)).numpy(), printed)
    with precision(BITS):
        numbers = oracle_covariance(tape := Tape(), *(tape.number(x) for x in box[2:]), 0.0)
        assert all_agree([float(number.value) for number in numbers], printed)


@pytest.mark.parametrize("way", maps.WAYS)
def test_probiou_with_the_aspect_term(way: str) -> None:
    """Only one component of the gradient is printed."""
    one = maps.Anchor("CIoU", "probiou", WORKED, "", (((0,), "obb1", ""),), {"CIoU": True})
    value, (slope,) = maps.WAYS[way](one)
    assert agrees(value[0], "0.544243249578")
    assert agrees(slope[2], "-0.0208714908484")


def test_alpha_is_detached_as_a_whole() -> None:
    """d(v alpha) = alpha dv: the aspect term moves neither the centre nor the angle."""
    _, plain, _ = sloped(OBB1, OBB2)
    _, aspect, _ = sloped(OBB1, OBB2, CIoU=True)
    assert torch.equal((plain == aspect).nonzero()[:, 0], torch.tensor([0, 1, 4]))


def test_identical_boxes_never_reach_one() -> None:
    """QG3: the value of identical boxes, in both precisions."""
    assert agrees(similarity(OBB1, OBB1), "0.999552786410")
    assert similarity(OBB1, OBB1) == pytest.approx(1 - math.sqrt(2e-7), rel=1e-9)
    assert probiou(rows(OBB1, dtype=f32), rows(OBB1, dtype=f32)).item() == pytest.approx(0.9995318, abs=5e-8)


@pytest.mark.parametrize("dtype", [f64, f32], ids=str)
@pytest.mark.parametrize("second", [OBB1, (104, 4, 6, 2, 0.5)], ids=["identical", "far"])
def test_no_gradient_at_either_clamp(dtype: torch.dtype, second: Any) -> None:
    _, one, two = sloped(OBB1, second, dtype)
    assert not one.any()
    assert not two.any()


def test_range() -> None:
    torch.manual_seed(0)
    boxes = torch.rand(400, 5, dtype=f64) * torch.tensor([40.0, 40, 16, 16, 3]) + torch.tensor([0, 0, 0.5, 0.5, 0])
    value = probiou(boxes[:, None], boxes[None])
    assert value.min() >= -5.0000001e-8
    assert value.max() <= 0.99955279
    assert torch.equal(value.diagonal(), value.diagonal().max().expand(1, 400))


TURNS = {
    "swapped": lambda a, b: (b, a),
    "r + pi": lambda a, b: (a, (*b[:4], b[4] + math.pi)),
    "w, h exchanged, r + pi / 2": lambda a, b: (a, (b[0], b[1], b[3], b[2], b[4] + math.pi / 2)),
    "-w": lambda a, b: ((a[0], a[1], -a[2], a[3], a[4]), b),
    "-h": lambda a, b: ((a[0], a[1], a[2], -a[3], a[4]), b),
}


@pytest.mark.parametrize("turn", TURNS)
def test_the_same_box_written_differently(turn: str) -> None:
    assert similarity(*TURNS[turn](OBB1, OBB2)) == pytest.approx(similarity(OBB1, OBB2), rel=1e-13)


def test_the_angle_of_a_square_does_not_matter() -> None:
    value, slope, _ = sloped((4, 4, 3, 3, 0.5), OBB2)
    other, _, _ = sloped((4, 4, 3, 3, -1.25), OBB2)
    assert value == pytest.approx(other, rel=1e-13)
    assert abs(slope[4].item()) < 1e-15


FLAT_OBB = (4, 4, 0, 2, 0.5)


def test_a_flat_box_has_a_value_and_a_finite_gradient() -> None:
    """D15: w = 0, where upstream has NaN (QG4); the slope of the root counts as 0, so does that of w."""
    value, one, two = sloped(FLAT_OBB, OBB2)
    assert agrees(value, "9.98531711451e-05")
    assert one.isfinite().all()
    assert two.isfinite().all()
    assert one[2] == 0
    assert one[:2].abs().min() > 0


def test_a_flat_box_that_rounds_below_zero_has_a_gradient() -> None:
    """D15: a b - c^2 of this box of height 0 is negative in float64, so its clamp is shut."""
    flat_box = rows((4, 4, 6, 0, 0.5))
    a, b, c = covariance(*flat_box[0, 2:], 0.0)
    assert a * b - c**2 < 0
    value, one, two = sloped((4, 4, 6, 0, 0.5), OBB2)
    assert math.isfinite(value)
    assert one.isfinite().all()
    assert two.isfinite().all()


def test_the_value_of_a_flat_box_is_a_limit() -> None:
    """At w = 0 balls cannot decide max(0, 0); at w = 2^-80 the oracle gives the printed value."""
    value, _ = maps.by_oracle(maps.Anchor("thin", "probiou", obb_pair((4, 4, 2.0**-80, 2, 0.5), OBB2), ""))
    assert agrees(value[0], "9.98531711451e-05")


def test_two_points_at_the_same_place() -> None:
    assert similarity((4, 4, 0, 0, 0.5), (4, 4, 0, 0, 0.5)) == pytest.approx(0.99955, abs=5e-6)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((3, 5), (3, 5), (3, 1)),
        ((3, 5), (1, 5), (3, 1)),
        ((1, 5), (3, 5), (3, 1)),
        ((0, 5), (0, 5), (0, 1)),
        ((5,), (5,), (1,)),
        ((2, 1, 5), (1, 3, 5), (2, 3, 1)),
        ((2, 1, 5), (0, 5), (2, 0, 1)),
    ],
    ids=str,
)
def test_probiou_broadcasts_and_keeps_a_last_axis(first: Any, second: Any, expected: Any) -> None:
    assert probiou(torch.ones(first), torch.ones(second)).shape == expected
    assert probiou(torch.ones(first), torch.ones(second), CIoU=True).shape == expected


@pytest.mark.parametrize("shape", [(), (4,), (2, 6)], ids=str)
@pytest.mark.parametrize("name", ["obb1", "obb2"])
def test_probiou_refuses_other_shapes(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=name):
        probiou(**{"obb1": torch.ones(2, 5), "obb2": torch.ones(2, 5), name: torch.ones(shape)})


@pytest.mark.parametrize("dtype", [f16, bf16], ids=str)
def test_probiou_in_half_precision(dtype: torch.dtype) -> None:
    """D9: computed in float32 and rounded once."""
    one, two = rows(OBB1, dtype=dtype), rows(OBB2, dtype=dtype)
    assert torch.equal(probiou(one, two), probiou(one.float(), two.float()).to(dtype))
    assert probiou(one, two.float()).dtype == f32


# `floor` of ultralytics 8.4.190, measured there on the worked pair; its rotated box loss passes 0.01.
FLOORS = [
    (1e-7, "0.5478056463501738"),
    (1e-3, "0.5481508781357154"),
    (0.01, "0.5512122215717199"),
    (1.0, "0.7032007358341004"),
]


@pytest.mark.parametrize(("cov_floor", "measured"), FLOORS)
@pytest.mark.parametrize("way", maps.WAYS)
def test_covariance_floor_is_that_of_later_releases(way: str, cov_floor: float, measured: str) -> None:
    value, _ = maps.WAYS[way](maps.Anchor("floor", "probiou", WORKED, "", (), {"cov_floor": cov_floor}))
    assert value[0] == pytest.approx(float(measured), rel=1e-14)


# probiou: the table of mistakes -----------------------------------------------------------------------

SIDE_BY_SIDE, UPRIGHT = obb_pair((4, 4, 6, 2, 0.5), (4, 4.5, 4, 3, -0.25)), obb_pair((4, 4, 6, 2, 0), (5, 4.5, 4, 3, 0))
MISTAKES = (
    maps.Mistake(6, "cross term of the other sign", prob.SPEC, WORKED, SIDE_BY_SIDE),
    maps.Mistake(6, "cross term of the other sign", prob.SPEC, WORKED, UPRIGHT),
    maps.Mistake(6, "c from a sum", prob.SPEC, WORKED, UPRIGHT),
    maps.Mistake(7, "sigma = w / 2", prob.SPEC, WORKED),
    maps.Mistake(7, "sigma = w", prob.SPEC, WORKED),
    maps.Mistake(7, "no eps", prob.SPEC, obb_pair(OBB1, OBB1)),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_mistake_shows_where_the_table_says(mistake: maps.Mistake) -> None:
    maps.check_mistake(mistake)


def test_no_eps_gives_one() -> None:
    """Row 7: 1.0 instead of 0.99955 for identical boxes."""
    assert impostor(prob.SPEC, "no eps", obb_pair(OBB1, OBB1)).item() == pytest.approx(1, abs=1e-6)
