"""Edition 8.3 of the losses that take a model: the current classes, asked with feature maps, in older conventions.

Everything happens in the call; the methods that the current edition split it into are absent. Vectors: det (box,
cls, dfl), seg (box, seg, cls, dfl), pose (box, pose, kobj, cls, dfl), obb (box, cls, dfl).
Source: spec/60-api.md section 2.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from lossref.editions.feature_maps import heads_of, prompt_maps, require_upright, with_one, with_two
from lossref.editions.parts83 import (
    EDITION,
    Absent,
    BboxLoss,
    RotatedBboxLoss,
    RotatedTaskAlignedAssigner,
    TaskAlignedAssigner,
)
from lossref.losses.classification.replaced import documented, kind_of
from lossref.losses.detection import e2e_detect, v8_detection
from lossref.losses.detection import settings as detection
from lossref.losses.detection.batch import branch
from lossref.losses.detection.tvp_detect import zeros_to_train
from lossref.losses.keypoints.keypoint import KeypointLoss
from lossref.losses.keypoints.tables import OKS_SIGMA_83
from lossref.losses.masks import batch_term as mask_term
from lossref.losses.obb import v8_obb
from lossref.losses.obb.terms import RotatedSettings
from lossref.losses.pose import v8_pose
from lossref.losses.segmentation import v8_segmentation
from lossref.losses.segmentation.terms import Choices

Loss = tuple[Tensor, Tensor]


PLAIN = ("preprocess", "bbox_decode")


@documented(*PLAIN)
class v8DetectionLoss(v8_detection.v8DetectionLoss):
    """(box, cls, dfl) of feature maps, or of a tuple (y, feature maps). See `lossref.v8DetectionLoss`.

    A part or a method that was replaced is refused: NotImplementedError with its name.
    """

    _parts: Any = TaskAlignedAssigner, BboxLoss
    _kinds = kind_of(TaskAlignedAssigner), kind_of(BboxLoss)
    parse_output: Any = Absent()
    loss: Any = Absent()
    get_assigned_targets_and_loss: Any = Absent()

    def __init__(self, model: Any, tal_topk: int = 10) -> None:
        super().__init__(model, tal_topk)
        assigner, box_loss = self._parts
        self.assigner = assigner(tal_topk, self.nc, 0.5, 6.0)
        self.bbox_loss = box_loss(self.reg_max)

    def __call__(self, preds: Any, batch: dict[str, Any]) -> Loss:
        """The vector times the number of images, and the vector, detached."""
        vector, items = super().loss(self._read(preds), batch)
        return vector, items

    def _read(self, preds: Any) -> dict[str, Any]:
        """The predictions as the current edition has them."""
        return heads_of(branch(preds), self.reg_max, self.nc)

    def _replaced(self) -> str:
        other = super()._replaced()
        if other:
            raise NotImplementedError(f"{other}: edition 8.3 computes with its own parts and methods only")
        return other

    def _matching(self) -> detection.Matching:
        a, strides = self.assigner, self._strides()
        return detection.of_edition(detection.Matching(strides, a.topk, None, a.alpha, a.beta, a.eps), EDITION)


@documented(*PLAIN, "calculate_segmentation_loss", "single_mask_loss")
class v8SegmentationLoss(v8DetectionLoss, v8_segmentation.v8SegmentationLoss):
    """(box, seg, cls, dfl) of (feature maps, coefficients (b, k, A), prototypes (b, k, h, w)), or of (y, those).

    Masks of another size are resized to that of the prototypes. Raises TypeError where the objects are not upright
    boxes. See `lossref.v8SegmentationLoss`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        del self.bcedice_loss

    def __call__(self, preds: Any, batch: dict[str, Any]) -> Loss:
        """The vector (4,) times the number of images, and the vector, detached."""
        vector, items = super().__call__(preds, batch)
        return vector[:4], items[:4]

    def calculate_segmentation_loss(  # type: ignore[override]
        self,
        fg_mask: Tensor,
        masks: Tensor,
        target_gt_idx: Tensor,
        target_bboxes: Tensor,
        batch_idx: Tensor,
        proto: Tensor,
        pred_masks: Tensor,
        imgsz: Tensor,
        overlap: bool,
    ) -> Tensor:
        """As in the current edition, with masks of the size of the prototypes; `overlap` says how they are stored."""
        asked = copy.copy(self)
        asked.overlap = overlap
        given = (fg_mask, masks, target_gt_idx, target_bboxes, batch_idx, proto, pred_masks, imgsz)
        return super(v8SegmentationLoss, asked).calculate_segmentation_loss(*given)

    def _read(self, preds: Any) -> dict[str, Any]:
        feats, coefficients, proto = with_two(preds)
        return {**super()._read(feats), "mask_coefficient": coefficients, "proto": proto}

    def _mask_rules(self) -> mask_term.MaskRules:
        return mask_term.of_edition(super()._mask_rules(), EDITION)

    def _other_dice(self) -> str:
        return ""

    def _choices(self) -> Choices:
        return Choices(self.hyp.box, rules=self._mask_rules())

    def _detect(self, preds: dict[str, Any], batch: dict[str, Any], *more: Any) -> Any:
        require_upright(batch)
        return super()._detect(preds, batch, *more)


