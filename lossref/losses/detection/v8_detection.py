"""Detection loss of YOLO heads: task-aligned assignment (arXiv 2108.07755), CIoU and DFL.

With positives i, target scores t_i and S = max(sum t_i, 1): box = g_box sum t_i (1 - CIoU_i) / S, cls = g_cls
(sum of bce over all anchors and classes) / S, dfl = g_dfl sum t_i DFL_i / S (L1 with one bin), each times the
number of images. The assignment carries no gradient. Where sources differ: conflicts, plain IoU, small sides
and zero metrics in the assigner, alpha of CIoU, the sum of the terms instead of the vector; no rule for small
sides, no second top-k and no dfl with one bin (releases 8.3, `edition="8.3"`).
Source: spec/40-yolo.md section 1, spec/05-decisions.md D8 to D12.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from lossref.core.arithmetic import Arithmetic
from lossref.core.nouns import Spec
from lossref.core.scenes import object_inputs, prediction_inputs
from lossref.losses.assignment.answer import STEPS
from lossref.losses.assignment.task_aligned import TaskAlignedAssigner
from lossref.losses.box_terms.bbox import BboxLoss
from lossref.losses.box_terms.domains import EDITION
from lossref.losses.classification.replaced import Mark, documented, kind_of, overridden, own, plain_bce
from lossref.losses.coordinates.dfl_decode import dfl_distances
from lossref.losses.coordinates.dist2bbox import dist2bbox
from lossref.losses.detection.batch import Grid, branch, grid_of, padded, read_head, slots_of, targets_of, vector_of
from lossref.losses.detection.cases import CORNERS
from lossref.losses.detection.composed import composed
from lossref.losses.detection.impostors import impostors
from lossref.losses.detection.laws import DERIVED, GAINS, GRID, RULES, SIZES, TOPK, detection_laws, mirrored
from lossref.losses.detection.oracle import oracle_detection, oracle_terms
from lossref.losses.detection.settings import Gains, Matching, Scene, Settings, scene_of
from lossref.losses.detection.terms import Found, Terms, dense, detect, to_pixels


def v8_detection(
    boxes: Tensor,
    scores: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    **settings: Any,
) -> Terms:
    """Loss of boxes (b, 4 reg_max, A) and score logits (b, c, A) against objects; three 0-d terms.

    Objects: batch_idx (n,) or (n, 1), cls likewise, bboxes (n, 4) xywh normalised; any order, and an index
    that is no image is ignored. `settings` are the keywords of `scene_of`. Terms have gains and the factor b,
    in the promoted dtype of boxes and scores, at least float32. Raises
    RuntimeError for lengths or anchors that do not fit and for A < tal_topk, IndexError for a class without
    a score, ValueError for NaN in the objects. Formula: spec/40-yolo.md section 1.3.
    """
    _, terms = detect(boxes, scores, scene_of((boxes, scores), (batch_idx, cls, bboxes), **settings))
    return Terms(*(term * len(boxes) for term in terms))


def oracle(m: Arithmetic, boxes: Any, scores: Any, batch_idx: Any, cls: Any, bboxes: Any, **params: Any) -> Any:
    """The three terms in scalars."""
    p = SimpleNamespace(**params)
    images = oracle_detection(m, p, boxes, scores, batch_idx, cls, bboxes)
    return tuple(term * len(boxes) for term in oracle_terms(m, p, images, scores))


@documented("preprocess", "bbox_decode", "get_assigned_targets_and_loss")
class v8DetectionLoss:
    """Drop-in for the class of that name: the vector (box, cls, dfl) of a head's predictions.

    Gains are read from model.args at every call; nothing else is kept between calls. Parts that are replaced and
    methods that are overridden act: the loss is then composed of them, more slowly. `class_weights` (1, 1, c) are
    those of the model at construction, or None.
    """

    _methods: dict[str, Any]
    _kinds = kind_of(TaskAlignedAssigner), kind_of(BboxLoss)
    _form: Any = staticmethod(detect)  # subclasses whose own terms are of positives only have that of pairs

    def __init__(self, model: Any, tal_topk: int = 10, tal_topk2: int | None = None) -> None:
        head = read_head(model)
        self.bce = nn.BCEWithLogitsLoss(reduction="none")
        self.hyp, self.device = head.hyp, head.device
        self.stride, self.nc, self.reg_max = head.stride, head.nc, head.reg_max
        self.no = self.nc + 4 * self.reg_max
        self.use_dfl = self.reg_max > 1
        self._noted, self._steps = Mark(self.stride), tuple(self.stride.tolist())
        self.assigner = TaskAlignedAssigner(tal_topk, self.nc, 0.5, 6.0, stride=self._steps, topk2=tal_topk2)
        self.bbox_loss = BboxLoss(self.reg_max)
        self.proj = torch.arange(self.reg_max, dtype=torch.float32, device=self.device)
        self.class_weights = head.class_weights
        self._made, self._classes = Mark(self.proj), self.nc

    def preprocess(self, targets: Tensor, batch_size: int, scale_tensor: Tensor) -> Tensor:
        """Targets (n, 6): image, class, normalised xywh to (b, G, 5): class, xyxy times the scale (W, H, W, H)."""
        dtype = torch.promote_types(torch.promote_types(targets.dtype, scale_tensor.dtype), torch.float32)
        rows = padded(targets[:, 1:].to(dtype), slots_of(targets[:, 0], batch_size))
        return to_pixels(rows, scale_tensor.to(dtype)).to(self.device)

    def bbox_decode(self, anchor_points: Tensor, pred_dist: Tensor) -> Tensor:
        """Logits (b, A, 4 reg_max) around points (A, 2) to xyxy (b, A, 4); all in stride units."""
        return dist2bbox(self._distances(pred_dist), anchor_points, xywh=False)

    def get_assigned_targets_and_loss(
        self, preds: dict[str, Any], batch: dict[str, Any]
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """(fg_mask, object index, target boxes px, points, strides), the vector (3,) without factor b, a copy."""
        if self._replaced():
            answer, loss = composed(self, preds, batch)
            return answer, loss, loss.detach().clone()
        found, terms, grid = self._detect(preds, batch)
        loss = vector_of(terms, preds["boxes"], preds["scores"])
        return dense(found, grid, preds["scores"]), loss, loss.detach().clone()

    def parse_output(self, preds: Any) -> Any:
        """Element 1 of a tuple, else `preds` itself."""
        return branch(preds)

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The vector (box, cls, dfl) times the number of images, and the vector, detached."""
        if self._replaced():
            _, vector, items = self.get_assigned_targets_and_loss(preds, batch)
            return vector * len(preds["boxes"]), items
        _, terms, _ = self._detect(preds, batch)
        vector = vector_of(terms, preds["boxes"], preds["scores"])
        return vector * len(preds["boxes"]), vector.detach()

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """`loss` of the parsed predictions."""
        return self.loss(self.parse_output(preds), batch)

    def _replaced(self) -> str:
        """The first part or method that is not the one that the class came with, or nothing: then all goes at once."""
        return overridden(self) or self._other_part()

    def _other_part(self) -> str:
        assigner, box_loss = self._kinds
        if not own(self.assigner, assigner, *STEPS) or self.assigner.num_classes != self._classes:
            return "assigner"
        if not own(self.bbox_loss, box_loss) or self.bbox_loss.reg_max != self.reg_max:
            return "bbox_loss"
        if not self.bbox_loss.own_distances():
            return "bbox_loss.dfl_loss"
        if not plain_bce(self.bce, "none"):
            return "bce"
        if not self._own_proj():
            return "proj"
        return "" if self.class_weights is None else "class_weights"

    def _own_proj(self) -> bool:
        """Whether distances are what `dfl_distances` makes of the logits."""
        return self._made.untouched(self.proj) and self.use_dfl == (self.reg_max > 1)

    def _distances(self, pred_dist: Tensor) -> Tensor:
        """Distances (..., 4) of logits (..., 4 reg_max), by `proj` and `use_dfl`."""
        if self._own_proj():
            return dfl_distances(pred_dist, self.reg_max)
        if not self.use_dfl:
            return pred_dist
        weight = pred_dist.reshape(*pred_dist.shape[:-1], 4, -1).softmax(-1)
        return weight @ self.proj.to(weight)

    def _grid(self, preds: dict[str, Any], *more: Tensor) -> Grid:
        return grid_of(preds["feats"], self._strides(), preds["boxes"], preds["scores"], *more)

    def _strides(self) -> tuple[float, ...]:
        """The strides as numbers, which come from the device again only if others were put there."""
        return self._steps if self._noted.untouched(self.stride) else tuple(self.stride.tolist())

    def _matching(self) -> Matching:
        a = self.assigner
        return Matching(a.strides(), a.topk, a.topk2, a.alpha, a.beta, a.eps)

    def _baked(self) -> tuple[Any, ...]:
        """The numbers that a graph of this loss would not see change."""
        return (self._settings(),)

    def _settings(self) -> Settings:
        return Settings(self.reg_max, self._matching(), Gains(self.hyp.box, self.hyp.cls, self.hyp.dfl))

    def _detect(self, preds: dict[str, Any], batch: dict[str, Any], nc: int | None = None) -> tuple[Found, Terms, Grid]:
        """What subclasses build on: the positives, the three terms (gains, no factor b), the anchors.

        `nc` is the number of classes if it is not that of the head.
        """
        boxes, scores, grid = preds["boxes"], preds["scores"], self._grid(preds)
        require_classes(scores, self.nc if nc is None else nc)
        targets = targets_of(batch["batch_idx"], batch["cls"], batch["bboxes"], grid.points.dtype).to(boxes.device)
        found, terms = self._form(boxes, scores, Scene(targets, grid, self._settings()))
        return found, terms, grid


def require_classes(scores: Tensor, nc: int) -> None:
    """Raise ValueError unless scores (b, c, A) have as many channels as there are classes."""
    if scores.shape[1] != nc:
        raise ValueError(f"scores: expected {nc} channels, one for each class, got {scores.shape[1]}")


SPEC = Spec(
    name="v8_detection",
    summary="Detection loss with task-aligned assignment",
    cite="spec/40-yolo.md section 1; arXiv 2108.07755, arXiv 1911.08287, arXiv 2006.04388",
    inputs={**prediction_inputs(), **object_inputs()},
    wrt=("boxes", "scores"),
    params={**GRID, **TOPK, **GAINS, **RULES, **EDITION},
    terms=("box", "cls", "dfl"),
    reference=v8_detection,
    oracle=oracle,
    composite=True,
    derived=DERIVED,
    sizes=SIZES,
    laws=(*detection_laws(("boxes", "scores"), ("bboxes",)), mirrored),
    corners=CORNERS,
    impostors=impostors(v8_detection),
    api="v8DetectionLoss(model, tal_topk=10, tal_topk2=None)(preds, batch)",
    returns="vector (3,): box, cls, dfl times the number of images; the same without that factor, detached",
)
