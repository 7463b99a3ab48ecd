"""The losses that take a model, and the methods of theirs that have a spec."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lossref.targets.dropin.entry import ON_HEADS, Entry, Mismatch, Shapes, parameters_of
from lossref.targets.dropin.yolo import edition_of, heads, make, terms_of, values_of, vector

HEAD = ("imgsz", "strides", "reg_max", "tal_topk", "box_gain", "cls_gain", "dfl_gain")


def accepts(*more: str) -> Callable[[Any], tuple[str, ...]]:
    """The parameters of every model-taking loss, `tal_topk2` where the constructor has it, and some more."""

    def of(kind: Any) -> tuple[str, ...]:
        topk = [name for name in ("tal_topk2",) if name in parameters_of(kind)]
        fixed_topk = "tal_topk" not in parameters_of(kind)
        return (*(name for name in HEAD if not (fixed_topk and name == "tal_topk")), *topk, *more)

    return of


def objects(x: Mapping[str, Tensor], *more: str) -> dict[str, Tensor]:
    """The batch dictionary."""
    return {name: x[name] for name in ("batch_idx", "cls", "bboxes", *more)}


def _detection(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    def ask(x: Mapping[str, Tensor]) -> Any:
        return loss(heads(params, edition_of(loss), x["boxes"], x["scores"]), objects(x))

    return terms_of(ask, loss, x, 3)


def _segment_heads(loss: Any, params: Mapping[str, Any], x: Mapping[str, Tensor]) -> Any:
    edition = edition_of(loss)
    proto: Any = (x["proto"], x["semseg"]) if params.get("semantic") and "semseg" in x else x["proto"]
    if edition == "8.3":
        return heads(params, edition, x["boxes"], x["scores"]), x["mask_coefficient"], x["proto"]
    found = heads(params, edition, x["boxes"], x["scores"], mask_coefficient=x["mask_coefficient"])
    return {**found, "proto": proto}


def _segmentation(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    def ask(x: Mapping[str, Tensor]) -> Any:
        batch = objects(x, "masks", "sem_masks") if params["semantic"] else objects(x, "masks")
        return loss(_segment_heads(loss, params, x), batch)

    found = terms_of(ask, loss, x, 5)
    return (*found[:4], _no_semantic_term(x)) if edition_of(loss) == "8.3" else found


def _no_semantic_term(x: Mapping[str, Tensor]) -> Tensor:
    """0 for edition 8.3, which takes no semantic input, so that it cannot refuse one that does not fit."""
    if x["semseg"].shape[:2] != x["scores"].shape[:2] or x["sem_masks"].shape[1:] != x["masks"].shape[1:]:
        raise Mismatch("semseg, sem_masks: expected shapes (b, c, Hs, Ws) and (b, Hm, Wm)")
    if len(x["sem_masks"]) != len(x["boxes"]):
        raise Mismatch("sem_masks: expected one for each image")
    return x["semseg"][:0].sum()


def _pose(terms: int) -> Callable[..., Any]:
    def asked(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
        def ask(x: Mapping[str, Tensor]) -> Any:
            edition = edition_of(loss)
            more = {name: x[name] for name in ("kpts", "kpts_sigma") if name in x}
            preds = heads(params, edition, x["boxes"], x["scores"], **more)
            return loss((preds, x["kpts"]) if edition == "8.3" else preds, objects(x, "keypoints"))

        found = terms_of(ask, loss, x, terms)
        return (*found, found[0] * 0) if terms == 6 and len(found) == 5 and not params["flow"] else found

    return asked


def _obb(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    def ask(x: Mapping[str, Tensor]) -> Any:
        edition = edition_of(loss)
        preds = heads(params, edition, x["boxes"], x["scores"], angle=x["angle"])
        return loss((preds, x["angle"]) if edition == "8.3" else preds, objects(x))

    return terms_of(ask, loss, x, 4)


def _two_heads(loss: Any, params: Mapping[str, Any], x: Mapping[str, Tensor]) -> dict[str, Any]:
    edition = edition_of(loss)
    return {
        "one2many": heads(params, edition, x["boxes"], x["scores"]),
        "one2one": heads(params, edition, x["one_boxes"], x["one_scores"]),
    }


def _e2e_detect(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    def ask(x: Mapping[str, Tensor]) -> Any:
        return loss(_two_heads(loss, params, x), objects(x))

    return terms_of(ask, loss, x, 3)


def _scheduled(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
    loss = make(kind, params, shapes, device)
    for _ in range(params["updates"]):
        loss.update()
    return loss


def _e2e(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    result = loss(_two_heads(loss, params, x), objects(x))
    return (*vector(result, 3, None), *values_of(result[1]).unbind())


def _prompted(preds: Any, loss: Any, params: Mapping[str, Any], x: Mapping[str, Tensor], *more: str) -> Any:
    total, items = loss(preds, objects(x, *more))
    found = values_of(items)
    return (total if total.ndim == 0 else total.sum(), *found.unbind())


def _tvp_detect(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    edition = edition_of(loss)
    return _prompted(heads(params, edition, x["boxes"], _texts(edition, params, x["scores"])), loss, params, x)


def _texts(edition: str, params: Mapping[str, Any], scores: Tensor) -> Tensor:
    """Edition 8.3 has the scores of the text prompts before those of the visual prompts."""
    if edition != "8.3":
        return scores
    return torch.cat([scores.new_zeros(len(scores), params["ori_nc"], scores.shape[2]), scores], 1)


WITHOUT_SEMANTIC = 5  # edition 8.3 and the newest releases list no semantic item, whose value is 0


def _tvp_segment(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    scores = _texts(edition_of(loss), params, x["scores"])
    preds = _segment_heads(loss, params, {**x, "scores": scores})
    found = _prompted(preds, loss, params, x, "masks")
    return (*found, found[1] * 0) if len(found) == WITHOUT_SEMANTIC else found


# Methods ------------------------------------------------------------------------------------------------


def itself(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
    """The class: its static method is asked."""
    return kind


def _mask(kind: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    return kind.single_mask_loss(x["gt_mask"], x["pred"], x["proto"], x["xyxy"], x["area"])


def _kpts_decode(kind: Any, params: Mapping[str, Any], anchor_points: Tensor, pred_kpts: Tensor) -> Any:
    return kind.kpts_decode(anchor_points, pred_kpts)


def _angle(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    pred, target, weight, norm = x.values()
    every = torch.ones(len(pred), dtype=torch.bool, device=pred.device)
    return loss.calculate_angle_loss(pred, target, every, weight, norm, params["lambda_val"])


def _rle_keypoints(loss: Any, params: Mapping[str, Any], weights: Tensor, **x: Tensor) -> Any:
    """The weights are an attribute; the object that is kept keeps its own."""
    asked = copy.copy(loss)
    asked.target_weights = weights
    return asked.calculate_rle_loss(x["pred_kpt"], x["gt_kpt"], x["kpt_mask"])


def _on_plain_model(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
    """A method that reads nothing of the model still needs an object."""
    plain = {"strides": (8, 16, 32), "reg_max": 4, "box_gain": 1.0, "cls_gain": 1.0, "dfl_gain": 1.0}
    return make(kind, {**params, **plain}, {**shapes, "scores": (1, 1, 84)}, device)


def _with_flow(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
    return _on_plain_model(kind, {**params, "flow": True}, shapes, device)


_ON_MODELS = (
    Entry("v8_detection", "v8DetectionLoss", accepts(), make, _detection),
    Entry("v8_segmentation", "v8SegmentationLoss", accepts("overlap", "semantic"), make, _segmentation),
    Entry("v8_pose", "v8PoseLoss", accepts("pose_gain", "kobj_gain", "kpt_shape"), make, _pose(5)),
    Entry("pose26", "PoseLoss26", accepts("pose_gain", "kobj_gain", "rle_gain", "kpt_shape", "flow"), make, _pose(6)),
    Entry("v8_obb", "v8OBBLoss", accepts("angle_gain"), make, _obb),
    Entry("e2e_detect", "E2EDetectLoss", accepts(), make, _e2e_detect),
    Entry("e2e", "E2ELoss", accepts("updates", "epochs"), _scheduled, _e2e),
    Entry("tvp_detect", "TVPDetectLoss", accepts("ori_nc"), make, _tvp_detect),
    Entry("tvp_segment", "TVPSegmentLoss", accepts("ori_nc", "overlap"), make, _tvp_segment),
)
ENTRIES: tuple[Entry, ...] = (
    *(replace(entry, classes_at=ON_HEADS) for entry in _ON_MODELS),
    Entry("kpts_decode", "v8PoseLoss", lambda kind: (), itself, _kpts_decode, {"form": "v8"}, method="kpts_decode"),
    Entry("angle", "v8OBBLoss", lambda kind: ("lambda_val",), _on_plain_model, _angle, method="calculate_angle_loss"),
    Entry("rle_keypoints", "PoseLoss26", lambda kind: (), _with_flow, _rle_keypoints, method="calculate_rle_loss"),
    Entry("mask", "v8SegmentationLoss", lambda kind: (), itself, _mask, method="single_mask_loss"),
)
