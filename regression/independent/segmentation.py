"""The segmentation loss as its public class, with an assignment on whole tensors (images, objects, anchors).

Written from `lossref/spec/40-yolo.md` sections 1 and 2, `20-assignment.md` section 1, `30-elementary.md` section 8 and
`05-decisions.md` (D1, D3, D4, D8, D10, D11, D14) alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import lossref
from regression.independent import pixels, sides
from regression.independent.detection import objects_of

EPS = 1e-9


class Scene(NamedTuple):
    """Objects padded to (b, g, .): class, box xyxy in pixels, whether it is one, and its row in the batch."""

    label: Tensor
    box: Tensor
    real: Tensor
    row: Tensor


class Learnt(NamedTuple):
    """For each anchor (b, A): its object, whether it is positive; and its target scores (b, A, c)."""

    item: Tensor
    positive: Tensor
    scores: Tensor


def padded(batch: dict[str, Tensor], images: int, size: Tensor) -> Scene:
    """Objects by image, in the order of the batch, by a sort and a scatter."""
    index = objects_of(batch["batch_idx"], batch["cls"], batch["bboxes"])[:, 0]
    rows = torch.cat([torch.nonzero(index == b).flatten() for b in range(images)])
    image = index[rows].long()
    counts = torch.bincount(image, minlength=images)
    place = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[image]
    xywh = batch["bboxes"][rows].to(size) * size
    label = torch.zeros(images, max(counts.tolist()))
    box, row = size.new_zeros(*label.shape, 4), torch.zeros(label.shape, dtype=torch.int64)
    label[image, place] = batch["cls"].flatten()[rows].to(label)
    box[image, place] = torch.cat((xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2), 1)
    row[image, place] = rows
    return Scene(label.long(), box, box.sum(-1) > 0, row)


def inside(scene: Scene, points: Tensor, strides: list[float]) -> Tensor:
    """Candidates (b, g, A)."""
    middle, side = scene.box[..., :2] / 2 + scene.box[..., 2:] / 2, scene.box[..., 2:] - scene.box[..., :2]
    side = side.masked_fill(side < strides[0], strides[1] if len(strides) > 1 else strides[0])
    offset = (points - middle[:, :, None]).abs()
    return (side[:, :, None] / 2 - offset > EPS).all(-1) & scene.real[..., None]


def learnt(probabilities: Tensor, boxes: Tensor, points: Tensor, scene: Scene, rule: tuple[Any, ...]) -> Learnt:
    """Task-aligned assignment; `rule` is topk, topk2 and the strides."""
    topk, topk2, strides = rule
    images, anchors, classes = probabilities.shape
    items = scene.label.shape[1]
    allowed = inside(scene, points, strides)
    pair = torch.broadcast_tensors(scene.box[:, :, None], boxes[:, None])
    overlap = sides.ciou_rows(*(one.reshape(-1, 4) for one in pair)).view(images, items, anchors)
    overlap = torch.where(allowed, overlap.clamp(min=0), 0)
    score = torch.gather(probabilities.mT, 1, scene.label[..., None].expand(-1, -1, anchors))
    metric = torch.where(allowed, score.sqrt() * overlap.pow(6), 0)
    picked = torch.zeros_like(allowed).scatter_(2, metric.topk(topk, 2).indices, value=True) & allowed
    crowded = picked.sum(1, keepdim=True) > 1
    best = F.one_hot(overlap.argmax(1), items).mT.bool()
    picked = torch.where(crowded, best, picked)
    if topk2 != topk:
        picked &= torch.zeros_like(picked).scatter_(2, (metric * picked).topk(topk2, 2).indices, value=True)
    kept, reached = metric * picked, (overlap * picked).amax(2, keepdim=True)
    strength = (kept * reached / (kept.amax(2, keepdim=True) + EPS)).amax(1)
    item, positive = picked.to(torch.uint8).argmax(1), picked.any(1)
    hot = F.one_hot(scene.label.gather(1, item), classes)
    return Learnt(item, positive, hot * torch.where(positive, strength, 0)[..., None])


@lossref.target("v8_segmentation")
class V8Segmentation:
    """Made with a model, called with predictions and batch: (vector of box, seg, cls, dfl, semseg, and its items)."""

    def __init__(self, model: Any, tal_topk: int = 10, tal_topk2: int | None = None) -> None:
        head = model.model[-1]
        self.hyp, self.stride, self.bins = model.args, head.stride, head.reg_max
        self.topk, self.topk2, self.overlap = tal_topk, tal_topk2 or tal_topk, model.args.overlap_mask

    def __call__(self, preds: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """In inference the predictions are the second of a pair."""
        preds = preds[1] if isinstance(preds, tuple) else preds
        raw, logits = preds["boxes"].mT, preds["scores"].mT
        proto, semantic = preds["proto"] if isinstance(preds["proto"], tuple) else (preds["proto"], None)
        images, anchors, classes = logits.shape
        imgsz = torch.tensor(preds["feats"][0].shape[2:]).to(raw) * self.stride[0].to(raw)
        size = imgsz[[1, 0, 1, 0]]
        points, cells = self.anchors(preds["feats"], raw)
        bins = raw.reshape(images, anchors, 4, self.bins)
        distance = bins.softmax(-1) @ torch.arange(self.bins).to(raw) if self.bins > 1 else bins[..., 0]
        boxes = points.repeat(1, 2) + distance * raw.new_tensor([-1, -1, 1, 1])
        scene = padded(batch, images, size)
        nobody = torch.zeros(images, anchors, dtype=torch.int64)
        found = Learnt(nobody, nobody.bool(), 0 * logits.detach())
        if scene.label.shape[1]:
            rule = self.topk, self.topk2, self.stride.tolist()
            given = logits.detach().sigmoid(), boxes.detach() * cells, points * cells
            found = learnt(*given, scene, rule)
        target, total = found.scores.to(logits), found.scores.sum().clamp(min=1)
        cls = F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / total
        truth = torch.zeros_like(boxes)
        if scene.label.shape[1]:
            truth = scene.box.gather(1, found.item[..., None].expand(-1, -1, 4))
        aims = truth / cells, target, total, found.positive, imgsz, cells
        box, dfl = sides.BoxLoss(self.bins)(raw, boxes, points, *aims)
        seg = self.masks(found, truth / size, scene, batch, proto, preds["mask_coefficient"].mT)
        sem = proto.new_zeros(()) + (0 * semantic[:0].sum() if semantic is not None else 0)
        if semantic is not None and found.positive.any():
            sem = pixels.bce_dice(semantic, self.semantic_target(batch, images, classes).to(semantic))
        gain = self.hyp.box
        vector = torch.stack((gain * box, gain * seg, self.hyp.cls * cls, self.hyp.dfl * dfl, gain * sem))
        return vector * images, vector.detach()

    def anchors(self, feats: list[Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
        """Points in cells, and strides."""
        points = [torch.ones(one.shape[2:]).nonzero().flip(1).to(like) + 0.5 for one in feats]
        cells = [torch.full((len(p), 1), float(s)).to(like) for p, s in zip(points, self.stride, strict=False)]
        return torch.cat(points), torch.cat(cells)

    def masks(
        self, found: Learnt, truth: Tensor, scene: Scene, batch: dict[str, Tensor], proto: Tensor, weights: Tensor
    ) -> Tensor:
        """Mean over the positives of the batch; boxes as parts of the image."""
        total = 0 * (proto[:0].sum() + weights[:0].sum())
        if not found.positive.any():
            return total
        masks = batch["masks"]
        tall, wide = masks.shape[-2:]
        if proto.shape[-2:] != masks.shape[-2:]:
            proto = F.interpolate(proto, (tall, wide), mode="bilinear", align_corners=False)
        for b in range(len(proto)):
            on = found.positive[b]
            item, box = found.item[b, on], truth[b, on]
            shown = masks[b] == item[:, None, None] + 1 if self.overlap else masks[scene.row[b, item]]
            area = (box[:, 2:] - box[:, :2]).prod(1)
            scaled = box * box.new_tensor([wide, tall, wide, tall])
            total = total + pixels.mask_slices(shown.to(proto), weights[b, on], proto[b], scaled, area)
        return total / found.positive.sum()

    def semantic_target(self, batch: dict[str, Tensor], images: int, classes: int) -> Tensor:
        """One-hot classes of the pixels that belong to an instance."""
        hot = F.one_hot(batch["sem_masks"].long(), classes).movedim(-1, 1)
        if self.overlap:
            return hot * (batch["masks"] != 0)[:, None]
        index = batch["batch_idx"].flatten()
        shown = torch.stack([(batch["masks"][index == b] != 0).any(0) for b in range(images)])
        return hot * shown[:, None]
