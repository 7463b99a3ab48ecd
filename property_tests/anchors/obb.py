"""Every number and edge case of the rotated detection loss that the specification states.

Sources: spec/40-yolo.md sections 5, 11 (D2) and rows 14 to 16 and 20 of its table of mistakes,
spec/05-decisions.md D2, D8 to D12. Fixture F: shared/fixture_f.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lossref.losses.assignment.rotated_task_aligned import RotatedTaskAlignedAssigner
from lossref.losses.box_terms.rotated_bbox import RotatedBboxLoss
from lossref.losses.detection.v8_detection import v8DetectionLoss
from lossref.losses.obb.v8_obb import SPEC, v8_obb, v8OBBLoss
from shared import fixture_f as F
from shared.digits import printed

F64 = torch.float64
Row = tuple[float, ...]
NO_OBJECT = ("0", "57.348874101", "0", "0")
DROPPED = (0, 0, 7 / 16, 3 / 8, 3 / 4, 1 / 32, 0.0)
KEPT = (0, 0, 7 / 16, 1 / 2, 1 / 32, 3 / 4, 0.0)
ASIDE = (1, 1, 7 / 8, 13 / 16, 1 / 16, 3 / 16, 0.25)
SMALL = (0, 0, 3 / 8, 1 / 2, 1 / 16, 3 / 16, 0.25)


def predictions(reg_max: int = 4, **changes: Tensor) -> dict[str, Any]:
    return F.leaves({**F.predictions(reg_max, angle=F.angle()), **changes})


def run(preds: dict[str, Any], batch: dict[str, Any], **settings: Any) -> tuple[Tensor, Tensor]:
    """(loss, items) of the class, after the backward pass of the sum of the vector."""
    reg_max = preds["boxes"].shape[1] // 4
    loss, items = v8OBBLoss(F.model(reg_max=reg_max, **settings))(preds, batch)
    loss.sum().backward()
    return loss, items


def on_f(*rows: Row, reg_max: int = 4) -> tuple[Tensor, dict[str, Any]]:
    """Items and predictions with gradients, for objects or for those of F."""
    preds = predictions(reg_max)
    loss, items = run(preds, F.batch(*(rows or F.rotated())))
    assert torch.equal(loss.detach(), items * 2)
    return items, preds


# Anchors --------------------------------------------------------------------------------------------------


def test_fixture_f() -> None:
    items, preds = on_f()
    assert not printed(items, "2.41334804289", "9.56626980488", "2.27639434538", "0.495531243351")
    assert not printed(preds["angle"].grad[0, 0, 10], "-0.246957049954")
    assert not printed(preds["boxes"].grad[0, 0, 10], "0.0289921247456")


def test_one_bin() -> None:
    items, preds = on_f(reg_max=1)
    assert not printed(items, "2.58476940819", "14.2247481877", "0.16701632224", "0.382461284169")
    assert not printed(preds["angle"].grad[0, 0, 10], "-0.0873658820895")


def test_order_of_the_objects() -> None:
    rows = F.rotated()
    items, _ = on_f(rows[2], rows[0], rows[1])
    assert not printed(items, "2.41334804289", "9.56626980488", "2.27639434538", "0.495531243351")


def test_no_object_and_a_dropped_one() -> None:
    """Zero gradients in every prediction, never None (D10)."""
    for batch in (F.no_object(5), F.no_object(4), F.batch(DROPPED)):
        preds = predictions()
        _, items = run(preds, batch)
        assert not printed(items, *NO_OBJECT)
        assert not preds["boxes"].grad.any()
        assert not preds["angle"].grad.any()
        assert preds["scores"].grad.all()


def test_the_kept_thin_object_has_its_true_size() -> None:
    """Section 11, D2."""
    items, preds = on_f(KEPT)
    assert not printed(items, "2.96494564775", "57.2643056731", "1.22122971877", "0.0759552818348")
    assert not printed(preds["angle"].grad[0, 0, 11], "0.408592459015")


def test_the_small_object_has_its_true_size() -> None:
    items, preds = on_f(SMALL)
    assert not printed(items, "2.86443662896", "57.2852200423", "1.09566800979", "0.274199512421")
    assert not printed(preds["angle"].grad[0, 0, 10], "-0.304169917548")


def functional(*rows: Row, **params: Any) -> Tensor:
    """The pure function on F, without the factor b."""
    batch = F.batch(*rows)
    given = (F.boxes(), F.scores(), F.angle(), batch["batch_idx"], batch["cls"], batch["bboxes"])
    return torch.stack(v8_obb(*given, imgsz=(32, 64), strides=(8, 16), reg_max=4, **params)) / 2


ENLARGED = [
    (KEPT, ("2.24301749048", "44.2342277171", "2.45838558007", "0.261754492583")),
    (SMALL, ("3.02959345984", "36.409157098", "2.30155719213", "0.562832283823")),
    ((0, 0, 3 / 8, 1 / 2, 1 / 4, 1 / 2, 0.25), ("3.02959345984", "36.409157098", "2.30155719213", "0.562832283823")),
]


@pytest.mark.parametrize(("row", "want"), ENLARGED, ids=["thin", "4 x 6", "16 x 16"])
def test_upstreams_enlarged_objects_are_a_variant(row: Row, want: tuple[str, ...]) -> None:
    assert not printed(functional(row, small_rboxes="enlarged"), *want)


def test_the_gains() -> None:
    for name, at in (("box", 0), ("cls", 1), ("dfl", 2), ("angle", 3)):
        plain = run(predictions(), F.batch(*F.rotated()))[1]
        other = run(predictions(), F.batch(*F.rotated()), **{name: 3.0})[1]
        assert other[at].item() == pytest.approx(plain[at].item() * 3 / F.GAINS[name])
        assert torch.equal(other[torch.arange(4) != at], plain[torch.arange(4) != at])


# The size filter ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("w", "h", "kept"), [(2, 24, True), (1.9375, 24, False), (24, 2, True), (24, 1.9375, False)])
def test_both_sides_need_two_pixels(w: float, h: float, kept: bool) -> None:
    items, _ = on_f((0, 0, 7 / 16, 1 / 2, w / 64, h / 32, 0.0))
    assert (items[0] > 0) == kept


def test_a_dropped_object_leaves_no_row_of_padding() -> None:
    """It is out before the objects are numbered, so the others keep their places."""
    assert torch.equal(on_f(DROPPED, *F.rotated())[0], on_f()[0])


@pytest.mark.parametrize(("turn", "counts"), [(-79.0, True), (-80.0, False), (-81.0, False)])
def test_an_object_whose_numbers_sum_to_nothing_is_padding(turn: float, counts: bool) -> None:
    """x + y + w + h = 32 + 16 + 16 + 16 pixels, plus the angle in radians."""
    items, _ = on_f((0, 1, 1 / 2, 1 / 2, 1 / 4, 1 / 2, turn))
    assert (items[0] > 0) == counts
    assert bool(printed(items, *NO_OBJECT)) == counts


# Methods ----------------------------------------------------------------------------------------------------


def test_attributes() -> None:
    one = v8OBBLoss(F.model(reg_max=4), tal_topk=7, tal_topk2=1)
    assert isinstance(one, v8DetectionLoss)
    assert isinstance(one.assigner, RotatedTaskAlignedAssigner)
    assert isinstance(one.bbox_loss, RotatedBboxLoss)
    a = one.assigner
    assert (a.topk, a.topk2, a.num_classes, a.alpha, a.beta, list(a.stride)) == (7, 1, 2, 0.5, 6.0, [8, 16])
    assert (one.nc, one.no, one.reg_max, one.use_dfl) == (2, 18, 4, True)
    assert v8OBBLoss(F.model()).assigner.topk == 10


def test_preprocess() -> None:
    rows = torch.tensor([(1, 1, 0.25, 0.5, 0.25, 0.5, 0.25), (0, 0, 0.5, 0.5, 0.5, 0.25, -0.5)], dtype=F64)
    rows = torch.cat([rows, torch.tensor([(1, 0, 0.75, 0.25, 0.5, 0.5, 1.25)], dtype=F64)])
    before = rows.clone()
    one, scale = v8OBBLoss(F.model()), torch.tensor([64.0, 32, 64, 32], dtype=F64)
    found = one.preprocess(rows, 2, scale)
    first = [[0, 32, 16, 32, 8, -0.5], [0] * 6]
    second = [[1, 16, 16, 16, 16, 0.25], [0, 48, 8, 32, 16, 1.25]]
    assert found.tolist() == [first, second]
    assert torch.equal(rows, before)
    for columns in (7, 6):
        assert one.preprocess(torch.zeros(0, columns), 3, scale).shape == (3, 0, 6)


def test_bbox_decode() -> None:
    """One bin: the distances of dist2rbox's anchor, p = (2, 3)."""
    one = v8OBBLoss(F.model(reg_max=1))
    sides, turn = torch.tensor([[[1.0, 2, 3, 4]]], dtype=F64), torch.tensor([[[0.5]]], dtype=F64)
    found = one.bbox_decode(torch.tensor([[2.0, 3]], dtype=F64), sides, turn)
    assert found.shape == (1, 1, 5)
    assert not printed(found, "2.39815702329", "4.35700810049", "4", "6", "0.5")
    wide = v8OBBLoss(F.model(reg_max=4)).bbox_decode(torch.zeros(3, 2), torch.zeros(2, 3, 16), torch.zeros(2, 3, 1))
    assert torch.equal(wide, torch.tensor([0, 0, 3.0, 3, 0]).expand(2, 3, 5))


