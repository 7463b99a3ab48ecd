"""What detr and rtdetr are asked: parameters, laws and corner cases. Source: spec/50-detr.md, its edge cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossref.core.declare import corner
from lossref.core.laws import differs, not_negative, permutation
from lossref.core.nouns import Array, Case, Param, Span
from lossref.losses.detr.domains import MATCHING_CORNERS

GRADIENT = {
    "attached": "gradient flows through the weight of the varifocal loss, too",
    "detached": "the weight of the varifocal loss takes no gradient",
}
EMPTY = {
    "focal": "where nothing is matched the class loss is the focal one",
    "varifocal": "where nothing is matched the class loss is the varifocal one, too",
}
CONSTANTS = {
    "given": "the varifocal loss has the gamma and alpha that are given",
    "own": "the varifocal loss has gamma 2.0 and alpha 0.75, whatever is given",
}
COUNTED = {"pairs": "the sums are divided by the matched pairs", "objects": "the sums are divided by all objects"}
DETR_PARAMS = {
    "class_gain": Param(1.0, (2.0,), "factor of the class loss", span=Span(0.0, 8.0)),
    "bbox_gain": Param(5.0, (3.0,), "factor of the L1 loss", span=Span(0.0, 8.0)),
    "giou_gain": Param(2.0, (0.5,), "factor of the GIoU loss", span=Span(0.0, 8.0)),
    "aux_loss": Param(True, (False,), "whether the layers before the last one count"),
    "use_fl": Param(True, (False,), "focal class loss, else binary cross entropy against the IoU"),
    "use_vfl": Param(False, (True,), "varifocal in place of focal class loss, if use_fl is set"),
    "use_uni_match": Param(False, (True,), "the auxiliary layers share one matching"),
    "uni_match_ind": Param(0, (-1,), "the auxiliary layer whose matching they share"),
    "gamma": Param(1.5, (2.0,), "exponent of the class loss", span=Span(1.0, 4.0)),
    "alpha": Param(
        0.25,
        (0.75, 0.0),
        "weight in the class loss: of the matched (focal) or unmatched (varifocal)",
        span=Span(0.0, 1.0),
    ),
    "matcher_class_gain": Param(2.0, (1.0,), "weight of the class cost in the matching", span=Span(0.0, 8.0)),
    "matcher_bbox_gain": Param(5.0, (2.0,), "weight of the L1 cost in the matching", span=Span(0.0, 8.0)),
    "matcher_giou_gain": Param(2.0, (5.0,), "weight of the GIoU cost in the matching", span=Span(0.0, 8.0)),
    "matcher_alpha": Param(0.25, (0.75,), "alpha of the focal cost in the matching", span=Span(0.0, 1.0)),
    "matcher_gamma": Param(2.0, (1.5,), "gamma of the focal cost in the matching", span=Span(1.0, 4.0)),
    "eps": Param(
        1e-7, (0.0,), "absolute constant of IoU and GIoU, here and in the matching", small=True, span=Span(0.0, 0.25)
    ),
    "vfl_weight_gradient": Param(
        "attached", ("detached",), "whether gradient flows through the varifocal weight", means=GRADIENT
    ),
    "vfl_empty": Param("focal", ("varifocal",), "what use_vfl means where nothing is matched", means=EMPTY),
    "vfl_constants": Param(
        "given", ("own",), "gamma and alpha of varifocal; own: 2.0 and 0.75, up to 8.3.110", means=CONSTANTS
    ),
    "counted": Param(
        "pairs", ("objects",), "the sums are divided by the matched pairs, or by all objects", means=COUNTED
    ),
}

DETR_DEFAULTS = {name: param.default for name, param in DETR_PARAMS.items()}

# Laws ------------------------------------------------------------------------------------------------


def repeated_batch(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """The same images once more: means over pairs stay, the cross entropy (a sum over images) doubles."""
    layered = {name: np.concatenate([x[name]] * 2, 1) for name in x if x[name].ndim == 4}
    twice = {name: np.concatenate([x[name]] * 2) for name in ("cls", "bboxes")}
    images = x["pred_bboxes"].shape[1]
    shifted = np.concatenate([x["batch_idx"], x["batch_idx"] + images])
    factor = np.ones(tol.shape)
    if not params["use_fl"]:
        factor[::3] = 2
    got = f({**x, **layered, **twice, "batch_idx": shifted})
    return differs(got, factor * f(x), 4 * tol, "repeating the batch") if len(x["cls"]) else None


def alike_layers(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """If all layers are the last one, each auxiliary loss is (L - 1) times the main one."""
    alike = {name: np.repeat(x[name][-1:], len(x[name]), 0) for name in x if x[name].ndim == 4}
    groups = f({**x, **alike}).reshape(-1, 2, 3)
    times = (len(x["pred_bboxes"]) - 1) * params["aux_loss"]
    room = (len(x["pred_bboxes"]) + 1) * tol.reshape(-1, 2, 3)
    return differs(groups[:, 1], times * groups[:, 0], room.sum(1), "the sum over equal layers")


def moved_boxes(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Moving all boxes by the same step changes nothing."""
    step = np.array([0.25, -0.5, 0, 0])
    moved = {**x, **{name: box + step for name, box in x.items() if name.endswith("bboxes")}}
    return differs(f(moved), f(x), 4 * tol, "moving all boxes")


