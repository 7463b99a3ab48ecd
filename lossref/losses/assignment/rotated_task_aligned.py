"""Task-aligned assigner for rotated boxes: probiou as the overlap, candidates inside the turned box.

As task_aligned with o = max(0, probiou(object, prediction)). An anchor p is a candidate of a box with corner
a and neighbouring corners b, d if 0 <= (p - a).(b - a) <= |b - a|^2 and 0 <= (p - a).(d - a) <= |d - a|^2, edges
included (QA13). Sides below stride[0] are enlarged for this test only (D2).
Where sources differ: releases up to 8.4.24 enlarge for overlap and result, too (`small_rboxes="enlarged"`);
later ones enlarge every side below stride[1] (`small_boxes="raised"`). Conflicts, zero metrics: see `Rules`.
Source: spec/20-assignment.md section 3, arXiv 2106.06072, spec/05-decisions.md D2, D9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.nouns import Param, Spec
from lossref.losses.assignment import impostors as wrong
from lossref.losses.assignment import meanings as words
from lossref.losses.assignment.answer import Assignment, Geometry, Metric, Tables, assignment, require_assignable
from lossref.losses.assignment.candidates import Pairs, Rules, candidates_rotated, enlarged
from lossref.losses.assignment.cases import COUNTS, ROTATED, RULES, SIZES, TERMS, inputs, placed, setup, setup_s
from lossref.losses.assignment.impostors.dense import Steps
from lossref.losses.assignment.laws import LAWS
from lossref.losses.assignment.oracle import TURNED, oracle_dense, oracle_enlarged
from lossref.losses.assignment.static.inside import inside_rotated
from lossref.losses.assignment.task_aligned import TaskAlignedAssigner
from lossref.losses.coordinates.xywhr2xyxyxyxy import xywhr2xyxyxyxy
from lossref.losses.overlap.probiou import probiou


def rotated_task_aligned(
    pd_scores: Tensor,
    pd_bboxes: Tensor,
    anc_points: Tensor,
    gt_labels: Tensor,
    gt_bboxes: Tensor,
    mask_gt: Tensor,
    topk: int = 13,
    num_classes: int = 80,
    alpha: float = 1.0,
    beta: float = 6.0,
    stride: Sequence[float] = (8, 16, 32),
    eps: float = 1e-9,
    topk2: int | None = None,
    conflict: str = "all",
    zero_metric: str = "kept",
    small_boxes: str = "stride1",
    reach: float | None = None,
    at_least_one: str = "off",
    small_rboxes: str = "true",
) -> Assignment:
    """Assignment of anchors (A, 2) to objects (b, G, 5) xywhr, in pixels and radians.

    As `task_aligned`, with predictions (b, A, 5) and returned boxes (b, A, 5). Raises the same.
    Formula: spec/20-assignment.md section 3.
    """
    require_assignable(pd_scores, pd_bboxes, anc_points, gt_labels, gt_bboxes, mask_gt, ROTATED)
    rules = Rules(conflict, "probiou", zero_metric, small_boxes, reach, at_least_one)
    if small_rboxes == "enlarged":
        with torch.no_grad():
            gt_bboxes = enlarged_boxes(gt_bboxes, mask_gt[..., 0] != 0, tuple(stride), rules)
    given = (pd_scores, pd_bboxes, anc_points, gt_labels, gt_bboxes, mask_gt)
    metric = Metric(topk, topk2, alpha, beta, eps)
    return assignment(*given, num_classes, stride, metric, rules, Geometry(candidates_rotated, rotated_overlap, TABLES))


def enlarged_boxes(boxes: Tensor, valid: Tensor, stride: tuple[float, ...], rules: Rules) -> Tensor:
    """Boxes (b, G, 5) xywhr with the small sides of the real ones enlarged; a new tensor."""
    side = torch.where(valid[..., None], enlarged(boxes[..., 2:4], stride, rules), boxes[..., 2:4])
    return torch.cat([boxes[..., :2], side, boxes[..., 4:]], -1)


def rotated_overlap(gt_bboxes: Tensor, pd_bboxes: Tensor, pairs: Pairs, rules: Rules) -> Tensor:
    """Overlap (p,) >= 0 of the object (b, G, 5) and the prediction (b, A, 5) of each pair, xywhr."""
    truth, pred = gt_bboxes[pairs.image, pairs.object], pd_bboxes[pairs.image, pairs.anchor]
    return probiou(truth, pred)[:, 0].clamp(min=0)


def _table_overlap(boxes: Tensor, predictions: Tensor, rules: Rules) -> Tensor:
    return probiou(boxes, predictions)[..., 0].clamp(min=0)


TABLES = Tables(inside_rotated, _table_overlap)


def oracle(m: Arithmetic, gt_bboxes: Any, mask_gt: Any, small_rboxes: str, **others: Any) -> Any:
    """The five outputs in scalars."""
    settings = SimpleNamespace(**others)
    if small_rboxes == "enlarged":
        gt_bboxes = tuple(
            tuple(oracle_enlarged(m, b, settings, settings) if there[0] else b for b, there in zip(*image, strict=True))
            for image in zip(gt_bboxes, mask_gt, strict=True)
        )
    return oracle_dense(m, gt_bboxes=gt_bboxes, mask_gt=mask_gt, geometry=TURNED, **others)


def _inside(points: Tensor, boxes: Tensor, p: Any) -> Tensor:
    along, whole = _along_the_edges(points, boxes)
    return ((along >= 0) & (along <= whole)).all(0)


def _along_the_edges(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Projections of the points on two edges, and the squared lengths of these; for each edge (b, G, A)."""
    corners = xywhr2xyxyxyxy(boxes)[..., None, :, :]
    start = corners[..., 0, :]
    edges = torch.stack([corners[..., 1, :] - start, corners[..., 3, :] - start])
    return ((points - start) * edges).sum(-1), (edges * edges).sum(-1)


