"""Every number and edge case of the segmentation losses that the specification states.

Sources: spec/40-yolo.md sections 2, 9, 10, 11 (D1, D3, D4, D14) and rows 6 to 9 and 20 of its table of
mistakes, spec/05-decisions.md D1, D3, D4, D7, D8, D10, D11, D12, D14. Fixture F: shared/fixture_f.py.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from lossref.losses.detection.v8_detection import v8DetectionLoss
from lossref.losses.masks.bce_dice import BCEDiceLoss, bce_dice
from lossref.losses.masks.mask import single_mask_loss
from lossref.losses.segmentation.tvp_segment import TVPSegmentLoss
from lossref.losses.segmentation.v8_segmentation import SPEC, v8_segmentation, v8SegmentationLoss
from shared import fixture_f as F
from shared.digits import printed
from shared.one_hot import one_hot

Batch = dict[str, Any]
f64, f32, f16 = torch.float64, torch.float32, torch.float16
BOX, CLS, DFL = "3.45467433272", "16.8840331677", "2.34181976633"
SEG, SEMSEG = "5.24158663416", "5.23613308481"
OVERLAP = pytest.mark.parametrize("overlap", [True, False])


def criterion(overlap: bool = True, **more: Any) -> v8SegmentationLoss:
    return v8SegmentationLoss(F.model(overlap_mask=overlap), **more)


def predictions(semantic: bool = True, **more: Any) -> dict[str, Any]:
    proto = (F.proto(), F.semantic()) if semantic else F.proto()
    return F.leaves(F.predictions(**{"mask_coefficient": F.mask_coefficient(), "proto": proto, **more}))


def objects(overlap: bool = True, *rows: tuple[float, ...], **more: Any) -> Batch:
    masks = F.masks() if overlap else F.separate_masks()
    return F.batch(*rows, **{"masks": masks, "sem_masks": F.sem_masks(), **more})


def only(batch: Batch, *numbers: int) -> Batch:
    """The batch with some of its objects; overlap masks are left as they are."""
    chosen = {name: batch[name][list(numbers)] for name in ("batch_idx", "cls", "bboxes")}
    separate = len(batch["masks"]) == 3
    return {**batch, **chosen, "masks": batch["masks"][list(numbers)] if separate else batch["masks"]}


def items(overlap: bool, batch: Batch, preds: Any = None) -> Tensor:
    return criterion(overlap)(predictions() if preds is None else preds, batch)[1]


def backward(loss: Any, preds: dict[str, Any], batch: Batch) -> Tensor:
    vector, detached = loss(preds, batch)
    vector.sum().backward()
    return detached


def tensors_of(preds: dict[str, Any]) -> dict[str, Tensor]:
    """Every prediction by name; the semantic logits are "semantic"."""
    flat = {name: preds[name] for name in ("boxes", "scores", "mask_coefficient")}
    pair = preds["proto"] if isinstance(preds["proto"], tuple) else (preds["proto"],)
    return {**flat, **dict(zip(("proto", "semantic"), pair, strict=False))}


# Fixture F ----------------------------------------------------------------------------------------------


@OVERLAP
def test_f(overlap: bool) -> None:
    preds = predictions()
    vector, detached = criterion(overlap)(preds, objects(overlap))
    vector.sum().backward()
    assert not printed(detached, BOX, SEG, CLS, DFL, SEMSEG)
    assert torch.equal(vector, 2 * detached)
    assert vector.requires_grad
    assert not detached.requires_grad
    coefficients, (proto, semantic) = preds["mask_coefficient"].grad, preds["proto"]
    assert not printed(coefficients[[0, 1], [0, 1], [9, 11]], "-0.0190158210781", "0.0360616499746")
    assert not printed(proto.grad[0, 0, 3, 5], "-0.0130982911841")
    assert not printed(semantic.grad[0, [0, 1], 0, [0, 3]], "0.00714972605358", "-0.0133446980702")
    assert not printed(preds["boxes"].grad[0, 0, 10], "0.0529433198252")
    assert not printed(preds["scores"].grad[0, 1, 10], "0.126949352761")


@OVERLAP
def test_without_semantic_logits_the_last_entry_is_zero(overlap: bool) -> None:
    batch = objects(overlap)
    del batch["sem_masks"]
    assert not printed(items(overlap, batch, predictions(semantic=False)), BOX, SEG, CLS, DFL, "0")


def test_larger_masks_resize_the_prototypes() -> None:
    """Row 8 of the mistakes: bilinear, half-pixel centres, and the gradient goes through."""
    preds = predictions(semantic=False)
    found = backward(criterion(), preds, objects(masks=F.masks(3, 16, 32)))
    assert not printed(found[1], "5.19822430577")
    assert not printed(preds["proto"].grad[0, 0, 3, 5], "-0.00966570644424")


@OVERLAP
def test_an_image_without_objects(overlap: bool) -> None:
    """D4: with separate masks too its pixels are not trained (upstream 4.77602601015)."""
    batch = only(objects(overlap), 0, 1)
    if overlap:
        batch["masks"][1] = 0
    wanted = ("3.4018167075", "5.29581535417", "26.9858197421", "2.42638575715", "5.99328274201")
    assert not printed(items(overlap, batch), *wanted)


def test_overlap_masks_count_where_no_object_is() -> None:
    """The numbers in the mask decide, not the list of objects."""
    found = items(True, only(objects(), 0, 1))
    assert not printed(found[1], "5.29581535417")
    assert not printed(found[4], SEMSEG)


@OVERLAP
def test_fewer_masks_than_images(overlap: bool) -> None:
    """D3: object o2 alone; upstream gives 0 with separate masks."""
    assert not printed(items(overlap, only(objects(overlap), 2))[1], "5.16566642614")


@OVERLAP
def test_objects_in_another_order(overlap: bool) -> None:
    batch = only(objects(overlap), 2, 0, 1)
    assert not printed(items(overlap, batch), BOX, SEG, CLS, DFL, SEMSEG)


@OVERLAP
@pytest.mark.parametrize("foreign", [5.0, -1.0, 0.5])
def test_objects_of_no_image_are_ignored(overlap: bool, foreign: float) -> None:
    """QC1; the separate mask of such an object is passed over."""
    batch = objects(overlap)
    batch["batch_idx"] = torch.tensor([0.0, foreign, 0.0, 1.0])
    for name in ("cls", "bboxes"):
        batch[name] = batch[name][[0, 2, 1, 2]]
    if not overlap:
        batch["masks"] = torch.stack([batch["masks"][0], torch.ones(8, 16), *batch["masks"][1:]])
    assert not printed(items(overlap, batch), BOX, SEG, CLS, DFL, SEMSEG)


SHIFTED = ((25 / 64, 1 / 2, 1 / 2, 3 / 4), (43 / 64, 1 / 2, 3 / 8, 1 / 2), (1 / 2, 19 / 64, 1 / 2, 19 / 32))
DECIMAL = ((0.38, 0.51, 0.5, 0.73), (0.6875, 0.5, 0.37, 0.5), (0.5, 0.3125, 0.52, 0.61))


@pytest.mark.parametrize(("boxes", "seg"), [(SHIFTED, "5.34597163899"), (DECIMAL, "4.51838204223")])
@OVERLAP
def test_fractional_edges_are_exact(overlap: bool, boxes: Any, seg: str) -> None:
    """D1: upstream rounds them, 5.36170106211 and 5.29399683829."""
    batch = {**objects(overlap), "bboxes": torch.tensor(boxes, dtype=f64)}
    found = items(overlap, batch)
    assert not printed(found[1], seg)
    if seg == "5.34597163899":
        assert not printed(found[0], "3.51143953692")


# Variants and mistakes, by the pure function ------------------------------------------------------------


def arguments(overlap: bool, batch: Batch) -> dict[str, Tensor]:
    """What the spec's reference is given for a batch of F."""
    preds = F.predictions(mask_coefficient=F.mask_coefficient(), proto=F.proto(), semseg=F.semantic())
    del preds["feats"]
    return {**preds, **batch, "cls": batch["cls"].view(-1), "sem_masks": batch["sem_masks"]}


