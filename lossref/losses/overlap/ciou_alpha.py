"""CIoU of boxes in corners with each of the three published gradients of alpha, arXiv 1911.08287.

"detached" is the default (spec/10-geometry.md section 3), "attached" differentiates alpha too, "gated"
sets alpha to 0 where IoU < 0.5, as code published with the paper does.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lossref.losses.overlap.bbox_iou import ciou_of, overlap
from lossref.losses.overlap.ciou import oracle as oracle_of_pair
from lossref.losses.overlap.pairs import oracle_sides

EPS = 1e-7


def ciou(box1: Tensor, box2: Tensor, alpha: str = "detached") -> Tensor:
    """CIoU of xyxy boxes (n, 4), one number for each pair (n,); alpha "detached", "attached" or "gated"."""
    return ciou_of(overlap(box1, box2, False, EPS), EPS, alpha)


def oracle_ciou(m: Any, box1: Any, box2: Any, alpha: str) -> Any:
    """CIoU of one pair of xyxy boxes."""
    a, b = (oracle_sides(m, box, False, EPS) for box in (box1, box2))
    return oracle_of_pair(m, a, b, EPS, alpha)
