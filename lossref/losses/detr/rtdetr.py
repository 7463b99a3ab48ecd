"""RT-DETR losses: those of DETR, and the same for denoising queries, whose objects are known, arXiv 2304.08069.

A denoising query starts from a noisy copy of its object (arXiv 2203.01305, 2203.03605); group after group of
positions stands for the objects of the image, in order. n is the number of denoising pairs, so that the number
of groups drops out; nothing is matched. Where sources differ: as detr, and the divisor without objects.
Source: spec/50-detr.md section 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner
from lossref.core.nouns import Case, Param, Spec
from lossref.core.precision import beside
from lossref.losses.detr.cases import (
    DETR_DEFAULTS,
    DETR_LAWS,
    DETR_PARAMS,
    FOUR,
    LIGHT,
    NONE,
    ONE,
    THREE,
    fixture,
    matched,
)
from lossref.losses.detr.detr import DETRLoss, detr
from lossref.losses.detr.domains import boxes_of_queries, logits_of_queries, objects
from lossref.losses.detr.impostors.denoising import dn_impostors
from lossref.losses.detr.layers import Objects, dn_positions, last_and_others
from lossref.losses.detr.matching import groups_of
from lossref.losses.detr.oracle import oracle_detr, oracle_pairs
from lossref.losses.detr.terms import Rule


class RtdetrLosses(NamedTuple):
    """0-d each: as `DetrLosses`, and the same of the denoising queries."""

    loss_class: Tensor
    loss_bbox: Tensor
    loss_giou: Tensor
    loss_class_aux: Tensor
    loss_bbox_aux: Tensor
    loss_giou_aux: Tensor
    loss_class_dn: Tensor
    loss_bbox_dn: Tensor
    loss_giou_dn: Tensor
    loss_class_aux_dn: Tensor
    loss_bbox_aux_dn: Tensor
    loss_giou_aux_dn: Tensor


def rtdetr(
    pred_bboxes: Tensor,
    pred_scores: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    dn_bboxes: Tensor,
    dn_scores: Tensor,
    dn_num_group: int = 2,
    dn_empty: str = "one",
    aux_loss: bool = True,
    **params: Any,
) -> RtdetrLosses:
    """The twelve losses: `detr`, and those of dn_bboxes (L, b, d, 4) xywh normalised, dn_scores (L, b, d, c) logits.

    Which query stands for which object: see `dn_positions`. `params` are those of `detr`, which raises alike.
    """
    normal = detr(pred_bboxes, pred_scores, batch_idx, cls, bboxes, aux_loss, **params)
    groups = groups_of(batch_idx, cls, pred_bboxes.shape[1])
    if dn_bboxes.shape[:2] != pred_bboxes.shape[:2] or dn_scores.shape[-1] != pred_scores.shape[-1]:
        shapes = f"{tuple(dn_bboxes.shape)} and {tuple(dn_scores.shape)}"
        raise ValueError(f"denoising: expected the layers, images and classes of the predictions, got {shapes}")
    positions = dn_positions(groups, dn_bboxes.shape[2], dn_num_group)
    pairs = RTDETRDetectionLoss.get_dn_match_indices(positions, dn_num_group, groups)
    kept = slice(None) if aux_loss else slice(-1, None)
    rule = Rule(**{name: value for name, value in params.items() if name in Rule._fields})._replace(counted="pairs")
    them = Objects(bboxes, cls, groups)
    found = last_and_others(dn_bboxes[kept], dn_scores[kept], them, None, rule, match_indices=pairs)
    less = dn_num_group if rule.use_fl and dn_empty == "groups" and not len(cls) else 1
    return RtdetrLosses(*normal, *(x / less for x in found))


def oracle(
    m: Arithmetic,
    pred_bboxes: Any,
    pred_scores: Any,
    batch_idx: Any,
    cls: Any,
    bboxes: Any,
    dn_bboxes: Any,
    dn_scores: Any,
    dn_num_group: int = 2,
    dn_empty: str = "one",
    **params: Any,
) -> Any:
    """The twelve losses in scalars."""
    p = {**DETR_DEFAULTS, **params}
    pairs = oracle_pairs(m, pred_bboxes, pred_scores, batch_idx, cls, bboxes, p)
    normal = oracle_detr(m, pred_bboxes, pred_scores, cls, bboxes, pairs, p)
    known, longest = [], max((batch_idx.count(image) for image in batch_idx), default=0)
    for image in range(len(dn_bboxes[0])):
        own = [j for j, its in enumerate(batch_idx) if its == image]
        known.append({g * longest + k: which for g in range(dn_num_group) for k, which in enumerate(own)})
    p["counted"] = "pairs"
    noisy = oracle_detr(m, dn_bboxes, dn_scores, cls, bboxes, [known] * len(dn_bboxes), p)
    if not len(cls) and p["use_fl"] and dn_empty == "groups":
        noisy = tuple(x / dn_num_group for x in noisy)
    return (*normal, *noisy)


class RTDETRDetectionLoss(DETRLoss):
    """Drop-in for the class of that name: `DETRLoss`, and the denoising queries if `dn_meta` is given."""

    def forward(  # type: ignore[override]
        self,
        preds: tuple[Tensor, Tensor],
        batch: Mapping[str, Any],
        dn_bboxes: Tensor | None = None,
        dn_scores: Tensor | None = None,
        dn_meta: Mapping[str, Any] | None = None,
    ) -> dict[str, Tensor]:
        """The losses by name, those of the denoising queries with `_dn`: constant zeros without `dn_meta`.

        preds: pred_bboxes (L, b, q, 4), pred_scores (L, b, q, nc); dn_bboxes (L, b, d, 4), dn_scores
        (L, b, d, nc); dn_meta: dn_pos_idx (positions of each image), dn_num_group and, where not all objects
        are denoised, dn_gt_idx (those that are, counted over the batch). Raises AssertionError unless there are
        positions for every image.
        """
        batch = {**batch, "bboxes": beside(batch["bboxes"], preds[0])}
        found, cls = self._losses(*preds, batch, "", None)
        if dn_meta is None:
            return {**found, **{f"{name}_dn": torch.zeros_like(x, requires_grad=False) for name, x in found.items()}}
        if dn_bboxes is None or dn_scores is None:
            raise TypeError("dn_bboxes, dn_scores: expected tensors, because dn_meta is given")
        known = dn_meta.get("dn_gt_idx", batch["gt_groups"])  # an image with many objects denoises some of them
        pairs = self.get_dn_match_indices(dn_meta["dn_pos_idx"], dn_meta["dn_num_group"], known)
        return {**found, **self._losses(dn_bboxes, dn_scores, {**batch, "cls": cls}, "_dn", pairs)[0]}

    @staticmethod
    def get_dn_match_indices(
        dn_pos_idx: Sequence[Tensor], dn_num_group: int, gt_groups: Sequence[int] | Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """For each image its positions, and its objects as a block, repeated for every group; int64.

        `gt_groups` are the numbers of objects or, as later releases have it, which objects are denoised. Raises
        AssertionError where the numbers of positions and objects do not fit.
        """
        assert len(dn_pos_idx) == len(gt_groups), f"{len(dn_pos_idx)} vectors for {len(gt_groups)} images"
        found = []
        for place, block in zip(dn_pos_idx, _blocks(gt_groups), strict=True):
            which = block.long().cpu().repeat(dn_num_group)
            place = place.long() if len(block) else which
            assert len(place) == len(which), f"{len(place)} positions for {dn_num_group} groups of {len(block)} objects"
            found.append((place, which))
        return found


def _blocks(groups: Sequence[int] | Sequence[Tensor]) -> Iterator[Tensor]:
    """The objects of each image, counted over the batch, from their numbers; or as they are given."""
    last = 0
    for one in groups:
        if isinstance(one, Tensor):
            yield one
        else:
            last += one
            yield torch.arange(last - one, last, device="cpu")


def _corner(name: str, why: str, them: Mapping[str, Any] = THREE, queries: Any = None, **params: Any) -> Case:
    """The worked example: fixture G, and as denoising predictions the same with six queries and scores halved."""
    shown = fixture(2) if queries is None else queries
    layers, images, _, classes = shown["pred_scores"].shape
    noisy = {name.replace("pred", "dn"): x[:, :images] for name, x in fixture(layers, 6, classes, 0.5).items()}
    return corner(name, why, params=params, **shown, **them, **noisy)


def _matched(name: str, why: str, corner_of_the_matcher: str) -> Case:
    given = matched(corner_of_the_matcher)
    queries = {name: given.pop(name) for name in ("pred_bboxes", "pred_scores")}
    return _corner(name, why, given, queries, **LIGHT)


DN_EMPTY = {
    "one": "without objects the denoising loss is divided by 1",
    "groups": "without objects the denoising loss is divided by the number of groups",
}

SPEC = Spec(
    name="rtdetr",
    summary="RT-DETR loss: DETR losses, and the same of the denoising queries",
    cite="spec/50-detr.md section 2; arXiv 2304.08069, 2203.03605",
    inputs={
        "pred_bboxes": boxes_of_queries("L b q 4"),
        "pred_scores": logits_of_queries("L b q c"),
        **objects(),
        "dn_bboxes": boxes_of_queries("L b d 4"),
        "dn_scores": logits_of_queries("L b d c"),
    },
    wrt=("pred_bboxes", "pred_scores", "dn_bboxes", "dn_scores"),
    params={
        **DETR_PARAMS,
        "use_vfl": replace(DETR_PARAMS["use_vfl"], stated=False),
        "dn_num_group": Param(2, (1,), "how often each object stands among the denoising queries", stated=False),
        "dn_empty": Param(
            "one", ("groups",), "what divides the denoising loss where there is no object", means=DN_EMPTY
        ),
    },
    terms=RtdetrLosses._fields,
    reference=rtdetr,
    oracle=oracle,
    sizes={
        "single": ({"L": 1, "b": 1, "q": 3, "c": 2, "n": 1, "d": 2},),
        "small": ({"L": 2, "b": 2, "q": 4, "c": 2, "n": 3, "d": 7}, {"L": 3, "b": 1, "q": 4, "c": 3, "n": 2, "d": 4}),
        "bulk": ({"L": 3, "b": 4, "q": 100, "c": 20, "n": 40, "d": 80},),
        "empty": ({"L": 2, "b": 2, "q": 3, "c": 2, "n": 0, "d": 4},),
    },
    laws=DETR_LAWS,
    corners=(
        _corner("fixture", "each object stands twice"),
        _corner("varifocal", "the same with use_vfl", use_vfl=True),
        _corner("detached weight", "varifocal without its gradient", use_vfl=True, vfl_weight_gradient="detached"),
        _corner("cross entropy", "without use_fl", use_fl=False),
        _corner("no object", "all denoising queries are negatives", NONE),
        _corner("no object, by groups", "divided by the groups nevertheless", NONE, dn_empty="groups"),
        _corner("image without objects", "it has no denoising pair", ONE),
        _corner("last layer only", "no auxiliary losses", aux_loss=False),
        _corner(
            "one matching", "the layers but the last share the first one's", queries=fixture(3), use_uni_match=True
        ),
        _corner("crowd", "more objects than queries: divided by the pairs", FOUR, fixture(2, 2)),
        _corner("no object, varifocal", "focal nevertheless", NONE, use_vfl=True),
        _matched("exponent of the matcher", "1.5 would match otherwise", "exponent"),
        _matched("GIoU of the matcher", "with a gain of 5 it would match otherwise", "negative part"),
        _corner("three groups", "the number of groups drops out", dn_num_group=3),
    ),
    impostors=dn_impostors(rtdetr),
    api="RTDETRDetectionLoss(nc=80, use_vfl=True)(preds, batch, dn_bboxes, dn_scores, dn_meta)",
    returns="0-d each: the six losses of detr, and the six of the denoising queries",
    composite=True,
)
