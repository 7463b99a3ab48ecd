"""Every number and signature of spec/60-api.md section 2: edition 8.3 as a namespace, and as a named convention.

Numbers are compared to the digits printed. Where a printed number was measured with upstream's float32 step
(QE1, mended by D8), the exact one stands in spec/40-yolo.md; `MEASURED` is what such a number may be off.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lossref
from lossref.checks.table import cases_for, check, named
from lossref.core.nouns import Target
from lossref.hosts.probe import call
from lossref.losses import specs
from lossref.targets import dropin
from shared import fixture_f as F
from shared.digits import near
from shared.explaining import sentences

OLD = lossref.edition("8.3")
EMPTY = (0, 57.348874101, 0)
DETECTION = (3.45467433272, 16.8840331677, 2.34181976633)
CLASS_TERM = 33.7680663353
SMALL = (0, 0, 7 / 16, 1 / 2, 1 / 16, 3 / 16)
NOT_SMALL = (0, 0, 7 / 16, 1 / 2, 1 / 16, 1 / 2)
LYING, STANDING = (0, 0, 0.4375, 0.375, 0.75, 1 / 32, 0), (0, 0, 0.4375, 0.5, 1 / 32, 0.75, 0)
MEASURED = 1e-6


def maps(reg_max: int = 4, text: int = 0) -> list[Tensor]:
    """Fixture F as feature maps 4 x 8 and 2 x 4; with `text`, as many scores of 0 before those of F."""
    silent = torch.zeros(2, text, 40, dtype=torch.float64)
    cells = torch.cat([F.boxes(reg_max), silent, F.scores()], 1)
    return [cells[..., :32].unflatten(2, (4, 8)), cells[..., 32:].unflatten(2, (2, 4))]


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [x.clone().requires_grad_() for x in tensors]


def segments(text: int = 0) -> tuple[Any, ...]:
    return maps(text=text), F.mask_coefficient(), F.proto()


def detection(*rows: tuple[float, ...], reg_max: int = 4) -> Any:
    return OLD.v8DetectionLoss(F.model(reg_max=reg_max))(maps(reg_max), F.batch(*rows))


def rotated(*rows: tuple[float, ...], reg_max: int = 4) -> Any:
    batch = F.batch(*(rows or F.rotated()))
    return OLD.v8OBBLoss(F.model(reg_max=reg_max))((maps(reg_max), F.angle()), batch)


def segmentation(*rows: tuple[float, ...], masks: Tensor | None = None) -> Any:
    masks = F.masks() if masks is None else masks
    return OLD.v8SegmentationLoss(F.model())(segments(), F.batch(*rows, masks=masks))


# 2.1 Names and signatures ------------------------------------------------------------------------------------

SIGNATURES = [
    ("v8DetectionLoss", "model, tal_topk=10"),
    ("v8SegmentationLoss", "model"),
    ("v8PoseLoss", "model"),
    ("v8OBBLoss", "model"),
    ("E2EDetectLoss", "model"),
    ("TVPDetectLoss", "model"),
    ("TVPSegmentLoss", "model"),
    ("BboxLoss", "reg_max=16"),
    ("RotatedBboxLoss", "reg_max"),
    ("VarifocalLoss", "gamma=2.0, alpha=0.75"),
    ("FocalLoss", "gamma=1.5, alpha=0.25"),
    ("DFLoss", "reg_max=16"),
    ("KeypointLoss", "sigmas"),
    ("TaskAlignedAssigner", "topk=13, num_classes=80, alpha=1.0, beta=6.0, eps=1e-09"),
    ("RotatedTaskAlignedAssigner", "topk=13, num_classes=80, alpha=1.0, beta=6.0, eps=1e-09"),
    ("bbox2dist", "anchor_points, bbox, reg_max"),
]
BOX = "pred_dist, pred_bboxes, anchor_points, target_bboxes, target_scores, target_scores_sum, fg_mask"
MASKS = "fg_mask, masks, target_gt_idx, target_bboxes, batch_idx, proto, pred_masks, imgsz, overlap"
METHODS = [
    ("BboxLoss", "forward", BOX),
    ("RotatedBboxLoss", "forward", BOX),
    ("v8SegmentationLoss", "calculate_segmentation_loss", MASKS),
    ("TVPDetectLoss", "_get_vp_features", "feats"),
]


def shown(thing: Any) -> str:
    listed = [p.replace(annotation=p.empty) for p in inspect.signature(thing).parameters.values() if p.name != "self"]
    return ", ".join(map(str, listed))


@pytest.mark.parametrize(("name", "signature"), SIGNATURES, ids=[row[0] for row in SIGNATURES])
def test_signature(name: str, signature: str) -> None:
    assert shown(getattr(OLD, name)) == signature


@pytest.mark.parametrize(("name", "method", "signature"), METHODS, ids=[f"{row[0]}.{row[1]}" for row in METHODS])
def test_signature_of_a_method(name: str, method: str, signature: str) -> None:
    assert shown(getattr(getattr(OLD, name), method)) == signature


@pytest.mark.parametrize(
    "name", ["RLELoss", "MultiChannelDiceLoss", "BCEDiceLoss", "PoseLoss26", "E2ELoss", "rbox2dist", "RealNVP"]
)
def test_names_that_came_later(name: str) -> None:
    with pytest.raises(AttributeError, match=f"edition 8.3 has no {name}, which came with edition 8.4"):
        getattr(OLD, name)
    assert name not in dir(OLD)
    assert getattr(lossref.edition("8.4"), name) is getattr(lossref, name)


ABSENT = ["loss", "parse_output", "get_assigned_targets_and_loss"]


@pytest.mark.parametrize("name", ["v8DetectionLoss", "v8SegmentationLoss", "v8PoseLoss", "v8OBBLoss"])
def test_methods_that_came_later(name: str) -> None:
    kind = getattr(OLD, name)
    loss = kind(F.model(kpt_shape=[3, 3]))
    assert isinstance(loss, OLD.v8DetectionLoss)
    for method in (*ABSENT, "_select_target_keypoints", "calculate_angle_loss", "bcedice_loss"):
        assert not hasattr(kind, method)
        assert not hasattr(loss, method)
    with pytest.raises(AttributeError, match=f"edition 8.3 has no {name}.loss"):
        _ = loss.loss


def test_unchanged_names_are_the_current_ones() -> None:
    assert set(dir(OLD)) < set(dir(lossref.edition("8.4")))
    for name in ("VarifocalLoss", "DFLoss", "KeypointLoss", "v8ClassificationLoss", "DETRLoss", "RTDETRDetectionLoss"):
        assert getattr(OLD, name) is getattr(lossref, name)
    assert all(getattr(OLD, name) is not None for name in dir(OLD))


def test_no_other_edition() -> None:
    with pytest.raises(ValueError, match=r"expected edition '8.3' or '8.4' or '8.4.190', got '8.2'"):
        lossref.edition("8.2")
    with pytest.raises(AttributeError, match="no attribute 'target'"):
        _ = OLD.target
    with pytest.raises(ValueError, match=r"edition: expected one of 8.3, 8.4, got '8.2'"):
        specs()["v8_detection"].reference(
            *(F.predictions()[name].float() for name in ("boxes", "scores")),
            *F.no_object().values(),
            imgsz=(32, 64),
            strides=(8, 16),
            reg_max=4,
            edition="8.2",
        )


# 2.2 Predictions ---------------------------------------------------------------------------------------------


def test_forms_of_predictions() -> None:
    feats, more, batch = maps(), [F.mask_coefficient(), F.proto()], F.batch(masks=F.masks(), keypoints=F.keypoints())
    model, posed = F.model(), F.model(kpt_shape=[3, 3])
    branches = {"one2many": feats, "one2one": (None, feats)}
    forms: list[tuple[Any, list[Any]]] = [
        (OLD.v8DetectionLoss(model), [feats, (None, feats)]),
        (OLD.v8SegmentationLoss(model), [(feats, *more), [feats, *more], (None, (feats, *more))]),
        (OLD.v8PoseLoss(posed), [(feats, F.kpts()), (None, (feats, F.kpts()))]),
        (OLD.E2EDetectLoss(model), [branches, (None, branches)]),
    ]
    for loss, given in forms:
        results = [loss(preds, batch)[1] for preds in given]
        assert all(torch.equal(result, results[0]) for result in results)
    turned = F.batch(*F.rotated())
    pairs = [(feats, F.angle()), (None, (feats, F.angle()))]
    one, other = (OLD.v8OBBLoss(model)(preds, turned)[1] for preds in pairs)
    assert torch.equal(one, other)


def test_wrong_channels() -> None:
    with pytest.raises(RuntimeError, match=r"expected feature maps \(b, 19, h, w\)"):
        OLD.v8DetectionLoss(F.model(nc=3))(maps(), F.batch())
    with pytest.raises(RuntimeError, match=r"expected feature maps \(b, 19 or more, h, w\)"):
        OLD.TVPDetectLoss(F.model(nc=3))(maps(), F.batch())


# 2.3 Numerical differences, by row ---------------------------------------------------------------------------


def test_01_one_bin_has_no_distance_term() -> None:
    assert near(detection(reg_max=1)[1], (3.53283063115, 19.9764109474, 0))
    assert near(rotated(reg_max=1)[1], (2.58476940819, 14.2247481877, 0))


def test_01_one_bin_in_the_box_losses() -> None:
    for name, numbers in (("BboxLoss", 4), ("RotatedBboxLoss", 5)):
        (dist,) = leaves(torch.rand(1, 3, 4))
        boxes, target = torch.rand(2, 1, 3, numbers) + 1
        given = (boxes, torch.rand(3, 2), target, torch.rand(1, 3, 2), 2.0, torch.tensor([[True, False, True]]))
        _, term = getattr(OLD, name)(1)(dist, *given)
        assert term.item() == 0
        term.backward()
        assert torch.equal(dist.grad, torch.zeros(1, 3, 4)), "zero, not None (D10)"


def test_02_03_rotated_distances_and_no_angle_term() -> None:
    loss, items = rotated()
    assert near(items, (2.41334804289, 9.56626980488, 2.36257341974))
    assert near(loss, [2 * x for x in items.tolist()])


def test_04_size_filter_with_exchanged_sides() -> None:
    assert near(rotated(LYING)[1], (2.31598259136, 57.3161414688, 0.969114741962))
    assert near(rotated(STANDING)[1], EMPTY)


def test_05_no_rule_for_small_sides() -> None:
    assert near(detection(SMALL)[1], EMPTY)
    current = lossref.v8DetectionLoss(F.model())
    assert near(current(F.predictions(), F.batch(SMALL))[1], (0.145560883788, 57.3415125537, 0.0430540907771))
    assert torch.equal(detection(NOT_SMALL)[1], current(F.predictions(), F.batch(NOT_SMALL))[1])


def test_05_assigners_have_no_rule_for_small_sides() -> None:
    points = torch.tensor([(4.0, 4.0), (12.0, 4.0), (4.0, 12.0), (12.0, 12.0)])
    scores, real = torch.full((1, 4, 1), 0.5), torch.ones(1, 1, 1)
    boxes = torch.tensor([[[5.0, 5.0, 11.0, 11.0]]]).expand(1, 4, 4)
    given = (scores, boxes, points, torch.zeros(1, 1, 1, dtype=torch.long), boxes[:, :1], real)
    assert not OLD.TaskAlignedAssigner(topk=1, num_classes=1)(*given)[3].any()
    assert lossref.TaskAlignedAssigner(topk=4, num_classes=1)(*given)[3].all()
    turned = torch.tensor([[[8.0, 8.0, 6.0, 6.0, 0.25]]]).expand(1, 4, 5)
    given = (*given[:1], turned, *given[2:4], turned[:, :1], real)
    assert not OLD.RotatedTaskAlignedAssigner(topk=1, num_classes=1)(*given)[3].any()
    assert lossref.RotatedTaskAlignedAssigner(topk=4, num_classes=1)(*given)[3].all()


def test_06_masks_are_resized_to_the_prototypes() -> None:
    items = segmentation(masks=F.masks(3, 16, 32))[1]
    assert near(items[1:2], 5.2551567839)
    assert near(items[1:2], 5.25515690446, MEASURED)
    separate = OLD.v8SegmentationLoss(F.model(overlap_mask=False))
    assert near(separate(segments(), F.batch(masks=F.separate_masks(3, 16, 32)))[1], items.tolist())


def test_07_crops_at_exact_edges() -> None:
    rows = [(0.38, 0.51, 0.5, 0.73), (0.6875, 0.5, 0.37, 0.5), (0.5, 0.3125, 0.52, 0.61)]
    batch = [(*row[:2], *box) for row, box in zip(F.OBJECTS, rows, strict=True)]
    assert near(segmentation(*batch)[1][1:2], 4.51838204223)
    assert near(segmentation(*batch)[1][1:2], 4.51838180423, MEASURED)


def test_08_no_semantic_term() -> None:
    loss, items = segmentation()
    assert near(items, (3.45467433272, 5.24158663416, 16.8840331677, 2.34181976633))
    assert near(loss, [2 * x for x in items.tolist()])


@pytest.mark.parametrize("boxes", [torch.rand(2, 4), torch.rand(3, 5)], ids=["two for three", "rotated"])
def test_09_objects_in_a_wrong_form(boxes: Tensor) -> None:
    batch = {**F.batch(masks=F.masks()), "bboxes": boxes}
    with pytest.raises(TypeError) as error:
        OLD.v8SegmentationLoss(F.model())(segments(), batch)
    assert isinstance(error.value.__cause__, RuntimeError)
    with pytest.raises(TypeError) as error:
        OLD.v8OBBLoss(F.model())((maps(), F.angle()), F.batch())
    assert isinstance(error.value.__cause__, RuntimeError)


def test_10_nothing_is_narrowed() -> None:
    """D8 overrides the row: upstream's conversions are float32 in edition 8.3."""
    third = torch.full((1, 4), 1 / 3, dtype=torch.float64)
    assert OLD.xywh2xyxy(third).dtype == OLD.xyxy2xywh(third).dtype == torch.float64
    assert near(OLD.xyxy2xywh(torch.tensor([[0, 0, 1 / 3, 2 / 3]], dtype=torch.float64)), (1 / 6, 1 / 3, 1 / 3, 2 / 3))


