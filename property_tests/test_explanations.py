"""Explanations are true: they reproduce the numbers of the target on held-out cases, and name what was done.

`python property_tests/test_explanations.py [SPEC ...]` explains every impostor without itself in the list.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lossref import bbox_iou
from lossref.core.nouns import Spec, Target
from lossref.losses import spec as find
from lossref.losses import specs
from shared.explaining import explained, without_itself


def stranger(name: str, function: Callable[..., Any], *accepts: str, **fixed: Any) -> Target:
    return Target(name, lambda **params: lambda *inputs: function(*inputs, **params), "stranger", accepts, fixed)


def said(name: str, function: Callable[..., Any], *accepts: str, **fixed: Any) -> dict[str, str]:
    """What is said of a function, by kind of failure."""
    return {one.kind: one.sentence for one in explained(find(name), stranger(name, function, *accepts, **fixed))}


def no_eps_in_alpha(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    """Pure float64: only eps is missing from alpha (torchvision's form)."""
    (x, y, w, h), (X, Y, W, H) = box1.unbind(-1), box2.unbind(-1)
    left, right, L, R = x - w / 2, x + w / 2, X - W / 2, X + W / 2
    top, bottom, T, B = y - h / 2, y + h / 2, Y - H / 2, Y + H / 2
    across = (torch.minimum(right, R) - torch.maximum(left, L)).clamp(0)
    inter = across * (torch.minimum(bottom, B) - torch.maximum(top, T)).clamp(0)
    iou = inter / (w * h + W * H - inter + eps)
    wide, tall = torch.maximum(right, R) - torch.minimum(left, L), torch.maximum(bottom, B) - torch.minimum(top, T)
    v = 4 / math.pi**2 * ((W / H).atan() - (w / h).atan()) ** 2
    with torch.no_grad():
        alpha = v / (1 - iou + v).clamp_min(eps)
    return (iou - ((x - X) ** 2 + (y - Y) ** 2) / (wide**2 + tall**2 + eps) - v * alpha)[..., None]


def test_float64_with_another_eps_is_not_float32() -> None:
    for sentence in said("ciou", no_eps_in_alpha, xywh=True).values():
        assert "no eps in alpha" in sentence
        assert "float32" not in sentence


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_arithmetic_is_seen(dtype: torch.dtype) -> None:
    def narrow(box1: Tensor, box2: Tensor, xywh: bool) -> Tensor:
        return bbox_iou(box1.to(dtype).float(), box2.to(dtype).float(), xywh, GIoU=True).to(dtype).double()

    sentences = said("giou", narrow, "xywh").values()
    assert sentences
    assert all(str(dtype).removeprefix("torch.") in one for one in sentences)


def test_one_narrow_part_is_seen() -> None:
    def narrow(box1: Tensor, box2: Tensor, xywh: bool) -> Tensor:
        right = bbox_iou(box1, box2, xywh, GIoU=True) - bbox_iou(box1, box2, xywh)
        return right + bbox_iou(box1.float(), box2.float(), xywh).double()

    assert all("float32" in one for one in said("giou", narrow, "xywh").values())


@pytest.mark.parametrize(
    ("factor", "words"), [(2, "2 times"), (1 / 3, "1/3 times"), (-1, "minus the"), (math.pi, "pi times")]
)
def test_factors(factor: float, words: str) -> None:
    for one in said("diou", lambda a, b, xywh: bbox_iou(a, b, xywh, DIoU=True) * factor, "xywh").values():
        assert words in one


def test_an_eps_of_any_size_is_found() -> None:
    found = said("giou", lambda a, b, xywh: bbox_iou(a, b, xywh, GIoU=True, eps=1.3e-7), "xywh")
    assert set(found.values()) == {"agrees when eps is 1.3e-07"}


def test_a_step_of_the_formula_is_named() -> None:
    spec = find("ciou")
    kept = tuple(one for one in spec.impostors if one.label != "alpha attached")
    wrong = next(one for one in spec.impostors if one not in kept)
    lacking, target = without_itself(spec, wrong)
    for one in explained(lacking, target):
        assert "m.stop(factor)" in one.sentence
        assert one.sentence.endswith("is left out")


def test_what_nothing_explains_is_described() -> None:
    def odd(box1: Tensor, box2: Tensor, xywh: bool) -> Tensor:
        found: Tensor = bbox_iou(box1, box2, xywh)
        return found + 0.01 * torch.sin(40 * found)

    for one in explained(find("iou"), stranger("iou", odd, "xywh")):
        assert not one.sentence
        assert one.known.startswith("nothing known explains it: ")
        assert "got/want" in one.known


CHEAP = ("classification", "focal", "xywh2xyxy", "dist2bbox")


@pytest.mark.parametrize("name", CHEAP)
def test_impostors_are_explained_without_themselves(name: str) -> None:
    rows = [one for wrong in find(name).impostors for one in explained(*without_itself(find(name), wrong))]
    assert sum(bool(one.sentence) for one in rows) >= 0.65 * len(rows)
    assert all(one.known for one in rows)


def everything(chosen: list[Spec]) -> None:
    """Print every impostor of the specs, what is said of it, and how many are explained."""
    told = total = 0
    for spec in chosen:
        for wrong in spec.impostors:
            for one in explained(*without_itself(spec, wrong)):
                total, told = total + 1, told + bool(one.sentence)
                print(f"{spec.name:14} {wrong.label:26} {one.kind:24} {one.known}", flush=True)
    print(f"{told} of {total} explained")


if __name__ == "__main__":
    everything([one for one in specs().values() if one.name in sys.argv[1:] or not (sys.argv[1:] or one.composite)])
