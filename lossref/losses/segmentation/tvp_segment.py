"""Text and visual prompt segmentation (YOLOE, arXiv 2503.07465): only the class term of the loss is trained.

As lossref/losses/detection/tvp_detect.py with the vector of v8_segmentation without a semantic branch: the loss is its
cls entry, the items are all five. Where sources differ: with as many score channels as the head has classes,
four zeros instead of five (D7); any number of channels trained, and zeros without one (releases 8.3).
Source: spec/40-yolo.md section 9, spec/05-decisions.md D7, spec/60-api.md section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import impostor
from lossref.core.nouns import Param, Spec
from lossref.losses.box_terms.domains import EDITION
from lossref.losses.detection.cases import fixture_f as f
from lossref.losses.detection.laws import DERIVED, GAINS, GRID, RULES, TOPK
from lossref.losses.detection.oracle import oracle_detection, oracle_terms
from lossref.losses.detection.tvp_detect import (
    TVPDetectLoss,
    connected,
    items_of,
    no_path,
    sum_of_the_terms,
    vector_of_one,
    without_images,
    zeros_to_train,
)
from lossref.losses.masks.boxes import MASKS
from lossref.losses.segmentation.cases import SIZES, laws_of, maps_of, of_f, of_rules, segmentation_inputs
from lossref.losses.segmentation.oracle import oracle_seg
from lossref.losses.segmentation.settings import MASK_PARAMS
from lossref.losses.segmentation.terms import SegmentationTerms
from lossref.losses.segmentation.v8_segmentation import v8_segmentation, v8SegmentationLoss


class PromptTerms(NamedTuple):
    """The loss and the five items, detached; each 0-d."""

    loss: Tensor
    item_box: Tensor
    item_seg: Tensor
    item_cls: Tensor
    item_dfl: Tensor
    item_semseg: Tensor


def tvp_segment(
    boxes: Tensor,
    scores: Tensor,
    mask_coefficient: Tensor,
    proto: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    masks: Tensor,
    *,
    ori_nc: int = 80,
    edition: str = "8.4",
    **params: Any,
) -> PromptTerms:
    """Class term of `v8_segmentation` with gain and factor b, and its five terms without that factor, detached.

    Shapes, units, dtype and errors as there; `params` are its parameters. With `ori_nc` score channels the
    loss is 0, connected to nothing, and the objects are not looked at. Formula: spec/40-yolo.md section 9.
    """
    preds = boxes, scores, mask_coefficient, proto
    if scores.shape[1] == (0 if edition == "8.3" else ori_nc):
        zeros = zeros_to_train(5, *preds)
        return PromptTerms(zeros.sum(), *zeros.detach())
    terms = v8_segmentation(*preds, None, batch_idx, cls, bboxes, masks, None, edition=edition, **params)
    untrained = sum(x[..., :0].sum() for x in (boxes, mask_coefficient, proto))  # zero gradients; no number is read
    return PromptTerms(terms.cls + untrained, *(term.detach() / max(len(boxes), 1) for term in terms))


def oracle(m: Arithmetic, boxes: Any, scores: Any, mask_coefficient: Any, proto: Any, **more: Any) -> Any:
    """The loss and the items in scalars."""
    p = SimpleNamespace(**more)
    if len(scores[0]) == (0 if p.edition == "8.3" else p.ori_nc):
        return (0.0,) * 6
    images = oracle_detection(m, p, boxes, scores, p.batch_idx, p.cls, p.bboxes)
    box, cls, dfl = oracle_terms(m, p, images, scores)
    seg = oracle_seg(m, p, images, mask_coefficient, proto, p.masks) * p.box_gain
    return (cls * len(boxes), *(m.stop(term) for term in (box, seg, cls, dfl, m.number(0.0))))


class TVPSegmentLoss(TVPDetectLoss):
    """Drop-in for the class of that name; attributes as TVPDetectLoss, with a v8SegmentationLoss inside."""

    _criterion = v8SegmentationLoss
    _entry = 2
    _length = 5


def mask_term(terms: SegmentationTerms, images: int) -> tuple[Tensor, ...]:
    return terms.seg + 0 * terms.box, *items_of(terms, images)


def items_in_another_order(terms: SegmentationTerms, images: int) -> tuple[Tensor, ...]:
    box, seg, cls, dfl, semseg = items_of(terms, images)
    return connected(terms), box, cls, dfl, seg, semseg


def four_items(terms: SegmentationTerms, images: int) -> tuple[Tensor, ...]:
    return connected(terms), *items_of(terms, images)[:-1]


def of_terms(change: Callable[[SegmentationTerms, int], tuple[Tensor, ...]]) -> Callable[..., Any]:
    """The loss and the items that are made of the terms of `v8_segmentation`, however many classes there are."""

    def loss(*inputs: Tensor, ori_nc: int, **params: Any) -> Any:
        boxes, scores, mask_coefficient, proto, batch_idx, cls, bboxes, masks = inputs
        preds = boxes, scores, mask_coefficient, proto
        return change(v8_segmentation(*preds, None, batch_idx, cls, bboxes, masks, None, **params), len(boxes))

    return loss


def _of_f(name: str, why: str, *flags: str, **more: Any) -> Any:
    return of_f(name, why, *flags, maps=False, **more)


_LAST = f.separate_masks()[2:]
_BULK: tuple[dict[str, Any], ...] = ({"b": 2, "n": 40, "c": 40, "imgsz": (320, 320), **maps_of(80, 80, 80, k=32)},)

SPEC = Spec(
    name="tvp_segment",
    summary="Class term of a segmentation loss for text and visual prompts",
    cite="spec/40-yolo.md section 9; arXiv 2503.07465",
    inputs=segmentation_inputs(semantic=False),
    wrt=("boxes", "scores", "mask_coefficient", "proto"),
    params={
        **GRID,
        "ori_nc": Param(
            80, (3,), "classes of the head; with as many score channels there is nothing to train", stated=False
        ),
        **TOPK,
        **GAINS,
        **MASK_PARAMS,
        **RULES,
        **EDITION,
    },
    terms=("loss", "item_box", "item_seg", "item_cls", "item_dfl", "item_semseg"),
    reference=tvp_segment,
    oracle=oracle,
    composite=True,
    derived={**DERIVED, **MASKS},
    sizes={**SIZES, "bulk": _BULK},
    laws=laws_of(6, 0, "proto", "masks"),
    corners=(
        _of_f("worked example", "fixture F with a head of 5 classes: the cls entry of its vector", ori_nc=5),
        _of_f("separate masks", "one for each object", overlap=False),
        _of_f("one bin", "distances instead of bins", reg_max=1),
        _of_f("larger masks", "prototypes are resized", masks=f.masks(3, 16, 32)),
        _of_f("fewer masks than images", "D3", objects=f.objects(f.ROWS[2]), masks=_LAST, overlap=False),
        *of_rules(maps=False),
        _of_f("no object", "the cls term alone, and zero gradients", objects=f.no_object()),
        _of_f("one weak object", "S is 1", objects=f.objects((1, 1, 1 / 4, 1 / 2, 1 / 4, 1 / 2))),
        _of_f("foreign object", "of no image", objects=f.objects(*f.ROWS, (7, 1, 1 / 2, 1 / 2, 1 / 2, 1 / 2))),
        _of_f(
            "another order",
            "masks follow the objects",
            objects=f.objects(*np.array(f.ROWS)[[2, 0, 1]]),
            masks=f.separate_masks()[[2, 0, 1]],
            overlap=False,
        ),
    ),
    impostors=(
        impostor("mask term", "entry 1 as in TVPDetectLoss", "value reduced", of_terms(mask_term)),
        impostor("sum of the terms", "everything is trained", "value gradient", of_terms(sum_of_the_terms)),
        impostor("vector of one", "(1,) instead of 0-d", "single", of_terms(vector_of_one)),
        impostor("no path to the rest", "gradient None", "connected", of_terms(no_path)),
        impostor("factor b forgotten", "the item instead of the loss", "value reduced", of_terms(without_images)),
        impostor("items in another order", "box, cls, dfl, seg", "value reduced", of_terms(items_in_another_order)),
        impostor("four items", "the last one is missing", "value single", of_terms(four_items)),
    ),
    api="TVPSegmentLoss(model, tal_topk=10, tal_topk2=None)(preds, batch)",
    returns="0-d class term with the factor b, and (5,) detached; zeros (5,) twice if there is nothing to train",
)
