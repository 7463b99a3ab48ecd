"""The corner cases of the pose losses: fixture F with keypoints, and what both losses are asked about.

Source: spec/40-yolo.md sections 0, 3 and 4; QY1, QY5.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lossref.core.declare import corner
from lossref.core.nouns import Array, Case
from lossref.core.scenes import anchors
from lossref.losses.detection.cases import ALONE, APART, BESIDE, ELSEWHERE, LIFT, SMALL, STOLEN
from lossref.losses.detection.cases import fixture_f as f


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
        case("stolen anchor", "an object takes an anchor that it did not pick", objects=f.objects(*STOLEN), tal_topk=1),
        case("beside", "the best does not contain the anchor", objects=f.objects(*BESIDE), keypoints=more),
        case("small sides as they are", "no anchor", objects=f.objects(SMALL), keypoints=f.keypoints()[:1], **ALONE),
        case("lifted bins", "logits of 100 and -120, no other loss", boxes=f.boxes() + LIFT),
        case("no overlap", "positives of weight 0 learn keypoints", objects=f.objects(*APART), **ELSEWHERE),
        case("no object", "zeros with zero gradients", objects=f.no_object(), keypoints=np.zeros((0, 3, 3))),
        case("no positive", "an object outside", objects=f.objects((0, 1, 2, 2, 1 / 4, 1 / 4)), keypoints=hidden[:1]),
        *(() if sigma else (older,)),
    )