def _overlap(boxes: Tensor, predictions: Tensor, p: Any) -> Tensor:
    return probiou(boxes[:, :, None], predictions[:, None])[..., 0]


def _edges_outside(points: Tensor, boxes: Tensor, p: Any) -> Tensor:
    along, whole = _along_the_edges(points, boxes)
    return ((along > 0) & (along < whole)).all(0)


def _upright_candidates(points: Tensor, boxes: Tensor, p: Any) -> Tensor:
    corners = xywhr2xyxyxyxy(boxes)[..., None, :, :]
    return ((points >= corners.amin(-2)) & (points <= corners.amax(-2))).all(-1)


def _angles_ignored(boxes: Tensor, predictions: Tensor, p: Any) -> Tensor:
    return _overlap(_without_angles(boxes), _without_angles(predictions), p)


def _without_angles(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[..., :4], 0 * boxes[..., 4:]], -1)


def _aspect_penalty(boxes: Tensor, predictions: Tensor, p: Any) -> Tensor:
    return probiou(boxes[:, :, None], predictions[:, None], CIoU=True)[..., 0]


DENSE = Steps(_inside, _overlap)
_step, _setting = partial(wrong.with_step, DENSE), partial(wrong.with_setting, DENSE)


class RotatedTaskAlignedAssigner(TaskAlignedAssigner):
    """Drop-in for the class of that name; see `rotated_task_aligned`."""

    _assign: Any = staticmethod(rotated_task_aligned)


_SMALL = (1, (16, 16, 4, 12, 0.5))
_BETWEEN = (1, (15, 15, 4, 4, 0.125))
_TURNED = (1, (14, 18, 20, 12, 0.5))
_BESIDE = (0, (27, 16, 24, 8, 0.25)), (1, (19.5, 14, 23, 6, -0.25)), (0, (22, 10.5, 14, 7, -0.25))
_ELSEWHERE: Mapping[str, Any] = {**setup_s(ROTATED), "pd_bboxes": setup_s(ROTATED)["pd_bboxes"] + [1000, 0, 0, 0, 0]}
_CROWD = (0, (13, 13, 30, 22, -0.25)), (0, (19, 15, 21, 25, 0.375)), (0, (17, 15, 30, 27, -0.75))
_APART = (0, (28, 4, 6, 6, 0.25)), (1, (12, 12, 18, 18, 0.5)), (0, (12, 14, 22, 16, 0.25))

