"""The segmentation loss from its parts, one by one: what is computed where a part or a method was replaced.

As lossref/losses/detection/composed.py is for detection. Source: spec/40-yolo.md sections 1.7, 2.1 and 2.3.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import one_hot

from lossref.core.precision import as_it_is, compute_dtype
from lossref.losses.detection.batch import grid_of, slots_of
from lossref.losses.detection.composed import by_anchor, entries
from lossref.losses.masks.batch_term import MaskTargets
from lossref.losses.segmentation.terms import Segments, instances, require_segments, resized, segments_of


def composed_segments(loss: Any, preds: dict[str, Any], batch: dict[str, Any]) -> Tensor:
    """The vector (box, seg, cls, dfl, semseg) with gains, from the parts and methods of `loss`."""
    answer, terms, _ = loss.get_assigned_targets_and_loss(preds, batch)
    segments = segments_of(preds)
    require_segments(segments, preds["scores"])
    seg = semseg = preds["scores"].new_zeros(())
    fg_mask = answer[0]
    if fg_mask.any():
        with as_it_is(segments.proto):
            seg = seg_term(loss, preds, batch, segments, answer) * loss.hyp.box
            semseg = semseg if segments.semantic is None else semantic(loss, segments.semantic, batch) * loss.hyp.box
    given = (preds["boxes"], preds["scores"], *(x for x in segments if x is not None))
    return entries((terms[0], seg, terms[1], terms[2], semseg), *given)


def seg_term(loss: Any, preds: dict[str, Any], batch: dict[str, Any], segments: Segments, answer: Any) -> Any:
    """`loss.calculate_segmentation_loss` of a batch with positives; prototypes at the size of the masks."""
    fg_mask, index, boxes, *_ = answer
    grid = grid_of(preds["feats"], loss.stride.tolist(), preds["boxes"], segments.coefficients)
    masks = batch["masks"].to(segments.proto.device).to(grid.points.dtype)
    proto, coefficients = segments.proto.to(masks.dtype), by_anchor(segments.coefficients, grid)
    batch_idx, imgsz = batch["batch_idx"].reshape(-1, 1), masks.new_tensor(grid.imgsz)
    given = (fg_mask, masks, index, boxes, batch_idx, resized(proto, masks), coefficients, imgsz)
    return loss.calculate_segmentation_loss(*given)


def semantic(loss: Any, logits: Tensor, batch: dict[str, Any]) -> Any:
    """`loss.bcedice_loss` of the semantic logits (b, c, h, w) against the classes where an instance is."""
    dtype, _ = compute_dtype(logits)
    masks, classes = batch["masks"].to(logits.device), batch["sem_masks"].to(logits.device).long()
    if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < logits.shape[1]:
        raise RuntimeError(f"sem_masks: expected classes 0 to {logits.shape[1] - 1}, got others")
    labelled = masks if loss.overlap else instances(masks, slots_of(batch["batch_idx"].to(logits.device), len(logits)))
    target = one_hot(classes, logits.shape[1]).permute(0, 3, 1, 2) * (labelled != 0)[:, None]
    return loss.bcedice_loss(logits.to(dtype), target.to(dtype))


def by_image(loss: Any, coefficients: Tensor, proto: Tensor, masks: Tensor, targets: MaskTargets) -> Tensor:
    """Mean over the positives of `loss.single_mask_loss`, called once for each image that has some; 0-d."""
    height, width = proto.shape[2:]
    size = targets.boxes.new_tensor([targets.imgsz[1], targets.imgsz[0]] * 2)
    boxes = targets.boxes / size
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    edges, total = boxes * boxes.new_tensor([width, height, width, height]), coefficients[:0].sum() + proto[:0].sum()
    for image in targets.image.unique().tolist():
        at = (targets.image == image).nonzero()[:, 0]
        number = targets.number[at, None, None] + 1
        true = masks[image] == number if loss.overlap else masks[targets.row[at]]
        given = (true.to(proto.dtype), coefficients[at], proto[image], edges[at], area[at])
        total = total + loss.single_mask_loss(*given)
    return total / len(targets.image)
