"""lossref: is this loss implementation right, where not, and how far off?

`lossref.target` marks an implementation; the names of lossref's own losses (`lossref.FocalLoss`,
`lossref.bbox_iou`, ...) are drop-in replacements. Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "target": "lossref.resolve",
    "bbox_iou": "lossref.blocks.bbox_iou",
    "VarifocalLoss": "lossref.losses.varifocal",
    "FocalLoss": "lossref.losses.focal",
    "DFLoss": "lossref.losses.dfl",
    "MultiChannelDiceLoss": "lossref.losses.dice",
    "BCEDiceLoss": "lossref.losses.bce_dice",
}
__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'lossref' has no attribute {name!r}")
