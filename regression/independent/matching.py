"""Matching of queries and objects, and the DETR loss on top of it.

Written from `lossref/spec/20-assignment.md` section 4, `50-detr.md` section 1 and `05-decisions.md` D9, D10, D13 alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import lossref

NAMES = ("class", "bbox", "giou")


def corners(box: Tensor) -> Tensor:
    """xywh to xyxy."""
    return torch.cat((box[..., :2] - box[..., 2:] / 2, box[..., :2] + box[..., 2:] / 2), -1)


def overlaps(p: Tensor, g: Tensor, eps: float = 1e-7) -> tuple[Tensor, Tensor]:
    """IoU and GIoU of boxes xywh that broadcast."""
    a, b = corners(p), corners(g)
    inter = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0).prod(-1)
    union = p[..., 2:].prod(-1) + g[..., 2:].prod(-1) - inter + eps
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1) + eps
    return inter / union, inter / union - (hull - union) / hull


def costs(boxes: Tensor, logits: Tensor, truth: Tensor, cls: Tensor, gains: tuple[float, ...], focal: Tensor) -> Tensor:
    """Cost of each query (rows) and object (columns) of an image; `focal` is (alpha, gamma), or empty."""
    if len(focal):
        alpha, gamma = focal.tolist()
        q = torch.sigmoid(logits)[:, cls]
        of_class = -alpha * (1 - q) ** gamma * torch.log(q + 1e-8) + (1 - alpha) * q**gamma * torch.log(1 - q + 1e-8)
    else:
        of_class = -torch.softmax(logits, -1)[:, cls]
    _, giou = overlaps(boxes[:, None], truth[None])
    cost = gains[0] * of_class + gains[1] * torch.cdist(boxes, truth, p=1) + gains[2] * (1 - giou)
    finite = torch.isfinite(cost)
    worst = cost[finite].max() + 1 if bool(finite.any()) else cost.new_zeros(())
    return torch.where(finite, cost, worst)


@torch.no_grad()
def matched(
    boxes: Tensor, logits: Tensor, truth: Tensor, cls: Tensor, gains: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Queries, ascending, and their objects, both of one image."""
    table = costs(boxes.double(), logits.double(), truth.double(), cls, gains, torch.tensor([0.25, 2.0]))
    rows, columns = linear_sum_assignment(table.numpy())
    return torch.as_tensor(rows), torch.as_tensor(columns)


