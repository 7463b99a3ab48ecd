"""Careless versions of the DETR loss, from dense targets layer by layer: spec/50-detr.md, table of mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lossref.core.declare import impostor
from lossref.core.nouns import Target
from lossref.losses.classification.bce import bce
from lossref.losses.detr.layers import DetrLosses
from lossref.losses.detr.matching import Costs, Matching, groups_of, match
from lossref.losses.overlap.bbox_iou import bbox_iou

Reference = Callable[..., DetrLosses]


def _focal(x: Tensor, y: Tensor, gamma: float, alpha: float) -> Tensor:
    p = x.sigmoid()
    balance = y * alpha + (1 - y) * (1 - alpha) if alpha > 0 else torch.ones_like(y)
    miss: Tensor = y * (1 - p) + (1 - y) * p
    return bce(x, y) * miss.pow(gamma) * balance


def _class_cells(x: Tensor, y: Tensor, q: Tensor, params: Mapping[str, Any], how: str) -> Tensor:
    """The class loss of every logit (b, q, c), from dense targets."""
    if not params["use_fl"]:
        return bce(x, y if how == "cross entropy against the one-hot" else q)
    if not params["use_vfl"]:
        return _focal(x, q if how == "focal against the IoU" else y, params["gamma"], params["alpha"])
    gamma, alpha = (2.0, 0.75) if params["vfl_constants"] == "own" else (params["gamma"], params["alpha"])
    weight: Tensor = alpha * x.sigmoid().pow(gamma) * (1 - y) + q * y
    return bce(x, q) * (weight.detach() if params["vfl_weight_gradient"] == "detached" else weight)


def _layer(
    boxes: Tensor, scores: Tensor, cls: Tensor, bboxes: Tensor, pairs: Matching, params: Mapping[str, Any], how: str
) -> list[Tensor]:
    """One layer as published: dense one-hot targets, one mistake by name."""
    image, query, which = pairs
    pred, target = boxes[image, query], bboxes[which]
    xywh = how != "xyxy"
    iou = bbox_iou(pred, target, xywh, eps=params["eps"])[:, 0]
    giou = bbox_iou(pred, target, xywh, GIoU=how != "CIoU", CIoU=how == "CIoU", eps=params["eps"])
    label = torch.full(scores.shape[:2], scores.shape[2])
    label[image, query] = cls[which]
    y = one_hot(label, scores.shape[2] + 1)[..., :-1].to(scores)
    quality = torch.zeros(scores.shape[:2], dtype=scores.dtype).index_put(
        (image, query), iou if how == "IoU attached" else iou.detach()
    )
    count = max(len(query), 1)
    cells = _class_cells(scores, y, quality[..., None] * y, params, how)
    averaged = not params["use_fl"] or how == "class over queries"
    found = cells.sum() / (scores.shape[1] if averaged else count)
    near = (pred - target).abs().sum() / (4 if how == "mean of four" else 1)
    return [
        params["class_gain"] * found,
        params["bbox_gain"] * near / count,
        params["giou_gain"] * (1 - giou).sum() / count,
    ]


def careless(how: str) -> Callable[..., tuple[Tensor, ...]]:
    """The loss layer by layer from dense targets, right but for the mistake of that name."""

    def loss(
        pred_bboxes: Tensor, pred_scores: Tensor, batch_idx: Tensor, cls: Tensor, bboxes: Tensor, **params: Any
    ) -> tuple[Tensor, ...]:
        groups = groups_of(batch_idx, cls, pred_bboxes.shape[1])
        named = ("class_gain", "bbox_gain", "giou_gain", "alpha", "gamma")
        costs = Costs(**{name: params[f"matcher_{name}"] for name in named}, eps=params["eps"])
        layers = []
        for boxes, scores in zip(pred_bboxes, pred_scores, strict=True):
            pairs = match(boxes[None], scores[None], bboxes, cls, groups, costs)
            one = Matching(pairs.image, pairs.query[0], pairs.object[0])
            layers.append(_layer(boxes, scores, cls, bboxes, one, params, how))
        others = layers if how == "aux with the last layer" else layers[:-1]
        zero = pred_bboxes[:0].sum() + pred_scores[:0].sum()
        aux = [sum(parts, zero) for parts in zip(*others, strict=True)] if others else [zero] * 3
        if how == "aux averaged":
            aux = [x / max(len(others), 1) for x in aux]
        return (*layers[-1], *aux)

    return loss


def _with(reference: Reference, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Callable[..., Any]:
    def loss(*inputs: Tensor, **params: Any) -> Any:
        return reference(*inputs, **{**params, **change(params)})

    return loss


def detr_impostors(reference: Reference) -> tuple[Target, ...]:
    """Rows of the table of mistakes."""
    dense = (
        ("class over queries", "divided by q instead of the pairs", "value"),
        ("focal against the IoU", "soft labels instead of the one-hot", "value"),
        ("cross entropy against the one-hot", "without use_fl the target is the IoU", "value"),
        ("IoU attached", "gradient through the target", "gradient"),
        ("mean of four", "L1 averaged over the components", "value"),
        ("CIoU", "CIoU instead of GIoU", "value"),
        ("xyxy", "boxes taken as corners", "value"),
        ("aux averaged", "mean over the auxiliary layers", "value"),
        ("aux with the last layer", "the last layer counts twice", "value"),
    )
    changed: tuple[tuple[str, str, str, Callable[[Mapping[str, Any]], dict[str, Any]]], ...] = (
        ("objects counted", "divided by all objects", "value", lambda p: {"counted": "objects"}),
        ("varifocal when empty", "no switch to focal", "value", lambda p: {"vfl_empty": "varifocal"}),
        (
            "weight detached",
            "gradient of the varifocal weight missing",
            "gradient",
            lambda p: {"vfl_weight_gradient": "detached"},
        ),
        (
            "own defaults",
            "varifocal with 2.0 and 0.75",
            "value",
            lambda p: {"gamma": 2.0, "alpha": 0.75} if p["use_vfl"] else {},
        ),
        ("uni matching of the last", "index -1", "value", lambda p: {"uni_match_ind": -1 - p["uni_match_ind"]}),
    )
    return (
        *(impostor(label, why, check, careless(label)) for label, why, check in dense),
        *(impostor(label, why, check, _with(reference, change)) for label, why, check, change in changed),
    )
