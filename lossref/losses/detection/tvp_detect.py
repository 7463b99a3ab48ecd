"""Text and visual prompt detection (YOLOE, arXiv 2503.07465): only the class term of a detection loss is trained.

All C channels of the scores are the classes. If C is the head's own class count there is nothing to train:
zeros. Otherwise the loss is the cls entry of the detection vector, the items are the whole vector. Where
sources differ: any number of channels is trained, and there is nothing to train without one (releases 8.3, whose
heads have the text prompts' channels before them). Source: spec/40-yolo.md section 8, spec/60-api.md section 2.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import impostor
from lossref.core.nouns import Param, Spec
from lossref.core.precision import compute_dtype
from lossref.core.scenes import object_inputs, prediction_inputs
from lossref.losses.box_terms.domains import EDITION
from lossref.losses.detection.cases import ALONE, BESIDE, BETWEEN_STRIDES, CENTRE, SMALL, STOLEN, WEAK, of_f
from lossref.losses.detection.cases import fixture_f as f
from lossref.losses.detection.laws import DERIVED, GAINS, GRID, RULES, SIZES, TOPK, detection_laws, mirrored
from lossref.losses.detection.oracle import oracle_detection, oracle_terms
from lossref.losses.detection.terms import Terms
from lossref.losses.detection.v8_detection import v8_detection, v8DetectionLoss


class PromptTerms(NamedTuple):
    """The loss and the three items, detached; each 0-d."""

    loss: Tensor
    item_box: Tensor
    item_cls: Tensor
    item_dfl: Tensor


def tvp_detect(
    boxes: Tensor,
    scores: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    *,
    ori_nc: int = 80,
    edition: str = "8.4",
    **params: Any,
) -> PromptTerms:
    """Class term of `v8_detection` with gain and factor b, and its three terms without that factor, detached.

    Shapes, units, dtype and errors as there; `params` are its parameters. With `ori_nc` score channels the
    loss is 0, connected to nothing, and the objects are not looked at. Formula: spec/40-yolo.md section 8.
    """
    if scores.shape[1] == (0 if edition == "8.3" else ori_nc):
        zeros = zeros_to_train(3, boxes, scores)
        return PromptTerms(zeros.sum(), *zeros.detach())
    terms = v8_detection(boxes, scores, batch_idx, cls, bboxes, edition=edition, **params)
    items = (term.detach() / max(len(boxes), 1) for term in terms)
    return PromptTerms(terms.cls + boxes[..., :0].sum(), *items)  # no number is read: a zero gradient for the boxes


def zeros_to_train(length: int, *preds: Tensor) -> Tensor:
    """Zeros (length,) that require grad and depend on nothing, in the promoted dtype of the predictions."""
    return torch.zeros(length, dtype=compute_dtype(*preds)[0], device=preds[0].device, requires_grad=True)


def oracle(m: Arithmetic, boxes: Any, scores: Any, batch_idx: Any, cls: Any, bboxes: Any, **params: Any) -> Any:
    """The loss and the items in scalars."""
    p = SimpleNamespace(**params)
    if len(scores[0]) == (0 if p.edition == "8.3" else p.ori_nc):
        return 0.0, 0.0, 0.0, 0.0
    terms = oracle_terms(m, p, oracle_detection(m, p, boxes, scores, batch_idx, cls, bboxes), scores)
    return (terms[1] * len(boxes), *(m.stop(term) for term in terms))


class TVPDetectLoss:
    """Drop-in for the class of that name; attributes vp_criterion, hyp, ori_nc, ori_no, ori_reg_max.

    The class count of `vp_criterion` never changes: it is replaced in a copy for the time of one call.
    """

    _criterion: Any = v8DetectionLoss
    _entry = 1
    _length = 3

    def __init__(self, model: Any, tal_topk: int = 10, tal_topk2: int | None = None) -> None:
        self.vp_criterion = self._criterion(model, tal_topk, tal_topk2)
        self.hyp = self.vp_criterion.hyp
        self.ori_nc = self.vp_criterion.nc
        self.ori_no = self.vp_criterion.no
        self.ori_reg_max = self.vp_criterion.reg_max

    def parse_output(self, preds: Any) -> Any:
        """Element 1 of a tuple, else `preds` itself."""
        return self.vp_criterion.parse_output(preds)

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """`loss` of the parsed predictions."""
        return self.loss(self.parse_output(preds), batch)

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The class term, 0-d, and the items; zeros where the head's own classes are all there is."""
        classes = self._get_vp_features(preds).shape[1]
        if classes == self.ori_nc:
            zeros = zeros_to_train(self._length, preds["boxes"], preds["scores"])
            return zeros, zeros.detach().clone()
        with widened(self.vp_criterion, classes, self.ori_reg_max) as criterion:
            vector, items = criterion(preds, batch)
        return vector[self._entry], items

    def _get_vp_features(self, preds: dict[str, Any]) -> Tensor:
        scores: Tensor = preds["scores"]
        return scores


