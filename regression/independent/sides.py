"""Distribution focal loss, and the box loss of anchor-based heads, two ways each.

Written from `lossref/spec/30-elementary.md` sections 3 and 4, and `10-geometry.md` sections 3 and 7 alone.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lossref


@lossref.target("dfl")
def dfl(pred_dist: Tensor, target: Tensor, reg_max: int = 16) -> Tensor:
    """Against a distribution on two bins, by einsum with the log-softmax."""
    sides = target.reshape(-1).clamp(0, reg_max - 1 - 0.01)
    bins = torch.arange(pred_dist.shape[1], device=sides.device)
    hats = (1 - (sides[:, None] - bins).abs()).clamp(min=0)
    cost = -torch.einsum("mr,mr->m", hats, pred_dist.log_softmax(1))
    return cost.reshape(target.shape).mean(-1, keepdim=True)


@lossref.target("dfl")
class DFL(nn.Module):
    """By log-sum-exp and two gathers: lse - (w_l z_k + w_r z_(k+1))."""

    def __init__(self, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max

    def forward(self, pred_dist: Tensor, target: Tensor) -> Tensor:
        """Logits (m, R) and distances of m numbers."""
        flat = torch.clamp(target, 0, self.reg_max - 1.01).flatten()
        near = flat.detach().long()
        share = (flat - near).unsqueeze(1)
        picked = pred_dist.gather(1, torch.stack((near, near + 1), 1))
        chosen = torch.lerp(picked[:, :1], picked[:, 1:], share).squeeze(1)
        cost = torch.logsumexp(pred_dist, 1) - chosen
        return cost.view(target.shape).mean(dim=-1, keepdim=True)


def ciou_rows(a: Tensor, b: Tensor, eps: float = 1e-7) -> Tensor:
    """CIoU of rows of corners, (n,)."""
    size_a = a[:, 2:] - a[:, :2] + a.new_tensor((0.0, eps))
    size_b = b[:, 2:] - b[:, :2] + b.new_tensor((0.0, eps))
    inter = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    overlap = inter / (size_a.prod(1) + size_b.prod(1) - inter + eps)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    apart = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]).square().sum(1) / 4
    v = (2 / math.pi * (torch.atan(size_b[:, 0] / size_b[:, 1]) - torch.atan(size_a[:, 0] / size_a[:, 1]))) ** 2
    alpha = (v / (v - overlap + 1 + eps)).detach()
    return overlap - apart / (hull.square().sum(1) + eps) - alpha * v


@lossref.target("bbox")
class BoxLoss(nn.Module):
    """Only the positives, picked by the mask."""

    def __init__(self, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.dfl = DFL(reg_max) if reg_max > 1 else None

    def forward(
        self,
        pred_dist: Tensor,
        pred_bboxes: Tensor,
        anchor_points: Tensor,
        target_bboxes: Tensor,
        target_scores: Tensor,
        target_scores_sum: Tensor,
        fg_mask: Tensor,
        imgsz: Tensor,
        stride: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Box term and distance term."""
        image, anchor = fg_mask.nonzero(as_tuple=True)
        weight = target_scores[image, anchor].sum(-1)
        truth, point = target_bboxes[image, anchor], anchor_points[anchor]
        loss_iou = torch.dot(weight, 1 - ciou_rows(pred_bboxes[image, anchor], truth)) / target_scores_sum
        sides = torch.cat((point - truth[:, :2], truth[:, 2:] - point), 1)
        raw = pred_dist[image, anchor]
        if self.dfl is not None:
            cost = self.dfl(raw.reshape(-1, self.reg_max), sides.clamp(0, self.reg_max - 1.01)).squeeze(1)
        else:
            high, wide = imgsz.unbind()
            unit = stride[anchor] / torch.stack((wide, high, wide, high))
            cost = ((raw - sides).abs() * unit).mean(1)
        return loss_iou, torch.dot(weight, cost) / target_scores_sum


@lossref.target("bbox")
def box_loss(
    pred_dist: Tensor,
    pred_bboxes: Tensor,
    anchor_points: Tensor,
    target_bboxes: Tensor,
    target_scores: Tensor,
    target_scores_sum: Tensor,
    fg_mask: Tensor,
    imgsz: Tensor,
    stride: Tensor,
    reg_max: int = 16,
) -> tuple[Tensor, Tensor]:
    """All anchors at once, negatives replaced by a harmless box before and by 0 after the formula."""
    images, anchors = fg_mask.shape
    keep = fg_mask.reshape(-1)
    harmless = pred_bboxes.new_tensor([0.0, 0.0, 1.0, 1.0])
    boxes = torch.where(keep[:, None], pred_bboxes.reshape(-1, 4), harmless)
    truth = torch.where(keep[:, None], target_bboxes.reshape(-1, 4), harmless)
    points = anchor_points.expand(images, anchors, 2).reshape(-1, 2)
    weight = torch.where(keep, target_scores.sum(-1).reshape(-1), 0.0) / target_scores_sum
    overlap = torch.where(keep, 1 - ciou_rows(boxes, truth), 0.0)
    sides = torch.cat((points - truth[:, :2], truth[:, 2:] - points), 1)
    raw = torch.where(keep[:, None], pred_dist.flatten(0, 1), 0.0)
    if reg_max > 1:
        logs = F.log_softmax(raw.unflatten(1, (4, reg_max)), -1)
        near = sides.clamp(0, reg_max - 1 - 0.01)
        low = near.floor()
        cost = -torch.where(F.one_hot(low.long(), reg_max).bool(), logs, 0.0).sum(-1) * (low + 1 - near)
        cost = cost - torch.where(F.one_hot(low.long() + 1, reg_max).bool(), logs, 0.0).sum(-1) * (near - low)
    else:
        scale = torch.stack((imgsz[1], imgsz[0], imgsz[1], imgsz[0]))
        cost = (raw - sides).abs() * stride.repeat(images, 1) / scale
    return (weight * overlap).sum(), (weight[:, None] * torch.where(keep[:, None], cost, 0.0)).sum() / 4
