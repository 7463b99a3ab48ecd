"""Pose loss of YOLO heads: detection, and location and visibility of keypoints, arXiv 2204.06806.

Over the n positives, in cells: pose = g_pose keypoint(decoded, true, visible, area of the target box) as in
lossref/losses/keypoints/keypoint.py, kobj = g_kobj mean of bce(visibility logit, visible) over all n K keypoints; box,
cls and dfl as v8_detection; each times the number of images. Decoding: x -> 2 x + p_x - 1/2. Where sources differ:
area in pixels or times 0.53, kobj over visible keypoints only, visible meaning > 1, the other head's decoding,
sigmas in float64 (releases 8.3).
Source: spec/40-yolo.md section 3, spec/05-decisions.md D8 to D12, spec/00-conventions.md QC3.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lossref.core.arithmetic import Arithmetic
from lossref.core.nouns import Param, Span, Spec
from lossref.core.precision import compute_dtype
from lossref.core.scenes import object_inputs, prediction_inputs
from lossref.losses.box_terms.domains import EDITION
from lossref.losses.classification.replaced import documented, kind_of, own, plain_bce
from lossref.losses.detection.batch import Grid, vector_of
from lossref.losses.detection.laws import GAINS, GRID, RULES, SIZES, TOPK, detection_laws
from lossref.losses.detection.oracle import oracle_detection, oracle_terms
from lossref.losses.detection.terms import Found, without_objects
from lossref.losses.detection.v8_detection import v8DetectionLoss
from lossref.losses.keypoints.keypoint import KeypointLoss
from lossref.losses.keypoints.kpts_decode import kpts_decode
from lossref.losses.keypoints.oracle import oracle_pose_terms, oracle_poses
from lossref.losses.pose.cases import pose_corners
from lossref.losses.pose.composed import composed_pose, costs_of
from lossref.losses.pose.domains import DERIVED, POSE, keypoint_predictions, keypoint_targets, pose_laws
from lossref.losses.pose.impostors import v8_impostors
from lossref.losses.pose.keypoint_terms import (
    COCO,
    Truth,
    keypoint_terms,
    predicted_at,
    selected,
    sigmas_given,
    sigmas_of,
    truth_at,
    truth_of,
)
from lossref.losses.pose.terms import parts_of


class PoseTerms(NamedTuple):
    """The five terms with gains and the factor b; each 0-d."""

    box: Tensor
    pose: Tensor
    kobj: Tensor
    cls: Tensor
    dfl: Tensor


def v8_pose(
    boxes: Tensor,
    scores: Tensor,
    kpts: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    keypoints: Tensor,
    *,
    pose_gain: float = 12.0,
    kobj_gain: float = 1.0,
    kpt_shape: Sequence[int] = (3, 3),
    tal_topk2: int | None = 10,
    edition: str = "8.4",
    **detection: Any,
) -> PoseTerms:
    """Loss of boxes, scores and raw keypoints (b, K D, A) against objects; five 0-d terms.

    keypoints (n, K, 2 or 3): x, y normalised, visibility 0 or not; everything else, `detection` included, as
    in `v8_detection`. `kpt_shape` is (K, D); (17, 3) has the OKS sigmas of COCO, others 1/K. Terms in the
    promoted dtype of the predictions, at least float32. Raises RuntimeError for predictions, ValueError for
    keypoints that do not fit. Formula: spec/40-yolo.md section 3.
    """
    detection |= {"tal_topk2": tal_topk2, "edition": edition}
    given = (boxes, scores, kpts, None, batch_idx, cls, bboxes, keypoints)
    parts = parts_of(*given, form="v8", kpt_shape=kpt_shape, **detection)
    sigmas = sigmas_of(kpt_shape, parts.pred.dtype, tuple(kpt_shape) == COCO, edition)
    pose, kobj = keypoint_terms(parts.pred, parts.truth, sigmas, kpt_shape[1] == 3)
    dtype, _ = compute_dtype(boxes, scores, kpts)
    box, class_cost, dfl = parts.terms
    terms = (box, pose * pose_gain, kobj * kobj_gain, class_cost, dfl)
    return PoseTerms(*(term.to(dtype) * len(boxes) for term in terms))


def oracle(
    m: Arithmetic,
    boxes: Any,
    scores: Any,
    kpts: Any,
    batch_idx: Any,
    cls: Any,
    bboxes: Any,
    keypoints: Any,
    **params: Any,
) -> Any:
    """The five terms in scalars."""
    p = SimpleNamespace(**params)
    images = oracle_detection(m, p, boxes, scores, batch_idx, cls, bboxes)
    box, class_cost, dfl = oracle_terms(m, p, images, scores)
    pose, kobj = oracle_pose_terms(m, p, oracle_poses(m, p, images, kpts, keypoints, "v8"))
    return tuple(term * len(boxes) for term in (box, pose, kobj, class_cost, dfl))


_KEYPOINT, KEYPOINT_METHODS = kind_of(KeypointLoss), ("calculate_keypoints_loss", "_select_target_keypoints")


@documented(*v8DetectionLoss._methods, "kpts_decode", *KEYPOINT_METHODS)
class v8PoseLoss(v8DetectionLoss):
    """Drop-in for the class of that name: the vector (box, pose, kobj, cls, dfl) of a pose head's predictions.

    The OKS sigmas of COCO are used if the head's kpt_shape is the list [17, 3]; a tuple (17, 3) is unequal
    to it and gives uniform ones (QC3); the model's `kpt_oks_sigmas` win over both. `keypoint_loss.sigmas` shows
    1/K in the default dtype; calls use the value itself, or the sigmas that were put there instead.
    """

    _likelihood = False

    def __init__(self, model: Any, tal_topk: int = 10, tal_topk2: int | None = 10) -> None:
        super().__init__(model, tal_topk, tal_topk2)
        self.kpt_shape = model.model[-1].kpt_shape
        self.bce_pose: Any = nn.BCEWithLogitsLoss()
        self._coco = self.kpt_shape == [17, 3]
        self._shown = sigmas_of(self.kpt_shape, torch.get_default_dtype(), self._coco).to(self.device)
        self._plain = sigmas_of(self.kpt_shape, torch.float32, self._coco).to(self.device)
        given = sigmas_given(getattr(model, "kpt_oks_sigmas", None), self.kpt_shape)
        self.keypoint_loss: Any = KeypointLoss(self._shown if given is None else given.to(self.device))

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The vector times the number of images, and the vector, detached."""
        if self._replaced():
            vector = composed_pose(self, preds, batch)
            return vector * len(preds["kpts"]), vector.detach()
        found, terms, grid = self._detect(preds, batch)
        pred = predicted_at(preds["scores"], found, self.kpt_shape, "v8", preds["kpts"])
        truth = self._truth(batch, found, grid)
        pose, kobj = self._terms(pred, truth)
        parts = (terms.box, pose * self.hyp.pose, kobj * self.hyp.kobj, terms.cls, terms.dfl)
        vector = vector_of(parts, preds["boxes"], preds["scores"], preds["kpts"])
        return vector * len(preds["kpts"]), vector.detach()

    @staticmethod
    def kpts_decode(anchor_points: Tensor, pred_kpts: Tensor) -> Tensor:
        """Positions of raw keypoints (b, A, K, D): x -> 2 x + p_x - 1/2, in cells."""
        return kpts_decode(anchor_points, pred_kpts, "v8")

    def _select_target_keypoints(
        self, keypoints: Tensor, batch_idx: Tensor, target_gt_idx: Tensor, masks: Tensor
    ) -> Tensor:
        """Keypoints (b, A, K, D) of the object (b, A) that each anchor points to, from (N, K, D) in batch order."""
        image = torch.arange(len(masks), device=keypoints.device)[:, None]
        return selected(keypoints, batch_idx, len(masks), image, target_gt_idx)

    def calculate_keypoints_loss(
        self,
        masks: Tensor,
        target_gt_idx: Tensor,
        keypoints: Tensor,
        batch_idx: Tensor,
        stride_tensor: Tensor,
        target_bboxes: Tensor,
        pred_kpts: Tensor,
    ) -> tuple[Tensor, ...]:
        """(pose, kobj[, rle]) without gains at the anchors of the mask (b, A); pred_kpts (b, A, K, D) decoded.

        Keypoints (N, K, D) and boxes (b, A, 4) in pixels. PoseLoss26 has the likelihood term, too.
        """
        at = image, anchor = masks.nonzero(as_tuple=True)
        if self._replaced() and len(image):
            chosen = self._select_target_keypoints(keypoints, batch_idx, target_gt_idx, masks)[at]
            return costs_of(self, chosen, stride_tensor[anchor], target_bboxes[at], pred_kpts[at], self._likelihood)
        if not len(image):
            return self._terms(pred_kpts[at], None)
        chosen = selected(keypoints, batch_idx, len(masks), image, target_gt_idx[at])
        return self._terms(pred_kpts[at], truth_of(chosen, stride_tensor[anchor], target_bboxes[at]))

    def _gains(self) -> tuple[float, ...]:
        """Gains of the terms that `calculate_keypoints_loss` gives."""
        return self.hyp.pose, self.hyp.kobj

    def _other_part(self) -> str:
        if not own(self.keypoint_loss, _KEYPOINT):
            return "keypoint_loss"
        return super()._other_part() or ("" if plain_bce(self.bce_pose, "mean") else "bce_pose")

    def _baked(self) -> tuple[Any, ...]:
        sigmas = self.keypoint_loss.sigmas
        return *super()._baked(), self._gains(), id(sigmas), sigmas._version

    def _terms(self, pred: Tensor, truth: Truth | None) -> tuple[Tensor, ...]:
        """The terms of decoded keypoints (n, K, D), without gains."""
        return keypoint_terms(pred, truth, self._sigmas(pred.dtype), pred.shape[-1] == 3)

    def _truth(self, batch: dict[str, Any], found: Found, grid: Grid) -> Truth | None:
        """Truth at the positives; batch["keypoints"] is read only if there are any."""
        if without_objects(found):
            return None
        return truth_at(batch["keypoints"], found, grid.imgsz, self.kpt_shape, batch["batch_idx"].numel())

    def _sigmas(self, dtype: torch.dtype) -> Tensor:
        given: Tensor = self.keypoint_loss.sigmas
        if given is not self._shown:
            return given
        return self._plain if dtype == torch.float32 else sigmas_of(self.kpt_shape, dtype, self._coco)


SPEC = Spec(
    name="v8_pose",
    summary="Pose loss: detection and keypoints",
    cite="spec/40-yolo.md section 3; arXiv 2204.06806",
    inputs={**prediction_inputs(), **keypoint_predictions(), **object_inputs(), **keypoint_targets()},
    wrt=("boxes", "scores", "kpts"),
    params={
        **GRID,
        **TOPK,
        "tal_topk2": Param(
            10,
            (3,),
            "anchors that an object keeps after the conflicts; None or 0: tal_topk",
            span=Span(1, 12, whole=True),
        ),
        **GAINS,
        **POSE,
        **RULES,
        **EDITION,
    },
    terms=("box", "pose", "kobj", "cls", "dfl"),
    reference=v8_pose,
    oracle=oracle,
    composite=True,
    derived=DERIVED,
    sizes=SIZES,
    laws=(*detection_laws(("boxes", "scores", "kpts"), ("bboxes", "keypoints"), 5, 0), *pose_laws("v8", (1, 2))),
    corners=pose_corners(),
    impostors=v8_impostors(),
    api="v8PoseLoss(model, tal_topk=10, tal_topk2=10)(preds, batch)",
    returns="vector (5,): box, pose, kobj, cls, dfl times the number of images; the same without it, detached",
)