SPEC = Spec(
    name="rotated_task_aligned",
    summary="Task-aligned assignment of anchors to rotated objects",
    cite="spec/20-assignment.md section 3; arXiv 2108.07755, arXiv 2106.06072",
    inputs=inputs(ROTATED),
    wrt=(),
    params={
        **COUNTS,
        **{name: param for name, param in RULES.items() if name not in ("overlap", "edge")},
        "small_rboxes": Param(
            "true", ("enlarged",), "size of small boxes in overlap and result", means=words.SMALL_RBOXES
        ),
    },
    terms=TERMS,
    reference=rotated_task_aligned,
    oracle=oracle,
    sizes=SIZES,
    laws=LAWS,
    corners=(
        setup("R1", "a small side is enlarged for the candidates only", _SMALL, topk=3),
        setup("between anchors", "4 x 4 px: one candidate if as 8 x 8, none as it is", _BETWEEN, topk=1),
        setup("R1 enlarged", "in overlap and result, too", _SMALL, topk=3, small_rboxes="enlarged"),
        setup("R2", "no small side", _TURNED, topk=3),
        setup("on the edge", "four anchors on the corners are inside", (1, (8, 8, 8, 8, 0)), topk=4),
        setup("conflict", "the overlap decides", _TURNED, (0, (18, 14, 16, 20, -0.25)), topk=5),
        setup("second round", "after the conflicts", (0, (21, 8, 25, 16, 1)), (1, (21, 9, 23, 15, 1)), topk=5, topk2=1),
        setup("twins", "equal objects: the first gets what both claim", _TURNED, (0, _TURNED[1]), topk=3),
        setup("outside", "no candidate", (1, (100, 16, 12, 12, 0.5))),
        setup("half a turn", "nearly the same with sides exchanged", (1, (14, 18, 12, 20, 2.0625)), topk=3),
        setup("side of 8", "not small", (1, (13, 15, 8, 19, 1.875)), topk=5),
        setup("nearest", "no candidate, so the nearest anchor", (1, (100, 16, 12, 12, 0.5)), at_least_one="nearest"),
        setup("beside", "the largest overlap is of an object that does not contain the anchor", *_BESIDE, topk=3),
        setup("overlapping", "one that does not contain it wins", *_BESIDE, topk=3, conflict="overlapping"),
        setup("best", "the largest metric", _BETWEEN, topk=1, small_boxes="off", at_least_one="best"),
        setup("crowd", "an object takes an anchor that it did not pick", *_CROWD, topk=3),
        setup("within reach", "anchors far from the centre", (1, (16, 16, 28, 28, 1.25)), topk=12, reach=1.5),
        placed("no overlap", "all overlaps are 0: object 0 gets what two claim", _ELSEWHERE, *_APART, topk=16),
    ),
    impostors=(
        _setting(
            "enlarged everywhere", "small sides enlarged in overlap and result (QA12)", "value", small_rboxes="enlarged"
        ),
        _step("writes into gt_bboxes", "enlarges the caller's boxes", "pure", enlarge=wrong.enlarged_in_place),
        _setting("small boxes left", "no enlargement", "value", small_boxes="off"),
        _step("enlarged at the stride", "<= instead of <", "value", enlarge=wrong.enlarged_at_the_limit),
        _step("edges outside", "< instead of <=", "value", inside=_edges_outside),
        _step("upright candidates", "the upright box around the rotated one", "value", inside=_upright_candidates),
        _step("angles ignored", "overlap of upright boxes", "value", match=_angles_ignored),
        _step("aspect penalty", "the CIoU form of probiou", "value", match=_aspect_penalty),
        _setting("conflict among overlapping", "also those that do not contain it", "value", conflict="overlapping"),
        _step("conflict by metric", "t instead of o decides", "value", settle=wrong.conflict_by_metric),
        _step("topk2 before the conflicts", "an object loses everything", "value", settle=wrong.topk2_first),
        _step("background class", "background carries class nc", "value reduced", present=wrong.background_class),
    ),
    api="RotatedTaskAlignedAssigner(topk=13, num_classes=80, alpha=1.0, beta=6.0, stride, eps=1e-9, topk2=None)(...)",
    returns="five: (b, A), (b, A, 5), (b, A, c), (b, A), (b, A)",
    composite=True,
)
