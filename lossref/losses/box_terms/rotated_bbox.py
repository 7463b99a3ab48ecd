"""Box loss of rotated boxes: probiou (arXiv 2106.06072) and the distance term of the plain box loss.

iou = sum w_i (1 - probiou(pred_i, target_i)) / S; the distances are taken in the frame of the target,
d_i = rbox2dist(target_i, p_i, angle of the target, R - 1), and cost what they cost in `bbox`.
Where sources differ: the distances of the unturned target, and none for R = 1 (releases 8.3, `edition="8.3"`);
the distances in the frame of the prediction; a floor under the variances (`cov_floor`, from 8.4.190).
Source: spec/30-elementary.md section 6, spec/10-geometry.md sections 4 and 9, D8, D9, D10, D11.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import impostor
from lossref.core.nouns import Array, Domain, Param, Params, Span, Spec
from lossref.losses.box_terms.bbox import BboxLoss
from lossref.losses.box_terms.domains import EDITION, LAWS, SIZES, dense_inputs, oracle_terms
from lossref.losses.box_terms.impostors import ONE_BIN, WORKED_EXAMPLE, on, shared_impostors, variation
from lossref.losses.box_terms.parts import BoxTerms, Dense, terms_of_anchors, terms_of_positives
from lossref.losses.coordinates.bbox2dist import bbox2dist
from lossref.losses.coordinates.dfl_decode import BINS
from lossref.losses.coordinates.rbox2dist import oracle_sides_of, rbox2dist
from lossref.losses.coordinates.rotated import ROTATED_FAMILIES, ROTATED_PAIR_FAMILIES, has_area
from lossref.losses.coordinates.xywh2xyxy import xywh2xyxy
from lossref.losses.overlap.gaussians import FLOOR
from lossref.losses.overlap.probiou import oracle_probiou, probiou


def rotated_bbox_terms(
    pred_dist: Tensor,
    pred_boxes: Tensor,
    points: Tensor,
    target_boxes: Tensor,
    weight: Tensor,
    norm: Tensor | float,
    imgsz: Tensor | tuple[float, float],
    stride: Tensor,
    reg_max: int = 16,
    *,
    cov_floor: float = 0.0,
    edition: str = "8.4",
) -> BoxTerms:
    """Box loss on positives only: pred_dist (n, 4R), boxes (n, 5) xywhr, points (n, 2), weight (n,), stride (n, 1).

    Boxes, points and distances in stride units, angles in radians, imgsz (H, W) and stride in pixels.
    Computed and returned in the promoted dtype of these tensors, at least float32. Formulas:
    spec/30-elementary.md section 6.
    """
    given = (pred_dist, pred_boxes, points, target_boxes, weight, norm, imgsz, stride, reg_max, edition)
    return terms_of_positives(*given, *geometry_of(cov_floor, edition))


def geometry_of(cov_floor: float, edition: str) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Similarity (n,) of boxes and targets (n, 5), and distances (n, 4) of points, targets and the last bin or None."""

    def similarity(box: Tensor, target: Tensor) -> Tensor:
        return probiou(box, target, cov_floor=cov_floor)[:, 0]

    return similarity, _unturned_sides if edition == "8.3" else _sides


def _sides(points: Tensor, target: Tensor, limit: int | None) -> Tensor:
    return rbox2dist(target[:, :4], points, target[:, 4:], reg_max=limit)


def _unturned_sides(points: Tensor, target: Tensor, limit: int | None) -> Tensor:
    return bbox2dist(points, xywh2xyxy(target[:, :4]), limit)


def rotated_bbox_loss(
    pred_dist: Tensor,
    pred_bboxes: Tensor,
    anchor_points: Tensor,
    target_bboxes: Tensor,
    target_scores: Tensor,
    target_scores_sum: Tensor | float,
    fg_mask: Tensor,
    imgsz: Tensor | tuple[float, float],
    stride: Tensor,
    reg_max: int = 16,
    cov_floor: float = 0.0,
    edition: str = "8.4",
) -> BoxTerms:
    """`rotated_bbox_terms` of the anchors in fg_mask (b, A) bool; arguments as `bbox_loss`, boxes (b, A, 5).

    Without a positive both terms are 0 and every gradient is zero. Raises IndexError unless fg_mask is
    boolean, ValueError where the shapes do not fit or for an edition that there is not.
    """
    inputs = (pred_dist, pred_bboxes, anchor_points, target_bboxes, target_scores, target_scores_sum)
    terms = partial(rotated_bbox_terms, cov_floor=cov_floor, edition=edition)
    return terms_of_anchors(Dense(*inputs, fg_mask, imgsz, stride), reg_max, 5, terms)


def oracle(m: Arithmetic, cov_floor: float = 0.0, edition: str = "8.4", **given: Any) -> Any:
    """Both terms in scalars."""

    def similarity(box: Any, target: Any) -> Any:
        return oracle_probiou(m, box, target, cov_floor=cov_floor)

    def sides(point: Any, target: Any) -> Any:
        return oracle_sides_of(m, point, (*target[:4], m.number(0.0)) if edition == "8.3" else target)

    return oracle_terms(m, similarity, sides, edition=edition, **given)


_right: Any = rotated_bbox_loss


