"""Careless versions of the DETR loss, from dense targets layer by layer: spec/50-detr.md, table of mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lossref.core.declare import impostor
from lossref.core.nouns import Params, Target
from lossref.losses.classification.bce import bce
from lossref.losses.detr.matching import Costs, Matching, groups_of, match
from lossref.losses.overlap.bbox_iou import bbox_iou

Layers = list[list[Tensor]]  # class, L1 and GIoU of each layer


# The loss as published, in steps ------------------------------------------------------------------------


def cells(x: Tensor, y: Tensor, q: Tensor, p: Params) -> Tensor:
    """Class loss of every logit (b, q, c), for the one-hot y and the IoU in its place, q."""
    if not p["use_fl"]:
        return bce(x, q)
    return varifocal(x, y, q, p) if p["use_vfl"] else focal(x, y, p["gamma"], p["alpha"])


def focal(x: Tensor, y: Tensor, gamma: float, alpha: float) -> Tensor:
    """Focal loss of every logit."""
    p = x.sigmoid()
    balance = y * alpha + (1 - y) * (1 - alpha) if alpha > 0 else torch.ones_like(y)
    miss: Tensor = y * (1 - p) + (1 - y) * p
    return bce(x, y) * miss.pow(gamma) * balance


def varifocal(x: Tensor, y: Tensor, q: Tensor, p: Params) -> Tensor:
    """Varifocal loss of every logit."""
    gamma, alpha = (2.0, 0.75) if p["vfl_constants"] == "own" else (p["gamma"], p["alpha"])
    weight: Tensor = alpha * x.sigmoid().pow(gamma) * (1 - y) + q * y
    return bce(x, q) * (weight.detach() if p["vfl_weight_gradient"] == "detached" else weight)


def divisor(pairs: int, queries: int, p: Params) -> int:
    """What the class losses of a layer are divided by."""
    return pairs if p["use_fl"] else queries


def overlaps(pred: Tensor, target: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """IoU and GIoU (m, 1) of pairs xywh."""
    return bbox_iou(pred, target, eps=eps), bbox_iou(pred, target, GIoU=True, eps=eps)


def distance(pred: Tensor, target: Tensor) -> Tensor:
    """L1 of all pairs."""
    return (pred - target).abs().sum()


def summed(layers: Layers, zero: Tensor) -> list[Tensor]:
    """The auxiliary losses: sums over all layers but the last."""
    return [sum(parts, zero) for parts in zip(*layers[:-1], strict=True)] if layers[1:] else [zero] * 3


class Steps(NamedTuple):
    """What the loss does; each mistake puts another function in the place of one."""

    cells: Callable[[Tensor, Tensor, Tensor, Params], Tensor] = cells
    divisor: Callable[[int, int, Params], int] = divisor
    overlaps: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]] = overlaps
    quality: Callable[[Tensor], Tensor] = Tensor.detach
    distance: Callable[[Tensor, Tensor], Tensor] = distance
    aux: Callable[[Layers, Tensor], list[Tensor]] = summed


def layer_by_layer(steps: Steps) -> Callable[..., tuple[Tensor, ...]]:
    """The loss of these steps, layer by layer from dense targets."""

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
            layers.append(_layer(boxes, scores, cls, bboxes, one, params, steps))
        zero = pred_bboxes[:0].sum() + pred_scores[:0].sum()
        return (*layers[-1], *steps.aux(layers, zero))

    return loss


def _layer(
    boxes: Tensor, scores: Tensor, cls: Tensor, bboxes: Tensor, pairs: Matching, p: Params, steps: Steps
) -> list[Tensor]:
    image, query, which = pairs[:3]
    pred, target = boxes[image, query], bboxes[which]
    iou, giou = steps.overlaps(pred, target, p["eps"])
    label = torch.full(scores.shape[:2], scores.shape[2])
    label[image, query] = cls[which]
    y = one_hot(label, scores.shape[2] + 1)[..., :-1].to(scores)
    quality = torch.zeros(scores.shape[:2], dtype=scores.dtype)
    quality = quality.index_put((image, query), steps.quality(iou[:, 0]))
    count = max(len(query), 1)
    found = steps.cells(scores, y, quality[..., None] * y, p).sum() / steps.divisor(count, scores.shape[1], p)
    near, apart = steps.distance(pred, target), (1 - giou).sum()
    return [p["class_gain"] * found, p["bbox_gain"] * near / count, p["giou_gain"] * apart / count]


# Mistakes -----------------------------------------------------------------------------------------------


def over_queries(pairs: int, queries: int, p: Params) -> int:
    return queries


def focal_against_iou(x: Tensor, y: Tensor, q: Tensor, p: Params) -> Tensor:
    plain_focal = p["use_fl"] and not p["use_vfl"]
    return focal(x, q, p["gamma"], p["alpha"]) if plain_focal else cells(x, y, q, p)


def cross_entropy_against_one_hot(x: Tensor, y: Tensor, q: Tensor, p: Params) -> Tensor:
    return cells(x, y, q, p) if p["use_fl"] else bce(x, y)


def next_class(x: Tensor, y: Tensor, q: Tensor, p: Params) -> Tensor:
    return cells(x, y.roll(1, -1), q.roll(1, -1), p)


def background(place: int, x: Tensor, y: Tensor, q: Tensor, p: Params) -> Tensor:
    none = (y.sum(-1, keepdim=True) == 0).to(y)
    at = torch.zeros_like(y)
    at[..., place] = 1
    return cells(x, y + none * at, q, p)


def attached(iou: Tensor) -> Tensor:
    return iou


def mean_of_four(pred: Tensor, target: Tensor) -> Tensor:
    return distance(pred, target) / 4


def ciou_instead(pred: Tensor, target: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return bbox_iou(pred, target, eps=eps), bbox_iou(pred, target, CIoU=True, eps=eps)


def as_corners(pred: Tensor, target: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return bbox_iou(pred, target, xywh=False, eps=eps), bbox_iou(pred, target, xywh=False, GIoU=True, eps=eps)


def averaged(layers: Layers, zero: Tensor) -> list[Tensor]:
    return [x / max(len(layers) - 1, 1) for x in summed(layers, zero)]


def last_layer_too(layers: Layers, zero: Tensor) -> list[Tensor]:
    return summed([*layers, layers[-1]], zero)


def with_params(reference: Callable[..., Any], change: Callable[[Params], Params]) -> Callable[..., Any]:
    """The reference under changed parameters."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        return reference(*inputs, **{**params, **change(params)})

    return loss


