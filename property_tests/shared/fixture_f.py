"""Fixture F of spec/40-yolo.md section 0: predictions, targets and model of every anchor of the YOLO losses.

Image b, channel c, anchor a count from 0; on maps n = 16 i + j is the running index of the 8 x 16 pixels.
Everything is float64. Objects: o0 (image 0, class 1), o1 (image 0, class 0), o2 (image 1, class 0).
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from lossref.losses.detection.cases import fixture_f as arrays

STRIDES = (8.0, 16.0)
GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5, "pose": 12.0, "kobj": 1.0, "rle": 1.0, "angle": 1.0}
OBJECTS = tuple((b, c, *box) for b, c, box in zip(arrays.BATCH_IDX, arrays.CLS, arrays.BBOXES, strict=True))
ANGLES = arrays.ANGLES


def boxes(reg_max: int = 4) -> Tensor:
    """(2, 4 R, 40); distances rather than logits if R is 1."""
    return torch.from_numpy(arrays.boxes(reg_max))


def scores() -> Tensor:
    """(2, 2, 40) class logits."""
    return torch.from_numpy(arrays.scores())


def mask_coefficient() -> Tensor:
    """(2, 2, 40)."""
    return torch.from_numpy(arrays.mask_coefficient())


def proto() -> Tensor:
    """(2, 2, 8, 16) prototypes."""
    return torch.from_numpy(arrays.proto())


def semantic() -> Tensor:
    """(2, 2, 8, 16) semantic logits."""
    return torch.from_numpy(arrays.semantic())


def kpts(channels: int = 9) -> Tensor:
    """(2, K D, 40) raw keypoints."""
    return torch.from_numpy(arrays.kpts(channels))


def kpts_sigma(keypoints: int = 3) -> Tensor:
    """(2, 2 K, 40) logits of sigma."""
    return torch.from_numpy(arrays.kpts_sigma(keypoints))


def angle() -> Tensor:
    """(2, 1, 40) radians."""
    return torch.from_numpy(arrays.angle())


def feats() -> list[Tensor]:
    """Two feature maps, 4 x 8 and 2 x 4 cells, of which only shapes, dtype and device are read."""
    return [torch.zeros(2, 18, 4, 8, dtype=torch.float64), torch.zeros(2, 18, 2, 4, dtype=torch.float64)]


def predictions(reg_max: int = 4, **more: Any) -> dict[str, Any]:
    """boxes, scores and feats, and what a task adds by name, e.g. angle=angle()."""
    return {"boxes": boxes(reg_max), "scores": scores(), "feats": feats(), **more}


def batch(*rows: tuple[float, ...], **more: Any) -> dict[str, Any]:
    """Objects as rows (image, class, x, y, w, h[, angle]); no row: those of F. None at all: `no_object()`."""
    table = torch.tensor(rows or OBJECTS, dtype=torch.float64)
    return {"batch_idx": table[:, 0], "cls": table[:, 1:2], "bboxes": table[:, 2:], **more}


def rotated(*angles: float) -> tuple[tuple[float, ...], ...]:
    """The rows of F with angles appended, for `batch(*rotated())`."""
    return tuple((*row, turn) for row, turn in zip(OBJECTS, angles or ANGLES, strict=True))


def no_object(columns: int = 4, **more: Any) -> dict[str, Any]:
    """A batch without objects."""
    empty = torch.zeros(0, dtype=torch.float64)
    return {"batch_idx": empty, "cls": empty.reshape(0, 1), "bboxes": empty.reshape(0, columns), **more}


def masks(cell: int = 2, height: int = 8, width: int = 16) -> Tensor:
    """(2, 8, 16) overlap masks: (i div 2 + j div 2) mod 3 in image 0, mod 2 in image 1."""
    return torch.from_numpy(arrays.masks(cell, height, width))


def separate_masks(cell: int = 2, height: int = 8, width: int = 16) -> Tensor:
    """(3, 8, 16): the same as one binary mask for each object."""
    return torch.from_numpy(arrays.separate_masks(cell, height, width))


def sem_masks() -> Tensor:
    """(2, 8, 16) class of each pixel, (i + j) mod 2."""
    return torch.from_numpy(arrays.sem_masks())


def keypoints(count: int = 3, values: int = 3) -> Tensor:
    """(3, K, D): x, y normalised and visibility (n + k) mod 3."""
    return torch.from_numpy(arrays.keypoints(count, values))


class ZeroFlow(nn.Module):
    """log_prob of a RealNVP whose parameters are all 0: the standard normal density in two dimensions.

    `scale` is a parameter that the value does not depend on; it must get a zero gradient, never None.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def log_prob(self, x: Tensor) -> Tensor:
        """(n, 2) -> (n,)."""
        return -(x**2).sum(-1) / 2 - math.log(2 * math.pi) + 0 * self.scale.to(x.dtype)


def model(
    nc: int = 2,
    reg_max: int = 4,
    strides: tuple[float, ...] = STRIDES,
    kpt_shape: Any = None,
    flow_model: Any = None,
    **args: Any,
) -> SimpleNamespace:
    """What the losses read of a model; further keywords are attributes of `args` (gains, overlap_mask, epochs)."""
    head = SimpleNamespace(nc=nc, reg_max=reg_max, stride=torch.tensor(strides), kpt_shape=kpt_shape)
    if flow_model is not None:
        head.flow_model = flow_model
    hyp = SimpleNamespace(**{**GAINS, "overlap_mask": True, "epochs": 10, **args})
    parameter = nn.Parameter(torch.zeros(1))
    return SimpleNamespace(parameters=lambda: iter([parameter]), args=hyp, model=[head])


def leaves(preds: dict[str, Any]) -> dict[str, Any]:
    """A copy whose tensors (feats apart) are leaves that require grad."""

    def leaf(x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(leaf(part) for part in x)
        return x.detach().clone().requires_grad_()

    return {name: x if name == "feats" else leaf(x) for name, x in preds.items()}
