"""The dense answer of an assigner, from tables of fixed size: what lossref/losses/assignment/answer.py gives by pairs.

Every place of the padded objects (b, G) is a slot. Source: spec/20-assignment.md sections 1.3 and 1.7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lossref.losses.assignment.candidates import Rules
from lossref.losses.assignment.static.select import Picks, Table, select
from lossref.losses.assignment.static.slots import Slots


class Metric(NamedTuple):
    """t = score^alpha overlap^beta, and how many anchors an object takes by it; topk2 None or 0 means topk."""

    topk: int
    topk2: int | None
    alpha: float
    beta: float
    eps: float


class Tables(NamedTuple):
    """What boxes of a kind are in tables: `inside`, and overlap(boxes (p, 1, n), predictions (p, A, n), rules)."""

    inside: Callable[..., Tensor]
    overlap: Callable[[Tensor, Tensor, Rules], Tensor]


class Answer(NamedTuple):
    """Of each anchor (b, A): whether it is positive, the object it belongs to (0 if not), and its soft target."""

    mask: Tensor
    object: Tensor
    score: Tensor


def answered(
    scores: Tensor,
    predictions: Tensor,
    anchors: Tensor,
    labels: Tensor,
    boxes: Tensor,
    real: Tensor,
    stride: tuple[float, ...],
    metric: Metric,
    rules: Rules,
    tables: Tables,
) -> Answer:
    """The answer for probabilities (b, A, c), boxes (b, A, n), points (A, 2), and objects (b, G), (b, G, n), (b, G).

    Labels are within +-c. The targets of an image with a NaN candidate are NaN.
    """
    images, objects = labels.shape
    slots, flat, there = _all_present(images, objects, labels.device), boxes.flatten(0, 1), real.flatten()
    near = tables.inside(anchors, flat, stride, rules, torch.full_like(anchors[:, 0], stride[0]))
    overlap = tables.overlap(flat[:, None], predictions[slots.image], rules)
    which = labels.remainder(scores.shape[2])[:, None].expand(-1, len(anchors), -1)
    z = scores.gather(2, which).transpose(1, 2).flatten(0, 1).to(overlap.dtype)
    table = Table(near & there[:, None], z.pow(metric.alpha) * overlap.pow(metric.beta), overlap)
    topk2 = metric.topk2 or metric.topk
    picks = select(table, there, slots, topk=metric.topk, topk2=topk2, eps=metric.eps, rules=rules)
    return _placed(picks, slots, images, objects, len(anchors))


def _all_present(images: int, objects: int, device: torch.device) -> Slots:
    place = torch.arange(images * objects, device=device)
    image = place // objects
    first = torch.arange(images, device=device) * objects
    return Slots(image, torch.ones_like(image, dtype=torch.bool), place - image * objects, first, images * objects)


def _placed(picks: Picks, slots: Slots, images: int, objects: int, anchors: int) -> Answer:
    """Picks as tables (b, A)."""
    place = picks.image * anchors + picks.anchor
    owner = torch.full((images * anchors,), -1, device=place.device)
    owner = owner.scatter_reduce(0, place, torch.where(picks.kept, slots.number[picks.slot], -1), "amax")
    score = picks.score.new_zeros(images * anchors).index_add(0, place, torch.where(picks.kept, picks.score, 0))
    owner, score = owner.reshape(images, anchors), score.reshape(images, anchors)
    bad = picks.bad.reshape(images, objects).any(1)
    return Answer(owner >= 0, owner.clamp(min=0), score.masked_fill(bad[:, None], torch.nan))
