"""transformers: the RT-DETR loss, always varifocal, and its matcher. What comes layer by layer is summed here."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lossref.blocks.matching import groups_of
from lossref.catalog import specs
from lossref.core import Target
from lossref.losses.rtdetr import dn_positions
from lossref.resolve import quietly
from lossref.torchvision_ops import importable

TERMS = ("vfl", "bbox", "giou")
COSTS = {f"{name}_gain": f"matcher_{name}_cost" for name in ("class", "bbox", "giou")}
COSTS |= {"alpha": "matcher_alpha", "gamma": "matcher_gamma"}
LOSS = {f"matcher_{name}": setting for name, setting in COSTS.items()}
LOSS |= {"class_gain": "weight_loss_vfl", "bbox_gain": "weight_loss_bbox", "giou_gain": "weight_loss_giou"}
LOSS |= {"alpha": "focal_loss_alpha", "gamma": "focal_loss_gamma"}
DECLARED = {"eps": 0.0, "use_fl": True, "use_vfl": True, "vfl_empty": "varifocal", "counted": "objects"}
UNCHECKED = {"refuses": "denoising boxes and logits of different lengths are not refused"}


def version() -> str:
    """The installed release."""
    with quietly("transformers"):
        return str(importlib.import_module("transformers").__version__)


def targets() -> list[Target]:
    """The set-prediction losses and their matcher."""
    with quietly("transformers"):
        importable("transformers.loss.loss_rt_detr")
    make, label, costs = partial(partial, _asked), "transformers", {**COSTS, "use_fl": "use_focal_loss"}
    dn, noisy = (*LOSS, "dn_num_group"), {**DECLARED, "dn_empty": "groups"}
    found = (
        Target("hungarian", partial(make, _match, costs), label, tuple(costs), {"eps": 0.0}),
        Target("detr", partial(make, _losses, LOSS), label, tuple(LOSS), DECLARED),
        Target("rtdetr", partial(make, _losses, LOSS), label, dn, noisy, known=UNCHECKED),
    )
    others = [name for name in specs() if name not in {one.spec for one in found}]
    return [*found, *(Target(name, partial, label, unsupported="transformers has no such loss") for name in others)]


def _asked(ask: Any, names: dict[str, str], *x: Tensor, dn_num_group: int = 2, **params: Any) -> Any:
    """Configure for these parameters and this number of classes, and hand over the objects image by image."""
    settings = {names[name]: value for name, value in params.items()}
    config = importlib.import_module("transformers").RTDetrConfig(num_labels=x[1].shape[-1], **settings)
    package, groups = importlib.import_module("transformers.loss.loss_rt_detr"), groups_of(x[2], x[3], x[0].shape[-3])
    objects = zip(torch.split(x[3], groups), torch.split(x[4], groups), strict=True)
    targets = [{"class_labels": cls, "boxes": boxes} for cls, boxes in objects]
    return ask(package, config, targets, groups, dn_num_group, *x)


def _match(package: Any, config: Any, targets: Any, groups: list[int], _: int, *x: Tensor) -> Tensor:
    grid = torch.full(x[0].shape[:2], -1)
    pairs = package.RTDetrHungarianMatcher(config)({"logits": x[1], "pred_boxes": x[0]}, targets)
    for image, (query, which) in enumerate(pairs):
        grid[image, query] = which + sum(groups[:image])
    return grid


def _losses(package: Any, config: Any, targets: Any, groups: list[int], dn: int, *x: Tensor) -> Any:
    layers = [{"logits": scores, "pred_boxes": boxes} for boxes, scores in zip(*x[:2], strict=True)]
    outputs, last = {**layers[-1], "auxiliary_outputs": layers[:-1]}, len(layers) - 1
    summed = [[""], [f"_aux_{layer}" for layer in range(last)]]
    if x[5:]:
        noisy = [{"logits": scores, "pred_boxes": boxes} for boxes, scores in zip(*x[5:], strict=True)]
        meta = {"dn_positive_idx": dn_positions(groups, x[5].shape[2], dn), "dn_num_group": dn}
        outputs |= {"dn_auxiliary_outputs": noisy, "denoising_meta_values": meta}
        summed += [[f"_dn_{last}"], [f"_dn_{layer}" for layer in range(last)]]
    found = package.RTDetrLoss(config)(outputs, targets)
    zero = found["loss_bbox"].new_zeros(())
    return tuple(sum((found[f"loss_{name}{key}"] for key in keys), zero) for keys in summed for name in TERMS)
