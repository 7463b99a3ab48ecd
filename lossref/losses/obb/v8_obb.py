"""Detection loss of rotated boxes: task-aligned assignment by probiou (arXiv 2106.06072), DFL, an angle term.

box, cls and dfl as in v8_detection with boxes (x, y, w, h, r), angle = g_angle (sum t_i a_i sin^2 2 d_i) / S as in
lossref/losses/box_terms/angle.py. Objects with w or h below 2 pixels are dropped first.
Where sources differ: small objects enlarged in overlap and targets (`small_rboxes="enlarged"`, up to 8.4.24),
the size filter with w H and h W, distances of the unturned box, ten anchors for every object, no angle term
(releases 8.3, `edition="8.3"`), a floor under the variances in the box term (`cov_floor`, from 8.4.190).
Source: spec/40-yolo.md section 5, spec/05-decisions.md D2, D8 to D12.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.nouns import Domain, Param, Span, Spec
from lossref.core.scenes import object_inputs, prediction_inputs
from lossref.losses.assignment import meanings as words
from lossref.losses.assignment.rotated_task_aligned import RotatedTaskAlignedAssigner
from lossref.losses.box_terms.angle import angle_loss
from lossref.losses.box_terms.domains import EDITION
from lossref.losses.box_terms.rotated_bbox import RotatedBboxLoss
from lossref.losses.classification.replaced import documented, kind_of
from lossref.losses.coordinates.dist2rbox import dist2rbox
from lossref.losses.detection.batch import Grid, padded, slots_of, vector_of
from lossref.losses.detection.laws import DERIVED, GAINS, GRID, RULES, SIZES, TOPK, detection_laws
from lossref.losses.detection.settings import Scene, scene_of
from lossref.losses.detection.terms import Found, dense
from lossref.losses.detection.v8_detection import require_classes, v8DetectionLoss
from lossref.losses.obb.cases import CORNERS, OBJECTS, angles, mirrored
from lossref.losses.obb.composed import composed_rotated, rotated_targets
from lossref.losses.obb.forms import detect_rotated
from lossref.losses.obb.impostors import impostors
from lossref.losses.obb.oracle import oracle_rotated_detection, oracle_rotated_terms
from lossref.losses.obb.terms import RotatedSettings, RotatedTerms
from lossref.losses.overlap.gaussians import FLOOR

TOPK_83 = 10  # releases 8.3 have no such setting


def v8_obb(
    boxes: Tensor,
    scores: Tensor,
    angle: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    *,
    tal_topk: int = 10,
    angle_gain: float = 1.0,
    small_rboxes: str = "true",
    cov_floor: float = 0.0,
    edition: str = "8.4",
    **settings: Any,
) -> RotatedTerms:
    """Loss of boxes (b, 4 reg_max, A), score logits (b, c, A) and angles (b, 1, A) in radians; four 0-d terms.

    Objects: batch_idx (n,) or (n, 1), cls likewise, bboxes (n, 5) xywhr, x, y, w, h normalised; any order, and
    an index that is no image is ignored. `settings` are the other keywords of `scene_of`, overlap and alpha aside.
    Terms have gains and the factor b, in the promoted dtype of the predictions, at least float32. Raises
    RuntimeError for lengths or anchors that do not fit and for A < tal_topk, IndexError for a class without
    a score, ValueError for NaN in the objects. Formula: spec/40-yolo.md section 5.3.
    """
    settings |= {"tal_topk": TOPK_83 if edition == "8.3" else tal_topk, "edition": edition}
    scene = scene_of((boxes, scores, angle), (batch_idx, cls, bboxes), metric_overlap="probiou", **settings)
    rotated = RotatedSettings(angle_gain, small_rboxes, cov_floor)
    _, terms = detect_rotated(boxes, scores, angle, scene, rotated)
    return RotatedTerms(*(term * len(boxes) for term in terms))


def oracle(
    m: Arithmetic, boxes: Any, scores: Any, angle: Any, batch_idx: Any, cls: Any, bboxes: Any, **params: Any
) -> Any:
    """The four terms in scalars."""
    p = SimpleNamespace(**params, metric_overlap="probiou", ciou_alpha="detached", edge="closed")
    p.tal_topk = 10 if p.edition == "8.3" else p.tal_topk
    images = oracle_rotated_detection(m, p, boxes, scores, angle, batch_idx, cls, bboxes)
    return tuple(term * len(boxes) for term in oracle_rotated_terms(m, p, images, scores))


@documented("preprocess", "bbox_decode", "get_assigned_targets_and_loss", "calculate_angle_loss")
class v8OBBLoss(v8DetectionLoss):
    """Drop-in for the class of that name: the vector (box, cls, dfl, angle) of a head's predictions."""

    _kinds = kind_of(RotatedTaskAlignedAssigner), kind_of(RotatedBboxLoss)

    def __init__(self, model: Any, tal_topk: int = 10, tal_topk2: int | None = None) -> None:
        super().__init__(model, tal_topk, tal_topk2)
        self.assigner = RotatedTaskAlignedAssigner(tal_topk, self.nc, 0.5, 6.0, stride=self._steps, topk2=tal_topk2)
        self.bbox_loss = RotatedBboxLoss(self.reg_max)

    def preprocess(self, targets: Tensor, batch_size: int, scale_tensor: Tensor) -> Tensor:
        """Targets (n, 7): image, class, xywhr to (b, G, 6): class, xywh times the scale (W, H, W, H), r."""
        dtype = torch.promote_types(torch.promote_types(targets.dtype, scale_tensor.dtype), torch.float32)
        if len(targets) == 0:
            return targets.new_zeros((batch_size, 0, 6), dtype=dtype, device=self.device)
        rows = padded(targets[:, 1:].to(dtype), slots_of(targets[:, 0], batch_size))
        return torch.cat([rows[..., :1], rows[..., 1:5] * scale_tensor.to(dtype), rows[..., 5:]], -1).to(self.device)

    def bbox_decode(self, anchor_points: Tensor, pred_dist: Tensor, pred_angle: Tensor) -> Tensor:  # type: ignore[override]
        """Logits (b, A, 4 reg_max), angles (b, A, 1) around points (A, 2) to xywhr (b, A, 5), stride units."""
        return torch.cat([dist2rbox(self._distances(pred_dist), pred_angle, anchor_points), pred_angle], -1)

    def calculate_angle_loss(
        self,
        pred_bboxes: Tensor,
        target_bboxes: Tensor,
        fg_mask: Tensor,
        weight: Tensor,
        target_scores_sum: Tensor | float,
        lambda_val: float = 3,
    ) -> Tensor:
        """`angle_loss` of the boxes (..., 5) in fg_mask (...); weight (n,) in the order of the mask."""
        return angle_loss(pred_bboxes[fg_mask], target_bboxes[fg_mask], weight, target_scores_sum, lambda_val)

    def get_assigned_targets_and_loss(
        self, preds: dict[str, Any], batch: dict[str, Any]
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """(fg_mask, object index, target boxes px, points, strides), the vector (4,) without factor b, a copy."""
        if self._replaced():
            answer, loss = composed_rotated(self, preds, batch)
            return answer, loss, loss.detach().clone()
        found, terms, grid = self._detect_rotated(preds, batch)
        loss = vector_of(terms, preds["boxes"], preds["scores"], preds["angle"])
        return dense(found, grid, preds["scores"]), loss, loss.detach().clone()

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The vector (box, cls, dfl, angle) times the number of images, and the vector, detached.

        Raises TypeError where the objects are not in the format of rotated boxes.
        """
        if self._replaced():
            _, vector = composed_rotated(self, preds, batch)
            return vector * len(preds["angle"]), vector.detach()
        _, terms, _ = self._detect_rotated(preds, batch)
        vector = vector_of(terms, preds["boxes"], preds["scores"], preds["angle"])
        return vector * len(preds["angle"]), vector.detach()

    def _detect_rotated(self, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[Found, RotatedTerms, Grid]:
        boxes, scores, angle = preds["boxes"], preds["scores"], preds["angle"]
        require_classes(scores, self.nc)
        grid = self._grid(preds, angle)
        targets = rotated_targets(batch, grid.points.dtype).to(boxes.device)
        scene = Scene(targets, grid, self._settings())
        found, terms = detect_rotated(boxes, scores, angle, scene, self._rotated_settings())
        return found, terms, grid

    def _baked(self) -> tuple[Any, ...]:
        return *super()._baked(), self._rotated_settings()

    def _rotated_settings(self) -> RotatedSettings:
        return RotatedSettings(self.hyp.angle)


SPEC = Spec(
    name="v8_obb",
    summary="Detection loss of rotated boxes",
    cite="spec/40-yolo.md section 5; arXiv 2106.06072, arXiv 2108.07755",
    inputs={
        **prediction_inputs(),
        "angle": Domain("b 1 A", "radians", {"any": angles(-50, 150), "upright": angles(0, 0)}, row=2, nan_free=True),
        **object_inputs(OBJECTS, 5),
    },
    wrt=("boxes", "scores", "angle"),
    params={
        **GRID,
        **TOPK,
        **GAINS,
        "angle_gain": Param(1.0, (4.0,), "factor of the angle term", span=Span(0.0, 8.0)),
        **{name: param for name, param in RULES.items() if name not in ("metric_overlap", "ciou_alpha", "edge")},
        "small_rboxes": Param(
            "true", ("enlarged",), "size of small boxes in overlap and targets", means=words.SMALL_RBOXES
        ),
        "cov_floor": Param(
            0.0, (0.01,), "added to the variances of every box in the box term", means=FLOOR, span=Span(0.0, 1.0)
        ),
        **EDITION,
    },
    terms=("box", "cls", "dfl", "angle"),
    reference=v8_obb,
    oracle=oracle,
    composite=True,
    derived=DERIVED,
    sizes=SIZES,
    laws=(*detection_laws(("boxes", "scores", "angle"), ("bboxes",), 4, 4), mirrored),
    corners=CORNERS,
    impostors=impostors(v8_obb),
    api="v8OBBLoss(model, tal_topk=10, tal_topk2=None)(preds, batch)",
    returns="vector (4,): box, cls, dfl, angle times the number of images; the same without that factor, detached",
)
