"""The detection losses in scalars, image by image: positives first, then the three terms.

`p` holds the parameters of the spec by name. Boxes are decoded and scores looked at where the assigner asks for
them. The losses for masks, keypoints and rotated boxes start from the same positives.
Source: spec/40-yolo.md section 1.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from lossref.core.arithmetic import Arithmetic
from lossref.losses.assignment.oracle import oracle_assign, oracle_upright_region
from lossref.losses.box_terms.domains import oracle_distance_cost, oracle_edition
from lossref.losses.coordinates.bbox2dist import oracle_bbox2dist
from lossref.losses.coordinates.dfl_decode import oracle_dfl_distances
from lossref.losses.coordinates.dist2bbox import oracle_dist2bbox
from lossref.losses.overlap.ciou import oracle_ciou
from lossref.losses.overlap.pairs import oracle_overlap, oracle_sides


class Place(NamedTuple):
    """One anchor: centre in stride units, and pixels per cell."""

    x: float
    y: float
    stride: float


class Hit(NamedTuple):
    """One positive: anchor and its place, object of the image, row of the batch, class, target score.

    `box` is the prediction in stride units, with gradient, `target` the object's box in pixels, `raw` the
    numbers that the box was decoded from.
    """

    anchor: int
    place: Place
    number: int
    row: int
    label: int
    score: Any
    box: Any
    target: Any
    raw: Any


def oracle_places(m: Arithmetic, imgsz: Sequence[int], strides: Sequence[int]) -> list[Place]:
    """All anchors, level by level, row by row."""
    height, width = imgsz
    return [Place(j + 0.5, i + 0.5, s) for s in strides for i in range(height // s) for j in range(width // s)]


def oracle_rows_of(m: Arithmetic, batch_idx: Sequence[Any], image: int) -> list[int]:
    """Rows of the batch whose index is that image, in their order."""
    return [row for row, index in enumerate(batch_idx) if float(index.value) == image]


def oracle_column(m: Arithmetic, channels: Any, anchor: int) -> tuple[Any, ...]:
    """The numbers of one anchor, from (C, A)."""
    return tuple(channel[anchor] for channel in channels)


def oracle_corners(m: Arithmetic, box: Any, imgsz: Sequence[int]) -> tuple[Any, ...]:
    """Corners in pixels of a normalised box xywh."""
    (cx, cy, w, h), (height, width) = box, imgsz
    x, y, half_w, half_h = cx * width, cy * height, w * width / 2, h * height / 2
    return x - half_w, y - half_h, x + half_w, y + half_h


def oracle_match(m: Arithmetic, truth: Any, pred: Any, rules: Any) -> Any:
    """max(0, overlap) of an object and a prediction, as the rules say."""
    if rules.overlap == "ciou":
        return m.clamp(oracle_ciou(m, truth, pred, rules.ciou_alpha), low=0.0)
    a, b = (oracle_sides(m, box, False, 1e-7) for box in (truth, pred))
    return m.clamp(oracle_overlap(m, a, b, 1e-7)[0], low=0.0)


def oracle_hits(
    m: Arithmetic,
    p: Any,
    places: Sequence[Place],
    objects: Sequence[tuple[int, int, Any] | None],
    scores: Any,
    boxes: Any,
    decode: Callable[[Place, Any, int], tuple[Any, Any]],
    geometry: tuple[Callable[..., Any], ...],
) -> list[Hit]:
    """Positives of one image: objects (row, class, box in pixels), scores (c, A), boxes (4R, A).

    `decode(place, raw, anchor)` gives a prediction in stride units and in pixels.
    """
    decoded: dict[int, tuple[Any, Any]] = {}

    def looked_at(anchor: int) -> Any:
        if anchor not in decoded:
            decoded[anchor] = decode(places[anchor], oracle_column(m, boxes, anchor), anchor)
        return tuple(m.stop(x) for x in decoded[anchor][1])

    found = oracle_assign(
        m,
        lambda anchor, label: m.sigmoid(scores[label][anchor]),
        looked_at,
        [(place.x * place.stride, place.y * place.stride, place.stride) for place in places],
        [one and one[1:] for one in objects],
        oracle_settings(m, p),
        oracle_rules(m, p),
        geometry,
    )
    hits = []
    for anchor, number, score in found:
        looked_at(anchor)
        row, label, target = objects[number] or (-1, 0, None)
        raw = oracle_column(m, boxes, anchor)
        hits.append(Hit(anchor, places[anchor], number, row, label, score, decoded[anchor][0], target, raw))
    return hits


class Settings(NamedTuple):
    """What the assigner is set to."""

    topk: int
    topk2: int | None
    stride: tuple[int, ...]
    alpha: float = 0.5
    beta: float = 6.0
    eps: float = 1e-9


def oracle_settings(m: Arithmetic, p: Any) -> Settings:
    """The assigner's settings in a detection loss; releases 8.3 have no second top-k."""
    return Settings(p.tal_topk, None if oracle_edition(m, p) == "8.3" else p.tal_topk2, p.strides)


