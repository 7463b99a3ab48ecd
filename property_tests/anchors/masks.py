"""Every number and edge case of the mask losses and of cropping, to the digits printed.

Sources: spec/30-elementary.md sections 7 (Dice) and 8 (BCE with Dice) and rows 15 and 16 of its table of mistakes;
spec/10-geometry.md section 11 (cropping) and row 10 of its table; spec/40-yolo.md section 2.2 (single masks);
D1, D8, D9 and D14 of spec/05-decisions.md. Also the fast forms of mask terms against the plain ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossref.losses.masks import crop_mask as crop
from lossref.losses.masks.bce_dice import BCEDiceLoss, bce_dice
from lossref.losses.masks.crop_mask import crop_mask, oracle_crop
from lossref.losses.masks.dice import MultiChannelDiceLoss
from lossref.losses.masks.mask import single_mask_loss
from lossref.losses.masks.semantic_term import semantic_cost
from lossref.losses.masks.tiles import Objects, cropped_costs
from lossref.losses.segmentation.v8_segmentation import v8SegmentationLoss
from lossref.oracle.tape import Tape
from shared import maps
from shared.digits import agrees, disagreements, printed
from shared.maps import nested, rows
from shared.one_hot import one_hot
from shared.three_ways import (
    CLASSES,
    WAYS,
    Anchor,
    Inputs,
    Mistake,
    asked,
    bf16,
    by_class_under,
    by_mistake,
    by_reference,
    by_way,
    f16,
    f32,
    f64,
    given_back,
    wrong_slopes,
    wrong_values,
)

# Dice, and BCE with Dice: the table of anchors --------------------------------------------------------

PRED = [[[[0.5, -1], [2, 0.25]], [[-3, 1], [0, 0.75]]], [[[1, 1], [-1, -1]], [[0.5, 0.5], [0.25, -0.25]]]]
MASK = [[[[1, 0], [1, 0]], [[0, 0], [0, 1]]], [[[0, 0], [0, 0]], [[1, 1], [0, 0]]]]
MASKS = {"pred": PRED, "target": MASK}
STRIPES = [[[[1.0 if (i + j + c) % 3 == 0 else 0.0 for j in range(4)] for i in range(4)] for c in range(2)]]
LARGER = {"pred": PRED[:1], "target": STRIPES}
TWO_PIXELS = {"pred": [[[[0, 0]]]], "target": [[[[0, 0]]]]}

DICE_ANCHORS = (
    Anchor(
        "mean",
        "dice",
        MASKS,
        {"loss": "0.56513566774"},
        {},
        (("pred", (0, 0), "-0.0177071934014 0.00786611071071 -0.00791111640422 0.00984740810272"),),
    ),
    Anchor("none", "dice", MASKS, {"loss": "0.4235443118 0.70672702368"}, {"reduction": "none"}),
    Anchor("misspelt reduction", "dice", MASKS, {"loss": "0.4235443118 0.70672702368"}, {"reduction": "maen"}),
    Anchor("sum", "dice", MASKS, {"loss": "1.13027133548"}, {"reduction": "sum"}),
    Anchor("smooth 1", "dice", MASKS, {"loss": "0.413580187827"}, {"smooth": 1.0}),
    Anchor("empty target", "dice", TWO_PIXELS, {"loss": "0.999999000001"}),
    Anchor("empty target, smooth 1", "dice", TWO_PIXELS, {"loss": "0.5"}, {"smooth": 1.0}),
)

BCE_DICE_ANCHORS = (
    Anchor(
        "mixed",
        "bce_dice",
        MASKS,
        {"loss": "0.512576121619"},
        {},
        (("pred", (0, 0), "-0.0186757593273 0.0118647647828 -0.00679783125415 0.0218999446374"),),
    ),
    Anchor("bce alone", "bce_dice", MASKS, {"loss": "0.611572055411"}, {"weight_bce": 1.0, "weight_dice": 0.0}),
    Anchor("dice alone", "bce_dice", MASKS, {"loss": "0.413580187827"}, {"weight_bce": 0.0, "weight_dice": 1.0}),
    Anchor(
        "larger target",
        "bce_dice",
        LARGER,
        {"loss": "0.566687024435"},
        {},
        (("pred", (0, 0), "-0.0436851817221 0.0226823481391 0.0581863553777 0.0424889462634"),),
    ),
    # No target pixel: the Dice part is 1 - 1 / (1 + sum P) = 1 - 1 / 2.
    Anchor("empty target", "bce_dice", TWO_PIXELS, {"loss": "0.5"}, {"weight_bce": 0.0, "weight_dice": 1.0}),
)
ANCHORS = (*DICE_ANCHORS, *BCE_DICE_ANCHORS)


@pytest.mark.parametrize(("way", "anchor"), asked(ANCHORS), ids=str)
def test_value(way: str, anchor: Anchor) -> None:
    assert wrong_values(way, anchor) == []


@pytest.mark.parametrize(("way", "anchor"), asked(anchor for anchor in ANCHORS if anchor.gradient), ids=str)
def test_gradient(way: str, anchor: Anchor) -> None:
    assert wrong_slopes(way, anchor) == []


# How a careless implementation goes wrong -------------------------------------------------------------

MISTAKES = (
    Mistake(15, "channels together", "dice", MASKS, "loss", "0.565135667740", "0.501360699"),
    Mistake(15, "images together", "dice", MASKS, "loss", "0.565135667740", "0.495542706"),
    # Empty target, P = 1/2 on two pixels: nothing stands above the fraction.
    Mistake(15, "smooth below only", "dice", TWO_PIXELS, "loss", "0.5", "1", {"smooth": 1.0}),
    # (0.611572055411 + 0.56513566774) / 2, from the anchors of bce and Dice.
    Mistake(15, "smooth 1e-6", "bce_dice", MASKS, "loss", "0.512576121619", "0.588353861576"),
    Mistake(16, "bilinear", "bce_dice", LARGER, "loss", "0.566687024435", "0.649798456909"),
    Mistake(16, "pixel centres", "bce_dice", LARGER, "loss", "0.566687024435", "0.94468995046"),
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


# Dice, and BCE with Dice: what is said in words -------------------------------------------------------

DTYPES: list[tuple[str, list[torch.dtype], torch.dtype]] = [
    ("dice", [f16, f16], f16),
    ("dice", [bf16, torch.int64], bf16),
    ("dice", [f32, torch.bool], f32),
    ("dice", [f32, f64], f64),
    ("dice", [f64, torch.int64], f64),
    ("bce_dice", [f16, f16], f16),
    ("bce_dice", [f32, f64], f64),
    ("bce_dice", [f64, f32], f64),
]
EXAMPLE: dict[str, Inputs] = {"dice": MASKS, "bce_dice": MASKS}


@pytest.mark.parametrize(("name", "given", "expected"), DTYPES, ids=str)
def test_dtype_of_the_result(name: str, given: list[torch.dtype], expected: torch.dtype) -> None:
    """D8 and D9: promoted, and half precision gives what upstream gives it."""
    inputs = [torch.tensor(x).to(dtype) for x, dtype in zip(EXAMPLE[name].values(), given, strict=True)]
    (out,) = given_back(name, {}, inputs)
    assert out.dtype == expected
    assert bool(out.isfinite().all())


PRINTED: dict[str, tuple[Inputs, dict[str, Any], str]] = {
    "dice": (MASKS, {}, "0.56513566774"),
    "bce_dice": (MASKS, {}, "0.512576121619"),
}


@pytest.mark.parametrize("name", PRINTED)
@pytest.mark.parametrize("default", [f32, f64], ids=str)
def test_float64_is_not_narrowed_by_the_default_dtype(name: str, default: torch.dtype) -> None:
    inputs, params, printed = PRINTED[name]
    assert disagreements(by_class_under(default, name, inputs, params).value, printed) == []


@pytest.mark.parametrize("name", ["dice", "bce_dice"])
def test_classes_are_modules_without_state(name: str) -> None:
    loss: Any = CLASSES[name]()
    assert isinstance(loss, nn.Module)
    own = list(loss.state_dict()) + [key for key, _ in loss.named_parameters()]
    assert own == []
    assert list(loss.named_buffers()) == []


EMPTY: list[tuple[str, list[tuple[int, ...]], Any, bool]] = [
    ("dice", [(0, 2, 3, 3)] * 2, {}, True),
    ("dice", [(2, 0, 3, 3)] * 2, {}, True),
    ("dice", [(2, 2, 0, 3)] * 2, {}, False),
    ("dice", [(2, 2, 3, 0)] * 2, {}, False),
    ("dice", [(0, 2, 3, 3)] * 2, {"reduction": "sum"}, False),
]


@pytest.mark.parametrize(("name", "shapes", "params", "nan"), EMPTY, ids=str)
def test_empty_axis_gives_zero_or_nan(name: str, shapes: Any, params: Any, nan: bool) -> None:
    out = CLASSES[name](**params)(*(torch.zeros(shape) for shape in shapes))
    assert out.shape == ()
    assert np.isnan(out.item()) if nan else out.item() == 0.0


REFUSED: list[tuple[str, str, Any, list[Tensor], type[Exception]]] = [
    ("unequal shapes", "dice", {}, [torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4)], AssertionError),
    ("three axes", "dice", {}, [torch.zeros(2, 3, 3)] * 2, IndexError),
    ("five axes", "dice", {}, [torch.zeros(1, 1, 2, 3, 3)] * 2, IndexError),
    ("channels", "bce_dice", {}, [torch.zeros(1, 2, 3, 3), torch.zeros(1, 1, 3, 3)], ValueError),
    ("images", "bce_dice", {}, [torch.zeros(2, 2, 3, 3), torch.zeros(1, 2, 3, 3)], ValueError),
    ("three axes", "bce_dice", {}, [torch.zeros(1, 2, 3, 3), torch.zeros(2, 3, 3)], ValueError),
    (
        "integer target",
        "bce_dice",
        {},
        [torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3, dtype=torch.int64)],
        RuntimeError,
    ),
    (
        "integer target, resampled",
        "bce_dice",
        {},
        [torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 6, 6, dtype=torch.int64)],
        RuntimeError,
    ),
]


@pytest.mark.parametrize(
    ("name", "params", "inputs", "error"), [r[1:] for r in REFUSED], ids=[f"{r[1]}, {r[0]}" for r in REFUSED]
)
def test_bad_input_is_refused(name: str, params: Any, inputs: list[Tensor], error: type[Exception]) -> None:
    with pytest.raises(error):
        CLASSES[name](**params)(*inputs)


ATTRIBUTES: list[tuple[Any, dict[str, Any]]] = [
    (MultiChannelDiceLoss(), {"smooth": 1e-6, "reduction": "mean"}),
    (MultiChannelDiceLoss(0.5, "sum"), {"smooth": 0.5, "reduction": "sum"}),
    (BCEDiceLoss(), {"weight_bce": 0.5, "weight_dice": 0.5}),
    (BCEDiceLoss(1.0, 2.0), {"weight_bce": 1.0, "weight_dice": 2.0}),
    (BCEDiceLoss().dice, {"smooth": 1.0, "reduction": "mean"}),
    (BCEDiceLoss().bce, {"reduction": "mean"}),
]


@pytest.mark.parametrize(("loss", "expected"), ATTRIBUTES, ids=lambda x: str(x)[:40])
def test_attributes_are_those_of_the_constructor(loss: Any, expected: dict[str, Any]) -> None:
    assert {name: getattr(loss, name) for name in expected} == expected


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool], ids=str)
def test_dice_takes_masks_of_any_real_dtype(dtype: torch.dtype) -> None:
    got = MultiChannelDiceLoss()(torch.tensor(PRED, dtype=f64), torch.tensor(MASK).to(dtype))
    assert disagreements(got, "0.56513566774") == []


def test_dice_of_nothing_with_no_smoothing_is_nan() -> None:
    nothing = torch.full((1, 1, 2, 2), -800.0, dtype=f64)
    assert np.isnan(MultiChannelDiceLoss(smooth=0.0)(nothing, torch.zeros_like(nothing)).item())


def picked(height: int, larger: int, row: int) -> list[int]:
    """Rows of a prediction that take the given row of a target, read off the gradient of the cross entropy."""
    pred = torch.zeros(1, 1, height, 1, dtype=f64, requires_grad=True)
    target = torch.zeros(1, 1, larger, 1, dtype=f64)
    target[0, 0, row] = 1
    BCEDiceLoss(weight_dice=0.0)(pred, target).backward()
    assert pred.grad is not None
    return [i for i, slope in enumerate(pred.grad.flatten().tolist()) if slope < 0]


@pytest.mark.parametrize(
    ("height", "larger", "row", "rows"),
    [
        (2, 4, 0, [0]),
        (2, 4, 2, [1]),
        (2, 4, 1, []),
        (4, 2, 1, [2, 3]),
        (22, 26, 13, [11]),
        (22, 26, 12, []),
        (24, 200, 125, [15]),
        (24, 200, 124, []),
    ],
    ids=str,
)
def test_bce_dice_resamples_with_the_exact_floor(height: int, larger: int, row: int, rows: list[int]) -> None:
    """Output pixel i takes floor(i h' / h); 22 of 26 and 24 of 200 are pairs that a float ratio gets wrong."""
    assert [i for i in range(height) if i * larger // height == row] == rows
    assert picked(height, larger, row) == rows


def test_bce_dice_picks_what_the_specification_lists() -> None:
    """Picked values 1,0,0,0 | 0,1,1,0: where the cross entropy pulls the prediction up."""
    found = by_reference("bce_dice", LARGER, {"weight_bce": 1.0, "weight_dice": 0.0})
    assert (found.gradient["pred"] < 0).ravel().tolist() == [bool(x) for x in (1, 0, 0, 0, 0, 1, 1, 0)]


# Cropping ---------------------------------------------------------------------------------------------

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


# Cropping: the table of mistakes ----------------------------------------------------------------------


def one_box(box: Any) -> Inputs:
    return {"masks": torch.ones(1, 6, 6).tolist(), "boxes": [box]}


INTEGER, HALF, QUARTER, LEFT = (
    one_box(box) for box in ((1, 2, 4, 5), (0.5, 0.5, 2.5, 2.5), CROPS[0].box, CROPS[1].box)
)
CROP_MISTAKES = (
    maps.Mistake(10, "closed upper edge", crop.SPEC, INTEGER),
    maps.Mistake(10, "rounded", crop.SPEC, HALF, INTEGER),
    maps.Mistake(10, "rounded", crop.SPEC, QUARTER, INTEGER),
    maps.Mistake(10, "rounded", crop.SPEC, LEFT, INTEGER),
    maps.Mistake(10, "floor", crop.SPEC, HALF, INTEGER),
)


@pytest.mark.parametrize("mistake", CROP_MISTAKES, ids=str)
def test_mistake_shows_where_the_table_says(mistake: maps.Mistake) -> None:
    maps.check_mistake(mistake)


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


# single_mask_loss -------------------------------------------------------------------------------------

GT = (((1, 0, 0, 0), (1, 1, 0, 0), (0, 1, 1, 0)), ((0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 1)))
COEFFICIENTS = ((0.5, -1), (1, 0.25))
PROTO = (5 * torch.arange(24) % 7 / 4 - 0.5).reshape(2, 3, 4)
EDGES = ((0, 0, 3, 2), (1, 1, 4, 3))
AREA = (0.5, 0.25)


def single(dtype: torch.dtype = f64, **more: Any) -> dict[str, Tensor]:
    given = {"gt_mask": GT, "pred": COEFFICIENTS, "proto": PROTO, "xyxy": EDGES, "area": AREA, **more}
    return {name: torch.as_tensor(x).to(dtype) for name, x in given.items()}


@pytest.mark.parametrize("function", [single_mask_loss, v8SegmentationLoss.single_mask_loss])
def test_single_mask_loss(function: Any) -> None:
    inputs = single()
    pred, proto = inputs["pred"].requires_grad_(), inputs["proto"].requires_grad_()
    value = function(**inputs)
    value.backward()
    assert value.shape == ()
    assert not printed(value, "2.13833376904")
    assert not printed(pred.grad, "0.0533890303677", "-0.068566011355", "0.201680071927", "-0.534200070958")
    assert not printed(proto.grad[[0, 0], [1, 2], [1, 0]], "0.171092667544", "0")


def test_an_object_without_area_costs_nothing() -> None:
    """D14; upstream inf, or NaN where nothing is kept."""
    inputs = single(area=(0.5, 0))
    pred = inputs["pred"].requires_grad_()
    value = single_mask_loss(**inputs)
    value.backward()
    assert not printed(value, "0.741995506685")
    assert pred.grad[1].tolist() == [0, 0]
    assert single_mask_loss(**single(area=(0.5, 0)), zero_area_mask="nan") == float("inf")
    assert single_mask_loss(**single(area=(0.5, 0), xyxy=((0, 0, 3, 2), (2, 2, 2, 2))), zero_area_mask="nan").isnan()


def test_no_positive_costs_nothing() -> None:
    inputs = {name: x[:0] if name != "proto" else x for name, x in single().items()}
    proto = inputs["proto"].requires_grad_()
    value = single_mask_loss(**inputs)
    value.backward()
    assert value.item() == 0.0
    assert not proto.grad.any()


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool], ids=str)
def test_masks_that_are_not_floating_are_refused(dtype: torch.dtype) -> None:
    inputs = {**single(), "gt_mask": torch.tensor(GT).to(dtype)}
    with pytest.raises(RuntimeError):
        single_mask_loss(**inputs)


