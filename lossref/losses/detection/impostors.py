"""Careless versions of the detection loss: the reference with changed inputs, or with one step done wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.declare import impostor
from lossref.core.nouns import Target
from lossref.losses.box_terms.bbox import bbox_terms
from lossref.losses.detection.batch import class_indices, feats_of, grid_of, rows_at, targets_of
from lossref.losses.detection.terms import Found, Gains, Terms, class_cost, detect, matching_of
from lossref.losses.overlap.ciou import ciou

Detection = Callable[..., Any]


class Inputs(NamedTuple):
    """What the loss is given."""

    boxes: Tensor
    scores: Tensor
    batch_idx: Tensor
    cls: Tensor
    bboxes: Tensor


def _sorted_objects(x: Inputs, p: dict[str, Any]) -> Inputs:
    return x._replace(batch_idx=x.batch_idx.sort().values)


def _foreign_kept(x: Inputs, p: dict[str, Any]) -> Inputs:
    return x._replace(batch_idx=x.batch_idx.clamp(0, len(x.boxes) - 1).floor())


def _sides_exchanged(x: Inputs, p: dict[str, Any]) -> Inputs:
    height, width = p["imgsz"]
    return x._replace(bboxes=x.bboxes * x.bboxes.new_tensor([height / width, width / height] * 2))


def _bins_first(x: Inputs, p: dict[str, Any]) -> Inputs:
    return x._replace(boxes=torch.unflatten(x.boxes, 1, (p["reg_max"], 4)).transpose(1, 2).flatten(1, 2))


def _anchors_by_column(x: Inputs, p: dict[str, Any]) -> Inputs:
    height, width = p["imgsz"]
    order: list[int] = []
    for s in p["strides"]:
        cells = torch.arange((height // s) * (width // s)).reshape(width // s, height // s) + len(order)
        order += cells.t().flatten().tolist()
    return x._replace(boxes=x.boxes[..., order], scores=x.scores[..., order])


def with_inputs(reference: Detection, change: Callable[[Inputs, dict[str, Any]], Inputs]) -> Detection:
    """The reference, asked about changed inputs."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        return reference(*change(Inputs(*inputs), params), **params)

    return loss


class Step(NamedTuple):
    """Everything at hand after the assignment; terms carry gains, not the factor b."""

    x: Inputs
    found: Found
    terms: Terms
    p: dict[str, Any]
    imgsz: tuple[float, float]


def _norm_not_raised(s: Step) -> Terms:
    factor = s.found.norm / s.found.positives.score.sum()
    return Terms(*(term * factor for term in s.terms))


def _by_positives(s: Step) -> Terms:
    factor = s.found.norm / max(len(s.found.positives.score), 1)
    return Terms(*(term * factor for term in s.terms))


def _mean_over_classes(s: Step) -> Terms:
    return s.terms._replace(cls=s.terms.cls * s.found.norm / s.x.scores.numel())


def _hard_targets(s: Step) -> Terms:
    sure = s.found.positives._replace(score=torch.ones_like(s.found.positives.score))
    labels = class_indices(s.found.truth[..., 0], s.x.scores.shape[1])
    cost = class_cost(s.x.scores, labels, sure, s.found.norm.dtype)
    return s.terms._replace(cls=cost / s.found.norm * s.p["cls_gain"])


def _first_stride(s: Step) -> Terms:
    """Target boxes in cells of the first level, whatever the level of the anchor."""
    target = s.found.target_boxes / float(s.p["strides"][0])
    rows = rows_at(s.x.boxes, s.found.positives.image, s.found.positives.anchor)
    box, dfl = bbox_terms(
        rows,
        s.found.pred_boxes,
        s.found.points,
        target,
        s.found.positives.score,
        s.found.norm,
        s.imgsz,
        s.found.stride,
        s.p["reg_max"],
        ciou_alpha=s.p["ciou_alpha"],
    )
    return s.terms._replace(box=box * s.p["box_gain"], dfl=dfl * s.p["dfl_gain"])


def _targets_attached(s: Step) -> Terms:
    """The target scores follow the overlap, and are differentiated."""
    f = s.found
    own = ciou(f.target_boxes / f.stride, f.pred_boxes)
    ratio = own / own.detach()
    weight = f.positives.score * torch.where(ratio.isnan(), 1.0, ratio)
    loss = (weight * (1 - ciou(f.pred_boxes, f.target_boxes / f.stride, s.p["ciou_alpha"]))).sum() / f.norm
    return s.terms._replace(box=loss * s.p["box_gain"])


def _without_images(s: Step) -> Terms:
    return Terms(*(term / max(len(s.x.boxes), 1) for term in s.terms))


def with_step(change: Callable[[Step], Terms]) -> Detection:
    """The reference with its terms changed after the assignment."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        x, p = Inputs(*inputs), dict(params)
        gains = Gains(p["box_gain"], p["cls_gain"], p["dfl_gain"])
        rest = {name: value for name, value in p.items() if name not in ("imgsz", "reg_max", *_GAINS)}
        grid = grid_of(feats_of(p["imgsz"], p["strides"], x.boxes), p["strides"], x.boxes, x.scores)
        targets = targets_of(x.batch_idx, x.cls, x.bboxes, grid.points.dtype)
        found, terms = detect(x.boxes, x.scores, targets, grid, p["reg_max"], matching_of(**rest), gains)
        return Terms(*(term * len(x.boxes) for term in change(Step(x, found, terms, p, grid.imgsz))))

    return loss


_GAINS = ("box_gain", "cls_gain", "dfl_gain")


def _no_path(reference: Detection) -> Detection:
    """Constant zeros without positives, from which no gradient comes."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        box, cls, dfl = reference(*inputs, **params)
        return (box, cls, dfl) if box.item() or dfl.item() else (box.detach(), cls, dfl.detach())

    return loss


def _another_order(reference: Detection) -> Detection:
    def loss(*inputs: Tensor, **params: Any) -> Any:
        box, cls, dfl = reference(*inputs, **params)
        return box, dfl, cls

    return loss


def impostors(reference: Detection) -> tuple[Target, ...]:
    """The impostors of a spec whose reference returns box, cls and dfl."""
    of = with_inputs
    return (
        impostor("sorted objects", "objects are taken to be sorted by image", "rare", of(reference, _sorted_objects)),
        impostor(
            "foreign kept", "an index out of range counts for the nearest image", "rare", of(reference, _foreign_kept)
        ),
        impostor("W and H exchanged", "targets scaled by (H, W, H, W)", "value", of(reference, _sides_exchanged)),
        impostor("bins first", "channels read as (R, 4)", "value reduced", of(reference, _bins_first)),
        impostor("anchors by column", "column-major anchors", "value reduced laws", of(reference, _anchors_by_column)),
        impostor("S not raised", "S below 1 is used as it is", "value", with_step(_norm_not_raised)),
        impostor("by positives", "divided by the number of positives", "value reduced", with_step(_by_positives)),
        impostor("mean over classes", "mean of the cross entropies", "value reduced", with_step(_mean_over_classes)),
        impostor("hard targets", "1 instead of the soft target", "value reduced", with_step(_hard_targets)),
        impostor("first stride", "targets divided by stride[0] on all levels", "reduced", with_step(_first_stride)),
        impostor("targets attached", "gradient through the target scores", "reduced", with_step(_targets_attached)),
        impostor("factor b forgotten", "the items instead of the loss", "value reduced", with_step(_without_images)),
        impostor("no path", "constants without positives: gradient None", "connected", _no_path(reference)),
        impostor("another order", "box, dfl, cls", "value reduced", _another_order(reference)),
    )