def test_11_sigmas_are_float64() -> None:
    loss = OLD.v8PoseLoss(F.model(kpt_shape=[17, 3]))
    assert loss.keypoint_loss.sigmas.dtype == torch.float64
    assert loss.keypoint_loss.sigmas[0].item() == 0.26 / 10
    batch = F.batch(keypoints=F.keypoints(17))
    older = loss((maps(), F.kpts(51)), batch)[1]
    newer = lossref.v8PoseLoss(F.model(kpt_shape=[17, 3]))(F.predictions(kpts=F.kpts(51)), batch)[1]
    assert 1e-9 < abs(float(older[1] / newer[1]) - 1) < 1e-7
    uniform = OLD.v8PoseLoss(F.model(kpt_shape=(17, 3)))
    assert near(uniform.keypoint_loss.sigmas[:1], 1 / 17, 1e-7)


def test_12_focal_alpha_is_one_number() -> None:
    assert OLD.FocalLoss().alpha == 0.25
    assert isinstance(OLD.FocalLoss().alpha, float)
    logits, labels = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    assert torch.equal(OLD.FocalLoss()(logits, labels), lossref.FocalLoss()(logits, labels))
    with pytest.raises(TypeError, match="takes one number, got"):
        OLD.FocalLoss(1.5, [0.25, 0.5])(logits, labels)


