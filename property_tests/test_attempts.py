"""What explanations ask is asked once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lossref.checks import numbers
from lossref.checks.attempts import Attempts
from lossref.checks.material import material
from lossref.checks.table import named
from lossref.core.nouns import Spec, Target
from lossref.hosts.worker import wire
from lossref.losses import spec as find
from lossref.run.causes.explain import explain
from lossref.run.causes.smallest.shrink import shrink
from lossref.run.causes.smallest.trials import Trials
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


def test_what_was_concluded_goes_with_the_attempts() -> None:
    """A claim holds on to the attempts that it is held against; 128 MiB of each target stayed for ever."""
    spec = find("giou")
    target, known = counted(spec, []), Attempts(spec)
    cases = [*material(spec, "corner", "quick", 0)[:3], *material(spec, "small", "quick", 0)]
    assert explain(spec, target, "size of value giou", shown_of(known, target, cases, {}), known, {})
    gone = weakref.ref(known)
    del known
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(("name", "check"), [("rotated_bbox", "bulk"), ("rotated_bbox", "reduced")])
def test_failures_that_go_the_same_way_are_made_small_once(name: str, check: str) -> None:
    """The second kind of failure of one case asks the target nothing, and comes to the case of a search of its own."""
    spec, asked = find(name), list[dict[str, Any]]()
    target, row, trials = counted(spec, asked), named(check), Trials(spec)
    case = material(spec, row.kinds[0], "quick", 0)[0]
    alone = shrink(spec, target, row, case, "float64")
    first = shrink(spec, target, row, case, "float64", trials=trials)
    count = len(asked)
    again = shrink(spec, target, row, case, "float64", trials=trials)
    assert len(asked) == count > 0
    for one in (first, again):
        assert all(np.array_equal(one.inputs[key], alone.inputs[key]) for key in spec.inputs)


def test_the_rows_of_both_dtypes_ask_the_reference_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, asked = find("giou"), list[str]()
    call = numbers.call
    monkeypatch.setattr(numbers, "call", lambda *args, **more: (asked.append(args[3]), call(*args, **more))[1])
    numbers.in_both.cache_clear()
    case = material(spec, "bulk", "quick", 0)[0]
    pairs = [numbers.trusted(spec, case, dtype) for dtype in ("float64", "float32")]
    assert asked == ["float64", "float32"]
    assert pairs[0] is pairs[1]


@pytest.mark.parametrize(("count", "pieces"), [(1000, 1), (200_000, 3)])
def test_a_small_message_is_one_piece(count: int, pieces: int) -> None:
    """Each piece wakes the one who reads; a large array is not copied once more."""
    assert len(wire.pack({"array": np.zeros(count)})) == pieces
