"""What explanations ask is asked once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lossref.checks import attempts, numbers
from lossref.checks.attempts import Attempt, Attempts
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


def test_what_is_kept_without_its_zeros_comes_back_to_the_bit() -> None:
    nearly_nothing = np.zeros((40, 50))
    nearly_nothing[3, 4:8] = -0.0, np.nan, np.inf, 5e-324
    full, none = np.arange(100.0) + 1, np.zeros((0, 4))
    spec, arrays = find("giou"), (nearly_nothing, full, np.asfortranarray(nearly_nothing), none, np.array(3.0))
    kept = attempts._thin(Attempt(nearly_nothing, arrays, ((40, 50),)))
    found = attempts._whole(kept)
    assert found is not None
    for one, other in zip((nearly_nothing, *arrays), (found.value, *found.gradients), strict=True):
        assert (one.shape, one.tobytes()) == (other.shape, other.tobytes())
    assert attempts._size(kept) < nearly_nothing.nbytes
    target, case = counted(spec, []), material(spec, "bulk", "quick", 0)[0]
    known = Attempts(spec)
    first, again = (known.of(target, case) for _ in range(2))
    assert first is not None
    assert again is not None
    assert [x.tobytes() for x in first.gradients] == [x.tobytes() for x in again.gradients]


def test_large_attempts_do_not_drive_out_small_ones() -> None:
    spec = find("giou")
    target, known = counted(spec, []), Attempts(spec, most_bytes=2 * 2**20)
    small = material(spec, "single", "quick", 0)[0]
    known.of(target, small)
    for number in range(6):
        large = replace(small, inputs={name: np.tile(x, (40_000 + number, 1)) for name, x in small.inputs.items()})
        known.of(target, large)
    assert known.has(target, small, {})
    assert known.has(target, large, {})


def test_the_same_numbers_and_settings_are_the_same_question() -> None:
    """However a case came by them: drawn once more, or moved to a setting beforehand."""
    spec, asked = find("giou"), list[dict[str, Any]]()
    target, known = counted(spec, asked), Attempts(spec)
    case = material(spec, "single", "quick", 0)[0]
    drawn_again = replace(case, inputs={name: x.copy() for name, x in case.inputs.items()})
    for one in (case, drawn_again):
        known.of(target, one, {"eps": 0.5, "xywh": False})
        known.of(target, attempts.at(one, (("xywh", False), ("eps", 0.5))))
    assert len(asked) == 1


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