@lossref.target("hungarian")
@torch.no_grad()
def hungarian(
    pred_bboxes: Tensor,
    pred_scores: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    class_gain: float = 1.0,
    bbox_gain: float = 5.0,
    giou_gain: float = 2.0,
    use_fl: bool = True,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Tensor:
    """The object of each query, -1 for none; small problems by trying everything, larger ones by scipy."""
    images, queries = pred_scores.shape[:2]
    if not len(batch_idx) == len(cls) == len(bboxes):
        raise RuntimeError("objects differ in number")
    result = torch.full((images, queries), -1)
    focal = torch.tensor([alpha, gamma] if use_fl else [], dtype=torch.float64)
    for image in range(images):
        mine = torch.nonzero(batch_idx == image).flatten()
        if not len(mine):
            continue
        given = pred_bboxes[image].double(), pred_scores[image].double(), bboxes[mine].double(), cls[mine].long()
        table = costs(*given, (class_gain, bbox_gain, giou_gain), focal)
        for query, column in cheapest(table):
            result[image, query] = mine[column]
    return result


def cheapest(table: Tensor) -> Iterator[tuple[int, int]]:
    """Pairs of least total cost."""
    queries, objects = table.shape
    if objects > queries or queries > 5:
        rows, columns = linear_sum_assignment(table.numpy())
        yield from zip(rows.tolist(), columns.tolist(), strict=True)
        return
    numbers = torch.arange(objects)
    best = min(permutations(range(queries), objects), key=lambda rows: float(table[list(rows), numbers].sum()))
    yield from ((row, column) for column, row in enumerate(best))


@lossref.target("detr")
class DETR:
    """Made with keywords, called with all layers and the batch: a dictionary of six numbers."""

    def __init__(
        self,
        nc: int = 80,
        loss_gain: dict[str, float] | None = None,
        aux_loss: bool = True,
        use_fl: bool = True,
        use_vfl: bool = False,
        use_uni_match: bool = False,
        uni_match_ind: int = 0,
        gamma: float = 1.5,
        alpha: float = 0.25,
    ) -> None:
        self.nc, self.gain = nc, loss_gain or {"class": 1, "bbox": 5, "giou": 2}
        self.aux_loss, self.use_fl, self.use_vfl = aux_loss, use_fl, use_vfl
        self.uni = uni_match_ind if use_uni_match else None
        self.gamma, self.alpha = gamma, alpha

    def __call__(self, pred_bboxes: Tensor, pred_scores: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The last layer by itself, and the sum over the others."""
        layers = [self.layer(b, s, batch) for b, s in zip(pred_bboxes[-1:], pred_scores[-1:], strict=True)]
        result = {f"loss_{name}": layers[0][name] for name in NAMES}
        if not self.aux_loss:
            return result
        boxes, scores = pred_bboxes[:-1], pred_scores[:-1]
        shared = None if self.uni is None else list(self.pairs(boxes[self.uni], scores[self.uni], batch))
        parts = [self.layer(b, s, batch, shared) for b, s in zip(boxes, scores, strict=True)]
        nothing = 0 * pred_scores[:0].sum()
        return result | {f"loss_{name}_aux": sum((one[name] for one in parts), nothing) for name in NAMES}

    @staticmethod
    def pairs(boxes: Tensor, scores: Tensor, batch: dict[str, Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Image, query and object (of the whole batch) of all pairs, image by image."""
        if not sum(map(int, batch["gt_groups"])) == len(batch["cls"]) == len(batch["bboxes"]):
            raise RuntimeError("objects differ in number")
        start = 0
        for image, count in enumerate(batch["gt_groups"]):
            mine = slice(start, start + int(count))
            truth, cls = batch["bboxes"][mine], batch["cls"][mine].long()
            if len(truth):
                rows, columns = matched(boxes[image], scores[image], truth, cls, (2.0, 5.0, 2.0))
                yield torch.full_like(rows, image), rows, columns + start
            start += int(count)

    def layer(
        self,
        boxes: Tensor,
        scores: Tensor,
        batch: dict[str, Tensor],
        pairs: list[tuple[Tensor, Tensor, Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """The three terms of one layer."""
        found = list(self.pairs(boxes, scores, batch)) if pairs is None else pairs
        none = torch.zeros(0, dtype=torch.int64)
        image, query, item = (torch.cat(x) for x in zip(*found, strict=True)) if found else (none, none, none)
        mine, truth = boxes[image, query], batch["bboxes"][item].to(boxes.dtype)
        iou, giou = overlaps(mine, truth)
        count = max(len(item), 1)
        label, quality = torch.zeros_like(scores), torch.zeros_like(scores)
        label[image, query, batch["cls"][item].long()] = 1.0
        quality[image, query, batch["cls"][item].long()] = iou.detach()
        return {
            "class": self.gain["class"] * self.classes(scores, label, quality, len(item)),
            "bbox": self.gain["bbox"] * (mine - truth).abs().sum() / count,
            "giou": self.gain["giou"] * (1 - giou).sum() / count,
        }

    def classes(self, x: Tensor, label: Tensor, quality: Tensor, pairs: int) -> Tensor:
        """Cross entropy, focal or varifocal."""
        bce = F.binary_cross_entropy_with_logits
        if not self.use_fl:
            return bce(x, quality, reduction="none").mean(1).sum()
        p = x.sigmoid()
        if self.use_vfl and pairs:
            weight = self.alpha * p**self.gamma * (1 - label) + quality * label
            return (bce(x, quality, reduction="none") * weight).sum() / pairs
        missed = torch.where(label > 0, torch.sigmoid(-x), p) ** self.gamma
        cost = bce(x, label, reduction="none") * missed
        if self.alpha > 0:
            cost = cost * torch.where(label > 0, self.alpha, 1 - self.alpha)
        return cost.sum() / max(pairs, 1)
