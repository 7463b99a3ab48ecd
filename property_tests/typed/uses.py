"""Uses of the public names, read by mypy only: `mypy property_tests/typed`."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type

import torch
from torch import Tensor, nn

import lossref
from lossref.api import Finding, Verdicts
from lossref.core.nouns import Case, Verdict
from lossref.editions import parts83

assert_type(lossref.__version__, str)
assert_type(lossref.LOSSES, tuple[str, ...])
assert_type(lossref.FocalLoss(gamma=2.0), lossref.FocalLoss)
assert_type(lossref.bbox_iou(torch.zeros(2, 4), torch.zeros(2, 4), CIoU=True), Tensor)
kind: type[lossref.FocalLoss] = lossref.FocalLoss
module: nn.Module = lossref.MultiChannelDiceLoss(reduction="mean")


@lossref.target("ciou", known={"strides": "needs contiguous input"}, slack={"value": (10, "float16")}, xywh=False)
def marked(box1: Tensor, box2: Tensor) -> Tensor:
    return box1 + box2


@lossref.conforms("ciou", check="value,gradient", dtype="float32", eps=1e-7)
def mine(box1: Tensor, box2: Tensor, xywh: bool = True) -> Tensor:
    return box1 + box2


@lossref.target("focal")
class Focal(nn.Module):
    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        return pred * label


decorated: Callable[[Tensor, Tensor], Tensor] = marked
assert_type(marked(torch.zeros(1), torch.zeros(1)), Tensor)
assert_type(mine(torch.zeros(1), torch.zeros(1), xywh=False), Tensor)
assert_type(Focal(), Focal)

found = lossref.validate(marked, "ciou", check="value", dtype=("float64",), tier="full", seed=3, xywh=False)
assert_type(found, Verdicts)
assert_type(found.ok, bool)
assert_type(len(found), int)
assert_type(found.findings, tuple[Finding, ...])
assert_type([one.status for one in found], list[str])
for verdict, case in found.cases.items():
    assert_type(verdict, Verdict)
    assert_type(case, Case)

older, current = lossref.edition("8.3"), lossref.edition("8.4")
assert_type(older.version, str)
assert_type(older.FocalLoss(), parts83.FocalLoss)
assert_type(older.DFLoss(), lossref.DFLoss)
assert_type(older.xyxy2xywh(torch.zeros(1, 4)), Tensor)
assert_type(current.FocalLoss(), lossref.FocalLoss)
assert_type(current.bbox_iou(torch.zeros(2, 4), torch.zeros(2, 4)), Tensor)
assert_type(current.E2ELoss(nn.Identity()), lossref.E2ELoss)
