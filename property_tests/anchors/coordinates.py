"""Every number and edge case of the maps of coordinates: spec/10-geometry.md sections 1, 2 and 5 to 10.

Also rows 8, 9 and 11 of its table of mistakes, and D9 of spec/05-decisions.md. Each printed number is asked of the
torch reference and of the oracle.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lossref.losses.coordinates import bbox2dist as b2d
from lossref.losses.coordinates import dfl_decode as decode
from lossref.losses.coordinates import dist2rbox as d2r
from lossref.losses.coordinates import make_anchors as anchor
from lossref.losses.coordinates import rbox2dist as r2d
from lossref.losses.coordinates.bbox2dist import bbox2dist
from lossref.losses.coordinates.dfl_decode import dfl_distances, oracle_dfl_distances
from lossref.losses.coordinates.dist2bbox import dist2bbox, oracle_dist2bbox
from lossref.losses.coordinates.dist2rbox import dist2rbox, oracle_dist2rbox
from lossref.losses.coordinates.make_anchors import make_anchors
from lossref.losses.coordinates.rbox2dist import oracle_rbox2dist, rbox2dist
from lossref.losses.coordinates.xywh2xyxy import xywh2xyxy
from lossref.losses.coordinates.xywhr2xyxyxyxy import xywhr2xyxyxyxy
from lossref.losses.coordinates.xyxy2xywh import xyxy2xywh
from lossref.oracle.tape import Tape, precision
from shared.maps import (
    BITS,
    WAYS,
    Anchor,
    Mistake,
    all_agree,
    check,
    check_mistake,
    impostor,
    nested,
    right,
    rows,
    slopes,
)

f64, f32, f16, bf16 = torch.float64, torch.float32, torch.float16, torch.bfloat16
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


@pytest.mark.parametrize("one", ANCHORS, ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_anchor(way: str, one: Anchor) -> None:
    check(way, one)


# Boxes, sections 1 and 2 ------------------------------------------------------------------------------


MAPS: list[tuple[Callable[[Tensor], Tensor], int]] = [(xyxy2xywh, 4), (xywh2xyxy, 4), (xywhr2xyxyxyxy, 5)]


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


# Anchors, section 5 -----------------------------------------------------------------------------------

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


# Distances, sections 6 to 9 ---------------------------------------------------------------------------


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


def test_oracles_of_both_rotated_codecs_are_inverse() -> None:
    with precision(BITS):
        tape = Tape()
        sides, angle, point = nested(tape, (1, 2, 3, 4)), tape.number(0.5), nested(tape, (2, 3))
        box = oracle_dist2rbox(tape, sides, angle, point)
        again = oracle_rbox2dist(tape, box, point, angle, None)
    assert [float(side.value) for side in again] == pytest.approx([1, 2, 3, 4], rel=1e-15)


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


# Decoding, section 10 ---------------------------------------------------------------------------------

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


# The table of mistakes, rows 8, 9 and 11 --------------------------------------------------------------

CENTRED = {"pred_dist": [(2, 3, 2, 3)], "pred_angle": [(0.5,)], "anchor_points": [(2, 3)]}
AT_CENTRE = {"target_bboxes": [(2, 3, 4, 6)], "anchor_points": [(2, 3)], "target_angle": [(0.5,)]}
ABOVE = {**P, "bbox": [(0.5, 0.5, 15.5, 15.25)]}
INSIDE = {**P, "bbox": [(0, 0, 3, 3)]}
R15, R4 = {"reg_max": 15}, {"reg_max": 4}
MISTAKES = (
    Mistake(8, "offset unrotated", d2r.SPEC, TURNED, CENTRED),
    Mistake(8, "turned backwards", r2d.SPEC, BACK, AT_CENTRE),
    Mistake(8, "unrotated", r2d.SPEC, BACK, AT_CENTRE),
    Mistake(9, "bound without 0.01", b2d.SPEC, ABOVE, INSIDE, R15),
    Mistake(9, "bound R - 1.01", b2d.SPEC, ABOVE, INSIDE, R15),
    Mistake(11, "bins from 1", decode.SPEC, {"logits": [LOGITS]}, None, R4),
    Mistake(11, "bins from 1", decode.SPEC, {"logits": [[1.0] * 16]}, None, R4),
    Mistake(11, "softmax over the sides", decode.SPEC, {"logits": [LOGITS]}, None, R4),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_mistake_shows_where_the_table_says(mistake: Mistake) -> None:
    check_mistake(mistake)


def test_bound_of_sixteen_bins() -> None:
    """Row 9: a target distance above 14.99 at R = 16."""
    values = {
        label: impostor(b2d.SPEC, label, ABOVE, **R15)[0, 2] for label in ("bound without 0.01", "bound R - 1.01")
    }
    assert values == {"bound without 0.01": 15.0, "bound R - 1.01": pytest.approx(13.99)}
    assert right(b2d.SPEC, ABOVE, **R15)[0, 2:].tolist() == pytest.approx([14.99, 14.75], rel=1e-15)
