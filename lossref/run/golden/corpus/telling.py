"""Settings that hardly a drawn case shows: for each a case on which its value gives another answer than the default.

A row says how a case is made: from a corner with other objects or parameters, also one of another spec, or drawn from
seed 0. `NOWHERE` has the reason where there can be none. A test holds both: the cases tell, and nothing tells against
a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lossref.checks.material import draw_case, with_defaults
from lossref.core.nouns import Array, Case, Spec
from lossref.losses import spec as find

Inputs = Mapping[str, Array]
Made = Callable[[Spec], Case]
Key = tuple[str, str, Any]  # spec, setting, value

# Boxes of three objects, xywh and the angle of rotated ones, in 64ths
STOLEN = ((25, 38, 25, 37), (27, 35, 35, 31), (22, 34, 35, 48))  # one takes an anchor that it did not pick
STOLEN_TWICE = ((20, 42, 27, 35), (22, 38, 33, 36), (20, 36, 31, 49))  # the same in a branch that picks more
STOLEN_TURNED = ((37, 25, 20, 21, -64), (37, 25, 22, 23, -64), (38, 17, 13, 18, -72))
BETWEEN = ((28, 32, 4, 12), (44, 32, 4, 12), (28, 48, 4, 12))  # 4 x 6 px, which contain no anchor
SMALL_SIDES = ((34, 30, 24, 32), (23, 21, 3, 32), (20, 21, 8, 8))  # sides below the second stride
LOW = ((32, 35, 32, 16), (44, 38, 8, 6), (35, 33, 6, 3))  # a side of 1.5 px, for which no anchor is left
LOW_TURNED = ((32, 35, 32, 16, 8), (44, 38, 8, 6, 88), (35, 33, 6, 3, -48))
WIDE = ((30, 36, 12, 8), (38, 28, 8, 6), (36, 36, 32, 6))
FAR = ((52, 40, 12, 8), (30, 28, 32, 30), (27, 31, 32, 30))  # two share anchors at which no prediction overlaps them
BESIDE = ((40, 22, 40, 31), (24, 25, 13, 15), (24, 40, 22, 26))  # one overlaps most what it does not contain
BESIDE_TURNED = ((38, 43, 44, 14, 12), (42, 32, 26, 32, 29), (43, 44, 21, 24, 8))
Rows = tuple[tuple[int, ...], ...]


def _objects(
    rows: Rows, own_images: bool = False, one_class: bool = False, short: bool = False
) -> Callable[[Case], Inputs]:
    """These objects, all in the first image unless the corner's images stay; `short` has tiny predicted boxes."""

    def inputs(base: Case) -> Inputs:
        found = {"bboxes": np.array(rows) / 64}
        found |= {} if own_images else {"batch_idx": np.zeros(3)}
        found |= {"cls": np.zeros(3)} if one_class else {}
        return {**found, "boxes": _short(base.inputs["boxes"])} if short else found

    return inputs