@contextmanager
def widened(criterion: Any, classes: int, reg_max: int) -> Iterator[Any]:
    """A criterion for that many classes; anything that has no class count is taken as it is.

    A copy, or itself with its counts put back, where a method that was replaced may know the object.
    """
    if isinstance(criterion, v8DetectionLoss) and not criterion._replaced():
        criterion = copy.copy(criterion)
        criterion.nc, criterion.no = classes, classes + 4 * reg_max
        yield criterion
        return
    assigner = getattr(criterion, "assigner", None)
    wanted = ((criterion, "nc", classes), (criterion, "no", classes + 4 * reg_max), (assigner, "num_classes", classes))
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in wanted if hasattr(owner, name)]
    try:
        for owner, name, value in wanted:
            if hasattr(owner, name):
                setattr(owner, name, value)
        yield criterion
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


# Impostors, as `tvp_segment` has them, too: what they make of all terms and of the number of images ------------


def items_of(terms: Any, images: int) -> tuple[Tensor, ...]:
    """All terms, detached and without the factor b."""
    return tuple(term.detach() / images for term in terms)


def connected(terms: Any) -> Tensor:
    """The class term with a path to all predictions."""
    found: Tensor = terms.cls + 0 * sum(terms)
    return found


def sum_of_the_terms(terms: Any, images: int) -> tuple[Tensor, ...]:
    return torch.stack(tuple(terms)).sum(), *items_of(terms, images)


def vector_of_one(terms: Any, images: int) -> tuple[Tensor, ...]:
    return connected(terms)[None], *items_of(terms, images)


def no_path(terms: Any, images: int) -> tuple[Tensor, ...]:
    return terms.cls, *items_of(terms, images)


def without_images(terms: Any, images: int) -> tuple[Tensor, ...]:
    return terms.cls / images + 0 * sum(terms), *items_of(terms, images)


def box_term(terms: Terms, images: int) -> tuple[Tensor, ...]:
    return terms.box, *items_of(terms, images)


def items_reversed(terms: Terms, images: int) -> tuple[Tensor, ...]:
    return connected(terms), *items_of(terms, images)[::-1]


def of_terms(change: Callable[[Terms, int], tuple[Tensor, ...]]) -> Callable[..., Any]:
    """The loss and the items that are made of the terms of `v8_detection`, however many classes there are."""

    def loss(boxes: Tensor, scores: Tensor, *objects: Tensor, ori_nc: int, **params: Any) -> Any:
        return change(v8_detection(boxes, scores, *objects, **params), len(boxes))

    return loss


_BULK: tuple[dict[str, Any], ...] = ({"b": 2, "n": 40, "c": 40, "imgsz": (320, 320)},)

SPEC = Spec(
    name="tvp_detect",
    summary="Class term of a detection loss for text and visual prompts",
    cite="spec/40-yolo.md section 8; arXiv 2503.07465",
    inputs={**prediction_inputs(), **object_inputs()},
    wrt=("boxes", "scores"),
    params={
        **GRID,
        "ori_nc": Param(
            80, (3,), "classes of the head; with as many score channels there is nothing to train", stated=False
        ),
        **TOPK,
        **GAINS,
        **RULES,
        **EDITION,
    },
    terms=("loss", "item_box", "item_cls", "item_dfl"),
    reference=tvp_detect,
    oracle=oracle,
    composite=True,
    derived=DERIVED,
    sizes={**SIZES, "bulk": _BULK},
    laws=(*detection_laws(("boxes", "scores"), ("bboxes",), 4, 0), mirrored),
    corners=(
        of_f("worked example", "fixture F with a head of 5 classes: the cls entry of its vector", ori_nc=5),
        of_f("one bin", "distances instead of bins", reg_max=1),
        of_f("no object", "the cls term alone, and zero gradients of the boxes", objects=f.no_object()),
        of_f("one weak object", "S is 1", objects=f.objects(WEAK)),
        of_f("another order", "objects are not sorted by image", objects=f.objects(*(f.ROWS[i] for i in (2, 0, 1)))),
        of_f("beside", "the best does not contain the anchor", objects=f.objects(*BESIDE)),
        of_f("stolen anchor", "an object takes an anchor that it did not pick", objects=f.objects(*STOLEN), tal_topk=1),
        of_f("small sides as they are", "4 x 6 px contain no anchor", objects=f.objects(SMALL), **ALONE),
        of_f("12 px", "a side between two strides is not small", objects=f.objects(BETWEEN_STRIDES)),
        of_f("foreign object", "an index of no image", objects=f.objects((7, 1, *CENTRE), *f.ROWS)),
    ),
    impostors=(
        impostor("box term", "the first entry of the vector", "value reduced", of_terms(box_term)),
        impostor("sum of the terms", "everything is trained", "value gradient", of_terms(sum_of_the_terms)),
        impostor("vector of one", "(1,) instead of 0-d", "single", of_terms(vector_of_one)),
        impostor("no path to the boxes", "gradient None", "connected", of_terms(no_path)),
        impostor("factor b forgotten", "the item instead of the loss", "value reduced", of_terms(without_images)),
        impostor("items in another order", "dfl, cls, box", "value reduced", of_terms(items_reversed)),
    ),
    api="TVPDetectLoss(model, tal_topk=10, tal_topk2=None)(preds, batch)",
    returns="0-d class term with the factor b, and (3,) detached; zeros (3,) twice if there is nothing to train",
)
