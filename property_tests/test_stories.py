"""What a target does now and then: a hang that a second asking absorbs, a first call that nobody sees, a poisoning."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from lossref.checks.attempts import Attempts
from lossref.checks.material import material
from lossref.core.nouns import Failure, Target, Verdict
from lossref.hosts.endings import TargetEnded, once_more, replaced
from lossref.hosts.kept import close_all
from lossref.hosts.probe import Story
from lossref.hosts.process import Lodging
from lossref.losses import spec as find
from lossref.report import terminal
from lossref.run import about
from lossref.run.ask import work
from lossref.run.causes.explain import unexplained
from lossref.run.causes.explain.whole.factors import in_words
from lossref.run.findings import findings
from lossref.run.findings.words import DIFFERENTLY, percent
from lossref.run.jobs import waited_for
from lossref.run.plan import plan
from shared.explaining import shown_of

HEAD = """
import os, time
import torch
import torch.nn.functional as F
import lossref

def right(pred, label, gamma, alpha):
    loss = F.binary_cross_entropy_with_logits(pred, label, reduction="none")
    p = pred.sigmoid()
    gap = 1 - (label * p + (1 - label) * (1 - p))
    weight = label * alpha + (1 - label) * (1 - alpha) if alpha > 0 else 1
    return (loss * gap**gamma * weight).mean(1).sum()

CALLS = []
class Bad(torch.autograd.Function):
    forward = staticmethod(lambda ctx, y, x: (setattr(ctx, "x", x), y.clone())[1])
    backward = staticmethod(lambda ctx, g: (ctx.x.data.mul_(0.5), (g, None))[1])
