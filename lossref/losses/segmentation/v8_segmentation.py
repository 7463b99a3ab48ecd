"""Segmentation loss of YOLO heads: detection, prototype masks (arXiv 1904.02689), and a semantic term.

seg = box gain * mean over the positives of (mean over all mask pixels of the cropped cross entropy of
coefficients . prototypes) / (area of the target box as a part of the image), semseg = box gain * BCE + Dice of
the semantic logits against the classes of the pixels that belong to an instance; box, cls and dfl as
v8_detection. Source: spec/40-yolo.md section 2, spec/05-decisions.md D1, D3, D4, D8, D10, D11, D14.
Where sources differ: crops at rounded edges (D1), images beyond the number of separate masks left out (D3),
pixels of an image without objects trained (D4), a gain of its own; masks resized to the prototypes, nearest, and
no semantic term (releases 8.3, `edition="8.3"`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.nouns import Spec
from lossref.core.precision import compute_dtype
from lossref.losses.box_terms.domains import EDITION
from lossref.losses.classification.replaced import documented, kind_of, overridden, own
from lossref.losses.detection.batch import slots_of
from lossref.losses.detection.cases import LIFT
from lossref.losses.detection.cases import fixture_f as f
from lossref.losses.detection.laws import DERIVED, GAINS, GRID, RULES, TOPK
from lossref.losses.detection.oracle import oracle_detection, oracle_terms
from lossref.losses.detection.settings import Scene, scene_of
from lossref.losses.detection.terms import without_objects
from lossref.losses.detection.v8_detection import v8DetectionLoss
from lossref.losses.masks.batch_term import MaskRules, MaskTargets, mask_term, of_edition
from lossref.losses.masks.bce_dice import BCEDiceLoss
from lossref.losses.masks.boxes import MASKS
from lossref.losses.masks.mask import single_mask_loss
from lossref.losses.segmentation.cases import (
    SIZES,
    corners,
    laws_of,
    masks_twice,
    of_f,
    reversed_semantic_classes,
    segmentation_inputs,
)
from lossref.losses.segmentation.composed import by_image, composed_segments
from lossref.losses.segmentation.impostors import impostors
from lossref.losses.segmentation.oracle import oracle_seg, oracle_semseg
from lossref.losses.segmentation.settings import MASK_PARAMS, SEMANTIC_PARAMS
from lossref.losses.segmentation.terms import (
    Choices,
    SegmentationTerms,
    Segments,
    Truth,
    detected,
    require_segments,
    segmented,
    segments_of,
)


def v8_segmentation(
    boxes: Tensor,
    scores: Tensor,
    mask_coefficient: Tensor,
    proto: Tensor,
    semseg: Tensor | None,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    masks: Tensor,
    sem_masks: Tensor | None,
    *,
    overlap: bool = True,
    semantic: bool = True,
    crop: str = "exact",
    separate_masks: str = "all",
    semantic_background: str = "empty",
    zero_area_mask: str = "none",
    edition: str = "8.4",
    box_gain: float = 7.5,
    **detection: Any,
) -> SegmentationTerms:
    """Loss of a segmentation head against objects and masks; five 0-d terms with gains and the factor b.

    boxes (b, 4R, A), scores (b, c, A), coefficients (b, k, A), prototypes (b, k, Hp, Wp), semantic logits
    (b, c, Hs, Ws), which are ignored unless `semantic`. Objects as `v8_detection`. `overlap`: masks (b, Hm, Wm)
    number the objects of their image from 1; else (n, Hm, Wm), one of 0 and 1 for each object. sem_masks
    (b, Hm, Wm) is the class of each pixel. `detection`: the other parameters of `v8_detection`. Promoted dtype of
    the predictions, at least float32. Raises as `v8_detection`, RuntimeError for predictions that do not fit
    or a semantic class without logits, ValueError or IndexError for masks that do not.
    """
    detection |= {"box_gain": box_gain, "edition": edition}
    scene = scene_of((boxes, scores), (batch_idx, cls, bboxes), **detection)
    rules = of_edition(MaskRules(overlap, crop, separate_masks, zero_area_mask), edition)
    found, terms = detected(boxes, scores, scene, rules)
    segments = Segments(mask_coefficient, proto, semseg if semantic and edition != "8.3" else None)
    require_segments(segments, scores)
    choices = Choices(box_gain, rules=rules, semantic_background=semantic_background)
    parts = segmented(found, terms, segments, Truth(masks, sem_masks, scene.grid.imgsz), choices)
    if semseg is not None:  # a zero gradient where it has no effect
        parts = parts._replace(semseg=parts.semseg + semseg[:0].sum())
    return SegmentationTerms(*(term * len(boxes) for term in parts))


def oracle(m: Arithmetic, boxes: Any, scores: Any, mask_coefficient: Any, proto: Any, semseg: Any, **more: Any) -> Any:
    """The five terms in scalars."""
    p = SimpleNamespace(**more)
    images = oracle_detection(m, p, boxes, scores, p.batch_idx, p.cls, p.bboxes)
    box, cls, dfl = oracle_terms(m, p, images, scores)
    seg = oracle_seg(m, p, images, mask_coefficient, proto, p.masks) * p.box_gain
    semantic = m.number(0.0)
    if p.semantic and any(images) and p.edition != "8.3":
        semantic = oracle_semseg(m, p, semseg, p.batch_idx, p.masks, p.sem_masks) * p.box_gain
    return tuple(term * len(boxes) for term in (box, seg, cls, dfl, semantic))


_BCE_DICE = kind_of(BCEDiceLoss)


@documented(*v8DetectionLoss._methods, "calculate_segmentation_loss", "single_mask_loss")
class v8SegmentationLoss(v8DetectionLoss):
    """Drop-in for the class of that name: the vector (box, seg, cls, dfl, semseg) of a head's predictions.

    `overlap` is model.args.overlap_mask at construction: masks (b, Hm, Wm) that number the objects of an
    image from 1, or one binary mask for each object of the batch, (N, Hm, Wm).
    """

    def __init__(self, model: Any, tal_topk: int = 10, tal_topk2: int | None = None) -> None:
        super().__init__(model, tal_topk, tal_topk2)
        self.overlap = model.args.overlap_mask
        self.bcedice_loss = BCEDiceLoss(weight_bce=0.5, weight_dice=0.5)

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The vector times the number of images, and the vector, detached."""
        vector = composed_segments(self, preds, batch) if self._replaced() else self._segment(preds, batch)
        return vector * len(preds["boxes"]), vector.detach()

    @staticmethod
    def single_mask_loss(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor) -> Tensor:
        """Cost of the positives of one image, summed; boxes in mask pixels. See `lossref.losses.mask`."""
        return single_mask_loss(gt_mask, pred, proto, xyxy, area)

    def calculate_segmentation_loss(
        self,
        fg_mask: Tensor,
        masks: Tensor,
        target_gt_idx: Tensor,
        target_bboxes: Tensor,
        batch_idx: Tensor,
        proto: Tensor,
        pred_masks: Tensor,
        imgsz: Tensor,
    ) -> Tensor:
        """Mean over the positives fg_mask (b, A) of their mask costs, without gain; 0-d. See `mask_term`.

        `masks` as the attribute `overlap` says, object index (b, A), boxes (b, A, 4) xyxy in pixels, batch_idx
        (N, 1), prototypes (b, k, Hm, Wm), coefficients (b, A, k), imgsz (H, W). NaN without positives.
        Raises IndexError for an object index that the image does not have (separate masks).
        """
        image, anchor = fg_mask.nonzero(as_tuple=True)
        number = target_gt_idx[image, anchor].long()
        row = number if self.overlap else _rows(batch_idx, len(fg_mask), image, number)
        size = float(imgsz[0]), float(imgsz[1])
        dtype, _ = compute_dtype(pred_masks, proto)
        targets = MaskTargets(image, number, row, target_bboxes[image, anchor], size)
        coefficients, proto = pred_masks[image, anchor].to(dtype), proto.to(dtype)
        if overridden(self, "single_mask_loss"):
            return by_image(self, coefficients, proto, masks, targets)
        return mask_term(coefficients, proto, masks, targets, self._mask_rules())

    def _other_part(self) -> str:
        return super()._other_part() or self._other_dice()

    def _other_dice(self) -> str:
        if own(self.bcedice_loss, _BCE_DICE) and self.bcedice_loss.own_parts():
            return ""
        return "bcedice_loss"

    def _mask_rules(self) -> MaskRules:
        return MaskRules(overlap=self.overlap)

    def _form(self, boxes: Tensor, scores: Tensor, scene: Scene) -> Any:
        return detected(boxes, scores, scene, self._mask_rules())

    def _baked(self) -> tuple[Any, ...]:
        return *super()._baked(), self._choices()

    def _choices(self) -> Choices:
        weights = self.bcedice_loss.weight_bce, self.bcedice_loss.weight_dice
        return Choices(self.hyp.box, weights, self._mask_rules())

    def _segment(self, preds: dict[str, Any], batch: dict[str, Any]) -> Tensor:
        """The vector with gains, without the factor b; masks are read if there are positives."""
        found, terms, grid = self._detect(preds, batch)
        segments, truth = segments_of(preds), None
        require_segments(segments, preds["scores"])
        if not without_objects(found):
            device = segments.proto.device
            classes = None if segments.semantic is None else batch["sem_masks"].to(device)
            truth = Truth(batch["masks"].to(device), classes, grid.imgsz)
        return torch.stack(segmented(found, terms, segments, truth, self._choices()))


