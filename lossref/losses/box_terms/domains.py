"""What the specs bbox and rotated_bbox share beside the reference: oracle parts, domains, laws.

Source: spec/30-elementary.md sections 4 and 6. The oracle parts are scalar and know nothing of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lossref.core.arithmetic import Arithmetic
from lossref.core.families import LOGIT_FAMILIES, hard_labels, soft_labels
from lossref.core.laws import differs, not_negative, permutation, repetition
from lossref.core.nouns import Array, Domain, Param
from lossref.core.picking import Draw, Pick
from lossref.losses.overlap.pairs import ALPHA

Params = Mapping[str, Any]


def oracle_positives(m: Arithmetic, fg_mask: Any, points: Any, stride: Any, *dense: Any) -> Iterator[tuple[Any, ...]]:
    """Point, stride and the rows of the dense inputs at every positive."""
    for image, mask in enumerate(fg_mask):
        for anchor, positive in enumerate(mask):
            if positive:
                yield (points[anchor], stride[anchor][0], *(x[image][anchor] for x in dense))


def oracle_terms(
    m: Arithmetic,
    similarity: Callable[[Any, Any], Any],
    sides: Callable[[Any, Any], Any],
    *,
    pred_dist: Any,
    pred_bboxes: Any,
    anchor_points: Any,
    target_bboxes: Any,
    target_scores: Any,
    target_scores_sum: Any,
    fg_mask: Any,
    imgsz: Any,
    stride: Any,
    reg_max: int = 16,
    edition: str = "8.4",
) -> Any:
    """Both terms, from similarity(box, target) and the distances sides(point, target)."""
    ious, dfls = [], []
    rows = oracle_positives(m, fg_mask, anchor_points, stride, pred_dist, pred_bboxes, target_bboxes, target_scores)
    for point, step, raw, box, target, scores in rows:
        weight = m.sum(scores)
        ious.append(weight * (1 - similarity(box, target)))
        dfls.append(weight * oracle_distance_cost(m, raw, sides(point, target), imgsz, step, reg_max, edition))
    return m.sum(ious) / target_scores_sum, m.sum(dfls) / target_scores_sum


def oracle_edition(m: Arithmetic, p: Any) -> str:
    """The edition that the parameters name; losses that came with the current one have no such parameter."""
    return str(getattr(p, "edition", "8.4"))


def oracle_distance_cost(
    m: Arithmetic, raw: Any, distances: Any, imgsz: Any, stride: Any, reg_max: int, edition: str = "8.4"
) -> Any:
    """Cost of the distances l, t, r, b of one positive: DFL of R bins, or L1 as a part of the image."""
    if reg_max <= 1 and edition == "8.3":
        return m.number(0.0)
    if reg_max <= 1:
        height, width = imgsz
        parts = [
            m.abs(z - d) * stride / n for z, d, n in zip(raw, distances, (width, height, width, height), strict=True)
        ]
        return m.sum(parts) / 4
    costs = []
    for side, d in enumerate(distances):
        logits = raw[side * reg_max : (side + 1) * reg_max]
        t = m.clamp(d, low=0.0, high=reg_max - 1 - 0.01)
        k = m.floor(t)
        costs.append(m.logsumexp(logits) - (k + 1 - t) * logits[k] - (t - k) * logits[k + 1])
    return m.sum(costs) / 4


# Domains ----------------------------------------------------------------------------------------------


def first_and_others(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """The first anchor of the image is positive, the others by chance."""
    mask = pick(0, 1, rows * dims["row"]).reshape(rows, dims["row"])
    mask[:, :1] = 1
    return mask


def every_anchor(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """All anchors are positive."""
    return np.ones((rows, dims["row"]))


def _cells(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    return pick(0, 7, rows * 2).reshape(rows, 2) + 0.5


def _strides(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    return 2.0 ** pick(3, 5, rows).reshape(rows, 1)


def _sizes(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    return 32.0 * pick(1, 20, rows * 2).reshape(rows, 2)


def _norm(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    return pick(4, 64, rows).reshape(rows, 1) / 4


def _positive(x: Array, params: Params) -> str | None:
    return None if (x > 0).all() else "expected positive numbers"


SCORE_FAMILIES: dict[str, Draw] = {"soft": soft_labels, "hard": hard_labels}


def dense_inputs(boxes: Domain, predicted: Domain) -> dict[str, Domain]:
    """The domains in the order of the arguments, with those of the target and the predicted boxes."""
    return {
        "pred_dist": Domain("b A 4R", "logits of R bins for each side; R = 1: distances", LOGIT_FAMILIES),
        "pred_bboxes": predicted,
        "anchor_points": Domain("A 2", "x, y in stride units", {"cell centres": _cells}, unit=None),
        "target_bboxes": boxes,
        "target_scores": Domain("b A c", "class targets in [0, 1]; their sum is the weight", SCORE_FAMILIES),
        "target_scores_sum": Domain("", "normaliser > 0", {"quarters": _norm}, row=0, unit=None, legal=_positive),
        "fg_mask": Domain(
            "b A", "which anchors count", {"some": first_and_others, "all": every_anchor}, dtype="bool", unit=None
        ),
        "imgsz": Domain(
            "2", "H, W in pixels, for R = 1", {"32 to 640": _sizes}, unit=None, nan_free=True, legal=_positive
        ),
        "stride": Domain("A 1", "pixels per cell, for R = 1", {"8 to 32": _strides}, unit=None, nan_free=True),
    }


SIZES: dict[str, Any] = {
    "single": ({"b": 1, "A": 1, "c": 1},),
    "small": ({"b": 2, "A": 3, "c": 2}, {"b": 1, "A": 4, "c": 3}),
    "bulk": ({"b": 4, "A": 400, "c": 20},),
    "empty": ({"b": 0, "A": 3, "c": 2}, {"b": 2, "A": 0, "c": 2}, {"b": 1, "A": 3, "c": 0}),
}

# Laws -------------------------------------------------------------------------------------------------

PER_IMAGE = ("pred_dist", "pred_bboxes", "target_bboxes", "target_scores", "fg_mask")
PER_ANCHOR = ("anchor_points", "stride")


def anchors_in_any_order(f: Any, x: Mapping[str, Array], params: Params, tol: Array) -> str | None:
    """Reversing the anchors changes nothing."""
    turned = {**x, **{name: x[name][:, ::-1].copy() for name in PER_IMAGE}}
    turned |= {name: x[name][::-1].copy() for name in PER_ANCHOR}
    return differs(f(turned), f(x), 2 * tol, "reversing the anchors")


def negatives_do_not_count(f: Any, x: Mapping[str, Array], params: Params, tol: Array) -> str | None:
    """What stands at an anchor that is not positive has no effect."""
    away = x["fg_mask"] == 0
    changed = {name: np.where(away[..., None], x[name] + 1, x[name]) for name in PER_IMAGE[:-1]}
    return differs(f({**x, **changed}), f(x), tol, "changing the numbers at negatives")


def one_over_the_normaliser(f: Any, x: Mapping[str, Array], params: Params, tol: Array) -> str | None:
    """Twice the normaliser, half the loss."""
    return differs(2 * f({**x, "target_scores_sum": 2 * x["target_scores_sum"]}), f(x), 2 * tol, "twice the normaliser")


def classes_are_summed(f: Any, x: Mapping[str, Array], params: Params, tol: Array) -> str | None:
    """Only the sum of the target scores over the classes matters."""
    scores = np.roll(x["target_scores"], 1, axis=-1)
    return differs(f({**x, "target_scores": scores}), f(x), 2 * tol, "rolling the classes")


def moved(f: Any, x: Mapping[str, Array], params: Params, tol: Array) -> str | None:
    """Moving anchors and boxes together changes nothing."""
    step = np.array([2.0, -3.0])
    shift = np.concatenate([step, step if x["pred_bboxes"].shape[-1] == 4 else np.zeros(3)])
    boxes = {name: x[name] + shift for name in ("pred_bboxes", "target_bboxes")}
    return differs(f({**x, **boxes, "anchor_points": x["anchor_points"] + step}), f(x), 4 * tol, "moving everything")


CIOU_ALPHA = Param("detached", ("attached", "gated"), "gradient of alpha; gated: alpha 0 below IoU 0.5", means=ALPHA)
EDITIONS = {
    "8.4": "one bin costs an L1 distance, small sides are enlarged for the assigner, and it may pick twice",
    "8.3": "as releases 8.3 of ultralytics: one bin has no distance term, no rule for small sides, no second top-k",
}
EDITION = {
    "edition": Param("8.4", ("8.3",), "releases whose conventions hold, spec/60-api.md section 2.3", means=EDITIONS)
}
LAWS: tuple[Callable[..., str | None], ...] = (
    not_negative,
    permutation(0, *PER_IMAGE),
    repetition(0, 2, *PER_IMAGE),
    anchors_in_any_order,
    negatives_do_not_count,
    one_over_the_normaliser,
    classes_are_summed,
    moved,
)
