"""lossref: is this loss implementation right, where not, and how far off?

`lossref.validate` checks a function or class here and now, `lossref.target` marks one for the command line, and
`lossref.conforms` for pytest; the names of lossref's own losses (`lossref.FocalLoss`, `lossref.bbox_iou`, ...) are
drop-in replacements, `lossref.edition("8.3")` has those of older releases. Nothing heavy is imported until it is used.
Import paths of before are followed to where the module is now.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lossref.editions.moved import follow as _follow

__version__ = "0.1.0"

if TYPE_CHECKING:  # what `__getattr__` finds, said to type checkers and editors; a test holds the two together
    from lossref.api import validate as validate
    from lossref.editions.editions import edition as edition
    from lossref.losses.assignment.rotated_task_aligned import RotatedTaskAlignedAssigner as RotatedTaskAlignedAssigner
    from lossref.losses.assignment.static.graphs import captured as captured
    from lossref.losses.assignment.static.graphs import compiled as compiled
    from lossref.losses.assignment.static.strategy import checked as checked
    from lossref.losses.assignment.task_aligned import TaskAlignedAssigner as TaskAlignedAssigner
    from lossref.losses.box_terms.bbox import BboxLoss as BboxLoss
    from lossref.losses.box_terms.dfl import DFLoss as DFLoss
    from lossref.losses.box_terms.rotated_bbox import RotatedBboxLoss as RotatedBboxLoss
    from lossref.losses.classification.classification import v8ClassificationLoss as v8ClassificationLoss
    from lossref.losses.classification.focal import FocalLoss as FocalLoss
    from lossref.losses.classification.varifocal import VarifocalLoss as VarifocalLoss
    from lossref.losses.coordinates.bbox2dist import bbox2dist as bbox2dist
    from lossref.losses.coordinates.dfl_decode import dfl_distances as dfl_distances
    from lossref.losses.coordinates.dist2bbox import dist2bbox as dist2bbox
    from lossref.losses.coordinates.dist2rbox import dist2rbox as dist2rbox
    from lossref.losses.coordinates.make_anchors import make_anchors as make_anchors
    from lossref.losses.coordinates.rbox2dist import rbox2dist as rbox2dist
    from lossref.losses.coordinates.xywh2xyxy import xywh2xyxy as xywh2xyxy
    from lossref.losses.coordinates.xywhr2xyxyxyxy import xywhr2xyxyxyxy as xywhr2xyxyxyxy
    from lossref.losses.coordinates.xyxy2xywh import xyxy2xywh as xyxy2xywh
    from lossref.losses.detection.e2e import E2ELoss as E2ELoss
    from lossref.losses.detection.e2e_detect import E2EDetectLoss as E2EDetectLoss
    from lossref.losses.detection.tvp_detect import TVPDetectLoss as TVPDetectLoss
    from lossref.losses.detection.v8_detection import v8DetectionLoss as v8DetectionLoss
    from lossref.losses.detr.detr import DETRLoss as DETRLoss
    from lossref.losses.detr.hungarian import HungarianMatcher as HungarianMatcher
    from lossref.losses.detr.rtdetr import RTDETRDetectionLoss as RTDETRDetectionLoss
    from lossref.losses.keypoints.keypoint import KeypointLoss as KeypointLoss
    from lossref.losses.keypoints.realnvp import RealNVP as RealNVP
    from lossref.losses.keypoints.rle import RLELoss as RLELoss
    from lossref.losses.masks.bce_dice import BCEDiceLoss as BCEDiceLoss
    from lossref.losses.masks.crop_mask import crop_mask as crop_mask
    from lossref.losses.masks.dice import MultiChannelDiceLoss as MultiChannelDiceLoss
    from lossref.losses.obb.v8_obb import v8OBBLoss as v8OBBLoss
    from lossref.losses.overlap.bbox_iou import bbox_iou as bbox_iou
    from lossref.losses.overlap.probiou import probiou as probiou
    from lossref.losses.pose.pose26 import PoseLoss26 as PoseLoss26
    from lossref.losses.pose.v8_pose import v8PoseLoss as v8PoseLoss
    from lossref.losses.segmentation.tvp_segment import TVPSegmentLoss as TVPSegmentLoss
    from lossref.losses.segmentation.v8_segmentation import v8SegmentationLoss as v8SegmentationLoss
    from lossref.targets.marks import conforms as conforms
    from lossref.targets.marks import target as target

_FRONT = {
    "target": "lossref.targets.marks",
    "conforms": "lossref.targets.marks",
    "validate": "lossref.api",
    "edition": "lossref.editions.editions",
    "compiled": "lossref.losses.assignment.static.graphs",
    "captured": "lossref.losses.assignment.static.graphs",
    "checked": "lossref.losses.assignment.static.strategy",
}
_LOSSES = {
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
LOSSES = tuple(_LOSSES)
"""The public names that are losses, or the blocks under them."""
__all__ = [*_FRONT, *_LOSSES]

if not TYPE_CHECKING:  # to a type checker an unknown name is an error

    def __getattr__(name: str) -> object:
        where = {**_FRONT, **_LOSSES}.get(name)
        if where is None:
            raise AttributeError(f"module 'lossref' has no attribute {name!r}")
        return getattr(importlib.import_module(where), name)


_follow()


def __dir__() -> list[str]:
    return [*(name for name in globals() if name.startswith("__")), "LOSSES", *__all__]
