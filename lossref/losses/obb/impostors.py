"""Careless versions of the rotated detection loss: the reference with changed inputs, or with one step done wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.declare import impostor
from lossref.core.nouns import Target
from lossref.losses.box_terms.parts import distance_term
from lossref.losses.coordinates.bbox2dist import bbox2dist
from lossref.losses.coordinates.xywh2xyxy import xywh2xyxy
from lossref.losses.detection.batch import class_indices, feats_of, grid_of, rows_at, targets_of
from lossref.losses.detection.terms import Found, class_cost, matching_of
from lossref.losses.obb.terms import (
    SMALLEST,
    RotatedGains,
    RotatedRules,
    RotatedTerms,
    detect_rotated,
    in_cells,
)

Detection = Callable[..., Any]


class Inputs(NamedTuple):
    """What the loss is given."""

    boxes: Tensor
    scores: Tensor
    angle: Tensor
    batch_idx: Tensor
    cls: Tensor
    bboxes: Tensor


def _kept(x: Inputs, keep: Tensor) -> Inputs:
    return x._replace(batch_idx=x.batch_idx[keep], cls=x.cls[keep], bboxes=x.bboxes[keep])


def _sides_in_pixels(x: Inputs, p: dict[str, Any], exchanged: bool = False) -> Tensor:
    height, width = p["imgsz"]
    return x.bboxes[:, 2:4] * x.bboxes.new_tensor([height, width] if exchanged else [width, height])


def _filtered_with_exchanged_sides(x: Inputs, p: dict[str, Any]) -> Inputs:
    """Drops by w H and h W; what the right filter drops is made just large enough to stay."""
    height, width = p["imgsz"]
    x = _kept(x, (_sides_in_pixels(x, p, exchanged=True) >= SMALLEST).all(1))
    least = x.bboxes.new_tensor([SMALLEST / width, SMALLEST / height])
    return x._replace(bboxes=torch.cat([x.bboxes[:, :2], x.bboxes[:, 2:4].maximum(least), x.bboxes[:, 4:]], 1))


def _filtered_strictly(x: Inputs, p: dict[str, Any]) -> Inputs:
    return _kept(x, (_sides_in_pixels(x, p) > SMALLEST).all(1))


def _degrees(x: Inputs, p: dict[str, Any]) -> Inputs:
    return x._replace(angle=x.angle * (math.pi / 180))


def _angles_ignored(x: Inputs, p: dict[str, Any]) -> Inputs:
    return x._replace(angle=0 * x.angle, bboxes=torch.cat([x.bboxes[:, :4], 0 * x.bboxes[:, 4:]], 1))


def _sorted_objects(x: Inputs, p: dict[str, Any]) -> Inputs:
    return x._replace(batch_idx=x.batch_idx.sort().values)


def _head_activation(x: Inputs, p: dict[str, Any]) -> Inputs:
    """The angle passes the head's activation once more."""
    return x._replace(angle=(x.angle.sigmoid() - 0.25) * math.pi)