def _distances_of(change: Any) -> Any:
    """Right similarity, distances of a changed target box."""

    def wrong(*inputs: Any, **params: Any) -> tuple[Tensor, Tensor]:
        x = Dense(*inputs)
        other = x._replace(target_bboxes=change(x))
        return _right(*inputs, **params).iou, _right(*other, **params).dfl

    return wrong


def _axis_aligned(x: Dense) -> Tensor:
    return torch.cat((x.target_bboxes[..., :4], 0 * x.target_bboxes[..., 4:]), -1)


def _predicted_angle(x: Dense) -> Tensor:
    return torch.cat((x.target_bboxes[..., :4], x.pred_bboxes[..., 4:].detach()), -1)


def _other_way(x: Dense) -> Tensor:
    return torch.cat((x.target_bboxes[..., :4], -x.target_bboxes[..., 4:]), -1)


def _opposite_angles(x: Dense) -> Dense:
    sign = x.stride.new_tensor([1, 1, 1, 1, -1])
    return x._replace(pred_bboxes=x.pred_bboxes * sign)


class RotatedBboxLoss(BboxLoss):
    """Drop-in for the class of that name; attribute dfl_loss (None for one bin). See `rotated_bbox_loss`."""

    _terms: Any = staticmethod(rotated_bbox_loss)
    _sides: Any = staticmethod(_sides)

    def __init__(self, reg_max: int) -> None:
        super().__init__(reg_max)


def _side(x: Array, params: Params) -> Array:
    return np.asarray(x[..., 2:4].min(axis=-1, keepdims=True))


_ANCHOR: dict[str, Any] = {
    **WORKED_EXAMPLE,
    "pred_bboxes": [[(0.75, 0.5, 1.5, 1.25, 0.25), (1.75, 0.75, 1.5, 1.5, 0), (0.5, 1.25, 1.25, 1.5, -0.5)]],
    "target_bboxes": [[(0.75, 0.75, 1.5, 1.25, 0.5), (0, 0, 1, 1, 0), (0.625, 1.5, 1.25, 2.5, -0.25)]],
}


_at = partial(variation, _ANCHOR)
_BOX: dict[str, Any] = {"unit": None, "legal": has_area, "extent": _side}
_TARGETS = {name: draw for name, draw in ROTATED_FAMILIES.items() if name != "tiny"}
_WRONG = {
    "axis-aligned": ("distances of the unturned box", "value reduced", _distances_of(_axis_aligned)),
    "predicted angle": ("distances in the frame of the prediction", "value reduced", _distances_of(_predicted_angle)),
    "turned the other way": ("distances in the frame of -r", "value reduced", _distances_of(_other_way)),
    "angle of the prediction reversed": ("similarity with -r", "value reduced", on(_opposite_angles, _right)),
}

SPEC = Spec(
    name="rotated_bbox",
    summary="Box loss of rotated boxes: probiou and distances in the frame of the target",
    cite="spec/30-elementary.md section 6; arXiv 2106.06072, arXiv 2006.04388",
    inputs=dense_inputs(
        Domain("b A 5", "targets, xywhr in stride units and radians", _TARGETS, **_BOX),
        Domain("b A 5", "predictions, xywhr", ROTATED_PAIR_FAMILIES, given="target_bboxes", **_BOX),
    ),
    wrt=("pred_dist", "pred_bboxes"),
    params={
        "reg_max": Param(16, (4, 1), "bins R of one side; 1: distances and L1", span=Span(1, 33, whole=True)),
        "cov_floor": Param(
            0.0, (0.01,), "added to the variances along both sides of every box", means=FLOOR, span=Span(0.0, 1.0)
        ),
        **EDITION,
    },
    terms=("iou", "dfl"),
    reference=rotated_bbox_loss,
    oracle=oracle,
    derived=BINS,
    sizes=SIZES,
    laws=LAWS,
    corners=(
        _at("two positives", "the worked example: turned boxes, a negative between them"),
        _at("one bin", "L1 in units of the image although the axes are turned", reg_max=1, pred_dist=ONE_BIN),
        _at("no positive", "(0, 0) and zero gradients", fg_mask=[[0, 0, 0]]),
        _at("weightless", "target scores 0: the positive does not count", target_scores=[[(0, 0)] * 3]),
        _at("identical", "probiou is 1 - sqrt(2 eps), gradient 0", pred_bboxes=_ANCHOR["target_bboxes"]),
        _at("far apart", "BD is clamped at 100, gradient 0", target_bboxes=[[(900, 800, 2, 1, 0.5)] * 3]),
        _at("upright", "angle 0: the distances of the plain box", target_bboxes=[[(1, 1, 2, 3, 0)] * 3]),
        _at("floor under the variances", "as releases from 8.4.190 have it", cov_floor=0.01),
        _at("edition 8.3", "distances of the unturned target", edition="8.3"),
        _at("one bin in edition 8.3", "no distance term", reg_max=1, pred_dist=ONE_BIN, edition="8.3"),
    ),
    impostors=(
        *shared_impostors(rotated_bbox_loss),
        *(impostor(label, why, checks, wrong) for label, (why, checks, wrong) in _WRONG.items()),
    ),
    api="RotatedBboxLoss(reg_max)(pred_dist, pred_bboxes, anchor_points, target_bboxes, target_scores, "
    "target_scores_sum, fg_mask, imgsz, stride)",
    returns="two 0-d tensors: similarity term, distance term",
    composite=True,  # at the clamp of BD, what rounding can do shows only in the radius
)
