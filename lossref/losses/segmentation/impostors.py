"""Careless versions of the segmentation loss: one step of its mask or semantic term done wrong, or variants.

A function here is a step as a mistaken version takes it; the right ones are the defaults of `MaskTerm`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from lossref.core.declare import impostor
from lossref.core.nouns import Target
from lossref.losses.classification.bce import bce
from lossref.losses.detection.batch import rows_at
from lossref.losses.detection.settings import scene_of
from lossref.losses.detection.terms.pairs import detect
from lossref.losses.detection.terms.parts import Found, scale_of
from lossref.losses.masks.bce_dice import bce_dice
from lossref.losses.masks.crop_mask import crop_mask
from lossref.losses.segmentation.settings import MASK_PARAMS, SEMANTIC_PARAMS

NOT_OF_DETECTION = (*MASK_PARAMS, *SEMANTIC_PARAMS)


class Step(NamedTuple):
    """What the mask term is made of: positives, their coefficients (n, k), prototypes, masks, (W, H, W, H)."""

    found: Found
    coefficients: Tensor
    proto: Tensor
    masks: Tensor
    size: Tensor
    overlap: bool


# One size for prototypes and masks, where they differ -----------------------------------------------------------

Sized = tuple[Tensor, Tensor]


def bilinear(proto: Tensor, masks: Tensor) -> Sized:
    return interpolate(proto, size=masks.shape[1:], mode="bilinear", align_corners=False), masks


def corners_aligned(proto: Tensor, masks: Tensor) -> Sized:
    return interpolate(proto, size=masks.shape[1:], mode="bilinear", align_corners=True), masks


def prototypes_nearest(proto: Tensor, masks: Tensor) -> Sized:
    return interpolate(proto, size=masks.shape[1:], mode="nearest"), masks


def masks_resized(proto: Tensor, masks: Tensor) -> Sized:
    return proto, interpolate(masks[None], size=proto.shape[2:], mode="nearest")[0]


# The mask of each positive, (n, H, W) ---------------------------------------------------------------------------


def own_mask(s: Step, masks: Tensor) -> Tensor:
    image, _, number, _ = s.found.positives
    if not s.overlap:
        return masks[s.found.row]
    return (masks[image] == (number + 1)[:, None, None]).to(masks.dtype)


def value_g(s: Step, masks: Tensor) -> Tensor:
    image, _, number, _ = s.found.positives
    return (masks[image] == number[:, None, None]).to(masks.dtype) if s.overlap else own_mask(s, masks)


def masks_by_number(s: Step, masks: Tensor) -> Tensor:
    return own_mask(s, masks) if s.overlap else masks[s.found.positives.object]


# Which pixels (n, H, W) count, how they are averaged for each positive, with boxes (n, 4) from 0 to 1, and the rest


def cropped(cost: Tensor, box: Tensor) -> Tensor:
    height, width = cost.shape[1:]
    return crop_mask(cost, box * box.new_tensor([width, height, width, height]))


def not_cropped(cost: Tensor, box: Tensor) -> Tensor:
    return cost


def by_area(cost: Tensor, box: Tensor) -> Tensor:
    return cost.mean((1, 2)) / ((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]))


def area_ignored(cost: Tensor, box: Tensor) -> Tensor:
    return cost.mean((1, 2))


def mean_over_the_crop(cost: Tensor, box: Tensor) -> Tensor:
    height, width = cost.shape[1:]
    return cost.mean((1, 2)) * (height * width) / (cost.detach() != 0).sum((1, 2)).clamp(min=1)


def over_the_positives(each: Tensor, image: Tensor) -> Tensor:
    return each.sum() / len(each)


def over_the_images(each: Tensor, image: Tensor) -> Tensor:
    count = image.bincount().to(each.dtype)
    return (each / count[image]).sum() / (count > 0).sum()


@dataclass(frozen=True)
class MaskTerm:
    """The mask term with whole maps for each positive, without gain, step by step."""

    sized: Callable[[Tensor, Tensor], Sized] = bilinear
    target: Callable[[Step, Tensor], Tensor] = own_mask
    kept: Callable[[Tensor, Tensor], Tensor] = cropped
    averaged: Callable[[Tensor, Tensor], Tensor] = by_area
    mean: Callable[[Tensor, Tensor], Tensor] = over_the_positives

    def __call__(self, s: Step) -> Tensor:
        """The term at the positives of a step, 0-d."""
        proto, masks = s.proto, s.masks.to(s.proto.dtype)
        if masks.shape[1:] != proto.shape[2:]:
            proto, masks = self.sized(proto, masks)
        image, box = s.found.positives.image, s.found.target_boxes / s.size
        cost = bce(torch.einsum("nk,nkhw->nhw", s.coefficients, proto[image]), self.target(s, masks))
        return self.mean(self.averaged(self.kept(cost, box), box), image)


# The target of the semantic term, for logits (b, c, h, w) and masks that number the objects ---------------------


def not_masked(logits: Tensor, masks: Tensor, sem_masks: Tensor) -> Tensor:
    return one_hot(sem_masks, logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)


def background_class_0(logits: Tensor, masks: Tensor, sem_masks: Tensor) -> Tensor:
    return not_masked(logits, masks, sem_masks * (masks != 0))


def class_0_blanked(logits: Tensor, masks: Tensor, sem_masks: Tensor) -> Tensor:
    target = not_masked(logits, masks, sem_masks)
    return torch.cat([torch.zeros_like(target[:, :1]), target[:, 1:]], 1)


# The loss with one of its terms replaced ------------------------------------------------------------------------


def with_rules(reference: Callable[..., Any], **changed: Any) -> Callable[..., Any]:
    """The reference under other parameters."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        return reference(*inputs, **{**params, **changed})

    return loss


