"""End-to-end training of any YOLO loss with a schedule: one2many first, one2one later (arXiv 2405.14458).

loss = w L(one2many; topk 10) + (1 - w) L(one2one; topk 7, then 1), items of the one2one branch. The weight
falls from 0.8 to 0.1: w(u) = max(1 - u / max(epochs - 1, 1), 0) (0.8 - 0.1) + 0.1 after u updates. Where
sources differ: decay over `epochs`, final weight 0, items of both branches. Source: spec/40-yolo.md section 7.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import impostor
from lossref.core.nouns import Param, Span, Spec
from lossref.core.precision import require_same_shape
from lossref.losses.detection.e2e_detect import CORNERS, FIELDS, PER_IMAGE, of_f
from lossref.losses.detection.laws import GAINS, GRID, RULES, detection_laws, mirrored
from lossref.losses.detection.oracle import oracle_detection, oracle_terms
from lossref.losses.detection.terms import Terms
from lossref.losses.detection.v8_detection import v8_detection, v8DetectionLoss

MANY: dict[str, Any] = {"tal_topk": 10}
ONE: dict[str, Any] = {"tal_topk": 7, "tal_topk2": 1}
FIRST, LAST = 0.8, 0.1


class BranchTerms(NamedTuple):
    """Weighted sum of both branches (gains, factor b), and the detached one2one terms without factor b."""

    box: Tensor
    cls: Tensor
    dfl: Tensor
    item_box: Tensor
    item_cls: Tensor
    item_dfl: Tensor


def weight_after(updates: float, epochs: int, first: float = FIRST, last: float = LAST) -> float:
    """Weight of the one2many branch; it falls linearly and reaches `last` at epochs - 1."""
    return max(1 - updates / max(epochs - 1, 1), 0) * (first - last) + last


def e2e(
    boxes: Tensor,
    scores: Tensor,
    one_boxes: Tensor,
    one_scores: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    *,
    updates: int = 0,
    epochs: int = 10,
    **params: Any,
) -> BranchTerms:
    """Weighted sum of two `v8_detection` losses after `updates` of `epochs`, and the items of the second.

    Shapes, units, dtype and errors as there, ValueError for scores that differ in shape; `params` are its
    parameters but for tal_topk and tal_topk2. Formula: spec/40-yolo.md section 7.
    """
    require_same_shape(scores=scores, one_scores=one_scores)
    weight = weight_after(updates, epochs) if updates else FIRST
    many = v8_detection(boxes, scores, batch_idx, cls, bboxes, **MANY, **params)
    one = v8_detection(one_boxes, one_scores, batch_idx, cls, bboxes, **ONE, **params)
    loss = (weight * a + max(1 - weight, 0) * b for a, b in zip(many, one, strict=True))
    return BranchTerms(*loss, *(term.detach() / max(len(boxes), 1) for term in one))


def oracle(m: Arithmetic, boxes: Any, scores: Any, one_boxes: Any, one_scores: Any, **rest: Any) -> Any:
    """Both branches in scalars."""
    objects = tuple(rest.pop(name) for name in ("batch_idx", "cls", "bboxes"))
    passed = rest["updates"] / max(rest["epochs"] - 1, 1)
    heavy = 0.8 - 0.7 * min(passed, 1)
    found = []
    for topk, topk2, raw, logits in ((10, None, boxes, scores), (7, 1, one_boxes, one_scores)):
        p = SimpleNamespace(**rest, tal_topk=topk, tal_topk2=topk2)
        found.append(oracle_terms(m, p, oracle_detection(m, p, raw, logits, *objects), logits))
    both = ((a * heavy + b * (1 - heavy)) * len(boxes) for a, b in zip(*found, strict=True))
    return (*both, *(m.stop(term) for term in found[1]))


class E2ELoss:
    """Drop-in for the class of that name; `loss_fn` is any loss class with parse_output, loss and hyp.

    Attributes: one2many, one2one, updates, total, o2m, o2o, o2m_copy, final_o2m. The schedule advances with
    `update` only, which a trainer calls once in each epoch.
    """

    def __init__(self, model: Any, loss_fn: Any = v8DetectionLoss) -> None:
        self.one2many = loss_fn(model, **MANY)
        self.one2one = loss_fn(model, **ONE)
        self.updates = 0
        self.total = 1.0
        self.o2m = FIRST
        self.o2o = self.total - self.o2m
        self.o2m_copy = self.o2m
        self.final_o2m = LAST

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The weighted sum of the vectors of preds["one2many"] and preds["one2one"], and the items of the latter."""
        branches = self.one2many.parse_output(preds)
        many, _ = self.one2many.loss(branches["one2many"], batch)
        one, items = self.one2one.loss(branches["one2one"], batch)
        return many * self.o2m + one * self.o2o, items

    def update(self) -> None:
        """One epoch is over."""
        self.updates += 1
        self.o2m = self.decay(self.updates)
        self.o2o = max(self.total - self.o2m, 0)

    def decay(self, x: float) -> float:
        """Weight of one2many after x updates; reads `epochs` from model.args now."""
        return weight_after(x, self.one2one.hyp.epochs, self.o2m_copy, self.final_o2m)