def _short(boxes: Array) -> Array:
    """Logits of distances near 0, other ones for anchors in a row."""
    falling = np.tile(-2.0 * np.arange(boxes.shape[1] // 4), 4)[:, None] * (1 + np.arange(boxes.shape[2]) % 5 / 4)
    return np.broadcast_to(falling, boxes.shape).copy()


def _corner(word: str, inputs: Callable[[Case], Inputs] = lambda base: {}, **beside: Any) -> Made:
    """A corner of the spec, or of another ("SPEC/CORNER"), with other inputs and parameters."""

    def made(spec: Spec) -> Case:
        name, _, id = word.rpartition("/")
        base = next(case for case in find(name or spec.name).corners if case.id == id)
        params = {key: value for key, value in base.params.items() if key in spec.params} | beside
        held = {key: x for key, x in {**base.inputs, **inputs(base)}.items() if key in spec.inputs}
        return replace(base, inputs=held, params=params)

    return made


def _turned(base: Case) -> Inputs:
    """Corners as centres, sides and an angle of 0."""
    boxes = {name: base.inputs[name] for name in ("pd_bboxes", "gt_bboxes")}
    ends = {name: (x[..., :2], x[..., 2:], 0 * x[..., :1]) for name, x in boxes.items()}
    return {name: np.concatenate([(a + b) / 2, b - a, angle], -1) for name, (a, b, angle) in ends.items()}


def _drawn(sizes: Mapping[str, int], **beside: Any) -> Made:
    """A case of these sizes."""

    def made(spec: Spec) -> Case:
        return draw_case(spec, np.random.default_rng(0), {**spec.sizes["single"][0], **sizes}, beside)

    return made


def _specks(spec: Spec) -> Case:
    """An object of which a query is the very box, and another query at its centre is 64 times as large."""
    speck, larger = (np.array([1 / 2, 1 / 2, side, side]) for side in (2.0**-13, 2.0**-7))
    inputs = {"pred_bboxes": np.array([[speck, larger]]), "pred_scores": np.array([[[0.0], [2.0]]])}
    inputs |= {"batch_idx": np.zeros(1), "cls": np.zeros(1), "bboxes": speck[None]}
    return Case(spec.name, inputs, {}, "an object smaller than eps")


ONE = {"tal_topk": 1}
OFF = {"small_boxes": "off"}
SMALL_MODEL = {"imgsz": (32, 64), "strides": (8, 16), "reg_max": 1}
LAYERS = {"L": 3, "b": 1, "q": 4, "c": 3, "n": 2}
PLAIN = ("pose26", "tvp_detect", "tvp_segment", "v8_pose", "v8_segmentation")  # with a top-k that can be 1
TWO_BRANCHES = ("e2e", "e2e_detect")
TABLE: dict[Key, Made] = {
    **{(name, "conflict", "picked"): _corner("worked example", _objects(STOLEN), **ONE) for name in PLAIN},
    ("e2e", "conflict", "picked"): _corner("worked example", _objects(STOLEN_TWICE)),
    ("e2e_detect", "conflict", "picked"): _corner("worked example", _objects(STOLEN)),
    **{
        (name, "conflict", "overlapping"): _corner("worked example", _objects(BESIDE))
        for name in (*PLAIN, *TWO_BRANCHES, "v8_detection")
    },
    ("v8_obb", "conflict", "overlapping"): _corner("worked example", _objects(BESIDE_TURNED)),
    ("v8_obb", "conflict", "picked"): _corner("worked example", _objects(STOLEN_TURNED, one_class=True), tal_topk=3),
    **{
        (name, "conflict", "containing"): _corner("worked example", _objects(FAR, short=True), tal_topk=40)
        for name in ("pose26", "tvp_segment", "v8_segmentation")
    },
    ("v8_pose", "conflict", "containing"): _corner(
        "17 keypoints in edition 8.3", _objects(FAR, short=True), tal_topk=40
    ),
    **{
        (name, "zero_metric", "dropped"): _corner("worked example", _objects(LOW, own_images=True), **ONE)
        for name in PLAIN
        if name != "tvp_detect"
    },
    **{
        (name, "at_least_one", value): _corner("worked example", _objects(BETWEEN), **ONE, **OFF)
        for name in PLAIN
        for value in ("nearest", "best")
    },
    **{
        (name, "at_least_one", "nearest"): _corner("worked example", _objects(WIDE, own_images=True), **OFF)
        for name in TWO_BRANCHES
    },
    **{(name, "at_least_one", "best"): _corner("worked example", _objects(BETWEEN), **OFF) for name in TWO_BRANCHES},
    ("pose26", "small_boxes", "raised"): _corner("worked example", _objects(SMALL_SIDES), tal_topk=5),
    ("v8_detection", "small_boxes", "raised"): _corner("worked example", _objects(SMALL_SIDES, own_images=True)),
    ("v8_obb", "small_boxes", "raised"): _corner("worked example", _objects(LOW_TURNED, own_images=True)),
    ("tvp_segment", "separate_masks", "truncated"): _corner("v8_segmentation/truncated"),
    ("tvp_detect", "ori_nc", 3): _drawn({"c": 3}, **SMALL_MODEL),
    ("tvp_segment", "ori_nc", 3): _drawn({"c": 3}, **SMALL_MODEL),
    ("rotated_task_aligned", "conflict", "picked"): _corner("task_aligned/A6", _turned),
    ("rotated_task_aligned", "conflict", "containing"): _corner("task_aligned/A7", _turned),
    ("rotated_task_aligned", "zero_metric", "dropped"): _corner("task_aligned/A7", _turned),
    ("rotated_task_aligned", "at_least_one", "nearest"): _corner("task_aligned/A3", _turned, topk=1, **OFF),
    ("rotated_task_aligned", "small_boxes", "off"): _drawn({"A": 20, "G": 3}),
    ("rotated_task_aligned", "reach", 1.5): _drawn({"b": 2, "G": 2}, topk=3),
    ("task_aligned", "stride", (16, 32)): _drawn({"A": 20, "G": 3}),
    ("hungarian", "class_gain", 2.0): _drawn({"b": 2, "q": 5, "c": 3, "n": 4}),
    ("hungarian", "use_fl", False): _drawn({}),
    ("hungarian", "eps", 0.0): _specks,
    ("mask", "crop", "clipped"): _drawn({"n": 3, "k": 2, "H": 3, "W": 4}),
    ("detr", "uni_match_ind", -1): _drawn(LAYERS, use_uni_match=True),
    ("detr", "matcher_gamma", 1.5): _drawn({"L": 2, "b": 2, "q": 4, "c": 2, "n": 3}),
    ("rtdetr", "use_uni_match", True): _drawn({**LAYERS, "d": 4}),
    ("rtdetr", "uni_match_ind", -1): _drawn({**LAYERS, "d": 4}, use_uni_match=True),
    ("rtdetr", "matcher_gamma", 1.5): _drawn({"L": 2, "b": 2, "q": 4, "c": 2, "n": 3, "d": 7}),
    ("rtdetr", "vfl_empty", "varifocal"): _corner("no object", use_vfl=True),
    ("rtdetr", "counted", "objects"): _drawn({"q": 1, "n": 2, "d": 4}),
}

WEIGHTED = ("e2e", "e2e_detect", "tvp_detect", "v8_detection", "v8_obb")  # every term is weighted by the target score
UNSEEN = "only candidates with metric 0 change hands: their target score is 0, and so is their weight in every term"
NOWHERE: Mapping[Key, str] = {
    **{(name, "conflict", "containing"): UNSEEN for name in WEIGHTED},
    **{(name, "zero_metric", "dropped"): UNSEEN for name in WEIGHTED},
    **{
        (name, "zero_area_mask", "nan"): "where it matters the answer is 0 / 0, which nothing certifies"
        for name in ("mask", "tvp_segment", "v8_segmentation")
    },
    **{
        (name, "rle_sigma", "unbounded"): "it matters where a dtype underflows; the formula has no smallest number"
        for name in ("pose26", "rle_keypoints")
    },
    **{
        (name, "ciou_alpha", "attached"): "the gradient of the box term is another, and that term is not trained"
        for name in ("tvp_detect", "tvp_segment")
    },
    ("hungarian", "bad_cost", "zero"): "it matters where an input is not finite, and then the oracle has no number",
}
"""Why no recorded case has another answer at this value than at the default."""


def telling(spec: Spec) -> Iterator[Case]:
    """The cases of a spec in this table."""
    for (name, setting, value), make in TABLE.items():
        if name == spec.name:
            made = make(spec)
            params = with_defaults(spec, {**made.params, setting: value})
            id = ", ".join(filter(None, (made.id, f"{setting}={value!r} matters")))
            yield replace(made, spec=name, params=params, id=id, flags=(), why=f"made so that {setting} matters")
