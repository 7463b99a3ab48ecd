"""Every row of the public API: name and signature are the contract (spec/60-api.md sections 1.1 to 1.3)."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from torch import nn

import lossref
from lossref.targets.listing import rows

PREDS_BATCH = "preds, batch"
DETR = (
    "nc=80, loss_gain=None, aux_loss=True, use_fl=True, use_vfl=False, use_uni_match=False, uni_match_ind=0, "
    "gamma=1.5, alpha=0.25"
)
BBOX = "pred_dist, pred_bboxes, anchor_points, target_bboxes, target_scores, target_scores_sum, fg_mask, imgsz, stride"
KEYPOINTS = "masks, target_gt_idx, keypoints, batch_idx, stride_tensor, target_bboxes, pred_kpts"
TAL = "topk=13, num_classes=80, alpha=1.0, beta=6.0, stride=(8, 16, 32), eps=1e-09, topk2=None"
MATCHER = "cost_gain=None, use_fl=True, with_mask=False, num_sample_points=12544, alpha=0.25, gamma=2.0"
LAYER = "pred_bboxes, pred_scores, gt_bboxes, gt_cls, gt_groups"

API = """
VarifocalLoss | __init__ | gamma=2.0, alpha=0.75
VarifocalLoss | forward | pred_score, gt_score, label
FocalLoss | __init__ | gamma=1.5, alpha=0.25
FocalLoss | forward | pred, label
DFLoss | __init__ | reg_max=16
DFLoss | __call__ | pred_dist, target
BboxLoss | __init__ | reg_max=16
BboxLoss | forward | {BBOX}
RLELoss | __init__ | use_target_weight=True, size_average=True, residual=True
RLELoss | forward | sigma, log_phi, error, target_weight=None
RotatedBboxLoss | __init__ | reg_max
RotatedBboxLoss | forward | {BBOX}
MultiChannelDiceLoss | __init__ | smooth=1e-06, reduction='mean'
MultiChannelDiceLoss | forward | pred, target
BCEDiceLoss | __init__ | weight_bce=0.5, weight_dice=0.5
BCEDiceLoss | forward | pred, target
KeypointLoss | __init__ | sigmas
KeypointLoss | forward | pred_kpts, gt_kpts, kpt_mask, area
v8ClassificationLoss | __init__ |
v8ClassificationLoss | __call__ | preds, batch
v8DetectionLoss | __init__ | model, tal_topk=10, tal_topk2=None
v8DetectionLoss | preprocess | targets, batch_size, scale_tensor
v8DetectionLoss | bbox_decode | anchor_points, pred_dist
v8DetectionLoss | get_assigned_targets_and_loss | preds, batch
v8DetectionLoss | parse_output | preds
v8DetectionLoss | loss | preds, batch
v8DetectionLoss | __call__ | preds, batch
v8SegmentationLoss | __init__ | model, tal_topk=10, tal_topk2=None
v8SegmentationLoss | loss | preds, batch
v8SegmentationLoss | single_mask_loss static | gt_mask, pred, proto, xyxy, area
v8SegmentationLoss | calculate_segmentation_loss | fg_mask, masks, target_gt_idx, target_bboxes, batch_idx, proto, \
pred_masks, imgsz
v8PoseLoss | __init__ | model, tal_topk=10, tal_topk2=10
v8PoseLoss | loss | preds, batch
v8PoseLoss | kpts_decode static | anchor_points, pred_kpts
v8PoseLoss | _select_target_keypoints | keypoints, batch_idx, target_gt_idx, masks
v8PoseLoss | calculate_keypoints_loss | {KEYPOINTS}
PoseLoss26 | __init__ | model, tal_topk=10, tal_topk2=None
PoseLoss26 | loss | preds, batch
PoseLoss26 | kpts_decode static | anchor_points, pred_kpts
PoseLoss26 | calculate_rle_loss | pred_kpt, gt_kpt, kpt_mask
PoseLoss26 | calculate_keypoints_loss | {KEYPOINTS}
v8OBBLoss | __init__ | model, tal_topk=10, tal_topk2=None
v8OBBLoss | preprocess | targets, batch_size, scale_tensor
v8OBBLoss | loss | preds, batch
v8OBBLoss | bbox_decode | anchor_points, pred_dist, pred_angle
v8OBBLoss | calculate_angle_loss | pred_bboxes, target_bboxes, fg_mask, weight, target_scores_sum, lambda_val=3
E2EDetectLoss | __init__ | model
E2EDetectLoss | __call__ | preds, batch
E2ELoss | __init__ | model, loss_fn=v8DetectionLoss
E2ELoss | __call__ | preds, batch
E2ELoss | update |
E2ELoss | decay | x
TVPDetectLoss | __init__ | model, tal_topk=10, tal_topk2=None
TVPDetectLoss | parse_output | preds
TVPDetectLoss | __call__ | preds, batch
TVPDetectLoss | loss | preds, batch
TVPDetectLoss | _get_vp_features | preds
TVPSegmentLoss | __init__ | model, tal_topk=10, tal_topk2=None
TVPSegmentLoss | __call__ | preds, batch
TVPSegmentLoss | loss | preds, batch
DETRLoss | __init__ | {DETR}
DETRLoss | _get_loss_class | pred_scores, targets, gt_scores, num_gts, postfix=''
DETRLoss | _get_loss_bbox | pred_bboxes, gt_bboxes, postfix=''
DETRLoss | _get_loss_aux | {LAYER}, match_indices=None, postfix='', masks=None, gt_mask=None
DETRLoss | _get_index static | match_indices
DETRLoss | _get_assigned_bboxes | pred_bboxes, gt_bboxes, match_indices
DETRLoss | _get_loss | {LAYER}, masks=None, gt_mask=None, postfix='', match_indices=None
DETRLoss | forward | pred_bboxes, pred_scores, batch, postfix='', **kwargs
RTDETRDetectionLoss | __init__ | {DETR}
RTDETRDetectionLoss | forward | preds, batch, dn_bboxes=None, dn_scores=None, dn_meta=None
RTDETRDetectionLoss | get_dn_match_indices static | dn_pos_idx, dn_num_group, gt_groups
TaskAlignedAssigner | __init__ | {TAL}
TaskAlignedAssigner | forward | pd_scores, pd_bboxes, anc_points, gt_labels, gt_bboxes, mask_gt
RotatedTaskAlignedAssigner | __init__ | {TAL}
HungarianMatcher | __init__ | {MATCHER}
HungarianMatcher | forward | {LAYER}, masks=None, gt_mask=None
RealNVP | __init__ |
RealNVP | backward_p | x
RealNVP | log_prob | x
"""
ALIASES = {"BBOX": BBOX, "DETR": DETR, "KEYPOINTS": KEYPOINTS, "TAL": TAL, "MATCHER": MATCHER, "LAYER": LAYER}
ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in API.format(**ALIASES).strip().splitlines()]

FUNCTIONS = {
    "bbox_iou": "box1, box2, xywh=True, GIoU=False, DIoU=False, CIoU=False, eps=1e-07",
    "probiou": "obb1, obb2, CIoU=False, eps=1e-07",
    "xyxy2xywh": "x",
    "xywh2xyxy": "x",
    "xywhr2xyxyxyxy": "x",
    "make_anchors": "feats, strides, grid_cell_offset=0.5",
    "dist2bbox": "distance, anchor_points, xywh=True, dim=-1",
    "bbox2dist": "anchor_points, bbox, reg_max=None",
    "dist2rbox": "pred_dist, pred_angle, anchor_points, dim=-1",
    "rbox2dist": "target_bboxes, anchor_points, target_angle, dim=-1, reg_max=None",
    "crop_mask": "masks, boxes",
}


def shown(function: Any, bound: bool) -> list[str]:
    """The parameters as they are written in the table, less `self` and what only names a variant."""
    listed = list(inspect.signature(function).parameters.values())[int(bound) :]
    return [_one(p) for p in listed if p.kind is not p.KEYWORD_ONLY]


def _one(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
    if parameter.default is parameter.empty:
        return stars + parameter.name
    default = parameter.default
    word = (
        default.__name__ if inspect.isclass(default) else repr(tuple(default) if isinstance(default, list) else default)
    )
    return f"{parameter.name}={word}"


def split(text: str) -> list[str]:
    """The parameters of a row; a tuple is one default."""
    return text.replace("(8, 16, 32)", "(8;16;32)").split(", ") if text else []


@pytest.mark.parametrize(("name", "method", "signature"), ROWS, ids=[f"{row[0]}.{row[1]}" for row in ROWS])
def test_class_has_the_method_with_that_signature(name: str, method: str, signature: str) -> None:
    kind = getattr(lossref, name)
    word, _, static = method.partition(" ")
    assert isinstance(inspect.getattr_static(kind, word, None), staticmethod) == bool(static)
    found = [one.replace("(8, 16, 32)", "(8;16;32)") for one in shown(getattr(kind, word), not static)]
    wanted = split(signature)
    if kind.__init__ is object.__init__ and word == "__init__":
        found = []
    assert found[: len(wanted)] == wanted
    assert all("=" in one for one in found[len(wanted) :]), "an argument beyond the contract must have a default"


@pytest.mark.parametrize(("name", "signature"), FUNCTIONS.items(), ids=list(FUNCTIONS))
def test_function_has_that_signature(name: str, signature: str) -> None:
    found, wanted = shown(getattr(lossref, name), bound=False), split(signature)
    assert found[: len(wanted)] == wanted
    assert all("=" in one for one in found[len(wanted) :])


MODULES = {row[0] for row in ROWS if row[0].endswith("Loss") and not row[0].startswith(("v8", "TVP", "E2E"))} | {
    "RTDETRDetectionLoss"
}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_elementary_losses_are_modules_without_state(name: str) -> None:
    kind = getattr(lossref, name)
    assert issubclass(kind, nn.Module)


BASES = [
    ("RotatedBboxLoss", "BboxLoss"),
    ("v8SegmentationLoss", "v8DetectionLoss"),
    ("v8PoseLoss", "v8DetectionLoss"),
    ("PoseLoss26", "v8PoseLoss"),
    ("v8OBBLoss", "v8DetectionLoss"),
    ("TVPSegmentLoss", "TVPDetectLoss"),
    ("RTDETRDetectionLoss", "DETRLoss"),
    ("RotatedTaskAlignedAssigner", "TaskAlignedAssigner"),
]


@pytest.mark.parametrize(("name", "base"), BASES, ids=[row[0] for row in BASES])
def test_bases(name: str, base: str) -> None:
    assert issubclass(getattr(lossref, name), getattr(lossref, base))


def test_list_shows_every_row() -> None:
    listed = {(row.name, row.method) for row in rows()}
    for name, method, _ in ROWS:
        word = method.partition(" ")[0]
        assert (name, "constructor" if word == "__init__" else word) in listed
    assert {row.name for row in rows()} >= set(FUNCTIONS)
