"""Objects as a flat table of fixed length, in the order of the batch; nothing is padded by image.

Rows beyond the objects, and objects of no image of the batch (QC1), are absent: they take part in everything and count
for nothing. Source: spec/00-conventions.md section 3, spec/40-yolo.md section 1.1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from lossref.losses.assignment.static.strategy import slots_for


class Slots(NamedTuple):
    """Objects (p,): their image int64 (0 where absent), whether they are of an image of the batch, and which one of
    its objects each is; the slot of the first object of every image (b,), p for an image without any; and how many
    objects there are, of whatever image."""

    image: Tensor
    present: Tensor
    number: Tensor
    first: Tensor
    objects: int


def table_of(rows: Tensor) -> Tensor:
    """Rows (n, columns) of objects, image index first, as many as there are slots; those beyond n are all -1."""
    return pad(rows, (0, 0, 0, slots_for(len(rows)) - len(rows)), value=-1.0)


def slots_of(batch_idx: Tensor, images: int, objects: int) -> Slots:
    """The slots of image indices (p,), floating, in any order, of which so many are of objects."""
    present = (batch_idx == batch_idx.floor()) & (batch_idx >= 0) & (batch_idx < images)
    image = torch.where(present, batch_idx, 0).long()
    mine = (image == torch.arange(images, device=image.device)[:, None]) & present
    number = mine.cumsum(1).gather(0, image[None])[0] - 1
    place = torch.arange(len(image), device=image.device)
    first = torch.where(mine, place, len(image)).amin(1)
    return Slots(image, present, number.clamp(min=0), first, objects)
