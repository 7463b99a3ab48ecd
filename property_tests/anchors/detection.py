"""Every number and edge case that spec/40-yolo.md sections 1, 6, 7, 8 and its table of mistakes state in words.

Fixture F is in shared/fixture_f.py. Printed numbers are compared to the digits printed. Where spec/05-decisions.md
departs from upstream (D7 to D12), the decision counts.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lossref.losses.detection.cases import fixture_f as arrays
from lossref.losses.detection.e2e import E2ELoss
from lossref.losses.detection.e2e_detect import E2EDetectLoss
from lossref.losses.detection.tvp_detect import TVPDetectLoss
from lossref.losses.detection.v8_detection import v8_detection, v8DetectionLoss
from shared import fixture_f as F
from shared.digits import near

EMPTY = (0, 57.348874101, 0)
DETECTION = (3.45467433272, 16.8840331677, 2.34181976633)
ONE2ONE = (3.08746068875, 32.6723910518, 2.25292226704)
TWO_AT_ONE_PLACE = ((0, 1, 3 / 8, 1 / 2, 1 / 2, 3 / 4), (0, 1, 13 / 32, 1 / 2, 1 / 2, 3 / 4))
ONE_WEAK = (1, 1, 1 / 4, 1 / 2, 1 / 4, 1 / 2)


def asked(loss: Any, preds: Any = None, batch: Any = None) -> tuple[Tensor, Tensor]:
    return loss(F.predictions() if preds is None else preds, F.batch() if batch is None else batch)


def trained(loss: Callable[..., Any], preds: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
    """The predictions as leaves, with the gradient of the sum of the loss."""
    leaves = F.leaves(preds)
    loss(leaves, batch)[0].sum().backward()
    return leaves


# 1 v8DetectionLoss -----------------------------------------------------------------------------------------


def test_fixture_f() -> None:
    loss, items = asked(v8DetectionLoss(F.model()))
    assert near(items, DETECTION)
    assert near(loss, [2 * x for x in DETECTION])
    assert not items.requires_grad


def test_gradients_of_fixture_f() -> None:
    leaves = trained(v8DetectionLoss(F.model()), F.predictions(), F.batch())
    boxes, scores = leaves["boxes"].grad, leaves["scores"].grad
    assert near(boxes[0, 0, 10], 0.0529433198252)
    assert near(boxes[1, 5, 12], 0.090677415364)
    assert near(scores[0, 1, 10], 0.126949352761)
    assert near(scores[1, 0, 0], 0.137856806719)


@pytest.mark.parametrize(
    ("topk", "want"),
    [(5, (3.43065291684, 17.0897034215, 2.34383808075)), (3, (3.34007641011, 18.6625505871, 2.3111038663))],
)
def test_topk(topk: int, want: tuple[float, ...]) -> None:
    assert near(asked(v8DetectionLoss(F.model(), tal_topk=topk))[1], want)


def test_one_bin() -> None:
    loss = v8DetectionLoss(F.model(reg_max=1))
    assert near(asked(loss, F.predictions(1))[1], (3.53283063115, 19.9764109474, 0.128078849613))
    boxes = trained(loss, F.predictions(1), F.batch())["boxes"].grad
    assert near(boxes[0, 0, 10], 0.0106431025307)
    assert near(boxes[0, 1, 10], 0.00789767419233)
    assert not loss.use_dfl


def test_weights_of_the_classes() -> None:
    model = F.model()
    model.class_weights = torch.tensor([1.0, 0.5])
    assert near(asked(v8DetectionLoss(model))[1], (DETECTION[0], 12.6549763966, DETECTION[2]))


def test_one_object_whose_scores_sum_to_less_than_one() -> None:
    loss = v8DetectionLoss(F.model())
    assert near(asked(loss, batch=F.batch(ONE_WEAK))[1], (4.24549737695, 57.3531695603, 2.14349900219))
    (fg_mask, *_), _, _ = loss.get_assigned_targets_and_loss(F.predictions(), F.batch(ONE_WEAK))
    assert not fg_mask[0].any()
    assert fg_mask[1].any()


def test_order_of_the_objects_is_free() -> None:
    o0, o1, o2 = F.OBJECTS
    assert near(asked(v8DetectionLoss(F.model()), batch=F.batch(o2, o0, o1))[1], DETECTION)


def test_assigned_targets() -> None:
    loss = v8DetectionLoss(F.model())
    found, vector, detached = loss.get_assigned_targets_and_loss(F.predictions(), F.batch())
    fg_mask, index, boxes, points, strides = found
    assert fg_mask[0].nonzero().flatten().tolist() == [9, 10, 11, 12, 13, 14, 17, 18, 19, 20, 21, 22, 33, 37]
    assert fg_mask[1].nonzero().flatten().tolist() == [2, 3, 4, 5, 10, 11, 12, 13, 33, 34]
    assert index[0].nonzero().flatten().tolist() == [13, 14, 20, 21, 22]
    assert boxes[0, 10].tolist() == [8, 4, 40, 28]
    assert boxes[0, 20].tolist() == [32, 8, 56, 24]
    assert boxes[0, 0].tolist() == [8, 4, 40, 28], "background carries object 0"
    assert boxes[1, 0].tolist() == [16, 0, 48, 20]
    assert (points.shape, strides.shape) == ((40, 2), (40, 1))
    assert near(vector, DETECTION)
    assert vector.requires_grad is False
    assert near(detached, DETECTION)


def test_the_detached_copy_is_one() -> None:
    leaves = F.leaves(F.predictions())
    _, vector, detached = v8DetectionLoss(F.model()).get_assigned_targets_and_loss(leaves, F.batch())
    assert vector.requires_grad
    assert not detached.requires_grad
    assert vector.data_ptr() != detached.data_ptr()


TARGET_SCORES = [
    (0, 1, 10, 0.130477348358),
    (0, 1, 11, 0.601708840322),
    (0, 0, 20, 0.00773236354466),
    (1, 0, 12, 0.463571543275),
]


@pytest.mark.parametrize(("image", "label", "anchor", "target"), TARGET_SCORES)
def test_class_gradient_is_sigmoid_minus_target(image: int, label: int, anchor: int, target: float) -> None:
    """Mistake 4: gain * b * (sigmoid - target) / S, with nothing else flowing through the assignment."""
    scores = trained(v8DetectionLoss(F.model()), F.predictions(), F.batch())["scores"]
    want = 0.5 * 2 * (scores[image, label, anchor].sigmoid().item() - target) / 3.4005620599
    assert math.isclose(scores.grad[image, label, anchor].item(), want, rel_tol=1e-9)


def test_class_gradient_is_exact_where_the_target_is_zero() -> None:
    scores = trained(v8DetectionLoss(F.model()), F.predictions(), F.no_object())["scores"]
    assert torch.equal(scores.grad, 0.5 * 2 * scores.detach().sigmoid())


def test_preprocess() -> None:
    rows = torch.tensor([(0, 1, 0.5, 0.5, 0.25, 0.5), (1, 0, 0.25, 0.25, 0.5, 0.5), (0, 0, 0.75, 0.5, 0.5, 0.25)])
    before = rows.clone()
    loss = v8DetectionLoss(F.model())
    scale = torch.tensor([64.0, 32, 64, 32])
    found = loss.preprocess(rows, 2, scale)
    assert found.tolist() == [[[1, 24, 8, 40, 24], [0, 32, 12, 64, 20]], [[0, 0, 0, 32, 16], [0, 0, 0, 0, 0]]]
    assert torch.equal(rows, before)
    assert loss.preprocess(rows[:0], 2, scale).shape == (2, 0, 5)
    assert loss.preprocess(rows, 1, scale).shape == (1, 2, 5), "the row of image 1 is dropped"


def test_preprocess_counts_foreign_rows_for_the_padding() -> None:
    rows = torch.tensor([(7, 1, 0.5, 0.5, 0.25, 0.5)] * 3 + [(0, 1, 0.5, 0.5, 0.25, 0.5)])
    found = v8DetectionLoss(F.model()).preprocess(rows, 2, torch.tensor([64.0, 32, 64, 32]))
    assert found.shape == (2, 3, 5)
    assert found[0].tolist() == [[1, 24, 8, 40, 24], [0] * 5, [0] * 5]


def test_preprocess_copies_further_columns() -> None:
    rows = torch.tensor([(0, 1, 0.5, 0.5, 0.25, 0.5, 7.0)])
    found = v8DetectionLoss(F.model()).preprocess(rows, 1, torch.tensor([64.0, 32, 64, 32]))
    assert found.tolist() == [[[1, 24, 8, 40, 24, 7]]]


def test_bbox_decode() -> None:
    logits = torch.tensor([[[0, 1, 2, 0.5, 1, 1, 1, 1, 0, 0, 0, 0, -1, 0, 1, 2]]], dtype=torch.float64)
    box = v8DetectionLoss(F.model()).bbox_decode(torch.tensor([[1.5, 2.5]], dtype=torch.float64), logits)
    assert near(box, (-0.259364509831, 1, 3, 4.99265273459))


def test_attributes() -> None:
    model = F.model()
    loss = v8DetectionLoss(model, tal_topk=5, tal_topk2=2)
    assert (loss.nc, loss.no, loss.reg_max, loss.use_dfl) == (2, 18, 4, True)
    assert loss.hyp is model.args
    assert loss.stride is model.model[-1].stride
    assert loss.proj.tolist() == [0, 1, 2, 3]
    assert (loss.assigner.topk, loss.assigner.topk2, loss.assigner.alpha, loss.assigner.beta) == (5, 2, 0.5, 6.0)
    assert (loss.assigner.num_classes, list(loss.assigner.stride)) == (2, [8, 16])
    assert loss.bce(torch.zeros(2), torch.ones(2)).shape == (2,)
    assert (loss.bbox_loss.reg_max, str(loss.device)) == (4, "cpu")


def test_gains_are_read_at_every_call() -> None:
    model = F.model()
    loss = v8DetectionLoss(model)
    model.args.box, model.args.cls, model.args.dfl = 15.0, 0.25, 0.0
    assert near(asked(loss)[1], (2 * DETECTION[0], DETECTION[1] / 2, 0))


# 1.5 Edge cases --------------------------------------------------------------------------------------------


def test_no_object() -> None:
    loss = v8DetectionLoss(F.model())
    assert near(asked(loss, batch=F.no_object())[1], EMPTY)
    leaves = trained(loss, F.predictions(), F.no_object())
    assert torch.equal(leaves["boxes"].grad, torch.zeros_like(leaves["boxes"])), "D10: zeros, not None"
    (fg_mask, index, boxes, *_), _, _ = loss.get_assigned_targets_and_loss(F.predictions(), F.no_object())
    assert (fg_mask.dtype, index.dtype) == (torch.float64, torch.float64), "QA1"
    assert (fg_mask.any().item(), boxes.shape) == (False, (2, 40, 4))


def test_no_object_reads_no_box() -> None:
    """D11: an infinite or NaN prediction does not reach the zero gradient."""
    preds = F.predictions()
    preds["boxes"][0, 0, 0], preds["boxes"][1, 2, 3] = math.inf, math.nan
    loss = v8DetectionLoss(F.model())
    assert near(asked(loss, preds, F.no_object())[1], EMPTY)
    assert torch.equal(trained(loss, preds, F.no_object())["boxes"].grad, torch.zeros_like(preds["boxes"]))


def test_objects_but_no_positive() -> None:
    far = F.batch((0, 1, 2, 2, 1 / 4, 1 / 4))
    loss = v8DetectionLoss(F.model())
    assert near(asked(loss, batch=far)[1], EMPTY)
    (fg_mask, *_), _, _ = loss.get_assigned_targets_and_loss(F.predictions(), far)
    assert fg_mask.dtype == torch.bool
    assert torch.equal(trained(loss, F.predictions(), far)["boxes"].grad, torch.zeros(2, 16, 40))


@pytest.mark.parametrize("index", [2, 5, -1, 0.5])
def test_foreign_indices(index: float) -> None:
    """QC1."""
    foreign = (index, 1, 3 / 8, 1 / 2, 1 / 2, 3 / 4)
    loss = v8DetectionLoss(F.model())
    assert near(asked(loss, batch=F.batch(foreign))[1], EMPTY)
    assert near(asked(loss, batch=F.batch(foreign, *F.OBJECTS))[1], DETECTION)
    two = asked(loss, batch=F.batch(*F.OBJECTS[:2]))[1]
    assert near(asked(loss, batch=F.batch(*F.OBJECTS[:2], foreign))[1], two.tolist())


def test_a_box_whose_coordinates_sum_to_nothing_is_padding() -> None:
    left = (0, 1, -0.5, -0.5, 0.5, 0.5)
    assert near(asked(v8DetectionLoss(F.model()), batch=F.batch(left, *F.OBJECTS))[1], DETECTION)


def test_fewer_anchors_than_topk() -> None:
    loss = v8DetectionLoss(F.model(), tal_topk=41)
    with pytest.raises(RuntimeError):
        asked(loss)
    with pytest.raises(RuntimeError):
        asked(v8DetectionLoss(F.model(), tal_topk2=41))
    assert near(asked(loss, batch=F.no_object())[1], EMPTY)


def test_other_feature_maps_than_predictions() -> None:
    preds = F.predictions()
    preds["feats"] = preds["feats"][:1]
    with pytest.raises(RuntimeError):
        asked(v8DetectionLoss(F.model()), preds)


def test_class_without_a_score() -> None:
    with pytest.raises(IndexError):
        asked(v8DetectionLoss(F.model()), batch=F.batch((0, 2, 0.5, 0.5, 0.5, 0.5)))


def test_a_head_with_another_class_count() -> None:
    with pytest.raises(ValueError, match="5 channels"):
        asked(v8DetectionLoss(F.model(nc=5)))


@pytest.mark.parametrize("name", ["batch_idx", "cls", "bboxes"])
def test_unequal_lengths(name: str) -> None:
    batch = F.batch()
    with pytest.raises(RuntimeError):
        asked(v8DetectionLoss(F.model()), batch={**batch, name: batch[name][:2]})


@pytest.mark.parametrize("name", ["batch_idx", "cls", "bboxes"])
def test_nan_in_an_object(name: str) -> None:
    batch = F.batch()
    batch[name][0] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        asked(v8DetectionLoss(F.model()), batch=batch)


def test_nan_in_any_score() -> None:
    for anchor in (0, 11):
        preds = F.predictions()
        preds["scores"][0, 0, anchor] = math.nan
        assert asked(v8DetectionLoss(F.model()), preds)[1][1].isnan()


def test_nan_at_a_candidate_reaches_every_term() -> None:
    """S = NaN stays NaN."""
    for name in ("boxes", "scores"):
        preds = F.predictions()
        preds[name][0, 1, 11] = math.nan
        assert asked(v8DetectionLoss(F.model()), preds)[1].isnan().all()


def test_batch_layouts() -> None:
    batch = F.batch()
    flat = {**batch, "cls": batch["cls"][:, 0], "batch_idx": batch["batch_idx"][:, None]}
    whole = {**batch, "cls": batch["cls"].long(), "batch_idx": batch["batch_idx"].int()}
    for one in (flat, whole, {name: x.float() for name, x in batch.items()}):
        assert near(asked(v8DetectionLoss(F.model()), batch=one)[1], DETECTION)


def test_tuples_and_lists() -> None:
    """QC2."""
    loss = v8DetectionLoss(F.model())
    assert near(asked(loss, (None, F.predictions()))[1], DETECTION)
    assert loss.parse_output([1, 2]) == [1, 2]
    with pytest.raises(TypeError):
        asked(loss, [None, F.predictions()])


def test_no_parameter() -> None:
    model = F.model()
    model.parameters = lambda: iter(())
    with pytest.raises(StopIteration):
        v8DetectionLoss(model)


# D8, D9, D12 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("default", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_dtype_of_the_vector(dtype: torch.dtype, default: torch.dtype) -> None:
    preds = {name: x if name == "feats" else x.to(dtype) for name, x in F.predictions().items()}
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        leaves = F.leaves(preds)
        loss, items = asked(v8DetectionLoss(F.model()), leaves)
        loss.sum().backward()
    finally:
        torch.set_default_dtype(before)
    assert loss.dtype == items.dtype == torch.promote_types(dtype, torch.float32)
    assert leaves["boxes"].grad.dtype == leaves["scores"].grad.dtype == dtype
    if dtype == torch.float64:
        assert near(items, DETECTION)
    else:
        torch.testing.assert_close(items, torch.tensor(DETECTION, dtype=torch.float32), rtol=1e-6, atol=0)


def test_half_precision_is_float32_rounded_once() -> None:
    preds = F.predictions()
    half = {name: x if name == "feats" else x.bfloat16() for name, x in preds.items()}
    wide = {name: x if name == "feats" else x.float() for name, x in half.items()}
    loss = v8DetectionLoss(F.model())
    assert torch.equal(asked(loss, half)[1], asked(loss, wide)[1])
    first, second = trained(loss, half, F.batch()), trained(loss, wide, F.batch())
    assert torch.equal(first["boxes"].grad, second["boxes"].grad.bfloat16())
    assert torch.equal(first["scores"].grad, second["scores"].grad.bfloat16())


def test_autocast_has_no_effect() -> None:
    preds = {name: x if name == "feats" else x.float() for name, x in F.predictions().items()}
    loss = v8DetectionLoss(F.model())
    plain = asked(loss, preds)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(asked(loss, preds)[0], plain)


def test_nothing_is_written_to() -> None:
    preds, batch, model = F.predictions(), F.batch(), F.model()
    loss = v8DetectionLoss(model)
    before = copy.deepcopy((preds, batch, vars(model.args)))
    state = {name: repr(value) for name, value in vars(loss).items()}
    asked(loss, preds, batch)
    for mine, other in zip((preds, batch), before[:2], strict=True):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine if name != "feats")
    assert vars(model.args) == before[2]
    assert {name: repr(value) for name, value in vars(loss).items()} == state


def test_non_square_image_and_map_order() -> None:
    """The scale of the targets is (W, H, W, H), the image size comes from the first map."""
    square = F.predictions()
    batch = F.batch()
    wrong = {**batch, "bboxes": batch["bboxes"][:, [1, 0, 3, 2]]}
    assert not near(asked(v8DetectionLoss(F.model()), square, wrong)[1], DETECTION)


def test_class_and_function_agree() -> None:
    objects = F.batch(ONE_WEAK, *F.OBJECTS)
    found = v8_detection(
        F.boxes(), F.scores(), *objects.values(), imgsz=arrays.IMGSZ, strides=arrays.STRIDES, reg_max=4
    )
    assert torch.equal(torch.stack(tuple(found)), asked(v8DetectionLoss(F.model()), batch=objects)[0])


def test_images_without_any_anchor_size() -> None:
    """A batch of no image: an empty sum."""
    preds = {name: x if name == "feats" else x[:0] for name, x in F.predictions().items()}
    assert asked(v8DetectionLoss(F.model()), preds, F.no_object())[0].tolist() == [0, 0, 0]


# Mistakes 1 to 3 -------------------------------------------------------------------------------------------


WRONG = {
    "S not raised": (F.batch(ONE_WEAK), (4.48427453862, 60.5788521658, 2.26405463145)),
    "cls a mean": (F.batch(), (DETECTION[0], 0.3588450163, DETECTION[2])),
    "cls of the positives": (F.batch(), (DETECTION[0], 5.06370518177, DETECTION[2])),
    "hard targets": (F.batch(), (DETECTION[0], 17.0850797832, DETECTION[2])),
    "by positives": (F.batch(), (DETECTION[0], 2.39230010867, DETECTION[2])),
    "targets in pixels": (F.batch(), (10.1927083297, DETECTION[1], DETECTION[2])),
    "first stride": (F.batch(), (3.47456065301, DETECTION[1], DETECTION[2])),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_not_this_mistake(mistake: str) -> None:
    batch, wrong = WRONG[mistake]
    assert not near(asked(v8DetectionLoss(F.model()), batch=batch)[1], wrong)


# 6 E2EDetectLoss -------------------------------------------------------------------------------------------


def both() -> dict[str, Any]:
    return {"one2many": F.predictions(), "one2one": F.predictions()}


def test_e2e_detect() -> None:
    want = (6.54213502146, 49.5564242194, 4.59474203337)
    loss = E2EDetectLoss(F.model())
    for preds in (both(), (None, both()), {name: (None, one) for name, one in both().items()}):
        total, items = loss(preds, F.batch())
        assert near(items, want)
        assert near(total, [2 * x for x in want])
    assert near(asked(loss.one2one)[1], ONE2ONE)
    assert near(asked(loss.one2many)[1], DETECTION)


def test_e2e_detect_errors() -> None:
    with pytest.raises(TypeError):
        E2EDetectLoss(F.model())([None, both()], F.batch())
    with pytest.raises(KeyError):
        E2EDetectLoss(F.model())({"one2many": F.predictions()}, F.batch())


# 7 E2ELoss -------------------------------------------------------------------------------------------------


def test_e2e() -> None:
    loss = E2ELoss(F.model())
    for _ in range(2):  # the schedule does not advance by itself
        total, items = loss(both(), F.batch())
        assert near(total, (6.76246320785, 40.083409489, 4.64808053295))
        assert near(items, ONE2ONE)
        assert not items.requires_grad


def test_e2e_with_two_objects_at_one_place() -> None:
    batch = F.batch(*TWO_AT_ONE_PLACE)
    loss = E2ELoss(F.model())
    total, items = loss(both(), batch)
    want = (3.00802330252, 48.379662911, 2.24195812549)
    assert near(total, (6.50197811423, 77.0176990562, 4.70905516088))
    assert near(items, want)
    loss.update()
    total, items = loss(both(), batch)
    assert near(total, (6.45473477306, 78.9370238807, 4.68716665575))
    assert near(items, want)
    (fg_mask, *_), _, _ = loss.one2one.get_assigned_targets_and_loss(F.predictions(), batch)
    assert fg_mask.nonzero().tolist() == [[0, 11], [0, 18]]
    one = v8DetectionLoss(F.model(), tal_topk=1)
    assert near(asked(one, batch=batch)[1], (1.69518636911, 57.5125838903, 1.59369571302))
    (fg_mask, *_), _, _ = one.get_assigned_targets_and_loss(F.predictions(), batch)
    assert fg_mask.nonzero().tolist() == [[0, 11]]


def test_e2e_attributes_and_schedule() -> None:
    loss = E2ELoss(F.model(epochs=10))
    assert (loss.updates, loss.total, loss.o2m, loss.o2o) == (0, 1.0, 0.8, 0.19999999999999996)
    assert (loss.o2m_copy, loss.final_o2m) == (0.8, 0.1)
    assert (loss.one2many.assigner.topk, loss.one2one.assigner.topk, loss.one2one.assigner.topk2) == (10, 7, 1)
    weights = []
    for _ in range(12):
        loss.update()
        weights.append(loss.o2m)
        assert loss.o2o == max(1.0 - loss.o2m, 0)
    assert near(weights[:2], (0.722222222222, 0.644444444444))
    assert weights[8:] == [0.1] * 4
    assert loss.updates == 12


def test_e2e_decay() -> None:
    loss = E2ELoss(F.model(epochs=10))
    assert near([loss.decay(x) for x in (0, 4.5, 100)], (0.8, 0.45, 0.1))
    assert loss.decay(-1) > 0.8


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_e2e_short_training(epochs: int) -> None:
    loss = E2ELoss(F.model(epochs=epochs))
    loss.update()
    assert loss.o2m == 0.1


def test_e2e_reads_epochs_late() -> None:
    model = F.model(epochs=3)
    loss = E2ELoss(model)
    model.args.epochs = 10
    loss.update()
    assert near([loss.o2m], (0.722222222222,))
    del model.args.epochs
    with pytest.raises(AttributeError):
        loss.update()
    assert loss.updates == 2


def test_e2e_branches() -> None:
    loss = E2ELoss(F.model())
    assert near(loss((None, both()), F.batch())[1], ONE2ONE)
    with pytest.raises(TypeError):
        loss({name: (None, one) for name, one in both().items()}, F.batch())


def test_e2e_of_another_loss_class() -> None:
    model = F.model(nc=5)
    total, items = E2ELoss(model, TVPDetectLoss)(both(), F.batch())
    assert near(items, ONE2ONE)
    assert near(total, 2 * (0.8 * DETECTION[1] + 0.2 * ONE2ONE[1]))


# 8 TVPDetectLoss -------------------------------------------------------------------------------------------


def test_tvp_detect() -> None:
    loss = TVPDetectLoss(F.model(nc=5))
    total, items = asked(loss)
    assert total.shape == ()
    assert near(total, 33.7680663353)
    assert near(items, DETECTION)
    leaves = trained(lambda *x: (loss(*x)[0],), F.predictions(), F.batch())
    assert near(leaves["scores"].grad[0, 0, 0], 0.0943436100191)
    assert torch.equal(leaves["boxes"].grad, torch.zeros_like(leaves["boxes"]))


def test_tvp_detect_with_the_classes_of_the_head() -> None:
    total, items = TVPDetectLoss(F.model(nc=2))({"scores": F.scores(), "boxes": F.boxes()}, {})
    assert (total.tolist(), items.tolist()) == ([0, 0, 0], [0, 0, 0])
    assert total.requires_grad
    assert total.is_leaf
    assert not items.requires_grad
    assert total.dtype == torch.float64
    total.sum().backward()


def test_tvp_detect_remembers_nothing() -> None:
    """Mistake 19: C = 2 of 5, then C = 5, then C = 2."""
    loss = TVPDetectLoss(F.model(nc=5), tal_topk=10)
    attributes = (loss.ori_nc, loss.ori_no, loss.ori_reg_max, loss.hyp is loss.vp_criterion.hyp)
    assert attributes == (5, 21, 4, True)
    five = F.predictions()
    five["scores"] = torch.cat([five["scores"], torch.zeros(2, 3, 40, dtype=torch.float64)], 1)
    for _ in range(2):
        assert near(asked(loss)[0], 33.7680663353)
        assert asked(loss, five)[0].tolist() == [0, 0, 0]
    assert (loss.vp_criterion.nc, loss.vp_criterion.no, loss.vp_criterion.assigner.num_classes) == (5, 21, 5)
    assert loss._get_vp_features(five) is five["scores"]


def test_tvp_detect_topk() -> None:
    loss = TVPDetectLoss(F.model(nc=5), 5, None)
    assert near(asked(loss, (None, F.predictions()))[1], (3.43065291684, 17.0897034215, 2.34383808075))
