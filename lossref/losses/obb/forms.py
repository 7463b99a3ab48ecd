"""The rotated detection loss in the form that is chosen: pairs of candidates, or tables of fixed size."""

from __future__ import annotations

from torch import Tensor

from lossref.losses.assignment.static.strategy import chosen
from lossref.losses.detection.settings import Scene
from lossref.losses.detection.terms import Found
from lossref.losses.obb import static, terms
from lossref.losses.obb.terms import RotatedSettings, RotatedTerms


def detect_rotated(
    boxes: Tensor,
    scores: Tensor,
    angle: Tensor,
    scene: Scene,
    rotated: RotatedSettings = RotatedSettings(),  # noqa: B008
) -> tuple[Found, RotatedTerms]:
    """Positives and terms; arguments, result and errors as `terms.detect_rotated`."""
    if chosen(scores, len(scene.targets)) == "static":
        return static.detect_rotated(boxes, scores, angle, scene, rotated)
    return terms.detect_rotated(boxes, scores, angle, scene, rotated)