"""
MARK = '\n@lossref.target("focal")\ndef culprit(pred, label, gamma=1.5, alpha=0.25):\n    CALLS.append(1)\n'
RETURN = "    return right(pred, label, gamma, alpha){}\n"


@pytest.fixture(scope="module", autouse=True)
def ended_afterwards() -> Iterator[None]:
    yield
    close_all()


def verdicts(folder: Path, body: str, check: str, timeout: float = 20.0, factor: str = "") -> list[Verdict]:
    """The rows of a loss of that body, which returns the right number, by so much of a factor."""
    file = folder / "culprit.py"
    file.write_text(HEAD + MARK + "".join(f"    {line}\n" for line in body.splitlines()) + RETURN.format(factor))
    (job,) = plan([str(file)], check=check, out=folder, lodging=Lodging(timeout=timeout))
    return work(job).verdicts


# What is absorbed -----------------------------------------------------------------------------------------------

AGAIN = "one question took longer than 1 s, and was answered when asked again in a new process"
TWICE = f"gave no answer within 1 s; before, {AGAIN}"
HANGS = {
    "once": ("if not os.path.exists({note!r}): open({note!r}, 'w').close(); time.sleep(60)", [("pass", AGAIN), "pass"]),
    "on each second call": ("if len(CALLS) > 1: time.sleep(60)", [("timeout", TWICE), ("timeout", TWICE), "blocked"]),
    "after so many calls": (
        "if len(CALLS) > 40: time.sleep(60)",
        [("pass", AGAIN), ("timeout", TWICE), ("timeout", TWICE), "blocked"],
    ),
}


@pytest.mark.parametrize("name", HANGS)
def test_a_hang_that_is_absorbed_is_told_and_a_second_one_is_a_timeout(tmp_path: Path, name: str) -> None:
    body, expected = HANGS[name]
    rows = verdicts(tmp_path, body.format(note=str(tmp_path / "hung")), "value,gradient", timeout=1.0)
    for row, one in zip(rows, expected, strict=False):
        assert row.status == one[0] if isinstance(one, tuple) else row.status == one, row
        assert row.note == one[1] if isinstance(one, tuple) else AGAIN not in row.note
    assert {row.status for row in rows[len(expected) :]} <= {rows[len(expected) - 1].status}


def test_one_that_ended_while_nobody_asked_is_replaced_once() -> None:
    """By the system that lacks memory, say, or a thread of its own: the second time it is no accident."""
    story = Story()
    replaced("the process was ended by SIGKILL", story)
    assert story.taken() == (
        ["the process was ended by SIGKILL while nothing was asked, and a new one was started"],
        [],
    )
    with pytest.raises(TargetEnded, match="ended by SIGALRM while nothing was asked; before, the process"):
        replaced("the process was ended by SIGALRM", story)
    replaced("the process was ended by SIGKILL", None)


def test_what_is_answered_at_the_second_asking_is_forgiven_once() -> None:
    story, tries = Story(), []

    def late() -> int:
        tries.append(1)
        if len(tries) % 2:
            raise TargetEnded("timeout", "gave no answer")
        return len(tries)

    assert once_more(late, "it was late", story) == 2
    with pytest.raises(TargetEnded, match="gave no answer; before, it was late"):
        once_more(late, "it was late", story)
    assert len(tries) == 3
    assert once_more(lambda: 1, "", story) == 1


# What nobody sees -----------------------------------------------------------------------------------------------

ANOTHER = "the first call gave another loss than the same call later: got "
FIRSTS = {
    "another number": ("", " * (1.01 if len(CALLS) == 1 else 1)", "fail", ANOTHER),
    "raises": (
        "if len(CALLS) == 1: raise RuntimeError('cold')",
        "",
        "fail",
        "the first call raised RuntimeError: cold, the same call later did not",
    ),
    "another number in float32": ("", " * (1.01 if len(CALLS) == 2 else 1)", "fail", ANOTHER),
    "ends the process": (
        "if not os.path.exists({note!r}): open({note!r}, 'w').close(); os._exit(3)",
        "",
        "crashed",
        "the process ended with exit code 3",
    ),
    "nothing amiss": ("", "", "pass", ""),
}


@pytest.mark.parametrize(("name", "check"), [("another number", "repeatable"), *((name, "value") for name in FIRSTS)])
def test_the_first_call_is_judged_like_any_other(tmp_path: Path, name: str, check: str) -> None:
    """It is asked which dtypes it knows before a check asks anything."""
    body, factor, status, note = FIRSTS[name]
    rows = verdicts(tmp_path, body.format(note=str(tmp_path / "first")), check, factor=factor)
    assert (rows[0].status, rows[0].note[: len(note)]) == (status, note)
    if status == "fail":
        (found,) = findings(rows)
        assert (found.kind, found.sentence[: len(DIFFERENTLY)]) == ("behaviour", DIFFERENTLY)


MARKED = {
    "requires_grad": ("label.requires_grad_()", "label.requires_grad was False before the call and is True after it"),
    "grad": (
        "if pred.requires_grad: pred.grad = torch.ones_like(pred)",
        "pred.grad was None before the call and is a tensor after it",
    ),
    "a hook": (
        "if pred.requires_grad: pred.register_hook(lambda g: g)",
        "pred had no hooks before the call and has some after it",
    ),
    "an attribute": ("pred.seen = 1", "pred had no attribute 'seen' before the call and has it after it"),
    "retain_grad, which does nothing here": ("if pred.requires_grad: pred.retain_grad()", ""),
}


@pytest.mark.parametrize("name", MARKED)
def test_what_is_set_on_an_input_is_seen(tmp_path: Path, name: str) -> None:
    body, note = MARKED[name]
    (row,) = verdicts(tmp_path, body, "pure")
    assert (row.status, row.note) == ("fail" if note else "pass", note)


def test_a_backward_that_writes_is_seen(tmp_path: Path) -> None:
    (row,) = verdicts(tmp_path, "pred = Bad.apply(pred, pred)", "pure")
    assert row.status == "fail"
    assert row.note.startswith("pred was written to: element 0 was ")


POISONED = """
if CALLS[0] == 2: pred = pred * 1.25
if pred.shape != label.shape or not torch.isfinite(pred).all():
    CALLS[0] = 2
    raise ValueError("bad input")
