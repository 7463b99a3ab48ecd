"""Hungarian matcher: the cheapest one-to-one matching of queries and objects, arXiv 2005.12872.

C = gain_class class + gain_bbox |difference| + gain_giou (1 - GIoU); class is the focal cost of arXiv
2010.04159, alpha (1-q)^gamma (-ln(q + 1e-8)) - (1-alpha) q^gamma (-ln(1 - q + 1e-8)), or -softmax. Each image
is solved on its own. Where sources differ: a NaN cost is the worst here, and 0 elsewhere; eps of GIoU.
Source: spec/20-assignment.md section 4, spec/05-decisions.md D9, D13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import impostor
from lossref.core.laws import differs
from lossref.core.nouns import Array, Param, Params, Span, Spec
from lossref.losses.detr.domains import BAD_COST, MATCHING_CORNERS, boxes_of_queries, logits_of_queries, objects
from lossref.losses.detr.impostors import with_params
from lossref.losses.detr.matching import Costs, Matching, groups_of, match, prices
from lossref.losses.detr.matching_oracle import oracle_match


def hungarian(
    pred_bboxes: Tensor, pred_scores: Tensor, batch_idx: Tensor, cls: Tensor, bboxes: Tensor, **costs: Any
) -> Tensor:
    """The object matched to each query, counted over the batch, -1 for none; (b, q) int64.

    pred_bboxes (b, q, 4), bboxes (n, 4) xywh normalised, pred_scores (b, q, c) logits, batch_idx (n,)
    ascending image numbers, cls (n,) integer class ids; `costs` are the fields of `Costs`. Raises as `match`.
    """
    groups = groups_of(batch_idx, cls, len(pred_bboxes))
    found = match(pred_bboxes[None], pred_scores[None], bboxes, cls, groups, Costs(**costs))
    return _as_grid(found, pred_bboxes.shape[:2]).to(pred_bboxes.device)


def _as_grid(found: Matching, shape: Sequence[int]) -> Tensor:
    grid = torch.full(tuple(shape), -1, device="cpu")
    grid[found.image, found.query[0]] = found.object[0]
    return grid


def oracle(
    m: Arithmetic,
    pred_bboxes: Any,
    pred_scores: Any,
    batch_idx: Any,
    cls: Any,
    bboxes: Any,
    class_gain: float = 1.0,
    bbox_gain: float = 5.0,
    giou_gain: float = 2.0,
    use_fl: bool = True,
    alpha: float = 0.25,
    gamma: float = 2.0,
    bad_cost: str = "last",
    eps: float = 1e-7,
) -> Any:
    """The matching by trying all assignments; `bad_cost` has no effect on finite inputs."""
    priced = (class_gain, bbox_gain, giou_gain, use_fl, alpha, gamma, eps)
    found = oracle_match(m, pred_bboxes, pred_scores, batch_idx, cls, bboxes, *priced)
    return tuple(tuple(pairs.get(i, -1) for i in range(len(pred_bboxes[0]))) for pairs in found)


def one_to_one(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """No object is matched twice, and every image gets as many pairs as it can, of its own objects."""
    for image, row in enumerate(f(x)):
        own = np.flatnonzero(x["batch_idx"] == image)
        pairs = row[row >= 0]
        if len(pairs) != min(len(own), len(row)) or len(set(pairs)) != len(pairs) or not set(pairs) <= set(own):
            return f"image {image} with objects {own.tolist()} gets the matching {row.tolist()}"
    return None


def reversed_queries(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Reversing the queries reverses the matching."""
    turned = {**x, **{name: x[name][:, ::-1].copy() for name in ("pred_bboxes", "pred_scores")}}
    return differs(f(turned)[:, ::-1], f(x), tol, "reversing the queries")


