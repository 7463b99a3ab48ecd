"""Assignment by keypoints, a convention of PoseLoss26 in recent releases: numbers measured on them as a black box.

Releases 8.4.180 to 8.4.190 compute kobj and rle with a step in float32, and round predicted keypoints to float32
before they assign, which the narrow sigmas of 17 keypoints show; other terms are exact. The row "8.4.187" is given
without these steps, too: that release's assignment, replayed in one that computes in float64.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lossref.core.nouns import Case
from lossref.losses.pose.pose26 import pose26
from lossref.oracle.answers import true_value
from shared.digits import agrees
from shared.keypoint_poses import FIRST, SPEC, case, items

SECOND = {"metric_overlap": "oks", "levels": "by size", "small_boxes": "raised"}  # 8.4.187 to 8.4.190
IN_FLOAT32 = (2, 5)  # kobj, rle
EXACT = ("4.28306466441", "4.39996331591", "0.732644133685", "15.7598688852", "2.40682042099", "32.707050865")
GRADIENTS = {
    ("boxes", (0, 0, 10)): "0.0318270871173",
    ("boxes", (1, 5, 12)): "0.0977922474087",
    ("scores", (0, 1, 10)): "0.131289873392",
    ("scores", (1, 0, 0)): "0.128714972988",
    ("kpts", (0, 3, 10)): "-0.929346249083",
    ("kpts", (0, 5, 10)): "-0.0197555533318",
    ("kpts", (1, 0, 12)): "-1.09658845867",
    ("kpts_sigma", (0, 2, 10)): "-0.456890436424",
}


MEASURED = (
    ("8.4.180", case(FIRST), "3.77499209188 4.46976323599 0.719481527805 14.1230181757 2.40945634094 29.316860815"),
    ("8.4.187", case(SECOND), "4.28306466441 4.39996331591 0.73264414072 15.7598688852 2.40682042099 32.7070501574"),
    (
        "two values",
        case(SECOND, head=2, labels=2),
        "4.36700678596 4.97770831519 0 11.894740954 2.37323664761 40.7800375836",
    ),
    (
        "labels without visibility",
        case(SECOND, labels=2),
        "4.46290910379 5.20205770267 0.730560898781 15.6640993083 2.46138398798 41.7875020953",
    ),
    (
        "head without visibility",
        case(SECOND, head=2),
        "4.25710438925 4.30366716068 0 13.5779801373 2.36549117962 32.1085570723",
    ),
    ("17", case(SECOND, 17), "1.14294602351 11.294605181 0.72447758913 57.3926593715 0.481210199049 52.1079615144"),
    (
        "17, two values",
        case(SECOND, 17, 2, 2),
        "0.839466991458 11.5290121666 0 57.3364364843 0.459924628729 44.7381028659",
    ),
    ("one", case(SECOND, 1), "4.37402947258 0.967102072189 0.731141149998 7.21085206728 2.28681506681 52.926473479"),
    (
        "five anchors",
        case(SECOND, tal_topk=5),
        "4.25358048594 3.65634907294 0.72315967083 16.7586055268 2.38786997022 25.8874516034",
    ),
    (
        "three anchors",
        case(SECOND, tal_topk=3),
        "4.16555687301 3.0689250901 0.760200560093 19.5604082485 2.42726949513 19.3108292431",
    ),
    (
        "seven, then one",
        case(SECOND, tal_topk=7, tal_topk2=1),
        "4.3377090863 2.29006718345 0.670711398125 26.7887827971 2.47501825496 13.495997736",
    ),
    (
        "ten, then five",
        case(SECOND, tal_topk2=5),
        "4.25054598727 3.82349716682 0.729044795036 16.3499682138 2.40691361134 25.7454561362",
    ),
    ("nothing visible", case(SECOND, sign=0), "3.43290253789 0 0.68056088686 17.1138740471 2.34089245604 0"),
    (
        "visibility below 0",
        case(SECOND, sign=-1),
        "3.43290253789 4.57124268893 0.713894128799 17.1138740471 2.34089245604 33.4406419415",
    ),
)


@pytest.mark.parametrize(("one", "printed"), [row[1:] for row in MEASURED], ids=[row[0] for row in MEASURED])
def test_measured(one: Case, printed: str) -> None:
    narrow = one.params["kpt_shape"] == (17, 3)
    for term, (got, text) in enumerate(zip(items(one), printed.split(), strict=True)):
        if narrow or term in IN_FLOAT32:
            assert got == pytest.approx(float(text), rel=2.0**-22)
        else:
            assert agrees(got, text)


@pytest.mark.parametrize("one", [row[1] for row in MEASURED], ids=[row[0] for row in MEASURED])
def test_the_oracle_says_the_same(one: Case) -> None:
    np.testing.assert_allclose(items(one), true_value(SPEC, one) / 2, rtol=1e-12)


def test_without_the_step_in_float32() -> None:
    leaves = {name: torch.tensor(x, dtype=torch.float64) for name, x in case(SECOND).inputs.items()}
    for name in SPEC.wrt:
        leaves[name].requires_grad_()
    terms = pose26(**leaves, **case(SECOND).params)
    torch.stack(terms).sum().backward()
    assert all(agrees(float(term.detach()) / 2, text) for term, text in zip(terms, EXACT, strict=True))
    for (name, at), text in GRADIENTS.items():
        gradient = leaves[name].grad
        assert isinstance(gradient, Tensor)
        assert agrees(float(gradient[at]), text)
