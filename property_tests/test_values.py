"""Settings at values that stand in no list, and on the smallest input: a mistake at one of them is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from lossref.checks.cases.kinds import of_kind
from lossref.checks.cases.values import valued
from lossref.checks.table import check, named
from lossref.core.nouns import Span, Target, Verdict
from lossref.losses import spec, specs

Params = dict[str, Any]
Wrong = Callable[[Params], Params]


def at(name: str, value: Any, other: Any) -> Wrong:
    """The setting counts as another one where it has this value."""
    return lambda params: {**params, name: other} if params[name] == value else params


ROWS: dict[str, tuple[str, Wrong, str]] = {
    "gamma of 1": ("focal", at("gamma", 1, 0.0), "at gamma=1"),
    "gamma of a half": ("focal", at("gamma", 0.5, 0.0), "at gamma=0.5"),
    "gamma of 0": ("varifocal", at("gamma", 0.0, 2.0), "at gamma=0.0"),
    "a large gamma": ("varifocal", lambda p: {**p, "gamma": min(p["gamma"], 4.0)}, "at gamma="),
    "alpha of 1": ("focal", at("alpha", 1, 0.0), "at alpha=1"),
    "a sentinel": ("focal", lambda p: {**p, "alpha": abs(p["alpha"])}, "at alpha=-"),
    "an int": ("focal", lambda p: {**p, "gamma": p["gamma"] // 2 if type(p["gamma"]) is int else p["gamma"]}, "gamma="),
    "no smooth": ("dice", at("smooth", 0.0, 1.0), "at smooth=0.0"),
    "a large eps": ("iou", lambda p: {**p, "eps": min(p["eps"], 1e-3)}, "at eps="),
    "a tiny eps": ("giou", lambda p: {**p, "eps": max(p["eps"], 1e-9)}, "at eps="),
    "five bins": ("dfl_decode", at("reg_max", 5, 4), "raised ValueError"),
    "a weight": ("bce_dice", lambda p: {**p, "weight_dice": min(p["weight_dice"], 2.0)}, "at weight_dice="),
    "an offset": ("make_anchors", at("grid_cell_offset", 1, 0.5), "at grid_cell_offset=1"),
    "a gain of a composite": ("detr", lambda p: {**p, "giou_gain": min(p["giou_gain"], 1.0)}, ""),
}


def _verdict(name: str, build: Callable[..., Any]) -> Verdict:
    one = spec(name)
    return check(named("params"), one, Target(name, build, "target", tuple(one.params)), valued(one, 0), "float64")[0]


@pytest.mark.parametrize(("name", "wrong", "said"), ROWS.values(), ids=list(ROWS))
def test_a_value_of_its_own(name: str, wrong: Wrong, said: str) -> None:
    right = spec(name).reference

    def build(**params: Any) -> Callable[..., Any]:
        return lambda *inputs: right(*inputs, **wrong(params))

    verdict = _verdict(name, build)
    assert verdict.status == "fail"
    assert said in verdict.note


def test_one_image_without_reduction_keeps_its_axis() -> None:
    right = spec("dice").reference

    def build(**params: Any) -> Callable[..., Tensor]:
        return lambda *inputs: right(*inputs, **params).squeeze()

    assert "returned shape ((),), expected ((1,),)" in _verdict("dice", build).note


def test_an_integer_for_a_float_may_be_refused() -> None:
    right = spec("focal").reference

    def build(**params: Any) -> Callable[..., Tensor]:
        if not all(isinstance(value, (float, str)) for value in params.values()):
            raise TypeError("gamma and alpha are floats")
        return lambda *inputs: right(*inputs, **params)

    assert _verdict("focal", build).status == "pass"


def test_what_a_target_lacks_stays_where_it_stands() -> None:
    asked = of_kind(spec("detr"), "valued", "quick", 0, (("alpha", 0.75),), ("gamma",))
    stands = {(case.params["alpha"], case.params["giou_gain"]) for case in asked}
    assert stands == {(0.75, spec("detr").params["giou_gain"].default)}


SPANS = {f"{one.name} {name}": (one, name) for one in specs().values() for name, p in one.params.items() if p.span}


@pytest.mark.parametrize(("one", "name"), SPANS.values(), ids=list(SPANS))
def test_the_default_and_the_values_of_a_setting_are_legal(one: Any, name: str) -> None:
    param = one.params[name]
    for value in (param.default, *param.others, *param.span.values(np.random.default_rng(0))):
        assert value is None or param.span.low <= value <= param.span.high
        assert type(value) is int or not param.span.whole or value is None


def test_the_drawn_value_depends_on_the_seed() -> None:
    drawn = {Span(0.0, 5.0).values(np.random.default_rng(seed))[-1] for seed in range(9)}
    assert len(drawn) > 3
    ids = [{case.id for case in valued(spec("focal"), seed)} for seed in (0, 1)]
    assert ids[0] != ids[1]
