"""Careless versions of the detection loss: the reference with changed inputs, or with one step done wrong.

v8_obb goes wrong in some of the same ways: what has no underscore takes the inputs and terms of either.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.declare import impostor
from lossref.core.nouns import Target
from lossref.losses.box_terms.bbox import bbox_terms
from lossref.losses.detection.batch import class_indices, rows_at
from lossref.losses.detection.settings import Scene, scene_of
from lossref.losses.detection.terms.pairs import class_cost, detect
from lossref.losses.detection.terms.parts import Found
from lossref.losses.overlap.ciou import ciou

Detection = Callable[..., Any]


class Inputs(NamedTuple):
    """What the loss is given."""

    boxes: Tensor
    scores: Tensor
    batch_idx: Tensor
    cls: Tensor
    bboxes: Tensor


def sorted_objects(x: Any, p: dict[str, Any]) -> Any:
    return x._replace(batch_idx=x.batch_idx.sort().values)


def _foreign_kept(x: Inputs, p: dict[str, Any]) -> Inputs:
    return x._replace(batch_idx=x.batch_idx.clamp(0, len(x.boxes) - 1).floor())


def _of_all_images(x: Inputs, p: dict[str, Any]) -> Inputs:
    """Every object of the batch is one of every image."""
    image, images = x.batch_idx.flatten(), len(x.boxes)
    own = (image >= 0) & (image < images)
    every = torch.arange(images).to(image).repeat_interleave(int(own.sum())).reshape(-1, *x.batch_idx.shape[1:])
    return Inputs(x.boxes, x.scores, every, torch.cat([x.cls[own]] * images), torch.cat([x.bboxes[own]] * images))


def _sides_exchanged(x: Inputs, p: dict[str, Any]) -> Inputs:
    height, width = p["imgsz"]
    return x._replace(bboxes=x.bboxes * x.bboxes.new_tensor([height / width, width / height] * 2))


def _bins_first(x: Inputs, p: dict[str, Any]) -> Inputs:
    return x._replace(boxes=torch.unflatten(x.boxes, 1, (p["reg_max"], 4)).transpose(1, 2).flatten(1, 2))


def _bins_cut_off(x: Inputs, p: dict[str, Any]) -> Inputs:
    return x._replace(boxes=x.boxes.clamp(-50, 50))


def _anchors_by_column(x: Inputs, p: dict[str, Any]) -> Inputs:
    height, width = p["imgsz"]
    order: list[int] = []
    for s in p["strides"]:
        cells = torch.arange((height // s) * (width // s)).reshape(width // s, height // s) + len(order)
        order += cells.t().flatten().tolist()
    return x._replace(boxes=x.boxes[..., order], scores=x.scores[..., order])


def with_inputs(
    reference: Detection, named: Callable[..., Any], change: Callable[[Any, dict[str, Any]], Any]
) -> Detection:
    """The reference, asked about changed inputs, which `named` gives their names."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        return reference(*change(named(*inputs), params), **params)

    return loss


class Step(NamedTuple):
    """Everything at hand after the assignment: inputs and terms by name; terms carry gains, not the factor b."""

    x: Any
    scene: Scene
    found: Found
    terms: Any
    p: dict[str, Any]


