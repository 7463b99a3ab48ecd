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
    "target": "lossref.resolve",
    "edition": "lossref.editions",
    "bbox_iou": "lossref.blocks.bbox_iou",
    "probiou": "lossref.blocks.probiou",
    "xyxy2xywh": "lossref.blocks.xyxy2xywh",
    "xywh2xyxy": "lossref.blocks.xywh2xyxy",
    "xywhr2xyxyxyxy": "lossref.blocks.xywhr2xyxyxyxy",
    "make_anchors": "lossref.blocks.make_anchors",
    "dist2bbox": "lossref.blocks.dist2bbox",
    "bbox2dist": "lossref.blocks.bbox2dist",
    "dist2rbox": "lossref.blocks.dist2rbox",
    "rbox2dist": "lossref.blocks.rbox2dist",
    "crop_mask": "lossref.blocks.crop_mask",
    "TaskAlignedAssigner": "lossref.blocks.task_aligned",
    "RotatedTaskAlignedAssigner": "lossref.blocks.rotated_task_aligned",
    "HungarianMatcher": "lossref.blocks.hungarian",
    "RealNVP": "lossref.blocks.realnvp",
    "VarifocalLoss": "lossref.losses.varifocal",
    "FocalLoss": "lossref.losses.focal",
    "DFLoss": "lossref.losses.dfl",
    "BboxLoss": "lossref.losses.bbox",
    "RLELoss": "lossref.losses.rle",
    "RotatedBboxLoss": "lossref.losses.rotated_bbox",
    "MultiChannelDiceLoss": "lossref.losses.dice",
    "BCEDiceLoss": "lossref.losses.bce_dice",
    "KeypointLoss": "lossref.losses.keypoint",
    "v8ClassificationLoss": "lossref.losses.classification",
    "v8DetectionLoss": "lossref.losses.v8_detection",
    "v8SegmentationLoss": "lossref.losses.v8_segmentation",
    "v8PoseLoss": "lossref.losses.v8_pose",
    "PoseLoss26": "lossref.losses.pose26",
    "v8OBBLoss": "lossref.losses.v8_obb",
    "E2EDetectLoss": "lossref.losses.e2e_detect",
    "E2ELoss": "lossref.losses.e2e",
    "TVPDetectLoss": "lossref.losses.tvp_detect",
    "TVPSegmentLoss": "lossref.losses.tvp_segment",
    "DETRLoss": "lossref.losses.detr",
    "RTDETRDetectionLoss": "lossref.losses.rtdetr",
}
__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'lossref' has no attribute {name!r}")
