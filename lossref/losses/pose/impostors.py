"""Careless versions of the pose losses: the loss with one step of its keypoint terms done wrong.

A function here is a step as a mistaken version takes it; the right ones are the defaults of `PoseLoss`.
Source: spec/40-yolo.md, rows 10 to 12 of its table of mistakes; QY1, QY5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from lossref.core.declare import impostor
from lossref.core.nouns import Target
from lossref.losses.classification.bce import bce
from lossref.losses.detection.terms import Found
from lossref.losses.keypoints import rle_keypoints as rle
from lossref.losses.pose.keypoint_terms import COCO, Truth, keypoint_terms, sigmas_of, weights_of
from lossref.losses.pose.terms import Parts, parts_of

OWN = ("pose_gain", "kobj_gain", "rle_gain", "rle_sigma", "flow")  # parameters that `parts_of` does not have
Terms = tuple[Tensor, ...]
T = TypeVar("T")
Likelihood = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class Inputs(NamedTuple):
    """What a pose loss is given; v8_pose has no kpts_sigma."""

    boxes: Tensor
    scores: Tensor
    kpts: Tensor
    kpts_sigma: Tensor | None
    batch_idx: Tensor
    cls: Tensor
    bboxes: Tensor
    keypoints: Tensor


def without_sigma(boxes: Tensor, scores: Tensor, kpts: Tensor, *objects: Tensor) -> Inputs:
    """The inputs of v8_pose."""
    return Inputs(boxes, scores, kpts, None, *objects)


def unchanged(x: T, *more: Any) -> T:
    return x


# Before the assignment ------------------------------------------------------------------------------------------


def written_into(x: Inputs, imgsz: Sequence[float]) -> Inputs:
    before = x.keypoints.clone()
    x.keypoints[..., :2] *= imgsz[0]
    return x._replace(keypoints=before)


# Decoded keypoints (n, K, D), and truth at the positives --------------------------------------------------------


def offset_forgotten(pred: Tensor) -> Tensor:
    return torch.cat([pred[..., :2] + 0.5, pred[..., 2:]], -1)


def area_in_pixels(truth: Truth, found: Found, imgsz: Sequence[float]) -> Truth:
    return truth._replace(area=truth.area * found.stride**2)


def area_of_segments(truth: Truth, found: Found, imgsz: Sequence[float]) -> Truth:
    return truth._replace(area=truth.area * 0.53)


def sides_exchanged(truth: Truth, found: Found, imgsz: Sequence[float]) -> Truth:
    height, width = imgsz
    return truth._replace(points=truth.points * truth.points.new_tensor([height / width, width / height]))


def all_visible(truth: Truth, found: Found, imgsz: Sequence[float]) -> Truth:
    return truth._replace(visible=torch.ones_like(truth.visible))


# The visibility term, from its logits, which keypoints are visible, and the visibility as it is labelled ----------


def over_all(logit: Tensor, visible: Tensor, label: Tensor) -> Tensor:
    return bce(logit, visible.to(logit.dtype)).mean()


def over_visible(logit: Tensor, visible: Tensor, label: Tensor) -> Tensor:
    return bce(logit[visible], torch.ones_like(logit[visible])).mean()


def visible_above_1(logit: Tensor, visible: Tensor, label: Tensor) -> Tensor:
    return bce(logit, (label > 1).to(logit.dtype)).mean()


def raw_visibility(logit: Tensor, visible: Tensor, label: Tensor) -> Tensor:
    return bce(logit, label).mean()


# The likelihood term, from predictions, positions, which are visible, and the weights of the keypoints ------------


def nonnegative(pred: Tensor, points: Tensor, visible: Tensor, weights: Tensor) -> Tensor:
    return rle.rle_keypoints(pred, points, visible, weights).clamp(min=0)


def careless_rle(label: str) -> Likelihood:
    """The loss with the likelihood of an impostor of rle_keypoints."""
    spec = rle.SPEC
    careless = {target.label: target.build(**spec.defaults()) for target in spec.impostors}[label]
    return lambda pred, points, visible, weights: careless(pred, points, visible, weights).clamp(min=0)


# All terms (box, pose, kobj, cls, dfl[, rle]) with gains ----------------------------------------------------------


def kobj_first(terms: Terms, truth: Truth | None) -> Terms:
    box, pose, kobj, *rest = terms
    return box, kobj, pose, *rest


def cut_off(terms: Terms, truth: Truth | None) -> Terms:
    if truth is not None:
        return terms
    *keypoints, cls, dfl = terms[:5]
    return *(term.detach() for term in keypoints), cls, *(term.detach() for term in (dfl, *terms[5:]))


@dataclass(frozen=True)
class PoseLoss:
    """A pose loss in steps: the form of the decoding, the names of the inputs, and what is done to them."""

    form: str
    named: Callable[..., Inputs]
    given: Callable[[Inputs, Sequence[float]], Inputs] = unchanged
    decoded: Callable[[Tensor], Tensor] = unchanged
    true: Callable[[Truth, Found, Sequence[float]], Truth] = unchanged
    constants: tuple[int, int] | None = COCO  # the kpt_shape that has sigmas and weights of its own
    kobj: Callable[[Tensor, Tensor, Tensor], Tensor] = over_all
    likelihood: Likelihood = nonnegative
    finished: Callable[[Terms, Truth | None], Terms] = unchanged

    def __call__(self, *inputs: Tensor, **p: Any) -> Terms:
        """The terms with gains and the factor b."""
        x, shape = self.given(self.named(*inputs), p["imgsz"]), p["kpt_shape"]
        settings = {name: value for name, value in p.items() if name not in OWN}
        parts = self._changed(parts_of(*x, form=self.form, **settings), p["imgsz"])
        constants = tuple(shape) == self.constants
        sigmas = sigmas_of(shape, parts.pred.dtype, constants)
        pose, kobj = keypoint_terms(parts.pred, parts.truth, sigmas, shape[1] == 3)
        kobj = self._visibility(parts, x.keypoints, kobj)
        box, cls, dfl = parts.terms
        terms: Terms = (box, pose * p["pose_gain"], kobj * p["kobj_gain"], cls, dfl)
        if x.kpts_sigma is not None:
            weights = weights_of(shape, constants).to(parts.pred)
            terms = (*terms, self._likelihood(parts, weights, p["flow"]) * p["rle_gain"])
        return tuple(term * len(x.boxes) for term in self.finished(terms, parts.truth))

    def _changed(self, parts: Parts, imgsz: Sequence[float]) -> Parts:
        if parts.truth is None:
            return parts
        return parts._replace(pred=self.decoded(parts.pred), truth=self.true(parts.truth, parts.found, imgsz))

    def _visibility(self, parts: Parts, keypoints: Tensor, cost: Tensor) -> Tensor:
        """The term where predictions and keypoints have a visibility, else the cost."""
        found, _, pred, truth = parts
        if truth is None or pred.shape[-1] not in (3, 5) or keypoints.shape[-1] < 3:
            return cost
        return self.kobj(pred[..., 2], truth.visible, keypoints[found.row][..., 2].to(pred.dtype))

    def _likelihood(self, parts: Parts, weights: Tensor, flow: bool) -> Tensor:
        if parts.truth is None or not flow:
            return parts.pred[:0].sum()
        return self.likelihood(parts.pred, parts.truth.points, parts.truth.visible, weights)


V8, V26 = PoseLoss("v8", without_sigma), PoseLoss("26", Inputs)


def v8_impostors() -> tuple[Target, ...]:
    """The impostors of v8_pose."""
    forgotten = replace(V8, decoded=offset_forgotten)
    own = impostor("offset forgotten", "2 x + p without - 1/2", "value reduced", forgotten)
    return *_impostors(V8, other=V26), own


def impostors26() -> tuple[Target, ...]:
    """The impostors of pose26."""

    def of(likelihood: Likelihood) -> PoseLoss:
        return replace(V26, likelihood=likelihood)

    def careless(label: str, why: str, caught_by: str) -> Target:
        return impostor(label, why, caught_by, of(careless_rle(label)))

    return (
        *_impostors(V26, other=V8),
        careless("exp", "sigma = exp instead of sigmoid", "value reduced"),
        careless("divided by all keypoints", "invisible ones count", "value reduced"),
        careless("weights ignored", "every keypoint weighs 1", "value"),
        careless("no clamp of the error", "outliers decide", "value"),
        impostor("no max(0, .)", "a negative loss", "value", of(rle.rle_keypoints)),
        careless("error with detached sigma", "sigma is trained by its logarithm only", "gradient reduced"),
        careless("unbounded", "ln 0 gives a NaN gradient (upstream, D5)", "kinks"),
    )


def _impostors(right: PoseLoss, other: PoseLoss) -> tuple[Target, ...]:
    """What either loss may get wrong; `other` is the loss of the other head."""
    of = partial(replace, right)
    turned = of(form=other.form)
    return (
        impostor("decoding of the other head", "one decoding for both pose losses", "value reduced", turned),
        impostor("area in pixels", "area not divided by the stride squared", "value reduced", of(true=area_in_pixels)),
        impostor("area times 0.53", "the area of COCO's segments", "value reduced", of(true=area_of_segments)),
        impostor("W and H exchanged", "keypoints scaled by (H, W)", "value", of(true=sides_exchanged)),
        impostor("all visible", "labels of visibility 0 count", "value reduced", of(true=all_visible)),
        impostor("uniform sigmas", "1/17 instead of the OKS sigmas", "value", of(constants=None)),
        impostor(
            "kobj over visible keypoints", "the mean is over all keypoints", "value reduced", of(kobj=over_visible)
        ),
        impostor("visible above 1", "visibility 1 counts as invisible", "value reduced", of(kobj=visible_above_1)),
        impostor("raw visibility", "0, 1, 2 as target of the visibility", "value reduced", of(kobj=raw_visibility)),
        impostor("writes into keypoints", "scales its argument in place", "pure", of(given=written_into)),
        impostor("no gradient without positives", "constants in an empty batch", "connected", of(finished=cut_off)),
        impostor("another order", "box, kobj, pose", "value reduced", of(finished=kobj_first)),
    )
