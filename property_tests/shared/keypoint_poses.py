"""Fixture F for PoseLoss26 with any number of keypoints, and its six terms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lossref.core.nouns import Case
from lossref.hosts.probe import call, itself
from lossref.losses import spec
from lossref.losses.detection.cases import fixture_f as f
from lossref.losses.pose.cases import of_f

SPEC = spec("pose26")
FIRST = {"metric_overlap": "ciou and oks", "small_boxes": "raised"}  # 8.4.180 to 8.4.186


def case(rules: dict[str, Any], count: int = 3, head: int = 3, labels: int = 3, sign: int = 1, **params: Any) -> Case:
    """Fixture F with so many keypoints, of so many values in predictions and labels."""
    keypoints = f.keypoints(count, labels)
    keypoints[..., 2:] *= sign
    given = {"kpts": f.kpts(count * head), "kpts_sigma": f.kpts_sigma(count), "keypoints": keypoints}
    one = of_f("F", "recent releases", kpt_shape=(count, head), **given, **rules, **params)
    return replace(one, spec="pose26", params={**SPEC.defaults(), **one.params})


def items(one: Case) -> list[float]:
    """The six terms of the reference, without the factor of two images."""
    return (call(SPEC, itself(SPEC), one, "float64").value / 2).tolist()
