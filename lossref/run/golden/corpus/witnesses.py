"""Worked examples: inputs and digits that stand in a source outside of the oracle.

Digits "by hand" follow from the formula with pencil and paper; those of `lossref/spec` are of upstream code, and name
the paper that has the formula. The certified value has to round to every digit that is printed, or nothing is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossref.checks.material import with_defaults
from lossref.core.nouns import Array, Case, Spec
from lossref.oracle.answers import true_value

HAND = "by hand, "
IOU_FAMILY = "arXiv 1902.09630 and 1911.08287, digits of lossref/spec/10-geometry.md section 3"


class Contradicted(ArithmeticError):
    """The oracle and a worked example give different digits."""


@dataclass(frozen=True)
class Witness:
    """A worked example: the numbers of the value in row-major order as they are printed, the last digit rounded."""

    spec: str
    name: str
    source: str
    printed: str
    inputs: Mapping[str, Any]
    params: Mapping[str, Any] = field(default_factory=dict)


CELLS = {"box1": [[0.5, 0.5, 1, 1]], "box2": [[3.5, 0.5, 1, 1]]}
HALF = {"pred": [[[0.5, -1.25], [2, -0.375], [-3, 0]]], "label": [[[1, 0], [0, 0.5], [0, 1]]]}
P1, P2 = [[1, 2, 4, 6.5]], [[2, 1.5, 5.25, 5]]
Q1, Q2 = [[2.5, 4.25, 3, 4.5]], [[3.625, 3.25, 3.25, 3.5]]
CORNERS, CENTRES = {"box1": P1, "box2": P2}, {"box1": Q1, "box2": Q2}
XYXY: Mapping[str, Any] = {"xywh": False}
LOGITS = [[[0.5, -1.25], [2, -0.375], [-3, 0]]]
Z = [[0.5, -1, 0.25, 2], [0, 0.125, -0.5, 1], [1.5, 0.5, 0, -2], [-0.75, 0.25, 3, 0.5]]
MASKS = {
    "pred": [[[[0.5, -1], [2, 0.25]], [[-3, 1], [0, 0.75]]], [[[1, 1], [-1, -1]], [[0.5, 0.5], [0.25, -0.25]]]],
    "target": [[[[1, 0], [1, 0]], [[0, 0], [0, 1]]], [[[0, 0], [0, 0]], [[1, 1], [0, 0]]]],
}
OKS = {
    "pred_kpts": [[[1, 2], [3, 4], [5, 6.5]], [[0.5, 0.25], [1, 1], [2, 2]]],
    "gt_kpts": [[[1.5, 2.25], [3, 3.5], [5, 6]], [[0, 0], [0, 0], [0, 0]]],
    "kpt_mask": [[1, 0, 1], [1, 0, 0]],
    "area": [[8], [4]],
    "sigmas": [0.25, 0.5, 0.125],
}
RLE = {
    "sigma": [[0.5, 0.25], [0.125, 1], [0.75, 0.5]],
    "log_phi": [-1.5, 0.25, -3],
    "error": [[0.5, -1.25], [2, 0], [-0.375, 4]],
    "target_weight": [1, 1.5, 0.25],
}
TURNED = {"obb1": [[4, 4, 6, 2, 0.5]], "obb2": [[5, 4.5, 4, 3, -0.25]]}
FOCAL = "arXiv 1708.02002, digits of lossref/spec/30-elementary.md section 2"
DICE = "arXiv 1606.04797, digits of lossref/spec/30-elementary.md section 7"
VFL = "arXiv 2008.13367, digits of lossref/spec/30-elementary.md section 1"
COCO = "OKS of COCO, digits of lossref/spec/30-elementary.md section 9"
RLE_PAPER = "arXiv 2107.11291, digits of lossref/spec/30-elementary.md section 5"
GAUSS = "arXiv 2106.06072, digits of lossref/spec/10-geometry.md section 4"

WITNESSES = (
    Witness("iou", "paper pair, corners", IOU_FAMILY, "0.317880782492", CORNERS, XYXY),
    Witness("iou", "paper pair, centres", IOU_FAMILY, "0.317880793018", CENTRES),
    Witness("iou", "a quarter of each", HAND + "1 / (4 + 4 - 1)", "0.142857",
            {"box1": [[1, 1, 2, 2]], "box2": [[2, 2, 2, 2]]}),
    Witness("giou", "paper pair, corners", IOU_FAMILY, "0.206116106547", CORNERS, XYXY),
    Witness("giou", "paper pair, centres", IOU_FAMILY, "0.206116087661", CENTRES),
    Witness("giou", "two cells apart", HAND + "0 - (4 - 2) / 4", "-0.500000", CELLS),
    Witness("diou", "paper pair, corners", IOU_FAMILY, "0.265268300756", CORNERS, XYXY),
    Witness("diou", "two cells apart", HAND + "-9 / 17", "-0.529412", CELLS),
    Witness("ciou", "paper pair, corners", IOU_FAMILY, "0.265111400025", CORNERS, XYXY),
    Witness("ciou", "paper pair, centres", IOU_FAMILY, "0.265111410533", CENTRES),
    Witness("ciou", "gated below one half", IOU_FAMILY, "0.265268300756", CORNERS, {**XYXY, "alpha": "gated"}),
    Witness("probiou", "paper pair", GAUSS, "0.547805611771", TURNED),
    Witness("probiou", "paper pair with CIoU", GAUSS, "0.544243249578", TURNED, {"CIoU": True}),
    Witness("focal", "six logits", FOCAL, "0.517753364745", HALF),
    Witness("focal", "no focus", FOCAL, "0.822567002075", HALF, {"gamma": 0.0}),
    Witness(
        "varifocal", "six logits", VFL, "0.644873902033",
        {"pred_score": LOGITS, "gt_score": [[[0.75, 0], [0, 0], [0, 0.25]]], "label": [[[1, 0], [0, 0], [1, 1]]]},
    ),
    Witness(
        "dfl", "four sides", "arXiv 2006.04388, digits of lossref/spec/30-elementary.md section 3", "2.9996569163",
        {"pred_dist": Z, "target": [[0.25, 1.5, 5, -1]]}, {"reg_max": 4},
    ),
    Witness(
        "dfl", "equal logits", HAND + "ln 4, whichever bin", "1.38629436111989",
        {"pred_dist": [[0, 0, 0, 0]] * 4, "target": [[0.25, 1.5, 2, 1]]}, {"reg_max": 4},
    ),
    Witness("dice", "two images", DICE, "0.56513566774", MASKS),
    Witness("dice", "two images, smooth 1", DICE, "0.413580187827", MASKS, {"smooth": 1.0}),
    Witness("bce_dice", "two images", DICE.replace("section 7", "section 8"), "0.512576121619", MASKS),
    Witness("keypoint", "two objects", COCO, "0.14641493714", OKS),
    Witness("rle", "three points", RLE_PAPER, "0.839479052725", RLE),
    Witness(
        "classification", "two images", "lossref/spec/30-elementary.md section 10", "0.723910881706",
        {"logits": [[1, -0.5, 0.25], [0, 2, -1]], "cls": [2, 1]},
    ),
    Witness("xyxy2xywh", "one box", HAND + "middle and difference", "3 5 4 6", {"x": [[1, 2, 5, 8]]}),
    Witness("xywh2xyxy", "one box", HAND + "centre and half sides", "1 2 5 8", {"x": [[3, 5, 4, 6]]}),
    Witness("xywhr2xyxyxyxy", "upright", HAND + "half sides 1 and 1/2", "5 3.5 5 2.5 3 2.5 3 3.5",
            {"x": [[4, 3, 2, 1, 0]]}),
    Witness(
        "xywhr2xyxyxyxy", "turned by 1/2", "lossref/spec/10-geometry.md section 2",
        "4.63786979259 3.91821681955 5.11729533119 3.04063425766 "
        "3.36213020741 2.08178318045 2.88270466881 2.95936574234",
        {"x": [[4, 3, 2, 1, 0.5]]},
    ),
    Witness(
        "dist2bbox", "one point", HAND + "p - (l, t), p + (r, b)", "-0.5 -1.5 3.5 4.5",
        {"distance": [[1, 2, 3, 4]], "anchor_points": [[0.5, 0.5]]}, XYXY,
    ),
    Witness("bbox2dist", "one point", HAND + "p - x1y1, x2y2 - p", "1 0.5 8.5 2.5",
            {"anchor_points": [[0.5, 0.5]], "bbox": [[-0.5, 0, 9, 3]]}),
    Witness(
        "dist2rbox", "turned by 1/2", "lossref/spec/10-geometry.md section 8", "2.39815702329 4.35700810049 4 6",
        {"pred_dist": [[1, 2, 3, 4]], "pred_angle": [[0.5]], "anchor_points": [[2, 3]]},
    ),
    Witness("dfl_decode", "equal logits", HAND + "the mean of 0 to 3", "1.5 1.5 1.5 1.5",
            {"logits": [[0.0] * 16]}, {"reg_max": 4}),
)  # fmt: skip


def witnesses_of(spec: Spec) -> Iterator[tuple[Case, str]]:
    """The worked examples of a spec, and what each says its source is. Raises `Contradicted`."""
    for one in WITNESSES:
        if one.spec == spec.name:
            case = _case(spec, one)
            agree(one, true_value(spec, case))
            yield case, f"witness: {one.source}"


def _case(spec: Spec, one: Witness) -> Case:
    inputs = {name: np.asarray(one.inputs[name], dtype=np.float64) for name in spec.inputs}
    return Case(
        spec.name,
        inputs,
        with_defaults(spec, one.params),
        f"witness, {one.name}".replace("/", ":"),
        ("witness",),
        f"gives {one.printed}",
    )


def agree(one: Witness, value: Array) -> None:
    """Raise `Contradicted` unless every number is within half a unit of the last printed digit, and a little."""
    words = one.printed.split()
    if len(words) != value.size:
        raise Contradicted(f"{one.spec}: {one.name}: {len(words)} numbers are printed, the oracle gives {value.size}")
    for word, number in zip(words, value.ravel(), strict=True):
        digits = len(word.partition(".")[2])
        if not math.isclose(float(word), number, rel_tol=0, abs_tol=0.51 * 10.0**-digits if digits > 4 else 0.0):
            raise Contradicted(f"{one.spec}: {one.name}: {one.source} prints {word}, the oracle gives {float(number)}")