def test_13_no_object_gives_zero_gradients() -> None:
    feats = leaves(*maps())
    loss, items = OLD.v8DetectionLoss(F.model())(feats, F.no_object())
    assert near(items, EMPTY)
    loss.sum().backward()
    for feat in feats:
        assert not feat.grad[:, :16].any()
        assert feat.grad[:, 16:].all()


def test_14_visual_prompts_are_the_last_channels() -> None:
    for classes in (3, 2):
        loss, items = OLD.TVPDetectLoss(F.model(nc=classes))(maps(text=classes), F.batch())
        assert loss.ndim == 0
        assert near(loss, CLASS_TERM)
        assert near(items, DETECTION)


def test_14_text_scores_are_ignored_and_nothing_is_remembered() -> None:
    loss, feats = OLD.TVPDetectLoss(F.model(nc=3)), leaves(*maps(text=3))
    loss(feats, F.batch())[0].backward()
    assert not feats[0].grad[:, :19].any()
    assert feats[0].grad[:, 19:].all()
    assert loss.vp_criterion.nc == loss.ori_nc == 3
    assert [tuple(feat.shape) for feat in loss._get_vp_features(feats)] == [(2, 18, 4, 8), (2, 18, 2, 4)]


def test_14_without_a_visual_prompt_there_is_nothing_to_train() -> None:
    loss, items = OLD.TVPDetectLoss(F.model(nc=2))((None, maps()), F.batch())
    assert torch.equal(loss, torch.zeros(3))
    assert loss.requires_grad
    assert loss.is_leaf
    assert not items.requires_grad


