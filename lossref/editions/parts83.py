"""Edition 8.3 of the box functions, the assigners, and the losses that take tensors only.

Source: spec/60-api.md sections 2.1 and 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor

from lossref.losses.assignment.answer import Assigner
from lossref.losses.assignment.rotated_task_aligned import rotated_task_aligned
from lossref.losses.assignment.task_aligned import task_aligned
from lossref.losses.box_terms import bbox
from lossref.losses.box_terms.rotated_bbox import rotated_bbox_loss
from lossref.losses.classification import focal
from lossref.losses.coordinates import bbox2dist as distances

EDITION = "8.3"


class Absent:
    """A name of the current class that this edition does not have: AttributeError."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> NoReturn:
        raise AttributeError(f"edition 8.3 has no {owner.__name__}.{self.name}: everything happens in the call")


def bbox2dist(anchor_points: Tensor, bbox: Tensor, reg_max: int | None) -> Tensor:
    """`lossref.bbox2dist`, whose `reg_max` cannot be left out."""
    return distances.bbox2dist(anchor_points, bbox, reg_max)


class FocalLoss(focal.FocalLoss):
    """Focal loss with one weight for all classes; `alpha` is the number given, a list raises TypeError at the call."""

    def __init__(self, gamma: float = 1.5, alpha: float = 0.25) -> None:
        super().__init__(gamma, alpha)
        self.alpha: Any = alpha

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        """`lossref.losses.focal.focal` with the parameters of this object."""
        if isinstance(self.alpha, Sequence):
            raise TypeError(f"alpha: edition 8.3 takes one number, got {self.alpha!r}")
        return super().forward(pred, label)


class BboxLoss(bbox.BboxLoss):
    """Box loss without a distance term for one bin. See `lossref.losses.bbox.bbox_loss`."""

    def forward(  # type: ignore[override]
        self,
        pred_dist: Tensor,
        pred_bboxes: Tensor,
        anchor_points: Tensor,
        target_bboxes: Tensor,
        target_scores: Tensor,
        target_scores_sum: Tensor | float,
        fg_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The box term and the distance term, 0-d each; boxes in stride units."""
        if not self.own_distances():
            raise NotImplementedError("dfl_loss: edition 8.3 computes with its own parts only")
        terms: tuple[Tensor, Tensor] = self._terms(
            pred_dist,
            pred_bboxes,
            anchor_points,
            target_bboxes,
            target_scores,
            target_scores_sum,
            fg_mask,
            (1.0, 1.0),  # no size of the image and no stride is read in this edition
            torch.ones_like(anchor_points[:, :1]),
            self.reg_max,
            edition=EDITION,
        )
        return terms


class RotatedBboxLoss(BboxLoss):
    """Rotated box loss with the distances of the unturned box. See `lossref.losses.rotated_bbox`."""

    _terms: Any = staticmethod(rotated_bbox_loss)

    def __init__(self, reg_max: int) -> None:
        super().__init__(reg_max)


class TaskAlignedAssigner(Assigner):
    """Assigner without a rule for small sides and without a second top-k. See `lossref.losses.assignment`."""

    _assign = staticmethod(partial(task_aligned, small_boxes="off"))


class RotatedTaskAlignedAssigner(TaskAlignedAssigner):
    """The same for rotated boxes. See `lossref.losses.assignment.rotated_task_aligned`."""

    _assign = staticmethod(partial(rotated_task_aligned, small_boxes="off"))
