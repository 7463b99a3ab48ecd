"""The detection loss of rotated boxes, image by image, from assignments of its own.

Written from `lossref/spec/40-yolo.md` section 5, `20-assignment.md` section 3, `30-elementary.md` section 6 and
`05-decisions.md` (D2, D10) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import lossref
from regression.independent import detection, rotated

EPS = 1e-9


class Kept(NamedTuple):
    """Positives of one image: anchors, their objects, and their target scores."""

    anchor: Tensor
    item: Tensor
    strength: Tensor


def contains(truth: Tensor, points: Tensor, strides: Sequence[float]) -> Tensor:
    """(g, A): anchors in objects xywhr, edges inside, small sides enlarged."""
    larger = float(strides[1] if len(strides) > 1 else strides[0])
    half = torch.where(truth[:, 2:4] < strides[0], torch.full_like(truth[:, 2:4], larger), truth[:, 2:4]) / 2
    offset = points[None] - truth[:, None, :2]
    cos, sin = truth[:, 4, None].cos(), truth[:, 4, None].sin()
    along = offset[..., 0] * cos + offset[..., 1] * sin
    across = offset[..., 1] * cos - offset[..., 0] * sin
    return (along.abs() <= half[:, :1]) & (across.abs() <= half[:, 1:])


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, points: Tensor, labels: Tensor, truth: Tensor, rule: detection.Rule) -> Kept:
    """Task-aligned, with probiou as the overlap."""
    inside = contains(truth, points, rule.stride)
    count, anchors = inside.shape
    pairs = truth[:, None].expand(count, anchors, 5), boxes[None].expand(count, anchors, 5)
    similar = rotated.probiou(pairs[0].reshape(-1, 5), pairs[1].reshape(-1, 5))
    overlap = similar.reshape(count, anchors).clamp(min=0) * inside
    metric = scores.T[labels] ** rule.alpha * overlap**rule.beta * inside
    claimed = torch.stack([detection.leading(row, rule.topk) for row in metric]) & inside
    several = claimed.sum(0) > 1
    winner = overlap.argmax(0)
    claimed[:, several] = torch.arange(count)[:, None] == winner[several]
    if rule.topk2 != rule.topk:
        claimed &= torch.stack([detection.leading(row, rule.topk2) for row in metric * claimed])
    best, top = (overlap * claimed).amax(1), (metric * claimed).amax(1)
    anchor = torch.nonzero(claimed.any(0)).flatten()
    item = claimed[:, anchor].to(torch.uint8).argmax(0)
    return Kept(anchor, item, metric[item, anchor] * best[item] / (top[item] + EPS))


def wanted_sides(truth: Tensor, points: Tensor) -> Tensor:
    """Distances l, t, r, b of a point to the sides of a box xywhr, in the frame of the box."""
    offset = torch.complex(truth[:, 0] - points[:, 0], truth[:, 1] - points[:, 1])
    turned = offset * torch.polar(torch.ones_like(truth[:, 4]), -truth[:, 4])
    centre, half = torch.stack((turned.real, turned.imag), 1), truth[:, 2:4] / 2
    return torch.cat((half - centre, half + centre), 1)


def distance_cost(sides: Tensor, want: Tensor, cells: Tensor, imgsz: Sequence[float]) -> Tensor:
    """Of positives: sides (n, 4, R), want (n, 4)."""
    bins = sides.shape[-1]
    if bins == 1:
        scale = torch.tensor([imgsz[1], imgsz[0]] * 2).to(sides)
        return ((sides[..., 0] - want).abs() * cells / scale).mean(1)
    want = want.clamp(0, bins - 1 - 0.01)
    hats = (1 - (want[..., None] - torch.arange(bins).to(want)).abs()).clamp(min=0)
    return -(hats * F.log_softmax(sides, -1)).sum(-1).mean(1)


@lossref.target("v8_obb")
def obb(
    boxes: Tensor,
    scores: Tensor,
    angle: Tensor,
    batch_idx: Tensor,
    cls: Tensor,
    bboxes: Tensor,
    imgsz: Sequence[float] = (64, 64),
    strides: Sequence[float] = (8, 16, 32),
    reg_max: int = 16,
    tal_topk: int = 10,
    tal_topk2: int | None = None,
    box_gain: float = 7.5,
    cls_gain: float = 0.5,
    dfl_gain: float = 1.5,
    angle_gain: float = 1.0,
) -> dict[str, Tensor]:
    """Four terms by name, each times the number of images."""
    if bboxes.shape[-1] != 5:
        raise TypeError("no rotated boxes")
    objects = detection.objects_of(batch_idx, cls, bboxes).to(boxes)
    points, cells = detection.grid(imgsz, strides, boxes)
    sides = detection.decode(boxes, points, reg_max)[0]
    distance = sides.softmax(-1) @ torch.arange(reg_max).to(boxes) if reg_max > 1 else sides[..., 0]
    turned, logits = angle.mT, scores.mT
    decoded = torch.cat((rotated.dist2rbox_complex(distance, turned, points), turned), -1)
    size = torch.tensor([imgsz[1], imgsz[0]] * 2 + [1.0]).to(boxes)
    pixels = torch.cat((cells.expand(-1, 4), torch.ones_like(cells)), 1)
    rule = detection.Rule(tal_topk, tal_topk2 or tal_topk, 0.5, 6.0, strides)
    target = torch.zeros_like(logits)
    nothing = boxes[:0].sum() + angle[:0].sum()
    sums = {"box": nothing, "dfl": nothing, "angle": nothing}
    for b in range(len(boxes)):
        mine = objects[objects[:, 0] == b]
        truth = mine[:, 2:] * size
        real = (truth[:, 2:4] >= 2).all(1) & (truth.sum(1) > 0)
        labels, truth = mine[real, 1].long(), truth[real]
        if not len(truth):
            continue
        on = assign(logits[b].sigmoid(), decoded[b] * pixels, points * cells, labels, truth, rule)
        target[b, on.anchor, labels[on.item]] = on.strength
        aim = truth[on.item] / pixels[on.anchor]
        cost = distance_cost(sides[b, on.anchor], wanted_sides(aim, points[on.anchor]), cells[on.anchor], imgsz)
        rho = torch.log((aim[:, 2] + EPS) / (aim[:, 3] + EPS))
        off = (1 - torch.cos(4 * (turned[b, on.anchor, 0] - aim[:, 4]))) / 2
        found = decoded[b, on.anchor]
        sums["box"] = sums["box"] + on.strength @ (1 - rotated.probiou(found, aim)[:, 0])
        sums["dfl"] = sums["dfl"] + on.strength @ cost
        sums["angle"] = sums["angle"] + on.strength @ (torch.exp(-((rho / 3) ** 2)) * off)
    total = target.sum().clamp(min=1)
    classes = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    gains = {"box": box_gain, "cls": cls_gain, "dfl": dfl_gain, "angle": angle_gain}
    sums = {"box": sums["box"], "cls": classes, "dfl": sums["dfl"], "angle": sums["angle"]}
    return {name: gains[name] * term / total * len(boxes) for name, term in sums.items()}