DETR_SIZES: dict[str, tuple[dict[str, int], ...]] = {
    "single": ({"L": 1, "b": 1, "q": 4, "c": 2, "n": 1}, {"L": 2, "b": 1, "q": 3, "c": 1, "n": 2}),
    "small": ({"L": 2, "b": 2, "q": 4, "c": 2, "n": 3}, {"L": 3, "b": 1, "q": 4, "c": 3, "n": 2}),
    "bulk": ({"L": 3, "b": 4, "q": 100, "c": 20, "n": 40},),
    "empty": ({"L": 2, "b": 2, "q": 3, "c": 2, "n": 0},),
}
DETR_LAWS = (
    not_negative,
    permutation(2, "pred_bboxes", "pred_scores"),
    repeated_batch,
    alike_layers,
    moved_boxes,
)

# Corner cases ----------------------------------------------------------------------------------------


def fixture(layers: int = 2, queries: int = 5, classes: int = 3, scale: float = 1.0) -> dict[str, Any]:
    """Predictions of fixture G of the specification, for two images."""
    at = np.indices((layers, 2, queries, 4))
    place = (5 * at[2] + 3 * at[3] + 7 * at[1] + 2 * at[0]) % 11
    size = (3 * at[2] + 2 * at[3] + 5 * at[1] + at[0]) % 7
    boxes = (np.where(at[3] < 2, place, size) + 2) / 16
    at = np.indices((layers, 2, queries, classes))
    scores = ((7 * at[2] + 5 * at[3] + 3 * at[1] + 4 * at[0]) % 13) / 4 - 1.5
    return {"pred_bboxes": boxes, "pred_scores": scores * scale}


THREE: dict[str, Any] = {
    "batch_idx": (0, 0, 1),
    "cls": (2, 0, 1),
    "bboxes": [(0.375, 0.5, 0.25, 0.375), (0.625, 0.25, 0.3125, 0.1875), (0.5, 0.5, 0.4375, 0.25)],
}
FOUR: dict[str, Any] = {
    "batch_idx": (0, 0, 0, 1),
    "cls": (2, 0, 1, 1),
    "bboxes": [*THREE["bboxes"], THREE["bboxes"][0]],
}
NONE: dict[str, Any] = {"batch_idx": (), "cls": (), "bboxes": np.zeros((0, 4))}
LIGHT: dict[str, Any] = {"matcher_class_gain": 1.0}
ONE: dict[str, Any] = {name: values[2:] for name, values in THREE.items()}


def matched(name: str) -> dict[str, Any]:
    """The corner of the matcher of that name, as one layer."""
    inputs = next(case.inputs for case in MATCHING_CORNERS if case.id == name)
    return {name: x[None] if x.ndim == 3 else x for name, x in inputs.items()}


def _exact() -> dict[str, Any]:
    """One query on its object, one logit at 0 and one saturated: every tie of the overlap."""
    boxes = [(0.5, 0.5, 0.25, 0.25), (0.125, 0.125, 0.125, 0.25)]
    scores = [(3.0, 0.0), (-88.0, -1e4)]
    own = {"batch_idx": (0,), "cls": (0,), "bboxes": boxes[:1]}
    return {"pred_bboxes": [[boxes]], "pred_scores": [[scores]], **own}


DETR_CORNERS: tuple[Case, ...] = (
    corner("fixture", "the worked example of the specification", **fixture(3), **THREE),
    corner("varifocal", "the same with use_vfl", params={"use_vfl": True}, **fixture(), **THREE),
    corner("cross entropy", "the same without use_fl", params={"use_fl": False}, **fixture(), **THREE),
    corner(
        "detached weight",
        "varifocal without the gradient of its weight",
        params={"use_vfl": True, "vfl_weight_gradient": "detached"},
        **fixture(),
        **THREE,
    ),
    corner(
        "one matching",
        "the auxiliary layers share that of layer 1",
        params={"use_uni_match": True, "uni_match_ind": 1},
        **fixture(3),
        **THREE,
    ),
    corner("no object", "the focal loss of all queries, divided by 1", **fixture(), **NONE),
    corner("no object, varifocal", "focal nevertheless", params={"use_vfl": True}, **fixture(), **NONE),
    corner("no object, cross entropy", "against zeros", params={"use_fl": False}, **fixture(), **NONE),
    corner("image without objects", "its queries are negatives", **fixture(), **ONE),
    corner("crowd", "more objects than queries: divided by the pairs", **fixture(2, 2), **FOUR),
    corner("single layer", "no auxiliary layer: zeros", **fixture(1), **THREE),
    corner(
        "constants of its own",
        "varifocal with 2.0 and 0.75",
        params={"use_vfl": True, "vfl_constants": "own"},
        **fixture(),
        **THREE,
    ),
    corner("exponent of the matcher", "1.5 would match otherwise", params=LIGHT, **matched("exponent")),
    corner(
        "GIoU of the matcher", "with a gain of 5 it would match otherwise", params=LIGHT, **matched("negative part")
    ),
    corner("on the object", "IoU nearly 1, all edges coincide", "kink", **_exact()),
)
