"""The rotated detection loss in tables of fixed size, as lossref/losses/detection/terms/static.py is for upright boxes.

An object with a side below 2 pixels stays in its slot and is absent. Source: spec/40-yolo.md section 5.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossref.core.precision import as_it_is, compute_dtype
from lossref.losses.assignment.rotated_task_aligned import enlarged_boxes
from lossref.losses.assignment.static.inside import inside_rotated
from lossref.losses.assignment.static.slots import slots_of, table_of
from lossref.losses.box_terms.angle import angle_loss
from lossref.losses.box_terms.rotated_bbox import geometry_of
from lossref.losses.box_terms.slot_terms import mean_bins, slot_terms
from lossref.losses.coordinates.dist2rbox import dist2rbox
from lossref.losses.detection.batch import Grid, rows_at
from lossref.losses.detection.settings import Matching, Scene
from lossref.losses.detection.terms.parts import Found, require_targets, scale_of
from lossref.losses.detection.terms.static import (
    Objects,
    assigned,
    at_picks,
    class_cost,
    distances,
    found_of,
    norm_of,
    objects_of,
)
from lossref.losses.obb.terms import (
    EPS,
    RotatedSettings,
    RotatedTerms,
    are_large,
    decoded,
    gaussian,
    in_cells,
    in_pixels,
    require_predictions,
)
from lossref.losses.overlap.gaussians import Covariance, bhattacharyya, similarity


def detect_rotated(
    boxes: Tensor, scores: Tensor, angle: Tensor, scene: Scene, rotated: RotatedSettings
) -> tuple[Found, RotatedTerms]:
    """As `detect_rotated` of the pairs."""
    require_predictions(boxes, scores, angle)
    targets, grid, (reg_max, matching, gains) = scene
    require_targets(targets, 7)
    with as_it_is(boxes):
        dtype, _ = compute_dtype(boxes, scores, angle)
        objects = _objects(targets.to(dtype), grid, matching, rotated, scores)
        with torch.no_grad():
            anchors, strides = grid.points * grid.strides, grid.strides[:, 0]
            near = inside_rotated(anchors, objects.boxes, matching.stride, matching.rules, strides)
            pred = decoded(distances(boxes, reg_max, dtype), angle.to(dtype), grid)
            picks = assigned(scores, objects, near, overlaps(pred, objects), matching)
        goal, kept = objects.boxes[picks.slot], picks.kept[:, None]
        points, stride, rows = at_picks(boxes, grid, picks, dtype)
        turn = torch.where(kept, rows_at(angle, picks.image, picks.anchor).to(dtype), 0)
        sides = mean_bins(rows.reshape(-1, 4, reg_max), -1) if reg_max > 1 else rows
        pred = torch.cat([dist2rbox(sides, turn, points), turn], -1)
        norm = norm_of(picks, objects)
        target = torch.where(kept, in_cells(goal, stride), _unit(points))
        given = (rows, pred, points, target, picks.score, norm, scale_of(grid.imgsz, grid.points), stride, reg_max)
        edition = matching.edition
        box, dfl = slot_terms(*given, edition, *geometry_of(rotated.cov_floor, edition))
        cls = class_cost(scores, objects, picks, dtype) / norm
        cost = pred[:0].sum() if edition == "8.3" else angle_loss(pred, target, picks.score, norm)
        terms = RotatedTerms(box * gains.box, cls * gains.cls, dfl * gains.dfl, cost * rotated.angle_gain)
        return found_of(picks, objects, goal, pred, points, stride, norm), terms


def _objects(targets: Tensor, grid: Grid, matching: Matching, rotated: RotatedSettings, scores: Tensor) -> Objects:
    """The objects (n, 7), in pixels; those that are too small are of no image."""
    table = table_of(targets)
    image = torch.where(are_large(table, grid, matching.edition), table[:, 0], -1)
    objects = objects_of(table, in_pixels(table, grid)[:, 1:], slots_of(image, len(scores), len(targets)), scores)
    if rotated.small_rboxes != "enlarged":
        return objects
    boxes = enlarged_boxes(objects.boxes, objects.real, matching.stride, matching.rules)
    return objects._replace(boxes=boxes, truth=torch.cat([objects.truth[:, :1], boxes], 1))


def overlaps(pred: Tensor, objects: Objects) -> Tensor:
    """probiou (p, A) >= 0 of each object and the boxes (b, 5, A) of its image, in pixels."""
    ax, ay, *one = gaussian(objects.boxes.t()[None])[0, ..., None].unbind(0)
    bx, by, *two = gaussian(pred).index_select(0, objects.slots.image).unbind(1)
    distance = bhattacharyya(ax - bx, ay - by, Covariance(*one), Covariance(*two), EPS)
    return similarity(distance, EPS).clamp(min=0)


def _unit(points: Tensor) -> Tensor:
    """Boxes (m, 5) of two by two cells around the points (m, 2)."""
    return torch.cat([points, torch.full_like(points, 2.0), torch.zeros_like(points[:, :1])], 1)
