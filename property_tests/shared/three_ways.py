"""Three ways to the numbers of an elementary loss: the torch reference, upstream's class and the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossref.core.nouns import Case
from lossref.losses import spec as spec_named
from lossref.losses.box_terms.bbox import BboxLoss
from lossref.losses.box_terms.dfl import DFLoss
from lossref.losses.box_terms.rotated_bbox import RotatedBboxLoss
from lossref.losses.classification.classification import v8ClassificationLoss
from lossref.losses.classification.focal import FocalLoss
from lossref.losses.classification.varifocal import VarifocalLoss
from lossref.losses.keypoints.keypoint import KeypointLoss
from lossref.losses.keypoints.rle import RLELoss
from lossref.losses.masks.bce_dice import BCEDiceLoss
from lossref.losses.masks.dice import MultiChannelDiceLoss
from lossref.oracle.answers import answer, floats, weights
from shared.digits import disagreements

Array = np.ndarray[Any, Any]
Inputs = Mapping[str, Any]
Build = Callable[..., Callable[..., Any]]
f64, f32, f16, bf16 = torch.float64, torch.float32, torch.float16, torch.bfloat16


class Found(NamedTuple):
    """Values by term, and the gradient of their plain sum by input."""

    terms: Mapping[str, Array]
    gradient: Mapping[str, Array]

    @property
    def value(self) -> Array:
        """Of a loss with one term."""
        (only,) = self.terms.values()
        return only


class Anchor(NamedTuple):
    """Printed numbers: of each term, and chosen parts of the gradient by (input, index)."""

    name: str
    spec: str
    inputs: Inputs
    terms: Mapping[str, str]
    params: Mapping[str, Any] = {}
    gradient: tuple[tuple[str, Any, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.spec}, {self.name}"


def keypoint_class(**params: Any) -> Callable[..., Tensor]:
    return lambda pred, gt, mask, area, sigmas: KeypointLoss(sigmas)(pred, gt, mask, area)


def classification_class(**params: Any) -> Callable[..., Tensor]:
    return lambda logits, cls: v8ClassificationLoss()(logits, {"cls": cls})[0]


CLASSES: dict[str, Build] = {
    "varifocal": VarifocalLoss,
    "focal": FocalLoss,
    "dfl": DFLoss,
    "dice": MultiChannelDiceLoss,
    "bce_dice": BCEDiceLoss,
    "bbox": BboxLoss,
    "rotated_bbox": RotatedBboxLoss,
    "rle": RLELoss,
    "keypoint": keypoint_class,
    "classification": classification_class,
}
BY_ROW = ("iou", "giou", "diou", "ciou", "dfl", "dice")  # the others give one number a term
OWNERS = {"pred_bboxes": "iou", "pred_dist": "dfl"}  # the term that an input of a box loss has an effect on


def tensors(spec: str, inputs: Inputs, dtype: torch.dtype = f64, grad: bool = False) -> dict[str, Tensor]:
    """The inputs in the order of the spec, in this dtype where the spec leaves it open."""
    domains, wrt = spec_named(spec).inputs, spec_named(spec).wrt
    kinds = {name: getattr(torch, domains[name].dtype) if domains[name].dtype else dtype for name in inputs}
    return {name: torch.tensor(inputs[name], dtype=kinds[name], requires_grad=grad and name in wrt) for name in domains}


def by_torch(build: Build, spec: str, inputs: Inputs, params: Any) -> Found:
    """Each term in float64, and the gradient of the plain sum."""
    one_spec, leaves = spec_named(spec), tensors(spec, inputs, grad=True)
    out = build(**params)(*leaves.values())
    outs = dict(zip(one_spec.terms, (out,) if isinstance(out, Tensor) else out, strict=True))
    assert all(x.dtype == f64 and (x.shape == () or spec in BY_ROW) for x in outs.values())
    total, wrt = sum(x.sum() for x in outs.values()), [leaves[name] for name in one_spec.wrt]
    grads = torch.autograd.grad(total, wrt, allow_unused=spec == "rle")  # not residual, its error has no effect
    slopes = {name: g.numpy() for name, g in zip(one_spec.wrt, grads, strict=True) if g is not None}
    return Found({term: x.detach().numpy() for term, x in outs.items()}, slopes)


def by_reference(spec: str, inputs: Inputs, params: Any) -> Found:
    return by_torch(partial(partial, spec_named(spec).reference), spec, inputs, params)


def by_class(spec: str, inputs: Inputs, params: Any) -> Found:
    return by_torch(CLASSES[spec], spec, inputs, params)


def by_oracle(spec: str, inputs: Inputs, params: Any) -> Found:
    """The oracle's gradient is that of a weighted sum; each input here has an effect on one term."""
    one_spec = spec_named(spec)
    arrays = {name: np.asarray(x, dtype=np.float64) for name, x in inputs.items()}
    truth = answer(one_spec, Case(spec, arrays, params))
    factor = dict(zip(one_spec.terms, weights((len(one_spec.terms),)).tolist(), strict=True))
    owner = OWNERS if len(one_spec.terms) > 1 else dict.fromkeys(truth.gradient, one_spec.terms[0])
    slopes = {name: floats(g) / factor[owner[name]] for name, g in truth.gradient.items()}
    return Found({term: floats(truth.value[term]) for term in one_spec.terms}, slopes)


