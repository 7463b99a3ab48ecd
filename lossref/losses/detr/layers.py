"""Which decoder layer of a DETR loss is matched how, and what is summed.

Source: spec/50-detr.md sections 1.3, 1.6 and 1.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lossref.losses.detr.matching import Costs, Matching, match
from lossref.losses.detr.terms import Layers, Rule, layer_losses

Indices = Sequence[tuple[Tensor, Tensor]]  # for each image: its queries, and objects counted over the batch


class Objects(NamedTuple):
    """Objects of the batch: boxes (n, 4) xywh normalised, class ids (n,), and how many each image has."""

    bboxes: Tensor
    cls: Tensor
    groups: Sequence[int]


class DetrLosses(NamedTuple):
    """0-d each: of the last decoder layer, and summed over the other ones."""

    loss_class: Tensor
    loss_bbox: Tensor
    loss_giou: Tensor
    loss_class_aux: Tensor
    loss_bbox_aux: Tensor
    loss_giou_aux: Tensor


def last_and_others(
    pred_bboxes: Tensor,
    pred_scores: Tensor,
    objects: Objects,
    costs: Costs | None,
    rule: Rule,
    uni_match_ind: int | None = None,
    match_indices: Indices | None = None,
) -> DetrLosses:
    """Losses of pred_bboxes (L, b, q, 4), pred_scores (L, b, q, c): the last layer by itself, the others summed.

    Pairs are given, or each layer has its own matching, or the others share that of number `uni_match_ind`
    of them (IndexError if there is none).
    """
    found = matching_of(
        pred_bboxes, pred_scores, objects, costs, sources(len(pred_bboxes), uni_match_ind), match_indices
    )
    return summed(pred_bboxes, pred_scores, objects, found, rule)


def sources(layers: int, uni_match_ind: int | None) -> list[int]:
    """For each layer the one whose matching it has: its own, or the auxiliary ones that of number `uni_match_ind`."""
    last = layers - 1
    return [*(range(last) if uni_match_ind is None else [range(last)[uni_match_ind]] * last), last]


def summed(pred_bboxes: Tensor, pred_scores: Tensor, objects: Objects, found: Matching, rule: Rule) -> DetrLosses:
    """The losses under a matching: the last layer by itself, the others summed."""
    layers = layer_losses(pred_bboxes, pred_scores, objects.bboxes, objects.cls, found, rule)
    return DetrLosses(*(x[-1] for x in layers), *(x[:-1].sum() for x in layers))


def matching_of(
    pred_bboxes: Tensor,
    pred_scores: Tensor,
    objects: Objects,
    costs: Costs | None,
    source: Sequence[int],
    match_indices: Indices | None = None,
) -> Matching:
    """The given pairs for every layer, or for layer number i the cheapest of layer number source[i]."""
    if match_indices is not None or costs is None:
        (image, query), which = pairs_of(match_indices or ())
        return Matching(image, query.expand(len(source), -1), which.expand(len(source), -1))
    own = sorted(set(source))
    bboxes, scores = (_layers_of(x, own) for x in (pred_bboxes, pred_scores))
    found = match(bboxes, scores, *objects, costs)
    spread = [own.index(layer) for layer in source]
    return found._replace(query=found.query[spread], object=found.object[spread])


def _layers_of(x: Tensor, own: Sequence[int]) -> Tensor:
    """Some layers of x (L, ...): a list as an index would be copied to the device."""
    return x if list(own) == list(range(len(x))) else torch.stack([x[layer] for layer in own]) if own else x[:0]


def pairs_of(match_indices: Indices) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """((image, query), object) of all pairs, each (n,) on the CPU. Raises RuntimeError where their numbers differ."""
    for image, (queries, objects) in enumerate(match_indices):
        if len(queries) != len(objects):
            raise RuntimeError(f"match_indices: image {image} has {len(queries)} queries for {len(objects)} objects")
    counts = torch.tensor([len(query) for query, _ in match_indices], dtype=torch.int64, device="cpu")
    number = torch.arange(len(match_indices), device="cpu").repeat_interleave(counts)
    return (number, _joined([query for query, _ in match_indices])), _joined([which for _, which in match_indices])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """The parts in a row, int64 on the CPU; of one device by one copy."""
    nothing = torch.zeros(0, dtype=torch.int64, device="cpu")
    if len({x.device for x in parts}) == 1:
        return torch.cat([nothing, torch.cat(list(parts)).cpu()])
    return torch.cat([nothing, *(x.cpu() for x in parts)])


def assigned_boxes(pred_bboxes: Tensor, gt_bboxes: Sequence[Tensor], match_indices: Indices) -> tuple[Tensor, Tensor]:
    """Predicted and true boxes (n, 4) of all pairs; `gt_bboxes` and its indices are those of each image."""
    (image, query), which = pairs_of(match_indices)
    counts = torch.tensor([len(boxes) for boxes in gt_bboxes], dtype=torch.int64, device="cpu")
    first = counts.cumsum(0) - counts
    everything = torch.cat([*gt_bboxes, pred_bboxes.new_zeros(0, pred_bboxes.shape[-1])])
    return pred_bboxes[image, query], everything[first[image] + which]


def dn_positions(groups: Sequence[int], queries: int, dn_num_group: int) -> list[Tensor]:
    """Positions of the denoising queries of each image: group after group, one for each of its objects.

    Every group is as long as the fullest image has objects. Raises ValueError for more than `queries`.
    """
    longest = max(groups, default=0)
    if longest * dn_num_group > queries:
        raise ValueError(f"dn_num_group: {dn_num_group} groups of {longest} need more than {queries} positions")
    starts = longest * torch.arange(dn_num_group, device="cpu")[:, None]
    return [(starts + torch.arange(count, device="cpu")).flatten() for count in groups]


def layers_by_name(layers: Layers, postfix: str) -> dict[str, Tensor]:
    """The sums over the layers, by the names of upstream."""
    names = ("loss_class", "loss_bbox", "loss_giou")
    return {f"{name}{postfix}": x.sum() for name, x in zip(names, layers, strict=True)}