class Choices(NamedTuple):
    """The assigner's rules, and the gradient of CIoU's alpha."""

    conflict: str
    overlap: str
    zero_metric: str
    small_boxes: str
    reach: float | None
    at_least_one: str
    edge: str
    ciou_alpha: str
    levels: str


def oracle_rules(m: Arithmetic, p: Any) -> Choices:
    """The rules as parameters of a loss name them; releases 8.3 have none for small sides."""
    small = "off" if oracle_edition(m, p) == "8.3" else p.small_boxes
    who = (p.conflict, p.metric_overlap, p.zero_metric, small, p.reach, p.at_least_one)
    return Choices(*who, p.edge, p.ciou_alpha, getattr(p, "levels", "all"))


class Task(NamedTuple):
    """What a task assigns by, beside boxes: numbers that it appends to those of an object and of a prediction.

    `of_row(row)` are the object's, `of_anchor(image, anchor, place)` the prediction's, in pixels; `match` gives
    the overlap of the two.
    """

    of_row: Callable[[int], tuple[Any, ...]]
    of_anchor: Callable[[int, int, Place], tuple[Any, ...]]
    match: Callable[..., Any]


BOXES = Task(lambda row: (), lambda image, anchor, place: (), oracle_match)


def oracle_upright_part(m: Arithmetic, truth: Any, settings: Any, rules: Any) -> Any:
    """The region of an object that has more numbers than those of its box."""
    return oracle_upright_region(m, truth[:4], settings, rules)


def oracle_detection(
    m: Arithmetic, p: Any, boxes: Any, scores: Any, batch_idx: Any, cls: Any, bboxes: Any, task: Task = BOXES
) -> list[list[Hit]]:
    """Positives of every image."""
    places = oracle_places(m, p.imgsz, p.strides)

    def upright(image: int, place: Place, raw: Any, anchor: int) -> tuple[Any, Any]:
        box = oracle_dist2bbox(m, oracle_dfl_distances(m, raw, p.reg_max), (place.x, place.y), False)
        return box, (*(x * place.stride for x in box), *task.of_anchor(image, anchor, place))

    images = []
    for image in range(len(boxes)):
        objects: list[tuple[int, int, Any] | None] = []
        for row in oracle_rows_of(m, batch_idx, image):
            box = oracle_corners(m, bboxes[row], p.imgsz)
            real = m.less(m.number(0.0), m.sum(box))
            objects.append((row, int(float(cls[row].value)), (*box, *task.of_row(row))) if real else None)
        geometry = (oracle_upright_part, task.match)
        hits = oracle_hits(m, p, places, objects, scores[image], boxes[image], partial(upright, image), geometry)
        images.append([hit._replace(target=hit.target and hit.target[:4]) for hit in hits])
    return images


def oracle_norm(m: Arithmetic, images: list[list[Hit]]) -> Any:
    """S: the sum of all target scores, 1 at least."""
    return m.max(m.sum(hit.score for hits in images for hit in hits), m.number(1.0))


def oracle_class_sum(m: Arithmetic, images: list[list[Hit]], scores: Any) -> Any:
    """Sum of the cross entropies of all anchors and classes."""
    costs = []
    for hits, channels in zip(images, scores, strict=True):
        soft = {(hit.label, hit.anchor): hit.score for hit in hits}
        for label, row in enumerate(channels):
            for anchor, x in enumerate(row):
                t = soft.get((label, anchor))
                costs.append(m.softplus(x) if t is None else t * m.softplus(-x) + (1 - t) * m.softplus(x))
    return m.sum(costs)


def oracle_box_sums(m: Arithmetic, p: Any, images: list[list[Hit]]) -> tuple[Any, Any]:
    """Weighted sums of 1 - CIoU and of the distance cost over all positives."""
    ious, costs = [], []
    for hit in (hit for hits in images for hit in hits if hit.target):  # padding has weight 0
        target = tuple(x / hit.place.stride for x in hit.target)
        ious.append(hit.score * (1 - oracle_ciou(m, hit.box, target, p.ciou_alpha)))
        distances = oracle_bbox2dist(m, (hit.place.x, hit.place.y), target, None)
        form = (p.imgsz, hit.place.stride, p.reg_max, oracle_edition(m, p))
        costs.append(hit.score * oracle_distance_cost(m, hit.raw, distances, *form))
    return m.sum(ious), m.sum(costs)


def oracle_terms(m: Arithmetic, p: Any, images: list[list[Hit]], scores: Any) -> tuple[Any, Any, Any]:
    """box, cls and dfl with gains, without the factor b."""
    norm, (iou, distance) = oracle_norm(m, images), oracle_box_sums(m, p, images)
    cls = oracle_class_sum(m, images, scores)
    return iou / norm * p.box_gain, cls / norm * p.cls_gain, distance / norm * p.dfl_gain