@pytest.mark.parametrize("name", ["gt_mask", "pred", "proto", "xyxy", "area"])
def test_a_wrong_shape_is_refused(name: str) -> None:
    inputs = single()
    for shorter in (inputs[name][:1], inputs[name][..., :1], inputs[name][None]):
        with pytest.raises(ValueError, match="expected shapes"):
            single_mask_loss(**{**inputs, name: shorter})


@pytest.mark.parametrize(
    ("masks", "rest", "result"), [(f64, f32, f64), (f32, f64, f64), (f32, f16, f32), (f16, f16, f16)]
)
def test_result_dtype(masks: torch.dtype, rest: torch.dtype, result: torch.dtype) -> None:
    inputs = {name: x.to(masks if name == "gt_mask" else rest) for name, x in single().items()}
    assert single_mask_loss(**inputs).dtype == result


# The fast forms against the plain ones ----------------------------------------------------------------


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=f64)


@pytest.mark.parametrize(("height", "width", "each"), [(8, 8, 4), (13, 9, 40), (3, 21, 1), (40, 24, 17)])
def test_tiles_are_the_whole_picture(height: int, width: int, each: int) -> None:
    """Sizes that no tile divides, more positives of an object than a pack holds, crops of all kinds."""
    pick = torch.Generator().manual_seed(height)
    columns, rows = (torch.randint(0, size + 1, (6, 2), generator=pick).sort(1).values for size in (width, height))
    columns[0], rows[0] = torch.tensor([0, width]), torch.tensor([0, height])
    objects_ = Objects(torch.tensor([0, 0, 1, 1, 1, 2]), torch.tensor([3, 0, 1, 2, 0, 3]), None, columns, rows)
    masks, proto = random(4, height, width), random(3, 5, height, width).requires_grad_()
    owner = torch.randint(0, 6, (6 * each,), generator=pick)
    coefficients = random(6 * each, 5, seed=1).requires_grad_()
    flow = random(6 * each, seed=2)
    fast = cropped_costs(coefficients, proto, masks, owner, objects_)
    slow = torch.stack([plain(coefficients[i], proto, masks, objects_, int(o)) for i, o in enumerate(owner)])
    assert torch.allclose(fast, slow, rtol=1e-13, atol=1e-13)
    inputs = (coefficients, proto)
    for a, b in zip(torch.autograd.grad(fast, inputs, flow), torch.autograd.grad(slow, inputs, flow), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-13)