def test_15_prompt_segmentation_works() -> None:
    """Release 8.3.116 always raises; this is what 8.3.200 does."""
    batch = F.batch(masks=F.masks())
    for preds in (segments(3), (None, segments(3))):
        loss, items = OLD.TVPSegmentLoss(F.model(nc=3))(preds, batch)
        assert near(loss, CLASS_TERM)
        assert near(items, (3.45467433272, 5.24158663416, 16.8840331677, 2.34181976633))
    zeros, _ = OLD.TVPSegmentLoss(F.model(nc=2))(segments(), batch)
    assert torch.equal(zeros, torch.zeros(4))


def test_16_rotated_boxes_have_ten_anchors() -> None:
    reference, batch = specs()["v8_obb"].reference, F.batch(*F.rotated())
    given = [F.boxes(), F.scores(), F.angle(), batch["batch_idx"], batch["cls"], batch["bboxes"]]
    wide = {"imgsz": (32, 64), "strides": (8, 16), "reg_max": 4, "edition": "8.3"}
    assert OLD.v8OBBLoss(F.model()).assigner.topk == 10
    assert near(torch.stack(reference(*given, **wide, tal_topk=3))[:3] / 2, rotated()[1].tolist())


# What both editions agree on ---------------------------------------------------------------------------------