WAYS = {"reference": by_reference, "class": by_class, "oracle": by_oracle}


def asked(anchors: Iterable[Anchor]) -> list[tuple[str, Anchor]]:
    """Every anchor in every way there is."""
    return [(way, anchor) for anchor in anchors for way in WAYS if way != "class" or anchor.spec in CLASSES]


def wrong_values(way: str, anchor: Anchor) -> list[str]:
    """What differs from the printed values."""
    terms = WAYS[way](anchor.spec, anchor.inputs, anchor.params).terms
    return [text for term, printed in anchor.terms.items() for text in disagreements(terms[term], printed)]


def wrong_slopes(way: str, anchor: Anchor) -> list[str]:
    """What differs from the printed parts of the gradient."""
    found = WAYS[way](anchor.spec, anchor.inputs, anchor.params)
    assert all(x.size == 1 for x in found.terms.values())
    wanted = [(found.gradient[name][index], printed) for name, index, printed in anchor.gradient]
    return [text for got, printed in wanted for text in disagreements(got, printed)]


class Mistake(NamedTuple):
    """A row of the table: what is asked, the right number and the one that the mistake gives.

    `at` is a term, or (input, index) of a gradient.
    """

    row: int
    impostor: str
    spec: str
    inputs: Inputs
    at: str | tuple[str, tuple[int, ...]]
    right: str
    wrong: str
    params: Mapping[str, Any] = {}

    def __str__(self) -> str:
        return f"row {self.row}, {self.impostor}"

    def of(self, found: Found) -> float:
        """The number the row is about, out of value and gradient."""
        got = found.terms[self.at] if isinstance(self.at, str) else found.gradient[self.at[0]][self.at[1]]
        return float(got.item())


def by_way(way: str, mistake: Mistake) -> float:
    """The number of the row, got right."""
    return mistake.of(WAYS[way](mistake.spec, mistake.inputs, mistake.params))


def by_mistake(mistake: Mistake, careless: Mapping[str, Callable[..., Tensor]] = {}) -> float:
    """The number that the careless version gives: an impostor of the spec, or one of further functions by label."""
    one_spec = spec_named(mistake.spec)
    builds = {target.label: target.build for target in one_spec.impostors}
    builds |= {label: partial(partial, function) for label, function in careless.items()}
    full = {**one_spec.defaults(), **mistake.params}
    return mistake.of(by_torch(builds[mistake.impostor], mistake.spec, mistake.inputs, full))


def given_back(spec: str, params: Mapping[str, Any], given: Iterable[Any]) -> tuple[Tensor, ...]:
    """The terms that the class gives for these arguments."""
    out = CLASSES[spec](**params)(*given)
    return (out,) if isinstance(out, Tensor) else tuple(out)


def by_class_under(default: torch.dtype, spec: str, inputs: Inputs, params: Any) -> Found:
    """What the class gives under another default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        return by_class(spec, inputs, params)
    finally:
        torch.set_default_dtype(before)
