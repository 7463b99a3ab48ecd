"""Detection loss of rotated boxes, on positives only: what lossref/losses/detection/terms is for upright ones.

Objects with w or h below 2 pixels are left out before anything else. The overlap of the assignment is probiou,
(box, dfl) are those of lossref/losses/box_terms/rotated_bbox.py, and an angle term is added. Objects keep their true
sizes (D2). Source: spec/40-yolo.md section 5.3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossref.core.precision import as_it_is, compute_dtype, require_floating
from lossref.losses.assignment.candidates import Pairs, candidates_rotated
from lossref.losses.assignment.rotated_task_aligned import enlarged_boxes
from lossref.losses.box_terms.angle import angle_loss
from lossref.losses.box_terms.rotated_bbox import rotated_bbox_terms
from lossref.losses.coordinates.dfl_decode import dfl_distances
from lossref.losses.coordinates.dist2rbox import dist2rbox
from lossref.losses.detection.batch import Grid, Slots, class_indices, padded, require_numbers, rows_at, slots_of
from lossref.losses.detection.settings import Matching, Scene
from lossref.losses.detection.terms import Found, scale_of
from lossref.losses.detection.terms.pairs import assign, class_cost, columns_at, distances
from lossref.losses.overlap.gaussians import Covariance, bhattacharyya, covariance, similarity

SMALLEST = 2.0  # pixels; both sides of an object must have this much
EPS = 1e-7


class RotatedTerms(NamedTuple):
    """The four terms with gains, without the factor b; each 0-d."""

    box: Tensor
    cls: Tensor
    dfl: Tensor
    angle: Tensor


class RotatedSettings(NamedTuple):
    """Settings of rotated losses only.

    angle_gain:   factor of the angle term
    small_rboxes: "true" sizes, or small sides "enlarged" in overlap and targets, as releases up to 8.4.24 do
    cov_floor:    what the box term adds to the variances of every box; 0.01 in releases from 8.4.190
    """

    angle_gain: float = 1.0
    small_rboxes: str = "true"
    cov_floor: float = 0.0


def detect_rotated(
    boxes: Tensor,
    scores: Tensor,
    angle: Tensor,
    scene: Scene,
    rotated: RotatedSettings = RotatedSettings(),  # noqa: B008
) -> tuple[Found, RotatedTerms]:
    """Loss of boxes (b, 4 reg_max, A), score logits (b, c, A), angles (b, 1, A) in radians against objects.

    Targets (n, 7): image, class, xywh normalised, angle. Computed in the promoted dtype of the predictions,
    at least float32, under autocast too. Raises IndexError for a class that has no score, RuntimeError for
    fewer anchors than topk.
    """
    require_predictions(boxes, scores, angle)
    require_numbers(scene.targets)
    with as_it_is(boxes):
        return _found(boxes, scores, angle, scene, rotated)


def require_predictions(boxes: Tensor, scores: Tensor, angle: Tensor) -> None:
    """Raise TypeError unless all are floating, RuntimeError unless there is one angle (b, 1, A) for each anchor."""
    require_floating(boxes=boxes, scores=scores, angle=angle)
    if angle.shape[1] != 1:
        raise RuntimeError(f"angle: expected shape (b, 1, A), got {tuple(angle.shape)}")


def _found(
    boxes: Tensor, scores: Tensor, angle: Tensor, scene: Scene, rotated: RotatedSettings
) -> tuple[Found, RotatedTerms]:
    targets, grid, (reg_max, matching, gains) = scene
    dtype, _ = compute_dtype(boxes, scores, angle)
    slots, truth, real = objects_of(targets.to(dtype), len(boxes), grid, matching, rotated.small_rboxes == "enlarged")
    anchors, strides = grid.points * grid.strides, grid.strides[:, 0]
    pairs = candidates_rotated(anchors, truth[..., 1:], real, matching.stride, matching.rules, strides)
    labels = class_indices(truth[..., 0], scores.shape[1])
    with torch.no_grad():
        matched = overlaps(decoded(distances(boxes, reg_max, dtype), angle.to(dtype), grid), truth[..., 1:], pairs)
        positives = assign(scores, labels, pairs, matched, matching)
    image, anchor, number, score = positives
    points, stride, target = grid.points[anchor], grid.strides[anchor], truth[image, number, 1:]
    rows, turn = rows_at(boxes, image, anchor).to(dtype), rows_at(angle, image, anchor).to(dtype)
    pred = torch.cat([dist2rbox(dfl_distances(rows, reg_max), turn, points), turn], -1)
    norm = score.sum().clamp(min=1)
    goal = in_cells(target, stride)
    given = (rows, pred, points, goal, score, norm, grid.imgsz, stride, reg_max)
    box, dfl = rotated_bbox_terms(*given, cov_floor=rotated.cov_floor, edition=matching.edition)
    cls = class_cost(scores, labels, positives, dtype) / norm
    found = Found(positives, slots.row[image, number], target, pred, points, stride, norm, truth, slots)
    turn_cost = pred[:0].sum() if matching.edition == "8.3" else angle_loss(pred, goal, score, norm)
    return found, RotatedTerms(box * gains.box, cls * gains.cls, dfl * gains.dfl, turn_cost * rotated.angle_gain)


def objects_of(
    targets: Tensor, images: int, grid: Grid, matching: Matching, enlarge: bool
) -> tuple[Slots, Tensor, Tensor]:
    """Objects by image: their rows, class and box in pixels (b, G, 6), and which of them are real (b, G)."""
    table = in_pixels(large_enough(targets, grid, matching.edition), grid)
    slots = slots_of(table[:, 0], images)
    truth = padded(table[:, 1:], slots)
    real = truth[..., 1:].sum(-1) > 0
    if enlarge:
        boxes = enlarged_boxes(truth[..., 1:], real, matching.stride, matching.rules)
        truth = torch.cat([truth[..., :1], boxes], -1)
    return slots, truth, real


def large_enough(targets: Tensor, grid: Grid, edition: str = "8.4") -> Tensor:
    """The rows (n, 7) that `are_large`."""
    return targets[are_large(targets, grid, edition)]


def are_large(targets: Tensor, grid: Grid, edition: str) -> Tensor:
    """Whether rows (n, 7) are at least 2 pixels wide and high, (n,); releases 8.3 exchange the image's sides."""
    height, width = reversed(grid.imgsz) if edition == "8.3" else grid.imgsz
    return (targets[:, 4] * width >= SMALLEST) & (targets[:, 5] * height >= SMALLEST)