def detr_impostors(reference: Callable[..., Any]) -> tuple[Target, ...]:
    """Rows of the table of mistakes."""
    steps: tuple[tuple[str, str, str, Mapping[str, Any]], ...] = (
        ("class over queries", "divided by q instead of the pairs", "value", {"divisor": over_queries}),
        ("focal against the IoU", "soft labels instead of the one-hot", "value", {"cells": focal_against_iou}),
        (
            "cross entropy against the one-hot",
            "without use_fl the target is the IoU",
            "value",
            {"cells": cross_entropy_against_one_hot},
        ),
        (
            "labels shifted",
            "class k + 1 learns the objects of class k, and class 0 the last ones",
            "value",
            {"cells": next_class},
        ),
        (
            "background as class 0",
            "queries without an object learn class 0",
            "value",
            {"cells": partial(background, 0)},
        ),
        (
            "background as the last class",
            "queries without an object learn the last class",
            "value",
            {"cells": partial(background, -1)},
        ),
        ("IoU attached", "gradient through the target", "gradient", {"quality": attached}),
        ("mean of four", "L1 averaged over the components", "value", {"distance": mean_of_four}),
        ("CIoU", "CIoU instead of GIoU", "value", {"overlaps": ciou_instead}),
        ("xyxy", "boxes taken as corners", "value", {"overlaps": as_corners}),
        ("aux averaged", "mean over the auxiliary layers", "value", {"aux": averaged}),
        ("aux with the last layer", "the last layer counts twice", "value", {"aux": last_layer_too}),
    )
    changed: tuple[tuple[str, str, str, Callable[[Params], Params]], ...] = (
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
        *(impostor(label, why, check, layer_by_layer(Steps(**step))) for label, why, check, step in steps),
        *(impostor(label, why, check, with_params(reference, change)) for label, why, check, change in changed),
    )