def with_step(step_of: Callable[..., Step], change: Callable[[Step], Any]) -> Detection:
    """A loss with its terms changed after the assignment."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        step = step_of(*inputs, **params)
        return step.terms._make(term * len(step.x.boxes) for term in change(step))

    return loss


def norm_not_raised(s: Step) -> Any:
    factor = s.found.norm / s.found.positives.score.sum()
    return s.terms._make(term * factor for term in s.terms)


def hard_targets(s: Step) -> Any:
    sure = s.found.positives._replace(score=torch.ones_like(s.found.positives.score))
    labels = class_indices(s.found.truth[..., 0], s.x.scores.shape[1])
    cost = class_cost(s.x.scores, labels, sure, s.found.norm.dtype)
    return s.terms._replace(cls=cost / s.found.norm * s.p["cls_gain"])


def _sigmoid_twice(s: Step) -> Any:
    labels = class_indices(s.found.truth[..., 0], s.x.scores.shape[1])
    cost = class_cost(s.x.scores.sigmoid(), labels, s.found.positives, s.found.norm.dtype)
    return s.terms._replace(cls=cost / s.found.norm * s.p["cls_gain"])


def without_images(s: Step) -> Any:
    return s.terms._make(term / max(len(s.x.boxes), 1) for term in s.terms)


def _by_positives(s: Step) -> Any:
    factor = s.found.norm / max(len(s.found.positives.score), 1)
    return s.terms._make(term * factor for term in s.terms)


def _mean_over_classes(s: Step) -> Any:
    return s.terms._replace(cls=s.terms.cls * s.found.norm / s.x.scores.numel())


def _first_stride(s: Step) -> Any:
    """Target boxes in cells of the first level, whatever the level of the anchor."""
    target = s.found.target_boxes / float(s.p["strides"][0])
    rows = rows_at(s.x.boxes, s.found.positives.image, s.found.positives.anchor)
    box, dfl = bbox_terms(
        rows,
        s.found.pred_boxes,
        s.found.points,
        target,
        s.found.positives.score,
        s.found.norm,
        s.scene.grid.imgsz,
        s.found.stride,
        s.p["reg_max"],
        ciou_alpha=s.p["ciou_alpha"],
    )
    return s.terms._replace(box=box * s.p["box_gain"], dfl=dfl * s.p["dfl_gain"])


def _targets_attached(s: Step) -> Any:
    """The target scores follow the overlap, and are differentiated."""
    f = s.found
    own = ciou(f.target_boxes / f.stride, f.pred_boxes)
    ratio = own / own.detach()
    weight = f.positives.score * torch.where(ratio.isnan(), 1.0, ratio)
    loss = (weight * (1 - ciou(f.pred_boxes, f.target_boxes / f.stride, s.p["ciou_alpha"]))).sum() / f.norm
    return s.terms._replace(box=loss * s.p["box_gain"])


def _step(*inputs: Tensor, **params: Any) -> Step:
    x = Inputs(*inputs)
    scene = scene_of((x.boxes, x.scores), (x.batch_idx, x.cls, x.bboxes), **params)
    return Step(x, scene, *detect(x.boxes, x.scores, scene), params)


def _no_path(reference: Detection) -> Detection:
    """Constant zeros without positives, from which no gradient comes."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        box, cls, dfl = reference(*inputs, **params)
        return (box, cls, dfl) if box.item() or dfl.item() else (box.detach(), cls, dfl.detach())

    return loss


def _another_order(reference: Detection) -> Detection:
    def loss(*inputs: Tensor, **params: Any) -> Any:
        box, cls, dfl = reference(*inputs, **params)
        return box, dfl, cls

    return loss


def impostors(reference: Detection) -> tuple[Target, ...]:
    """The impostors of a spec whose reference returns box, cls and dfl."""
    given, changed = partial(with_inputs, reference, Inputs), partial(with_step, _step)
    return (
        impostor("sorted objects", "objects are taken to be sorted by image", "rare", given(sorted_objects)),
        impostor("foreign kept", "an index out of range counts for the nearest image", "rare", given(_foreign_kept)),
        impostor("objects of all images", "every image has those of the others, too", "value", given(_of_all_images)),
        impostor("W and H exchanged", "targets scaled by (H, W, H, W)", "value", given(_sides_exchanged)),
        impostor("bins first", "channels read as (R, 4)", "value reduced", given(_bins_first)),
        impostor("bins cut off", "logits of bins at +-50, against overflow", "value", given(_bins_cut_off)),
        impostor("anchors by column", "column-major anchors", "value reduced laws", given(_anchors_by_column)),
        impostor("S not raised", "S below 1 is used as it is", "value", changed(norm_not_raised)),
        impostor("by positives", "divided by the number of positives", "value reduced", changed(_by_positives)),
        impostor("mean over classes", "mean of the cross entropies", "value reduced", changed(_mean_over_classes)),
        impostor("sigmoid twice", "probabilities taken for logits in cls", "value reduced", changed(_sigmoid_twice)),
        impostor("hard targets", "1 instead of the soft target", "value reduced", changed(hard_targets)),
        impostor("first stride", "targets divided by stride[0] on all levels", "reduced", changed(_first_stride)),
        impostor("targets attached", "gradient through the target scores", "reduced", changed(_targets_attached)),
        impostor("factor b forgotten", "the items instead of the loss", "value reduced", changed(without_images)),
        impostor("no path", "constants without positives: gradient None", "connected", _no_path(reference)),
        impostor("another order", "box, dfl, cls", "value reduced", _another_order(reference)),
    )
