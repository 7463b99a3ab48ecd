"""DETR losses: match queries to objects, then classify and localise, arXiv 2005.12872, 2304.08069.

Per decoder layer, n matched pairs: class = (1/n) sum of focal(x, one-hot), or of varifocal against the IoU, or
the mean over queries of bce against the IoU; bbox = (5/n) sum |difference|; giou = (2/n) sum (1 - GIoU). The
last layer counts by itself, the others (aux) are summed. The IoU is detached. Where sources differ: gradient of
the varifocal weight, n as pairs or objects, eps of the overlaps, varifocal of an empty batch (focal here).
Source: spec/50-detr.md section 1, spec/05-decisions.md D8 to D11, D13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lossref.core.arithmetic import Arithmetic
from lossref.core.nouns import Spec
from lossref.core.precision import beside, compute_dtype, require_same_shape
from lossref.losses.classification.focal import FocalLoss
from lossref.losses.classification.replaced import documented, overridden
from lossref.losses.classification.varifocal import VarifocalLoss
from lossref.losses.detr.cases import DETR_CORNERS, DETR_DEFAULTS, DETR_LAWS, DETR_PARAMS, DETR_SIZES
from lossref.losses.detr.composed import all_layers, auxiliary_layers, class_cost, one_layer, other_part
from lossref.losses.detr.domains import boxes_of_queries, logits_of_queries, objects
from lossref.losses.detr.hungarian import HungarianMatcher
from lossref.losses.detr.impostors import detr_impostors
from lossref.losses.detr.layers import (
    DetrLosses,
    Indices,
    Objects,
    assigned_boxes,
    last_and_others,
    layers_by_name,
    matching_of,
    pairs_of,
    sources,
    summed,
)
from lossref.losses.detr.matching import Costs, groups_of
from lossref.losses.detr.oracle import oracle_detr, oracle_pairs
from lossref.losses.detr.terms import Rule, box_sums, layer_losses


def detr(
    pred_bboxes: Tensor,
    pred_scores: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    aux_loss: bool = True,
    use_uni_match: bool = False,
    uni_match_ind: int = 0,
    matcher_class_gain: float = 2.0,
    matcher_bbox_gain: float = 5.0,
    matcher_giou_gain: float = 2.0,
    matcher_alpha: float = 0.25,
    matcher_gamma: float = 2.0,
    **rule: Any,
) -> DetrLosses:
    """The six losses of pred_bboxes (L, b, q, 4) xywh normalised and pred_scores (L, b, q, c) logits.

    Objects: batch_idx (n,) ascending, cls (n,) integer ids, bboxes (n, 4) xywh normalised. `rule` are the
    fields of `Rule`. Promoted dtype of the predictions, at least float32. Without `aux_loss` the last three
    are 0. Raises as `match` does. Formulas: spec/50-detr.md section 1.
    """
    chosen = Rule(**rule)
    gains = (matcher_class_gain, matcher_bbox_gain, matcher_giou_gain)
    costs = Costs(*gains, True, matcher_alpha, matcher_gamma, "last", chosen.eps)
    them = Objects(bboxes, cls, groups_of(batch_idx, cls, pred_bboxes.shape[1]))
    kept = slice(None) if aux_loss else slice(-1, None)
    uni = uni_match_ind if use_uni_match and aux_loss else None
    return last_and_others(pred_bboxes[kept], pred_scores[kept], them, costs, chosen, uni)


def oracle(
    m: Arithmetic, pred_bboxes: Any, pred_scores: Any, batch_idx: Any, cls: Any, bboxes: Any, **params: Any
) -> Any:
    """The six losses in scalars."""
    p = {**DETR_DEFAULTS, **params}
    pairs = oracle_pairs(m, pred_bboxes, pred_scores, batch_idx, cls, bboxes, p)
    return oracle_detr(m, pred_bboxes, pred_scores, cls, bboxes, pairs, p)


@documented("_get_loss", "_get_loss_class", "_get_loss_bbox", "_get_loss_aux", "_get_index")
class DETRLoss(nn.Module):
    """Drop-in for the class of that name; `no_object`, `mask` and `dice` gains have no effect.

    Dicts of 0-d tensors in the promoted dtype of the predictions, at least float32. Every prediction gets a
    gradient, zeros where nothing is matched. The matcher's gains, alpha and gamma are its own. Other parts and
    overridden methods act, layer by layer.
    """

    def __init__(
        self,
        nc: int = 80,
        loss_gain: dict[str, float] | None = None,
        aux_loss: bool = True,
        use_fl: bool = True,
        use_vfl: bool = False,
        use_uni_match: bool = False,
        uni_match_ind: int = 0,
        gamma: float = 1.5,
        alpha: float = 0.25,
    ) -> None:
        super().__init__()
        gains = {"class": 1, "bbox": 5, "giou": 2, "no_object": 0.1, "mask": 1, "dice": 1}
        self.nc = nc
        self.matcher: Any = HungarianMatcher(cost_gain={"class": 2, "bbox": 5, "giou": 2})
        self.loss_gain: dict[str, float] = gains if loss_gain is None else loss_gain
        self.aux_loss = aux_loss
        self.fl: Any = FocalLoss(gamma, alpha) if use_fl else None
        self.vfl: Any = VarifocalLoss(gamma, alpha) if use_vfl else None
        self.use_uni_match = use_uni_match
        self.uni_match_ind = uni_match_ind
        self.device: torch.device | None = None
        self._gamma, self._alpha = gamma, alpha

    def _replaced(self) -> str:
        return overridden(self) or other_part(self)

    def _rule(self) -> Rule:
        gain = self.loss_gain
        chosen = (self.fl is not None, self.vfl is not None, self._gamma, self._alpha)
        return Rule(gain["class"], gain["bbox"], gain["giou"], *chosen)

    def _require_channels(self, pred_scores: Tensor) -> None:
        if pred_scores.shape[-1] != self.nc:
            raise ValueError(f"pred_scores: expected {self.nc} classes, got shape {tuple(pred_scores.shape)}")

    def _get_loss_class(
        self, pred_scores: Tensor, targets: Tensor, gt_scores: Tensor, num_gts: int, postfix: str = ""
    ) -> dict[str, Tensor]:
        """Class loss of one layer: targets (b, q), nc where unmatched, gt_scores (b, q) without gradient."""
        self._require_channels(pred_scores)
        require_same_shape(pred_scores=pred_scores[..., 0], targets=targets, gt_scores=gt_scores)
        cost = class_cost(self, pred_scores, targets, gt_scores.detach(), num_gts)
        return {f"loss_class{postfix}": self.loss_gain["class"] * cost}

    def _get_loss_bbox(self, pred_bboxes: Tensor, gt_bboxes: Tensor, postfix: str = "") -> dict[str, Tensor]:
        """L1 and GIoU loss of matched pairs (n, 4), which are averaged."""
        require_same_shape(pred_bboxes=pred_bboxes, gt_bboxes=gt_bboxes)
        dtype, _ = compute_dtype(pred_bboxes, gt_bboxes)
        near, apart, _ = box_sums(pred_bboxes.to(dtype), gt_bboxes.to(dtype), self._rule())
        bbox, giou = (self.loss_gain[name] / max(len(gt_bboxes), 1) for name in ("bbox", "giou"))
        return {f"loss_bbox{postfix}": bbox * near, f"loss_giou{postfix}": giou * apart}

    def _get_loss_aux(
        self,
        pred_bboxes: Tensor,
        pred_scores: Tensor,
        gt_bboxes: Tensor,
        gt_cls: Tensor,
        gt_groups: list[int],
        match_indices: Indices | None = None,
        postfix: str = "",
        masks: Any = None,
        gt_mask: Any = None,
    ) -> dict[str, Tensor]:
        """Sums over the auxiliary layers (L', b, q, .)."""
        them = Objects(gt_bboxes, gt_cls, gt_groups)
        if self._replaced():
            return auxiliary_layers(self, pred_bboxes, pred_scores, them, match_indices, postfix)
        uni = self.uni_match_ind if self.use_uni_match and match_indices is None else None
        source = sources(len(pred_bboxes) + 1, uni)[:-1]
        return self._summed((pred_bboxes, pred_scores), them, source, match_indices, f"_aux{postfix}")

    def _summed(
        self, preds: tuple[Tensor, Tensor], them: Objects, source: Sequence[int], given: Any, postfix: str
    ) -> dict[str, Tensor]:
        self._require_channels(preds[1])
        found = matching_of(*preds, them, self.matcher.costs(), source, given)
        layers = layer_losses(*preds, them.bboxes, them.cls, found, self._rule())
        return layers_by_name(layers, postfix)

    @staticmethod
    def _get_index(match_indices: Indices) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """((image, query), object) of all pairs, each (n,)."""
        return pairs_of(match_indices)

    def _get_assigned_bboxes(
        self, pred_bboxes: Tensor, gt_bboxes: Sequence[Tensor], match_indices: Indices
    ) -> tuple[Tensor, Tensor]:
        """See `assigned_boxes`."""
        return assigned_boxes(pred_bboxes, gt_bboxes, match_indices)

    def _get_loss(
        self,
        pred_bboxes: Tensor,
        pred_scores: Tensor,
        gt_bboxes: Tensor,
        gt_cls: Tensor,
        gt_groups: list[int],
        masks: Any = None,
        gt_mask: Any = None,
        postfix: str = "",
        match_indices: Indices | None = None,
    ) -> dict[str, Tensor]:
        """The three losses of one layer (b, q, .)."""
        them = Objects(gt_bboxes, gt_cls, gt_groups)
        if self._replaced():
            return one_layer(self, pred_bboxes, pred_scores, them, match_indices, postfix)
        return self._summed((pred_bboxes[None], pred_scores[None]), them, [0], match_indices, postfix)

    def forward(
        self, pred_bboxes: Tensor, pred_scores: Tensor, batch: Mapping[str, Any], postfix: str = "", **kwargs: Any
    ) -> dict[str, Tensor]:
        """The losses of pred_bboxes (L, b, q, 4), pred_scores (L, b, q, nc) by name.

        `batch` has cls (n,) integers, bboxes (n, 4) xywh normalised, gt_groups (objects of each image);
        `match_indices` gives the pairs for every layer. Other keywords are ignored.
        """
        return self._losses(pred_bboxes, pred_scores, batch, postfix, kwargs.get("match_indices"))[0]

    def _losses(
        self, pred_bboxes: Tensor, pred_scores: Tensor, batch: Mapping[str, Any], postfix: str, given: Any
    ) -> tuple[dict[str, Tensor], Tensor]:
        """What `forward` returns, and the class ids, on the CPU if they were looked at there."""
        self.device = pred_bboxes.device
        self._require_channels(pred_scores)
        if self._replaced():
            return all_layers(self, pred_bboxes, pred_scores, batch, postfix, given), batch["cls"]
        kept = slice(None) if self.aux_loss else slice(-1, None)
        uni = self.uni_match_ind if self.use_uni_match and self.aux_loss and given is None else None
        them = Objects(beside(batch["bboxes"], pred_bboxes), batch["cls"], batch["gt_groups"])
        preds = pred_bboxes[kept], pred_scores[kept]
        found = matching_of(*preds, them, self.matcher.costs(), sources(len(preds[0]), uni), given)
        losses = list(summed(*preds, them, found, self._rule())._asdict().items())[: 6 if self.aux_loss else 3]
        return {f"{name}{postfix}": x for name, x in losses}, them.cls if found.cls is None else found.cls


SPEC = Spec(
    name="detr",
    summary="Set-prediction loss of DETR: matching, class, L1 and GIoU over all decoder layers",
    cite="spec/50-detr.md section 1; arXiv 2005.12872, 2304.08069",
    inputs={"pred_bboxes": boxes_of_queries("L b q 4"), "pred_scores": logits_of_queries("L b q c"), **objects()},
    wrt=("pred_bboxes", "pred_scores"),
    params=DETR_PARAMS,
    terms=DetrLosses._fields,
    reference=detr,
    oracle=oracle,
    sizes=DETR_SIZES,
    laws=DETR_LAWS,
    corners=DETR_CORNERS,
    impostors=detr_impostors(detr),
    api="DETRLoss(nc=80, use_vfl=False)(pred_bboxes, pred_scores, batch)",
    returns="0-d each: class, L1 and GIoU of the last layer, and summed over the others",
    composite=True,
)
