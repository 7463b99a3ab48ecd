"""Mask and semantic term of segmentation heads, from the positives that detection found.

Source: spec/40-yolo.md sections 2.1 and 2.3, spec/05-decisions.md D3, D4, D8, D10, D11.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.assignment.static.slots import Slots as Flat
from lossref.losses.detection.batch import Slots, kept_rows_at, rows_at
from lossref.losses.detection.settings import Scene
from lossref.losses.detection.terms import Found, Terms, detect, pairs, without_objects
from lossref.losses.masks.batch_term import MaskRules, MaskTargets, mask_term
from lossref.losses.masks.semantic_term import WEIGHTS, nearest, semantic_cost
from lossref.losses.masks.slot_masks import slot_mask_term
from lossref.losses.masks.slot_semantic import slot_semantic_cost


class Segments(NamedTuple):
    """The predictions of a segmentation head beside boxes and scores; `semantic` is None without that branch."""

    coefficients: Tensor
    proto: Tensor
    semantic: Tensor | None


def segments_of(preds: dict[str, Any]) -> Segments:
    """Coefficients (b, k, A), prototypes (b, k, h, w), semantic logits (b, c, hs, ws) or None.

    preds["proto"] is a tensor or a tuple of two; AttributeError for anything else.
    """
    proto, semantic = preds["proto"], None
    if isinstance(proto, tuple) and len(proto) == 2:
        proto, semantic = proto
    if not isinstance(proto, Tensor):
        raise AttributeError(f"proto: expected a tensor or (prototypes, semantic logits), got {type(proto).__name__}")
    return Segments(preds["mask_coefficient"], proto, semantic)


def require_segments(segments: Segments, scores: Tensor) -> None:
    """Raise RuntimeError unless the predictions fit each other and scores (b, c, A), TypeError if not floating."""
    coefficients, proto, semantic = segments
    require_floating(mask_coefficient=coefficients, proto=proto)
    (b, c, anchors), k = scores.shape, coefficients.shape[1]
    if coefficients.shape != (b, k, anchors) or proto.ndim != 4 or proto.shape[:2] != (b, k):
        given = f"mask_coefficient {tuple(coefficients.shape)}, proto {tuple(proto.shape)}"
        raise RuntimeError(f"expected (b, k, A) and (b, k, h, w) for scores {tuple(scores.shape)}, got {given}")
    if semantic is not None and (semantic.ndim != 4 or semantic.shape[:2] != (b, c)):
        raise RuntimeError(f"proto: expected semantic logits ({b}, {c}, h, w), got {tuple(semantic.shape)}")


class SegmentationTerms(NamedTuple):
    """The five terms, each 0-d."""

    box: Tensor
    seg: Tensor
    cls: Tensor
    dfl: Tensor
    semseg: Tensor


class Truth(NamedTuple):
    """Masks (b or N, Hm, Wm) and, for the semantic branch, classes (b, Hm, Wm); imgsz is (H, W) in pixels."""

    masks: Tensor
    sem_masks: Tensor | None
    imgsz: tuple[float, float]


class Choices(NamedTuple):
    """Gain of the two terms, weights of cross entropy and Dice, and the choices that `v8_segmentation` explains."""

    gain: float = 7.5
    weights: tuple[float, float] = WEIGHTS
    rules: MaskRules = MaskRules()
    semantic_background: str = "empty"


def detected(boxes: Tensor, scores: Tensor, scene: Scene, rules: MaskRules) -> tuple[Found, Terms]:
    """Positives and terms of detection; of pairs for a crop that goes by the number of positives of an image."""
    return (pairs.detect if rules.crop == "by_count" else detect)(boxes, scores, scene)


def segmented(
    found: Found, terms: Terms, segments: Segments, truth: Truth | None, choices: Choices
) -> SegmentationTerms:
    """The terms of detection with mask and semantic term, with gains, without the factor b.

    `truth` is looked at only if there are positives. Without any the two terms are zeros from which every
    prediction gets a zero gradient; no value is read.
    """
    seg = segments.coefficients[:0].sum() + segments.proto[:0].sum()
    semseg = seg.new_zeros(()) if segments.semantic is None else segments.semantic[:0].sum()
    if truth is not None and not without_objects(found):
        seg = found_mask_term(segments, found, truth, choices.rules) * choices.gain
        if segments.semantic is not None and truth.sem_masks is not None:
            semseg = semantic_term(segments.semantic, truth.masks, truth.sem_masks, found, choices) * choices.gain
    dtype, _ = compute_dtype(terms.box, *(x for x in segments if x is not None))
    return SegmentationTerms(*(x.to(dtype) for x in (terms.box, seg, terms.cls, terms.dfl, semseg)))


def found_mask_term(segments: Segments, found: Found, truth: Truth, rules: MaskRules) -> Tensor:
    """Mask term of the positives found, at least one, without gain; prototypes and masks are brought to one size."""
    dtype, _ = compute_dtype(segments.coefficients, segments.proto)
    image, anchor, number, _ = found.positives
    targets = MaskTargets(image, number, found.row, found.target_boxes, truth.imgsz)
    masks, proto = truth.masks, segments.proto.to(dtype)
    if rules.resize == "masks":
        masks = nearest(masks, *proto.shape[2:])
    else:
        proto = resized(proto, masks)
    if found.kept is None:
        return mask_term(rows_at(segments.coefficients, image, anchor).to(dtype), proto, masks, targets, rules)
    coefficients = kept_rows_at(segments.coefficients, image, anchor, found.kept).to(dtype)
    return slot_mask_term(coefficients, proto, masks, targets, rules, found.kept, len(found.truth))


def resized(proto: Tensor, masks: Tensor) -> Tensor:
    """Prototypes (b, k, h, w) at the size of masks (n, H, W), bilinear with half-pixel centres."""
    if proto.shape[2:] == masks.shape[1:]:
        return proto
    return interpolate(proto, size=masks.shape[1:], mode="bilinear", align_corners=False)


def semantic_term(logits: Tensor, masks: Tensor, sem_masks: Tensor, found: Found, choices: Choices) -> Tensor:
    """BCE + Dice of logits (b, c, h, w) against sem_masks (b, H, W) where an instance is, without gain; 0-d."""
    overlap, slots = choices.rules.overlap, found.slots
    labelled = masks != 0 if overlap else instances(masks, slots) != 0
    if choices.semantic_background == "class0" and not overlap:
        labelled = labelled | empty(slots)[:, None, None]
    dtype, _ = compute_dtype(logits)
    if found.kept is not None:
        return slot_semantic_cost(logits, sem_masks, labelled, dtype, choices.weights, found.kept.any())
    return semantic_cost(logits, sem_masks, labelled, dtype, choices.weights)


def empty(slots: Slots | Flat) -> Tensor:
    """Which images have no object, (b,)."""
    return ~slots.present.any(1) if isinstance(slots, Slots) else slots.first >= len(slots.image)


def instances(masks: Tensor, slots: Slots | Flat) -> Tensor:
    """Sum of the separate masks (n, H, W) of each image, (b, H, W)."""
    dtype = torch.promote_types(masks.dtype, torch.float32)
    if not isinstance(slots, Slots):
        total = torch.zeros((len(slots.first), *masks.shape[1:]), dtype=dtype, device=masks.device)
        mine = torch.where(slots.present[: len(masks), None, None], masks.to(dtype), 0)
        return total.index_add(0, slots.image[: len(masks)], mine)
    total = torch.zeros((len(slots.present), *masks.shape[1:]), dtype=dtype, device=masks.device)
    image = slots.present.nonzero()[:, 0]
    return total.index_add(0, image, masks[slots.row[slots.present]].to(dtype))
