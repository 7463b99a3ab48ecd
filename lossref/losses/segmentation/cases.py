"""Domains, sizes and laws of the segmentation losses.

Masks are integers: numbers of objects from 1 (overlap), or 0 and 1 for each object of the batch. Pixels may
carry numbers that no object has. Source: spec/00-conventions.md sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np

from lossref.core.declare import corner
from lossref.core.families import LOGIT_FAMILIES
from lossref.core.laws import differs
from lossref.core.nouns import Array, Case, Domain, Params
from lossref.core.picking import Draw, Pick
from lossref.core.scenes import object_inputs, prediction_inputs
from lossref.losses.detection.cases import ALONE, APART, BESIDE, ELSEWHERE, SMALL, STOLEN
from lossref.losses.detection.cases import fixture_f as f
from lossref.losses.detection.laws import SIZES as DETECTION_SIZES
from lossref.losses.detection.laws import detection_laws

Inputs = Mapping[str, Array]


def _whole(low: int, high: Any) -> Draw:
    """Integers from low to high(dims)."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        return pick(low, high(dims), rows * dims["row"]).reshape(rows, -1)

    return draw


def _patches(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Patches of 4 x 4 pixels with one number each."""
    height, width = dims["Hm"], dims["Wm"]
    down, across = -(-height // 4), -(-width // 4)
    coarse = pick(0, _largest(dims), rows * down * across).reshape(rows, down, across)
    return np.asarray(coarse.repeat(4, 1).repeat(4, 2)[:, :height, :width].reshape(rows, -1))


def _largest(dims: Mapping[str, Any]) -> int:
    return int(min(dims["n"], 20)) if dims["overlap"] else 1


def _legal_mask(x: Array, params: Params) -> str | None:
    top = 1 if not params.get("overlap", True) else np.inf
    wrong = x.size and (x.min() < 0 or x.max() > top or (x != np.floor(x)).any())
    return "expected 0 and the numbers of objects, or 0 and 1 where overlap is False" if wrong else None


def _legal_class(x: Array, params: Params) -> str | None:
    return "expected class ids 0, 1, ..." if x.size and (x.min() < 0 or (x != np.floor(x)).any()) else None


MASK_FAMILIES: dict[str, Draw] = {
    "patches": _patches,
    "pixels": _whole(0, _largest),
    "nothing": _whole(0, lambda dims: 0),
}
COEFFICIENT_FAMILIES: dict[str, Draw] = {name: LOGIT_FAMILIES[name] for name in ("moderate", "zero", "+-20")}
MAP_FAMILIES: dict[str, Draw] = {name: LOGIT_FAMILIES[name] for name in ("moderate", "zero")}
CLASS_FAMILIES: dict[str, Draw] = {"any": _whole(0, lambda dims: dims["c"] - 1), "first": _whole(0, lambda dims: 0)}


def segmentation_inputs(semantic: bool) -> dict[str, Domain]:
    """Predictions, objects and masks, in the order of the reference's arguments."""
    maps = {
        "mask_coefficient": Domain("b k A", "coefficients", COEFFICIENT_FAMILIES, row=2, nan_free=True),
        "proto": Domain("b k Hp Wp", "prototypes", MAP_FAMILIES, row=3, nan_free=True),
        "semseg": Domain("b c Hs Ws", "semantic logits", MAP_FAMILIES, row=3, nan_free=True),
    }
    targets = {
        "masks": Domain("M Hm Wm", "object numbers, or 0 and 1", MASK_FAMILIES, 2, legal=_legal_mask, dtype="int64"),
        "sem_masks": Domain("b Hm Wm", "class of each pixel", CLASS_FAMILIES, 2, legal=_legal_class, dtype="int64"),
    }
    if not semantic:
        del maps["semseg"], targets["sem_masks"]
    return {**prediction_inputs(), **maps, **object_inputs(), **targets}


def maps_of(mask: int, proto: int, semantic: int, k: int = 2) -> dict[str, Any]:
    """Sides of the square maps, and the number of prototypes."""
    sides = {"m": mask, "p": proto, "s": semantic}
    return {"k": k, **{axis + name: side for name, side in sides.items() for axis in "HW"}}


_MAPS = {
    "single": (maps_of(8, 8, 8),),
    "small": (maps_of(8, 8, 8), maps_of(16, 8, 4)),
    "bulk": (maps_of(160, 160, 80, k=32),),
    "empty": (maps_of(8, 8, 8),),
}


SIZES: dict[str, Any] = {
    kind: tuple({**one, **maps} for one, maps in zip(DETECTION_SIZES[kind], cycle(_MAPS[kind]))) for kind in _MAPS
}


# Laws ---------------------------------------------------------------------------------------------------------


def _counts(x: Inputs) -> Array:
    """Objects of each image, (b, 1, 1)."""
    return np.array([(x["batch_idx"] == image).sum() for image in range(len(x["boxes"]))])[:, None, None]


def order_of_objects(g: Any, x: Inputs, params: Params, tol: Array) -> str | None:
    """Reversing the objects, and their numbers in the masks, changes nothing (unless two boxes are equal)."""
    if len(np.unique(x["bboxes"], axis=0)) < len(x["bboxes"]):
        return None
    count, masks = _counts(x), x["masks"]
    turned = {name: x[name][::-1].copy() for name in ("batch_idx", "cls", "bboxes")}
    turned["masks"] = np.where((masks > 0) & (masks <= count), count + 1 - masks, masks)
    return differs(g({**x, **turned}), g(x), 2 * tol, "reversing the objects")


def unused_numbers(g: Any, x: Inputs, params: Params, tol: Array) -> str | None:
    """A pixel whose number no object has may have any other such number."""
    other = x["masks"] + 7 * (x["masks"] > _counts(x))
    return differs(g({**x, "masks": other}), g(x), tol, "a number that no object has")


def reversed_prototypes(g: Any, x: Inputs, params: Params, tol: Array) -> str | None:
    """Coefficients and prototypes may be numbered backwards."""
    turned = {name: x[name][:, ::-1].copy() for name in ("mask_coefficient", "proto")}
    return differs(g({**x, **turned}), g(x), 2 * tol, "reversing the prototypes")


def doubled_coefficients(g: Any, x: Inputs, params: Params, tol: Array) -> str | None:
    """Twice the coefficients with half the prototypes is the same mask."""
    other = {"mask_coefficient": 2 * x["mask_coefficient"], "proto": x["proto"] / 2}
    return differs(g({**x, **other}), g(x), 2 * tol, "doubling the coefficients")


def masks_twice(g: Any, x: Inputs, params: Params, tol: Array) -> str | None:
    """Every image twice: mask and semantic term are means, so that only the factor b doubles."""
    per_image = ("boxes", "scores", "mask_coefficient", "proto", "semseg", "masks", "sem_masks")
    twice = {name: np.concatenate([x[name]] * 2) for name in (*per_image, "batch_idx", "cls", "bboxes")}
    legal = np.isin(x["batch_idx"], np.arange(len(x["boxes"])))
    again = np.where(legal, x["batch_idx"] + len(x["boxes"]), -1)
    twice["batch_idx"] = np.concatenate([np.where(legal, x["batch_idx"], -1), again])
    terms = [1, 4]
    return differs(g({**x, **twice})[terms], 2 * g(x)[terms], 8 * tol[terms], "every image twice")


def reversed_semantic_classes(g: Any, x: Inputs, params: Params, tol: Array) -> str | None:
    """The classes of logits and map may be numbered backwards."""
    turned = {"semseg": x["semseg"][:, ::-1].copy(), "sem_masks": x["semseg"].shape[1] - 1 - x["sem_masks"]}
    return differs(g({**x, **turned}), g(x), 2 * tol, "reversing the semantic classes")


def laws_of(terms: int, positive: int, *maps: str) -> tuple[Any, ...]:
    """Laws of a loss with these maps for each image."""
    shared = detection_laws(("boxes", "scores", "mask_coefficient", *maps), ("bboxes",), terms, positive)
    kept = [law for law in shared if law.__name__ not in ("order_of_objects", "silent_class")]
    return (*kept, order_of_objects, unused_numbers, reversed_prototypes, doubled_coefficients)


# Corners ------------------------------------------------------------------------------------------------------


def of_f(name: str, why: str, *flags: str, objects: Any = None, maps: bool = True, **more: Any) -> Case:
    """Fixture F with other objects, numbers or parameters; separate masks where overlap is False."""
    separate = more.get("overlap") is False
    given = {"boxes": f.boxes(more.get("reg_max", 4)), "scores": f.scores(), "mask_coefficient": f.mask_coefficient()}
    given |= {"proto": f.proto(), "semseg": f.semantic(), **(f.objects() if objects is None else objects)}
    given |= {"masks": f.separate_masks() if separate else f.masks(), "sem_masks": f.sem_masks()}
    given = {key: value for key, value in given.items() if maps or key not in ("semseg", "sem_masks")}
    changed = {key: more.pop(key) for key in tuple(more) if key in given}
    return corner(name, why, *flags, params=f.params(**more), **{**given, **changed})


def of_rules(**more: Any) -> tuple[Case, ...]:
    """Scenes on which the rules of the assigner matter."""
    return (
        of_f("stolen anchor", "not picked, but taken", objects=f.objects(*STOLEN), tal_topk=1, **more),
        of_f("beside", "the best does not contain the anchor", objects=f.objects(*BESIDE), **more),
        of_f("small sides as they are", "4 x 6 px contain no anchor", objects=f.objects(SMALL), **ALONE, **more),
        of_f("no overlap", "positives of weight 0 learn masks", objects=f.objects(*APART), **ELSEWHERE, **more),
    )


_SHIFTED = (
    (0, 1, 25 / 64, 1 / 2, 1 / 2, 3 / 4),
    (0, 0, 43 / 64, 1 / 2, 3 / 8, 1 / 2),
    (1, 0, 1 / 2, 19 / 64, 1 / 2, 19 / 32),
)


def corners() -> tuple[Case, ...]:
    """Edge cases of the mask and the semantic term, on fixture F."""
    first_two, last = f.objects(*f.ROWS[:2]), f.objects(f.ROWS[2])
    blank, separate = f.masks(), f.separate_masks()
    larger = {"masks": f.masks(3, 16, 32), "sem_masks": np.indices((2, 16, 32))[2] % 2}
    blank[1] = 0
    return (
        of_f("worked example", "24 positives in two images, masks and semantic branch"),
        of_f("separate masks", "one binary mask for each object: the same five values", overlap=False),
        of_f("without semantic logits", "the last term is 0", semantic=False),
        of_f("larger masks", "prototypes are resized, bilinear", **larger),
        of_f("fractional edges", "D1: exact, not rounded", objects=f.objects(*_SHIFTED)),
        of_f("rounded edges", "as upstream for few positives", objects=f.objects(*_SHIFTED), crop="rounded"),
        of_f("larger masks in edition 8.3", "masks are resized, nearest", **larger, edition="8.3"),
        of_f("an image without objects", "D4: its pixels are not trained", objects=first_two, masks=blank),
        of_f("without objects, separate", "D4", objects=first_two, masks=separate[:2], overlap=False),
        of_f(
            "without objects, as upstream",
            "D4: its pixels are trained",
            objects=first_two,
            masks=separate[:2],
            overlap=False,
            semantic_background="class0",
        ),
        of_f("fewer masks than images", "D3: image 1 counts", objects=last, masks=separate[2:], overlap=False),
        of_f(
            "truncated",
            "D3, as upstream: image 1 does not count",
            objects=last,
            masks=separate[2:],
            overlap=False,
            separate_masks="truncated",
        ),
        of_f(
            "objects in another order",
            "separate masks follow the objects",
            objects=f.objects(*np.array(f.ROWS)[[2, 0, 1]]),
            masks=separate[[2, 0, 1]],
            overlap=False,
        ),
        of_f(
            "foreign object first",
            "its mask is passed over",
            objects=f.objects((-1, 1, 1 / 2, 1 / 2, 1 / 2, 1 / 2), *f.ROWS),
            masks=np.concatenate([np.ones((1, *f.MAP)), separate]),
            overlap=False,
        ),
        *of_rules(),
        of_f("no object", "three zeros and zero gradients", objects=f.no_object()),
        of_f("no positive", "an object that contains no anchor", objects=f.objects((0, 1, 2, 2, 1 / 4, 1 / 4))),
        of_f("logits 0", "sigmoid - t, not a kink", "kink", mask_coefficient=np.zeros((2, 2, f.ANCHORS))),
        of_f(
            "sure", "logits of 400 and -400", mask_coefficient=40 * np.sign(f.mask_coefficient()), proto=10 * f.proto()
        ),
    )