def in_pixels(targets: Tensor, grid: Grid) -> Tensor:
    """Rows (n, 7) with x, y, w, h times W, H, W, H; the angle refers to the image in pixels as it is."""
    return torch.cat([targets[:, :2], targets[:, 2:6] * scale_of(grid.imgsz, targets), targets[:, 6:]], -1)


def in_cells(boxes: Tensor, stride: Tensor) -> Tensor:
    """Boxes (n, 5) in pixels as boxes in stride units."""
    return torch.cat([boxes[:, :4] / stride, boxes[:, 4:]], -1)


def decoded(ltrb: Tensor, angle: Tensor, grid: Grid) -> Tensor:
    """Boxes xywhr (b, 5, A) in pixels of distances (b, 4, A) and angles (b, 1, A)."""
    boxes = dist2rbox(ltrb, angle, grid.points.t(), dim=1) * grid.strides[:, 0]
    return torch.cat([boxes, angle], 1)


def overlaps(pred: Tensor, truth: Tensor, pairs: Pairs) -> Tensor:
    """probiou (p,) >= 0 of each pair of an object's box (b, G, 5) and an anchor's box (b, 5, A).

    The covariances are computed for objects and anchors, which are far fewer than pairs.
    """
    ax, ay, *one = columns_at(gaussian(truth.transpose(1, 2)), pairs.image, pairs.object).unbind(-1)
    bx, by, *two = columns_at(gaussian(pred), pairs.image, pairs.anchor).unbind(-1)
    distance = bhattacharyya(ax - bx, ay - by, Covariance(*one), Covariance(*two), EPS)
    return similarity(distance, EPS).clamp(min=0)


def gaussian(boxes: Tensor) -> Tensor:
    """Mean and covariance x, y, a, b, c (b, 5, n) of boxes xywhr (b, 5, n)."""
    x, y, w, h, r = boxes.unbind(1)
    return torch.stack([x, y, *covariance(w, h, r, 0.0)], 1)
