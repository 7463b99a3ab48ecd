"""Detection loss of a head with two branches: many anchors for each object, and one (arXiv 2405.14458).

The sum of two detection losses with tal_topk 10 and 1, with equal weights. Where sources differ: one2one with
two rounds of top-k, weights that change during training (see e2e.py). Source: spec/40-yolo.md section 6.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.nouns import Case, Domain, Spec
from lossref.core.precision import require_same_shape
from lossref.core.scenes import object_inputs, prediction_inputs
from lossref.losses.box_terms.domains import EDITION
from lossref.losses.detection.batch import branch
from lossref.losses.detection.cases import BETWEEN_STRIDES, CENTRE, CROWD, LIFT, SMALL, TWO_AT_ONE_PLACE, WEAK
from lossref.losses.detection.cases import fixture_f as f
from lossref.losses.detection.laws import DERIVED, GAINS, GRID, RULES, SIZES, detection_laws, mirrored
from lossref.losses.detection.oracle import oracle_detection, oracle_terms
from lossref.losses.detection.terms import Terms
from lossref.losses.detection.v8_detection import v8_detection, v8DetectionLoss

MANY, ONE = 10, 1


def e2e_detect(
    boxes: Tensor,
    scores: Tensor,
    one_boxes: Tensor,
    one_scores: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    **params: Any,
) -> Terms:
    """Sum of `v8_detection` of boxes, scores (tal_topk 10) and of one_boxes, one_scores (tal_topk 1).

    Shapes, units, dtype and errors as there, ValueError for scores that differ in shape; `params` are its
    parameters. Formula: spec/40-yolo.md section 6.
    """
    require_same_shape(scores=scores, one_scores=one_scores)
    many = v8_detection(boxes, scores, batch_idx, cls, bboxes, tal_topk=MANY, **params)
    one = v8_detection(one_boxes, one_scores, batch_idx, cls, bboxes, tal_topk=ONE, **params)
    return Terms(*(a + b for a, b in zip(many, one, strict=True)))


def oracle(
    m: Arithmetic, boxes: Any, scores: Any, one_boxes: Any, one_scores: Any, *objects: Any, **params: Any
) -> Any:
    """Both branches in scalars."""
    objects = objects or tuple(params.pop(name) for name in ("batch_idx", "cls", "bboxes"))
    found = []
    for topk, raw, logits in ((10, boxes, scores), (1, one_boxes, one_scores)):
        p = SimpleNamespace(**params, tal_topk=topk, tal_topk2=None)
        found.append(oracle_terms(m, p, oracle_detection(m, p, raw, logits, *objects), logits))
    return tuple((a + b) * len(boxes) for a, b in zip(*found, strict=True))


class E2EDetectLoss:
    """Drop-in for the class of that name; attributes one2many and one2one."""

    def __init__(self, model: Any) -> None:
        self.one2many = v8DetectionLoss(model, tal_topk=MANY)
        self.one2one = v8DetectionLoss(model, tal_topk=ONE)

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The sums of the vectors and of the items of preds["one2many"] and preds["one2one"]."""
        branches = branch(preds)
        many, many_items = self.one2many(branches["one2many"], batch)
        one, one_items = self.one2one(branches["one2one"], batch)
        return many + one, many_items + one_items


def one2one_like_one2many(
    boxes: Tensor, scores: Tensor, one_boxes: Tensor, one_scores: Tensor, *objects: Tensor, **params: Any
) -> Any:
    many = v8_detection(boxes, scores, *objects, tal_topk=MANY, **params)
    one = v8_detection(one_boxes, one_scores, *objects, tal_topk=MANY, **params)
    return Terms(*(a + b for a, b in zip(many, one, strict=True)))


def one_branch_twice(
    boxes: Tensor, scores: Tensor, one_boxes: Tensor, one_scores: Tensor, *objects: Tensor, **params: Any
) -> Any:
    return e2e_detect(boxes, scores, boxes, scores, *objects, **params)