def with_inputs(reference: Detection, change: Callable[[Inputs, dict[str, Any]], Inputs]) -> Detection:
    """The reference, asked about changed inputs."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        return reference(*change(Inputs(*inputs), params), **params)

    return loss


class Step(NamedTuple):
    """Everything at hand after the assignment; terms carry gains, not the factor b."""

    x: Inputs
    found: Found
    terms: RotatedTerms
    p: dict[str, Any]
    imgsz: tuple[float, float]


def _norm_not_raised(s: Step) -> RotatedTerms:
    factor = s.found.norm / s.found.positives.score.sum()
    return RotatedTerms(*(term * factor for term in s.terms))


def _upright_distances(s: Step) -> RotatedTerms:
    """Distances to the sides of the unturned box, as releases up to 8.3 take them."""
    f, bins = s.found, s.p["reg_max"]
    box = xywh2xyxy(in_cells(f.target_boxes, f.stride)[:, :4])
    distance = bbox2dist(f.points, box, bins - 1 if bins > 1 else None)
    rows = rows_at(s.x.boxes, f.positives.image, f.positives.anchor)
    cost = distance_term(rows, distance, f.positives.score, f.norm, s.imgsz, f.stride, bins)
    return s.terms._replace(dfl=cost * s.p["dfl_gain"])


def _angle_term(cost: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Step], RotatedTerms]:
    """Another cost of (difference of the angles, ln w/h of the target)."""

    def change(s: Step) -> RotatedTerms:
        f = s.found
        turn = f.pred_boxes[:, 4] - f.target_boxes[:, 4]
        ratio = (f.target_boxes[:, 2] / f.target_boxes[:, 3]).log()
        return s.terms._replace(angle=(f.positives.score * cost(turn, ratio)).sum() / f.norm * s.p["angle_gain"])

    return change


def _no_angle_term(s: Step) -> RotatedTerms:
    return s.terms._replace(angle=0 * s.terms.angle)


def _hard_targets(s: Step) -> RotatedTerms:
    sure = s.found.positives._replace(score=torch.ones_like(s.found.positives.score))
    labels = class_indices(s.found.truth[..., 0], s.x.scores.shape[1])
    cost = class_cost(s.x.scores, labels, sure, s.found.norm.dtype)
    return s.terms._replace(cls=cost / s.found.norm * s.p["cls_gain"])


def _without_images(s: Step) -> RotatedTerms:
    return RotatedTerms(*(term / max(len(s.x.boxes), 1) for term in s.terms))


def with_step(change: Callable[[Step], RotatedTerms]) -> Detection:
    """The reference with its terms changed after the assignment."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        x, p = Inputs(*inputs), dict(params)
        gains = RotatedGains(*(p[name] for name in _GAINS))
        rest = {name: value for name, value in p.items() if name not in ("imgsz", "reg_max", *_GAINS, *_SIZES)}
        matching = matching_of(**rest, ciou_alpha="detached", metric_overlap="probiou")
        grid = grid_of(feats_of(p["imgsz"], p["strides"], x.boxes), p["strides"], x.boxes, x.scores, x.angle)
        targets = targets_of(x.batch_idx, x.cls, x.bboxes, grid.points.dtype)
        rules = RotatedRules(*(p[name] for name in _SIZES))
        found, terms = detect_rotated(*x[:3], targets, grid, p["reg_max"], matching, gains, rules)
        return RotatedTerms(*(term * len(x.boxes) for term in change(Step(x, found, terms, p, grid.imgsz))))

    return loss


_GAINS = ("box_gain", "cls_gain", "dfl_gain", "angle_gain")
_SIZES = ("small_rboxes", "cov_floor")


def _always_enlarged(reference: Detection) -> Detection:
    def loss(*inputs: Tensor, **params: Any) -> Any:
        return reference(*inputs, **{**params, "small_rboxes": "enlarged"})

    return loss


def _another_order(reference: Detection) -> Detection:
    def loss(*inputs: Tensor, **params: Any) -> Any:
        box, cls, dfl, angle = reference(*inputs, **params)
        return box, angle, cls, dfl

    return loss


def impostors(reference: Detection) -> tuple[Target, ...]:
    """The impostors of v8_obb."""
    of, how = with_inputs, with_step
    sharp, weak = (lambda d, r: d.sin() ** 2 * (-(r**2) / 9).exp()), (lambda d, r: (2 * d).sin() ** 2)
    return (
        impostor(
            "sides exchanged in the filter", "w H and h W", "value", of(reference, _filtered_with_exchanged_sides)
        ),
        impostor("strict filter", "sides of exactly 2 pixels are dropped", "value", of(reference, _filtered_strictly)),
        impostor("degrees", "predicted angles taken for degrees", "value reduced", of(reference, _degrees)),
        impostor("activated twice", "the head's activation applied again", "value", of(reference, _head_activation)),
        impostor("angles ignored", "upright boxes", "value reduced", of(reference, _angles_ignored)),
        impostor("sorted objects", "objects are taken to be sorted by image", "rare", of(reference, _sorted_objects)),
        impostor("always enlarged", "small sides in overlap and targets (QA12)", "value", _always_enlarged(reference)),
        impostor("S not raised", "S below 1 is used as it is", "value", how(_norm_not_raised)),
        impostor("upright distances", "distances of the unturned box", "value reduced", how(_upright_distances)),
        impostor("sin(d)", "not of twice the difference", "value reduced", how(_angle_term(sharp))),
        impostor("no aspect factor", "elongated targets count fully", "value reduced", how(_angle_term(weak))),
        impostor("no angle term", "three terms, as up to 8.3", "value reduced", how(_no_angle_term)),
        impostor("hard targets", "1 instead of the soft target", "value reduced", how(_hard_targets)),
        impostor("factor b forgotten", "the items instead of the loss", "value reduced", how(_without_images)),
        impostor("another order", "box, angle, cls, dfl", "value reduced", _another_order(reference)),
    )
