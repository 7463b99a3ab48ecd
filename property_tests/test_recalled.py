"""What an earlier run concluded is taken from there where the target gives the same numbers, and nowhere else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from lossref.checks import numbers
from lossref.checks.attempts import Attempts
from lossref.checks.evidence import Problem
from lossref.checks.material import material
from lossref.core.nouns import Case, Host, Spec, Target
from lossref.hosts.worker.messages import Call, Question, Reply, Returned
from lossref.losses import spec as find
from lossref.oracle import cache
from lossref.run import ask
from lossref.run.causes import failures
from lossref.run.causes.explain.narrow import moves
from lossref.run.causes.recalled import Recalled
from lossref.run.causes.replied import Replied, kept_of, told_again
from lossref.run.causes.settings import found as dialects
from lossref.run.causes.smallest import once
from lossref.run.plan import Job

ROWS = (("value", "float64"), ("gradient", "float64"))
SEARCHES = ((dialects, "found"), (dialects, "involved"), (failures, "explain"), (once, "shrink"))
Loss = Callable[..., Tensor]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; files that were edited just now are taken for what is loaded."""
    monkeypatch.setenv(cache.SWITCH, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_code", lambda rooms: "this code")
    return tmp_path / "cache"


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each search was made."""
    counts = Counter[str]()

    def counting(name: str, search: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return search(*args, **kwargs)

        return counted

    for module, name in SEARCHES:
        monkeypatch.setattr(module, name, counting(name, getattr(module, name)))
    return counts


def in_float32(x: Tensor, y: Tensor) -> Tensor:
    spec = find("focal")
    return spec.reference(x.float(), y.float()).to(x.dtype)


def with_another_gamma(x: Tensor, y: Tensor) -> Tensor:
    return find("focal").reference(x, y, gamma=2.0)


def by_a_wave(x: Tensor, y: Tensor) -> Tensor:
    found: Tensor = find("focal").reference(x, y)
    return found + 0.01 * torch.sin(3 * found.detach())


def by_a_factor(x: Tensor, y: Tensor) -> Tensor:
    found: Tensor = find("focal").reference(x, y)
    return 2 * found


def target_of(loss: Loss) -> Target:
    return Target("focal", lambda **params: loss, "mine")


def run(out: Path, loss: Loss, rows: tuple[tuple[str, str], ...] = ROWS[:1]) -> list[Any]:
    """The verdicts, without their times, and every saved case."""
    job = Job("mine", "focal", "mine", rows, "quick", 0, str(out))
    verdicts = [asdict(replace(one, seconds=0)) for one in ask.asked(job, target_of(loss))[0]]
    return [verdicts, {one.name: json.loads(one.read_text()) for one in sorted(out.glob("cases/*.json"))}]


@pytest.mark.parametrize(
    ("loss", "count"),
    [(in_float32, 2), (with_another_gamma, 1), (by_a_wave, 1)],
    ids=["a narrow type", "a setting", "nothing known"],
)
def test_the_same_is_said_without_a_search(
    loss: Loss, count: int, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch, searched: Counter[str]
) -> None:
    with monkeypatch.context() as within:
        within.setenv(cache.SWITCH, "off")
        without = run(tmp_path / "without", loss, ROWS[:count])
    assert any(row["status"] != "pass" for row in without[0])
    first = run(tmp_path / "first", loss, ROWS[:count])
    assert searched.total() > 0
    searched.clear()
    again = run(tmp_path / "again", loss, ROWS[:count])
    assert searched.total() == 0
    assert without == first == again


def test_other_numbers_are_searched_for_anew(tmp_path: Path, place: Path, searched: Counter[str]) -> None:
    run(tmp_path / "first", by_a_factor)
    searched.clear()
    rows, _ = run(tmp_path / "then", lambda x, y: 3 * find("focal").reference(x, y))
    assert searched["explain"] > 0
    assert "3 times" in json.dumps(rows)


# The record itself --------------------------------------------------------------------------------------


@contextmanager
def unlimited() -> Iterator[None]:
    with suppress(TimeoutError):
        yield


class Lines:
    """Searches that note down that they were made; one of them asks about a case that was moved."""

    def __init__(self, spec: Spec, target: Target) -> None:
        self.spec, self.target, self.known, self.made = spec, target, Attempts(spec), list[str]()
        self.cases = [one for one in material(spec, "single", "quick", 0) if one.inputs["pred"].any()][:2]
        self.recalled = Recalled(spec, self.known)

    def say(self, name: str, fails: bool = False) -> str:
        def search() -> str:
            self.made.append(name)
            self.known.of(self.target, next(moves(self.spec, self.cases[0]))[2])
            if fails:
                raise TimeoutError
            return f"because of {name}"

        given = [(case, self.known.of(self.target, case)) for case in self.cases]
        return self.recalled.in_a_row(self.target, (name,), given, search, unlimited)


def lines(loss: Loss = by_a_factor) -> Lines:
    return Lines(find("focal"), target_of(loss))


def test_a_search_that_is_made_is_made_after_those_before_it(place: Path) -> None:
    first = lines()
    assert [first.say("one"), first.say("two")] == ["because of one", "because of two"]
    then = lines()
    assert [then.say("one"), then.say("two"), then.made] == ["because of one", "because of two", []]
    assert then.say("three") == "because of three"
    assert then.made == ["one", "two", "three"]


def test_a_sentence_stands_on_those_before_it(place: Path) -> None:
    first, then = lines(), lines()
    first.say("one"), first.say("two")
    then.say("two")
    assert then.made == ["two"]


def test_what_came_to_no_end_is_not_kept_nor_what_follows(place: Path) -> None:
    for one in (lines(), lines()):
        assert [one.say("one"), one.say("two", fails=True), one.say("three")][1:] == ["", "because of three"]
        assert one.made[-2:] == ["two", "three"]


def test_a_target_that_moves_otherwise_is_searched_again(place: Path) -> None:
    lines().say("one")
    usual = {case.inputs["pred"].tobytes() for case in lines().cases}

    def otherwise(x: Tensor, y: Tensor) -> Tensor:
        found = by_a_factor(x, y)
        return found if x.detach().numpy().tobytes() in usual else found + 1

    again = lines(otherwise)
    again.say("one")
    assert again.made == ["one"]


@pytest.mark.parametrize(("error", "looked"), [(1.0, 1), (2.0, 2)], ids=["the same error", "another error"])
def test_the_smallest_case_is_asked_before_it_is_taken(error: float, looked: int, place: Path) -> None:
    spec, made, errors = find("focal"), list[Case](), iter([1.0, error, error])
    case, smaller = material(spec, "single", "quick", 0)[:2]

    def problem_on(one: Case) -> Problem:
        return Problem("value", "wrong", {"error": next(errors)})

    def search() -> Case:
        made.append(smaller)
        return smaller

    for _ in range(2):
        found = Recalled(spec, Attempts(spec)).smallest(target_of(by_a_factor), (), case, problem_on, search)
        assert {name: x.tolist() for name, x in found.inputs.items()} == {
            name: x.tolist() for name, x in smaller.inputs.items()
        }
        assert (found.id, found.flags) == (smaller.id, smaller.flags)
    assert len(made) == looked


@pytest.mark.parametrize(
    ("losses", "compared"),
    [((by_a_factor, by_a_factor), 1), ((find("focal").reference,) * 2, 1), ((find("focal").reference, by_a_factor), 2)],
    ids=["wrong twice", "right twice", "right, then wrong"],
)
def test_a_large_reply_is_not_compared_again(
    losses: tuple[Loss, Loss], compared: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, made = find("focal"), list[Case]()
    truth = numbers.bulk_truth

    def counted(spec: Spec, case: Case, dtype: str) -> Any:
        made.append(case)
        return truth(spec, case, dtype)

    monkeypatch.setattr(numbers, "bulk_truth", counted)
    case = material(spec, "small", "quick", 0)[0]
    found = [numbers.bulk(spec, target_of(loss), case, "float64") for loss in losses]
    assert len(made) == compared
    assert [bool(one.problem) for one in found] == [loss is by_a_factor for loss in losses]
    assert (found[0] == found[1]) is (losses[0] is losses[1])
    assert all(one.examined for one in found)


# Replies under other settings -----------------------------------------------------------------------------


class Counting:
    """A host whose every reply is another number."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, thing: int, question: Question, story: Any = None) -> Reply:
        self.asked += 1
        return Reply((Returned(values=(np.full(100, float(self.asked)),)),))

    def close(self) -> None:
        self.asked = -1


def question(number: float, **params: Any) -> Question:
    return Question(("loss",), params, (Call({"x": np.array([number])}, {"x": "float64"}),))


SAME = question(1.0)
OTHERS = {
    "other numbers": (0, question(1.5)),
    "other parameters": (0, question(1.0, gamma=2.0)),
    "another dtype": (0, replace(SAME, calls=(replace(SAME.calls[0], dtypes={"x": "float32"}),))),
    "two calls": (0, replace(SAME, calls=SAME.calls * 2)),
    "watched": (0, replace(SAME, watch=True)),
    "another thing": (1, SAME),
}


def first_number(target: Target, thing: int, asked: Question) -> float:
    assert target.host is not None
    return float(target.host.ask(thing, asked).returned[0].values[0][0])


def heard_and_again(most: int = 2**20) -> tuple[Target, Target]:
    target = replace(target_of(by_a_wave), host=Counting())
    heard = replace(target, host=Replied(cast(Host, target.host), most))
    return heard, told_again(target, heard)


def test_a_reply_is_told_again_and_the_target_asked_whenever_it_is_to_be() -> None:
    heard, again = heard_and_again()
    assert [first_number(heard, 0, SAME) for _ in range(2)] == [1, 2], "the first judgement always asks"
    assert [first_number(again, 0, question(1.0)) for _ in range(2)] == [2, 2]
    assert first_number(heard, 0, SAME) == 3


@pytest.mark.parametrize("other", OTHERS)
def test_another_question_is_asked(other: str) -> None:
    heard, again = heard_and_again()
    first_number(heard, 0, SAME)
    assert [first_number(again, *OTHERS[other]) for _ in range(2)] == [2, 2]
    assert first_number(again, 0, SAME) == 1


def test_of_many_replies_the_latest_are_kept() -> None:
    heard, again = heard_and_again(most=6_000)
    for number in range(4):
        first_number(heard, 0, question(number))
    assert [first_number(again, 0, question(number)) for number in (3, 2, 0)] == [4, 3, 5]


def test_a_target_of_this_process_keeps_no_replies() -> None:
    target = target_of(by_a_wave)
    assert kept_of(target) is target
    assert told_again(target, target) is target
