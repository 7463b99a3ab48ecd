"""The detection loss of rotated boxes in scalars: positives of every image, then the four terms.

`p` holds the parameters of the spec by name. Source: spec/40-yolo.md sections 5.3 and 5.4.
"""

from __future__ import annotations

from typing import Any

from lossref.core.arithmetic import Arithmetic
from lossref.losses.assignment.oracle import TURNED, oracle_enlarged
from lossref.losses.box_terms.angle import oracle_angle
from lossref.losses.box_terms.domains import oracle_distance_cost, oracle_edition
from lossref.losses.coordinates.dfl_decode import oracle_dfl_distances
from lossref.losses.coordinates.dist2rbox import oracle_dist2rbox
from lossref.losses.coordinates.rbox2dist import oracle_sides_of
from lossref.losses.detection.oracle import (
    Hit,
    Place,
    oracle_class_sum,
    oracle_hits,
    oracle_norm,
    oracle_places,
    oracle_rows_of,
    oracle_rules,
    oracle_settings,
)
from lossref.losses.overlap.probiou import oracle_probiou


def oracle_rotated_detection(
    m: Arithmetic, p: Any, boxes: Any, scores: Any, angle: Any, batch_idx: Any, cls: Any, bboxes: Any
) -> list[list[Hit]]:
    """Positives of every image."""
    places = oracle_places(m, p.imgsz, p.strides)
    images = []
    for image in range(len(boxes)):
        sides = p.imgsz[::-1] if oracle_edition(m, p) == "8.3" else p.imgsz
        rows = [row for row in oracle_rows_of(m, batch_idx, image) if oracle_large_enough(m, bboxes[row], sides)]
        objects = [oracle_object(m, p, row, cls[row], bboxes[row]) for row in rows]
        how = oracle_decode(m, p, angle[image][0])
        images.append(oracle_hits(m, p, places, objects, scores[image], boxes[image], how, TURNED))
    return images


def oracle_large_enough(m: Arithmetic, box: Any, imgsz: Any) -> bool:
    """Whether both sides have at least 2 pixels."""
    height, width = imgsz
    return not m.less(box[2] * width, 2.0) and not m.less(box[3] * height, 2.0)


def oracle_object(m: Arithmetic, p: Any, row: int, label: Any, box: Any) -> tuple[int, int, Any] | None:
    """Row of the batch, class and box in pixels and radians; None for what counts as padding."""
    height, width = p.imgsz
    pixels = (box[0] * width, box[1] * height, box[2] * width, box[3] * height, box[4])
    if not m.less(m.number(0.0), m.sum(pixels)):
        return None
    if p.small_rboxes == "enlarged":
        pixels = oracle_enlarged(m, pixels, oracle_settings(m, p), oracle_rules(m, p))
    return row, int(float(label.value)), pixels


def oracle_decode(m: Arithmetic, p: Any, angles: Any) -> Any:
    """How a prediction of one image is decoded: in stride units and in pixels."""

    def decode(place: Place, raw: Any, anchor: int) -> tuple[Any, Any]:
        sides = oracle_dfl_distances(m, raw, p.reg_max)
        box = (*oracle_dist2rbox(m, sides, angles[anchor], (place.x, place.y)), angles[anchor])
        return box, (*(x * place.stride for x in box[:4]), box[4])

    return decode


def oracle_rotated_terms(m: Arithmetic, p: Any, images: list[list[Hit]], scores: Any) -> tuple[Any, ...]:
    """box, cls, dfl and angle with gains, without the factor b."""
    ious, costs, turns, older = [], [], [], oracle_edition(m, p) == "8.3"
    for hit in (hit for hits in images for hit in hits):
        target = (*(x / hit.place.stride for x in hit.target[:4]), hit.target[4])
        ious.append(hit.score * (1 - oracle_probiou(m, hit.box, target, cov_floor=p.cov_floor)))
        frame = (*target[:4], m.number(0.0)) if older else target
        distances = oracle_sides_of(m, (hit.place.x, hit.place.y), frame)
        form = (p.imgsz, hit.place.stride, p.reg_max, oracle_edition(m, p))
        costs.append(hit.score * oracle_distance_cost(m, hit.raw, distances, *form))
        turns.append(m.number(0.0) if older else hit.score * oracle_angle(m, hit.box, target, 3.0))
    sums = (m.sum(ious), oracle_class_sum(m, images, scores), m.sum(costs), m.sum(turns))
    gains = (p.box_gain, p.cls_gain, p.dfl_gain, p.angle_gain)
    norm = oracle_norm(m, images)
    return tuple(total / norm * gain for total, gain in zip(sums, gains, strict=True))
