"""What a set-prediction loss is made of: classification, L1 and GIoU of all decoder layers at once.

The dense class targets are zero but in one class of each matched query, so they are never built: the logits go
through one pass as if nothing were matched, and the matched ones are put in place. Sources differ on what
`Rule` names. Source: spec/50-detr.md section 1, spec/05-decisions.md D8 to D11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid

from lossref.core.precision import compute_dtype
from lossref.losses.assignment.static.form import form_of
from lossref.losses.classification.bce import bce
from lossref.losses.detr.matching import Matching, require_predictions
from lossref.losses.overlap.bbox_iou import giou_of, overlap

OWN = (2.0, 0.75)  # gamma and alpha of varifocal loss by itself


class Rule(NamedTuple):
    """Gains and formulas.

    use_fl, use_vfl: focal, varifocal (both set) or plain cross entropy (use_fl not set)
    vfl_weight_gradient: "attached" or "detached", whether the weight of varifocal has a gradient
    vfl_empty: "focal" or "varifocal", what use_vfl means where nothing is matched
    vfl_constants: varifocal takes gamma and alpha as "given", or its "own" 2.0 and 0.75 (releases up to 8.3.110)
    counted: "pairs" or "objects", what the sums are divided by
    """

    class_gain: float = 1.0
    bbox_gain: float = 5.0
    giou_gain: float = 2.0
    use_fl: bool = True
    use_vfl: bool = False
    gamma: float = 1.5
    alpha: float = 0.25
    eps: float = 1e-7
    vfl_weight_gradient: str = "attached"
    vfl_empty: str = "focal"
    vfl_constants: str = "given"
    counted: str = "pairs"


class Layers(NamedTuple):
    """The three losses of L decoder layers, gains included, each (L,)."""

    class_: Tensor
    bbox: Tensor
    giou: Tensor


def layer_losses(
    pred_bboxes: Tensor, pred_scores: Tensor, gt_bboxes: Tensor, gt_cls: Tensor, found: Matching, rule: Rule
) -> Layers:
    """Losses of the layers of pred_bboxes (L, b, q, 4), pred_scores (L, b, q, c) under a matching.

    In the promoted dtype of the predictions, at least float32. A class id equal to c counts as unmatched,
    others outside raise RuntimeError.
    """
    require_predictions(pred_bboxes, pred_scores)
    dtype, _ = compute_dtype(pred_bboxes, pred_scores, gt_bboxes)
    result, _ = compute_dtype(pred_bboxes, pred_scores)
    layers = torch.arange(len(pred_bboxes), device=pred_bboxes.device)[:, None]
    grid = found.image * pred_scores.shape[2] + found.query
    label = (gt_cls if found.cls is None else found.cls).cpu()[found.object].long()
    indices = (found.image, found.query, found.object, *places(grid, label, pred_scores.shape[-1]))
    image, query, which, *matched = _moved(pred_bboxes.device, *indices)
    pred = pred_bboxes[layers, image, query].to(dtype)
    near, apart, iou = box_sums(pred, gt_bboxes[which].to(dtype), rule)
    pairs = query.shape[1]
    count = max(pairs if rule.counted == "pairs" else len(gt_cls), 1)
    sums = class_sums(pred_scores.to(dtype), matched, iou.detach(), pairs, count, rule)
    gains = (rule.class_gain, rule.bbox_gain / count, rule.giou_gain / count)
    return Layers(*((gain * x).to(result) for gain, x in zip(gains, (sums, near, apart), strict=True)))


def box_sums(pred: Tensor, target: Tensor, rule: Rule) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of |difference| and of 1 - GIoU over pairs (..., m, 4) xywh; and the IoU (..., m)."""
    terms = overlap(pred, target, True, rule.eps)
    near = (pred - target).abs().flatten(-2).sum(-1)
    return near, (1 - giou_of(terms, rule.eps)).sum(-1), terms.iou


def _moved(device: torch.device, *indices: Tensor) -> list[Tensor]:
    """The indices on a device, by one copy, which the host does not wait for."""
    if all(x.device == device for x in indices):
        return list(indices)
    together = torch.cat([x.flatten() for x in indices]).to(device, non_blocking=True)
    parts = together.split([x.numel() for x in indices])
    return [part.reshape(x.shape) for part, x in zip(parts, indices, strict=True)]


