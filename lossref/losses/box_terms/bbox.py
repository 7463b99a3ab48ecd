"""Box loss of anchor-based heads: CIoU (arXiv 1911.08287) and a distance term (arXiv 2006.04388).

Over the positives i with weight w_i = sum of their target scores, and a normaliser S of the caller:
iou = sum w_i (1 - CIoU(pred_i, target_i)) / S; for R > 1 bins dfl = sum w_i DFL(logits_i, d_i) / S,
d_i = bbox2dist(p_i, target_i, R - 1); for R = 1 dfl = sum w_i mean_j |pred_ij - d_ij| s_i / (W, H, W, H)_j / S.
Where sources differ: alpha of CIoU attached, or switched on at IoU >= 0.5 only; W and H exchanged; dfl = 0 for
R = 1 (releases 8.3, `edition="8.3"`).
Source: spec/30-elementary.md section 4, spec/10-geometry.md sections 3 and 7, D8, D9, D10, D11.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import impostor
from lossref.core.families import BOX_FAMILIES, PAIR_FAMILIES
from lossref.core.nouns import Array, Domain, Param, Params, Span, Spec
from lossref.losses.box_terms.dfl import DFLoss
from lossref.losses.box_terms.domains import CIOU_ALPHA, EDITION, LAWS, SIZES, dense_inputs, oracle_terms
from lossref.losses.box_terms.impostors import ONE_BIN, WORKED_EXAMPLE, shared_impostors, variation
from lossref.losses.box_terms.parts import BoxTerms, Dense, replaced_distances, terms_of_anchors, terms_of_positives
from lossref.losses.classification.replaced import kind_of, own
from lossref.losses.coordinates.bbox2dist import bbox2dist
from lossref.losses.coordinates.dfl_decode import BINS
from lossref.losses.overlap.bbox_iou import giou_of, overlap
from lossref.losses.overlap.ciou import EPS, ciou, oracle_ciou


def bbox_terms(
    pred_dist: Tensor,
    pred_boxes: Tensor,
    points: Tensor,
    target_boxes: Tensor,
    weight: Tensor,
    norm: Tensor | float,
    imgsz: Tensor | tuple[float, float],
    stride: Tensor,
    reg_max: int = 16,
    *,
    ciou_alpha: str = "detached",
    edition: str = "8.4",
) -> BoxTerms:
    """Box loss on positives only: pred_dist (n, 4R), boxes (n, 4) xyxy, points (n, 2), weight (n,), stride (n, 1).

    Boxes, points and distances in stride units, imgsz (H, W) and stride in pixels. Computed and returned
    in the promoted dtype of these tensors, at least float32. Formulas: spec/30-elementary.md section 4.
    """
    given = (pred_dist, pred_boxes, points, target_boxes, weight, norm, imgsz, stride, reg_max, edition)
    return terms_of_positives(*given, partial(ciou, alpha=ciou_alpha), bbox2dist)


def bbox_loss(
    pred_dist: Tensor,
    pred_bboxes: Tensor,
    anchor_points: Tensor,
    target_bboxes: Tensor,
    target_scores: Tensor,
    target_scores_sum: Tensor | float,
    fg_mask: Tensor,
    imgsz: Tensor | tuple[float, float],
    stride: Tensor,
    reg_max: int = 16,
    ciou_alpha: str = "detached",
    edition: str = "8.4",
) -> BoxTerms:
    """`bbox_terms` of the anchors in fg_mask (b, A) bool; pred_dist (b, A, 4R), boxes (b, A, 4), scores (b, A, c).

    anchor_points (A, 2) and boxes in stride units, stride (A, 1) in pixels, target_scores_sum the 0-d
    normaliser. Without a positive both terms are 0 and every gradient is zero. Raises IndexError unless
    fg_mask is boolean, ValueError where the shapes do not fit or for an edition that there is not.
    """
    inputs = (pred_dist, pred_bboxes, anchor_points, target_bboxes, target_scores, target_scores_sum)
    terms = partial(bbox_terms, ciou_alpha=ciou_alpha, edition=edition)
    return terms_of_anchors(Dense(*inputs, fg_mask, imgsz, stride), reg_max, 4, terms)


def oracle(m: Arithmetic, ciou_alpha: str = "detached", **given: Any) -> Any:
    """Both terms in scalars."""

    def similarity(box: Any, target: Any) -> Any:
        return oracle_ciou(m, box, target, ciou_alpha)

    def sides(point: Any, target: Any) -> Any:
        (px, py), (x1, y1, x2, y2) = point, target
        return px - x1, py - y1, x2 - px, y2 - py

    return oracle_terms(m, similarity, sides, **given)


_right: Any = bbox_loss


def _giou_instead(*inputs: Any, **params: Any) -> tuple[Tensor, Tensor]:
    x = Dense(*inputs)
    o = overlap(x.pred_bboxes, x.target_bboxes, False, EPS)
    weight = x.target_scores.sum(-1) * x.fg_mask
    return (weight * (1 - giou_of(o, EPS))).sum() / x.target_scores_sum, _right(*inputs, **params).dfl


def _every_weight_with_every_box(*inputs: Any, ciou_alpha: str, **params: Any) -> tuple[Tensor, Tensor]:
    x = Dense(*inputs)
    cost = 1 - ciou(x.pred_bboxes[x.fg_mask], x.target_bboxes[x.fg_mask], ciou_alpha)
    weight = x.target_scores.sum(-1)[x.fg_mask]
    return (weight * cost[:, None]).sum() / x.target_scores_sum, _right(*inputs, **params).dfl


def _l1_of_clamped_distances(*inputs: Any, **params: Any) -> tuple[Tensor, Tensor]:
    """The box is stretched to the anchor, which is what distances clamped at 0 amount to."""
    x = Dense(*inputs)
    low, high = x.target_bboxes.split(2, -1)
    stretched = torch.cat((torch.minimum(low, x.anchor_points), torch.maximum(high, x.anchor_points)), -1)
    right = _right(*inputs, **params)
    if params["reg_max"] > 1:
        return right.iou, right.dfl
    return right.iou, _right(*x._replace(target_bboxes=stretched), **params).dfl


def _alpha_attached(*inputs: Any, **params: Any) -> Any:
    return _right(*inputs, **{**params, "ciou_alpha": "attached"})


_DFL = kind_of(DFLoss, "__call__")


class BboxLoss(nn.Module):
    """Drop-in for the class of that name; attributes reg_max, dfl_loss (None for one bin). See `bbox_loss`."""

    _terms: Any = staticmethod(bbox_loss)
    _sides: Any = staticmethod(bbox2dist)

    def __init__(self, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.dfl_loss: Any = DFLoss(reg_max) if reg_max > 1 else None

    def forward(
        self,
        pred_dist: Tensor,
        pred_bboxes: Tensor,
        anchor_points: Tensor,
        target_bboxes: Tensor,
        target_scores: Tensor,
        target_scores_sum: Tensor | float,
        fg_mask: Tensor,
        imgsz: Tensor,
        stride: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The two terms with the number of bins of this object."""
        inputs = (pred_dist, pred_bboxes, anchor_points, target_bboxes, target_scores, target_scores_sum)
        terms: BoxTerms = self._terms(*inputs, fg_mask, imgsz, stride, self.reg_max)
        if self.own_distances():
            return terms
        if own(self.dfl_loss, _DFL) or self.dfl_loss is None or self.reg_max <= 1:
            bins = getattr(self.dfl_loss, "reg_max", None)
            raise ValueError(f"dfl_loss: expected one for {self.reg_max} bins, got one for {bins or 'none'}")
        x = Dense(*inputs, fg_mask, imgsz, stride)
        return terms._replace(dfl=replaced_distances(x, self.dfl_loss, self.reg_max, self._sides).to(terms.dfl.dtype))

    def own_distances(self) -> bool:
        """Whether `dfl_loss` is the one that belongs to the number of bins."""
        if self.reg_max <= 1:
            return self.dfl_loss is None
        return own(self.dfl_loss, _DFL) and bool(self.dfl_loss.reg_max == self.reg_max)