"""


def test_what_it_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    (row,) = verdicts(tmp_path, POISONED.strip(), "refuses")
    assert (row.status, row.note) == ("fail", "after a NaN in pred was refused, good input is answered differently")


# No claim about what does not repeat itself -------------------------------------------------------------------

FLAKY = {
    "another number now and then": ("", " * (1.5 if len(CALLS) % 41 == 0 else 1)"),
    "an exception now and then": ("if len(CALLS) % 41 == 0: raise RuntimeError('lost')", ""),
}


@pytest.mark.parametrize("name", FLAKY)
def test_of_what_does_not_repeat_itself_no_cause_is_claimed(tmp_path: Path, name: str) -> None:
    body, factor = FLAKY[name]
    rows = verdicts(tmp_path, body, "value,reduced,repeatable", factor=factor)
    assert "fail" in {row.status for row in rows}
    (found,) = findings(rows)
    assert (found.kind, found.sentence[: len(DIFFERENTLY)]) == ("behaviour", DIFFERENTLY)


def test_what_repeats_itself_has_its_cause(tmp_path: Path) -> None:
    rows = verdicts(tmp_path, "", "value", factor=" * 1.5")
    assert {row.explanation for row in rows} == {"loss is 3/2 times the right value"}


# What a person reads -------------------------------------------------------------------------------------------


def test_what_is_waited_for_is_said(tmp_path: Path) -> None:
    """The row that is asked now, of each job that runs: those that are on disk are done."""
    file = tmp_path / "two.py"
    file.write_text(HEAD + MARK + RETURN.format("") + MARK.replace("culprit", "other") + RETURN.format(""))
    jobs = plan([str(file)], check="value,pure", out=tmp_path)
    assert waited_for(jobs, 1) == "asking focal of culprit, value float64"
    (tmp_path / "verdicts.jsonl").write_text('{"spec": "focal", "target": "culprit", "device": "cpu"}\nrubbish')
    assert waited_for(jobs, 2) == "asking focal of culprit, value float32; focal of other, value float64"
    assert waited_for([], 2) == ""


def test_a_line_says_so_while_nothing_gets_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(about, "QUIET", 0.05)
    out = io.StringIO()
    with about.progress("verdicts", 2, Console(file=out), lambda: "asking focal of mine, value float64"):
        end = time.monotonic() + 10
        while not out.getvalue() and time.monotonic() < end:
            time.sleep(0.01)
    assert out.getvalue().splitlines()[0] == "0 of 2 verdicts; asking focal of mine, value float64"


def test_several_targets_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Verdict("iou", name, "value", "float64", status) for name, status in WAYS]
    terminal.summary(rows, {"target": "x.py", "planned": len(rows)}, tmp_path, 1)
    lines = capsys.readouterr().out.splitlines()
    assert {"conforms: a, b", "does not conform: c", "incomplete: d"} <= {*lines}
    terminal.summary(rows[:1], {"target": "x.py", "planned": 1}, tmp_path, 0)
    assert "conforms: a" not in capsys.readouterr().out.splitlines()


WAYS = [("a", "pass"), ("b", "pass"), ("c", "fail"), ("d", "crashed")]
WORDS = {
    "nothing returned": (
        "raised TypeError: returned NoneType for loss, expected a torch tensor",
        "behaviour",
        "returned",
    ),
    "an exception": ("raised TypeError: bad operand", "crash", "raised TypeError: bad operand"),
}


@pytest.mark.parametrize("name", WORDS)
def test_what_is_no_exception_is_no_crash(name: str) -> None:
    note, kind, begins = WORDS[name]
    failure = Failure("raises TypeError", note)
    (found,) = findings([Verdict("focal", "mine", "value", "float64", "fail", note=note, failures=(failure,))])
    assert (found.kind, found.sentence[: len(begins)]) == (kind, begins)


FACTORS = {
    1 + 1e-10: "is the right value times 1 + 1e-10",
    -1.0: "is minus the right value",
    2.0: "is 2 times the right value",
}


@pytest.mark.parametrize("factor", FACTORS)
def test_no_number_that_is_wrong_is_called_the_right_one(factor: float) -> None:
    assert in_words(factor) == FACTORS[factor]


@pytest.mark.parametrize(
    ("relative", "words"), [(3e95, "over a million times"), (1e5, "1e5 times"), (11.0, "11 times")]
)
def test_a_size_that_nobody_can_picture_has_no_figure(relative: float, words: str) -> None:
    assert percent(relative) == words


def test_a_ratio_that_nobody_can_tell_from_1_is_a_size() -> None:
    spec = find("giou")

    def build(**params: Any) -> Callable[..., Any]:
        def nearly(box1: torch.Tensor, box2: torch.Tensor) -> torch.Tensor:
            off = 1e-9 * (box1[:, :1] > 1).to(box1.dtype)
            return spec.reference(box1, box2, **params) * (1 + off)

        return nearly

    target, known = Target("giou", build, "nearly", tuple(spec.params)), Attempts(spec)
    shown = shown_of(known, target, material(spec, "single", "quick", 0)[:40], {})
    said = unexplained(spec, "value giou", shown)
    assert "by 1e-09 of it at most" in said
    assert "between 1 and 1" not in said
    right = unexplained(spec, "value giou", shown_of(known, known.own, material(spec, "single", "quick", 0)[:4], {}))
    assert right.startswith(
        "nothing known explains it; it takes other cases or another dtype than those: giou is right"
    )