def test_agreement_on_f() -> None:
    pose = OLD.v8PoseLoss(F.model(kpt_shape=[3, 3]))((maps(), F.kpts()), F.batch(keypoints=F.keypoints()))
    assert near(detection()[1], DETECTION)
    assert near(pose[1], (3.45467433272, 5.7810171676, 0.703856476632, 16.8840331677, 2.34181976633))
    assert near(segmentation()[1][1:2], 5.24158663416)
    both = OLD.E2EDetectLoss(F.model())({"one2many": maps(), "one2one": maps()}, F.batch())
    assert near(both[1], (6.54213502146, 49.5564242194, 4.59474203337))


def test_gradients_agree_on_f() -> None:
    feats = leaves(*maps())
    OLD.v8DetectionLoss(F.model())(feats, F.batch())[0].sum().backward()
    assert near(feats[0].grad[0, 0, 1, 2:3], 0.0529433198252)
    assert near(feats[0].grad[0, 17, 1, 2:3], 0.126949352761)


def test_keypoint_boxes_are_in_stride_units() -> None:
    given = (torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.long), torch.rand(1, 3, 3) + 1)
    boxes, kpts, stride = torch.tensor([[[0.0, 0.0, 3.0, 2.0]]]), torch.rand(1, 1, 3, 3), torch.full((1, 1), 8.0)
    older, newer = (e.v8PoseLoss(F.model(kpt_shape=[3, 3])) for e in (OLD, lossref.edition("8.4")))
    got = older.calculate_keypoints_loss(*given, torch.zeros(1, 1), stride, boxes, kpts)
    assert near(
        got, [x.item() for x in newer.calculate_keypoints_loss(*given, torch.zeros(1, 1), stride, boxes * 8, kpts)]
    )
    assert boxes.tolist() == [[[0, 0, 3, 2]]]


def test_overlap_of_masks_is_an_argument() -> None:
    masks = (torch.rand(1, 4, 4) > 0.5).double()
    given = (torch.zeros(1, 1, dtype=torch.long), torch.tensor([[[0.0, 0.0, 16.0, 16.0]]]), torch.zeros(1, 1))
    maps_of, size = (torch.rand(1, 2, 4, 4), torch.rand(1, 1, 2)), torch.tensor([16.0, 16.0])
    loss = OLD.v8SegmentationLoss(F.model(overlap_mask=True))
    fg_mask = torch.ones(1, 1, dtype=torch.bool)
    both = [loss.calculate_segmentation_loss(fg_mask, masks, *given, *maps_of, size, kind) for kind in (True, False)]
    assert torch.equal(*both)
    assert loss.overlap is True


