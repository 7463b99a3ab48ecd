"""Edition 8.4.190: the current classes, whose items are a dict by name, as the trainer of that release reads them.

The vector that is trained, its gradients and all numbers are those of edition 8.4; `loss_names` are the names of the
items. Source: spec/60-api.md section 2.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lossref.losses.classification import classification
from lossref.losses.detection import e2e, e2e_detect, tvp_detect, v8_detection
from lossref.losses.obb import v8_obb
from lossref.losses.pose import pose26, v8_pose
from lossref.losses.segmentation import tvp_segment, v8_segmentation

Items = dict[str, Tensor]


def named(names: Sequence[str], items: Any) -> Items:
    """Items (n,) by name, detached; a dict, which an overridden method may give, as it is."""
    return dict(items) if isinstance(items, Mapping) else dict(zip(names, items.detach(), strict=False))


class Named:
    """What the classes of this edition add to those of the current one."""

    loss_names: Any

    def loss(self, preds: Any, batch: dict[str, Any]) -> Any:
        """What is trained, and the items by name."""
        loss, items = super().loss(preds, batch)  # type: ignore[misc]
        return loss, named(self.loss_names, items)


class v8DetectionLoss(Named, v8_detection.v8DetectionLoss):
    """See `lossref.v8DetectionLoss`."""

    loss_names = ("box_loss", "cls_loss", "dfl_loss")


class v8SegmentationLoss(Named, v8_segmentation.v8SegmentationLoss):
    """See `lossref.v8SegmentationLoss`."""

    loss_names = ("box_loss", "seg_loss", "cls_loss", "dfl_loss", "sem_loss")


class v8PoseLoss(Named, v8_pose.v8PoseLoss):
    """See `lossref.v8PoseLoss`."""

    loss_names = ("box_loss", "pose_loss", "kobj_loss", "cls_loss", "dfl_loss")


class PoseLoss26(Named, pose26.PoseLoss26):
    """See `lossref.PoseLoss26`; assigns by boxes, as releases up to 8.4.24 do."""

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The names of the pose loss and, where the head has a flow, of its likelihood."""
        return (*v8PoseLoss.loss_names, *(("rle_loss",) if self._rated() else ()))


class v8OBBLoss(Named, v8_obb.v8OBBLoss):
    """See `lossref.v8OBBLoss`."""

    loss_names = ("box_loss", "cls_loss", "dfl_loss", "angle_loss")


class TVPDetectLoss(Named, tvp_detect.TVPDetectLoss):
    """See `lossref.TVPDetectLoss`."""

    loss_names = ("box", "cls", "dfl")


class TVPSegmentLoss(Named, tvp_segment.TVPSegmentLoss):
    """See `lossref.TVPSegmentLoss`; the semantic item has no name."""

    loss_names = ("box", "seg", "cls", "dfl")


class E2EDetectLoss(e2e_detect.E2EDetectLoss):
    """See `lossref.E2EDetectLoss`."""

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, Items]:  # type: ignore[override]
        """The sum of both branches, and its items by name."""
        loss, items = super().__call__(preds, batch)
        return loss, named(v8DetectionLoss.loss_names, items)


class E2ELoss(e2e.E2ELoss):
    """See `lossref.E2ELoss`; the items are what `loss_fn`, a class of this edition, gives."""

    def __init__(self, model: Any, loss_fn: Any = v8DetectionLoss) -> None:
        super().__init__(model, loss_fn)


class v8ClassificationLoss(classification.v8ClassificationLoss):
    """See `lossref.v8ClassificationLoss`."""

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, Items]:  # type: ignore[override]
        """The loss, and the same by name."""
        loss, item = super().__call__(preds, batch)
        return loss, {"loss": item.detach()}
