"""Cross entropy of prototype masks inside the crops of a whole batch, tile by tile.

The cost of positive i is the sum over the pixels of its crop of softplus(x) - t x, x = coefficients_i . proto.
Crops cover a small part of the image, and positives of one object share crop and mask. So the
prototypes are cut into tiles of 8 x 8 pixels, each object meets only the tiles that its crop touches, and
each meeting is one small product (positives, k) x (k, 64). The logits are never all in memory: backward
computes them again, a fixed number of tiles at a time. Source: spec/40-yolo.md sections 2.2, 2.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

from lossref.core.precision import as_it_is

SIDE = 8  # of a tile, in pixels
WIDTH = 16  # positives that one product takes
NUMBERS = 2**20  # prototype values gathered at a time
LINEAR = 40.0  # beyond it softplus(x) is x in every dtype


class Objects(NamedTuple):
    """What the positives of one object share; one row for each object.

    A pixel counts where columns[0] <= x < columns[1] and rows[0] <= y < rows[1]. Its target is the number
    in masks[mask] there or, where `value` is given, whether that number equals the value.
    """

    image: Tensor
    mask: Tensor
    value: Tensor | None
    columns: Tensor
    rows: Tensor


class Packed(NamedTuple):
    """Where the positives went: number i to slot `slot[i]` of pack `pack[i]`; each pack has one owner."""

    pack: Tensor
    slot: Tensor
    owner: Tensor
    width: int


class Meetings(NamedTuple):
    """The pairs of a pack and a tile: their numbers, which pixels count (m, 64), and their targets there."""

    pack: Tensor
    tile: Tensor
    inside: Tensor
    target: Tensor


def cropped_costs(coefficients: Tensor, proto: Tensor, masks: Tensor, owner: Tensor, objects: Objects) -> Tensor:
    """Cost of each positive: coefficients (n, k), proto (b, k, h, w), masks (m, h, w), owner (n,); returns (n,).

    `owner` is each positive's row in `objects`. Predictions of one floating dtype, which is the dtype of the
    result. A prototype that is not finite makes every cost of its image NaN, wherever it lies.
    """
    tiles = _tiles(proto)
    packed = _pack(owner, len(objects.image))
    meetings = _meetings(packed, objects, masks, proto)
    rows = coefficients.new_zeros(len(packed.owner), packed.width, coefficients.shape[1])
    rows = rows.index_put((packed.pack, packed.slot), coefficients)
    costs = _costs(rows, tiles, *meetings)[packed.pack, packed.slot]
    return costs.masked_fill(~finite(proto)[objects.image[owner]], torch.nan)


def _costs(rows: Tensor, tiles: Tensor, *meetings: Tensor) -> Tensor:
    with as_it_is(rows):
        costs: Tensor = _TileCosts.apply(rows, tiles, *meetings)  # type: ignore[no-untyped-call]
    return costs


def finite(proto: Tensor) -> Tensor:
    """Whether all prototypes of an image are finite; (b,)."""
    flat = proto.detach().flatten(1)
    return flat.amin(1).isfinite() & flat.amax(1).isfinite()


def _tiles(proto: Tensor) -> Tensor:
    """(b, k, h, w) cut into (b * tiles, k, 64); the last ones are filled up with zeros."""
    b, k, h, w = proto.shape
    down, across = -(-h // SIDE), -(-w // SIDE)
    full = proto if (h, w) == (down * SIDE, across * SIDE) else pad(proto, (0, across * SIDE - w, 0, down * SIDE - h))
    cut = full.reshape(b, k, down, SIDE, across, SIDE).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(b * down * across, k, SIDE * SIDE)


def _pack(owner: Tensor, count: int) -> Packed:
    """Positives of one owner side by side, at most WIDTH to a pack."""
    order = owner.argsort(stable=True)
    held = owner.bincount(minlength=count)
    rank = torch.empty_like(owner)
    rank[order] = _within(held)
    packs = (held + WIDTH - 1) // WIDTH
    first = packs.cumsum(0) - packs
    owners = torch.arange(count, device=owner.device).repeat_interleave(packs)
    return Packed(first[owner] + rank // WIDTH, rank % WIDTH, owners, min(WIDTH, int(held.max()) if count else 1))


def _within(counts: Tensor) -> Tensor:
    """0, 1, ..., c - 1 for each count c, one after the other."""
    start = counts.cumsum(0) - counts
    return torch.arange(int(counts.sum()), device=counts.device) - start.repeat_interleave(counts)


def _meetings(packed: Packed, objects: Objects, masks: Tensor, proto: Tensor) -> Meetings:
    """Every tile that the crop of a pack touches."""
    h, w = proto.shape[2:]
    down, across = -(-h // SIDE), -(-w // SIDE)
    columns, rows = objects.columns[packed.owner], objects.rows[packed.owner]
    wide, tall = _touched(columns), _touched(rows)
    pack = torch.arange(len(packed.owner), device=masks.device).repeat_interleave(wide * tall)
    step = _within(wide * tall)
    tile_y = rows[pack, 0] // SIDE + step // wide[pack]
    tile_x = columns[pack, 0] // SIDE + step % wide[pack]
    inside, target = _pixels(tile_y, tile_x, packed.owner[pack], objects, masks, proto.dtype)
    tile = (objects.image[packed.owner[pack]] * down + tile_y) * across + tile_x
    return Meetings(pack, tile, inside, target)


def _touched(span: Tensor) -> Tensor:
    """Number of tiles that a half-open span touches along one axis."""
    first, beyond = span.unbind(1)
    return torch.where(beyond > first, (beyond - 1) // SIDE - first // SIDE + 1, 0)


def _pixels(
    tile_y: Tensor, tile_x: Tensor, owner: Tensor, objects: Objects, masks: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """For each meeting, which of its 64 pixels count (1 or 0), and their targets (0 where they do not)."""
    step = torch.arange(SIDE, device=masks.device)
    y, x = (tile[:, None] * SIDE + step for tile in (tile_y, tile_x))
    inside = _between(y, objects.rows[owner])[:, :, None] & _between(x, objects.columns[owner])[:, None, :]
    y, x = y.clamp(max=masks.shape[1] - 1)[:, :, None], x.clamp(max=masks.shape[2] - 1)[:, None, :]
    found = masks[objects.mask[owner][:, None, None], y, x]
    if objects.value is not None:
        found = found == objects.value[owner][:, None, None]
    target = found.to(dtype).masked_fill(~inside, 0)
    return inside.flatten(1).to(dtype), target.flatten(1)


def _between(x: Tensor, span: Tensor) -> Tensor:
    return (x >= span[:, :1]) & (x < span[:, 1:])


class _TileCosts(torch.autograd.Function):
    """Costs (packs, width) from coefficients (packs, width, k) and tiles (tiles, k, 64), a part at a time."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, tiles: Tensor, pack: Tensor, tile: Tensor, inside: Tensor, target: Tensor
    ) -> Tensor:
        ctx.save_for_backward(rows, tiles, pack, tile, inside, target)
        costs = rows.new_zeros(rows.shape[:2])
        for part in _parts(len(pack), tiles):
            logits = rows.index_select(0, pack[part]) @ tiles.index_select(0, tile[part])
            cost = softplus(logits, threshold=LINEAR).addcmul_(logits, target[part][:, None], value=-1)
            costs.index_add_(0, pack[part], (cost @ inside[part][:, :, None]).squeeze(2))
        return costs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with as_it_is(grad):
            if torch.is_grad_enabled():  # a gradient of the gradient is wanted
                return *_slopes(grad, *ctx.saved_tensors), None, None, None, None
            return *_slopes_in_parts(grad, *ctx.saved_tensors), None, None, None, None


