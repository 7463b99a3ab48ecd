"""Public bugs of whole detection losses: the loss of lossref with one step as the thread describes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from known_bugs.bug import Bug
from lossref.losses import spec
from lossref.losses.detection.batch import class_indices
from lossref.losses.detection.impostors import Inputs, Step, with_inputs, with_step
from lossref.losses.detection.settings import scene_of
from lossref.losses.detection.terms.pairs import class_cost, detect


def right(*inputs: Tensor, **p: Any) -> Any:
    return spec("v8_detection").reference(*inputs, **p)


def step_of(*inputs: Tensor, **p: Any) -> Step:
    x = Inputs(*inputs)
    scene = scene_of((x.boxes, x.scores), (x.batch_idx, x.cls, x.bboxes), **p)
    return Step(x, scene, *detect(x.boxes, x.scores, scene), p)


def not_raised(s: Step) -> Any:
    """Terms divided by the sum of the target scores as it is, 0 where nothing is assigned."""
    return s.terms._make(term * s.found.norm / s.found.positives.score.sum() for term in s.terms)


def sigmoid_twice(s: Step) -> Any:
    labels = class_indices(s.found.truth[..., 0], s.x.scores.shape[1])
    cost = class_cost(s.x.scores.sigmoid(), labels, s.found.positives, s.found.norm.dtype)
    return s.terms._replace(cls=cost / s.found.norm * s.p["cls_gain"])


def height_for_width(x: Inputs, p: dict[str, Any]) -> Inputs:
    """x is scaled by the height of the image, and y by its width."""
    height, width = p["imgsz"]
    return x._replace(bboxes=x.bboxes * x.bboxes.new_tensor([height / width, width / height] * 2))


def objects_of_all_images(x: Inputs, p: dict[str, Any]) -> Inputs:
    image, images = x.batch_idx.flatten(), len(x.boxes)
    own = (image >= 0) & (image < images)
    count = int(own.sum())
    every = torch.arange(images).repeat_interleave(count).to(image.dtype)
    cls = x.cls.reshape(len(image), *x.cls.shape[1:])[own]
    return x._replace(
        batch_idx=every.reshape(-1, *x.batch_idx.shape[1:]),
        cls=cls.repeat(images, *[1] * (cls.ndim - 1)),
        bboxes=x.bboxes[own].repeat(images, 1),
    )


given: Callable[..., Any] = partial(with_inputs, right, Inputs)
changed: Callable[..., Any] = partial(with_step, step_of)
PARAMETERS = tuple(spec("v8_detection").params)

BUGS = (
    Bug(
        "divided by no positives",
        "ultralytics/ultralytics#490",
        "pull",
        "v8_detection",
        "a batch without objects has target scores of sum 0, and the loss is NaN",
        changed(not_raised),
        right,
        PARAMETERS,
        says="S not raised",
    ),
    Bug(
        "width and height exchanged",
        "keras-team/keras#22805",
        "issues",
        "v8_detection",
        "normalised x is multiplied by the height and y by the width, which square images do not show",
        given(height_for_width),
        right,
        PARAMETERS,
        says="W and H exchanged",
    ),
    Bug(
        "objects of all images",
        "zzh8829/yolov3-tf2#146",
        "issues",
        "v8_detection",
        "the objects of a batch are put together, and every image is compared with those of the others",
        given(objects_of_all_images),
        right,
        PARAMETERS,
        says="objects of all images",
    ),
    Bug(
        "activated before the loss",
        "hunglc007/tensorflow-yolov4-tflite#157",
        "issues",
        "v8_detection",
        "class scores leave the head as probabilities, and the cross entropy takes them for logits",
        changed(sigmoid_twice),
        right,
        PARAMETERS,
        says="sigmoid twice",
    ),
)
