"""Setup S of the assigners, spec/20-assignment.md: its inputs for given objects, and who was given to whom."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lossref.losses.assignment.answer import Assignment
from lossref.losses.assignment.cases import setup_s

Object = tuple[Sequence[float], int]
Given = dict[int, tuple[int, float]]
F64 = torch.float64

FIRST, SECOND = ((2, 2, 22, 22), 0), ((10, 10, 30, 30), 1)
THIN = ((13, 13, 17, 17), 1)


def inputs_of(objects: Sequence[Object], **changes: Tensor) -> dict[str, Tensor]:
    """The six inputs in setup S, float64; objects are (box, class)."""
    given = {name: torch.tensor(x) for name, x in setup_s(len(objects[0][0])).items()}
    given["gt_labels"] = torch.tensor([[[float(label)] for _, label in objects]], dtype=F64)
    given["gt_bboxes"] = torch.tensor([[list(map(float, box)) for box, _ in objects]], dtype=F64)
    given["mask_gt"] = torch.ones(1, len(objects), 1, dtype=F64)
    return {**given, **changes}


def given_to(found: Assignment, image: int = 0) -> Given:
    """Positive anchor -> (object, score at its class)."""
    at = found.fg_mask[image].nonzero()[:, 0].tolist()
    return {a: (int(found.target_gt_idx[image, a]), float(found.target_scores[image, a].sum())) for a in at}


STEAL = [FIRST, ((1, 1, 23, 23), 1), ((3, 3, 21, 21), 2)]


def steal_inputs() -> dict[str, Tensor]:
    """A6: a third class with score 1 everywhere except 0 at anchor 5."""
    given = inputs_of(STEAL)
    third = torch.ones(1, 16, 1, dtype=F64)
    third[0, 5] = 0
    return {**given, "pd_scores": torch.cat([given["pd_scores"], third], -1)}
