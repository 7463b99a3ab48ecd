"""The public names of an edition: `lossref.edition("8.3").v8DetectionLoss(model)` takes feature maps.

Edition "8.4" is the current one, lossref's own names. Edition "8.3" is release 8.3.116, with the TVPSegmentLoss
of 8.3.200, which works: older signatures and conventions, spec/60-api.md section 2. Edition "8.4.190" has the
numbers of "8.4" and gives items by name, as the trainer of that release reads them. What spec/05-decisions.md
calls a defect (D1 to D15) is mended in all.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import lossref

if TYPE_CHECKING:
    from lossref.editions.typed import Edition83, Edition84, Edition84190

EDITIONS = ("8.3", "8.4", "8.4.190")
_NEWER = ("RLELoss", "MultiChannelDiceLoss", "BCEDiceLoss", "PoseLoss26", "E2ELoss", "RealNVP", "rbox2dist")
_OLDER = {
    **dict.fromkeys(("bbox2dist", "TaskAlignedAssigner", "RotatedTaskAlignedAssigner"), "parts83"),
    **dict.fromkeys(("FocalLoss", "BboxLoss", "RotatedBboxLoss"), "parts83"),
    **dict.fromkeys(("v8DetectionLoss", "v8SegmentationLoss", "v8PoseLoss", "v8OBBLoss"), "losses83"),
    **dict.fromkeys(("E2EDetectLoss", "TVPDetectLoss", "TVPSegmentLoss"), "losses83"),
}
_NAMED = (
    *("v8DetectionLoss", "v8SegmentationLoss", "v8PoseLoss", "PoseLoss26", "v8OBBLoss", "E2EDetectLoss", "E2ELoss"),
    *("TVPDetectLoss", "TVPSegmentLoss", "v8ClassificationLoss"),
)


@dataclass(frozen=True)
class Edition:
    """The public names of one edition as attributes; AttributeError for a name that it does not have."""

    version: str

    def __getattr__(self, name: str) -> Any:
        if name not in lossref.LOSSES:
            raise AttributeError(f"edition {self.version} has no attribute {name!r}")
        if self.version == "8.3" and name in _NEWER:
            raise AttributeError(f"edition 8.3 has no {name}, which came with edition 8.4")
        if self.version == "8.3" and name in _OLDER:
            return getattr(importlib.import_module(f"lossref.editions.{_OLDER[name]}"), name)
        if self.version == "8.4.190" and name in _NAMED:
            return getattr(importlib.import_module("lossref.editions.named"), name)
        return getattr(lossref, name)

    def __dir__(self) -> list[str]:
        return [name for name in lossref.LOSSES if self.version != "8.3" or name not in _NEWER]


@overload
def edition(version: Literal["8.3"]) -> Edition83: ...
@overload
def edition(version: Literal["8.4"]) -> Edition84: ...
@overload
def edition(version: Literal["8.4.190"]) -> Edition84190: ...
def edition(version: str) -> Any:
    """The names of edition "8.3", "8.4" or "8.4.190"; ValueError for any other. See `lossref.editions`."""
    if version not in EDITIONS:
        raise ValueError(f"expected edition {' or '.join(map(repr, EDITIONS))}, got {version!r}")
    return Edition(version)