# The checks --------------------------------------------------------------------------------------------------


def found(spec: str, **fixed: Any) -> Target:
    """The namespace as a target, called as a package of edition 8.3 is."""

    def find(name: str) -> Any:
        return getattr(OLD, name, None)

    listed = {one.spec: one for one in dropin.targets(find, "edition83", "absent {name}", widen=False)}
    return replace(listed[spec], fixed=fixed)


LOSSES = ["bbox", "rotated_bbox", "v8_detection", "e2e_detect", "v8_obb", "v8_pose", "v8_segmentation", "tvp_detect"]


@pytest.mark.parametrize("name", ["value", "reduced", "empty"])
@pytest.mark.parametrize("spec", [*LOSSES, "tvp_segment"])
def test_namespace_conforms_in_its_edition(spec: str, name: str) -> None:
    target, one = found(spec, edition="8.3"), named(name)
    for dtype in one.dtypes:
        verdict, _ = check(one, specs()[spec], target, cases_for(one, specs()[spec], target, "quick", 0), dtype)
        assert verdict.status == "pass", verdict


@pytest.mark.parametrize("spec", ["task_aligned", "rotated_task_aligned"])
def test_assigners_conform_without_the_rule(spec: str) -> None:
    target, one = found(spec, small_boxes="off"), named("value")
    verdict, _ = check(one, specs()[spec], target, cases_for(one, specs()[spec], target, "quick", 0), "float64")
    assert verdict.status == "pass", verdict


@pytest.mark.parametrize("spec", ["bbox", "rotated_bbox", "v8_detection", "v8_obb"])
def test_edition_explains_what_differs(spec: str) -> None:
    said = sentences(specs()[spec], found(spec), "value")
    assert said
    assert all(one.endswith("agrees when edition is '8.3'") for one in said)


def test_targets_that_came_later_are_unsupported() -> None:
    assert found("pose26").unsupported == "absent PoseLoss26"


def test_model_needs_no_newer_settings() -> None:
    """A model of that time has no gain for angles."""
    model = F.model()
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    loss, _ = OLD.v8OBBLoss(model)((maps(), F.angle()), F.batch(*F.rotated()))
    assert len(loss) == 3


SUMMED = ("v8DetectionLoss", "v8SegmentationLoss", "v8PoseLoss", "v8OBBLoss", "E2EDetectLoss")
SPEC_OF = dict(zip(SUMMED, ("v8_detection", "v8_segmentation", "v8_pose", "v8_obb", "e2e_detect"), strict=True))


def summed(kind: Any) -> Any:
    """The class as releases up to 8.3.90 have it: the loss is the sum of the vector, the items stay a vector."""

    class Summed(kind):  # type: ignore[misc]
        def __call__(self, preds: Any, batch: Any) -> Any:
            vector, items = super().__call__(preds, batch)
            return vector.sum(), items

    Summed.__init__.__signature__ = inspect.signature(kind)  # type: ignore[attr-defined]
    return Summed


@pytest.mark.parametrize("name", SUMMED)
def test_the_terms_of_a_sum_are_told_apart(name: str) -> None:
    """Values and gradients under unequal upstream weights are those of the vector."""
    spec, found = specs()[SPEC_OF[name]], []
    for kind in (getattr(OLD, name), summed(getattr(OLD, name))):
        listed = dropin.targets(lambda word, kind=kind: kind if word == name else None, "old", "{name}", widen=False)
        target = {one.spec: one for one in listed}[spec.name]
        case = cases_for(named("reduced"), spec, target, "quick", 0)[0]
        found.append(call(spec, target, case, "float64", grad=True))
    one, other = found
    np.testing.assert_allclose(other.value, one.value, rtol=1e-12)
    for wrt in spec.wrt:
        a, b = (np.zeros(1) if x.gradient[wrt] is None else x.gradient[wrt] for x in (one, other))
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)
    assert any(np.abs(g).max() > 0 for g in one.gradient.values() if g is not None)
