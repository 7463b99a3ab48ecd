"""Task-aligned assigner, TOOD, arXiv 2108.07755: which anchors learn which object, and how strongly.

o = max(0, CIoU(object, prediction)) and z = probability of the object's class at anchors inside the object,
else 0; t = z^alpha o^beta. Each object picks its topk anchors by t; an anchor picked by several goes to the
largest o among all objects; then each object keeps topk2 (arXiv 2405.14458). The target of an anchor is
t O / (T + eps), T and O the largest t and o that its object kept. Nothing carries gradient.
Where sources differ: conflicts, plain IoU, zero metrics, small boxes: see `Rules` in candidates.
Source: spec/20-assignment.md section 1, spec/05-decisions.md D9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.nouns import Spec
from lossref.losses.assignment import impostors as wrong
from lossref.losses.assignment.answer import (
    Assigner,
    Assignment,
    Geometry,
    Metric,
    Tables,
    assignment,
    require_assignable,
)
from lossref.losses.assignment.candidates import Pairs, Rules, candidates
from lossref.losses.assignment.cases import COUNTS, PLAIN, RULES, SIZES, TERMS, inputs, placed, setup
from lossref.losses.assignment.impostors.dense import Steps
from lossref.losses.assignment.laws import LAWS
from lossref.losses.assignment.oracle import UPRIGHT, oracle_dense
from lossref.losses.assignment.static.inside import inside
from lossref.losses.overlap.bbox_iou import bbox_iou


def task_aligned(
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
    overlap: str = "ciou",
    zero_metric: str = "kept",
    small_boxes: str = "stride1",
    reach: float | None = None,
    at_least_one: str = "off",
    edge: str = "open",
) -> Assignment:
    """Assignment of anchors (A, 2) to objects (b, G, 4) xyxy with labels (b, G, 1), all in pixels.

    `pd_scores` (b, A, c) are probabilities, `pd_bboxes` (b, A, 4) xyxy, `mask_gt` (b, G, 1) is 1 for a real
    object. Returns class int64 (b, A), box (b, A, 4) in its own dtype, scores (b, A, num_classes) in the
    promoted dtype, mask bool (b, A), object int64 (b, A). A `reach` is in units of stride[0]. Raises
    ValueError for shapes that do not fit, TypeError for inputs that are not floating, IndexError for a
    label without a score, RuntimeError for fewer anchors than topk. Formula: spec/20-assignment.md section 1.
    """
    given = (pd_scores, pd_bboxes, anc_points, gt_labels, gt_bboxes, mask_gt)
    require_assignable(*given, PLAIN)
    if overlap not in ("ciou", "iou"):
        raise ValueError(f"overlap: expected 'ciou' or 'iou', got {overlap!r}")
    rules = Rules(conflict, overlap, zero_metric, small_boxes, reach, at_least_one, edge)
    metric = Metric(topk, topk2, alpha, beta, eps)
    return assignment(*given, num_classes, stride, metric, rules, Geometry(candidates, pair_overlap, TABLES))


def pair_overlap(gt_bboxes: Tensor, pd_bboxes: Tensor, pairs: Pairs, rules: Rules) -> Tensor:
    """Overlap (p,) >= 0 of the object (b, G, 4) and the prediction (b, A, 4) of each pair, xyxy."""
    if rules.overlap not in ("ciou", "iou"):
        raise ValueError(f"overlap: expected 'ciou' or 'iou', got {rules.overlap!r}")
    truth, pred = gt_bboxes[pairs.image, pairs.object], pd_bboxes[pairs.image, pairs.anchor]
    return bbox_iou(truth, pred, xywh=False, CIoU=rules.overlap == "ciou")[:, 0].clamp(min=0)


def _table_overlap(boxes: Tensor, predictions: Tensor, rules: Rules) -> Tensor:
    return bbox_iou(boxes, predictions, xywh=False, CIoU=rules.overlap == "ciou")[..., 0].clamp(min=0)


TABLES = Tables(inside, _table_overlap)


def _inside(points: Tensor, boxes: Tensor, p: Any) -> Tensor:
    low, high = boxes[..., None, :2], boxes[..., None, 2:]
    depth = torch.cat([points - low, high - points], -1).amin(-1)
    return depth >= 0 if p.edge == "closed" else depth > 1e-9


def _overlap(boxes: Tensor, predictions: Tensor, p: Any) -> Tensor:
    return bbox_iou(boxes[:, :, None], predictions[:, None], xywh=False, CIoU=p.overlap == "ciou")[..., 0]


class TaskAlignedAssigner(Assigner):
    """Drop-in for the class of that name. `num_classes` is read at call time; `topk2` None or 0 means topk."""

    _assign: Any = staticmethod(task_aligned)

    def __init__(
        self,
        topk: int = 13,
        num_classes: int = 80,
        alpha: float = 1.0,
        beta: float = 6.0,
        stride: Sequence[float] = (8, 16, 32),
        eps: float = 1e-9,
        topk2: int | None = None,
    ) -> None:
        super().__init__(topk, num_classes, alpha, beta, eps)
        self.topk2 = topk2 or topk
        self.stride = list(stride)
        self.stride_val = stride[1] if len(stride) > 1 else stride[0]

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "stride": self.strides(), "topk2": self.topk2}

    def strides(self) -> tuple[float, ...]:
        """The strides that its rule for small sides reads: one below the first counts as `stride_val`."""
        return float(self.stride[0]), float(self.stride_val), *map(float, self.stride[2:])


DENSE = Steps(_inside, _overlap)
_step, _setting = partial(wrong.with_step, DENSE), partial(wrong.with_setting, DENSE)


_A, _B = (0, (2, 2, 22, 22)), (1, (10, 10, 30, 30))
_THIN = (1, (13, 13, 17, 17))
_STEAL = ((0, (2, 2, 22, 22)), (1, (1, 1, 23, 23)), (2, (3, 3, 21, 21)))
_STEAL_SCORES = [[((i + 1) / 32, (17 - i) / 32, float(i != 5)) for i in range(16)]]
_DOUBTFUL = [[((i + 1) / 32 if i != 5 else 2.0**-20, (17 - i) / 32) for i in range(16)]]
_APART: Mapping[str, Any] = {
    "pd_scores": np.array([[(0.5, 0.25), (0.75, 0.5), (0.25, 0.5), (0.5, 0.75)]]),
    "pd_bboxes": np.array([[(1000, 1000, 1010, 1010)] * 4]),
    "anc_points": np.array([(4, 4), (12, 4), (4, 12), (12, 12)]),
}
_BESIDE = (0, (8, 5, 16, 12)), (1, (8, 10, 14, 25)), (0, (12, 3, 30, 22))
_FAR = ((0, (100, 100, 120, 120)), (1, (0, 0, 12, 12)), (1, (1, 1, 13, 13)))

SPEC = Spec(
    name="task_aligned",
    summary="Task-aligned assignment of anchors to objects",
    cite="spec/20-assignment.md section 1; arXiv 2108.07755",
    inputs=inputs(PLAIN),
    wrt=(),
    params={**COUNTS, **RULES},
    terms=TERMS,
    reference=task_aligned,
    oracle=partial(oracle_dense, geometry=UPRIGHT),
    sizes=SIZES,
    laws=LAWS,
    corners=(
        setup("A1", "an anchor that both claim goes by overlap, not by metric", _A, _B, topk=3),
        setup("A1b", "two conflicts", _A, _B, topk=5),
        setup("A2", "second round", _A, _B, topk=5, topk2=1),
        setup("no second round", "topk2 0 means topk", _A, _B, topk=3, topk2=0),
        setup("second round by t", "the largest overlap has a small score", _A, scores=_DOUBTFUL, topk=5, topk2=1),
        setup("A3", "both sides small: candidates as if 16 x 16, eps decides", _THIN, topk=2),
        setup("A4", "one level: a small side becomes one stride", _THIN, topk=2, stride=(8,)),
        setup("A5", "a side of exactly 8 is not small", (1, (11, 11, 19, 19)), topk=2),
        setup("A6", "an object that did not pick the anchor takes it", *_STEAL, scores=_STEAL_SCORES, topk=1),
        placed("A7", "all overlaps are 0: object 0 gets what two claim", _APART, *_FAR, topk=4),
        setup("A8", "the loser is normalised by what it keeps", _A, (1, (4, 2, 22, 20)), topk=5),
        setup("A9", "conflicts come before the second round", _A, (1, (3, 3, 21, 21)), topk=5, topk2=1),
        setup("A10", "one side small, the enlarged edges lie on anchors", (0, (10, 2, 14, 30)), topk=3),
        setup("on the edge", "anchors on all edges: no candidate", (1, (4, 4, 12, 12))),
        setup("twins", "equal objects: the first gets what both claim", (1, (2, 2, 22, 22)), _A),
        setup("nearest", "no candidate, so the nearest anchor", (1, (4, 4, 12, 13)), at_least_one="nearest"),
        setup("best", "no candidate, so the largest metric of all", (1, (4, 4, 12, 13)), at_least_one="best"),
        setup("best of all", "its candidates have metric 0", (1, (21, 21, 60, 60)), topk=1, at_least_one="best"),
        setup("closed", "anchors on all edges are inside", (1, (4, 4, 12, 12)), topk=9, edge="closed"),
        placed("claimants", "of all overlaps 0 the first that contains", _APART, *_FAR, topk=4, conflict="containing"),
        setup("beside", "the largest overlap is that of an object that does not contain the anchor", *_BESIDE, topk=2),
        setup("overlapping", "one that does not contain the anchor wins", *_BESIDE, topk=2, conflict="overlapping"),
        setup("picked", "only claimants", *_STEAL, scores=_STEAL_SCORES, topk=1, conflict="picked"),
        placed("dropped", "no positive without a metric", _APART, *_FAR, topk=4, zero_metric="dropped"),
    ),
    impostors=(
        _setting("conflict among picked", "QA4 missed", "value", conflict="picked"),
        _step("conflict by metric", "t instead of o decides", "value", settle=wrong.conflict_by_metric),
        _setting(
            "conflict among containing",
            "object 0 does not win where all overlaps are 0",
            "value",
            conflict="containing",
        ),
        _setting("conflict among overlapping", "also those that do not contain it", "value", conflict="overlapping"),
        _step("conflicts kept", "an anchor learns two objects", "value", settle=wrong.conflicts_kept),
        _step("first object reset", "the claims of the others stay", "value", settle=wrong.first_object_reset),
        _step("maxima before the conflicts", "T and O of anchors that were lost", "value", settle=wrong.maxima_first),
        _step("topk2 before the conflicts", "an object loses everything", "value", settle=wrong.topk2_first),
        _setting("no eps", "t O / T", "value", eps=0.0),
        _setting("eps 1e-7", "the epsilon of the overlap", "value", eps=1e-7),
        _setting("small boxes left", "no enlargement", "value", small_boxes="off"),
        _step("enlarged at the stride", "<= instead of <", "value", enlarge=wrong.enlarged_at_the_limit),
        _step("both sides", "a small side enlarges the other, too", "value", enlarge=wrong.both_sides_enlarged),
        _step("enlarged to stride[0]", "instead of stride[1]", "value", enlarge=wrong.enlarged_to_the_first_stride),
        _setting("enlarged everywhere", "in overlap and result", "value", small_rboxes="enlarged"),
        _step("writes into gt_bboxes", "enlarges the caller's boxes", "pure", enlarge=wrong.enlarged_in_place),
        _setting("edges inside", ">= instead of >", "value", edge="closed"),
        _setting("plain IoU", "instead of CIoU", "value", overlap="iou"),
        _step("logits", "instead of probabilities", "value", certainty=wrong.logit),
        _step("background class", "background carries class nc", "value reduced", present=wrong.background_class),
        _step("index -1", "background carries index -1", "value reduced", present=wrong.background_index),
        _step("hard targets", "1 instead of the soft target", "value", target=wrong.hard_targets),
        _step("not scaled by the overlap", "t / T", "value", target=wrong.not_scaled_by_the_overlap),
    ),
    api="TaskAlignedAssigner(topk=13, num_classes=80, alpha=1.0, beta=6.0, stride, eps=1e-9, topk2=None)(...)",
    returns="five: (b, A), (b, A, 4), (b, A, c), (b, A), (b, A)",
    composite=True,
)
