"""libreyolo: the full detection loss of its YOLOv9, and the DFL of its PicoDet.

Declared conventions of the detection loss: an anchor that several objects picked goes to one of those, a small side
counts as it is, there are 16 bins and no second top-k; its terms lack the factor b. The DFL's caller clamps distances.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from lossref.targets import packages
from lossref.targets.dropin.entry import Mismatch
from lossref.targets.packages import Row


def detection(kind: Any, *x: Tensor, imgsz: Any, strides: Any, tal_topk: int, **gains: float) -> tuple[Any, ...]:
    """(box, cls, dfl) times b; the objects of each image as rows (class, xyxy), filled up with class -1."""
    boxes, scores, image, cls, bboxes = x
    if image.isnan().any():
        raise Mismatch("batch_idx: NaN is no image")
    rows, count = torch.cat((cls.reshape(-1, 1), packages.corners(bboxes)), 1), len(boxes)
    objects = [rows[image.flatten() == i] for i in range(count)]
    targets = torch.nn.utils.rnn.pad_sequence([rows.new_zeros(1, 5), *objects], True, -1.0)[1:]
    levels, sizes = [], [(imgsz[0] // s, imgsz[1] // s) for s in strides]
    for part, size in zip(
        torch.split(torch.cat((boxes, scores), 1), [h * w for h, w in sizes], -1), sizes, strict=True
    ):
        levels.append(part.reshape(count, -1, *size))
    weights = {name.replace("gain", "weight"): gain for name, gain in gains.items()}
    loss = kind(scores.shape[1], 16, list(strides), [*imgsz][::-1], boxes.device, topk=tal_topk, **weights)
    found = loss(levels, targets)
    return tuple(found[f"{name}_loss"] * count for name in ("box", "cls", "dfl"))


def dfl(kind: Any, pred_dist: Tensor, target: Tensor, reg_max: int) -> Any:
    """The mean over the last axis of the target."""
    return kind(1.0)(pred_dist, target.clamp(0, reg_max - 1.01).flatten()).reshape(target.shape).mean(-1, keepdim=True)


YOLO9 = ("imgsz", "strides", "tal_topk", "box_gain", "cls_gain", "dfl_gain")
RULES = {"conflict": "picked", "small_boxes": "off"}
ROWS = (
    Row("v8_detection", "libreyolo.models.yolo9.loss.YOLO9Loss", detection, YOLO9, RULES),
    Row("dfl", "libreyolo.models.picodet.loss.DistributionFocalLoss", dfl, ("reg_max",)),
)
version, targets = partial(packages.version, "libreyolo"), partial(packages.targets, ROWS, "libreyolo")
