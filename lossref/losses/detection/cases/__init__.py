"""Corner cases of the detection loss: fixture F with other objects, numbers or rules."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossref.core.declare import corner
from lossref.core.nouns import Case
from lossref.losses.detection.cases import fixture_f as f

WEAK = (1, 1, 1 / 4, 1 / 2, 1 / 4, 1 / 2)
CENTRE = (1 / 2, 1 / 2, 1 / 2, 1 / 2)
SHORT = np.tile(-np.arange(16.0), (2, 4))[..., None] * (2 - np.arange(40) % 5 / 4)  # half a cell to each side
ALONE: Any = {"tal_topk": 1, "small_boxes": "off"}
SIXTEEN: Any = {"tal_topk": 1, "reg_max": 16, "boxes": SHORT}
FINE = 2.0**-15  # which half precision does not hold beside 1/4
SMALL = (0, 0, 7 / 16, 1 / 2, 1 / 16, 3 / 16)
BETWEEN_STRIDES = (0, 0, 15 / 32, 9 / 16, 3 / 16, 3 / 8)
ON_ANCHORS = (5 / 16, 1 / 2, 1 / 4, 1 / 4)
TWO_AT_ONE_PLACE = ((0, 1, 3 / 8, 1 / 2, 1 / 2, 3 / 4), (0, 1, 13 / 32, 1 / 2, 1 / 2, 3 / 4))
CROWD = (
    (0, 1, 28 / 64, 39 / 64, 36 / 64, 34 / 64),
    (0, 0, 24 / 64, 30 / 64, 31 / 64, 60 / 64),
    (0, 0, 33 / 64, 21 / 64, 37 / 64, 37 / 64),
    (0, 1, 23 / 64, 39 / 64, 52 / 64, 52 / 64),
    (0, 0, 25 / 64, 33 / 64, 28 / 64, 46 / 64),
)
BESIDE = (
    (0, 0, 22 / 64, 42 / 64, 10 / 64, 38 / 64),
    (0, 1, 18 / 64, 33 / 64, 24 / 64, 47 / 64),
    (0, 0, 6 / 64, 46 / 64, 11 / 64, 11 / 64),
    (0, 1, 34 / 64, 48 / 64, 44 / 64, 10 / 64),
)
APART = (
    (0, 1, 7 / 8, 1 / 4, 1 / 8, 1 / 4),
    (0, 0, 3 / 8, 1 / 2, 1 / 4, 1 / 2),
    (0, 1, 3 / 8, 7 / 16, 3 / 8, 1 / 2),
)
ELSEWHERE: Any = {  # one bin: every prediction is a cell of its level, 100 cells away; all anchors are picked
    "boxes": np.array([-100.0, -100, 101, 101])[:, None] * np.ones((2, 1, f.ANCHORS)),
    "reg_max": 1,
    "tal_topk": f.ANCHORS,
}
LIFT = np.array([100.0, -120.0])[:, None, None]  # of all bins of an image: e^x of float32 overflows, or is 0
STOLEN = (
    (0, 0, 25 / 64, 38 / 64, 25 / 64, 37 / 64),
    (0, 0, 27 / 64, 35 / 64, 35 / 64, 31 / 64),
    (0, 0, 22 / 64, 34 / 64, 35 / 64, 48 / 64),
)


def of_f(name: str, why: str, *flags: str, reg_max: int = 4, objects: Any = None, **more: Any) -> Case:
    """Fixture F with other objects, numbers or parameters."""
    given = {"boxes": f.boxes(reg_max), "scores": f.scores(), **(f.objects() if objects is None else objects)}
    changed = {key: more.pop(key) for key in tuple(more) if key in given}
    return corner(name, why, *flags, params=f.params(reg_max, **more), **{**given, **changed})


def _objects(name: str, why: str, *rows: tuple[float, ...], **more: Any) -> Case:
    return of_f(name, why, objects=f.objects(*rows), **more)


CORNERS = (
    of_f("worked example", "fixture F: two conflicts, 24 positives on two levels"),
    of_f("one bin", "distances instead of bins, L1", reg_max=1),
    _objects("objects in another order", "they are not sorted by image", *(f.ROWS[i] for i in (2, 0, 1))),
    _objects("one weak object", "target scores below 1 in sum: S is 1", WEAK),
    of_f("no object", "(0, sum of softplus, 0) and zero gradients", objects=f.no_object()),
    _objects("no positive", "an object that contains no anchor", (0, 1, 2, 2, 1 / 4, 1 / 4)),
    _objects("foreign objects only", "no image has an object", (2, 1, *CENTRE), (-1, 0, *CENTRE), (0.5, 0, *CENTRE)),
    _objects("foreign object first", "an index of -1 does not become the first image", (-1, 1, *CENTRE), *f.ROWS),
    _objects("object as padding", "its corners sum to less than 0", (0, 1, -1 / 2, -1 / 2, 1 / 2, 1 / 2), *f.ROWS),
    _objects(
        "padding with anchors", "the same, though anchors lie inside", (0, 1, -1 / 16, -1 / 32, 3 / 4, 3 / 4), *f.ROWS
    ),
    _objects("fine boxes", "all digits of a box count", *((b, c, *(x + FINE for x in box)) for b, c, *box in f.ROWS)),
    _objects("small object", "4 x 6 px: candidates as if 16 x 16", SMALL, tal_topk=1),
    _objects("second top-k", "two objects at one place, one anchor each", *TWO_AT_ONE_PLACE, tal_topk=7, tal_topk2=1),
    _objects("one anchor each", "the loser of a conflict gets nothing", *TWO_AT_ONE_PLACE, tal_topk=1),
    _objects("stolen anchor", "an object takes an anchor that it did not pick", *STOLEN, tal_topk=1),
    of_f("sure and wrong", "logits of 10000", scores=np.where(np.arange(40) % 3, 1e4, -30) * np.ones((2, 2, 1))),
    of_f("lifted bins", "logits of 100 and -120, no other loss", boxes=f.boxes() + LIFT),
    of_f("alpha attached", "the gradient goes through alpha of CIoU", ciou_alpha="attached"),
    of_f("alpha gated", "no aspect term below IoU 0.5, in metric and loss", ciou_alpha="gated"),
    of_f("plain IoU", "in the metric only", metric_overlap="iou"),
    of_f("within reach", "1.5 cells from the centre at most", reach=1.5),
    _objects("beside", "an object has the largest overlap at an anchor that it does not contain", *BESIDE),
    _objects("picked only", "only those that picked an anchor may get it", *STOLEN, tal_topk=1, conflict="picked"),
    _objects("small sides as they are", "4 x 6 px contain no anchor", SMALL, **ALONE),
    _objects("nearest anchor", "and get the nearest one", SMALL, **ALONE, at_least_one="nearest"),
    _objects("best anchor", "or the one with the largest metric", SMALL, **ALONE, at_least_one="best"),
    _objects("on the edge", "six anchors, none of them inside", (0, 0, *ON_ANCHORS), edge="closed"),
    _objects("small object, small boxes", "16 bins, 4 x 6 px between anchors", SMALL, WEAK, **SIXTEEN),
    _objects("edges on anchors", "16 bins, six anchors on the edges", (0, 0, *ON_ANCHORS), WEAK, reg_max=16),
    of_f("one bin in edition 8.3", "no distance term", reg_max=1, edition="8.3"),
    _objects("small object in edition 8.3", "4 x 6 px contain no anchor", SMALL, edition="8.3"),
    _objects("one top-k in edition 8.3", "no second", *TWO_AT_ONE_PLACE, tal_topk=7, tal_topk2=1, edition="8.3"),
)