def terms(function: Any, overlap: bool, batch: Batch, **params: Any) -> Tensor:
    """The items: the terms without the factor b."""
    given = {"imgsz": (32, 64), "strides": (8, 16), "reg_max": 4, "overlap": overlap, **params}
    inputs = arguments(overlap, batch)
    return torch.stack(list(function(*(inputs[name] for name in SPEC.inputs), **{**SPEC.defaults(), **given}))) / 2


@pytest.mark.parametrize("crop", ["rounded", "by_count"])
@pytest.mark.parametrize(("boxes", "seg"), [(SHIFTED, "5.36170106211"), (DECIMAL, "5.29399683829")])
@OVERLAP
def test_upstream_crop(overlap: bool, boxes: Any, seg: str, crop: str) -> None:
    batch = {**objects(overlap), "bboxes": torch.tensor(boxes, dtype=f64)}
    assert not printed(terms(v8_segmentation, overlap, batch, crop=crop)[1], seg)


def test_upstream_separate_masks() -> None:
    found = terms(v8_segmentation, False, only(objects(False), 2), separate_masks="truncated")
    assert not printed(found[1], "0")


def test_upstream_semantic_background() -> None:
    found = terms(v8_segmentation, False, only(objects(False), 0, 1), semantic_background="class0")
    assert not printed(found[4], "4.77602601015")


