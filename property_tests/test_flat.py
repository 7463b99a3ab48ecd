"""Boxes without a side, and rows under any number of axes: a mistake that only they show is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lossref.checks.cases.flat import flat
from lossref.checks.material import material
from lossref.checks.table import check, named
from lossref.core.nouns import Spec, Target
from lossref.losses import spec, specs

Turned = Callable[[Tensor, dict[str, Any]], Tensor]
OVERLAPS = ("iou", "giou", "diou", "ciou")


def _sides(box: Tensor, params: dict[str, Any]) -> Tensor:
    return box[..., 2:] if params["xywh"] else box[..., 2:] - box[..., :2]


def _target(one: Spec, at: int, wrong: Turned) -> Target:
    """Right, but for what is wrong where a box is so."""

    def build(**params: Any) -> Callable[..., Tensor]:
        def loss(*boxes: Tensor) -> Tensor:
            out: Tensor = one.reference(*boxes, **params)
            return torch.where(wrong(boxes[at], params), out + 3, out)

        return loss

    return Target(one.name, build, "target", tuple(one.params))


@pytest.mark.parametrize("name", OVERLAPS)
@pytest.mark.parametrize("at", [0, 1], ids=["box1", "box2"])
@pytest.mark.parametrize("side", [0, 1], ids=["width", "height"])
@pytest.mark.parametrize("xywh", [True, False], ids=["xywh", "xyxy"])
def test_a_box_without_a_side(name: str, at: int, side: int, xywh: bool) -> None:
    one = spec(name)
    target = _target(
        one,
        at,
        lambda box, params: (
            (_sides(box, params)[..., side : side + 1] == 0)
            & (params["xywh"] == xywh)
            & (_sides(box, params)[..., 1 - side : 2 - side] > 0)
        ),
    )
    if (name, side, xywh) == ("ciou", 1, True):  # w/h is taken
        assert all(
            not (x[..., 3] == 0).any() for case in flat(one, 0) if case.params["xywh"] for x in case.inputs.values()
        )
    else:
        assert check(named("value"), one, target, flat(one, 0), "float64")[0].status == "fail"


def test_every_box_that_is_given_has_been_without_each_side() -> None:
    with_boxes = {one.name for one in specs().values() if any(domain.flat for domain in one.inputs.values())}
    assert with_boxes == {*OVERLAPS, "xyxy2xywh", "xywh2xyxy", "bbox2dist", "rbox2dist", "xywhr2xyxyxyxy"}
    assert all(flat(spec(name), 0) for name in with_boxes)


def of_axes(count: int) -> Callable[..., Any]:
    def build(**params: Any) -> Callable[..., Tensor]:
        def loss(*boxes: Tensor) -> Tensor:
            return spec("iou").reference(*boxes, **params) * (2.0 if boxes[0].ndim == count else 1.0)

        return loss

    return build


def rows_alone(**params: Any) -> Callable[..., Tensor]:
    def loss(*boxes: Tensor) -> Tensor:
        if boxes[0].ndim != 2:
            raise ValueError("expected (n, 4)")
        found: Tensor = spec("iou").reference(*boxes, **params)
        return found

    return loss


AXES = {
    "one": (of_axes(1), "fail", "one axis"),
    "three": (of_axes(3), "fail", "three axes"),
    "four": (of_axes(4), "fail", "four axes"),
    "refuses": (rows_alone, "pass", ""),
}


@pytest.mark.parametrize(("build", "status", "said"), AXES.values(), ids=list(AXES))
def test_rows_under_other_axes(build: Callable[..., Any], status: str, said: str) -> None:
    one = spec("iou")
    cases = material(one, "small", "quick", 0)
    verdict = check(named("shape"), one, Target("iou", build, "target", tuple(one.params)), cases, "float64")[0]
    assert verdict.status == status
    assert said in verdict.note
