"""Careless versions of the segmentation loss: one step of its mask or semantic term done wrong, or variants."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from lossref.core.declare import impostor
from lossref.core.nouns import Target
from lossref.losses.classification.bce import bce
from lossref.losses.detection.batch import rows_at
from lossref.losses.detection.terms import Found
from lossref.losses.masks.bce_dice import bce_dice
from lossref.losses.masks.crop_mask import crop_mask
from lossref.losses.segmentation.cases import MASK_PARAMS, SEMANTIC_PARAMS
from lossref.losses.segmentation.terms import detected

NOT_OF_DETECTION = (*MASK_PARAMS, *SEMANTIC_PARAMS)


class Step(NamedTuple):
    """What the mask term is made of: positives, their coefficients (n, k), prototypes, masks, (W, H, W, H)."""

    found: Found
    coefficients: Tensor
    proto: Tensor
    masks: Tensor
    size: Tensor
    p: dict[str, Any]


def _sized(s: Step, how: str) -> tuple[Tensor, Tensor]:
    """Prototypes and masks at one size."""
    shape = s.masks.shape[1:]
    masks = s.masks.to(s.proto.dtype)
    if shape == s.proto.shape[2:]:
        return s.proto, masks
    if how == "masks resized":
        return s.proto, interpolate(masks[None], size=s.proto.shape[2:], mode="nearest")[0]
    if how == "prototypes nearest":
        return interpolate(s.proto, size=shape, mode="nearest"), masks
    return interpolate(s.proto, size=shape, mode="bilinear", align_corners=how == "corners aligned"), masks


def wrong_seg(s: Step, how: str) -> Tensor:
    """The mask term with whole maps for each positive, without gain, one step as `how` says."""
    proto, masks = _sized(s, how)
    image, _, number, _ = s.found.positives
    if s.p["overlap"]:
        target = (masks[image] == (number if how == "value g" else number + 1)[:, None, None]).to(proto.dtype)
    else:
        target = masks[number if how == "masks by number" else s.found.slots.row[image, number]]
    box = s.found.target_boxes / s.size
    height, width = proto.shape[2:]
    cost = bce(torch.einsum("nk,nkhw->nhw", s.coefficients, proto[image]), target)
    if how != "not cropped":
        cost = crop_mask(cost, box * box.new_tensor([width, height, width, height]))
    each = cost.mean((1, 2))
    if how == "mean over the crop":
        each = each * (height * width) / (cost.detach() != 0).sum((1, 2)).clamp(min=1)
    elif how != "area ignored":
        each = each / ((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]))
    if how == "mean over the images":
        count = image.bincount(minlength=len(proto)).to(each.dtype)
        return (each / count[image]).sum() / (count > 0).sum()
    return each.sum() / len(each)


def wrong_semseg(logits: Tensor, masks: Tensor, sem_masks: Tensor, how: str) -> Tensor:
    """The semantic term with a one-hot target, without gain; masks number the objects."""
    target = one_hot(sem_masks, logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)
    if how == "background class 0":
        target = one_hot(sem_masks * (masks != 0), logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)
    elif how == "class 0 blanked":
        target = torch.cat([torch.zeros_like(target[:, :1]), target[:, 1:]], 1)
    return bce_dice(logits, target)


def with_rules(reference: Callable[..., Any], **changed: Any) -> Callable[..., Any]:
    """The reference under other parameters."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        return reference(*inputs, **{**params, **changed})

    return loss


def with_seg(reference: Callable[..., Any], how: str) -> Callable[..., Any]:
    """The reference with a careless mask term."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        terms, (boxes, scores, coefficients, proto, _, *objects, masks, _) = reference(*inputs, **params), inputs
        own = {name: value for name, value in params.items() if name not in NOT_OF_DETECTION}
        found, _, (height, width) = detected(boxes, scores, *objects, **own)
        if not len(found.positives.image):
            return terms
        rows = rows_at(coefficients, found.positives.image, found.positives.anchor)
        step = Step(found, rows, proto, masks, rows.new_tensor([width, height, width, height]), params)
        return terms._replace(seg=wrong_seg(step, how) * params["box_gain"] * len(boxes))

    return loss


def with_semseg(reference: Callable[..., Any], how: str) -> Callable[..., Any]:
    """The reference with a careless semantic term, where masks number the objects."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        terms, (*_, masks, sem_masks) = reference(*inputs, **params), inputs
        if not params["overlap"] or not params["semantic"]:
            return terms
        cost = wrong_semseg(inputs[4], masks, sem_masks, how)
        return terms._replace(semseg=cost * params["box_gain"] * len(masks))

    return loss


def impostors(reference: Callable[..., Any]) -> tuple[Target, ...]:
    """The impostors of the loss with the terms box, seg, cls, dfl, semseg."""
    seg, semseg = partial(with_seg, reference), partial(with_semseg, reference)

    def another_order(*inputs: Tensor, **params: Any) -> Any:
        box, mask, cls, dfl, semantic = reference(*inputs, **params)
        return box, cls, dfl, mask, semantic

    def class_gain(*inputs: Tensor, **params: Any) -> Any:
        terms = reference(*inputs, **params)
        return terms._replace(seg=terms.seg / params["box_gain"] * params["cls_gain"])

    return (
        impostor("value g", "mask value g instead of g + 1", "value", seg("value g")),
        impostor("area ignored", "not divided by the area of the box", "value reduced", seg("area ignored")),
        impostor("mean over the crop", "divided by the pixels kept", "value reduced", seg("mean over the crop")),
        impostor("mean over the images", "each image averaged first", "value", seg("mean over the images")),
        impostor("not cropped", "all pixels count", "value reduced", seg("not cropped")),
        impostor("masks resized", "masks brought to the prototypes", "value", seg("masks resized")),
        impostor("prototypes nearest", "resized by nearest neighbour", "value", seg("prototypes nearest")),
        impostor("corners aligned", "resized with align_corners", "value", seg("corners aligned")),
        impostor("masks by number", "object g of the batch, not of the image", "value", seg("masks by number")),
        impostor("not masked", "semantic classes beside the instances count", "value", semseg("not masked")),
        impostor("background class 0", "pixels without instance are class 0", "value", semseg("background class 0")),
        impostor("class 0 blanked", "class 0 taken for the background", "value", semseg("class 0 blanked")),
        impostor("gain of its own", "the gain of the class term", "value reduced", class_gain),
        impostor("another order", "box, cls, dfl, seg", "value reduced", another_order),
        impostor("rounded", "crops at rounded edges (D1)", "value", with_rules(reference, crop="rounded")),
        impostor("truncated", "D3, as upstream", "value", with_rules(reference, separate_masks="truncated")),
        impostor("class0", "D4, as upstream", "value", with_rules(reference, semantic_background="class0")),
    )
