"""The scalar oracle of the matching, which hungarian, detr and rtdetr share: all assignments are tried.

Source: spec/20-assignment.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

from lossref.core.arithmetic import Arithmetic
from lossref.losses.overlap.pairs import oracle_enclosing, oracle_overlap, oracle_sides


def oracle_box_terms(m: Arithmetic, box: Any, target: Any, eps: float) -> tuple[Any, Any, Any]:
    """L1 distance of the four components, GIoU and IoU of two boxes xywh."""
    near = m.sum([m.abs(one - other) for one, other in zip(box, target, strict=True)])
    a, b = oracle_sides(m, box, True, eps), oracle_sides(m, target, True, eps)
    iou, union = oracle_overlap(m, a, b, eps)
    width, height = oracle_enclosing(m, a, b)
    enclosing = width * height + eps
    return near, iou - (enclosing - union) / enclosing, iou


def oracle_cost(
    m: Arithmetic,
    box: Any,
    scores: Any,
    target: Any,
    label: int,
    class_gain: float,
    bbox_gain: float,
    giou_gain: float,
    use_fl: bool,
    alpha: float,
    gamma: float,
    eps: float,
) -> Any:
    """What one query costs with one object."""
    if use_fl:
        q = m.sigmoid(scores[label])
        hit = m.pow(1 - q, gamma) * -m.log(q + 1e-8) * alpha
        found = hit - m.pow(q, gamma) * -m.log(1 - q + 1e-8) * (1 - alpha)
    else:
        found = -m.exp(scores[label] - m.logsumexp(scores))
    near, giou, _ = oracle_box_terms(m, box, target, eps)
    return found * class_gain + near * bbox_gain + (1 - giou) * giou_gain


def oracle_best(m: Arithmetic, cost: Sequence[Sequence[Any]]) -> list[tuple[int, int]]:
    """Pairs (query, object) of the cheapest assignment of a block cost[query][object], by query.

    A tie unless that one is certainly cheaper than every other.
    """
    queries, objects = len(cost), len(cost[0])
    few, many = min(queries, objects), max(queries, objects)
    tried = []
    for order in permutations(range(many), few):
        pairs = [(i, j) if objects > queries else (j, i) for i, j in enumerate(order)]
        tried.append((m.sum([cost[i][j] for i, j in pairs]), pairs))
    best = min(tried, key=lambda one: float(one[0].value))
    if not all(one is best or m.less(best[0], one[0]) for one in tried):
        m.tie("two assignments cost the same")
    return sorted(best[1])


def oracle_match(
    m: Arithmetic, pred_bboxes: Any, pred_scores: Any, batch_idx: Any, cls: Any, bboxes: Any, *costs: Any
) -> list[dict[int, int]]:
    """For each image of one layer: query -> object, counted over the batch."""
    found = []
    for image, (boxes, scores) in enumerate(zip(pred_bboxes, pred_scores, strict=True)):
        own = [j for j, its in enumerate(batch_idx) if its == image]
        block = [
            [oracle_cost(m, box, logits, bboxes[j], cls[j], *costs) for j in own]
            for box, logits in zip(boxes, scores, strict=True)
        ]
        found.append({i: own[j] for i, j in oracle_best(m, block)} if own else {})
    return found