def _slopes_in_parts(
    grad: Tensor, rows: Tensor, tiles: Tensor, pack: Tensor, tile: Tensor, inside: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of coefficients and tiles, a part at a time."""
    weighted = rows * grad[:, :, None]
    d_rows, d_tiles = (torch.zeros_like(x, memory_format=torch.contiguous_format) for x in (rows, tiles))
    for part in _parts(len(pack), tiles):
        here, there = pack[part], tile[part]
        values = tiles.index_select(0, there)
        slope = (rows.index_select(0, here) @ values).sigmoid_()
        slope.mul_(inside[part][:, None]).sub_(target[part][:, None])
        _add(d_rows, here, slope @ values.mT)
        _add(d_tiles, there, weighted.index_select(0, here).mT @ slope)
    return d_rows * grad[:, :, None], d_tiles


def _slopes(
    grad: Tensor, rows: Tensor, tiles: Tensor, pack: Tensor, tile: Tensor, inside: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """The same, all at once and differentiable."""
    values = tiles[tile]
    slope = (rows[pack] @ values).sigmoid() * inside[:, None] - target[:, None]
    slope = slope * grad[pack][:, :, None]
    d_rows = torch.zeros_like(rows).index_add(0, pack, slope @ values.mT)
    return d_rows, torch.zeros_like(tiles).index_add(0, tile, rows[pack].mT @ slope)


def _add(total: Tensor, at: Tensor, parts: Tensor) -> None:
    """index_add_ along axis 0; on flat rows, because it copies row by row where there are three axes.

    The total has to be contiguous: what is flattened otherwise is a copy, which nobody would see.
    """
    total.view(len(total), -1).index_add_(0, at, parts.flatten(1))


def _parts(meetings: int, tiles: Tensor) -> Iterator[slice]:
    """Slices of the meetings, so that no more than NUMBERS prototype values are gathered for one."""
    step = max(NUMBERS // (tiles.shape[1] * tiles.shape[2] or 1), 1)
    return (slice(first, first + step) for first in range(0, meetings, step))
