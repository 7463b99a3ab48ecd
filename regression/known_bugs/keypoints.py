"""Public bugs of keypoint losses: similarity of keypoints, the flow of RLE, and the sigmas of a pose loss."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from known_bugs.bug import Bug
from lossref.losses import spec
from lossref.losses.keypoints.flow import BACKWARDS, LOG_2PI, MASK, coupling, parameters_of
from lossref.losses.keypoints.tables import OKS_SIGMA
from lossref.losses.pose.keypoint_terms import COCO, keypoint_terms
from lossref.losses.pose.terms import parts_of

EPS = 1e-9


def keypoint(
    pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor, sigmas: Tensor, *, twice: float = 2.0
) -> Tensor:
    """exp(-d^2 / (twice (2 sigma)^2 area)) of every keypoint that is seen."""
    seen = (kpt_mask != 0).to(area.dtype)
    distance2 = ((pred_kpts[..., :2] - gt_kpts[..., :2]) ** 2).sum(-1)
    lost = 1 - (-distance2 / ((2 * sigmas) ** 2 * (area + EPS) * twice)).exp()
    return (lost * seen * (seen.shape[1] / (seen.sum(1, keepdim=True) + EPS))).mean()


def realnvp(x: Tensor, state: str = "woven", *, shifted: str = "first", sign: int = -1) -> Tensor:
    """Whether a coupling is undone by taking off the shift first or last, and the sign of its log-determinant."""
    parameters, z, log_det = parameters_of(state), x, x.new_zeros(len(x))
    if x.dtype != torch.float64:
        parameters = {name: number.to(x.dtype) for name, number in parameters.items()}
    for k in BACKWARDS:
        c = coupling(z, parameters, k, MASK[k])
        scale = c.scale.tanh()
        small = torch.exp(-scale)
        z = c.u + c.mapped * ((z - c.shift) * small if shifted == "first" else z * small - c.shift)
        log_det = log_det + sign * scale.sum(1)
    return log_det - z.square().sum(1) / 2 - LOG_2PI


def two_wrong(sigmas: Tensor) -> Tensor:
    """Wrists with the sigma of elbows."""
    return torch.cat((sigmas[:9], sigmas[7:9], sigmas[11:]))


def pose(*inputs: Tensor, pose_gain: float, kobj_gain: float, sigmas: Tensor = OKS_SIGMA, **p: Any) -> Any:
    """v8_pose with a table of sigmas for the 17 keypoints of COCO."""
    right = spec("v8_pose").reference(*inputs, pose_gain=pose_gain, kobj_gain=kobj_gain, **p)
    boxes, scores, kpts, *objects = inputs
    parts = parts_of(boxes, scores, kpts, None, *objects, form="v8", **p)
    if tuple(p["kpt_shape"]) != COCO or parts.truth is None:
        return right
    cost, _ = keypoint_terms(parts.pred, parts.truth, sigmas.to(parts.pred), True)
    return right._replace(pose=cost * pose_gain * len(boxes))


POSE = tuple(name for name in spec("v8_pose").params if name != "edition")  # which has another table of sigmas

BUGS = (
    Bug(
        "factor 2 missing",
        "WongKinYiu/yolov7#501",
        "pull",
        "keypoint",
        "the exponent of the keypoint similarity lacks the 2 of the Gaussian; keypoints of small people drift away",
        partial(keypoint, twice=1.0),
        keypoint,
        says="factor 2 missing",
    ),
    Bug(
        "shift taken off last",
        "chrischute/real-nvp#15",
        "issues",
        "realnvp",
        "a coupling is undone as z / e^s - t instead of (z - t) / e^s",
        partial(realnvp, shifted="last"),
        realnvp,
        ("state",),
        says="shift last",
    ),
    Bug(
        "sign of the log-determinant",
        "danielward27/flowjax#208",
        "issues",
        "realnvp",
        "the inverse map returns the log-determinant of the forward map",
        partial(realnvp, sign=1),
        realnvp,
        ("state",),
        says="sign of log_det",
    ),
    Bug(
        "two wrong sigmas",
        "Deci-AI/super-gradients#1505",
        "pull",
        "v8_pose",
        "two of the 17 constants of COCO are wrong",
        partial(pose, sigmas=two_wrong(OKS_SIGMA)),
        pose,
        POSE,
    ),
)
