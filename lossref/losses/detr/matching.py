"""Optimal matching of queries and objects, image by image: costs of all layers and images at once, then one
assignment problem for each. Torch; the oracle is in hungarian_oracle.py.

C = gain_class class + gain_bbox L1 + gain_giou (1 - GIoU), from detached predictions. Sources differ on what a
NaN or infinite cost becomes: see `Costs`. Source: spec/20-assignment.md section 4, spec/05-decisions.md D9, D13.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossref.core.nouns import Array
from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.overlap.bbox_iou import giou_of, overlap

INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)


class Costs(NamedTuple):
    """How a pair is priced.

    use_fl:   focal class cost with `alpha`, `gamma` on sigmoids; else minus the softmax probability
    bad_cost: "last", a NaN or infinite cost becomes the worst finite one of its image plus 1; "zero", it becomes 0
    eps:      of GIoU
    """

    class_gain: float = 1.0
    bbox_gain: float = 5.0
    giou_gain: float = 2.0
    use_fl: bool = True
    alpha: float = 0.25
    gamma: float = 2.0
    bad_cost: str = "last"
    eps: float = 1e-7


class Matching(NamedTuple):
    """Matched pairs of L layers, sorted by image and query: image (m,), query (L, m), object (L, m), int64.

    Every layer has the same number of pairs in each image. `object` counts over the whole batch. All of it is on the
    CPU, where it was found, and so are the class ids (n,) of all objects, if they were looked at.
    """

    image: Tensor
    query: Tensor
    object: Tensor
    cls: Tensor | None = None

    def by_image(self, images: int) -> list[tuple[Tensor, Tensor]]:
        """(query, object) of the first layer, cut into one pair for each image."""
        ends = torch.bincount(self.image, minlength=images).cumsum(0)[:-1]
        return list(zip(self.query[0].tensor_split(ends), self.object[0].tensor_split(ends), strict=True))


def groups_of(batch_idx: Tensor, cls: Tensor, images: int) -> list[int]:
    """Objects of each image; raises ValueError unless `batch_idx` (n,) ascends and stays in the batch."""
    if batch_idx.shape != cls.shape or batch_idx.is_floating_point() or bool((batch_idx.diff() < 0).any()):
        raise ValueError(f"batch_idx: expected {len(cls)} integers in ascending order, got {batch_idx.tolist()}")
    if batch_idx.numel() and (batch_idx[0] < 0 or batch_idx[-1] >= images):
        raise ValueError(f"batch_idx: expected image numbers 0 to {images - 1}, got {batch_idx.tolist()}")
    counts: list[int] = torch.bincount(batch_idx, minlength=images).tolist()
    return counts


def match(
    pred_bboxes: Tensor,
    pred_scores: Tensor,
    gt_bboxes: Tensor,
    gt_cls: Tensor,
    gt_groups: Sequence[int],
    costs: Costs,
) -> Matching:
    """Cheapest one-to-one matching in each image of each layer; no gradient.

    pred_bboxes (L, b, q, 4), gt_bboxes (n, 4) xywh normalised, pred_scores (L, b, q, c) logits, gt_cls (n,)
    integer ids, gt_groups objects of each image, which stand together. Half precision is priced in float32.
    Raises ValueError or RuntimeError for sizes that do not fit, IndexError for class ids outside the channels.
    """
    _require_sizes(pred_bboxes, pred_scores, gt_bboxes, gt_cls, gt_groups)
    layers, images, queries = pred_bboxes.shape[:3]
    if not layers or not sum(gt_groups):
        nothing = torch.zeros(layers, 0, dtype=torch.int64, device="cpu")
        return Matching(nothing.new_zeros(0), nothing, nothing)
    if not queries:
        raise RuntimeError("pred_bboxes: expected at least one query for the objects, got none")
    counts = torch.tensor(gt_groups, device="cpu")
    image = torch.arange(len(gt_groups), device="cpu").repeat_interleave(counts)
    channels, where = pred_scores.shape[-1], pred_bboxes.device
    if gt_cls.device.type == "cpu":
        _require_classes(gt_cls, channels)
    label, there = gt_cls.long().clamp(-channels, channels - 1), image.to(where, non_blocking=True)
    with torch.no_grad():
        price = prices(pred_bboxes, pred_scores, gt_bboxes, label.to(where, non_blocking=True), there, costs)
        price, cls = _on_host(price.double(), gt_cls)
    _require_classes(cls, channels)
    return _solved(_without_bad(price, image, images, costs.bad_cost).numpy(), gt_groups)._replace(cls=cls)


def _on_host(price: Tensor, cls: Tensor) -> tuple[Tensor, Tensor]:
    """Both on the CPU, by one copy: the host waits for a device once."""
    if price.device.type == "cpu" or cls.device.type == "cpu":
        return price.cpu(), cls.cpu()
    together = torch.cat([price.flatten(), cls.to(price.dtype)]).cpu()
    return together[: price.numel()].reshape(price.shape), together[price.numel() :].long()


def require_predictions(pred_bboxes: Tensor, pred_scores: Tensor) -> None:
    """Raise ValueError unless boxes (L, b, q, 4) and scores (L, b, q, c) belong together."""
    require_floating(pred_bboxes=pred_bboxes, pred_scores=pred_scores)
    shapes = tuple(pred_bboxes.shape), tuple(pred_scores.shape)
    if len(shapes[0]) != 4 or shapes[0][3] != 4 or shapes[0][:3] != shapes[1][:-1]:
        raise ValueError(f"predictions: expected boxes (L, b, q, 4) and scores (L, b, q, c), got {shapes}")


def _require_sizes(
    pred_bboxes: Tensor, pred_scores: Tensor, gt_bboxes: Tensor, gt_cls: Tensor, gt_groups: Sequence[int]
) -> None:
    require_predictions(pred_bboxes, pred_scores)
    require_floating(gt_bboxes=gt_bboxes)
    objects = sum(gt_groups)
    if tuple(gt_bboxes.shape) != (objects, 4) or tuple(gt_cls.shape) != (objects,):
        shapes = f"{tuple(gt_bboxes.shape)} and {tuple(gt_cls.shape)}"
        raise RuntimeError(f"gt_groups: they count {objects} objects, but gt_bboxes and gt_cls have shapes {shapes}")
    if len(gt_groups) > pred_bboxes.shape[-3]:
        raise IndexError(f"gt_groups: expected one for each of {pred_bboxes.shape[-3]} images, got {len(gt_groups)}")
    if len(gt_cls) and gt_cls.dtype not in INTEGERS:
        raise _no_classes(gt_cls, pred_scores.shape[-1])


def _require_classes(cls: Tensor, channels: int) -> None:
    """Raise IndexError for class ids (n,) that are no channels."""
    if bool(((cls < -channels) | (cls >= channels)).any()):
        raise _no_classes(cls, channels)


def _no_classes(cls: Tensor, channels: int) -> IndexError:
    return IndexError(f"gt_cls: expected integer class ids below {channels}, got {cls.dtype} {cls.tolist()}")


def prices(
    pred_bboxes: Tensor, pred_scores: Tensor, gt_bboxes: Tensor, gt_cls: Tensor, image: Tensor, costs: Costs
) -> Tensor:
    """Cost of every object with every query of its own image, (L, n, q), in the promoted dtype of all."""
    dtype, _ = compute_dtype(pred_bboxes, pred_scores, gt_bboxes)
    # Components first in memory, so that what follows runs along contiguous queries.
    box = pred_bboxes.detach().to(dtype).movedim(-1, 0).contiguous().index_select(2, image).movedim(0, -1)
    target = gt_bboxes.detach().to(dtype)[:, None]
    giou = giou_of(overlap(box, target, True, costs.eps), costs.eps)
    near = (box - target).abs().sum(-1)
    found = _class_price(pred_scores.detach().to(dtype), gt_cls.long(), image, costs)
    return costs.class_gain * found + costs.bbox_gain * near + costs.giou_gain * (1 - giou)


def _class_price(scores: Tensor, label: Tensor, image: Tensor, costs: Costs) -> Tensor:
    if not costs.use_fl:
        return -scores.softmax(-1)[:, image, :, label].movedim(0, 1)
    p = scores[:, image, :, label].movedim(0, 1).sigmoid()
    hit = (1 - p).pow(costs.gamma) * (p + 1e-8).log() * -costs.alpha
    miss = p.pow(costs.gamma) * (1 - p + 1e-8).log() * (costs.alpha - 1)
    return hit - miss


def _without_bad(price: Tensor, image: Tensor, images: int, bad_cost: str) -> Tensor:
    """`price` with NaN and infinite entries replaced."""
    good = price.isfinite()
    if bool(good.all()):
        return price
    if bad_cost == "zero":
        return price.where(good, 0.0)
    highest = price.where(good, -torch.inf).amax(-1)
    worst = highest.new_full((len(price), images), -torch.inf)
    worst = worst.scatter_reduce(1, image.expand_as(highest), highest, "amax")
    fill = (worst + 1).where(worst.isfinite(), 0.0)
    return price.where(good, fill[:, image, None])


def _solved(price: Array, gt_groups: Sequence[int]) -> Matching:
    from scipy.optimize import linear_sum_assignment  # takes a quarter of a second to import

    blocks = [(k, *ends) for k, ends in enumerate(pairwise(accumulate(gt_groups, initial=0))) if ends[1] > ends[0]]
    # One problem for each layer and image: the solver takes no batch.
    solved = [[linear_sum_assignment(layer[start:stop]) for _, start, stop in blocks] for layer in price]
    objects = [[rows + start for (rows, _), (_, start, _) in zip(one, blocks, strict=True)] for one in solved]
    images = np.concatenate([np.full(len(rows), k) for (rows, _), (k, _, _) in zip(solved[0], blocks, strict=True)])
    query = np.stack([np.concatenate([columns for _, columns in one]) for one in solved])
    chosen = np.stack([np.concatenate(one) for one in objects])
    order = np.lexsort((query, np.broadcast_to(images, query.shape)), axis=-1)
    pairs = (np.take_along_axis(array, order, -1) for array in (query, chosen))
    return Matching(torch.from_numpy(images), *map(torch.from_numpy, pairs))
