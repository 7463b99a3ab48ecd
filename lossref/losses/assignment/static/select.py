"""Which candidates become positive, from tables (slots, anchors): the steps of lossref/losses/assignment/positives.py.

Every slot picks topk anchors, whether they count or not, so that there are always slots times topk picks; what an
object really has is told by a mask. Conflicts are settled by maxima and minima over (image, anchor).
Source: spec/20-assignment.md sections 1.4 to 1.7.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossref.losses.assignment.candidates import Rules, ranked
from lossref.losses.assignment.static.slots import Slots

NOTHING = -1.0  # below every metric


class Table(NamedTuple):
    """Slots times anchors (p, A): whether a real object has the anchor as a candidate, metric t and overlap o >= 0."""

    inside: Tensor
    t: Tensor
    o: Tensor


class Picks(NamedTuple):
    """Picked anchors (m,): their image, and the slot of the object; those not `kept` count for nothing.

    score is the soft target at the object's class, 0 where not kept. bad (p,) marks slots with a NaN candidate.
    """

    image: Tensor
    anchor: Tensor
    slot: Tensor
    kept: Tensor
    score: Tensor
    bad: Tensor


def select(
    table: Table,
    real: Tensor,
    slots: Slots,
    *,
    topk: int,
    topk2: int,
    eps: float,
    rules: Rules,
    required: bool = True,
) -> Picks:
    """Picks of the real objects (p,), at most topk of each, or topk2 if that is another number.

    Raises RuntimeError if there are fewer anchors than topk or topk2, if that is `required`.
    """
    anchors = table.t.shape[1]
    for name, k in (("topk", topk), ("topk2", topk2)):
        if k > anchors and required:
            raise RuntimeError(f"{name}: expected at most {anchors}, the number of anchors, got {k}")
    watched = real[:, None] if rules.at_least_one == "best" or rules.conflict == "overlapping" else table.inside
    bad = torch.where(watched, table.t + table.o, 0).sum(1).isnan()
    if rules.at_least_one == "best":
        table = table._replace(inside=_served(table, real))
    rivals = table.o
    seen = Table(table.inside, *(torch.where(table.inside, x, 0) for x in table[1:]))
    at, kept = _largest(torch.where(seen.inside, seen.t, NOTHING), min(topk, anchors))
    if rules.zero_metric == "dropped":
        kept = kept & ~(seen.t.gather(1, at) <= 0)
    slot, kept = _settled(at, kept, seen, rivals, real, slots, rules)
    if rules.conflict == "overlapping":
        seen = table  # the winner has its own numbers there, candidate or not
    if topk2 != topk:
        slot, at, kept = _second(slot, at, kept, seen, min(topk2, anchors))
    return _scored(slot, at.flatten(), kept, seen, slots, bad, eps)


def _served(table: Table, real: Tensor) -> Tensor:
    """The candidates after the rule at_least_one "best": the one anchor of the largest t, if no candidate has any."""
    best, at = table.t.max(1, keepdim=True)
    alone = torch.arange(table.t.shape[1], device=at.device) == at
    unserved = ~(torch.where(table.inside, table.t, 0) > 0).any(1, keepdim=True)
    return torch.where(unserved & (best > 0) & real[:, None], alone, table.inside)


def _largest(value: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Where the k largest of each row (p, A) stand, (p, k), and which of these are not `NOTHING`; NaN is largest."""
    anchor = torch.arange(value.shape[1], device=value.device)
    largest, at = ranked(value, anchor, value.shape[1]).topk(k, dim=1, sorted=False)
    return at, ~(largest <= NOTHING)


def _settled(
    at: Tensor, kept: Tensor, seen: Table, rivals: Tensor, real: Tensor, slots: Slots, rules: Rules
) -> tuple[Tensor, Tensor]:
    """Slot (m,) that each picked anchor (p, k) goes to, and which picks stay: one for each image and anchor."""
    count, anchors = seen.t.shape
    place, kept = (slots.image[:, None] * anchors + at).flatten(), kept.flatten()
    images = len(slots.first)
    own = _owners(count, at.shape[1], at.device)
    order = torch.arange(len(place), device=at.device)
    leading = torch.full((images * anchors,), len(place), device=at.device)
    leading = leading.scatter_reduce(0, place, torch.where(kept, order, len(place)), "amin")
    claims = torch.zeros_like(leading).scatter_add(0, place, kept.long())
    owner = _owner(_running(at, kept, seen, rivals, real, rules), slots, rules)
    slot = torch.where(claims[place] > 1, owner.flatten()[place], own)
    return slot, kept & (leading[place] == order)


def _running(at: Tensor, kept: Tensor, seen: Table, rivals: Tensor, real: Tensor, rules: Rules) -> Tensor:
    """Overlaps (p, A) by which conflicts are decided, `NOTHING` where an object does not take part."""
    if rules.conflict == "picked":
        picked = torch.zeros_like(seen.inside).scatter(1, at, kept.reshape(at.shape))
        return torch.where(picked, seen.o, NOTHING)
    if rules.conflict == "overlapping":
        return torch.where(real[:, None], rivals, NOTHING)
    return torch.where(seen.inside, seen.o, NOTHING)


def _owner(overlap: Tensor, slots: Slots, rules: Rules) -> Tensor:
    """The first slot of the largest overlap (p, A) at each image and anchor, (b, A); a NaN leads, too."""
    count, anchors = overlap.shape
    image = slots.image[:, None].expand(count, anchors)
    best = overlap.new_zeros((len(slots.first), anchors)).scatter_reduce(0, image, overlap, "amax")
    leads = ~(overlap < best[slots.image])
    slot = torch.where(leads, torch.arange(count, device=image.device)[:, None], count)
    owner = torch.full_like(best, count, dtype=torch.long).scatter_reduce(0, image, slot, "amin")
    if rules.conflict == "all":
        owner = torch.where(best <= 0, slots.first[:, None], owner)
    return owner.clamp(max=count - 1)


def _second(slot: Tensor, at: Tensor, kept: Tensor, seen: Table, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Slots (m,), anchors (p, k) and what is kept (m,), after every object kept its k largest metrics."""
    count, anchors = seen.t.shape
    place = slot * anchors + at.flatten()
    metric = torch.where(kept, seen.t.flatten()[place], NOTHING)
    mine = torch.full_like(seen.t, NOTHING).flatten().scatter_reduce(0, place, metric, "amax")
    at, kept = _largest(mine.reshape(count, anchors), k)
    return _owners(count, k, at.device), at, kept.flatten()


def _owners(count: int, k: int, device: torch.device) -> Tensor:
    """Every slot k times, (count k,)."""
    return torch.arange(count, device=device)[:, None].expand(count, k).flatten()


def _scored(slot: Tensor, anchor: Tensor, kept: Tensor, seen: Table, slots: Slots, bad: Tensor, eps: float) -> Picks:
    """The picks with their soft targets t O / (T + eps), T and O the largest t and overlap that the object kept."""
    place = slot * seen.t.shape[1] + anchor
    t, o = (torch.where(kept, x.flatten()[place], 0) for x in seen[1:])
    nothing = t.new_zeros(len(seen.t))
    top = nothing.scatter_reduce(0, slot, t, "amax")
    overlap = nothing.scatter_reduce(0, slot, o, "amax")
    score = t * overlap[slot] / (top[slot] + eps)
    return Picks(slots.image[slot], anchor, slot, kept, score, bad)
