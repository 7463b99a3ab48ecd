"""Every number and edge case of spec/10-geometry.md sections 1, 2 and 4 to 11, to the digits printed.

Also rows 6 to 11 of its table of mistakes, and D1 and D9 of spec/05-decisions.md. Each printed number is
asked of the torch reference and of the oracle.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from anchors.overlap import agrees
from lossref.losses.coordinates import bbox2dist as b2d
from lossref.losses.coordinates import dfl_decode as decode
from lossref.losses.coordinates import dist2bbox as d2b
from lossref.losses.coordinates import dist2rbox as d2r
from lossref.losses.coordinates import make_anchors as anchor
from lossref.losses.coordinates import rbox2dist as r2d
from lossref.losses.coordinates import xywh2xyxy as to_corners
from lossref.losses.coordinates import xywhr2xyxyxyxy as rotated_corners
from lossref.losses.coordinates import xyxy2xywh as to_centre
from lossref.losses.coordinates.bbox2dist import bbox2dist
from lossref.losses.coordinates.dfl_decode import dfl_distances, oracle_dfl_distances
from lossref.losses.coordinates.dist2bbox import dist2bbox, oracle_dist2bbox
from lossref.losses.coordinates.dist2rbox import dist2rbox, oracle_dist2rbox
from lossref.losses.coordinates.make_anchors import make_anchors
from lossref.losses.coordinates.rbox2dist import oracle_rbox2dist, rbox2dist
from lossref.losses.coordinates.xywh2xyxy import xywh2xyxy
from lossref.losses.coordinates.xywhr2xyxyxyxy import xywhr2xyxyxyxy
from lossref.losses.coordinates.xyxy2xywh import xyxy2xywh
from lossref.losses.masks import crop_mask as crop
from lossref.losses.masks.crop_mask import crop_mask, oracle_crop
from lossref.losses.overlap import probiou as prob
from lossref.losses.overlap.gaussians import covariance
from lossref.losses.overlap.probiou import oracle_covariance, probiou
from lossref.oracle.tape import Number, Tape, gradient, precision

Inputs = Mapping[str, Any]
Array = np.ndarray[Any, Any]
SPECS = {one.SPEC.name: one.SPEC for one in (b2d, d2b, d2r, prob, r2d, to_corners, rotated_corners, to_centre, decode)}
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


def pair(first: Any, second: Any) -> Inputs:
    return {"obb1": [first], "obb2": [second]}


OBB1, OBB2 = (4, 4, 6, 2, 0.5), (5, 4.5, 4, 3, -0.25)
WORKED = pair(OBB1, OBB2)
SLOPE1 = "0.100746314116 0.0698393995209 -0.0197643094793 0.110033056438 -0.116375517725"
SLOPE2 = "-0.100746314116 -0.0698393995209 -0.0108535842025 0.0258666818989 0.135841760188"
FAR = pair((0, 0, 1, 1, 0), (100, 0, 1, 1, 0))
NOTHING = "0 0 0 0 0"
P = {"anchor_points": [(0.5, 0.5)]}
BOX = {**P, "bbox": [(-0.5, 0, 9, 3)]}
BOUNDS = {**P, "bbox": [(0.5, 0.5, 3.49, 2.5)]}
TURNED = {"pred_dist": [(1, 2, 3, 4)], "pred_angle": [(0.5,)], "anchor_points": [(2, 3)]}
# The printed box of section 9 is that of section 8, in all digits of float64.
BACK = {
    "target_bboxes": [(2 + math.cos(0.5) - math.sin(0.5), 3 + math.cos(0.5) + math.sin(0.5), 4, 6)],
    "anchor_points": [(2, 3)],
    "target_angle": [(0.5,)],
}
FAR_POINT = {"target_bboxes": [(2, 3, 2, 2)], "anchor_points": [(10, 3)], "target_angle": [(0,)]}
LOGITS = (0, 1, 2, 0.5, 1, 1, 1, 1, 0, 0, 0, 0, -1, 0, 1, 2)
CORNERS_TURNED = (
    "4.63786979259 3.91821681955 5.11729533119 3.04063425766 3.36213020741 2.08178318045 2.88270466881 2.95936574234"
)

ANCHORS = (
    Anchor("worked", "xyxy2xywh", {"x": [(1, 2, 5, 8)]}, "3 5 4 6", (((0,), "x", "0.5 0 0.5 0"),)),
    Anchor("zeros", "xyxy2xywh", {"x": [(0, 0, 0, 0)]}, "0 0 0 0"),
    Anchor("P1", "xyxy2xywh", {"x": [(1, 2, 4, 6.5)]}, "2.5 4.25 3 4.5"),
    Anchor("P2", "xyxy2xywh", {"x": [(2, 1.5, 5.25, 5)]}, "3.625 3.25 3.25 3.5"),
    Anchor("inverted", "xyxy2xywh", {"x": [(5, 8, 1, 2)]}, "3 5 -4 -6"),
    Anchor("worked", "xywh2xyxy", {"x": [(3, 5, 4, 6)]}, "1 2 5 8", (((0,), "x", "1 0 -0.5 0"),)),
    Anchor("zeros", "xywh2xyxy", {"x": [(0, 0, 0, 0)]}, "0 0 0 0"),
    Anchor("P1", "xywh2xyxy", {"x": [(2.5, 4.25, 3, 4.5)]}, "1 2 4 6.5"),
    Anchor("P2", "xywh2xyxy", {"x": [(3.625, 3.25, 3.25, 3.5)]}, "2 1.5 5.25 5"),
    Anchor("inverted", "xywh2xyxy", {"x": [(3, 5, -4, -6)]}, "5 8 1 2"),
    Anchor("upright", "xywhr2xyxyxyxy", {"x": [(4, 3, 2, 1, 0)]}, "5 3.5 5 2.5 3 2.5 3 3.5"),
    Anchor("turned", "xywhr2xyxyxyxy", {"x": [(4, 3, 2, 1, 0.5)]}, CORNERS_TURNED),
    Anchor("worked", "probiou", WORKED, "0.547805611771", (((0,), "obb1", SLOPE1), ((0,), "obb2", SLOPE2))),
    Anchor(
        "far",
        "probiou",
        FAR,
        "-4.99999988079e-08",
        (((0,), "obb1", NOTHING), ((0,), "obb2", NOTHING)),
        exact="-4.99999987500e-08",  # 1 - sqrt(1 + 1e-7); next to 1, float64 has steps of 1.1e-16
    ),
    Anchor(
        "identical",
        "probiou",
        pair(OBB1, OBB1),
        "0.999552786410",
        (((0,), "obb1", NOTHING), ((0,), "obb2", NOTHING)),
    ),
    Anchor("xyxy", "dist2bbox", {**P, "distance": [(1, 2, 3, 4)]}, "-0.5 -1.5 3.5 4.5", params={"xywh": False}),
    Anchor("xywh", "dist2bbox", {**P, "distance": [(1, 2, 3, 4)]}, "1.5 1.5 4 6", params={"xywh": True}),
    Anchor("negative", "dist2bbox", {**P, "distance": [(-1, 2, -3, 4)]}, "1.5 -1.5 -2.5 4.5", params={"xywh": False}),
    Anchor("worked", "bbox2dist", BOX, "1 0.5 8.5 2.5"),
    Anchor("reg_max 3", "bbox2dist", BOX, "1 0.5 2.99 2.5", (((0, 1, 2, 3), "bbox", "-1 -1 0 1"),), {"reg_max": 3}),
    Anchor("at both bounds", "bbox2dist", BOUNDS, "0 0 2.99 2", (((0, 1, 2, 3), "bbox", "-1 -1 1 1"),), {"reg_max": 3}),
    Anchor("16 bins", "bbox2dist", {**P, "bbox": [(-99, 0, 99, 1)]}, "14.99 0.5 14.99 0.5", params={"reg_max": 15}),
    Anchor("2 bins", "bbox2dist", {**P, "bbox": [(-99, 0, 99, 1)]}, "0.99 0.5 0.99 0.5", params={"reg_max": 1}),
    Anchor("outside", "bbox2dist", {**P, "bbox": [(2, 1, 3, 2)]}, "-1.5 -0.5 2.5 1.5"),
    Anchor(
        "worked",
        "dist2rbox",
        TURNED,
        "2.39815702329 4.35700810049 4 6",
        (
            ((0,), "pred_dist", "-0.438791280945 0.239712769302 0.438791280945 -0.239712769302"),
            ((0,), "pred_angle", "-1.35700810049"),
        ),
    ),
    Anchor(
        "back",
        "rbox2dist",
        BACK,
        "1 2 3 4",
        (((0,), "target_bboxes", "-0.87758256189 -0.479425538604 0.5 0"), ((0,), "target_angle", "-1")),
    ),
    Anchor("back, reg_max 3", "rbox2dist", BACK, "1 2 2.99 2.99", params={"reg_max": 3}),
    Anchor("far point", "rbox2dist", FAR_POINT, "9 1 0 1", params={"reg_max": 15}),
    Anchor("worked", "dfl_decode", {"logits": [LOGITS]}, "1.75936450983 1.5 1.5 2.49265273459", params={"reg_max": 4}),
    Anchor("uniform", "dfl_decode", {"logits": [[0.25] * 64]}, "7.5 7.5 7.5 7.5"),
    Anchor("one bin", "dfl_decode", {"logits": [(-2, 0.5, 30, 0)]}, "-2 0.5 30 0", params={"reg_max": 1}),
)


# Two ways to the same number ----------------------------------------------------------------------------


def by_reference(a: Anchor) -> tuple[Array, list[Array]]:
    """All outputs in a row, and each gradient that is asked for, in float64."""
    spec = SPECS[a.spec]
    leaves = {name: torch.tensor(a.inputs[name], dtype=torch.float64, requires_grad=True) for name in spec.inputs}
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
    spec = SPECS[a.spec]
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


def all_agree(found: Any, printed: str) -> bool:
    numbers = [float(x) for x in np.ravel(found)]
    rows = zip(numbers, printed.split(), strict=True)
    return all(agrees(number, text) if float(text) else abs(number) < 1e-15 for number, text in rows)


@pytest.mark.parametrize("one", ANCHORS, ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_anchor(way: str, one: Anchor) -> None:
    value, gradients = WAYS[way](one)
    printed = (way == "oracle" and one.exact) or one.value
    assert all_agree(value, printed), (value, printed)
    for got, (_, name, slope) in zip(gradients, one.gradients, strict=True):
        assert all_agree(got, slope), (name, got, slope)


# Boxes, sections 1 and 2 --------------------------------------------------------------------------------

f64, f32, f16, bf16 = torch.float64, torch.float32, torch.float16, torch.bfloat16
MAPS: list[tuple[Callable[[Tensor], Tensor], int]] = [(xyxy2xywh, 4), (xywh2xyxy, 4), (xywhr2xyxyxyxy, 5)]


def rows(*boxes: Any, dtype: torch.dtype = f64) -> Tensor:
    return torch.tensor(boxes, dtype=dtype)


@pytest.mark.parametrize(("convert", "size"), MAPS, ids=["xyxy2xywh", "xywh2xyxy", "xywhr2xyxyxyxy"])
@pytest.mark.parametrize("dtype", [f64, f32, f16, bf16], ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 0, 3)], ids=str)
def test_conversions_keep_shape_and_dtype(
    convert: Callable[[Tensor], Tensor], size: int, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    boxes = torch.ones(*shape, size, dtype=dtype)
    before = boxes.clone()
    found = convert(boxes)
    assert found.dtype == dtype
    assert found.shape == (*shape, *((4,) if size == 4 else (4, 2)))
    assert found is not boxes
    assert torch.equal(boxes, before)


@pytest.mark.parametrize("convert", [xyxy2xywh, xywh2xyxy])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5), (4, 3)], ids=str)
def test_last_axis_other_than_four_is_an_assertion_error(convert: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError, match="expected shape"):
        convert(torch.ones(shape))


@pytest.mark.parametrize(("convert", "size"), MAPS)
def test_integer_boxes_are_refused(convert: Any, size: int) -> None:
    """QG7: they would be truncated."""
    with pytest.raises(TypeError, match="floating"):
        convert(torch.ones(2, size, dtype=torch.int64))


def test_inverted_boxes_convert_back() -> None:
    boxes = rows((5, 8, 1, 2), (1.5, -3, 0.25, 9), (0, 0, 0, 0))
    assert torch.equal(xywh2xyxy(xyxy2xywh(boxes)), boxes)
    assert torch.equal(xyxy2xywh(xywh2xyxy(boxes)), boxes)


def test_half_precision_is_rounded_once() -> None:
    """D9: (x1 + x2) / 2 of two large float16 numbers overflows in float16."""
    assert xyxy2xywh(rows((60000, 0, 60000, 4), dtype=f16))[0].tolist() == [60000, 2, 0, 4]


def test_corners_of_a_rotated_box_are_its_edges() -> None:
    """Corner 0 to 1 is the h edge, corner 0 to 3 the w edge."""
    c = xywhr2xyxyxyxy(rows((4, 3, 2, 1, 0.5)))[0]
    assert (c[0] - c[1]).norm().item() == pytest.approx(1, rel=1e-15)
    assert (c[0] - c[3]).norm().item() == pytest.approx(2, rel=1e-15)
    along = (c[0] - c[3]) / 2
    assert along.tolist() == pytest.approx([math.cos(0.5), math.sin(0.5)], rel=1e-15)


# probiou, section 4 -------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("way", WAYS)
def test_probiou_with_the_aspect_term(way: str) -> None:
    """Only one component of the gradient is printed."""
    one = Anchor("CIoU", "probiou", WORKED, "", (((0,), "obb1", ""),), {"CIoU": True})
    value, (slope,) = WAYS[way](one)
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


FLAT = (4, 4, 0, 2, 0.5)


def test_a_flat_box_has_a_value_and_no_gradient() -> None:
    """QG4: w = 0, kept; the centre still has a gradient."""
    value, one, two = sloped(FLAT, OBB2)
    assert agrees(value, "9.98531711451e-05")
    for slope in (one, two):
        assert slope.isnan().tolist() == [False, False, True, True, True]


def test_a_flat_box_that_rounds_below_zero_has_a_gradient() -> None:
    """QG4: a b - c^2 of this box of height 0 is negative in float64, so its clamp is shut; the other box has NaN."""
    flat_box = rows((4, 4, 6, 0, 0.5))
    a, b, c = covariance(*flat_box[0, 2:], 0.0)
    assert a * b - c**2 < 0
    value, one, two = sloped((4, 4, 6, 0, 0.5), OBB2)
    assert math.isfinite(value)
    assert one.isfinite().all()
    assert two.isnan().tolist() == [False, False, True, True, True]


def test_the_value_of_a_flat_box_is_a_limit() -> None:
    """At w = 0 balls cannot decide max(0, 0); at w = 2^-80 the oracle gives the printed value."""
    value, _ = by_oracle(Anchor("thin", "probiou", pair((4, 4, 2.0**-80, 2, 0.5), OBB2), ""))
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
@pytest.mark.parametrize("way", WAYS)
def test_covariance_floor_is_that_of_later_releases(way: str, cov_floor: float, measured: str) -> None:
    value, _ = WAYS[way](Anchor("floor", "probiou", WORKED, "", (), {"cov_floor": cov_floor}))
    assert value[0] == pytest.approx(float(measured), rel=1e-14)


# Anchors, section 5 -------------------------------------------------------------------------------------

MAPS_2 = [torch.zeros(1, 3, 2, 3), torch.zeros(1, 5, 1, 2)]
POINTS = [(0.5, 0.5), (1.5, 0.5), (2.5, 0.5), (0.5, 1.5), (1.5, 1.5), (2.5, 1.5), (0.5, 0.5), (1.5, 0.5)]


@pytest.mark.parametrize(
    "strides", [(8, 16), [8, 16, 32], torch.tensor([8.0, 16.0])], ids=["tuple", "one too many", "tensor"]
)
def test_anchor_points(strides: Any) -> None:
    points, steps = make_anchors(MAPS_2, strides)
    assert points.tolist() == [list(point) for point in POINTS]
    assert steps.tolist() == [[8.0]] * 6 + [[16.0]] * 2
    assert points.dtype == steps.dtype == f32


def test_anchor_points_of_the_oracle() -> None:
    shapes = ((2, 3), (1, 2))
    points, steps = anchor.oracle(Tape(), (), shapes, (8, 16))
    assert list(points) == POINTS
    assert [step for (step,) in steps] == [8] * 6 + [16] * 2


@pytest.mark.parametrize("dtype", [f64, f32, f16, bf16], ids=str)
def test_anchors_have_the_dtype_of_the_first_map(dtype: torch.dtype) -> None:
    points, steps = make_anchors([MAPS_2[0].to(dtype), MAPS_2[1].double()], (8, 16))
    assert points.dtype == steps.dtype == dtype


@pytest.mark.parametrize(
    ("feats", "strides", "error"),
    [
        (None, (8,), AssertionError),
        ([], (8,), IndexError),
        (MAPS_2, (8,), IndexError),
        (MAPS_2, torch.tensor([8.0]), IndexError),
        (tuple(MAPS_2), (8, 16), TypeError),
        (torch.tensor([[2, 3], [1, 2]]), (8, 16), TypeError),
        ([MAPS_2[0].long()], (8,), TypeError),
    ],
    ids=["None", "empty", "few strides", "few strides in a tensor", "tuple", "rows h, w", "integers"],
)
def test_anchors_refuse(feats: Any, strides: Any, error: type[Exception]) -> None:
    """QG8: only lists are feature maps."""
    with pytest.raises(error):
        make_anchors(feats, strides)


def test_a_level_of_size_0_contributes_nothing() -> None:
    empty, one = torch.zeros(1, 1, 0, 4), torch.zeros(1, 1, 1, 1)
    points, steps = make_anchors([empty, one, empty], (8, 16, 32))
    assert (points.tolist(), steps.tolist()) == ([[0.5, 0.5]], [[16.0]])
    assert make_anchors([empty], (8,))[0].shape == (0, 2)
    assert make_anchors([empty], (8,))[1].shape == (0, 1)


def test_grid_cell_offset() -> None:
    assert make_anchors(MAPS_2, (8, 16), 0.0).points[:2].tolist() == [[0, 0], [1, 0]]


def test_float16_anchors_lose_the_offset_above_2048() -> None:
    """Flagged. 2047.5 to 2050.5, rounded once (D9); upstream rounds twice: 2048, 2048, 2048, 2050."""
    points, _ = make_anchors([torch.zeros(1, 1, 1, 2051, dtype=f16)], (8,))
    assert points[2047:, 0].tolist() == [2048, 2048, 2050, 2050]


# Distances, sections 6 to 9 -----------------------------------------------------------------------------


def test_dist2bbox_default_is_xywh() -> None:
    assert dist2bbox(rows((1, 2, 3, 4)), rows((0.5, 0.5))).tolist() == [[1.5, 1.5, 4, 6]]


@pytest.mark.parametrize("xywh", [False, True])
def test_coordinates_along_another_axis(xywh: bool) -> None:
    torch.manual_seed(1)
    distance, points, angle = torch.rand(2, 7, 4), torch.rand(7, 2), torch.rand(2, 7, 1)
    turned = (distance.mT, points.mT[None])
    assert torch.equal(dist2bbox(*turned, xywh, dim=1), dist2bbox(distance, points, xywh).mT)
    box = dist2rbox(distance, angle, points)
    assert torch.equal(dist2rbox(distance.mT, angle.mT, points.mT, dim=1), box.mT)
    back = rbox2dist(box.mT, points.mT, angle.mT, dim=1)
    assert torch.equal(back, rbox2dist(box, points, angle).mT)


def test_points_are_broadcast_over_images() -> None:
    """One (A, 2) for all images, as in the losses; and one angle for all boxes."""
    distance, points = torch.rand(3, 6, 4), torch.rand(6, 2)
    assert torch.equal(dist2bbox(distance, points)[1], dist2bbox(distance[1], points))
    assert bbox2dist(points, distance).shape == (3, 6, 4)
    assert dist2rbox(distance, torch.rand(3, 6, 1), points).shape == (3, 6, 4)
    assert dist2rbox(distance[0, :1], torch.rand(1), points).shape == (6, 4)
    assert rbox2dist(distance, points, torch.rand(1)).shape == (3, 6, 4)


def test_bbox2dist_changes_no_input() -> None:
    points, boxes = rows((0.5, 0.5)), rows((-0.5, 0, 9, 3))
    bbox2dist(points, boxes, 3)
    assert (points.tolist(), boxes.tolist()) == ([[0.5, 0.5]], [[-0.5, 0, 9, 3]])


def test_reg_max_0_is_below_zero() -> None:
    """The upper bound is below the lower; no loss comes here."""
    assert bbox2dist(rows((0.5, 0.5)), rows((-0.5, 0, 9, 3)), 0).tolist() == [[-0.01] * 4]


@pytest.mark.parametrize("reg_max", [None, 15, 3])
def test_there_and_back(reg_max: int | None) -> None:
    torch.manual_seed(2)
    distance, points, angle = torch.rand(50, 4, dtype=f64) * 2.5, torch.rand(50, 2, dtype=f64), torch.rand(50, 1)
    again = bbox2dist(points, dist2bbox(distance, points, xywh=False), reg_max)
    assert torch.allclose(again, distance, rtol=0, atol=1e-14)
    turned = rbox2dist(dist2rbox(distance, angle, points), points, angle, reg_max=reg_max)
    assert torch.allclose(turned, distance, rtol=0, atol=1e-14)


SHAPES: list[tuple[Callable[..., Tensor], tuple[int, ...]]] = [
    (dist2bbox, (4, 2)),
    (bbox2dist, (2, 4)),
    (dist2rbox, (4, 1, 2)),
    (rbox2dist, (4, 2, 1)),
]


@pytest.mark.parametrize(("function", "sizes"), SHAPES, ids=[f.__name__ for f, _ in SHAPES])
def test_other_coordinate_axes_are_refused(function: Callable[..., Tensor], sizes: tuple[int, ...]) -> None:
    for wrong in range(len(sizes)):
        given = [torch.ones(3, size + (number == wrong)) for number, size in enumerate(sizes)]
        with pytest.raises(ValueError, match="expected size"):
            function(*given)
    with pytest.raises(ValueError, match="expected size"):
        function(*(torch.tensor(1.0) for _ in sizes))


@pytest.mark.parametrize(("function", "sizes"), SHAPES, ids=[f.__name__ for f, _ in SHAPES])
def test_distances_have_the_promoted_dtype(function: Callable[..., Tensor], sizes: tuple[int, ...]) -> None:
    for dtypes in itertools.product((f32, f64), repeat=len(sizes)):
        given = [torch.ones(3, size, dtype=dtype) for size, dtype in zip(sizes, dtypes, strict=True)]
        assert function(*given).dtype == (f64 if f64 in dtypes else f32)
    assert function(*(torch.ones(3, size, dtype=f16) for size in sizes)).dtype == f16
    with pytest.raises(TypeError, match="floating"):
        function(*(torch.ones(3, size, dtype=torch.int64) for size in sizes))


# Decoding, section 10 -----------------------------------------------------------------------------------

DECODED = "-0.259364509831 1 3 4.99265273459"
SLOPE = "0.137923827611 0.161818530017 -0.139390160287 -0.160352197341"


def test_decoding_to_a_box() -> None:
    logits, point = rows(LOGITS).requires_grad_(), rows((1.5, 2.5))
    box = dist2bbox(dfl_distances(logits, 4), point, xywh=False)
    assert all_agree(box.detach(), DECODED)
    (slope,) = torch.autograd.grad(box[0, 0], logits)
    assert all_agree(slope[0, :4], SLOPE)
    assert not slope[0, 4:].any()


def test_oracle_of_decoding_to_a_box() -> None:
    with precision(BITS):
        tape = Tape()
        logits, point = nested(tape, LOGITS), nested(tape, (1.5, 2.5))
        box = oracle_dist2bbox(tape, oracle_dfl_distances(tape, logits, 4), point, xywh=False)
        assert all_agree([float(side.value) for side in box], DECODED)
        assert all_agree(slopes(box[0], list(logits))[:4], SLOPE)


def test_one_bin_is_no_softmax() -> None:
    """R = 1: the raw values, negative ones too."""
    raw = torch.tensor([[-2.0, 0.5, 30.0, 0.0]])
    assert torch.equal(dfl_distances(raw, 1), raw)


@pytest.mark.parametrize("shape", [(64,), (5, 64), (2, 3, 64), (0, 64), (2, 0, 64)], ids=str)
@pytest.mark.parametrize("dtype", [f64, f32, f16, bf16], ids=str)
def test_decoding_keeps_the_leading_shape_and_dtype(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    found = dfl_distances(torch.zeros(shape, dtype=dtype))
    assert found.shape == (*shape[:-1], 4)
    assert found.dtype == dtype


@pytest.mark.parametrize(("shape", "reg_max"), [((5, 60), 16), ((), 16), ((5, 64), 4), ((5, 0), 0)], ids=str)
def test_decoding_refuses_other_sizes(shape: tuple[int, ...], reg_max: int) -> None:
    with pytest.raises(ValueError, match="logits"):
        dfl_distances(torch.zeros(shape), reg_max)


def test_rows_can_be_gathered_first() -> None:
    """Decoding some rows gives the rows of decoding all."""
    torch.manual_seed(3)
    logits, chosen = torch.randn(6, 9, 64), torch.tensor([3, 5, 5])
    assert torch.allclose(dfl_distances(logits)[chosen, chosen], dfl_distances(logits[chosen, chosen]), atol=1e-6)


# Cropping, section 11 and D1 ----------------------------------------------------------------------------

NUMBERS = torch.arange(36, dtype=f32).reshape(1, 6, 6)


class Crop(NamedTuple):
    """A box on the 6 x 6 mask, and the rows and columns that each rule keeps."""

    box: tuple[float, float, float, float]
    rounded: tuple[range, range]
    exact: tuple[range, range]


NONE = (range(0), range(0))
CROPS = [
    Crop((1.25, 1.5, 4.5, 4.5), (range(2, 4), range(1, 4)), (range(2, 5), range(2, 5))),
    Crop((-2, 1, 3, 5), NONE, (range(1, 5), range(3))),
    Crop((0.5, 0.5, 2.5, 2.5), (range(2), range(2)), (range(1, 3), range(1, 3))),
    Crop((1.5, 1.5, 3.5, 3.5), (range(2, 4), range(2, 4)), (range(2, 4), range(2, 4))),
    Crop((0, 0, 10, 10), (range(6), range(6)), (range(6), range(6))),
    Crop((2, 2, 2, 2), NONE, NONE),
    Crop((3, 3, 1, 1), NONE, NONE),
    Crop((-10, -10, 3, 3), (range(3), range(3)), (range(3), range(3))),
    Crop((0, 0, -1, -1), (range(5), range(5)), NONE),
    # An edge just left of the mask wraps to its end: the last columns up to x2.
    Crop((-1, 0, 6, 6), (range(6), range(5, 6)), (range(6), range(6))),
    Crop((-2, -2, 5, 5), (range(4, 5), range(4, 5)), (range(5), range(5))),
    Crop((-0.5, 0, 0.5, 6), NONE, (range(6), range(1))),
]
COUNTS = {"exact": 1, "rounded": 1, "by_count, 49": 49, "by_count, 50": 50}


def wanted(one: Crop, rule: str) -> Tensor:
    j, i = one.rounded if rule in ("rounded", "by_count, 49") else one.exact
    return torch.tensor([[float(row in j and column in i) for column in range(6)] for row in range(6)])


@pytest.mark.parametrize("rule", COUNTS)
@pytest.mark.parametrize("one", CROPS, ids=lambda one: str(one.box))
def test_kept_pixels(one: Crop, rule: str) -> None:
    """Value and gradient: 1 on kept pixels, 0 elsewhere."""
    count = COUNTS[rule]
    masks = NUMBERS.repeat(count, 1, 1).requires_grad_()
    boxes = rows(*[one.box] * count, dtype=f32)
    found = crop_mask(masks, boxes, rule.partition(",")[0])
    (slope,) = torch.autograd.grad(found.sum(), masks)
    assert torch.equal(slope, wanted(one, rule).expand(count, 6, 6))
    assert torch.equal(found, slope * masks)


@pytest.mark.parametrize("rule", ["exact", "rounded"])
@pytest.mark.parametrize("one", CROPS, ids=lambda one: str(one.box))
def test_kept_pixels_of_the_oracle(one: Crop, rule: str) -> None:
    kept_rows, kept_columns = oracle_crop(tape := Tape(), nested(tape, one.box), 6, 6, rule)
    kept = [[float(j in kept_rows and i in kept_columns) for i in range(6)] for j in range(6)]
    assert kept == wanted(one, rule).tolist()


SUMS = [
    ((1.25, 1.5, 4.5, 4.5), "rounded", 102, 6),
    ((1.25, 1.5, 4.5, 4.5), "exact", 189, 9),
    ((-2, 1, 3, 5), "rounded", 0, 0),
    ((-2, 1, 3, 5), "exact", 192, 12),
]


@pytest.mark.parametrize(("box", "rule", "total", "pixels"), SUMS, ids=str)
def test_printed_sums(box: Any, rule: str, total: float, pixels: int) -> None:
    found = crop_mask(NUMBERS, rows(box, dtype=f32), rule)
    assert (found.sum().item(), int((found != 0).sum())) == (total, pixels)


PIXELS = [
    ((0.5, 0.5, 2.5, 2.5), 4, 4),
    ((1.5, 1.5, 3.5, 3.5), 4, 4),
    ((0, 0, 10, 10), 36, 36),
    ((2, 2, 2, 2), 0, 0),
    ((3, 3, 1, 1), 0, 0),
    ((-10, -10, 3, 3), 9, 9),
    ((0, 0, -1, -1), 25, 0),
]


@pytest.mark.parametrize(("box", "rounded", "exact"), PIXELS, ids=str)
def test_printed_numbers_of_pixels(box: Any, rounded: int, exact: int) -> None:
    ones = torch.ones(1, 6, 6)
    found = [crop_mask(ones, rows(box, dtype=f32), rule).sum().item() for rule in ("rounded", "exact")]
    assert found == [rounded, exact]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_outside_a_box_only_the_rounded_rule_forgets(bad: float) -> None:
    masks = NUMBERS.clone()
    masks[0, 0, 0] = bad
    box = rows((1, 1, 3, 3), dtype=f32)
    assert crop_mask(masks, box)[0, 0, 0].isnan()
    assert crop_mask(masks, box, "rounded")[0, 0, 0] == 0


@pytest.mark.parametrize("rule", ["exact", "rounded", "by_count"])
def test_crop_returns_a_new_tensor_of_the_same_dtype(rule: str) -> None:
    for dtype in (f64, f32, f16, bf16):
        masks = NUMBERS.to(dtype)
        found = crop_mask(masks, rows((1, 1, 3, 3), dtype=f32), rule)
        assert found.dtype == dtype
        assert torch.equal(masks, NUMBERS.to(dtype))
    assert crop_mask(torch.ones(0, 6, 6), torch.ones(0, 4), rule).shape == (0, 6, 6)


@pytest.mark.parametrize("rule", ["exact", "rounded", "by_count"])
def test_a_nan_box_gives_nan(rule: str) -> None:
    boxes = rows((1, 1, 3, math.nan), (1, 1, 3, 3), dtype=f32)
    found = crop_mask(NUMBERS.expand(2, 6, 6), boxes, rule)
    assert found[0].isnan().any()
    assert found[1].isfinite().all()


@pytest.mark.parametrize(
    ("masks", "boxes"), [((2, 6), (2, 4)), ((2, 6, 6), (3, 4)), ((2, 6, 6), (2, 5)), ((2, 6, 6), (4,))], ids=str
)
def test_crop_refuses_other_shapes(masks: Any, boxes: Any) -> None:
    with pytest.raises(ValueError, match="boxes"):
        crop_mask(torch.ones(masks), torch.ones(boxes))


def test_crop_refuses_an_unknown_rule() -> None:
    with pytest.raises(ValueError, match="rounded, clipped, by_count"):
        crop_mask(NUMBERS, torch.ones(1, 4), "round")


# The table of mistakes, rows 6 to 11 --------------------------------------------------------------------


def impostor(spec: Any, label: str, inputs: Inputs, **params: Any) -> Array:
    """What the careless version gives, in float64."""
    target = next(target for target in spec.impostors if target.label == label)
    given = [torch.tensor(inputs[name], dtype=f64) for name in spec.inputs]
    return np.asarray(target.build(**{**spec.defaults(), **params})(*given).detach())


def right(spec: Any, inputs: Inputs, **params: Any) -> Array:
    given = [torch.tensor(inputs[name], dtype=f64) for name in spec.inputs]
    return np.asarray(spec.reference(*given, **params).detach())


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


SIDE_BY_SIDE, UPRIGHT = pair((4, 4, 6, 2, 0.5), (4, 4.5, 4, 3, -0.25)), pair((4, 4, 6, 2, 0), (5, 4.5, 4, 3, 0))
CENTRED = {"pred_dist": [(2, 3, 2, 3)], "pred_angle": [(0.5,)], "anchor_points": [(2, 3)]}
AT_CENTRE = {"target_bboxes": [(2, 3, 4, 6)], "anchor_points": [(2, 3)], "target_angle": [(0.5,)]}
ABOVE = {**P, "bbox": [(0.5, 0.5, 15.5, 15.25)]}
INSIDE = {**P, "bbox": [(0, 0, 3, 3)]}
R15, R4 = {"reg_max": 15}, {"reg_max": 4}


def one_box(box: Any) -> Inputs:
    return {"masks": torch.ones(1, 6, 6).tolist(), "boxes": [box]}


INTEGER, HALF, QUARTER, LEFT = (
    one_box(box) for box in ((1, 2, 4, 5), (0.5, 0.5, 2.5, 2.5), CROPS[0].box, CROPS[1].box)
)
MISTAKES = (
    Mistake(6, "cross term of the other sign", prob.SPEC, WORKED, SIDE_BY_SIDE),
    Mistake(6, "cross term of the other sign", prob.SPEC, WORKED, UPRIGHT),
    Mistake(6, "c from a sum", prob.SPEC, WORKED, UPRIGHT),
    Mistake(7, "sigma = w / 2", prob.SPEC, WORKED),
    Mistake(7, "sigma = w", prob.SPEC, WORKED),
    Mistake(7, "no eps", prob.SPEC, pair(OBB1, OBB1)),
    Mistake(8, "offset unrotated", d2r.SPEC, TURNED, CENTRED),
    Mistake(8, "turned backwards", r2d.SPEC, BACK, AT_CENTRE),
    Mistake(8, "unrotated", r2d.SPEC, BACK, AT_CENTRE),
    Mistake(9, "bound without 0.01", b2d.SPEC, ABOVE, INSIDE, R15),
    Mistake(9, "bound R - 1.01", b2d.SPEC, ABOVE, INSIDE, R15),
    Mistake(10, "closed upper edge", crop.SPEC, INTEGER),
    Mistake(10, "rounded", crop.SPEC, HALF, INTEGER),
    Mistake(10, "rounded", crop.SPEC, QUARTER, INTEGER),
    Mistake(10, "rounded", crop.SPEC, LEFT, INTEGER),
    Mistake(10, "floor", crop.SPEC, HALF, INTEGER),
    Mistake(11, "bins from 1", decode.SPEC, {"logits": [LOGITS]}, None, R4),
    Mistake(11, "bins from 1", decode.SPEC, {"logits": [[1.0] * 16]}, None, R4),
    Mistake(11, "softmax over the sides", decode.SPEC, {"logits": [LOGITS]}, None, R4),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_mistake_shows_where_the_table_says(mistake: Mistake) -> None:
    def error(inputs: Inputs) -> float:
        wrong = impostor(mistake.spec, mistake.label, inputs, **mistake.params)
        return float(np.abs(wrong - right(mistake.spec, inputs, **mistake.params)).max())

    assert error(mistake.reveals) > 1e-5
    if mistake.hides is not None:
        assert error(mistake.hides) < 1e-13


def test_no_eps_gives_one() -> None:
    """Row 7: 1.0 instead of 0.99955 for identical boxes."""
    assert impostor(prob.SPEC, "no eps", pair(OBB1, OBB1)).item() == pytest.approx(1, abs=1e-6)


def test_bound_of_sixteen_bins() -> None:
    """Row 9: a target distance above 14.99 at R = 16."""
    values = {
        label: impostor(b2d.SPEC, label, ABOVE, **R15)[0, 2] for label in ("bound without 0.01", "bound R - 1.01")
    }
    assert values == {"bound without 0.01": 15.0, "bound R - 1.01": pytest.approx(13.99)}
    assert right(b2d.SPEC, ABOVE, **R15)[0, 2:].tolist() == pytest.approx([14.99, 14.75], rel=1e-15)


ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "floor": torch.floor,
    "half away from zero": lambda x: x.sign() * (x.abs() + 0.5).floor(),
    "clamped negative edges": lambda x: x.round().clamp(min=0),
}
SHOWS = {
    "floor": (1.75, 1.5, 4.5, 4.5),
    "half away from zero": (0.5, 0.5, 2.5, 2.5),
    "clamped negative edges": (-2, 1, 3, 5),
}


@pytest.mark.parametrize("how", ROUNDINGS)
def test_within_the_rounded_rule(how: str) -> None:
    """Row 10: rounding is half to even, and negative edges wrap."""
    box, ones = rows(SHOWS[how], dtype=f32), torch.ones(1, 6, 6)
    careless = crop_mask(ones, ROUNDINGS[how](box), "exact")
    assert not torch.equal(careless, crop_mask(ones, box, "rounded"))


@pytest.mark.parametrize(("count", "rule"), [(1, "rounded"), (49, "rounded"), (50, "exact"), (51, "exact")])
def test_by_count_decides_by_the_number_of_masks(count: int, rule: str) -> None:
    """Row 10: n = 49 and n = 50 with fractional boxes."""
    masks, boxes = NUMBERS.repeat(count, 1, 1), rows(*[CROPS[0].box] * count, dtype=f32)
    assert torch.equal(crop_mask(masks, boxes, "by_count"), crop_mask(masks, boxes, rule))
    assert torch.equal(crop_mask(masks, boxes), crop_mask(masks, boxes, "exact"))


def test_oracles_of_both_rotated_codecs_are_inverse() -> None:
    with precision(BITS):
        tape = Tape()
        sides, angle, point = nested(tape, (1, 2, 3, 4)), tape.number(0.5), nested(tape, (2, 3))
        box = oracle_dist2rbox(tape, sides, angle, point)
        again = oracle_rbox2dist(tape, box, point, angle, None)
    assert [float(side.value) for side in again] == pytest.approx([1, 2, 3, 4], rel=1e-15)