def with_seg(reference: Callable[..., Any], **steps: Any) -> Callable[..., Any]:
    """The reference with a careless mask term; `steps` are fields of `MaskTerm`."""
    mask_term = MaskTerm(**steps)

    def loss(*inputs: Tensor, **params: Any) -> Any:
        terms, (boxes, scores, coefficients, proto, _, *objects, masks, _) = reference(*inputs, **params), inputs
        own = {name: value for name, value in params.items() if name not in NOT_OF_DETECTION}
        scene = scene_of((boxes, scores), objects, **own)
        found, _ = detect(boxes, scores, scene)
        if not len(found.positives.image):
            return terms
        rows = rows_at(coefficients, found.positives.image, found.positives.anchor)
        step = Step(found, rows, proto, masks, scale_of(scene.grid.imgsz, rows), params["overlap"])
        return terms._replace(seg=mask_term(step) * params["box_gain"] * len(boxes))

    return loss


SemanticTarget = Callable[[Tensor, Tensor, Tensor], Tensor]


def with_semseg(reference: Callable[..., Any], target: SemanticTarget) -> Callable[..., Any]:
    """The reference with a careless target of the semantic term, where masks number the objects."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        terms, (_, _, _, _, logits, *_, masks, sem_masks) = reference(*inputs, **params), inputs
        if not params["overlap"] or not params["semantic"]:
            return terms
        cost = bce_dice(logits, target(logits, masks, sem_masks))
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
        impostor("value g", "mask value g instead of g + 1", "value", seg(target=value_g)),
        impostor("area ignored", "not divided by the area of the box", "value reduced", seg(averaged=area_ignored)),
        impostor("mean over the crop", "divided by the pixels kept", "value reduced", seg(averaged=mean_over_the_crop)),
        impostor("mean over the images", "each image averaged first", "value", seg(mean=over_the_images)),
        impostor("not cropped", "all pixels count", "value reduced", seg(kept=not_cropped)),
        impostor("masks resized", "masks brought to the prototypes", "value", seg(sized=masks_resized)),
        impostor("prototypes nearest", "resized by nearest neighbour", "value", seg(sized=prototypes_nearest)),
        impostor("corners aligned", "resized with align_corners", "value", seg(sized=corners_aligned)),
        impostor("masks by number", "object g of the batch, not of the image", "value", seg(target=masks_by_number)),
        impostor("not masked", "semantic classes beside the instances count", "value", semseg(not_masked)),
        impostor("background class 0", "pixels without instance are class 0", "value", semseg(background_class_0)),
        impostor("class 0 blanked", "class 0 taken for the background", "value", semseg(class_0_blanked)),
        impostor("gain of its own", "the gain of the class term", "value reduced", class_gain),
        impostor("another order", "box, cls, dfl, seg", "value reduced", another_order),
        impostor("rounded", "crops at rounded edges (D1)", "value", with_rules(reference, crop="rounded")),
        impostor("truncated", "D3, as upstream", "value", with_rules(reference, separate_masks="truncated")),
        impostor("class0", "D4, as upstream", "value", with_rules(reference, semantic_background="class0")),
    )
