"""Pose loss of end-to-end heads: v8_pose with another decoding, and the likelihood of the keypoint errors.

box, pose, kobj, cls and dfl as v8_pose, but decoded as x -> x + p_x; rle = g_rle max(0, likelihood) over the
visible keypoints of all positives, as in lossref/losses/keypoints/rle_keypoints.py, with the density of a flow. Without
sigmas or positives rle is 0. Where sources differ: a sigma that underflows (D5), keypoints of two values with
sigmas (D6: all visible), assignment by keypoints (from 8.4.180, see keypoint_overlap.py).
Source: spec/40-yolo.md section 4, D5, D6, D8 to D12; arXiv 2107.11291.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.nouns import Param, Span, Spec
from lossref.core.precision import compute_dtype
from lossref.core.scenes import object_inputs, prediction_inputs
from lossref.losses.classification.replaced import documented
from lossref.losses.detection.batch import vector_of
from lossref.losses.detection.cases import fixture_f as f
from lossref.losses.detection.laws import GAINS, GRID, RULES, SIZES, TOPK, detection_laws
from lossref.losses.detection.oracle import BOXES, oracle_detection, oracle_terms
from lossref.losses.detection.terms import detect, pairs
from lossref.losses.keypoints.kpts_decode import kpts_decode
from lossref.losses.keypoints.oracle import oracle_constants, oracle_pose_terms, oracle_poses, oracle_rle_term
from lossref.losses.keypoints.rle import RLELoss
from lossref.losses.keypoints.rle_keypoints import RLE_SIGMA, errors_of, rle_keypoints
from lossref.losses.pose.cases import by_keypoints, hit, of_f, pose_corners
from lossref.losses.pose.composed import composed_pose
from lossref.losses.pose.domains import (
    DERIVED,
    POSE,
    keypoint_predictions,
    keypoint_targets,
    pose_laws,
    sigma_predictions,
)
from lossref.losses.pose.impostors import impostors26
from lossref.losses.pose.keypoint_overlap import BY_KEYPOINTS, KINDS, oracle_keypoint_task
from lossref.losses.pose.keypoint_terms import (
    COCO,
    Truth,
    keypoint_terms,
    nothing_of,
    predicted_at,
    sigmas_of,
    weights_of,
)
from lossref.losses.pose.terms import likelihood, parts_of
from lossref.losses.pose.v8_pose import v8PoseLoss


class PoseTerms26(NamedTuple):
    """The six terms with gains and the factor b; each 0-d."""

    box: Tensor
    pose: Tensor
    kobj: Tensor
    cls: Tensor
    dfl: Tensor
    rle: Tensor


def pose26(
    boxes: Tensor,
    scores: Tensor,
    kpts: Tensor,
    kpts_sigma: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    keypoints: Tensor,
    *,
    pose_gain: float = 12.0,
    kobj_gain: float = 1.0,
    rle_gain: float = 1.0,
    kpt_shape: Sequence[int] = (3, 3),
    flow: bool = True,
    rle_sigma: str = "bounded",
    **detection: Any,
) -> PoseTerms26:
    """Loss of boxes, scores, keypoints (b, K D, A) and sigma logits (b, 2 K, A) against objects; six 0-d terms.

    The flow is the standard normal density; without it rle is 0 and kpts_sigma has no effect. Everything
    else as in `v8_pose`. Terms in the promoted dtype of the predictions, at least float32. Raises RuntimeError for
    predictions, ValueError for keypoints that do not fit. Formula: spec/40-yolo.md section 4.
    """
    given = (boxes, scores, kpts, kpts_sigma, batch_idx, cls, bboxes, keypoints)
    _, terms, pred, truth = parts_of(*given, form="26", kpt_shape=kpt_shape, **detection)
    coco = tuple(kpt_shape) == COCO
    pose, kobj = keypoint_terms(pred, truth, sigmas_of(kpt_shape, pred.dtype, coco), kpt_shape[1] == 3)
    rle = pred[:0].sum() if truth is None or not flow else likelihood(pred, truth, kpt_shape, rle_sigma)
    dtype, _ = compute_dtype(boxes, scores, kpts, kpts_sigma)
    parts = (terms.box, pose * pose_gain, kobj * kobj_gain, terms.cls, terms.dfl, rle * rle_gain)
    return PoseTerms26(*(part.to(dtype) * len(boxes) for part in parts))


def oracle(
    m: Arithmetic,
    boxes: Any,
    scores: Any,
    kpts: Any,
    kpts_sigma: Any,
    batch_idx: Any,
    cls: Any,
    bboxes: Any,
    keypoints: Any,
    **params: Any,
) -> Any:
    """The six terms in scalars."""
    p = SimpleNamespace(**params)
    sigmas, _ = oracle_constants(m, p.kpt_shape)
    task = oracle_keypoint_task(m, p, kpts, keypoints, sigmas) if p.metric_overlap in KINDS else BOXES
    images = oracle_detection(m, p, boxes, scores, batch_idx, cls, bboxes, task)
    box, class_cost, dfl = oracle_terms(m, p, images, scores)
    poses = oracle_poses(m, p, images, kpts, keypoints, "26", kpts_sigma)
    pose, kobj = oracle_pose_terms(m, p, poses)
    rle = oracle_rle_term(m, p, poses) if p.flow else m.number(0.0)
    return tuple(term * len(boxes) for term in (box, pose, kobj, class_cost, dfl, rle))


@documented(*v8PoseLoss._methods, "calculate_rle_loss")
class PoseLoss26(v8PoseLoss):
    """Drop-in for the class of that name: the vector (box, pose, kobj, cls, dfl) and, with a flow, rle.

    The flow is the head's flow_model, an object with log_prob((n, 2)) -> (n,); its parameters get a zero
    gradient, never None, where no keypoint reaches it.
    """

    _likelihood = True

    def __init__(self, model: Any, tal_topk: int = 10, tal_topk2: int | None = None) -> None:
        super().__init__(model, tal_topk, tal_topk2)
        self.flow_model = getattr(model.model[-1], "flow_model", None)
        self.rle_loss: Any = None if self.flow_model is None else RLELoss(use_target_weight=True)
        if self.flow_model is not None:
            self.target_weights = weights_of(self.kpt_shape, self._coco).to(self.device)

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The vector times the number of images, and the vector, detached."""
        kpts, sigma = preds["kpts"], preds.get("kpts_sigma")
        extra = () if sigma is None or not self._rated() else (sigma,)
        if self._replaced():
            vector = composed_pose(self, preds, batch, *extra)
            return vector * len(kpts), vector.detach()
        found, terms, grid = self._detect(preds, batch)
        pred = predicted_at(preds["scores"], found, self.kpt_shape, "26", kpts, *extra)
        costs = self._terms(pred, self._truth(batch, found, grid))
        pose, kobj, *rle = (cost * gain for cost, gain in zip(costs, self._gains(), strict=False))
        parts = (terms.box, pose, kobj, terms.cls, terms.dfl, *rle)
        vector = vector_of(parts, preds["boxes"], preds["scores"], kpts, *extra)
        return vector * len(kpts), vector.detach()

    @staticmethod
    def kpts_decode(anchor_points: Tensor, pred_kpts: Tensor) -> Tensor:
        """Positions of raw keypoints (b, A, K, D): x -> x + p_x, in cells."""
        return kpts_decode(anchor_points, pred_kpts, "26")

    calculate_keypoints_loss = v8PoseLoss.calculate_keypoints_loss  # with the likelihood, by `_terms`: listed here, too

    def calculate_rle_loss(self, pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor) -> Any:
        """`rle_keypoints` with the flow and the weights of this object; 0-d, not clamped."""
        assert self.rle_loss is not None, "calculate_rle_loss needs a head with a flow_model"
        given = pred_kpt, gt_kpt, kpt_mask, self.target_weights
        if self._own_rle():
            return rle_keypoints(*given, self._log_prob, "bounded", self.rle_loss.residual, self.rle_loss.size_average)
        sigma, error, weight = errors_of(*given)
        log_phi = self._log_prob(error)
        return self.rle_loss(sigma, log_phi, error, weight) if len(error) else sigma.sum() + log_phi.sum()

    def _form(self, *given: Any) -> Any:
        return (detect if self.rle_loss is None or self._own_rle() else pairs.detect)(*given)

    def _own_rle(self) -> bool:
        return type(self.rle_loss) is RLELoss and self.rle_loss.use_target_weight

    def _terms(self, pred: Tensor, truth: Truth | None) -> tuple[Tensor, ...]:
        """The three terms of decoded keypoints (n, K, D'), without gains; D' is 4 or 5 if sigmas are among them."""
        values = pred.shape[-1]
        pose, kobj = keypoint_terms(pred, truth, self._sigmas(pred.dtype), values in (3, 5))
        if truth is None or values < 4 or not self._rated():
            return pose, kobj, pose.new_zeros(()) + nothing_of(self.flow_model)
        return pose, kobj, self.calculate_rle_loss(pred, truth.points, truth.visible).clamp(min=0)

    def _gains(self) -> tuple[float, ...]:
        return *super()._gains(), *((self.hyp.rle,) if self._rated() else ())

    def _rated(self) -> bool:
        return self.flow_model is not None and self.rle_loss is not None

    def _log_prob(self, error: Tensor) -> Any:
        """Log-density of the flow at errors (n, 2); some flows refuse n = 0."""
        flow: Any = self.flow_model
        return flow.log_prob(error) if len(error) else error.sum(-1) + nothing_of(flow)


