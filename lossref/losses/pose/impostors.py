"""Careless versions of the pose losses, and the corner cases that both have in common.

Each impostor is the reference with one step of the keypoint terms done wrong. Source: spec/40-yolo.md, rows 10
to 12 of its table of mistakes; QY1, QY5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.declare import corner, impostor
from lossref.core.nouns import Array, Case, Target
from lossref.core.scenes import anchors
from lossref.losses.classification.bce import bce
from lossref.losses.detection import fixture_f as f
from lossref.losses.keypoints.rle_keypoints_impostors import careless as careless_rle
from lossref.losses.pose.keypoint_terms import COCO, keypoint_terms, sigmas_of, weights_of

PartsOf = Callable[..., Any]
GAINS = ("pose_gain", "kobj_gain", "rle_gain", "rle_sigma", "flow")


def careless(parts_of: PartsOf, how: str, inputs: tuple[Tensor, ...], form: str, params: dict[str, Any]) -> Any:
    """Parts of a pose loss with one step done wrong: of the decoding, of the truth or of its area."""
    if how == "writes into keypoints":
        before = inputs[6].clone()
        inputs[6][..., :2] *= params["imgsz"][0]
        inputs = (*inputs[:6], before, *inputs[7:])
    if how == "decoding of the other head":
        form = "26" if form == "v8" else "v8"
    found, terms, pred, truth = parts_of(*inputs, form=form, **params)
    if truth is None:
        return found, terms, pred, truth
    height, width = params["imgsz"]
    if how == "offset forgotten":
        pred = torch.cat([pred[..., :2] + 0.5, pred[..., 2:]], -1)
    area = {"area in pixels": found.stride**2, "area times 0.53": 0.53}.get(how, 1.0)
    turned = pred.new_tensor([height / width, width / height] if how == "W and H exchanged" else [1.0, 1.0])
    seen = torch.ones_like(truth.visible) if how == "all visible" else truth.visible
    return found, terms, pred, truth._replace(points=truth.points * turned, area=truth.area * area, visible=seen)


def visibility_cost(how: str, found: Any, pred: Tensor, truth: Any, keypoints: Tensor, cost: Tensor) -> Tensor:
    """The visibility term done wrong, for keypoints with a visibility."""
    if truth is None or pred.shape[-1] not in (3, 5) or keypoints.shape[-1] < 3:
        return cost
    row = found.slots.row[found.positives.image, found.positives.object]
    target, logit = keypoints[row][..., 2].to(pred.dtype), pred[..., 2]
    if how == "kobj over visible keypoints":
        return bce(logit[truth.visible], torch.ones_like(logit[truth.visible])).mean()
    if how == "visible above 1":
        return bce(logit, (target > 1).to(pred.dtype)).mean()
    return bce(logit, target).mean() if how == "raw visibility" else cost


def wrong_terms(parts_of: PartsOf, how: str, form: str, inputs: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
    """(found, detection terms, pred, truth, pose, kobj), without gains of the keypoint terms."""
    detection = {name: value for name, value in params.items() if name not in GAINS}
    found, terms, pred, truth = careless(parts_of, how, inputs, form, detection)
    shape = params["kpt_shape"]
    sigmas = sigmas_of(shape, pred.dtype, tuple(shape) == COCO and how != "uniform sigmas")
    pose, kobj = keypoint_terms(pred, truth, sigmas, shape[1] == 3)
    return found, terms, pred, truth, pose, visibility_cost(how, found, pred, truth, inputs[6], kobj)


def pose_wrong(parts_of: PartsOf, how: str, form: str) -> Callable[..., Any]:
    """A careless v8_pose (form "v8"), or a careless pose26 (form "26"), whose input 3 is kpts_sigma."""

    def loss(*inputs: Tensor, **params: Any) -> Any:
        if form == "26":
            inputs = (*inputs[:3], *inputs[4:], inputs[3])
        _, (box, cls, dfl), pred, truth, pose, kobj = wrong_terms(parts_of, how, form, inputs, params)
        pose, kobj = pose * params["pose_gain"], kobj * params["kobj_gain"]
        if how == "no gradient without positives" and truth is None:
            box, pose, kobj, dfl, pred = (term.detach() for term in (box, pose, kobj, dfl, pred))
        if how == "another order":
            pose, kobj = kobj, pose
        rle = (wrong_likelihood(how, pred, truth, params),) if form == "26" else ()
        return tuple(term * len(inputs[0]) for term in (box, pose, kobj, cls, dfl, *rle))

    return loss


def wrong_likelihood(how: str, pred: Tensor, truth: Any, params: dict[str, Any]) -> Tensor:
    """The likelihood term with gain, for predictions that end with the logits of sigma."""
    if truth is None or not params["flow"]:
        return pred[:0].sum()
    shape = params["kpt_shape"]
    weights = weights_of(shape, tuple(shape) == COCO and how != "uniform sigmas")
    loss = careless_rle(pred, truth.points, truth.visible, weights.to(pred), how)
    loss = loss if how == "no max(0, .)" else loss.clamp(min=0)
    gained: Tensor = loss * params["rle_gain"]
    return gained


CARELESS = (
    ("decoding of the other head", "one decoding for both pose losses", "value reduced"),
    ("area in pixels", "area not divided by the stride squared", "value reduced"),
    ("area times 0.53", "the area of COCO's segments", "value reduced"),
    ("W and H exchanged", "keypoints scaled by (H, W)", "value"),
    ("all visible", "labels of visibility 0 count", "value reduced"),
    ("uniform sigmas", "1/17 instead of the OKS sigmas", "value"),
    ("kobj over visible keypoints", "the mean is over all keypoints", "value reduced"),
    ("visible above 1", "visibility 1 counts as invisible", "value reduced"),
    ("raw visibility", "0, 1, 2 as target of the visibility", "value reduced"),
    ("writes into keypoints", "scales its argument in place", "pure"),
    ("no gradient without positives", "constants in an empty batch", "connected"),
    ("another order", "box, kobj, pose", "value reduced"),
)
V8_ONLY = (("offset forgotten", "2 x + p without - 1/2", "value reduced"),)
RLE_ONLY = (
    ("exp", "sigma = exp instead of sigmoid", "value reduced"),
    ("divided by all keypoints", "invisible ones count", "value reduced"),
    ("weights ignored", "every keypoint weighs 1", "value"),
    ("no clamp of the error", "outliers decide", "value"),
    ("no max(0, .)", "a negative loss", "value"),
    ("error with detached sigma", "sigma is trained by its logarithm only", "gradient reduced"),
    ("unbounded", "ln 0 gives a NaN gradient (upstream, D5)", "kinks"),
)


def pose_impostors(parts_of: PartsOf, form: str, *more: Any) -> tuple[Target, ...]:
    """The impostors that pose losses share, and some more (label, why, checks)."""
    rows = (*CARELESS, *more)
    return tuple(impostor(label, why, caught, pose_wrong(parts_of, label, form)) for label, why, caught in rows)


def of_f(name: str, why: str, *flags: str, objects: Any = None, reg_max: int = 4, **more: Any) -> Case:
    """Fixture F with its keypoints; inputs and parameters may be replaced by name."""
    given = {"boxes": f.boxes(reg_max), "scores": f.scores(), "kpts": f.kpts(), "keypoints": f.keypoints()}
    given |= f.objects() if objects is None else objects
    changed = {key: more.pop(key) for key in tuple(more) if key in (*given, "kpts_sigma")}
    order = ("boxes", "scores", "kpts", "kpts_sigma", "batch_idx", "cls", "bboxes", "keypoints")
    inputs = {**given, **changed}
    ordered = {key: inputs[key] for key in order if key in inputs}
    return corner(name, why, *flags, params=f.params(reg_max, **more), **ordered)


def hit(name: str, why: str, *flags: str, sigma: float) -> Case:
    """One object in image 0 of F, whose keypoints every anchor predicts exactly; logits of sigma all alike."""
    points, strides = anchors({"imgsz": f.IMGSZ, "strides": f.STRIDES})
    true = f.keypoints()[:1, :, :2] * [64, 32]
    raw = (true.transpose(1, 2, 0) - points.T) / strides
    kpts = f.kpts().reshape(2, 3, 3, 40)
    kpts[:, :, :2] = raw
    given: dict[str, Any] = {"kpts": kpts.reshape(2, 9, 40), "kpts_sigma": np.full((2, 6, 40), sigma)}
    return of_f(name, why, *flags, objects=f.objects(f.ROWS[0]), keypoints=f.keypoints()[:1], **given)


def by_keypoints(name: str, why: str, hidden: bool = False, **rules: Any) -> Case:
    """F with the settings of recent releases, of which o0 can be seen in part only, or no object at all."""
    keypoints = f.keypoints()
    keypoints[:1, :1, 2] = -1
    keypoints[..., 2] *= not hidden
    return of_f(name, why, keypoints=keypoints, kpts_sigma=f.kpts_sigma(), small_boxes="raised", **rules)


def seventeen(values: int) -> dict[str, Any]:
    """17 keypoints of 2 or 3 values."""
    return {"kpts": f.kpts(17 * values), "keypoints": f.keypoints(17, values), "kpt_shape": (17, values)}


def sure() -> Array:
    """Keypoints of F with visibility logits of 10000 and -10000."""
    signs = np.where(np.arange(f.ANCHORS) % 3, 1e4, -1e4) * np.ones((2, 9, 1))
    return np.where((np.arange(9) % 3 == 2)[:, None], signs, f.kpts())


def pose_corners(sigma: bool = False) -> tuple[Case, ...]:
    """Fixture F and its edge cases; `sigma` adds kpts_sigma."""
    hidden, turned = f.keypoints(), np.array(f.ROWS)[[2, 0, 1]]
    hidden[..., 2] = 0

    def case(name: str, why: str, *flags: str, count: int = 3, **more: Any) -> Case:
        both: dict[str, Any] = {"kpts_sigma": f.kpts_sigma(count), **more} if sigma else more
        return of_f(name, why, *flags, **both)

    foreign = f.objects((-1, 1, 1 / 2, 1 / 2, 1 / 2, 1 / 2), *f.ROWS)
    more = np.concatenate([f.keypoints()[:1], f.keypoints()])
    older = of_f("17 keypoints in edition 8.3", "sigmas of float64", **seventeen(3), edition="8.3")
    return (
        case("worked example", "fixture F, three keypoints with visibility"),
        case("two values", "no visibility: kobj is 0", kpts=f.kpts(6), keypoints=f.keypoints(3, 2), kpt_shape=(3, 2)),
        case("17 keypoints", "the constants of COCO", count=17, **seventeen(3)),
        case("17 keypoints, two values", "uniform constants", count=17, **seventeen(2)),
        case("nothing visible", "pose 0, and kobj against zeros", keypoints=hidden),
        case("labels without visibility", "all visible, kobj against ones", "labels", keypoints=f.keypoints(3, 2)),
        case("another order", "objects not sorted", objects=f.objects(*turned), keypoints=f.keypoints()[[2, 0, 1]]),
        case("foreign object first", "rows of the batch are kept apart", objects=foreign, keypoints=more),
        case("sure of visibility", "visibility logits of 10000", kpts=sure()),
        case("one bin", "distances instead of bins", reg_max=1),
        case("five anchors", "the second round of the assigner", tal_topk=5),
        case("no object", "zeros with zero gradients", objects=f.no_object(), keypoints=np.zeros((0, 3, 3))),
        case("no positive", "an object outside", objects=f.objects((0, 1, 2, 2, 1 / 4, 1 / 4)), keypoints=hidden[:1]),
        *(() if sigma else (older,)),
    )
