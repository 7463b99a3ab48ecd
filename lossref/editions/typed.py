"""The names of each edition as a type checker sees them; a test holds them against `lossref.edition`."""

from __future__ import annotations

import lossref
from lossref.editions import losses83, named, parts83


class Unchanged:
    """What both editions have alike."""

    version: str
    bbox_iou = staticmethod(lossref.bbox_iou)
    probiou = staticmethod(lossref.probiou)
    xyxy2xywh = staticmethod(lossref.xyxy2xywh)
    xywh2xyxy = staticmethod(lossref.xywh2xyxy)
    xywhr2xyxyxyxy = staticmethod(lossref.xywhr2xyxyxyxy)
    make_anchors = staticmethod(lossref.make_anchors)
    dist2bbox = staticmethod(lossref.dist2bbox)
    dist2rbox = staticmethod(lossref.dist2rbox)
    dfl_distances = staticmethod(lossref.dfl_distances)
    crop_mask = staticmethod(lossref.crop_mask)
    HungarianMatcher = lossref.HungarianMatcher
    VarifocalLoss = lossref.VarifocalLoss
    DFLoss = lossref.DFLoss
    KeypointLoss = lossref.KeypointLoss
    v8ClassificationLoss = lossref.v8ClassificationLoss
    DETRLoss = lossref.DETRLoss
    RTDETRDetectionLoss = lossref.RTDETRDetectionLoss


class Edition83(Unchanged):
    """Release 8.3.116."""

    bbox2dist = staticmethod(parts83.bbox2dist)
    TaskAlignedAssigner = parts83.TaskAlignedAssigner
    RotatedTaskAlignedAssigner = parts83.RotatedTaskAlignedAssigner
    FocalLoss = parts83.FocalLoss
    BboxLoss = parts83.BboxLoss
    RotatedBboxLoss = parts83.RotatedBboxLoss
    v8DetectionLoss = losses83.v8DetectionLoss
    v8SegmentationLoss = losses83.v8SegmentationLoss
    v8PoseLoss = losses83.v8PoseLoss
    v8OBBLoss = losses83.v8OBBLoss
    E2EDetectLoss = losses83.E2EDetectLoss
    TVPDetectLoss = losses83.TVPDetectLoss
    TVPSegmentLoss = losses83.TVPSegmentLoss


class Edition84(Unchanged):
    """lossref's own names."""

    bbox2dist = staticmethod(lossref.bbox2dist)
    rbox2dist = staticmethod(lossref.rbox2dist)
    TaskAlignedAssigner = lossref.TaskAlignedAssigner
    RotatedTaskAlignedAssigner = lossref.RotatedTaskAlignedAssigner
    RealNVP = lossref.RealNVP
    FocalLoss = lossref.FocalLoss
    BboxLoss = lossref.BboxLoss
    RLELoss = lossref.RLELoss
    RotatedBboxLoss = lossref.RotatedBboxLoss
    MultiChannelDiceLoss = lossref.MultiChannelDiceLoss
    BCEDiceLoss = lossref.BCEDiceLoss
    v8DetectionLoss = lossref.v8DetectionLoss
    v8SegmentationLoss = lossref.v8SegmentationLoss
    v8PoseLoss = lossref.v8PoseLoss
    PoseLoss26 = lossref.PoseLoss26
    v8OBBLoss = lossref.v8OBBLoss
    E2EDetectLoss = lossref.E2EDetectLoss
    E2ELoss = lossref.E2ELoss
    TVPDetectLoss = lossref.TVPDetectLoss
    TVPSegmentLoss = lossref.TVPSegmentLoss


class Edition84190(Edition84):
    """lossref's own names, with items by name."""

    v8ClassificationLoss = named.v8ClassificationLoss
    v8DetectionLoss = named.v8DetectionLoss
    v8SegmentationLoss = named.v8SegmentationLoss
    v8PoseLoss = named.v8PoseLoss
    PoseLoss26 = named.PoseLoss26
    v8OBBLoss = named.v8OBBLoss
    E2EDetectLoss = named.E2EDetectLoss
    E2ELoss = named.E2ELoss
    TVPDetectLoss = named.TVPDetectLoss
    TVPSegmentLoss = named.TVPSegmentLoss
