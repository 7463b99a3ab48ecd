"""A model, predictions and batches of every task, small: what the classes of losses are called with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from lossref.targets.dropin.yolo import StandardNormal

IMGSZ, STRIDES, IMAGES, CLASSES, BINS, KEYPOINTS = (64, 96), (8, 16, 32), 3, 5, 4, 3
ANCHORS = sum((IMGSZ[0] // s) * (IMGSZ[1] // s) for s in STRIDES)


def model() -> SimpleNamespace:
    """What a loss reads of a model, of every head."""
    gains = {"box": 7.5, "cls": 0.5, "dfl": 1.5, "pose": 12.0, "kobj": 1.0, "rle": 1.0, "angle": 1.0}
    args = SimpleNamespace(**gains, overlap_mask=True, epochs=100)
    stride = torch.tensor([float(s) for s in STRIDES])
    sizes = {"nc": CLASSES, "reg_max": BINS, "kpt_shape": [KEYPOINTS, 3]}
    head = SimpleNamespace(stride=stride, **sizes, flow_model=StandardNormal())
    return SimpleNamespace(args=args, model=[head], parameters=lambda: iter([torch.zeros(1)]))


def predictions(seed: int = 0) -> dict[str, Any]:
    """Predictions of every head, which want a gradient."""
    draw = torch.Generator().manual_seed(seed)
    channels = {"boxes": 4 * BINS, "scores": CLASSES, "angle": 1, "kpts": 3 * KEYPOINTS, "kpts_sigma": 2 * KEYPOINTS}
    channels |= {"mask_coefficient": 4}
    preds: dict[str, Any] = {
        name: torch.randn(IMAGES, size, ANCHORS, generator=draw).requires_grad_() for name, size in channels.items()
    }
    maps = IMAGES, 4, IMGSZ[0] // 4, IMGSZ[1] // 4
    preds["proto"] = torch.randn(maps, generator=draw).requires_grad_()
    preds["feats"] = [torch.zeros(IMAGES, 1, IMGSZ[0] // s, IMGSZ[1] // s) for s in STRIDES]
    return preds


def leaves_of(preds: dict[str, Any]) -> list[Tensor]:
    """The predictions that want a gradient, those of both branches if there are two."""
    found = [leaf for x in preds.values() if isinstance(x, dict) for leaf in leaves_of(x)]
    return found + [x for x in preds.values() if isinstance(x, Tensor)]


def objects(count: int, seed: int = 0, turned: bool = False) -> dict[str, Tensor]:
    """A batch of so many objects, in any order; boxes with an angle if `turned`."""
    draw = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw)

    boxes = torch.cat([uniform(count, 2), 0.05 + 0.6 * uniform(count, 2), 3 * uniform(count, 1) - 0.7], 1)
    seen = torch.randint(0, 3, (count, KEYPOINTS, 1), generator=draw).float()
    maps = IMAGES, IMGSZ[0] // 4, IMGSZ[1] // 4
    return {
        "batch_idx": torch.randint(0, IMAGES, (count,), generator=draw).float(),
        "cls": torch.randint(0, CLASSES, (count, 1), generator=draw).float(),
        "bboxes": boxes if turned else boxes[:, :4].contiguous(),
        "keypoints": torch.cat([uniform(count, KEYPOINTS, 2), seen], -1),
        "masks": torch.randint(0, 6, maps, generator=draw),
        "sem_masks": torch.randint(0, CLASSES, maps, generator=draw),
    }