def translation(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Moving all boxes by the same step changes nothing."""
    step = np.array([0.25, -0.5, 0, 0])
    moved = {**x, "pred_bboxes": x["pred_bboxes"] + step, "bboxes": x["bboxes"] + step}
    return differs(f(moved), f(x), tol, "moving all boxes")


def bad_query_is_last(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """A NaN query is left over where there are enough others, and the others are matched as without it."""
    spare = [k for k in range(len(x["pred_bboxes"])) if (x["batch_idx"] == k).sum() < x["pred_bboxes"].shape[1]]
    if params["bad_cost"] != "last":
        return None
    bad = x["pred_scores"].copy()
    bad[:, 0] = np.nan
    without = {**x, "pred_bboxes": x["pred_bboxes"][:, 1:], "pred_scores": x["pred_scores"][:, 1:]}
    alone = f(without)[spare]
    want = np.concatenate([np.full((len(spare), 1), -1), alone], axis=1)
    return differs(f({**x, "pred_scores": bad})[spare], want, tol[spare], "a NaN query")


def greedy(
    pred_bboxes: Tensor, pred_scores: Tensor, batch_idx: Tensor, cls: Tensor, bboxes: Tensor, **costs: Any
) -> Tensor:
    every = Costs(**costs)
    price = prices(pred_bboxes[None], pred_scores[None], bboxes, cls, batch_idx, every)[0]
    grid = torch.full(pred_bboxes.shape[:2], -1)
    for number, image in enumerate(batch_idx.tolist()):
        free = price[number].masked_fill(grid[image] >= 0, torch.inf)
        if bool(free.isfinite().any()):
            grid[image, free.argmin()] = number
    return grid


def images_as_one(
    pred_bboxes: Tensor, pred_scores: Tensor, batch_idx: Tensor, cls: Tensor, bboxes: Tensor, **costs: Any
) -> Tensor:
    boxes, scores = (x.flatten(0, 1)[None] for x in (pred_bboxes, pred_scores))
    return hungarian(boxes, scores, batch_idx * 0, cls, bboxes, **costs).reshape(pred_bboxes.shape[:2])


def numbered_within_the_image(
    pred_bboxes: Tensor, pred_scores: Tensor, batch_idx: Tensor, cls: Tensor, bboxes: Tensor, **costs: Any
) -> Tensor:
    grid = hungarian(pred_bboxes, pred_scores, batch_idx, cls, bboxes, **costs)
    counts = torch.bincount(batch_idx, minlength=len(grid))
    return torch.where(grid < 0, grid, grid - (counts.cumsum(0) - counts)[:, None])


def negative_part_left_out(costs: Params) -> Params:
    return {"alpha": 1.0, "class_gain": costs["class_gain"] * costs["alpha"]}


_with = partial(with_params, hungarian)


class HungarianMatcher(nn.Module):
    """Drop-in for the class of that name; `num_sample_points` and the mask gains have no effect.

    Upstream's mask cost was never written: with_mask=True raises NotImplementedError when called.
    """

    def __init__(
        self,
        cost_gain: dict[str, float] | None = None,
        use_fl: bool = True,
        with_mask: bool = False,
        num_sample_points: int = 12544,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ) -> None:
        super().__init__()
        if cost_gain is None:
            cost_gain = {"class": 1, "bbox": 5, "giou": 2, "mask": 1, "dice": 1}
        self.cost_gain = cost_gain
        self.use_fl = use_fl
        self.with_mask = with_mask
        self.num_sample_points = num_sample_points
        self.alpha = alpha
        self.gamma = gamma

    def costs(self) -> Costs:
        """The gains and parameters of this object, at the time of the call."""
        gain = self.cost_gain
        return Costs(gain["class"], gain["bbox"], gain["giou"], self.use_fl, self.alpha, self.gamma)

    def forward(
        self,
        pred_bboxes: Tensor,
        pred_scores: Tensor,
        gt_bboxes: Tensor,
        gt_cls: Tensor,
        gt_groups: Sequence[int],
        masks: Any = None,
        gt_mask: Any = None,
    ) -> list[tuple[Tensor, Tensor]]:
        """Pairs (queries of the image, objects of the batch), int64 on the CPU, for each image; see `match`."""
        if self.with_mask:
            raise NotImplementedError("with_mask: there is no mask cost")
        if not sum(gt_groups):
            nothing = torch.zeros(0, dtype=torch.int64, device="cpu")
            return [(nothing, nothing)] * len(pred_bboxes)
        found = match(pred_bboxes[None], pred_scores[None], gt_bboxes, gt_cls, gt_groups, self.costs())
        return found.by_image(len(gt_groups))


SPEC = Spec(
    name="hungarian",
    summary="Optimal matching of queries and objects",
    cite="spec/20-assignment.md section 4; arXiv 2005.12872",
    inputs={
        # a NaN makes a cost the worst, which need not change who is matched
        name: replace(domain, nan_free=not domain.dtype)
        for name, domain in {
            "pred_bboxes": boxes_of_queries("b q 4"),
            "pred_scores": logits_of_queries("b q c"),
            **objects(),
        }.items()
    },
    wrt=(),
    params={
        "class_gain": Param(1.0, (2.0,), "weight of the class cost", span=Span(0.0, 8.0)),
        "bbox_gain": Param(5.0, (2.0,), "weight of the L1 cost", span=Span(0.0, 8.0)),
        "giou_gain": Param(2.0, (5.0,), "weight of the GIoU cost", span=Span(0.0, 8.0)),
        "use_fl": Param(True, (False,), "focal class cost, else minus the softmax probability"),
        "alpha": Param(0.25, (0.75,), "weight of the positive part of the focal cost", span=Span(0.0, 1.0)),
        "gamma": Param(2.0, (1.5,), "exponent of the focal cost", span=Span(1.0, 4.0)),
        "bad_cost": Param(
            "last", ("zero",), "what a NaN or infinite cost becomes: the worst of its image + 1, or 0", means=BAD_COST
        ),
        "eps": Param(1e-7, (0.0,), "absolute constant of GIoU", small=True, span=Span(0.0, 0.25)),
    },
    terms=("matched",),
    reference=hungarian,
    oracle=oracle,
    sizes={
        "single": ({"b": 1, "q": 4, "c": 3, "n": 1}, {"b": 1, "q": 1, "c": 2, "n": 1}),
        "small": (
            {"b": 2, "q": 5, "c": 3, "n": 4},
            {"b": 1, "q": 6, "c": 4, "n": 4},
            {"b": 3, "q": 4, "c": 2, "n": 3},
        ),
        "bulk": ({"b": 4, "q": 100, "c": 20, "n": 40},),
        "empty": ({"b": 2, "q": 3, "c": 2, "n": 0},),
    },
    laws=(one_to_one, reversed_queries, translation, bad_query_is_last),
    corners=MATCHING_CORNERS,
    impostors=(
        impostor("gamma of the loss", "gamma 1.5 instead of 2", "value", _with(lambda costs: {"gamma": 1.5})),
        impostor("no negative part", "only -ln q of the focal cost", "value", _with(negative_part_left_out)),
        impostor("softmax", "the other class cost", "value", _with(lambda costs: {"use_fl": not costs["use_fl"]})),
        impostor("no GIoU", "class and L1 alone", "value", _with(lambda costs: {"giou_gain": 0.0})),
        impostor("greedy", "each object takes its cheapest free query", "value", greedy),
        impostor("the images as one", "one problem for the whole batch", "value", images_as_one),
        impostor("indices within the image", "not offset", "value", numbered_within_the_image),
        impostor("bad cost 0", "a NaN query wins (D13)", "laws", _with(lambda costs: {"bad_cost": "zero"})),
    ),
    api="HungarianMatcher(cost_gain=None, use_fl=True)(pred_bboxes, pred_scores, gt_bboxes, gt_cls, gt_groups)",
    returns="(b, q): the object of each query, -1 for none",
    composite=True,
)
