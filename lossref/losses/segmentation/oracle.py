"""Mask and semantic term of the segmentation losses in scalars, from the positives of each image.

`p` holds the parameters of the spec by name. Only the pixels of the crops are looked at, and prototypes are
resized where a pixel is asked for. Source: spec/40-yolo.md section 2, spec/10-geometry.md section 11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from lossref.core.arithmetic import Arithmetic
from lossref.losses.box_terms.domains import oracle_edition
from lossref.losses.detection.oracle import Hit, oracle_column, oracle_rows_of
from lossref.losses.masks.bce_dice import oracle as oracle_bce_dice
from lossref.losses.masks.crop_mask import oracle_crop, oracle_rule
from lossref.losses.masks.mask import oracle_pixel


def oracle_seg(
    m: Arithmetic, p: Any, images: Sequence[Sequence[Hit]], coefficients: Any, proto: Any, masks: Any
) -> Any:
    """Mean cost of the positives, without gain; 0 if there is none."""
    if oracle_edition(m, p) == "8.3":
        p = SimpleNamespace(**{**vars(p), "crop": "exact"})
        masks = oracle_shrunk(m, masks, len(proto[0][0]), len(proto[0][0][0]))
    costs = []
    for image, hits in enumerate(images):
        lost = not p.overlap and p.separate_masks == "truncated" and image >= len(masks)
        if hits and not lost:
            size = len(masks[0]), len(masks[0][0])
            pixel = oracle_resized(m, proto[image], *size)
            mine = [(hit, oracle_column(m, coefficients[image], hit.anchor)) for hit in hits]
            costs += [oracle_positive(m, p, hit, c, pixel, masks, image, len(hits)) for hit, c in mine]
    count = sum(map(len, images))
    return m.sum(costs) / count if count else m.number(0.0)


def oracle_positive(
    m: Arithmetic, p: Any, hit: Hit, coefficients: Any, pixel: Callable[..., Any], masks: Any, image: int, count: int
) -> Any:
    """Cost of one positive of an image with `count` of them."""
    height, width = len(masks[0]), len(masks[0][0])
    x1, x2, y1, y2 = (hit.target[i] / p.imgsz[1 - i % 2] for i in (0, 2, 1, 3))
    area, edges = (x2 - x1) * (y2 - y1), (x1 * width, y1 * height, x2 * width, y2 * height)
    if p.zero_area_mask == "none" and area.value == 0:
        return m.number(0.0)
    rows, columns = oracle_crop(m, edges, height, width, oracle_rule(m, count, p.crop))
    costs = []
    for j, i in ((j, i) for j in rows for i in columns):
        x = m.sum(c * value for c, value in zip(coefficients, pixel(j, i), strict=True))
        t = masks[image][j][i] == hit.number + 1 if p.overlap else masks[hit.row][j][i]
        costs.append(oracle_pixel(m, x, int(t)))
    return m.sum(costs) / (height * width) / area


def oracle_shrunk(m: Arithmetic, masks: Any, height: int, width: int) -> list[Any]:
    """Masks of another size, each pixel the one of the original that it begins in."""
    tall, wide = len(masks[0]), len(masks[0][0])
    rows, columns = [j * tall // height for j in range(height)], [i * wide // width for i in range(width)]
    return [[[mask[j][i] for i in columns] for j in rows] for mask in masks]


def oracle_resized(m: Arithmetic, planes: Any, height: int, width: int) -> Callable[[int, int], tuple[Any, ...]]:
    """The prototypes at a pixel of a mask of another size: bilinear, pixel centres at halves, edges repeated."""
    known: dict[tuple[int, int], tuple[Any, ...]] = {}
    tall, wide = len(planes[0]), len(planes[0][0])

    def mixed(j: int, i: int) -> tuple[Any, ...]:
        if (j, i) not in known:
            down, across = oracle_between(m, j, tall, height), oracle_between(m, i, wide, width)
            corners = [(a, b, u * v) for a, u in down for b, v in across]
            parts = [[plane[a][b] * weight for a, b, weight in corners] for plane in planes]
            known[j, i] = tuple(m.sum(part) / (4 * height * width) for part in parts)
        return known[j, i]

    def same(j: int, i: int) -> tuple[Any, ...]:
        return tuple(plane[j][i] for plane in planes)

    return same if (tall, wide) == (height, width) else mixed


def oracle_between(m: Arithmetic, index: int, source: int, target: int) -> list[tuple[int, int]]:
    """Indices of the source, with their weights in units of 1 / (2 target), for an index of the target."""
    place = max((2 * index + 1) * source - target, 0)
    below, part = divmod(place, 2 * target)
    return [(below, 2 * target - part), (min(below + 1, source - 1), part)] if part else [(below, 2 * target)]


def oracle_semseg(m: Arithmetic, p: Any, logits: Any, batch_idx: Any, masks: Any, sem_masks: Any) -> Any:
    """BCE + Dice against the classes of the pixels that belong to an instance, without gain."""
    target = []
    for image, classes in enumerate(sem_masks):
        trained = oracle_instances(m, p, batch_idx, masks, image)
        labels = [[label if trained(j, i) else -1 for i, label in enumerate(row)] for j, row in enumerate(classes)]
        target.append([[[int(label == c) for label in row] for row in labels] for c in range(len(logits[image]))])
    return oracle_bce_dice(m, logits, target)


def oracle_instances(m: Arithmetic, p: Any, batch_idx: Any, masks: Any, image: int) -> Callable[[int, int], bool]:
    """Whether a pixel of an image is trained."""
    rows = oracle_rows_of(m, batch_idx, image)
    everything = p.semantic_background == "class0" and not rows

    def inside(j: int, i: int) -> bool:
        if p.overlap:
            return bool(masks[image][j][i] != 0)
        return everything or sum(masks[row][j][i] for row in rows) != 0

    return inside