ANGLES = torch.tensor([0.25, 2, -1.5], dtype=F64), torch.tensor([-0.5, 0.125, 1.25], dtype=F64)
SIDES = torch.tensor([(4, 1), (2, 2), (2, 8)], dtype=F64)
WEIGHT = torch.tensor([0.5, 0.75, 0.25], dtype=F64)


def angle_inputs(background: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions and targets (1, 3 + background, 5) with the mask of the three; the others are NaN."""
    ones, nothing = torch.ones(3, 2, dtype=F64), torch.full((1, background, 5), torch.nan, dtype=F64)
    pred = torch.cat([ones, ones, ANGLES[0][:, None]], 1)[None]
    target = torch.cat([ones, SIDES, ANGLES[1][:, None]], 1)[None]
    mask = (torch.arange(3 + background) >= background)[None]
    return torch.cat([nothing, pred], 1), torch.cat([nothing, target], 1), mask


@pytest.mark.parametrize("background", [0, 2])
def test_angle_loss(background: int) -> None:
    pred, target, mask = angle_inputs(background)
    pred.requires_grad_()
    one = v8OBBLoss(F.model())
    loss = one.calculate_angle_loss(pred, target, mask, WEIGHT, torch.tensor(1.5, dtype=F64))
    loss.backward()
    assert loss.shape == ()
    assert not printed(loss, "0.498247788964")
    assert not printed(pred.grad[0, background:, 4], "0.075990692725", "0.937999976775", "0.269238747751")
    assert not pred.grad[..., :4].any()
    assert not printed(one.calculate_angle_loss(pred, target, mask, WEIGHT, 1.5, lambda_val=1), "0.224018755911")


def test_angle_loss_without_a_positive() -> None:
    pred, target, mask = angle_inputs()
    nothing = v8OBBLoss(F.model()).calculate_angle_loss(pred, target, mask & False, WEIGHT[:0], 1.0)
    assert nothing.item() == 0


# Errors, dtypes, manners -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
def test_boxes_without_an_angle_are_a_type_error(count: int) -> None:
    rows = [(0, 1, 0.5, 0.5, 0.5, 0.5)] * count
    with pytest.raises(TypeError, match="rotated") as caught:
        run(predictions(), F.batch(*rows))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_unequal_lengths_are_a_type_error() -> None:
    for name in ("batch_idx", "cls"):
        batch = F.batch(*F.rotated())
        with pytest.raises(TypeError, match=name):
            run(predictions(), {**batch, name: batch[name][:2]})


def test_other_errors_pass_unchanged() -> None:
    batch = F.batch(*F.rotated())
    for name in batch:
        with pytest.raises(KeyError):
            run(predictions(), {key: x for key, x in batch.items() if key != name})
    with pytest.raises(IndexError):
        run(predictions(), {**batch, "cls": batch["cls"] + 2})
    with pytest.raises(KeyError, match="angle"):
        v8OBBLoss(F.model())(F.predictions(), batch)
    with pytest.raises(RuntimeError):
        run(predictions(angle=F.angle()[..., :39]), batch)
    with pytest.raises(RuntimeError):
        run(predictions(angle=F.angle().repeat(1, 2, 1)), batch)
    with pytest.raises(RuntimeError):
        v8OBBLoss(F.model(), tal_topk=41)(predictions(), batch)
    with pytest.raises(TypeError):
        v8OBBLoss(F.model())([None, predictions()], batch)


def test_a_tuple_is_parsed() -> None:
    one, batch = v8OBBLoss(F.model()), F.batch(*F.rotated())
    assert torch.equal(one((None, predictions()), batch)[0], one(predictions(), batch)[0])


def test_flat_boxes_and_columns_are_accepted() -> None:
    batch = F.batch(*F.rotated())
    other = {"batch_idx": batch["batch_idx"][:, None], "cls": batch["cls"][:, 0], "bboxes": batch["bboxes"].flatten()}
    assert torch.equal(run(predictions(), other)[1], on_f()[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64])
def test_dtypes(dtype: torch.dtype) -> None:
    """D8, D9: the vector is at least float32; gradients have the dtype of their predictions."""
    narrow = {name: x.to(dtype) for name, x in F.predictions(angle=F.angle()).items() if name != "feats"}
    preds = F.leaves({**narrow, "feats": F.feats()})
    loss, items = run(preds, F.batch(*F.rotated()))
    assert loss.dtype == items.dtype == torch.promote_types(dtype, torch.float32)
    assert all(preds[name].grad.dtype == dtype for name in narrow)
    assert torch.allclose(items.double(), on_f()[0], rtol=1e-5)  # F is exact in half precision


def test_infinite_and_nan_angles() -> None:
    """D11: without a positive they are not read; at a candidate they spoil the loss."""
    for value in (torch.inf, torch.nan):
        spoilt = F.angle()
        spoilt[:] = value
        preds = predictions(angle=spoilt)
        assert not printed(run(preds, F.no_object(5))[1], *NO_OBJECT)
        assert not preds["angle"].grad.any()
        at = F.angle()
        at[0, 0, 10] = value
        assert run(predictions(angle=at), F.batch(*F.rotated()))[1].isnan().all()


def test_nothing_is_written_and_nothing_remembered() -> None:
    preds, batch, one = predictions(), F.batch(*F.rotated(), SMALL), v8OBBLoss(F.model())
    before = [x.detach().clone() for x in (*preds.values(), *batch.values()) if isinstance(x, Tensor)]
    first = one(preds, batch)[0]
    one(predictions(), F.batch(KEPT))
    assert torch.equal(one(preds, batch)[0], first)
    after = [x for x in (*preds.values(), *batch.values()) if isinstance(x, Tensor)]
    assert all(map(torch.equal, before, after))


def test_assigned_targets() -> None:
    """The dense answer holds true sizes, in pixels."""
    one = v8OBBLoss(F.model())
    (mask, index, boxes, points, strides), loss, items = one.get_assigned_targets_and_loss(
        predictions(), F.batch(*F.rotated(), ASIDE)
    )
    assert (mask.dtype, index.dtype, boxes.shape) == (torch.bool, torch.int64, (2, 40, 5))
    assert (points.shape, strides.shape) == ((40, 2), (40, 1))
    assert torch.equal(loss.detach(), items)
    owned = boxes[1][mask[1] & (index[1] == 1)]
    assert len(owned) > 0
    assert torch.equal(owned, torch.tensor([56, 26, 4, 6, 0.25], dtype=F64).expand_as(owned))


def test_class_and_function_agree() -> None:
    assert torch.equal(functional(*F.rotated()), on_f()[0])
    assert set(SPEC.params) >= {"angle_gain", "small_rboxes", "cov_floor", "small_boxes"}


THREE = (
    (0, 0, 0.34375, 0.6875, 0.5625, 0.375, -0.5),
    (0, 0, 0.359375, 0.6875, 0.53125, 0.40625, 1.0),
    (0, 0, 0.375, 0.625, 0.265625, 0.3125, 0.25),
)
RULES: list[tuple[dict[str, Any], tuple[Row, ...]]] = [
    ({"conflict": "picked", "tal_topk": 2}, THREE),
    ({"small_boxes": "off"}, (ASIDE,)),
    ({"small_boxes": "stride0"}, (ASIDE,)),
    ({"small_boxes": "raised"}, ((1, 1, 3 / 8, 3 / 8, 5 / 32, 5 / 16, 0.25),)),
    ({"reach": 1.0}, F.rotated()),
    ({"at_least_one": "nearest"}, ((1, 1, 33 / 32, 1 / 2, 1 / 8, 5 / 16, 0.0),)),
    ({"cov_floor": 0.01}, F.rotated()),
]


@pytest.mark.parametrize(("rule", "rows"), RULES, ids=[str(row[0]) for row in RULES])
def test_the_rules_reach_the_assigner(rule: dict[str, Any], rows: tuple[Row, ...]) -> None:
    settings = {name: value for name, value in rule.items() if name == "tal_topk"}
    assert not torch.equal(functional(*rows, **rule), functional(*rows, **settings))
