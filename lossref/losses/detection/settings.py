"""Settings of the YOLO losses: how anchors are assigned and terms weighed, from the parameters of a spec or a class.

Source: spec/40-yolo.md section 1, spec/60-api.md section 2 (edition 8.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from lossref.losses.assignment.candidates import SPECIFIED, Rules
from lossref.losses.detection.batch import Grid, feats_of, grid_of, targets_of


class Matching(NamedTuple):
    """Settings of the assigner; `stride` has one entry for each level, topk2 None or 0 means topk.

    `edition` is the release that the box terms follow, too; see `of_edition`.
    """

    stride: tuple[float, ...]
    topk: int = 10
    topk2: int | None = None
    alpha: float = 0.5
    beta: float = 6.0
    eps: float = 1e-9
    rules: Rules = SPECIFIED
    ciou_alpha: str = "detached"
    edition: str = "8.4"


def of_edition(matching: Matching, edition: str) -> Matching:
    """The settings in an edition: releases 8.3 have no rule for small sides, and no second top-k."""
    if edition == "8.3":
        matching = matching._replace(topk2=None, rules=matching.rules._replace(small_boxes="off"))
    return matching._replace(edition=edition)


class Gains(NamedTuple):
    """Factors of the three terms."""

    box: float = 7.5
    cls: float = 0.5
    dfl: float = 1.5


class Settings(NamedTuple):
    """How boxes are coded, anchors assigned, and terms weighed."""

    reg_max: int
    matching: Matching
    gains: Gains


class Scene(NamedTuple):
    """What a loss is told beside the predictions: objects (n, 2 + columns), image and class first; see `detect`."""

    targets: Tensor
    grid: Grid
    settings: Settings


def scene_of(
    preds: Sequence[Tensor],
    objects: Sequence[Tensor],
    *,
    imgsz: Sequence[float] = (64, 64),
    strides: Sequence[float] = (8, 16, 32),
    reg_max: int = 16,
    tal_topk: int = 10,
    tal_topk2: int | None = None,
    box_gain: float = 7.5,
    cls_gain: float = 0.5,
    dfl_gain: float = 1.5,
    ciou_alpha: str = "detached",
    metric_overlap: str = "ciou",
    edition: str = "8.4",
    **rules: Any,
) -> Scene:
    """Scene of predictions (b, C, A) and objects (batch_idx, cls, bboxes), from the parameters of any YOLO loss.

    `imgsz` (H, W) and `strides` in pixels, `rules` are fields of `Rules`. Raises RuntimeError for lengths or
    anchors that do not fit, ValueError for NaN in the objects.
    """
    grid = grid_of(feats_of(imgsz, strides, preds[0]), strides, *preds)
    batch_idx, cls, bboxes = objects
    targets = targets_of(batch_idx, cls, bboxes, grid.points.dtype)
    chosen = Rules(overlap=metric_overlap, **rules)
    matching = Matching(tuple(map(float, strides)), tal_topk, tal_topk2, rules=chosen, ciou_alpha=ciou_alpha)
    settings = Settings(reg_max, of_edition(matching, edition), Gains(box_gain, cls_gain, dfl_gain))
    return Scene(targets, grid, settings)
