"""Public bugs of assigners and matchers: who learns what. One step of ours, as the thread describes it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from known_bugs.bug import Bug
from lossref.losses import spec
from lossref.losses.assignment.impostors.dense import (
    Claims,
    Kept,
    dense,
    enlarged,
    maxima,
    picked,
    resolved,
    second_round,
)
from lossref.losses.assignment.rotated_task_aligned import DENSE as ROTATED
from lossref.losses.assignment.task_aligned import DENSE


def first_object_reset(c: Claims, p: Any) -> Kept:
    """An anchor that several claim is taken from the first object only, and given to the best."""
    claimed = picked(c, p)
    best = resolved(claimed, c.o, c.seen, p)
    several = claimed.sum(1, keepdim=True) > 1
    left = claimed.clone()
    left[:, :1] &= ~several
    return maxima(second_round(left | (best & several), c.t, p), c)


def never_reset(c: Claims, p: Any) -> Kept:
    """An anchor that several claim learns all of them."""
    return maxima(second_round(picked(c, p), c.t, p), c)


def enlarged_in_place(boxes: Tensor, mask: Tensor, p: Any) -> Tensor:
    return boxes.copy_(enlarged(boxes, mask, p))


def hungarian(*inputs: Tensor, alpha: float = 0.25, heeded: bool = True, **costs: Any) -> Any:
    """Whether the matcher takes the alpha that it is given."""
    return spec("hungarian").reference(*inputs, alpha=alpha if heeded else 0.25, **costs)


def parameters(name: str) -> tuple[str, ...]:
    return tuple(spec(name).params)


task_aligned = dense(DENSE)  # one cure of two bugs, which is asked once


def matched_with_noise(*inputs: Tensor, noise: bool = True, **p: Any) -> tuple[Tensor, ...]:
    """RT-DETR; with `noise` the last layer is matched over the denoising queries, too."""
    right: tuple[Tensor, ...] = spec("rtdetr").reference(*inputs, **p)
    if not noise:
        return right
    boxes, scores, *objects, dn_boxes, dn_scores = inputs
    own = {name: value for name, value in p.items() if name not in ("dn_num_group", "dn_empty")}
    both = torch.cat((dn_boxes, boxes), 2), torch.cat((dn_scores, scores), 2)
    return *spec("detr").reference(*both, *objects, **own)[:3], *right[3:]


BUGS = (
    Bug(
        "first object reset",
        "Turoad/CLRNet#108",
        "issues",
        "task_aligned",
        "where several objects claim one prior, only the claim of the first is withdrawn, and two can stay",
        dense(DENSE._replace(settle=first_object_reset)),
        task_aligned,
        parameters("task_aligned"),
        says="first object reset",
    ),
    Bug(
        "conflicts kept",
        "jozhang97/DETA#8",
        "issues",
        "task_aligned",
        "one prediction is assigned to several objects, whose targets contradict each other",
        dense(DENSE._replace(settle=never_reset)),
        task_aligned,
        parameters("task_aligned"),
        says="conflicts kept",
    ),
    Bug(
        "small boxes enlarged in place",
        "ultralytics/ultralytics#24260",
        "pull",
        "rotated_task_aligned",
        "sides are enlarged for the search of candidates in the caller's tensor, and stay so in overlap and targets",
        dense(ROTATED._replace(enlarge=enlarged_in_place)),
        dense(ROTATED),
        parameters("rotated_task_aligned"),
        says="enlarged",
    ),
    Bug(
        "alpha of the matcher fixed",
        "roboflow/rf-detr#1147",
        "pull",
        "hungarian",
        "the class cost has an alpha of its own, whatever it is configured to: matching and loss pull apart",
        partial(hungarian, heeded=False),
        hungarian,
        parameters("hungarian"),
        "params",
        says="alpha makes no difference",
    ),
    Bug(
        "matched with the denoising queries",
        "huggingface/transformers#48528",
        "pull",
        "rtdetr",
        "the loss of the last layer is matched over the denoising queries as well, which take the objects away",
        matched_with_noise,
        partial(matched_with_noise, noise=False),
        parameters("rtdetr"),
        says="noise matched",
    ),
)
