"""Which candidates become positive: each object picks its best, conflicts are settled, targets are made.

An object's metric is t = score^alpha overlap^beta. Each picks its topk largest t, an anchor picked by several
goes to one of them, each object keeps its topk2 largest; the soft target is n = t O / (T + eps), T and O
being the largest t and overlap that the object kept. TOOD, arXiv 2108.07755; topk2: arXiv 2405.14458.
Where sources differ: see `Rules`. Source: spec/20-assignment.md sections 1.4 to 1.7.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossref.losses.assignment.candidates import SPECIFIED, Pairs, Rules, candidates, candidates_rotated, ranked

__all__ = ["SPECIFIED", "Pairs", "Positives", "Rules", "candidates", "candidates_rotated", "poisoned", "select"]

CHUNK = 256  # an object's candidates go through the first top-k in pieces of this length


class Positives(NamedTuple):
    """Positive anchors (n,) sorted by image and anchor; score is the soft target at the object's class."""

    image: Tensor
    anchor: Tensor
    object: Tensor
    score: Tensor


class _Picks(NamedTuple):
    """Chosen pairs (n,): place = image * A + anchor, owner = image * G + object."""

    place: Tensor
    owner: Tensor
    metric: Tensor
    overlap: Tensor


def select(
    pairs: Pairs,
    metric: Tensor,
    overlap: Tensor,
    shape: tuple[int, int, int],
    *,
    topk: int,
    topk2: int,
    eps: float,
    rules: Rules = SPECIFIED,
) -> Positives:
    """Positives among candidates with metric (p,) and overlap (p,) >= 0; shape is (images, objects, anchors).

    Each object picks its `topk` best, an anchor picked twice goes to one object, each object keeps its
    `topk2` best. A NaN makes every score of its image NaN. Raises RuntimeError if there are fewer
    anchors than topk or topk2.
    """
    images, objects, anchors = shape
    for name, k in (("topk", topk), ("topk2", topk2)):
        if k > anchors:
            raise RuntimeError(f"{name}: expected at most {anchors}, the number of anchors, got {k}")
    bad = poisoned(pairs, metric, overlap, images)
    every = _picks(pairs, metric, overlap, shape)
    pool = _picks(*_served(pairs, metric, overlap, objects, rules), shape)
    at = _largest(_rank(pool, anchors), pool.owner, images * objects, topk)
    if rules.zero_metric == "dropped":
        at = at[~(pool.metric[at] <= 0)]
    picks = _settled(_taken(pool, at), every if rules.conflict == "overlapping" else pool, shape, rules)
    if topk2 != topk:
        picks = _taken(picks, picks.owner.argsort(stable=True))
        picks = _taken(picks, _largest(_rank(picks, anchors), picks.owner, images * objects, topk2))
    picks = _taken(picks, picks.place.argsort())
    image = picks.place // anchors
    score = _normalised(picks, images * objects, eps)
    return Positives(
        image, picks.place - image * anchors, picks.owner % max(objects, 1), torch.where(bad[image], torch.nan, score)
    )


def _picks(pairs: Pairs, metric: Tensor, overlap: Tensor, shape: tuple[int, int, int]) -> _Picks:
    _, objects, anchors = shape
    return _Picks(pairs.image * anchors + pairs.anchor, pairs.image * objects + pairs.object, metric, overlap)


def poisoned(pairs: Pairs, metric: Tensor, overlap: Tensor, images: int) -> Tensor:
    """Images (b,) with a NaN metric or overlap on any candidate."""
    bad = torch.zeros(images, dtype=torch.bool, device=metric.device)
    return bad.index_fill(0, pairs.image[metric.isnan() | overlap.isnan()], True)


def _served(pairs: Pairs, metric: Tensor, overlap: Tensor, objects: int, rules: Rules) -> tuple[Pairs, Tensor, Tensor]:
    """The candidates with metric (p,) and overlap (p,), after the rule at_least_one "best"."""
    if pairs.inside is None:
        return pairs, metric, overlap
    owner = pairs.image * objects + pairs.object
    if rules.at_least_one != "best":
        return _chosen(pairs, pairs.inside), metric[pairs.inside], overlap[pairs.inside]
    nothing = metric.new_zeros(int(owner.max()) + 1 if len(owner) else 0)
    own = nothing.scatter_reduce(0, owner[pairs.inside], metric[pairs.inside], "amax")
    best = nothing.scatter_reduce(0, owner, metric, "amax")
    at = ((metric == best[owner]) & (own == 0)[owner] & (best > 0)[owner]).nonzero()[:, 0]
    first = torch.full_like(nothing, len(owner), dtype=torch.long).scatter_reduce(0, owner[at], at, "amin")
    chosen = torch.where(first[owner] < len(owner), first[owner] == torch.arange(len(owner)).to(owner), pairs.inside)
    return _chosen(pairs, chosen), metric[chosen], overlap[chosen]