def plain(coefficients: Tensor, proto: Tensor, masks: Tensor, objects_: Objects, o: int) -> Tensor:
    """Cost of one positive, with the whole logit map."""
    (x1, x2), (y1, y2) = objects_.columns[o].tolist(), objects_.rows[o].tolist()
    logits = torch.einsum("k,khw->hw", coefficients, proto[objects_.image[o]])
    target = masks[objects_.mask[o]]
    cost = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return cost[y1:y2, x1:x2].sum()


@pytest.mark.parametrize("size", [(4, 6), (8, 12), (5, 7), (2, 3)])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (1.0, 0.0), (0.0, 2.0)])
def test_the_class_map_is_the_one_hot_target(size: tuple[int, int], weights: tuple[float, float]) -> None:
    """Smaller and larger maps, labelled and not."""
    pick = torch.Generator().manual_seed(0)
    logits = random(2, 3, 4, 6).requires_grad_()
    classes = torch.randint(0, 3, (2, *size), generator=pick)
    labelled = torch.rand(2, *size, generator=pick) < 0.6
    target = one_hot(classes, 3) * labelled[:, None]
    fast, slow = semantic_cost(logits, classes, labelled, f64, weights), bce_dice(logits, target, *weights)
    assert fast.item() == pytest.approx(slow.item(), rel=1e-14)
    (a,), (b,) = torch.autograd.grad(fast * 1.75, logits), torch.autograd.grad(slow * 1.75, logits)
    assert torch.allclose(a, b, rtol=1e-12, atol=1e-16)


def test_second_derivatives() -> None:
    """Both fast forms may be differentiated twice."""
    columns, rows = torch.tensor([[0, 5], [2, 9]]), torch.tensor([[1, 4], [0, 3]])
    told = Objects(torch.tensor([0, 1]), torch.tensor([0, 1]), None, columns, rows)
    owner, masks = torch.tensor([0, 1, 1]), random(2, 4, 10)
    inputs = random(3, 2).requires_grad_(), random(2, 2, 4, 10, seed=1).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda c, p: cropped_costs(c, p, masks, owner, told), inputs)
    classes = torch.randint(0, 3, (1, 2, 4), generator=torch.Generator().manual_seed(0))
    logits = random(1, 3, 2, 4).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: semantic_cost(x, classes, classes != 1, f64), logits)
