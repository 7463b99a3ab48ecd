"""Keypoint terms of the pose losses, on positives only.

Predictions are gathered where an anchor is positive, the object's keypoints are looked up by its row in the
batch; no tensor of the size (b, A, K) is made. Without a positive every term is the sum of nothing: 0, with a
zero gradient that no value was read for (D10, D11). Source: spec/40-yolo.md sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lossref.core.precision import compute_dtype
from lossref.losses.assignment.static.strategy import looked_at
from lossref.losses.classification.bce import bce
from lossref.losses.detection.batch import kept_rows_at, padded, rows_at, slots_of
from lossref.losses.detection.terms import Found
from lossref.losses.keypoints.keypoint import keypoint
from lossref.losses.keypoints.kpts_decode import decoded
from lossref.losses.keypoints.tables import OKS_SIGMA, OKS_SIGMA_83, RLE_WEIGHT

COCO = (17, 3)


class Truth(NamedTuple):
    """What is true at the positives: positions (n, K, 2) in cells, visible (n, K), area (n, 1) in cells^2.

    In the static form only those `kept` (n,) are positives: no point of the others is visible. None: all are.
    `number` is how many these are, 1 at least, and NaN if a keypoint is.
    """

    points: Tensor
    visible: Tensor
    area: Tensor
    kept: Tensor | None = None
    number: Tensor | None = None


def sigmas_of(kpt_shape: Sequence[int], dtype: torch.dtype, coco: bool, edition: str = "8.4") -> Tensor:
    """OKS sigmas (K,) on the CPU: those of COCO (not rounded to float32 in edition "8.3"), or 1/K each."""
    if coco:
        return (OKS_SIGMA_83 if edition == "8.3" else OKS_SIGMA).to(dtype)
    return torch.full((kpt_shape[0],), 1 / kpt_shape[0], dtype=dtype, device="cpu")


def sigmas_given(given: Any, kpt_shape: Sequence[int]) -> Tensor | None:
    """Sigmas (K,) that a model brings along, or None; ValueError unless there is a positive one for each keypoint."""
    if given is None:
        return None
    sigmas = torch.as_tensor(given)
    if sigmas.shape != (kpt_shape[0],) or not bool((sigmas > 0).all()):
        raise ValueError(f"model.kpt_oks_sigmas: expected {kpt_shape[0]} positive numbers, got {sigmas.tolist()}")
    return sigmas.to(torch.promote_types(sigmas.dtype, torch.float32))


def weights_of(kpt_shape: Sequence[int], coco: bool) -> Tensor:
    """Weights of the keypoints (K,) in the likelihood, on the CPU: those of COCO (float64), or ones."""
    return RLE_WEIGHT.clone() if coco else torch.ones(kpt_shape[0], device="cpu")


def truth_of(keypoints: Tensor, stride: Tensor, boxes: Tensor) -> Truth:
    """Truth at positives with keypoints (n, K, 2 or 3), stride (n, 1) and boxes (n, 4) xyxy, all in pixels.

    Visibility counts as zero or not; keypoints without it are all seen.
    """
    points = keypoints[..., :2]
    seen = keypoints[..., 2] != 0 if keypoints.shape[-1] > 2 else torch.ones_like(points[..., 0], dtype=torch.bool)
    size = (boxes[:, 2:] - boxes[:, :2]) / stride
    return Truth(points / stride[:, None], seen, size.prod(-1, keepdim=True))


def truth_at(
    keypoints: Tensor, found: Found, imgsz: tuple[float, float], kpt_shape: Sequence[int], objects: int
) -> Truth:
    """Truth at the positives, from normalised keypoints (objects, K, 2 or 3) in the order of the batch."""
    if found.kept is not None:
        return truth_at_slots(keypoints, found, imgsz, kpt_shape, objects, found.kept)
    pixels = pixels_of(keypoints.to(found.row.device), imgsz, kpt_shape, objects, found.stride.dtype)
    return truth_of(pixels[found.row], found.stride, found.target_boxes)


def truth_at_slots(
    keypoints: Tensor, found: Found, imgsz: tuple[float, float], kpt_shape: Sequence[int], objects: int, kept: Tensor
) -> Truth:
    """The same in the static form; where nothing is kept all points are 0 and the area is 1."""
    pixels = pixels_of(keypoints.to(found.row.device), imgsz, kpt_shape, objects, found.stride.dtype)
    rows = pad(pixels, (0, 0, 0, 0, 0, len(found.truth) - objects))[found.row]
    true = truth_of(torch.where(kept[:, None, None], rows, 0), found.stride, found.target_boxes)
    number = kept.sum().to(rows.dtype).clamp(min=1).masked_fill(pixels.isnan().any(), torch.nan)
    area = torch.where(kept[:, None], true.area, 1)
    return Truth(true.points, true.visible & kept[:, None], area, kept, number)


def selected(keypoints: Tensor, batch_idx: Tensor, images: int, image: Tensor, number: Tensor) -> Tensor:
    """Keypoints (..., K, D) of object `number` (...) of `image` (...); zeros where the image has fewer objects.

    `keypoints` (N, K, D) and `batch_idx` (N,) are in the order of the batch. Raises RuntimeError if there
    is no object at all, or for a number that no image reaches.
    """
    table = padded(keypoints, slots_of(batch_idx, images))
    number = number.long()
    if not table.shape[1] or (number.numel() and not 0 <= int(number.min()) <= int(number.max()) < table.shape[1]):
        raise RuntimeError(f"target_gt_idx: expected objects below {table.shape[1]}, the most that an image has")
    return table[image, number]


def pixels_of(
    keypoints: Tensor, imgsz: tuple[float, float], kpt_shape: Sequence[int], objects: int, dtype: torch.dtype
) -> Tensor:
    """Normalised keypoints (objects, K, D) with x times W and y times H; ValueError for a wrong shape, or NaN seen."""
    if keypoints.ndim != 3 or keypoints.shape[:2] != (objects, kpt_shape[0]) or keypoints.shape[2] < 2:
        raise ValueError(f"keypoints: expected ({objects}, {kpt_shape[0]}, 2 or 3), got {tuple(keypoints.shape)}")
    if looked_at(keypoints) and keypoints.isnan().any():
        raise ValueError("keypoints: expected numbers, got NaN")
    scale = torch.ones(keypoints.shape[2], dtype=dtype, device=keypoints.device)
    scale[0].fill_(imgsz[1])
    scale[1].fill_(imgsz[0])
    return keypoints.to(dtype) * scale


def predicted_at(
    scores: Tensor, found: Found, kpt_shape: Sequence[int], form: str, kpts: Tensor, *sigma: Tensor
) -> Tensor:
    """Decoded keypoints (n, K, D [+ 2]) at the positives, from kpts (b, K D, A) and, if given, sigma (b, 2 K, A).

    Raises RuntimeError unless both belong to the scores (b, c, A).
    """
    image, anchor = found.positives.image, found.positives.anchor
    dtype, _ = compute_dtype(kpts, found.points, *sigma)
    parts = []
    for name, x, values in zip(("kpts", "kpts_sigma"), (kpts, *sigma), (kpt_shape[1], 2), strict=False):
        expected = (len(scores), kpt_shape[0] * values, scores.shape[-1])
        if x.shape != expected:
            raise RuntimeError(f"{name}: expected shape {expected}, got {tuple(x.shape)}")
        rows = rows_at(x, image, anchor) if found.kept is None else kept_rows_at(x, image, anchor, found.kept)
        parts.append(rows.reshape(-1, kpt_shape[0], values).to(dtype))
    return decoded(found.points[:, None].to(dtype), torch.cat(parts, -1), form)


def keypoint_terms(pred: Tensor, truth: Truth | None, sigmas: Tensor, visibility: bool) -> tuple[Tensor, Tensor]:
    """Location and visibility terms of decoded keypoints (n, K, D), 0-d each, without gains.

    `visibility` says whether value 2 of a prediction is a visibility logit; if not, that term is 0. Truth
    is None without positives.
    """
    if truth is None:  # there is no positive
        return pred[:0].sum(), pred[:0].sum()
    if truth.kept is not None and truth.number is not None:
        return kept_keypoint_terms(pred, truth, sigmas, visibility, truth.kept, truth.number)
    pose = keypoint(pred, truth.points.to(pred), truth.visible, truth.area.to(pred), sigmas.to(pred))
    if not visibility:
        return pose, pred.new_zeros(())
    return pose, bce(pred[..., 2], truth.visible.to(pred.dtype)).mean()


def kept_keypoint_terms(
    pred: Tensor, truth: Truth, sigmas: Tensor, visibility: bool, kept: Tensor, number: Tensor
) -> tuple[Tensor, Tensor]:
    """The same in the static form: sums over what is kept (n,), divided by its number."""
    mean = keypoint(pred, truth.points.to(pred), truth.visible, truth.area.to(pred), sigmas.to(pred))
    pose = mean * (len(pred) / number)
    if not visibility:
        return pose, pred.new_zeros(())
    cost = bce(pred[..., 2], truth.visible.to(pred.dtype)) * kept[:, None]
    return pose, cost.sum() / (number * pred.shape[1])


def nothing_of(flow: Any) -> Tensor | float:
    """0 with a zero gradient to every parameter of the flow, where its density is not asked for."""
    parameters = list(flow.parameters()) if isinstance(flow, nn.Module) else []
    return sum((p.reshape(-1)[:0].sum() for p in parameters), start=0.0)
