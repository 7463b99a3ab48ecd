"""Careless denoising parts of the RT-DETR loss: spec/50-detr.md, table of mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.declare import impostor
from lossref.core.nouns import Target
from lossref.losses.detr.detr import detr
from lossref.losses.detr.layers import Objects, dn_positions, last_and_others
from lossref.losses.detr.matching import groups_of
from lossref.losses.detr.terms import Rule


class Given(NamedTuple):
    """The inputs, in order."""

    pred_bboxes: Tensor
    pred_scores: Tensor
    batch_idx: Tensor
    cls: Tensor
    bboxes: Tensor
    dn_bboxes: Tensor
    dn_scores: Tensor


def with_part(reference: Callable[..., Any], part: Callable[..., Iterable[Tensor]]) -> Callable[..., Any]:
    """The reference but for the denoising part, which is made of the inputs and the right part."""

    def loss(*inputs: Tensor, **params: Any) -> tuple[Tensor, ...]:
        right = reference(*inputs, **params)
        return (*right[:6], *part(Given(*inputs), right[6:], **params))

    return loss


def matched_again(
    x: Given, right: tuple[Tensor, ...], dn_num_group: int, dn_empty: str, **params: Any
) -> Iterable[Tensor]:
    return detr(x.dn_bboxes, x.dn_scores, x.batch_idx, x.cls, x.bboxes, **params)


def not_divided_by_groups(x: Given, right: tuple[Tensor, ...], dn_num_group: int, **params: Any) -> Iterable[Tensor]:
    return (term * dn_num_group for term in right)


def objects_one_by_one(x: Given, right: tuple[Tensor, ...], dn_num_group: int, **params: Any) -> Iterable[Tensor]:
    groups = groups_of(x.batch_idx, x.cls, x.dn_bboxes.shape[1])
    positions = dn_positions(groups, x.dn_bboxes.shape[2], dn_num_group)
    pairs = [
        (place, (start + torch.arange(n)).repeat_interleave(dn_num_group))
        for place, n, start in zip(positions, groups, [0, *accumulate(groups)], strict=False)
    ]
    rule = Rule(**{name: value for name, value in params.items() if name in Rule._fields})
    them = Objects(x.bboxes, x.cls, groups)
    return last_and_others(x.dn_bboxes, x.dn_scores, them, None, rule, match_indices=pairs)


def left_out(x: Given, right: tuple[Tensor, ...], **params: Any) -> Iterable[Tensor]:
    return (term * 0 for term in right)


def detached(x: Given, right: tuple[Tensor, ...], **params: Any) -> Iterable[Tensor]:
    return (term.detach() for term in right)


def matched_with_noise(reference: Callable[..., Any]) -> Callable[..., Any]:
    """The last layer is matched over the denoising queries, too."""

    def loss(*inputs: Tensor, dn_num_group: int, dn_empty: str, **params: Any) -> tuple[Tensor, ...]:
        right, x = reference(*inputs, dn_num_group=dn_num_group, dn_empty=dn_empty, **params), Given(*inputs)
        both = torch.cat((x.dn_bboxes, x.pred_bboxes), 2), torch.cat((x.dn_scores, x.pred_scores), 2)
        return (*detr(*both, x.batch_idx, x.cls, x.bboxes, **params)[:3], *right[3:])

    return loss


def dn_impostors(reference: Callable[..., Any]) -> tuple[Target, ...]:
    """Rows of the table of mistakes; all but the denoising part is right, but for the first."""
    parts: tuple[tuple[str, str, str, Callable[..., Iterable[Tensor]]], ...] = (
        ("matched again", "the denoising queries are matched by cost", "value", matched_again),
        ("dn not divided by the groups", "n = number of objects", "value", not_divided_by_groups),
        ("objects one by one", "0 0 1 1 instead of 0 1 0 1", "value", objects_one_by_one),
        ("dn left out", "zeros although there are denoising queries", "value", left_out),
        ("dn detached", "right value, no gradient", "connected", detached),
    )
    noise = impostor("noise matched", "the last layer is matched over both", "value", matched_with_noise(reference))
    return (noise, *(impostor(label, why, check, with_part(reference, part)) for label, why, check, part in parts))