LISTED = [
    (6, "value g", 1, "5.22278780603"),
    (7, "area ignored", 1, "1.62606486191"),
    (7, "mean over the images", 1, "5.23074089016"),
    (7, "not cropped", 1, "18.0444964665"),
    (7, "gain of its own", 1, "0.349439108944"),
    (8, "masks resized", 1, "5.2551567839"),
    (8, "prototypes nearest", 1, "5.21837292973"),
    (8, "corners aligned", 1, "5.19750708612"),
    (9, "not masked", 4, "4.47692021138"),
    (9, "class 0 blanked", 4, "5.6907802891"),
]


@pytest.mark.parametrize(("row", "label", "term", "number"), LISTED, ids=[row[1] for row in LISTED])
def test_the_impostors_are_the_listed_mistakes(row: int, label: str, term: int, number: str) -> None:
    """Rows 6 to 9 of the table of mistakes: each wrong value is what the impostor of that name gives."""
    batch = objects(True, masks=F.masks(3, 16, 32), sem_masks=torch.zeros(2, 16, 32)) if row == 8 else objects(True)
    batch["masks"], batch["sem_masks"] = batch["masks"].long(), batch["sem_masks"].long()
    wrong = next(target for target in SPEC.impostors if target.label == label)
    assert not printed(terms(wrong.build(), True, batch)[term], number)


# Nothing to find ----------------------------------------------------------------------------------------

NOTHING = ("0", "0", "57.348874101", "0", "0")


def without_objects(**more: Any) -> Batch:
    return F.no_object(**more)


def without_positives() -> Batch:
    """An object between the anchors."""
    return F.batch((0, 1, 1 / 2, 1 / 2, 2**-12, 2**-12))


def of_no_image() -> Batch:
    return F.batch((7, 1, 3 / 8, 1 / 2, 1 / 2, 3 / 4))


@pytest.mark.parametrize("semantic", [True, False])
@pytest.mark.parametrize("batch", [without_objects(), of_no_image()], ids=["no object", "of no image"])
@OVERLAP
def test_nothing_to_find(overlap: bool, batch: Batch, semantic: bool) -> None:
    """Row 20: zeros, not None, for every prediction (D10); the masks are not read."""
    preds = predictions(semantic)
    assert not printed(backward(criterion(overlap), preds, batch), *NOTHING)
    for name, x in tensors_of(preds).items():
        assert x.grad is not None, name
        assert x.grad.shape == x.shape
        assert name == "scores" or not x.grad.any(), name


@pytest.mark.parametrize("name", ["mask_coefficient", "proto", "semantic", "boxes"])
@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_zero_terms_read_no_values(name: str, bad: float) -> None:
    """D11 (QY2)."""
    preds = predictions()
    with torch.no_grad():
        tensors_of(preds)[name].view(-1)[3] = bad
    assert not printed(backward(criterion(), preds, without_objects()), *NOTHING)
    assert not tensors_of(preds)[name].grad.any()


def test_an_image_without_positives_spreads_nothing() -> None:
    """QY2: inf in the prototypes of image 1 leaves image 0 alone if image 1 has no object."""
    preds = predictions(semantic=False)
    with torch.no_grad():
        preds["proto"][1, 0, 0, 0] = float("inf")
    found = backward(criterion(), preds, only(objects(), 0, 1))
    assert not printed(found[1], "5.29581535417")
    assert not preds["proto"].grad[1].any()
    assert preds["proto"].grad.isfinite().all()


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("at", [(0, 1, 0, 0), (0, 0, 4, 8)], ids=["beyond the crops", "inside a crop"])
def test_a_bad_prototype_is_never_a_finite_number(at: Any, bad: float) -> None:
    preds = predictions(semantic=False)
    with torch.no_grad():
        preds["proto"][at] = bad
    assert items(True, objects(), preds)[1].isnan()


