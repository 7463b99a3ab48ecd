"""Every setting of every spec matters on a case that is asked, or a sentence says why it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from lossref.checks.behaviour.params import params
from lossref.checks.material import material
from lossref.checks.settings import at_default, changed_in, corners_at, matters
from lossref.checks.settings import setting as settings_at
from lossref.core.nouns import Case, Spec, Target
from lossref.losses import spec, specs

WEIGHTLESS = "an anchor of metric 0 has a target of 0, and that is its weight in every term"
DETACHED = "it changes the gradient of the box term alone, and the items carry none"
AREA = "an object without area is no legal input where its cost is divided by 0"
CANNOT = {
    **{
        (name, *change): WEIGHTLESS
        for name in ("v8_detection", "e2e", "e2e_detect", "tvp_detect", "v8_obb")
        for change in (("conflict", "containing"), ("zero_metric", "dropped"))
    },
    **{(name, "ciou_alpha", "attached"): DETACHED for name in ("tvp_detect", "tvp_segment")},
    **{(name, "zero_area_mask", "nan"): AREA for name in ("mask", "v8_segmentation", "tvp_segment")},
    ("hungarian", "bad_cost", "zero"): "only a NaN has a bad cost, and no answer for it is certified: a law asks it",
}
NAMES = [name for name, one in specs().items() if any(param.others for param in one.params.values())]


def _changes(one: Spec) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, param in one.params.items() if not param.convention for value in param.others)


def _asked(one: Spec, name: str, value: Any) -> Iterator[Case]:
    """The cases on which a value is asked: corners, those that were made for it first, and the first draws."""
    corners = sorted(corners_at(one, name, value), key=lambda case: (name, repr(value)) not in _made_with(one, case))
    drawn = (case for case in material(one, "setting", "quick", 0) if changed_in(one, case, ()).get(name) == value)
    return chain(drawn, corners) if not one.composite else chain(corners, drawn)


def _made_with(one: Spec, case: Case) -> set[tuple[str, str]]:
    found = next((base for base in one.corners if case.id.startswith(f"{base.id}, ".replace("/", ":"))), None)
    return {(name, repr(value)) for name, value in found.params.items()} if found else set()


def _shows(one: Spec, name: str, value: Any) -> bool:
    return any(matters(one, case, at_default(one, case, ())) for case in _asked(one, name, value))


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_matters_somewhere(name: str) -> None:
    one = spec(name)
    silent = [change for change in _changes(one) if (name, *change) not in CANNOT and not _shows(one, *change)]
    assert not silent


IGNORED = ("use_uni_match", "uni_match_ind", "vfl_empty", "vfl_constants", "counted", "vfl_weight_gradient")


@pytest.mark.parametrize("setting", IGNORED)
def test_a_target_that_ignores_a_setting_fails(setting: str) -> None:
    """None of these matters on a drawn case."""
    one = spec("detr")

    def build(**given: Any) -> Any:
        return lambda *inputs: one.reference(*inputs, **{**given, setting: one.params[setting].default})

    target = Target("detr", build, "deaf", tuple(one.params))
    numbered = enumerate(material(one, "setting", "quick", 0))
    cases = [settings_at(one, "quick", 0, (), at) for at, case in numbered if changed_in(one, case, ()).get(setting)]
    found = [params(one, target, case, "float64") for case in cases]
    assert all(evidence.problem for evidence in found)
