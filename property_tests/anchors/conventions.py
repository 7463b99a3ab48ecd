"""Every number that lossref/spec prints for a named convention other than the default, to the digits printed.

spec/05-decisions.md section 2 lists the conventions; what stands here beside its file and section is the number as
it is printed there, and how lossref computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossref.core.nouns import Case
from lossref.losses import spec
from lossref.losses.assignment.task_aligned import task_aligned
from lossref.losses.detection import cases as detection
from lossref.losses.detection.cases import fixture_f as f
from lossref.losses.detr.cases import FOUR, NONE, THREE, fixture
from lossref.losses.masks.bce_dice import bce_dice
from lossref.losses.obb.cases import _of_f as rotated_f
from lossref.spec import Place, read
from shared import setup_s
from shared.digits import agrees
from shared.keypoint_poses import FIRST, items
from shared.keypoint_poses import case as keypoint_case

Numbers = Callable[[], list[float]]
F64 = torch.float64
X = [[[0.5, -1.25], [2, -0.375], [-3, 0]]]
Y, Y4 = ([[[1, 0], [0, soft], [0, 1]]] for soft in (0.5, 0.25))
PRED = [[[[0.5, -1], [2, 0.25]], [[-3, 1], [0, 0.75]]], [[[1, 1], [-1, -1]], [[0.5, 0.5], [0.25, -0.25]]]]
MASK = [[[[1, 0], [1, 0]], [[0, 0], [0, 1]]], [[[0, 0], [0, 0]], [[1, 1], [0, 0]]]]
HALF = (np.array(MASK) / 2).tolist()
PAIR = [(1, 2, 4, 6.5)], [(2, 1.5, 5.25, 5)]
OBB = [(4, 4, 6, 2, 0.5)], [(5, 4.5, 4, 3, -0.25)]


def of(name: str, *inputs: Any, **params: Any) -> Numbers:
    """All numbers of a reference for inputs in the order of the spec."""

    def numbers() -> list[float]:
        one = spec(name)
        result = one.reference(*(torch.tensor(x, dtype=F64) for x in inputs), **{**one.defaults(), **params})
        return [float(x) for part in (result if isinstance(result, tuple) else (result,)) for x in part.flatten()]

    return numbers


def of_f(name: str, one: Case, **params: Any) -> Numbers:
    """The items of a loss for a case of fixture F: without the factor of two images."""

    def numbers() -> list[float]:
        return [x / 2 for x in of(name, *(one.inputs[key] for key in spec(name).inputs), **one.params, **params)()]

    return numbers


def of_g(objects: dict[str, Any], *which: int, queries: int = 5, **params: Any) -> Numbers:
    """Some of the six losses of DETR for fixture G."""

    def numbers() -> list[float]:
        given, whole = {**fixture(3, queries), **objects}, ("batch_idx", "cls")
        inputs = {
            name: torch.tensor(np.asarray(given[name]), dtype=torch.int64 if name in whole else F64)
            for name in spec("detr").inputs
        }
        found = spec("detr").reference(*inputs.values(), **{**spec("detr").defaults(), **params})
        return [float(found[i]) for i in which or range(6)]

    return numbers


def assigned(*objects: Any, given: dict[str, Tensor] | None = None, topk: int = 4, **rules: Any) -> Numbers:
    """The target scores of the positives under setup S, by anchor."""

    def numbers() -> list[float]:
        inputs = given or setup_s.inputs_of(objects)
        found = task_aligned(*inputs.values(), topk, inputs["pd_scores"].shape[-1], 0.5, **rules)
        return [score for _, score in setup_s.given_to(found).values()]

    return numbers


F = detection.of_f("F", "")
ON_EDGES = detection._objects("edges", "", (0, 0, *detection.ON_ANCHORS))
BESIDE = ((4, 4, 12, 13), 1)
PRINTED: list[tuple[str, str, str, Numbers]] = [
    ("10-geometry.md", "3", "0.265268300756", of("ciou", *PAIR, xywh=False, alpha="gated")),
    ("10-geometry.md", "4", "0.547805646350", of("probiou", *OBB, cov_floor=1e-7)),
    ("10-geometry.md", "4", "0.551212221572", of("probiou", *OBB, cov_floor=0.01)),
    (
        "20-assignment.md",
        "1.10",
        "0.705659151187 0.329122449551",
        assigned(given=setup_s.steal_inputs(), topk=1, conflict="picked"),
    ),
    (
        "20-assignment.md",
        "1.10",
        "0.191337777397 0.127716201759",
        assigned(((11, 11, 19, 19), 1), topk=2, small_boxes="raised"),
    ),
    ("20-assignment.md", "1.10", "0.170113172585", assigned(BESIDE, at_least_one="nearest")),
    ("20-assignment.md", "1.10", "0.216424474172", assigned(BESIDE, at_least_one="best")),
    (
        "20-assignment.md",
        "1.10",
        "0.0232261490158 0.194069095844 0.0214821097766 0.0792661053589",
        assigned(((4, 4, 12, 12), 1), edge="closed"),
    ),
    ("20-assignment.md", "5", "-4.12114512070", of("realnvp", [(1, 2)], state="woven")),
    ("30-elementary.md", "2", "0.509953302908", of("focal", X, Y, soft_labels="two sides")),
    ("30-elementary.md", "2", "0.518846215147", of("focal", X, Y, soft_labels="exp(-bce)")),
    ("30-elementary.md", "2", "0.517753364745", of("focal", X, Y, soft_labels="scaled logit")),
    ("30-elementary.md", "2", "0.515096856670", of("focal", X, Y4, soft_labels="scaled logit")),
    ("30-elementary.md", "2", "0.515149411641", of("focal", X, Y4)),
    ("30-elementary.md", "7", "0.654613144811", of("dice", PRED, MASK, smooth=1.0, smooth_above=False)),
    ("30-elementary.md", "7", "0.315135792740", of("dice", PRED, MASK, empty_target="dropped")),
    ("30-elementary.md", "7", "0.722289893461", of("dice", PRED, HALF)),
    ("30-elementary.md", "7", "0.594236871661", of("dice", PRED, HALF, soft_target="minimum")),
    ("40-yolo.md", "1.6", "3.54347482165 15.2404075955 2.34152919336", of_f("v8_detection", F, metric_overlap="iou")),
    ("40-yolo.md", "1.6", "3.41913621115 17.4974681243 2.35509905969", of_f("v8_detection", F, reach=1.5)),
    ("40-yolo.md", "1.6", "3.45540771882 16.8675527467 2.34206253642", of_f("v8_detection", F, ciou_alpha="gated")),
    ("40-yolo.md", "1.6", "2.18350441649 57.3147642709 0.867972485039", of_f("v8_detection", ON_EDGES, edge="closed")),
    (
        "40-yolo.md",
        "4.5",
        "3.77499209188 4.46976323599 0.719481476632 14.1230181757 2.40945634094 29.3168614569",
        lambda: items(keypoint_case(FIRST)),
    ),
    ("40-yolo.md", "5.5", "2.39052512787", lambda: of_f("v8_obb", rotated_f("F", ""), cov_floor=0.01)()[:1]),
    ("50-detr.md", "1.10", "1.47740637988", of_g(THREE, 2, eps=0.0)),
    ("50-detr.md", "1.10", "4.09180965234", of_g(THREE, 5, eps=0.0)),
    ("50-detr.md", "1.10", "2.98924321631 6.11395862380", of_g(NONE, 0, 3, use_vfl=True, vfl_empty="varifocal")),
    ("50-detr.md", "1.10", "2.46046419278 4.7508970332", of_g(THREE, 0, 3, use_vfl=True, vfl_constants="own")),
    (
        "50-detr.md",
        "1.10",
        "0.890073252843 1.40625 1.17719426136 1.15223845301 3.90625 3.44543597675",
        of_g(FOUR, queries=2, counted="objects"),
    ),
]


@pytest.mark.parametrize(("file", "section", "printed", "numbers"), PRINTED, ids=[row[2] for row in PRINTED])
def test_printed(file: str, section: str, printed: str, numbers: Numbers) -> None:
    text, found = read(Place(file, section)), numbers()
    assert [word for word in printed.split() if word not in text] == []
    assert [(x, word) for x, word in zip(found, printed.split(), strict=True) if not agrees(x, word)] == []


def test_the_semantic_target_with_an_empty_channel() -> None:
    """Row 9 of the table of mistakes in spec/40-yolo.md: 5.69... belongs to the target that is not masked."""
    logits, masks, classes = (torch.tensor(x) for x in (f.semantic(), f.masks(), f.sem_masks()))
    target = torch.nn.functional.one_hot(classes.long(), 2).permute(0, 3, 1, 2).to(F64)
    masked = target * (masks != 0)[:, None]
    for kept, printed in ((target, "5.6907802891"), (masked, "6.07463645282")):
        empty = torch.cat([torch.zeros_like(kept[:, :1]), kept[:, 1:]], 1)
        assert agrees(7.5 * float(bce_dice(logits, empty)), printed)