def test_a_nan_coefficient_or_semantic_logit_gives_nan() -> None:
    preds = predictions()
    with torch.no_grad():
        preds["mask_coefficient"][0, 0, 10] = float("nan")
        preds["proto"][1][0, 1, 7, 15] = float("nan")
    found = items(True, objects(), preds)
    assert found[[1, 4]].isnan().all()
    assert found[[0, 2, 3]].isfinite().all()


# calculate_segmentation_loss ----------------------------------------------------------------------------


def assigned(overlap: bool, preds: dict[str, Any], batch: Batch) -> tuple[v8SegmentationLoss, dict[str, Any]]:
    """Arguments of calculate_segmentation_loss for the positives of F."""
    loss = criterion(overlap)
    (fg_mask, number, boxes, _, _), *_ = loss.get_assigned_targets_and_loss(preds, batch)
    return loss, {
        "fg_mask": fg_mask,
        "masks": batch["masks"],
        "target_gt_idx": number,
        "target_bboxes": boxes,
        "batch_idx": batch["batch_idx"].view(-1, 1),
        "proto": preds["proto"],
        "pred_masks": preds["mask_coefficient"].permute(0, 2, 1),
        "imgsz": torch.tensor([32.0, 64.0], dtype=f64),
    }


REAL = (f64, f32, torch.uint8, torch.int64)


@pytest.mark.parametrize(
    ("overlap", "dtype"), [(o, d) for o in (True, False) for d in (*REAL, torch.bool)[: 4 if o else 5]], ids=str
)
def test_calculate_segmentation_loss(overlap: bool, dtype: torch.dtype) -> None:
    """Masks of any real dtype; binary ones may be boolean."""
    batch = objects(overlap)
    loss, given = assigned(overlap, predictions(False), {**batch, "masks": batch["masks"].to(dtype)})
    assert not printed(7.5 * loss.calculate_segmentation_loss(**given), SEG)


@OVERLAP
def test_calculate_segmentation_loss_of_no_positive_is_nan(overlap: bool) -> None:
    loss, given = assigned(overlap, predictions(False), objects(overlap))
    given["fg_mask"] = torch.zeros_like(given["fg_mask"])
    value = loss.calculate_segmentation_loss(**given)
    assert value.shape == ()
    assert value.isnan()