def _chosen(pairs: Pairs, which: Tensor) -> Pairs:
    return Pairs(pairs.image[which], pairs.object[which], pairs.anchor[which])


def _taken(picks: _Picks, at: Tensor) -> _Picks:
    return _Picks(picks.place[at], picks.owner[at], picks.metric[at], picks.overlap[at])


def _rank(picks: _Picks, anchors: int) -> Tensor:
    return ranked(picks.metric, picks.place % max(anchors, 1), anchors)


def _largest(value: Tensor, group: Tensor, groups: int, k: int) -> Tensor:
    """Positions of the k largest values > -1 of each group, where `group` (p,) is sorted.

    Long groups are cut into pieces first, so that rows of equal length hold little padding.
    """
    size = group.bincount(minlength=groups)
    start = size.cumsum(0) - size
    pieces = (size + CHUNK - 1) // CHUNK
    owner = torch.arange(groups, device=value.device).repeat_interleave(pieces)
    number = torch.arange(len(owner), device=value.device) - (pieces.cumsum(0) - pieces)[owner]
    first = start[owner] + number * CHUNK
    at = _top_of_rows(value, first, (start + size)[owner].minimum(first + CHUNK) - first, k)
    again = group[at].bincount(minlength=groups)
    return at[_top_of_rows(value[at], again.cumsum(0) - again, again, k)]


def _top_of_rows(value: Tensor, first: Tensor, size: Tensor, k: int) -> Tensor:
    """Positions of the k largest of value[first : first + size], for every row (first, size)."""
    longest = int(size.max()) if len(size) else 0
    column = torch.arange(longest, device=value.device).expand(len(size), longest)
    inside = column < size[:, None]
    if longest > k:
        at = (first[:, None] + column).clamp_(max=len(value) - 1)
        table = torch.where(inside, value.take(at), -1.0)
        column = table.topk(k, sorted=False).indices
        inside = column < size[:, None]
    return (first[:, None] + column)[inside]


def _settled(picks: _Picks, pool: _Picks, shape: tuple[int, int, int], rules: Rules) -> _Picks:
    """The picks with each anchor given to one object; `pool` are all candidates, or all pairs."""
    images, objects, anchors = shape
    claims = picks.place.bincount(minlength=images * anchors)
    contested = claims > 1
    kept = _taken(picks, (~contested.take(picks.place)).nonzero()[:, 0])
    rivals = picks if rules.conflict == "picked" else pool
    rivals = _taken(rivals, contested.take(rivals.place).nonzero()[:, 0])
    place, which = torch.unique(rivals.place, return_inverse=True)
    best = rivals.overlap.new_zeros(len(place)).scatter_reduce(0, which, rivals.overlap, "amax")
    first = torch.full_like(place, images * objects)
    leader = ~(rivals.overlap < best[which])  # a NaN leads, too
    owner = first.scatter_reduce(0, which[leader], rivals.owner[leader], "amin")
    if rules.conflict == "all":
        owner = torch.where(best <= 0, place // anchors * objects, owner)
    won = owner[which] == rivals.owner
    settled = _Picks(place, owner, *(x.new_zeros(len(place)).index_put((which[won],), x[won]) for x in rivals[2:]))
    return _Picks(*(torch.cat(both) for both in zip(kept, settled, strict=True)))


def _normalised(picks: _Picks, owners: int, eps: float) -> Tensor:
    """t O / (T + eps), T and O the largest t and overlap of the object's own picks."""
    nothing = picks.metric.new_zeros(owners)
    top = nothing.scatter_reduce(0, picks.owner, picks.metric, "amax")
    overlap = nothing.scatter_reduce(0, picks.owner, picks.overlap, "amax")
    return picks.metric * overlap[picks.owner] / (top[picks.owner] + eps)
