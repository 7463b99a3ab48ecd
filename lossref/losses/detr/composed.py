"""The DETR losses from their parts, layer by layer: what is computed where a part or a method was replaced.

The class targets are dense here, and every layer has a call of its own; the numbers are those of `terms.py` while the
parts are equal ones. Source: spec/50-detr.md sections 1.1, 1.5 to 1.7 and 1.11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lossref.core.precision import compute_dtype
from lossref.losses.classification.bce import bce, sum_of_means
from lossref.losses.classification.focal import FocalLoss
from lossref.losses.classification.replaced import kind_of, own
from lossref.losses.classification.varifocal import VarifocalLoss
from lossref.losses.detr.hungarian import HungarianMatcher
from lossref.losses.detr.terms import class_sums, places
from lossref.losses.overlap.bbox_iou import bbox_iou

NAMES = ("loss_class", "loss_bbox", "loss_giou")
MATCHER, FOCAL, VARIFOCAL = kind_of(HungarianMatcher), kind_of(FocalLoss), kind_of(VarifocalLoss)


def other_part(loss: Any) -> str:
    """The first of `matcher`, `fl` and `vfl` that is not as the constructor made it, or nothing."""
    if not own(loss.matcher, MATCHER):
        return "matcher"
    given, fl, vfl = (loss._gamma, loss._alpha), loss.fl, loss.vfl
    if fl is not None and not (own(fl, FOCAL) and _same((fl.gamma, fl.weight()), given)):
        return "fl"
    if vfl is not None and not (own(vfl, VARIFOCAL) and _same((vfl.gamma, vfl.alpha), given)):
        return "vfl"
    return ""


def _same(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    """Whether gamma and alpha are the same objects or equal numbers."""
    return all(a is b or (type(a) is float and a == b) for a, b in zip(one, other, strict=True))


def all_layers(
    loss: Any, pred_bboxes: Tensor, pred_scores: Tensor, batch: Mapping[str, Any], postfix: str, given: Any
) -> dict[str, Any]:
    """What `forward` gives, by `_get_loss` and `_get_loss_aux`."""
    objects = batch["bboxes"], batch["cls"], batch["gt_groups"]
    found = loss._get_loss(pred_bboxes[-1], pred_scores[-1], *objects, postfix=postfix, match_indices=given)
    if not loss.aux_loss:
        return dict(found)
    return {**found, **loss._get_loss_aux(pred_bboxes[:-1], pred_scores[:-1], *objects, given, postfix)}


def auxiliary_layers(
    loss: Any, pred_bboxes: Tensor, pred_scores: Tensor, objects: Sequence[Any], given: Any, postfix: str
) -> dict[str, Tensor]:
    """What `_get_loss_aux` gives: sums of what `_get_loss` gives for each layer (b, q, .)."""
    if given is None and loss.use_uni_match:
        given = loss.matcher(pred_bboxes[loss.uni_match_ind], pred_scores[loss.uni_match_ind], *objects)
    total = {f"{name}_aux{postfix}": pred_bboxes[:0].sum() + pred_scores[:0].sum() for name in NAMES}
    for bboxes, scores in zip(pred_bboxes, pred_scores, strict=True):
        found = loss._get_loss(bboxes, scores, *objects, postfix=postfix, match_indices=given)
        for name in NAMES:
            total[f"{name}_aux{postfix}"] = total[f"{name}_aux{postfix}"] + found[f"{name}{postfix}"]
    return total


def one_layer(
    loss: Any, pred_bboxes: Tensor, pred_scores: Tensor, objects: Sequence[Any], given: Any, postfix: str
) -> dict[str, Any]:
    """What `_get_loss` gives for predictions (b, q, .): class, L1 and GIoU loss of the matched pairs."""
    gt_bboxes, gt_cls, _ = objects
    if given is None:
        given = loss.matcher(pred_bboxes, pred_scores, *objects)
    (image, query), which = loss._get_index(given)
    image, query, which = (x.to(pred_scores.device) for x in (image, query, which))
    dtype, _ = compute_dtype(pred_bboxes, pred_scores, gt_bboxes)
    pred, true = pred_bboxes[image, query].to(dtype), gt_bboxes[which].to(dtype)
    targets = torch.full(pred_scores.shape[:2], loss.nc, dtype=torch.int64, device=pred_scores.device)
    targets[image, query] = gt_cls[which].long()
    quality = pred.new_zeros(targets.shape)
    quality[image, query] = bbox_iou(pred.detach(), true, xywh=True)[:, 0]
    classes = loss._get_loss_class(pred_scores.to(dtype), targets, quality, len(true), postfix)
    found = {**classes, **loss._get_loss_bbox(pred, true, postfix)}
    result, _ = compute_dtype(pred_bboxes, pred_scores)
    path = pred_bboxes[:0].sum().to(result) + pred_scores[:0].sum().to(result)  # a gradient for all (D10)
    return {name: torch.as_tensor(x, device=path.device).to(result) + path for name, x in found.items()}


def class_cost(loss: Any, pred_scores: Tensor, targets: Tensor, quality: Tensor, pairs: int) -> Any:
    """Class loss of logits (b, q, c) without its gain; targets (b, q) are c where unmatched, quality (b, q)."""
    dtype, _ = compute_dtype(pred_scores, quality)
    scores, quality = pred_scores.to(dtype), quality.to(dtype)
    if other_part(loss):
        return by_parts(loss, scores, targets, quality, pairs)
    grid = (targets.flatten() != loss.nc).nonzero()[:, 0][None]
    label, matched = targets.flatten()[grid], quality.flatten()[grid]
    at = places(grid, label, loss.nc)
    return class_sums(scores[None], at, matched, pairs, max(pairs, 1), loss._rule())[0]


def by_parts(loss: Any, scores: Tensor, targets: Tensor, quality: Tensor, pairs: int) -> Any:
    """`class_cost` by `fl` and `vfl`."""
    hard = one_hot(targets, loss.nc + 1)[..., :-1]
    soft = (quality[..., None] * hard).to(scores.dtype)
    if loss.fl is None:
        return sum_of_means(bce(scores, soft))
    varifocal = pairs > 0 and loss.vfl is not None
    cost = loss.vfl(scores, soft, hard) if varifocal else loss.fl(scores, hard.to(scores.dtype))
    return cost * targets.shape[1] / max(pairs, 1)
