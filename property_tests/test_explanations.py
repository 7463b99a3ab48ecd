"""Explanations are true: they reproduce the numbers of the target on held-out cases, and name what was done.

`python property_tests/test_explanations.py [SPEC ...]` explains every impostor without itself in the list.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lossref import bbox_iou
from lossref.checks.attempts import Attempt, Attempts
from lossref.checks.material import material
from lossref.core.nouns import Case, Spec, Target
from lossref.losses import spec as find
from lossref.losses import specs
from lossref.run.causes.explain import Shown, explain
from lossref.run.causes.explain.covered import covered
from lossref.run.causes.explain.decisions import decisions
from lossref.run.causes.explain.formula.changes import changes
from lossref.run.causes.explain.formula.derived import RAW
from lossref.run.causes.explain.formula.places import text_of
from lossref.run.causes.explain.formula.plain import Floats
from lossref.run.causes.explain.variants.inputs import taken
from lossref.run.causes.explain.variants.tensors import _place, done_otherwise
from lossref.run.causes.in_dtype import alone
from lossref.run.causes.judged import Tracing
from lossref.run.causes.settings.found import found
from lossref.run.plan import Job
from shared.explaining import explained, shown_of, without_itself


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


def ciou_with(box1: Tensor, box2: Tensor, eps: float, tall: float, over: float, gate: float, wide: float = 0) -> Tensor:
    """CIoU of corners, `tall` added to heights, `wide` to widths, `over` to the intersection; no alpha below `gate`."""
    (x, y, X, Y), (a, b, A, B) = box1.unbind(-1), box2.unbind(-1)
    w, h, W, H = X - x + wide, Y - y + tall, A - a + wide, B - b + tall
    across = (torch.minimum(X, A) - torch.maximum(x, a)).clamp(0)
    inter = across * (torch.minimum(Y, B) - torch.maximum(y, b)).clamp(0)
    iou = (inter + over) / (w * h + W * H - inter + eps)
    long, high = torch.maximum(X, A) - torch.minimum(x, a), torch.maximum(Y, B) - torch.minimum(y, b)
    v = 4 / math.pi**2 * ((W / H).atan() - (w / h).atan()) ** 2
    with torch.no_grad():
        alpha = torch.where(iou >= gate, v / (v - iou + (1 + eps)), 0.0)
    centres = ((a + A - x - X) ** 2 + (b + B - y - Y) ** 2) / 4
    return (iou - centres / (long**2 + high**2 + eps) - v * alpha)[..., None]


def corners(box: Tensor) -> Tensor:
    return torch.cat([box[..., :2] - box[..., 2:] / 2, box[..., :2] + box[..., 2:] / 2], -1)


def half_converted(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    return ciou_with(corners(box1) if xywh else box1, box2, eps, eps, 0, -9)


FIRST_TIME: list[tuple[str, Callable[..., Any], dict[str, Any], dict[str, Any], str]] = [
    ("right", lambda a, b, eps: ciou_with(a, b, eps, eps, 0, -9), {"xywh": False}, {}, ""),
    ("no eps on heights", lambda a, b, eps: ciou_with(a, b, eps, 0, 0, -9), {"xywh": False}, {}, "`y2 - y1 + eps`"),
    (
        "eps on widths",
        lambda a, b, eps: ciou_with(a, b, eps, 0, 0, -9, eps),
        {"xywh": False},
        {},
        "its eps moved to `x2 - x1`",
    ),
    ("eps over the union", lambda a, b, eps: ciou_with(a, b, eps, eps, eps, -9), {"xywh": False}, {}, "its dividend"),
    ("notations mixed", half_converted, {}, {}, "box2 is not in the notation that xywh names"),
    ("two faults", lambda a, b, eps: ciou_with(a, b, eps, 0, 0, 0.5), {"xywh": False}, {"alpha": "gated"}, "y1 + eps`"),
]


@pytest.mark.parametrize(
    ("function", "fixed", "settings", "words"), [row[1:] for row in FIRST_TIME], ids=[row[0] for row in FIRST_TIME]
)
def test_a_first_file_is_told_what_is_wrong_in_value_and_gradient(
    function: Callable[..., Any], fixed: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    target = stranger("ciou", function, *(name for name in ("xywh", "eps") if name not in fixed), **fixed)
    rows = list(explained(find("ciou"), target, settings))
    assert len(rows) == (3 if words else 0)
    assert all(words in one.sentence for one in rows)


def test_what_is_missing_from_the_gradient_alone_is_not_called_missing_from_the_value() -> None:
    """The aspect term is there, and takes no gradient: so much only has the impostor without it."""

    def detached(a: Tensor, b: Tensor, eps: float) -> Tensor:
        distance: Tensor = find("diou").reference(a, b, xywh=False, eps=eps)
        return distance + (ciou_with(a, b, eps, eps, 0, -9) - distance).detach()

    told = said("ciou", detached, "eps", xywh=False)
    assert list(told) == ["gradient box1", "gradient box2"]
    assert all(
        "'no aspect'" in one and "the value is right: look for what takes no gradient" in one for one in told.values()
    )


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


# Composites -----------------------------------------------------------------------------------------------

COMPOSITES = [
    ("detr", "mean of four", "loss_bbox is 1/4 times the right value"),
    ("task_aligned", "plain IoU", "agrees when overlap is 'iou'"),
]


@pytest.mark.parametrize(
    ("name", "label", "words"), COMPOSITES, ids=[f"{name} {label}" for name, label, _ in COMPOSITES]
)
def test_a_mistake_in_a_composite_is_explained_without_itself(name: str, label: str, words: str) -> None:
    spec = find(name)
    wrong = next(one for one in spec.impostors if one.label == label)
    assert any(words in one.sentence for one in explained(*without_itself(spec, wrong), checks=("value",)))


DECIDED: list[tuple[dict[str, Any], float, str]] = [
    ({}, 2.0, "the right anchors are assigned, with the right target scores"),
    ({"tal_topk": 1}, 1.0, "the assignment differs: other anchors have a gradient (1 where "),
]


@pytest.mark.parametrize(("change", "factor", "words"), DECIDED, ids=["box term", "assignment"])
def test_the_assignment_is_told_apart_from_the_terms(change: dict[str, Any], factor: float, words: str) -> None:
    spec = find("v8_detection")
    case = next(one for one in material(spec, "single", "quick", 1) if one.params["tal_topk"] > 1)

    def other(*inputs: Tensor, **params: Any) -> Any:
        box, cls, dfl = spec.reference(*inputs, **{**params, **change})
        return factor * box, cls, dfl

    target, known = stranger("v8_detection", other, *spec.params), Attempts(spec)
    (one,) = shown_of(known, target, [case], {})
    assert words in ", ".join(decisions(spec, [one]))


def test_class_ids_that_are_one_further_begin_again_after_the_last_one() -> None:
    spec = find("detr")
    case = next(iter(material(spec, "small", "quick", 1)))
    count = case.inputs["pred_scores"].shape[-1]
    further = replace(case, inputs={**case.inputs, "cls": (case.inputs["cls"] + 1) % count})
    known = Attempts(spec)
    (want,) = shown_of(known, known.own, [further], {})
    variants = [one for one in taken(spec, {}) if "the class after it" in one.sentence]
    found = known.of(variants[0].who, case, {})
    assert found is not None
    assert want.got is not None
    assert np.array_equal(found.value, want.got.value)


def test_torch_cuts_softplus_off_at_20() -> None:
    """Beyond it ln(1 + e^x) is x: 2e-9 of the loss, which float64 tells."""
    change = next(one for one in changes("softplus", (None,)) if "threshold" in one.words)
    for x in (19.0, 21.0, 30.0):
        m = Floats()
        usual = change.other(m, RAW["softplus"], m.number(x))
        assert usual.value == torch.nn.functional.softplus(torch.tensor(x, dtype=torch.float64)).item()


def test_halved_targets_are_read_from_the_gradient() -> None:
    logits = np.linspace(-2, 2, 8).reshape(1, 2, 4)
    targets = np.zeros((1, 2, 4))
    targets[0, 1, 2] = 0.5
    sure, boxes = 1 / (1 + np.exp(-logits)), np.zeros((1, 64, 4))
    boxes[0, :, 2] = 1.0
    spec = find("v8_detection")
    case = Case(spec.name, {"scores": logits})
    got, want = (Attempt(np.zeros(3), (boxes, 1.25 * (sure - t))) for t in (targets / 2, targets))
    said = list(decisions(spec, [Shown(case, got, want)]))
    assert said == ["the right anchors are assigned", "with target scores that are 1/2 times the right ones"]


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


# A composite with a fault that no list names: what its reference calls is done otherwise -----------------------------


def planted(spec: Spec, place: str, change: Callable[[Tensor], Tensor], **settings: Any) -> Target:
    """The reference at other settings, with another result of the operations whose source has these words."""

    class Planted(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            called = _place(sys._getframe(1), func.__name__.strip("_"))
            return change(found) if called and place in text_of(called[0]) else found

    def build(**params: Any) -> Any:
        def asked(*inputs: Any) -> Any:
            with Planted():
                return spec.reference(*inputs, **{**params, **settings})

        return asked

    taken = tuple(name for name, param in spec.params.items() if not isinstance(param.default, str))
    return Target(spec.name, build, "planted", taken)


FAULTS = {
    "scores of the targets": ("torch.where(bad[image], torch.nan, score)", lambda x: x / 2, "score)` (", "is halved"),
    "stride of the first level": ("grid.strides[anchor]", lambda x: x[:1].expand_as(x), "stride", "first "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_of_a_composite_is_named_beside_a_setting(fault: str) -> None:
    place, change, where, words = FAULTS[fault]
    spec = find("v8_detection")
    target = planted(spec, place, change, small_boxes="raised")
    known, settings = Attempts(spec), {"small_boxes": "raised"}
    cases = [case for kind in ("single", "corner") for case in material(spec, kind, "quick", 1)]
    shown = shown_of(known, target, cases[:6], settings)
    said = explain(spec, target, "value box", shown, known, settings)
    assert where in said, said
    assert words in said, said


def test_a_constant_of_another_size_is_named_by_its_term() -> None:
    spec = find("v8_detection")
    case = next(iter(material(spec, "single", "quick", 1)))
    sentences = [one.sentence for one, _ in done_otherwise(spec, case, {}, {"box"})]
    assert "agrees when every 1e-07 behind box is 0.001" in sentences
    assert not any("behind" in one.sentence for one, _ in done_otherwise(spec, case, {}, {"box", "dfl"}))


FAR = 8.0  # logits of which nothing underflows in float32


@pytest.mark.parametrize(
    ("factor", "words"), [(1.0, "the formula carried out in float32"), (1.5, "is right in float64 on the same cases")]
)
def test_what_fails_in_float32_alone_has_a_cause_of_its_own(factor: float, words: str) -> None:
    spec = find("focal")

    def build(**params: Any) -> Any:
        return lambda *x: spec.reference(*x, **params) * (factor if x[0].dtype == torch.float32 else 1)

    target = Target("focal", build, "in float32", tuple(spec.params))
    tracing = Tracing(cast(Job, SimpleNamespace(tier="quick")), spec, target, Attempts(spec))
    drawn = material(spec, "single", "quick", 1)
    cases = [case for case in drawn if abs(case.inputs["pred"]).max() < FAR and case.inputs["pred"].any()][:2]
    assert words in alone(tracing, "value loss", cases, "float32")
    assert not alone(tracing, "value loss", cases, "float64")


def test_a_claim_is_not_that_of_large_cases_which_it_does_not_speak_of() -> None:
    spec = find("focal")
    tracing = Tracing(cast(Job, SimpleNamespace(tier="quick")), spec, stranger("focal", spec.reference), Attempts(spec))
    cases = list(material(spec, "single", "quick", 1))[:2]
    gamma = cases[0].params["gamma"]
    assert covered(tracing, "value loss", cases, f"agrees, at gamma = {gamma!r} only").startswith("agrees")
    assert "another reason" in covered(tracing, "value loss", cases, "agrees, at gamma = -7.0 only")


def test_a_setting_shows_itself_by_the_anchors_that_it_assigns() -> None:
    spec = find("v8_detection")
    target = planted(spec, FAULTS["scores of the targets"][0], lambda x: x * 0.3, small_boxes="raised")
    cases = [case for seed in range(5) for case in material(spec, "small", "quick", seed)]
    assert found(spec, target, cases, Attempts(spec)) == {"small_boxes": "raised"}