def places(grid: Tensor, label: Tensor, classes: int) -> tuple[Tensor, ...]:
    """Where the matched logits are: (L, m) numbers of a layer's logits, for grid (L, m) = image * q + query.

    Where a label (L, m) is `classes`, which counts as unmatched, fewer; then which of the m there are, too.
    RuntimeError for other labels that are no class.
    """
    if bool(((label < 0) | (label > classes)).any()):
        raise RuntimeError(f"class ids: expected 0 to {classes}, where {classes} is none, got {label.tolist()}")
    # Class ids equal to c come with given pairs only, the same pairs for every layer.
    kept = (label < classes).all(0)
    place = grid * classes + label
    return (place,) if bool(kept.all()) else (place[:, kept], kept.nonzero()[:, 0])


def class_sums(
    scores: Tensor, matched: Sequence[Tensor], quality: Tensor, pairs: int, count: int, rule: Rule
) -> Tensor:
    """Class loss of L layers without its gain, (L,).

    scores (L, b, q, c) logits, `matched` what `places` gives, quality (L, m) in [0, 1] without gradient. `pairs`
    decides between varifocal and focal loss.
    """
    place, *kept = matched
    quality = quality.index_select(1, kept[0]) if kept else quality
    varifocal = rule.use_fl and rule.use_vfl and (pairs > 0 or rule.vfl_empty == "varifocal")
    kind = "varifocal" if varifocal else "focal" if rule.use_fl else "bce"
    sums: Tensor = _Sparse.apply(scores.flatten(1), place, quality, kind, rule)  # type: ignore[no-untyped-call]
    return sums / (count if rule.use_fl else max(scores.shape[2], 1))


class _Sparse(torch.autograd.Function):
    """Sums over (L, k) logits, of which (L, m) are matched; value and slope come from the same pass."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, place: Tensor, quality: Tensor, kind: str, rule: Rule) -> Tensor:
        gamma, ctx.weight = _background(kind, rule)
        attached = kind != "varifocal" or rule.vfl_weight_gradient == "attached"
        slope = torch.empty_like(logits) if ctx.needs_input_grad[0] else logits[:, :0]
        sums = logits.new_zeros(len(logits))
        if form_of(logits) == "static":
            torch.sum(_unmatched(logits, gamma, attached, slope).scatter_(1, place, 0), 1, out=sums)
        else:  # layer by layer, so that what is in between stays in the cache
            for x, at, out, total in zip(logits, place, slope, sums, strict=True):
                value = _unmatched(x, gamma, attached, out)
                torch.sum(value.index_fill_(0, at, 0), 0, out=total)
        value, steep = _matched(logits.gather(1, place), quality, kind, rule)
        ctx.save_for_backward(slope, place, steep)
        return torch.add(value.sum(1), sums, alpha=ctx.weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, flow: Tensor) -> tuple[Tensor | None, ...]:
        slope, place, steep = ctx.saved_tensors
        result: Tensor = slope * (ctx.weight * flow)[:, None]
        result.scatter_(1, place, steep * flow[:, None])
        return result, None, None, None, None


def _background(kind: str, rule: Rule) -> tuple[float, float]:
    """Exponent and weight of an unmatched logit."""
    if kind == "bce":
        return 0.0, 1.0
    if kind == "varifocal" and rule.vfl_constants == "own":
        return OWN
    return rule.gamma, rule.alpha if kind == "varifocal" else _weights(rule.alpha)[1]


def _weights(alpha: float) -> tuple[float, float]:
    """Weights of matched and unmatched logits in the focal loss; alpha <= 0 means none."""
    return (alpha, 1 - alpha) if alpha > 0 else (1.0, 1.0)


def _unmatched(x: Tensor, gamma: float, attached: bool, slope: Tensor) -> Tensor:
    """p^gamma softplus(x), p = sigmoid(x); its derivative goes into `slope` unless that is empty."""
    cost = logsigmoid(x.neg()).neg_()
    p = x.sigmoid()
    factor = _power(p, gamma)
    if slope.numel():
        if attached and gamma:
            torch.mul(cost, 1 - p, out=slope).mul_(gamma).add_(p).mul_(factor)
        else:
            torch.mul(p, factor, out=slope)
    return cost.mul_(factor)


def _power(p: Tensor, gamma: float) -> Tensor:
    """p^gamma; the default exponent by a square root, several times faster than `pow`."""
    return p.sqrt().mul_(p) if gamma == 1.5 else p.pow(gamma)


def _matched(x: Tensor, quality: Tensor, kind: str, rule: Rule) -> tuple[Tensor, Tensor]:
    """Value and slope of matched logits (L, m)."""
    if kind == "focal":
        slope, alpha = torch.empty_like(x), _weights(rule.alpha)[0]
        value = _unmatched(-x, rule.gamma, True, slope)
        return alpha * value, -alpha * slope
    weight = quality if kind == "varifocal" else torch.ones_like(quality)
    return weight * bce(x, quality), weight * (x.sigmoid() - quality)