def mean_of_the_branches(*inputs: Tensor, **params: Any) -> Any:
    return Terms(*(0.5 * term for term in e2e_detect(*inputs, **params)))


def one2one_detached(
    boxes: Tensor, scores: Tensor, one_boxes: Tensor, one_scores: Tensor, *objects: Tensor, **params: Any
) -> Any:
    return e2e_detect(boxes, scores, one_boxes.detach(), one_scores.detach(), *objects, **params)


def of_f(
    name: str,
    why: str,
    *flags: str,
    reg_max: int = 4,
    objects: Any = None,
    exchanged: bool = True,
    lift: Any = 0,
    **params: Any,
) -> Case:
    """Fixture F in the first branch, F with the images exchanged in the second."""
    step = -1 if exchanged else 1
    given = {"boxes": f.boxes(reg_max) + lift, "scores": f.scores()}
    given |= {"one_boxes": f.boxes(reg_max)[::step] + lift, "one_scores": f.scores()[::step]}
    found = f.objects() if objects is None else objects
    return corner(name, why, *flags, params=f.params(reg_max, **params), **given, **found)


def branch_inputs() -> dict[str, Domain]:
    """Two pairs of predictions, and objects."""
    first = prediction_inputs()
    return {**first, **{f"one_{name}": domain for name, domain in first.items()}, **object_inputs()}


CORNERS = (
    of_f("worked example", "fixture F, with the images exchanged in the second branch"),
    of_f("one bin", "distances instead of bins", reg_max=1),
    of_f(
        "two objects at one place",
        "the loser of a conflict in the second branch gets nothing if it may have one anchor only",
        exchanged=False,
        objects=f.objects(*TWO_AT_ONE_PLACE),
    ),
    of_f("one weak object", "S is 1 in both branches", objects=f.objects(WEAK)),
    of_f("no object", "only the class terms are left", objects=f.no_object()),
    of_f("crowd", "objects take anchors that they did not pick", exchanged=False, objects=f.objects(*CROWD)),
    of_f("small sides as they are", "4 x 6 px contain no anchor", objects=f.objects(SMALL), small_boxes="off"),
    of_f("lifted bins", "logits of 100 and -120 in both branches, no other loss", lift=LIFT),
    of_f("12 px", "a side between two strides is not small", objects=f.objects(BETWEEN_STRIDES)),
    of_f("foreign object", "an index of no image", objects=f.objects((7, 1, *CENTRE), *f.ROWS)),
)
PER_IMAGE = ("boxes", "scores", "one_boxes", "one_scores")
FIELDS: dict[str, Any] = {
    "inputs": branch_inputs(),
    "wrt": PER_IMAGE,
    "composite": True,
    "derived": DERIVED,
    "sizes": {**SIZES, "bulk": ({"b": 2, "n": 40, "c": 80, "imgsz": (320, 320)},)},
}

SPEC = Spec(
    name="e2e_detect",
    summary="Detection loss of an end-to-end head, both branches with weight 1",
    cite="spec/40-yolo.md section 6; arXiv 2405.14458",
    **FIELDS,
    params={**GRID, **GAINS, **RULES, **EDITION},
    terms=("box", "cls", "dfl"),
    reference=e2e_detect,
    oracle=oracle,
    laws=(*detection_laws(PER_IMAGE, ("bboxes",), 3, 0), mirrored),
    corners=CORNERS,
    impostors=(
        impostor("one2one like one2many", "ten anchors for each object", "value", one2one_like_one2many),
        impostor("one branch twice", "one2many predictions in both", "value", one_branch_twice),
        impostor("mean of the branches", "half the loss", "value reduced", mean_of_the_branches),
        impostor("one2one detached", "no gradient to one2one", "gradient connected", one2one_detached),
    ),
    api="E2EDetectLoss(model)(preds, batch)",
    returns="vector (3,): box, cls, dfl times the number of images; the same without that factor, detached",
)
