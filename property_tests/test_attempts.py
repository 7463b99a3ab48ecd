"""What explanations ask is asked once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lossref.checks.attempts import Attempts
from lossref.checks.material import material
from lossref.core.nouns import Spec, Target
from lossref.losses import spec as find
from lossref.run.causes.explain import explain
from shared.explaining import shown_of


def counted(spec: Spec, asked: list[dict[str, Any]]) -> Target:
    """The mean over all items, which is no reference's answer, as a target that writes down how it is built."""

    def build(**params: Any) -> Callable[..., Any]:
        asked.append(params)
        return lambda *inputs: spec.reference(*inputs, **params).mean()

    return Target(spec.name, build, "mean", tuple(spec.params))


def test_a_second_explanation_asks_the_target_nothing() -> None:
    spec, asked = find("giou"), list[dict[str, Any]]()
    target, known = counted(spec, asked), Attempts(spec)
    shown = shown_of(known, target, [*material(spec, "corner", "quick", 0), *material(spec, "small", "quick", 0)], {})
    first = explain(spec, target, "size of value giou", shown, known, {})
    count = len(asked)
    again = explain(spec, target, "size of value giou", shown, known, {})
    assert len(asked) == count > 0
    assert first == again
    assert "mean over all items" in first


def test_another_setting_dtype_or_case_is_another_question() -> None:
    spec, asked = find("giou"), list[dict[str, Any]]()
    target, known = counted(spec, asked), Attempts(spec)
    case, other = material(spec, "single", "quick", 0)[:2]
    ways: tuple[tuple[Any, ...], ...] = ((case,), (other,), (case, {"eps": 0.5}), (case, None, "float32"))
    for _ in range(2):
        for way in ways:
            known.of(target, *way)
    assert len(asked) == len(ways)
    known.of(replace(target), case)
    assert len(asked) == len(ways) + 1, "another target of the same name"


def test_the_oldest_is_forgotten() -> None:
    spec, asked = find("giou"), list[dict[str, Any]]()
    target, known = counted(spec, asked), Attempts(spec, most_bytes=2_000)
    cases = material(spec, "single", "quick", 0)[:20]
    for case in cases:
        known.of(target, case)
    assert known.has(target, cases[-1], {})
    assert not known.has(target, cases[0], {})
