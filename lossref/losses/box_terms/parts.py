"""The torch parts that bbox and rotated_bbox share: gather the positives, cost boxes and distances.

Source: spec/30-elementary.md sections 3, 4 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.precision import beside, compute_dtype, require_floating
from lossref.losses.assignment.static.form import form_of
from lossref.losses.box_terms.dfl import dfl

EDITIONS = ("8.3", "8.4")


class BoxTerms(NamedTuple):
    """The two terms of a box loss, each 0-d, without gains."""

    iou: Tensor
    dfl: Tensor


class Dense(NamedTuple):
    """The inputs of a box loss, in order; see `bbox_loss`."""

    pred_dist: Tensor
    pred_bboxes: Tensor
    anchor_points: Tensor
    target_bboxes: Tensor
    target_scores: Tensor
    target_scores_sum: Tensor | float
    fg_mask: Tensor
    imgsz: Tensor | tuple[float, float]
    stride: Tensor


def terms_of_positives(
    pred_dist: Tensor,
    pred_boxes: Tensor,
    points: Tensor,
    target_boxes: Tensor,
    weight: Tensor,
    norm: Tensor | float,
    imgsz: Tensor | tuple[float, float],
    stride: Tensor,
    reg_max: int,
    edition: str,
    similarity: Callable[[Tensor, Tensor], Tensor],
    distances: Callable[[Tensor, Tensor, int | None], Tensor],
) -> BoxTerms:
    """Box loss on positives; see `bbox_terms`.

    similarity(boxes, targets) is (n,), distances(points, targets, the last bin or None) is (n, 4).
    """
    compute, _ = compute_dtype(pred_dist, pred_boxes, target_boxes, weight)
    boxes, target, weight = pred_boxes.to(compute), target_boxes.to(compute), weight.to(compute)
    norm = torch.as_tensor(norm, dtype=compute, device=boxes.device)
    iou = (weight * (1 - similarity(boxes, target))).sum() / norm
    distance = distances(points.to(compute), target, reg_max - 1 if reg_max > 1 else None)
    return BoxTerms(iou, distance_term(pred_dist.to(compute), distance, weight, norm, imgsz, stride, reg_max, edition))


def terms_of_anchors(x: Dense, reg_max: int, box: int, terms: Callable[..., BoxTerms]) -> BoxTerms:
    """`terms`, such as `bbox_terms`, of the anchors in the mask; see `bbox_loss`. `box` numbers describe one box."""
    require_dense(x, reg_max, box)
    moved: tuple[Any, ...] = tuple(beside(one, x.pred_dist) if isinstance(one, Tensor) else one for one in x)
    x = Dense(*moved)
    inputs = (x.pred_dist, x.pred_bboxes, x.anchor_points, x.target_bboxes, x.target_scores, x.stride)
    gathered = everywhere if form_of(x.pred_dist) == "static" else at_positives
    dist, boxes, points, targets, scores, stride = gathered(x.fg_mask, *inputs)
    found = terms(dist, boxes, points, targets, scores.sum(-1), x.target_scores_sum, x.imgsz, stride, reg_max)
    return rounded(found, x.pred_dist, x.pred_bboxes, x.target_bboxes, x.target_scores)


def require_edition(edition: str) -> None:
    """Raise ValueError unless it is one of `EDITIONS`."""
    if edition not in EDITIONS:
        raise ValueError(f"edition: expected one of {', '.join(EDITIONS)}, got {edition!r}")


def distance_term(
    pred_dist: Tensor,
    distance: Tensor,
    weight: Tensor,
    norm: Tensor,
    imgsz: Tensor | tuple[float, float],
    stride: Tensor,
    reg_max: int,
    edition: str = "8.4",
) -> Tensor:
    """Weighted DFL of the distances (n, 4), or for one bin their L1 distance as a part of the image; 0-d.

    Edition "8.3" has no term for one bin: 0, a zero gradient, and no value is read. ValueError for others.
    """
    require_edition(edition)
    if reg_max > 1:
        cost = dfl(pred_dist.reshape(-1, reg_max), distance, reg_max)[:, 0]
    elif edition == "8.3":
        return pred_dist[:0].sum()
    else:
        size = torch.as_tensor(imgsz, dtype=distance.dtype, device=distance.device)[[1, 0, 1, 0]]
        cost = ((pred_dist - distance).abs() * (stride.to(distance.dtype) / size)).mean(-1)
    return (weight * cost).sum() / norm


def replaced_distances(x: Dense, cost: Callable[..., Tensor], reg_max: int, sides: Callable[..., Tensor]) -> Tensor:
    """The distance term with another cost of each side, cost(logits (4 n, R), distances (n, 4)) -> (n, 1); 0-d."""
    dist, points, target, scores = at_positives(
        x.fg_mask, x.pred_dist, x.anchor_points, x.target_bboxes, x.target_scores
    )
    each = cost(dist.reshape(-1, reg_max), sides(points, target, reg_max - 1))
    total: Tensor = (each * scores.sum(-1, keepdim=True)).sum()
    return total / x.target_scores_sum


def at_positives(fg_mask: Tensor, *inputs: Tensor) -> tuple[Any, ...]:
    """The rows of each input, (b, A, ...) or (A, ...), at the positives, in row-major order."""
    flat = fg_mask.flatten().nonzero()[:, 0]
    anchor = flat % max(fg_mask.shape[1], 1)
    return tuple(_rows(x, anchor if len(x.shape) == 2 else flat) for x in inputs)


def everywhere(fg_mask: Tensor, dist: Tensor, boxes: Tensor, points: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
    """The rows of all anchors, with what costs nothing where the mask is not set: weight 0, a box that has an area.

    As many rows whatever the mask, so that no shape depends on it.
    """
    targets, *scores_and_stride = rest
    nothing = boxes.new_zeros(boxes.shape[-1])
    nothing[2:4] = 1  # as corners and as sides
    fills: tuple[Any, ...] = (0, nothing, 0, nothing.to(targets.dtype), *[0] * len(scores_and_stride))
    every = zip((dist, boxes, points, *rest), fills, strict=True)
    return tuple(torch.where(fg_mask[..., None], x, fill).flatten(0, 1) for x, fill in every)


def _rows(x: Tensor, at: Tensor) -> Tensor:
    # index_select: its backward adds rows; that of indexing with two tensors sorts them first
    return (x if x.ndim == 2 else x.flatten(0, 1)).index_select(0, at)


def rounded(terms: BoxTerms, *inputs: Tensor) -> BoxTerms:
    """The terms in the promoted dtype of the inputs."""
    _, result = compute_dtype(*inputs)
    return BoxTerms(terms.iou.to(result), terms.dfl.to(result))


def require_dense(x: Dense, reg_max: int, box: int) -> None:
    """Raise unless the arguments of `bbox_loss` fit together; `box` numbers describe one box."""
    if x.fg_mask.dtype != torch.bool:
        raise IndexError(f"fg_mask: expected a boolean mask, got {x.fg_mask.dtype}; call .bool() first")
    require_floating(pred_dist=x.pred_dist, pred_bboxes=x.pred_bboxes, target_bboxes=x.target_bboxes)
    require_floating(target_scores=x.target_scores)
    images, anchors = x.fg_mask.shape
    expected: dict[str, tuple[Tensor, tuple[int, ...]]] = {
        "pred_dist": (x.pred_dist, (images, anchors, 4 * max(reg_max, 1))),
        "pred_bboxes": (x.pred_bboxes, (images, anchors, box)),
        "anchor_points": (x.anchor_points, (anchors, 2)),
        "target_bboxes": (x.target_bboxes, (images, anchors, box)),
        "target_scores": (x.target_scores, (images, anchors, x.target_scores.shape[-1])),
        "stride": (x.stride, (anchors, 1)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {tuple(tensor.shape)}")
