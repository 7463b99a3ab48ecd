"""lossref: is this loss implementation right, where not, and how far off?

`lossref.target` marks an implementation; the names of lossref's own losses (`lossref.FocalLoss`,
`lossref.bbox_iou`, ...) are drop-in replacements, `lossref.edition("8.3")` has those of older releases.
Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "target": "lossref.targets.resolve",
    "edition": "lossref.editions.editions",
    "bbox_iou": "lossref.losses.overlap.bbox_iou",
    "probiou": "lossref.losses.overlap.probiou",
    "xyxy2xywh": "lossref.losses.coordinates.xyxy2xywh",
    "xywh2xyxy": "lossref.losses.coordinates.xywh2xyxy",
    "xywhr2xyxyxyxy": "lossref.losses.coordinates.xywhr2xyxyxyxy",
    "make_anchors": "lossref.losses.coordinates.make_anchors",
    "dist2bbox": "lossref.losses.coordinates.dist2bbox",
    "bbox2dist": "lossref.losses.coordinates.bbox2dist",
    "dist2rbox": "lossref.losses.coordinates.dist2rbox",
    "rbox2dist": "lossref.losses.coordinates.rbox2dist",
    "dfl_distances": "lossref.losses.coordinates.dfl_decode",
    "crop_mask": "lossref.losses.masks.crop_mask",
    "TaskAlignedAssigner": "lossref.losses.assignment.task_aligned",
    "RotatedTaskAlignedAssigner": "lossref.losses.assignment.rotated_task_aligned",
    "HungarianMatcher": "lossref.losses.detr.hungarian",
    "RealNVP": "lossref.losses.keypoints.realnvp",
    "VarifocalLoss": "lossref.losses.classification.varifocal",
    "FocalLoss": "lossref.losses.classification.focal",
    "DFLoss": "lossref.losses.box_terms.dfl",
    "BboxLoss": "lossref.losses.box_terms.bbox",
    "RLELoss": "lossref.losses.keypoints.rle",
    "RotatedBboxLoss": "lossref.losses.box_terms.rotated_bbox",
    "MultiChannelDiceLoss": "lossref.losses.masks.dice",
    "BCEDiceLoss": "lossref.losses.masks.bce_dice",
    "KeypointLoss": "lossref.losses.keypoints.keypoint",
    "v8ClassificationLoss": "lossref.losses.classification.classification",
    "v8DetectionLoss": "lossref.losses.detection.v8_detection",
    "v8SegmentationLoss": "lossref.losses.segmentation.v8_segmentation",
    "v8PoseLoss": "lossref.losses.pose.v8_pose",
    "PoseLoss26": "lossref.losses.pose.pose26",
    "v8OBBLoss": "lossref.losses.obb.v8_obb",
    "E2EDetectLoss": "lossref.losses.detection.e2e_detect",
    "E2ELoss": "lossref.losses.detection.e2e",
    "TVPDetectLoss": "lossref.losses.detection.tvp_detect",
    "TVPSegmentLoss": "lossref.losses.segmentation.tvp_segment",
    "DETRLoss": "lossref.losses.detr.detr",
    "RTDETRDetectionLoss": "lossref.losses.detr.rtdetr",
}
__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'lossref' has no attribute {name!r}")
