"""Careless versions of the rotated detection loss: the reference with changed inputs, or with one step done wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.declare import impostor
from lossref.core.nouns import Target
from lossref.losses.box_terms.parts import distance_term
from lossref.losses.coordinates.bbox2dist import bbox2dist
from lossref.losses.coordinates.xywh2xyxy import xywh2xyxy
from lossref.losses.detection.batch import rows_at
from lossref.losses.detection.impostors import (
    Step,
    hard_targets,
    norm_not_raised,
    sorted_objects,
    with_inputs,
    with_step,
    without_images,
)
from lossref.losses.detection.settings import scene_of
from lossref.losses.obb.terms import SMALLEST, RotatedSettings, detect_rotated, in_cells

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


def _head_activation(x: Inputs, p: dict[str, Any]) -> Inputs:
    """The angle passes the head's activation once more."""
    return x._replace(angle=(x.angle.sigmoid() - 0.25) * math.pi)


def _upright_distances(s: Step) -> Any:
    """Distances to the sides of the unturned box, as releases up to 8.3 take them."""
    f, bins = s.found, s.p["reg_max"]
    box = xywh2xyxy(in_cells(f.target_boxes, f.stride)[:, :4])
    distance = bbox2dist(f.points, box, bins - 1 if bins > 1 else None)
    rows = rows_at(s.x.boxes, f.positives.image, f.positives.anchor)
    cost = distance_term(rows, distance, f.positives.score, f.norm, s.scene.grid.imgsz, f.stride, bins)
    return s.terms._replace(dfl=cost * s.p["dfl_gain"])


def _angle_term(cost: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Step], Any]:
    """Another cost of (difference of the angles, ln w/h of the target)."""

    def change(s: Step) -> Any:
        f = s.found
        turn = f.pred_boxes[:, 4] - f.target_boxes[:, 4]
        ratio = (f.target_boxes[:, 2] / f.target_boxes[:, 3]).log()
        return s.terms._replace(angle=(f.positives.score * cost(turn, ratio)).sum() / f.norm * s.p["angle_gain"])

    return change


def _single_turn(turn: Tensor, ratio: Tensor) -> Tensor:
    return turn.sin() ** 2 * (-(ratio**2) / 9).exp()


def _any_aspect(turn: Tensor, ratio: Tensor) -> Tensor:
    return (2 * turn).sin() ** 2


def _no_angle_term(s: Step) -> Any:
    return s.terms._replace(angle=0 * s.terms.angle)


def _step(*inputs: Tensor, **params: Any) -> Step:
    x, own = Inputs(*inputs), RotatedSettings._fields
    rest = {name: value for name, value in params.items() if name not in own}
    scene = scene_of((x.boxes, x.scores, x.angle), (x.batch_idx, x.cls, x.bboxes), metric_overlap="probiou", **rest)
    rotated = RotatedSettings(*(params[name] for name in own))
    return Step(x, scene, *detect_rotated(x.boxes, x.scores, x.angle, scene, rotated), params)


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
    given, changed = partial(with_inputs, reference, Inputs), partial(with_step, _step)
    return (
        impostor("sides exchanged in the filter", "w H and h W", "value", given(_filtered_with_exchanged_sides)),
        impostor("strict filter", "sides of exactly 2 pixels are dropped", "value", given(_filtered_strictly)),
        impostor("degrees", "predicted angles taken for degrees", "value reduced", given(_degrees)),
        impostor("activated twice", "the head's activation applied again", "value", given(_head_activation)),
        impostor("angles ignored", "upright boxes", "value reduced", given(_angles_ignored)),
        impostor("sorted objects", "objects are taken to be sorted by image", "rare", given(sorted_objects)),
        impostor("always enlarged", "small sides in overlap and targets (QA12)", "value", _always_enlarged(reference)),
        impostor("S not raised", "S below 1 is used as it is", "value", changed(norm_not_raised)),
        impostor("upright distances", "distances of the unturned box", "value reduced", changed(_upright_distances)),
        impostor("sin(d)", "not of twice the difference", "value reduced", changed(_angle_term(_single_turn))),
        impostor(
            "no aspect factor", "elongated targets count fully", "value reduced", changed(_angle_term(_any_aspect))
        ),
        impostor("no angle term", "three terms, as up to 8.3", "value reduced", changed(_no_angle_term)),
        impostor("hard targets", "1 instead of the soft target", "value reduced", changed(hard_targets)),
        impostor("factor b forgotten", "the items instead of the loss", "value reduced", changed(without_images)),
        impostor("another order", "box, angle, cls, dfl", "value reduced", _another_order(reference)),
    )
