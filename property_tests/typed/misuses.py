"""Misuses of the public names, each of which mypy rejects: one that it let through would be an unused ignore."""

from __future__ import annotations

import torch
from torch import Tensor

import lossref

print(lossref.FocalLos)  # type: ignore[attr-defined]
lossref.FocalLoss(gama=2.0)  # type: ignore[call-arg]
lossref.bbox_iou(torch.zeros(2, 4))  # type: ignore[call-arg]
lossref.bbox_iou(torch.zeros(2, 4), torch.zeros(2, 4), xywh="yes")  # type: ignore[arg-type]
lossref.target(7)  # type: ignore[arg-type]
lossref.target("ciou", known=["value"])  # type: ignore[arg-type]
lossref.target("ciou", slack={"value": 10.0})  # type: ignore[dict-item]
lossref.conforms("ciou", dtype=32)  # type: ignore[arg-type]


@lossref.target("ciou")
def marked(box1: Tensor, box2: Tensor) -> Tensor:
    return box1 + box2


marked(torch.zeros(1))  # type: ignore[call-arg]
lossref.target("ciou")(3)  # type: ignore[type-var]
lossref.validate("mypkg.losses", "ciou")  # type: ignore[arg-type]
lossref.validate(marked)  # type: ignore[call-arg]
lossref.validate(marked, "ciou", seed="0")  # type: ignore[arg-type]
lossref.validate(marked, "ciou").rows = ()  # type: ignore[misc]

lossref.edition("8.2")  # type: ignore[call-overload]
lossref.edition("8.3").RLELoss()  # type: ignore[attr-defined]
lossref.edition("8.3").v8DetectionLoss(None, tal_topk2=3)  # type: ignore[call-arg]
print(lossref.edition("8.4").nonsense)  # type: ignore[attr-defined]