SPEC = Spec(
    name="pose26",
    summary="Pose loss with the likelihood of the keypoint errors",
    cite="spec/40-yolo.md section 4; arXiv 2107.11291",
    inputs={
        **prediction_inputs(),
        **keypoint_predictions(),
        **sigma_predictions(),
        **object_inputs(),
        **keypoint_targets(),
    },
    wrt=("boxes", "scores", "kpts", "kpts_sigma"),
    params={
        **GRID,
        **TOPK,
        **GAINS,
        **POSE,
        "rle_gain": Param(1.0, (0.5,), "factor of the likelihood term", span=Span(0.0, 8.0)),
        "flow": Param(True, (False,), "head with flow_model (standard normal); else the term is 0"),
        "rle_sigma": RLE_SIGMA,
        **RULES,
        **BY_KEYPOINTS,
    },
    terms=("box", "pose", "kobj", "cls", "dfl", "rle"),
    reference=pose26,
    oracle=oracle,
    composite=True,
    derived=DERIVED,
    sizes=SIZES,
    laws=(
        *detection_laws(("boxes", "scores", "kpts", "kpts_sigma"), ("bboxes", "keypoints"), 6, 0),
        *pose_laws("26", (1, 2, 5)),
    ),
    corners=(
        *pose_corners(sigma=True),
        of_f("no flow", "the sigmas are ignored", flow=False, kpts_sigma=f.kpts_sigma()),
        of_f("far off", "errors beyond 100 sigmas", kpts_sigma=np.full((2, 6, 40), -12.0)),
        hit("hit", "likelihood below 0: no cost and no gradient", sigma=-6.0),
        hit("sigma underflows", "e^-800: no NaN in the gradient (D5)", sigma=-800.0),
        by_keypoints("keypoints assign", "releases from 8.4.187", metric_overlap="oks", levels="by size"),
        by_keypoints("keypoints and boxes assign", "8.4.180 to 8.4.186", metric_overlap="ciou and oks"),
        by_keypoints("no keypoint to assign by", "boxes instead", hidden=True, metric_overlap="oks"),
    ),
    impostors=impostors26(),
    api="PoseLoss26(model, tal_topk=10, tal_topk2=None)(preds, batch)",
    returns="vector (6,): box, pose, kobj, cls, dfl, rle times the number of images (5 without a flow); the same "
    "without that factor, detached",
    absent=lambda params: () if params["flow"] else ("rle",),
)
