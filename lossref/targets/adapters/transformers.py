"""transformers: the losses of RT-DETR and D-FINE as its models call them, always varifocal, and the matcher of both.

What comes layer by layer is summed here. Queries are those of the decoder; without denoising queries the first of
several layers is the encoder's, as in the models. D-FINE takes every number of a predicted box for one between 0 and 1.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.losses.detr.layers import dn_positions
from lossref.targets import packages
from lossref.targets.packages import Row

COSTS = {f"{name}_gain": f"matcher_{name}_cost" for name in ("class", "bbox", "giou")}
COSTS |= {"alpha": "matcher_alpha", "gamma": "matcher_gamma", "use_fl": "use_focal_loss"}
LOSS = {f"matcher_{name}": setting for name, setting in COSTS.items() if name != "use_fl"}
LOSS |= {"class_gain": "weight_loss_vfl", "bbox_gain": "weight_loss_bbox", "giou_gain": "weight_loss_giou"}
LOSS |= {"alpha": "focal_loss_alpha", "gamma": "focal_loss_gamma", "aux_loss": "auxiliary_loss"}
TERMS = ("vfl", "bbox", "giou")


class Outputs(NamedTuple):
    """Boxes and scores of the decoder (b, L, q, .), denoising queries first, and of the encoder (b, q, .).

    The losses want a layer of the encoder. Where none is given it is a copy, whose terms do not count.
    """

    decoder: tuple[Tensor, Tensor]
    encoder: tuple[Tensor, Tensor]
    counts: bool


def matched(kind: Any, *x: Tensor, **params: Any) -> Tensor:
    """The object of every query, -1 for none."""
    (config, objects), grid = asked("RTDetrConfig", x, COSTS, params), torch.full(x[0].shape[:2], -1, device="cpu")
    for image, (query, which) in enumerate(kind(config)({"logits": x[1], "pred_boxes": x[0]}, objects)):
        grid[image, query.cpu()] = which.cpu() + sum(len(one["boxes"]) for one in objects[:image])
    return grid.to(x[0].device)


def losses(entry: Any, *x: Tensor, dn_num_group: int = 2, **params: Any) -> tuple[Tensor, ...]:
    """The terms of the last layer and of the others; the same of the denoising queries, if there are any."""
    config, objects = asked("RTDetrConfig", x, LOSS, params)
    return _entered(entry, config, objects, x, dn_num_group)


def fine(entry: Any, *x: Tensor, dn_num_group: int = 2, **params: Any) -> tuple[Tensor, ...]:
    """The same of D-FINE. Its losses of the corners, of which there is no spec, get some that say nothing."""
    config, objects = asked("DFineConfig", x, LOSS, params)
    queries = outputs(x).decoder[0]
    corners = queries.new_zeros(*queries.shape[:3], 4 * (config.max_num_bins + 1))
    points = queries.new_full(queries.shape, 0.5)
    more = {"predicted_corners": corners, "initial_reference_points": points}
    return _entered(entry, config, objects, x, dn_num_group, **more)


def _entered(
    entry: Any, config: Any, objects: list[dict[str, Tensor]], x: tuple[Tensor, ...], dn_num_group: int, **more: Tensor
) -> tuple[Tensor, ...]:
    """What a model trains on, in its terms. Raises ValueError where these are not all of it."""
    found, meta = outputs(x), None
    (boxes, scores), (first_boxes, first_scores) = found.decoder, found.encoder
    if x[5:]:
        places = dn_positions([len(one["boxes"]) for one in objects], x[5].shape[2], dn_num_group)
        split = [x[5].shape[2], x[0].shape[2]]
        meta = {"dn_positive_idx": places, "dn_num_group": dn_num_group, "dn_num_split": split}
    given = (scores[:, -1], objects, x[0].device, boxes[:, -1], config, scores, boxes)
    encoder = {"enc_topk_logits": first_scores, "enc_topk_bboxes": first_boxes}
    loss, parts, _ = entry(*given, **encoder, denoising_meta_values=meta, **more)
    if not torch.isclose(loss, sum(parts.values()), equal_nan=True):
        raise ValueError(f"the loss is {float(loss)}, what it lists is {float(sum(parts.values()))}")
    last, zero = boxes.shape[1] - 1, x[0].new_zeros(())
    others = range(last + found.counts) if config.auxiliary_loss else ()
    summed = [[""], [f"_aux_{layer}" for layer in others]]
    summed += [[f"_dn_{last}"], [f"_dn_{layer}" for layer in range(last)]] if x[5:] else []
    return tuple(sum((parts[f"loss_{name}{key}"] for key in keys), zero) for keys in summed for name in TERMS)


def outputs(x: tuple[Tensor, ...]) -> Outputs:
    """What decoder and encoder would have given of pred_bboxes, pred_scores, ... (L, b, q, .)."""
    boxes, scores = (part.transpose(0, 1) for part in x[:2])
    if x[5:]:
        noisy = (part.transpose(0, 1) for part in x[5:7])
        both, all_scores = (torch.cat(pair, 2) for pair in zip(noisy, (boxes, scores), strict=True))
        return Outputs((both, all_scores), (boxes[:, 0].detach(), scores[:, 0].detach()), False)
    if len(x[0]) == 1:
        return Outputs((boxes, scores), (boxes[:, 0].detach(), scores[:, 0].detach()), False)
    return Outputs((boxes[:, 1:], scores[:, 1:]), (boxes[:, 0], scores[:, 0]), True)


def asked(
    kind: str, x: tuple[Tensor, ...], names: dict[str, str], params: dict[str, Any]
) -> tuple[Any, list[dict[str, Tensor]]]:
    """The configuration, and the objects image by image."""
    settings = {"num_labels": x[1].shape[-1], **{names[name]: value for name, value in params.items()}}
    objects = packages.by_image(x[0].shape[-3], *x[2:5])
    return packages.find(f"transformers.{kind}")(**settings), [{"class_labels": c, "boxes": b} for c, b in objects]


RTDETR, DFINE = "transformers.loss.loss_rt_detr.RTDetr", "transformers.loss.loss_d_fine.DFine"
ENTRY = "ForObjectDetectionLoss"
DECLARED = {"eps": 0.0, "use_fl": True, "use_vfl": True, "vfl_empty": "varifocal", "counted": "objects"}
NOISY = {**DECLARED, "dn_empty": "groups", "aux_loss": True}  # without auxiliary losses no denoising query counts
ALONE, WITH_DN = tuple(LOSS), (*(name for name in LOSS if name != "aux_loss"), "dn_num_group")
SINGLE = ("float32",)  # of its losses of the corners, which come with the others
CLAMPED = {"varied": "it clamps predicted boxes to between 0 and 1, and these go beyond"}
ROWS = (
    Row("hungarian", f"{RTDETR}HungarianMatcher", matched, tuple(COSTS), {"eps": 0.0}),
    Row("detr", f"{RTDETR}{ENTRY}", losses, ALONE, DECLARED),
    Row("detr", f"{DFINE}{ENTRY}", fine, ALONE, DECLARED, CLAMPED, "D-FINE", SINGLE),
    Row("rtdetr", f"{RTDETR}{ENTRY}", losses, WITH_DN, NOISY),
    Row("rtdetr", f"{DFINE}{ENTRY}", fine, WITH_DN, NOISY, CLAMPED, "D-FINE", SINGLE),
)
version, targets = partial(packages.version, "transformers"), partial(packages.targets, ROWS, "transformers")