_ANCHOR: dict[str, Any] = {
    **WORKED_EXAMPLE,
    "pred_bboxes": [[(0, 0, 1.5, 1.25), (1, 0, 2.5, 1.5), (-0.25, 0.5, 1, 2)]],
    "target_bboxes": [[(0.75, 0.25, 1.5, 1.5), (0, 0, 0, 0), (0, 0.5, 1.25, 4.75)]],
}


_at = partial(variation, _ANCHOR)


def _solid(x: Array, params: Params) -> str | None:
    return None if (x[..., 2:] >= x[..., :2]).all() else "expected x1 <= x2 and y1 <= y2"


def _shortest_side(x: Array, params: Params) -> Array:
    size = x[..., 2:] - x[..., :2]
    return np.asarray(np.where(size > 0, size, np.inf).min(axis=-1, keepdims=True))


_BOX: dict[str, Any] = {"unit": None, "legal": _solid, "extent": _shortest_side}
_TARGETS = {name: draw for name, draw in BOX_FAMILIES.items() if name != "zero area"}

SPEC = Spec(
    name="bbox",
    summary="Box loss of anchor-based heads: CIoU and distances",
    cite="spec/30-elementary.md section 4; arXiv 1911.08287, arXiv 2006.04388",
    inputs=dense_inputs(
        Domain("b A 4", "targets, xyxy in stride units", _TARGETS, **_BOX),
        Domain("b A 4", "predictions, xyxy in stride units", PAIR_FAMILIES, given="target_bboxes", **_BOX),
    ),
    wrt=("pred_dist", "pred_bboxes"),
    params={
        "reg_max": Param(16, (4, 1), "bins R of one side; 1: distances and L1", span=Span(1, 33, whole=True)),
        "ciou_alpha": CIOU_ALPHA,
        **EDITION,
    },
    terms=("iou", "dfl"),
    reference=bbox_loss,
    oracle=oracle,
    derived=BINS,
    sizes=SIZES,
    laws=LAWS,
    corners=(
        _at("two positives", "the worked example: a negative between them, a distance beyond the last bin"),
        _at("one bin", "the worked example of L1, two exact hits", "kink", reg_max=1, pred_dist=ONE_BIN),
        _at(
            "one bin, outside",
            "a distance below 0 is not clamped",
            reg_max=1,
            pred_dist=ONE_BIN,
            anchor_points=[(0, 0.5)] * 3,
        ),
        _at("no positive", "(0, 0) and zero gradients", fg_mask=[[0, 0, 0]]),
        _at("weightless", "target scores 0: the positive does not count", target_scores=[[(0, 0)] * 3]),
        _at("identical", "1 - CIoU is not 0, eps decides", pred_bboxes=_ANCHOR["target_bboxes"], fg_mask=[[1, 0, 0]]),
        _at("disjoint", "IoU 0; distances at both clamps", target_bboxes=[[(4, 4, 9, 5)] * 3], fg_mask=[[1, 1, 1]]),
        _at("far apart", "the target touches no anchor", target_bboxes=[[(40, 44, 90, 51)] * 3], fg_mask=[[1, 1, 1]]),
        _at("alpha attached", "the gradient goes through alpha", ciou_alpha="attached"),
        _at("alpha gated, IoU below", "no aspect term below IoU 0.5", ciou_alpha="gated"),
        _at("alpha gated, above", "the aspect term", ciou_alpha="gated", target_bboxes=[[(0, 0, 1.5, 1.5)] * 3]),
        _at("one bin in edition 8.3", "no distance term", reg_max=1, pred_dist=ONE_BIN, edition="8.3"),
    ),
    impostors=(
        *shared_impostors(bbox_loss),
        impostor("n x n", "weights (n,) times costs (n, 1)", "value", _every_weight_with_every_box),
        impostor("GIoU", "GIoU instead of CIoU", "value", _giou_instead),
        impostor("alpha attached", "gradient through alpha; the value is right", "kinks reduced", _alpha_attached),
        impostor("L1 distances clamped", "max(d, 0) with one bin", "value", _l1_of_clamped_distances),
    ),
    api="BboxLoss(reg_max=16)(pred_dist, pred_bboxes, anchor_points, target_bboxes, target_scores, "
    "target_scores_sum, fg_mask, imgsz, stride)",
    returns="two 0-d tensors: box term, distance term",
)