def _rows(batch_idx: Tensor, images: int, image: Tensor, number: Tensor) -> Tensor:
    """Row of the batch of object `number` (n,) of each image (n,); IndexError if there is none."""
    slots = slots_of(batch_idx, images)
    if (number.numel() and int(number.max()) >= slots.row.shape[1]) or not bool(slots.present[image, number].all()):
        raise IndexError("target_gt_idx: an image has fewer objects than a positive asks for")
    return slots.row[image, number]


SPEC = Spec(
    name="v8_segmentation",
    summary="Segmentation loss: detection, prototype masks, semantic term",
    cite="spec/40-yolo.md section 2; arXiv 1904.02689, arXiv 2108.07755",
    inputs=segmentation_inputs(semantic=True),
    wrt=("boxes", "scores", "mask_coefficient", "proto", "semseg"),
    params={**GRID, **TOPK, **GAINS, **MASK_PARAMS, **SEMANTIC_PARAMS, **RULES, **EDITION},
    terms=("box", "seg", "cls", "dfl", "semseg"),
    reference=v8_segmentation,
    oracle=oracle,
    composite=True,
    derived={**DERIVED, **MASKS},
    sizes=SIZES,
    laws=(*laws_of(5, 1, "proto", "semseg", "masks", "sem_masks"), masks_twice, reversed_semantic_classes),
    corners=(*corners(), of_f("lifted bins", "logits of 100 and -120, no other loss", boxes=f.boxes() + LIFT)),
    impostors=impostors(v8_segmentation),
    api="v8SegmentationLoss(model, tal_topk=10, tal_topk2=None)(preds, batch)",
    returns="vector (5,): box, seg, cls, dfl, semseg times the number of images; without that factor, detached",
)
