"""transformers: the RT-DETR loss, always varifocal, and its matcher. What comes layer by layer is summed here."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from lossref.losses.detr.layers import dn_positions
from lossref.targets import packages
from lossref.targets.packages import Row

COSTS = {f"{name}_gain": f"matcher_{name}_cost" for name in ("class", "bbox", "giou")}
COSTS |= {"alpha": "matcher_alpha", "gamma": "matcher_gamma", "use_fl": "use_focal_loss"}
LOSS = {f"matcher_{name}": setting for name, setting in COSTS.items() if name != "use_fl"}
LOSS |= {"class_gain": "weight_loss_vfl", "bbox_gain": "weight_loss_bbox", "giou_gain": "weight_loss_giou"}
LOSS |= {"alpha": "focal_loss_alpha", "gamma": "focal_loss_gamma"}


def matched(kind: Any, *x: Tensor, **params: Any) -> Tensor:
    """The object of every query, -1 for none."""
    (config, objects), grid = asked(x, COSTS, params), torch.full(x[0].shape[:2], -1, device="cpu")
    for image, (query, which) in enumerate(kind(config)({"logits": x[1], "pred_boxes": x[0]}, objects)):
        grid[image, query.cpu()] = which.cpu() + sum(len(one["boxes"]) for one in objects[:image])
    return grid.to(x[0].device)


def losses(kind: Any, *x: Tensor, dn_num_group: int = 2, **params: Any) -> tuple[Tensor, ...]:
    """The terms of the last layer and of the others; the same of the denoising queries, if there are any."""
    config, objects = asked(x, LOSS, params)
    layers, noisy = ([{"logits": s, "pred_boxes": b} for b, s in zip(*x[i : i + 2], strict=True)] for i in (0, 5))
    outputs, last = {**layers[-1], "auxiliary_outputs": layers[:-1]}, len(layers) - 1
    summed = [[""], [f"_aux_{layer}" for layer in range(last)]]
    if noisy:
        places = dn_positions([len(one["boxes"]) for one in objects], x[5].shape[2], dn_num_group)
        meta = {"dn_positive_idx": places, "dn_num_group": dn_num_group}
        outputs |= {"dn_auxiliary_outputs": noisy, "denoising_meta_values": meta}
        summed += [[f"_dn_{last}"], [f"_dn_{layer}" for layer in range(last)]]
    found, terms, zero = kind(config)(outputs, objects), ("vfl", "bbox", "giou"), x[0].new_zeros(())
    return tuple(sum((found[f"loss_{name}{key}"] for key in keys), zero) for keys in summed for name in terms)


def asked(x: tuple[Tensor, ...], names: dict[str, str], params: dict[str, Any]) -> tuple[Any, list[dict[str, Tensor]]]:
    """The configuration, and the objects image by image."""
    settings = {"num_labels": x[1].shape[-1], **{names[name]: value for name, value in params.items()}}
    objects = packages.by_image(x[0].shape[-3], *x[2:5])
    return packages.find("transformers.RTDetrConfig")(**settings), [{"class_labels": c, "boxes": b} for c, b in objects]


RTDETR = "transformers.loss.loss_rt_detr.RTDetr"
DECLARED = {"eps": 0.0, "use_fl": True, "use_vfl": True, "vfl_empty": "varifocal", "counted": "objects"}
ROWS = (
    Row("hungarian", f"{RTDETR}HungarianMatcher", matched, tuple(COSTS), {"eps": 0.0}),
    Row("detr", f"{RTDETR}Loss", losses, tuple(LOSS), DECLARED),
    Row("rtdetr", f"{RTDETR}Loss", losses, (*LOSS, "dn_num_group"), {**DECLARED, "dn_empty": "groups"}),
)
version, targets = partial(packages.version, "transformers"), partial(packages.targets, ROWS, "transformers")
