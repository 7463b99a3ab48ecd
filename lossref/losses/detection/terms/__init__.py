"""Detection loss of anchor-based heads in two forms, behind one face: pairs of candidates, or tables of fixed size.

Which one is computed: lossref/losses/assignment/static/strategy.py. Source: spec/40-yolo.md section 1.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossref.losses.assignment.static.strategy import chosen
from lossref.losses.detection.batch import Grid, Slots
from lossref.losses.detection.settings import Scene
from lossref.losses.detection.terms import pairs, static
from lossref.losses.detection.terms.pairs import Overlap
from lossref.losses.detection.terms.parts import Found, Terms, scale_of, to_pixels

__all__ = ["Found", "Overlap", "Terms", "dense", "detect", "scale_of", "to_pixels", "without_objects"]


def detect(boxes: Tensor, scores: Tensor, scene: Scene, of_task: Overlap | None = None) -> tuple[Found, Terms]:
    """Positives and terms in the form that is chosen; arguments, result and errors as `pairs.detect`.

    `of_task` is asked about pairs, so with it the form is that of pairs.
    """
    if of_task is None and chosen(scores, len(scene.targets)) == "static":
        return static.detect(boxes, scores, scene)
    return pairs.detect(boxes, scores, scene, of_task)


def without_objects(found: Found) -> bool:
    """Whether there is no positive, or, in the static form, no object that might have one."""
    if isinstance(found.slots, Slots):
        return len(found.positives.image) == 0
    return found.slots.objects == 0


def dense(found: Found, grid: Grid, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """fg_mask (b, A), object index (b, A), target boxes (b, A, 4) px, points, strides, as the classes return them.

    Background anchors carry object 0. Without any object mask and index have the dtype of `like` (QA1).
    """
    images, anchors = len(like), len(grid.points)
    if found.kept is not None:
        return static.dense(found, grid, like)
    if found.truth.shape[1] == 0:
        nothing = like.new_zeros((images, anchors))
        return (
            nothing,
            nothing.clone(),
            found.truth.new_zeros((images, anchors, found.truth.shape[-1] - 1)),
            grid.points,
            grid.strides,
        )
    image, anchor, number, _ = found.positives
    mask = torch.zeros((images, anchors), dtype=torch.bool, device=like.device)
    index = torch.zeros((images, anchors), dtype=torch.long, device=like.device)
    mask[image, anchor] = True
    index[image, anchor] = number
    boxes = found.truth[..., 1:].gather(1, index[..., None].expand(-1, -1, found.truth.shape[-1] - 1))
    return mask, index, boxes, grid.points, grid.strides
