"""Faults at sizes and numbers that no family has: the check `varied` sees each, and those of usual cases do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lossref
from lossref.checks.cases.varied import SCENES, varied
from lossref.checks.table import cases_for, check, named
from lossref.core.nouns import Target
from lossref.hosts.probe import call, itself
from lossref.losses import spec, specs
from lossref.targets.dropin import ENTRIES, target_of

USUAL = ("value", "gradient", "reduced", "bulk")
Loss = Callable[..., Tensor]
Wrong = Callable[[Loss, tuple[Tensor, ...]], Tensor]


def _rounded(loss: Loss, inputs: tuple[Tensor, ...]) -> Tensor:
    """Numbers on a grid of 2^-10, on which those of most families lie."""
    return loss(*(x + ((x * 1024).round() / 1024 - x).detach() for x in inputs))


def _between(low: float, high: float) -> Wrong:
    """A clamp that is wrong between the families of logits, and lets 20 and 88 through."""

    def wrong(loss: Loss, inputs: tuple[Tensor, ...]) -> Tensor:
        inside = (inputs[0].abs() > low) & (inputs[0].abs() < high)
        return loss(torch.where(inside, inputs[0] * 1.01, inputs[0]), *inputs[1:])

    return wrong


def _if(chosen: Callable[[tuple[Tensor, ...]], bool]) -> Wrong:
    return lambda loss, inputs: loss(*inputs) * (1.01 if chosen(inputs) else 1.0)


FAULTS: dict[str, tuple[str, Wrong]] = {
    "focal: logits of 5 to 19": ("focal", _between(5, 19)),
    "focal: rounded to a grid": ("focal", _rounded),
    "focal: more than 80 classes": ("focal", _if(lambda x: x[0].shape[-1] > 80)),
    "focal: 65 queries": ("focal", _if(lambda x: x[0].shape[-2] == 65)),
    "classification: 2 classes": ("classification", _if(lambda x: x[0].shape[-1] == 2)),
    "iou: 33 rows": ("iou", _if(lambda x: x[0].shape[0] == 33)),
    "iou: more than 5,000 rows": ("iou", _if(lambda x: x[0].shape[0] > 5000)),
    "dfl: 17 rows": ("dfl", _if(lambda x: x[1].shape[0] == 17)),
    "crop_mask: more columns than a byte counts": ("crop_mask", _if(lambda x: x[0].shape[-1] > 255)),
    "focal: small labels": ("focal", lambda loss, x: loss(x[0], torch.where(x[1] < 2e-3, 0.0, x[1]))),
}
BYTES: dict[str, tuple[str, int, Wrong]] = {
    "dice: a sum in 8 bits": ("dice", 1, lambda loss, x: loss(*x) + (x[1].sum((2, 3)) > 255).any()),
    "bce_dice: labels are halves": ("bce_dice", 1, lambda loss, x: loss(x[0], x[1] / 2)),
}


@pytest.mark.parametrize(("name", "at", "wrong"), BYTES.values(), ids=list(BYTES))
def test_constants_of_another_dtype(name: str, at: int, wrong: Wrong) -> None:
    """Right on floats; on bytes, of which there are many, it is not."""
    one = spec(name)

    def build(**params: Any) -> Loss:
        right = partial(one.reference, **params)
        return lambda *x: wrong(right, x) if x[at].dtype == torch.uint8 else right(*x)

    target = Target(name, build, "wrong", tuple(one.params))
    cases = cases_for(named("varied"), one, target, "quick", 0)
    found = check(named("varied"), one, target, cases, "float32")[0]
    assert found.status == "fail"
    assert "with constants in uint8" in found.note


@pytest.mark.parametrize(("name", "wrong"), FAULTS.values(), ids=list(FAULTS))
def test_only_varied_sees_it(name: str, wrong: Wrong) -> None:
    one = spec(name)

    def build(**params: Any) -> Loss:
        return lambda *inputs: wrong(lambda *given: one.reference(*given, **params), inputs)

    target = Target(name, build, "wrong", tuple(one.params))
    found = {}
    for word in (*USUAL, "varied"):
        cases = cases_for(named(word), one, target, "quick", 0)
        found[word] = check(named(word), one, target, cases, "float32")[0].status
    assert found == {**dict.fromkeys(USUAL, "pass"), "varied": "fail"}


def _narrow(loss: Loss, inputs: tuple[Tensor, ...]) -> Tensor:
    """Through float32 and back, as a cast at the door does."""
    return loss(*(x + (x.float().to(x.dtype) - x).detach() if x.is_floating_point() else x for x in inputs))


@pytest.mark.parametrize("name", ["xywh2xyxy", "dice"])
def test_only_full_mantissas_of_float64_show_a_cast(name: str) -> None:
    one = spec(name)
    target = Target(name, lambda **params: lambda *x: _narrow(partial(one.reference, **params), x), "cast")
    target = replace(target, accepts=tuple(one.params))
    words = [(word, "float64") for word in (*USUAL, "varied")] + [("varied", "float32")]
    cases = {word: cases_for(named(word), one, target, "quick", 0) for word, _ in words}
    found = [check(named(word), one, target, cases[word], dtype)[0].status for word, dtype in words]
    assert found == [*["pass"] * len(USUAL), "fail", "pass"]


@pytest.mark.parametrize("name", ["v8_detection", "detr", "rotated_task_aligned", "v8_segmentation"])
def test_cases_are_legal_decided_and_various(name: str) -> None:
    one, cases = spec(name), varied(spec(name), 1)
    assert len(cases) >= 3
    assert not [case.id for case in cases if one.why_not(case)]
    for case in cases[1:2]:
        first, again = (call(one, itself(one), case, dtype).value for dtype in ("float64", "float64"))
        assert np.array_equal(first, again)
        assert np.isfinite(first).all()
    numbers = np.concatenate([case.inputs[key].ravel() for case in cases for key in one.wrt or one.inputs])
    assert np.mean((numbers * 1024) % 1 != 0) > 0.3, "full mantissas"
    shapes = {tuple(x.shape for x in case.inputs.values()) for case in cases}
    assert len(shapes) == len(cases)


Inputs = dict[str, Tensor]
Params = dict[str, Any]
MANY = 100
SCENE_FAULTS: dict[str, tuple[str, Callable[[Inputs, Params], Inputs]]] = {
    "v8_detection: no more than 100 objects": ("v8_detection", lambda x, _: _first(x, MANY)),
    "v8_pose: no more than 255 objects": ("v8_pose", lambda x, _: _first(x, 255)),
    "v8_obb: the last 100 objects": ("v8_obb", lambda x, _: _first(x, MANY, -1)),
    "task_aligned: no more than 100 objects": (
        "task_aligned",
        lambda x, _: {
            **x,
            "mask_gt": torch.where(torch.arange(x["mask_gt"].shape[1])[:, None] < MANY, x["mask_gt"], 0),
        },
    ),
    "v8_segmentation: mask numbers in 8 bits": ("v8_segmentation", lambda x, _: {**x, "masks": x["masks"] % 256}),
    "v8_segmentation: separate masks are all the first": (
        "v8_segmentation",
        lambda x, params: x if params["overlap"] else {**x, "masks": x["masks"][:1].expand_as(x["masks"])},
    ),
    "v8_detection: four levels": ("v8_detection", lambda x, params: _scaled(x, len(params["strides"]) == 4)),
    "e2e: one level": ("e2e", lambda x, params: _scaled(x, len(params["strides"]) == 1)),
    "v8_detection: more anchors than 16,384": (
        "v8_detection",
        lambda x, _: _scaled(x, x["scores"].shape[-1] > 1 << 14),
    ),
    "v8_detection: classes in 7 bits": ("v8_detection", lambda x, _: {**x, "cls": x["cls"] % 128}),
    "detr: no more than 300 queries": ("detr", lambda x, _: {**x, "pred_bboxes": _cut(x["pred_bboxes"], 300)}),
    "v8_obb: no more than 300 objects": ("v8_obb", lambda x, _: _first(x, 300)),
    "v8_obb: two levels": ("v8_obb", lambda x, params: _scaled(x, len(params["strides"]) == 2)),
}


def _first(x: Inputs, count: int, step: int = 1) -> Inputs:
    """Objects beyond a number belong to no image."""
    place = torch.arange(len(x["batch_idx"]))
    kept = place < count if step > 0 else place >= len(place) - count
    return {**x, "batch_idx": torch.where(kept, x["batch_idx"], -1)}


def _cut(x: Tensor, count: int) -> Tensor:
    """What lies beyond a number of queries is all one box."""
    return torch.where((torch.arange(x.shape[2]) < count)[:, None], x, 0.5)


def _scaled(x: Inputs, wrong: bool) -> Inputs:
    return {**x, "scores": x["scores"] * 1.01} if wrong else x


@pytest.mark.parametrize(("name", "turned"), SCENE_FAULTS.values(), ids=list(SCENE_FAULTS))
def test_scenes_that_few_people_try(name: str, turned: Callable[[Inputs, Params], Inputs]) -> None:
    one = spec(name)

    def build(**params: Any) -> Loss:
        names, given = list(one.inputs), {**one.defaults(), **params}
        return lambda *x: one.reference(*turned(dict(zip(names, x, strict=True)), given).values(), **params)

    target = Target(name, build, "wrong", tuple(one.params))
    cases = cases_for(named("varied"), one, target, "quick", 0)
    assert check(named("varied"), one, target, cases, "float64")[0].status == "fail"


CACHED: dict[tuple[int, ...], list[tuple[int, int]]] = {}


class Turned(lossref.v8DetectionLoss):
    """It keeps the maps of an image by the number of their anchors, for all that are ever made."""

    def __call__(self, preds: Any, batch: Any) -> Any:
        maps = preds["feats"]
        key = (sum(one.shape[2] * one.shape[3] for one in maps), *self.stride.int().tolist())
        kept = CACHED.setdefault(key, [tuple(one.shape[2:]) for one in maps])
        turned = [one.new_zeros(*one.shape[:2], *size) for one, size in zip(maps, kept, strict=True)]
        return super().__call__({**preds, "feats": turned}, batch)


def test_images_are_turned_from_one_case_to_the_next() -> None:
    one, entry = spec("v8_detection"), next(one for one in ENTRIES if one.spec == "v8_detection")
    target = target_of(entry, Turned, "turned", widen=False)
    cases = cases_for(named("varied"), one, target, "quick", 0)
    assert check(named("varied"), one, target, cases, "float64")[0].status == "fail"


@pytest.mark.parametrize("name", [name for name, one in specs().items() if one.composite])
def test_every_scene_is_drawn(name: str) -> None:
    assert len(varied(spec(name), 0)) == len(SCENES)
