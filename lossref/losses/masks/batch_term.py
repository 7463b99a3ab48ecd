"""Mask term of a whole batch: which pixels each positive is cropped to, which mask it has, what it weighs.

(sum over positives of their cropped cross entropy / (Hm Wm area)) / number of positives, area and crop from
the positive's target box. Source: spec/40-yolo.md section 2.3, spec/05-decisions.md D1, D3, D14.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossref.losses.masks.tiles import Objects, cropped_costs

FEW = 50  # positives of an image below which "by_count" crops as "rounded"


class MaskRules(NamedTuple):
    """How masks are stored, and the choices on which implementations differ; see `v8_segmentation`.

    `resize` is what is brought to the size of the other: "proto", bilinear, or "masks", nearest neighbour.
    """

    overlap: bool = True
    crop: str = "exact"
    separate_masks: str = "all"
    zero_area_mask: str = "none"
    resize: str = "proto"


def of_edition(rules: MaskRules, edition: str) -> MaskRules:
    """The rules in an edition: releases 8.3 crop at exact edges, and resize the masks."""
    return rules._replace(crop="exact", resize="masks") if edition == "8.3" else rules


class MaskTargets(NamedTuple):
    """Of each positive (n,): its image, its object's number in that image, and row in the batch; its box.

    `boxes` (n, 4) are xyxy in pixels of an image `imgsz` (H, W).
    """

    image: Tensor
    number: Tensor
    row: Tensor
    boxes: Tensor
    imgsz: tuple[float, float]


def mask_term(coefficients: Tensor, proto: Tensor, masks: Tensor, targets: MaskTargets, rules: MaskRules) -> Tensor:
    """Mean cost of the positives: coefficients (n, k), proto (b, k, h, w), masks (b or N, h, w); 0-d, no gain.

    Predictions of one floating dtype, which is that of the result. NaN without positives. Raises ValueError
    for masks that are not as large as the prototypes, IndexError for an image or object without a mask.
    """
    _require_masks(masks, proto, targets, rules)
    height, width = targets.imgsz
    boxes = targets.boxes / targets.boxes.new_tensor([width, height, width, height])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    owner, first = _objects(targets)
    image, number, row = (x[first] for x in targets[:3])
    rounded = _rounded(targets.image, proto, rules.crop)[first]
    columns, rows = kept(boxes[first], proto.shape[2], proto.shape[3], rounded, wraps=rules.crop != "clipped")
    value, mask = (number + 1, image) if rules.overlap else (None, row)
    costs = cropped_costs(coefficients, proto, masks, owner, Objects(image, mask, value, columns, rows))
    weight = 1 / (area * proto.shape[2] * proto.shape[3])
    if rules.zero_area_mask == "none":
        weight = weight.masked_fill(area == 0, 0)
    if not rules.overlap and rules.separate_masks == "truncated":
        weight = weight.masked_fill(targets.image >= len(masks), 0)
    return (costs * weight.to(costs.dtype)).sum() / len(costs)


def _require_masks(masks: Tensor, proto: Tensor, targets: MaskTargets, rules: MaskRules) -> None:
    if masks.ndim != 3 or masks.shape[1:] != proto.shape[2:]:
        raise ValueError(f"masks: expected shape (n, {proto.shape[2]}, {proto.shape[3]}), got {tuple(masks.shape)}")
    if masks.is_floating_point() and masks.isnan().any():
        raise ValueError("masks: expected numbers, got NaN")
    index = targets.image if rules.overlap else targets.row
    if index.numel() and int(index.max()) >= len(masks):
        what = "image" if rules.overlap else "object"
        raise IndexError(f"masks: expected one for each {what}, got {len(masks)} and {what} {int(index.max())}")


def _objects(targets: MaskTargets) -> tuple[Tensor, Tensor]:
    """Number of the object of each positive, (n,), and one positive of each object; boxes tell objects apart."""
    columns = (targets.image, targets.number, *targets.boxes.unbind(1))
    order = torch.arange(len(targets.image), device=targets.image.device)
    for column in columns:
        order = order[column[order].argsort(stable=True)]
    other = torch.stack([column[order][1:] != column[order][:-1] for column in columns]).any(0)
    leads = torch.cat([order.new_ones(min(len(order), 1), dtype=torch.bool), other])
    owner = torch.empty_like(order)
    owner[order] = leads.cumsum(0) - 1
    return owner, order[leads]


def _rounded(image: Tensor, proto: Tensor, crop: str) -> Tensor:
    """Which positives are cropped by rounded edges, (n,) bool."""
    if crop == "by_count" and not proto.is_cuda:
        return image.bincount(minlength=len(proto))[image] < FEW
    return torch.full_like(image, crop in ("rounded", "clipped"), dtype=torch.bool)


def kept(boxes: Tensor, height: int, width: int, rounded: Tensor, wraps: bool = True) -> tuple[Tensor, Tensor]:
    """Columns (n, 2) and rows (n, 2), half-open, that normalised xyxy boxes (n, 4) keep of a mask.

    Pixel i lies in [low, high) where ceil(low) <= i < ceil(high). Rounded edges are read as Python slices, in which
    those below 0 count from the end, unless they do not wrap.
    """
    size = boxes.new_full((4,), width)
    size[1::2].fill_(height)
    edges = (boxes * size).nan_to_num(nan=0)
    sliced = edges.round()
    sliced = torch.where(sliced < 0, (sliced + size).clamp(min=0), sliced) if wraps else sliced.clamp(min=0)
    edges = torch.where(rounded[:, None], sliced, edges.ceil().clamp(min=0)).minimum(size).long()
    return edges[:, 0::2], edges[:, 1::2]