# Impostors -----------------------------------------------------------------------------------------------


class Branches(NamedTuple):
    """Terms of both branches with gains and factor b, the number of images, and the weight of one2many."""

    many: Terms
    one: Terms
    images: int
    weight: float


def _weight(updates: int, epochs: int) -> float:
    return max(1 - updates / max(epochs - 1, 1), 0) * 0.7 + 0.1


def _branches(*inputs: Tensor, updates: int, epochs: int, one: dict[str, Any] = ONE, **params: Any) -> Branches:
    """Both branches of the loss; `one` says how the second is assigned."""
    boxes, scores, one_boxes, one_scores, batch_idx, cls, bboxes = inputs
    many = v8_detection(boxes, scores, batch_idx, cls, bboxes, **MANY, **params)
    single = v8_detection(one_boxes, one_scores, batch_idx, cls, bboxes, **one, **params)
    return Branches(many, single, len(boxes), _weight(updates, epochs))


def _weighted(b: Branches) -> list[Tensor]:
    return [b.weight * many + (1 - b.weight) * one for many, one in zip(b.many, b.one, strict=True)]


def _items(b: Branches) -> list[Tensor]:
    return [term.detach() / b.images for term in b.one]


def scheduled(weight: Callable[[int, int], float]) -> Callable[..., Any]:
    """The loss under another schedule: the weight of one2many after some updates of all epochs."""

    def loss(*inputs: Tensor, updates: int, epochs: int, **params: Any) -> Any:
        found = _branches(*inputs, updates=updates, epochs=epochs, **params)
        return *_weighted(found._replace(weight=weight(updates, epochs))), *_items(found)

    return loss


def decay_over_epochs(updates: int, epochs: int) -> float:
    return max(1 - updates / epochs, 0) * 0.7 + 0.1


def down_to_zero(updates: int, epochs: int) -> float:
    return max(1 - updates / max(epochs - 1, 1), 0) * 0.8


def weights_exchanged(updates: int, epochs: int) -> float:
    return 1 - _weight(updates, epochs)


def one2one_with_topk_1(*inputs: Tensor, **params: Any) -> Any:
    found = _branches(*inputs, one={"tal_topk": 1}, **params)
    return *_weighted(found), *_items(found)


def items_of_both(*inputs: Tensor, **params: Any) -> Any:
    found = _branches(*inputs, **params)
    items = [(many + one).detach() / found.images for many, one in zip(found.many, found.one, strict=True)]
    return *_weighted(found), *items


def items_attached(*inputs: Tensor, **params: Any) -> Any:
    found = _branches(*inputs, **params)
    return *_weighted(found), *(term / found.images for term in found.one)


SPEC = Spec(
    name="e2e",
    summary="Scheduled sum of a one2many and a one2one detection loss",
    cite="spec/40-yolo.md section 7; arXiv 2405.14458",
    **FIELDS,
    params={
        **GRID,
        "updates": Param(0, (1, 4, 12), "epochs that are over", stated=False, span=Span(0, 20, whole=True)),
        "epochs": Param(
            10,
            (1, 3),
            "epochs in all; the weight is constant from epochs - 1 on",
            stated=False,
            span=Span(1, 20, whole=True),
        ),
        **GAINS,
        **RULES,
    },
    terms=("box", "cls", "dfl", "item_box", "item_cls", "item_dfl"),
    reference=e2e,
    oracle=oracle,
    laws=(*detection_laws(PER_IMAGE, ("bboxes",), 6, 0), mirrored),
    corners=(
        *CORNERS,
        of_f("after one update", "the weight falls", updates=1),
        of_f("the last weight", "0.1 at epochs - 1", updates=9),
        of_f("one epoch", "0.1 after the first update", updates=1, epochs=1),
    ),
    impostors=(
        impostor("decay over epochs", "u / epochs instead of epochs - 1", "value", scheduled(decay_over_epochs)),
        impostor("down to 0", "final weight 0", "value", scheduled(down_to_zero)),
        impostor("weights exchanged", "one2many gets 0.2", "value reduced", scheduled(weights_exchanged)),
        impostor("one2one with topk 1", "as in E2EDetectLoss", "value", one2one_with_topk_1),
        impostor("items of both", "the items are summed", "value reduced", items_of_both),
        impostor("items attached", "the items carry gradient", "gradient", items_attached),
    ),
    api="E2ELoss(model, loss_fn=v8DetectionLoss)(preds, batch)",
    returns="vector of the loss class, weighted; items of the one2one branch, detached",
)