@documented(*PLAIN, "kpts_decode", "calculate_keypoints_loss")
class v8PoseLoss(v8DetectionLoss, v8_pose.v8PoseLoss):
    """(box, pose, kobj, cls, dfl) of (feature maps, keypoints (b, K D, A)), or of (y, those).

    The OKS sigmas of COCO are float64. See `lossref.v8PoseLoss`.
    """

    _select_target_keypoints: Any = Absent()

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        if self.kpt_shape == [17, 3]:
            self.keypoint_loss = KeypointLoss(OKS_SIGMA_83.to(self.device))

    def calculate_keypoints_loss(
        self,
        masks: Tensor,
        target_gt_idx: Tensor,
        keypoints: Tensor,
        batch_idx: Tensor,
        stride_tensor: Tensor,
        target_bboxes: Tensor,
        pred_kpts: Tensor,
    ) -> tuple[Tensor, ...]:
        """(pose, kobj) without gains, of keypoints (N, K, D) in pixels and boxes (b, A, 4) in stride units."""
        given = (masks, target_gt_idx, keypoints, batch_idx, stride_tensor)
        return super().calculate_keypoints_loss(*given, target_bboxes * stride_tensor, pred_kpts)

    def _read(self, preds: Any) -> dict[str, Any]:
        feats, kpts = with_one(preds)
        return {**super()._read(feats), "kpts": kpts}


@documented(*PLAIN)
class v8OBBLoss(v8DetectionLoss, v8_obb.v8OBBLoss):
    """(box, cls, dfl) of (feature maps, angles (b, 1, A)), or of (y, those). See `lossref.v8OBBLoss`."""

    _parts = RotatedTaskAlignedAssigner, RotatedBboxLoss
    _kinds = kind_of(RotatedTaskAlignedAssigner), kind_of(RotatedBboxLoss)
    calculate_angle_loss: Any = Absent()

    def __init__(self, model: Any) -> None:
        super().__init__(model)

    def __call__(self, preds: Any, batch: dict[str, Any]) -> Loss:
        """The vector (3,) times the number of images, and the vector, detached."""
        vector, items = super().__call__(preds, batch)
        return vector[:3], items[:3]

    def _read(self, preds: Any) -> dict[str, Any]:
        feats, angle = with_one(preds)
        return {**super()._read(feats), "angle": angle}

    def _rotated_settings(self) -> RotatedSettings:
        return RotatedSettings()


class E2EDetectLoss(e2e_detect.E2EDetectLoss):
    """Sum of both branches, each feature maps. See `lossref.E2EDetectLoss`."""

    def __init__(self, model: Any) -> None:
        self.one2many = v8DetectionLoss(model, tal_topk=e2e_detect.MANY)
        self.one2one = v8DetectionLoss(model, tal_topk=e2e_detect.ONE)


class TVPDetectLoss:
    """Class term of feature maps with 4 R + ori_nc + V channels: only the last V scores, the visual prompts, count.

    Without any visual prompt there is nothing to train: zeros. Attributes vp_criterion, whose class count never
    changes, ori_nc, ori_no, ori_reg_max.
    """

    _criterion: Any = v8DetectionLoss
    _entry = 1
    _length = 3

    def __init__(self, model: Any) -> None:
        self.vp_criterion = self._criterion(model)
        self.ori_nc = self.vp_criterion.nc
        self.ori_no = self.vp_criterion.no
        self.ori_reg_max = self.vp_criterion.reg_max

    def __call__(self, preds: Any, batch: dict[str, Any]) -> Loss:
        """The class term, 0-d, with the factor of images, and the vector without it, detached."""
        feats, *more = self._read(preds)
        visual = self._get_vp_features(feats)
        prompts = visual[0].shape[1] - 4 * self.ori_reg_max
        if not prompts:
            zeros = zeros_to_train(self._length, *feats)
            return zeros, zeros.detach().clone()
        criterion = copy.copy(self.vp_criterion)
        criterion.nc, criterion.no = prompts, prompts + 4 * self.ori_reg_max
        vector, items = criterion((visual, *more) if more else visual, batch)
        return vector[self._entry], items

    def _read(self, preds: Any) -> tuple[Any, ...]:
        return (branch(preds),)

    def _get_vp_features(self, feats: list[Tensor]) -> list[Tensor]:
        return prompt_maps(feats, self.ori_reg_max, self.ori_nc)


class TVPSegmentLoss(TVPDetectLoss):
    """The same of (feature maps, coefficients, prototypes), with a v8SegmentationLoss inside."""

    _criterion = v8SegmentationLoss
    _entry = 2
    _length = 4

    def _read(self, preds: Any) -> tuple[Any, ...]:
        return tuple(with_two(preds))
