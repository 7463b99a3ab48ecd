"""Mask term over a fixed number of slots: every pick at every pixel, some slots at a time; no value is looked at.

What batch_term.py and tiles.py compute on positives and the tiles of their crops. Logits are not kept: backward
computes them again. Source: spec/40-yolo.md sections 2.2, 2.3, spec/05-decisions.md D1, D3, D11, D14.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lossref.core.precision import as_it_is
from lossref.losses.assignment.static.strategy import looked_at
from lossref.losses.masks.batch_term import MaskRules, MaskTargets, kept
from lossref.losses.masks.tiles import LINEAR, finite

NUMBERS = 2**26  # prototype values gathered at a time


class Crops(NamedTuple):
    """Which pixels (p, w, 2) each pick of each slot counts, half-open, which mask (p, w) it has, and its value there.

    `value` (p, w) None: the mask (w of it) is its own, of zeros and ones.
    """

    columns: Tensor
    rows: Tensor
    mask: Tensor
    value: Tensor | None


def slot_mask_term(
    coefficients: Tensor,
    proto: Tensor,
    masks: Tensor,
    targets: MaskTargets,
    rules: MaskRules,
    taken: Tensor,
    slots: int,
) -> Tensor:
    """Mean cost of the picks that are `taken` (m,), 0 without any; other arguments as `mask_term`.

    m is slots times picks. Coefficients (m, k) are 0 where nothing is taken. The picks of one slot are of one image.
    """
    _require(masks, proto)
    _, k, height, width = proto.shape
    size = _size(proto, targets)
    boxes = torch.where(taken[:, None], targets.boxes / size, 0)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    rounded = torch.full_like(taken, rules.crop in ("rounded", "clipped"))
    columns, rows = kept(boxes, height, width, rounded, wraps=rules.crop != "clipped")
    which = targets.image if rules.overlap else targets.row
    value = (targets.number + 1).reshape(slots, -1) if rules.overlap else None
    of_slots = [x.reshape(slots, -1, *x.shape[1:]) for x in (columns, rows, which.clamp(max=len(masks) - 1))]
    sound = finite(proto)
    safe = torch.where(sound[:, None, None], proto.flatten(2), 0)
    image = targets.image.reshape(slots, -1)[:, 0]
    given = coefficients.reshape(slots, -1, k), safe, image, masks, *of_slots, value, taken.reshape(slots, -1)
    with as_it_is(proto):
        costs: Tensor = _SlotCosts.apply(*given)  # type: ignore[no-untyped-call]
    unknown = ~sound[targets.image] | (which >= len(masks)) | _not_numbers(masks)
    weight = torch.where(taken, _weight(area, height * width, rules, targets, len(masks)), 0)
    return (costs.flatten().masked_fill(unknown & taken, torch.nan) * weight).sum() / taken.sum().clamp(min=1)


def _require(masks: Tensor, proto: Tensor) -> None:
    if masks.ndim != 3 or masks.shape[1:] != proto.shape[2:]:
        raise ValueError(f"masks: expected shape (n, {proto.shape[2]}, {proto.shape[3]}), got {tuple(masks.shape)}")
    if not len(masks):
        raise IndexError("masks: expected one for each image or object, got none")
    if looked_at(masks) and bool(_not_numbers(masks)):
        raise ValueError("masks: expected numbers, got NaN")


def _not_numbers(masks: Tensor) -> Tensor:
    return masks.isnan().any()


def _size(proto: Tensor, targets: MaskTargets) -> Tensor:
    """(W, H, W, H) of the image in pixels."""
    size = targets.boxes.new_full((4,), targets.imgsz[1])
    size[1::2].fill_(targets.imgsz[0])
    return size


def _weight(area: Tensor, pixels: int, rules: MaskRules, targets: MaskTargets, masks: int) -> Tensor:
    """What the cost of each pick is multiplied by."""
    flat = area == 0
    weight = 1 / (area.masked_fill(flat, 1) * pixels)
    weight = weight.masked_fill(flat, 0 if rules.zero_area_mask == "none" else torch.inf)
    if not rules.overlap and rules.separate_masks == "truncated":
        weight = weight.masked_fill(targets.image >= masks, 0)
    return weight


class _SlotCosts(torch.autograd.Function):
    """Costs (p, w) of coefficients (p, w, k) with prototypes (b, k, pixels) of the slots' images."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        ctx.save_for_backward(*given)
        rows = given[0]
        parts = [
            torch.where(inside, softplus(logits, 1, LINEAR) - logits * target, 0).sum(-1)
            for _, logits, inside, target in _logits(*given)
        ]
        return torch.cat(parts) if parts else rows.new_zeros(rows.shape[:2])

    @staticmethod
    def backward(ctx: Any, *flow: Tensor) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        rows, proto, image = given[:3]
        d_rows, d_proto = [], torch.zeros_like(proto)
        with as_it_is(rows):
            for part, logits, inside, target in _logits(*given):
                slope = torch.where(inside, logits.sigmoid() - target, 0) * flow[0][part][..., None]
                d_rows.append(slope @ proto.index_select(0, image[part]).mT)
                d_proto = d_proto.index_add(0, image[part], rows[part].mT @ slope)
        return torch.cat(d_rows), d_proto, *[None] * 7


def _logits(
    rows: Tensor,
    proto: Tensor,
    image: Tensor,
    masks: Tensor,
    columns: Tensor,
    lines: Tensor,
    mask: Tensor,
    value: Tensor | None,
    taken: Tensor,
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Slots (a slice of them), and logits, which pixels count, and targets of their picks, (slots, w, pixels) each."""
    height, width = masks.shape[1:]
    step = max(NUMBERS // max(proto[0].numel(), 1), 1)
    y, x = (torch.arange(n, device=rows.device) for n in (height, width))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        logits = rows[part] @ proto.index_select(0, image[part])
        down, across = _between(y, lines[part]), _between(x, columns[part])
        inside = (down[..., :, None] & across[..., None, :] & taken[part][..., None, None]).flatten(2)
        if value is None:
            target = masks[mask[part]].flatten(2).to(logits.dtype)
        else:
            target = (masks[mask[part][:, 0]].flatten(1)[:, None] == value[part][..., None]).to(logits.dtype)
        yield part, logits, inside, target


def _between(place: Tensor, span: Tensor) -> Tensor:
    """Whether places (n,) lie in half-open spans (p, w, 2), (p, w, n)."""
    return (place >= span[..., :1]) & (place < span[..., 1:])