def test_positives_of_one_object_may_have_different_boxes() -> None:
    """Each positive is cropped to, and divided by, the box that it comes with."""
    batch, preds = objects(), predictions(False)
    loss, given = assigned(True, preds, batch)
    shift = torch.arange(40, dtype=f64)[None, :, None] % 3 * 4
    given["target_bboxes"] = given["target_bboxes"] + shift * torch.tensor([1.0, 1, -1, 0], dtype=f64)
    total = 0.0
    for image in range(2):
        at = given["fg_mask"][image]
        box = given["target_bboxes"][image, at] / torch.tensor([64, 32, 64, 32])
        gt = (batch["masks"][image] == given["target_gt_idx"][image, at][:, None, None] + 1).to(f64)
        pred, area = given["pred_masks"][image, at], (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
        total += single_mask_loss(gt, pred, preds["proto"][image], box * torch.tensor([16, 8, 16, 8]), area).item()
    value = loss.calculate_segmentation_loss(**given)
    assert value.item() == pytest.approx(total / 24, rel=1e-14)


def test_an_object_that_the_image_does_not_have() -> None:
    loss, given = assigned(False, predictions(False), objects(False))
    for number in (1, 2):
        given["target_gt_idx"] = torch.full_like(given["target_gt_idx"], number)
        with pytest.raises(IndexError):
            loss.calculate_segmentation_loss(**given)


def test_masks_must_have_the_size_of_the_prototypes() -> None:
    loss, given = assigned(True, predictions(False), objects())
    with pytest.raises(ValueError, match="masks"):
        loss.calculate_segmentation_loss(**{**given, "masks": given["masks"][:, :4]})


# Refusals, manners --------------------------------------------------------------------------------------


def test_missing_masks() -> None:
    batch = objects()
    del batch["masks"]
    with pytest.raises(KeyError, match="masks"):
        criterion()(predictions(), batch)
    batch = objects()
    del batch["sem_masks"]
    with pytest.raises(KeyError, match="sem_masks"):
        criterion()(predictions(), batch)


@pytest.mark.parametrize("value", [2, -1])
def test_a_semantic_class_out_of_range(value: int) -> None:
    classes = F.sem_masks()
    classes[0, 0, 0] = value
    with pytest.raises(RuntimeError, match="sem_masks"):
        criterion()(predictions(), objects(sem_masks=classes))


@pytest.mark.parametrize("proto", [[F.proto(), F.semantic()], (F.proto(),), (F.proto(), F.semantic(), F.proto())])
def test_proto_is_a_tensor_or_a_tuple_of_two(proto: Any) -> None:
    preds = F.predictions(mask_coefficient=F.mask_coefficient(), proto=proto)
    with pytest.raises(AttributeError):
        criterion()(preds, objects())


def test_nan_in_floating_masks_is_refused() -> None:
    masks = F.masks()
    masks[0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="masks"):
        criterion()(predictions(), objects(masks=masks))


@pytest.mark.parametrize("shape", [(2, 2, 39), (2, 3, 40), (1, 2, 40)])
def test_coefficients_that_do_not_fit(shape: Any) -> None:
    with pytest.raises(RuntimeError):
        criterion()({**predictions(), "mask_coefficient": torch.zeros(shape, dtype=f64)}, objects())


@OVERLAP
def test_nothing_is_written_and_nothing_remembered(overlap: bool) -> None:
    loss, preds, batch = criterion(overlap), predictions(), objects(overlap)
    before = {name: x.clone() for name, x in {**tensors_of(preds), **batch}.items()}
    first = loss(preds, batch)[0]
    loss(predictions(False), without_objects())
    assert torch.equal(loss((None, preds), batch)[0], first)
    for name, x in {**tensors_of(preds), **batch}.items():
        assert torch.equal(x, before[name]), name


@pytest.mark.parametrize("default", [f32, f64], ids=str)
@OVERLAP
def test_float64_is_not_narrowed(overlap: bool, default: torch.dtype) -> None:
    """D8 (QE1): the float32 step of the masks is not reproduced, whatever the default dtype."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        found = items(overlap, objects(overlap))
    finally:
        torch.set_default_dtype(usual)
    assert found.dtype == f64
    assert not printed(found, BOX, SEG, CLS, DFL, SEMSEG)


@pytest.mark.parametrize("dtype", [f32, f16, torch.bfloat16], ids=str)
def test_lower_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    """D9: the values of F are exact in every dtype; gradients come back in the dtype of their tensor."""
    lower = {name: x if name == "feats" else to(x, dtype) for name, x in predictions().items()}
    preds = F.leaves(lower)
    found = backward(criterion(), preds, objects())
    assert found.dtype == f32
    assert found.tolist() == pytest.approx([float(x) for x in (BOX, SEG, CLS, DFL, SEMSEG)], rel=1e-6)
    assert {x.grad.dtype for x in tensors_of(preds).values()} == {dtype}


def to(x: Any, dtype: torch.dtype) -> Any:
    return tuple(part.to(dtype) for part in x) if isinstance(x, tuple) else x.to(dtype)


def test_attributes() -> None:
    loss = criterion(False)
    assert isinstance(loss, v8DetectionLoss)
    assert loss.overlap is False
    assert isinstance(loss.bcedice_loss, BCEDiceLoss)
    assert (loss.bcedice_loss.weight_bce, loss.bcedice_loss.weight_dice) == (0.5, 0.5)
    assert (loss.assigner.topk, criterion(tal_topk=3, tal_topk2=1).assigner.topk2) == (10, 1)


def test_overlap_is_read_once() -> None:
    model = F.model(overlap_mask=True)
    loss = v8SegmentationLoss(model)
    model.args.overlap_mask = False
    assert not printed(loss(predictions(), objects())[1], BOX, SEG, CLS, DFL, SEMSEG)


def test_gains_are_read_at_every_call() -> None:
    """Both extra terms have the gain of the box."""
    model = F.model()
    loss = v8SegmentationLoss(model)
    before = loss(predictions(), objects())[1]
    model.args.box, model.args.cls, model.args.dfl = 15.0, 0.25, 3.0
    after = loss(predictions(), objects())[1]
    assert (after / before).tolist() == pytest.approx([2, 2, 0.5, 2, 2], rel=1e-14)


SIGNATURES = {
    "__init__": ["self", "model", "tal_topk", "tal_topk2"],
    "loss": ["self", "preds", "batch"],
    "single_mask_loss": ["gt_mask", "pred", "proto", "xyxy", "area"],
    "calculate_segmentation_loss": [
        *("self", "fg_mask", "masks", "target_gt_idx", "target_bboxes", "batch_idx", "proto", "pred_masks", "imgsz")
    ],
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    assert list(inspect.signature(getattr(v8SegmentationLoss, name)).parameters) == SIGNATURES[name]


# TVPSegmentLoss -----------------------------------------------------------------------------------------


def prompts(nc: int = 5, overlap: bool = True, **more: Any) -> TVPSegmentLoss:
    return TVPSegmentLoss(F.model(nc=nc, overlap_mask=overlap), **more)


@OVERLAP
def test_prompts_on_f(overlap: bool) -> None:
    preds = predictions(semantic=False)
    loss, detached = prompts(overlap=overlap)(preds, objects(overlap))
    loss.backward()
    assert loss.shape == ()
    assert not printed(loss, "33.7680663353")
    assert not printed(detached, BOX, SEG, CLS, DFL, "0")
    assert not detached.requires_grad
    found = tensors_of(preds)
    assert not printed(found["scores"].grad[0, 0, 0], "0.0943436100191")
    for name in ("boxes", "mask_coefficient", "proto"):
        assert found[name].grad is not None, name
        assert not found[name].grad.any(), name


def test_prompts_with_a_semantic_branch_report_it() -> None:
    _, detached = prompts()(predictions(), objects())
    assert not printed(detached, BOX, SEG, CLS, DFL, SEMSEG)


@pytest.mark.parametrize("batch", [objects(), {}], ids=["objects", "nothing to read"])
def test_prompts_that_are_the_classes_of_the_head(batch: Batch) -> None:
    """D7: five zeros that require grad, and their copy; the predictions keep None."""
    preds = predictions(semantic=False)
    loss, detached = prompts(nc=2)(preds, batch)
    assert loss.tolist() == detached.tolist() == [0.0] * 5
    assert loss.requires_grad
    assert loss.is_leaf
    assert not detached.requires_grad
    loss.sum().backward()
    assert all(x.grad is None for x in tensors_of(preds).values())


def test_prompts_remember_nothing() -> None:
    """Row 19 of the mistakes (QY10): another class count, then that of the head, then the first again."""
    criterion_ = prompts(nc=5)
    first = criterion_(predictions(semantic=False), objects())[0]
    zeros = criterion_({**predictions(semantic=False), "scores": torch.zeros(2, 5, 40, dtype=f64)}, objects())[0]
    assert zeros.tolist() == [0.0] * 5
    assert torch.equal(criterion_(predictions(semantic=False), objects())[0], first)
    inner = criterion_.vp_criterion
    assert (criterion_.ori_nc, inner.nc, inner.no, inner.assigner.num_classes) == (5, 5, 21, 5)


@pytest.mark.parametrize("default", [f32, f64], ids=str)
def test_zeros_have_the_dtype_of_the_predictions(default: torch.dtype) -> None:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        assert prompts(nc=2)(predictions(semantic=False), {})[0].dtype == f64
    finally:
        torch.set_default_dtype(usual)


def test_prompts_take_tal_topk2() -> None:
    """D7: E2ELoss hands it over."""
    assert list(inspect.signature(TVPSegmentLoss).parameters) == ["model", "tal_topk", "tal_topk2"]
    loss = prompts(tal_topk=7, tal_topk2=1)
    assert isinstance(loss.vp_criterion, v8SegmentationLoss)
    assert (loss.vp_criterion.assigner.topk, loss.vp_criterion.assigner.topk2) == (7, 1)
    assert loss.hyp is loss.vp_criterion.hyp
    assert (loss.ori_nc, loss.ori_no, loss.ori_reg_max) == (5, 21, 4)


def test_prompts_without_objects() -> None:
    preds = predictions(semantic=False)
    loss, detached = prompts()(preds, without_objects())
    loss.backward()
    assert not printed(detached, *NOTHING)
    assert not printed(loss, "114.697748202")
    assert all(x.grad is not None for x in tensors_of(preds).values())


def test_replaced_weights_of_the_semantic_term_are_used() -> None:
    loss = criterion()
    loss.bcedice_loss = BCEDiceLoss(1.0, 0.0)
    target = one_hot(F.sem_masks(), 2) * (F.masks() != 0)[:, None]
    assert loss(predictions(), objects())[1][4].item() == pytest.approx(
        7.5 * bce_dice(F.semantic(), target, 1.0, 0.0).item(), rel=1e-14
    )
