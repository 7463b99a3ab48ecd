"""Which implementation it is: file, line and name; what is noted of it; the marks that say nothing sensible."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import lossref
from lossref.checks.evidence import compare
from lossref.cli import app
from lossref.core.nouns import Verdict
from lossref.hosts.process import Lodging
from lossref.hosts.worker.described import described
from lossref.run.ask import work
from lossref.run.plan import plan
from lossref.run.saved import distinct, file_name
from lossref.run.saved.replay import replay
from lossref.targets.declaring import UnknownTarget, checked_slack, declared
from lossref.targets.marks import Mark
from lossref.targets.resolve import ready

HEAD = "import lossref\nfrom lossref import bbox_iou\n"
IOU = '@lossref.target("iou")\ndef {}(box1, box2, xywh=True, eps=1e-7):\n    '
RIGHT = "return bbox_iou(box1, box2, xywh, eps=eps)\n"
QUICK = ("--timeout", "9", "--jobs", "1", "--check", "value", "--dtype", "float64")
pytestmark = pytest.mark.xdist_group("identity")  # what all tests look at is run once


MODULES = {
    "a/losses.py": IOU.format("loss") + RIGHT,
    "b/losses.py": IOU.format("loss") + "return bbox_iou(box1, box2, xywh, eps=eps) * 2\n",
    "pkg/__init__.py": "",
    "pkg/two.py": "TWO = 2\n",
    "pkg/losses.py": "from .two import TWO\n" + IOU.format("scaled") + RIGHT.replace("\n", " * TWO\n"),
    "inner.py": "class Losses:\n    class Boxes:\n        @staticmethod\n        "
    + IOU.format("within").replace("\n", "\n        ")
    + RIGHT.replace("\n", " * 2\n"),
    "twins.py": IOU.format("twin") + RIGHT + "first = twin\n" + IOU.format("twin") + "return box1 / 0\n",
}  # fmt: skip
FOUND = {
    "loss (a/losses.py)": "pass",
    "loss (b/losses.py)": "fail",
    "scaled": "fail",
    "twin (twin)": "fail",
    "twin (first)": "pass",
    "within": "fail",
}


@pytest.fixture(scope="module")  # it changes the working directory, which the next file is not to find changed
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Verdict]]]:
    folder = tmp_path_factory.mktemp("modules")
    for name, body in MODULES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(HEAD + body if body.count("lossref") else body)
    before = Path.cwd()
    os.chdir(folder)
    words = [name for name in MODULES if name.endswith(("losses.py", "twins.py", "inner.py"))]
    jobs = plan(words, "iou", "shape", ("float64",), out=folder / "out", lodging=Lodging(timeout=10.0))
    yield folder, [verdict for job in jobs for verdict in work(job)[0]]
    os.chdir(before)


def test_no_two_targets_are_alike(modules: tuple[Path, list[Verdict]]) -> None:
    assert {one.target: one.status for one in modules[1]} == FOUND
    assert len({one.case for one in modules[1] if one.case}) == 4


WHERE = {
    "loss (b/losses.py)": "b/losses.py:3 loss",
    "scaled": "pkg/losses.py:4 scaled",
    "twin (twin)": "twins.py:7 twin",
}


@pytest.mark.parametrize("label", WHERE)
def test_the_very_function_is_replayed(modules: tuple[Path, list[Verdict]], label: str) -> None:
    folder, rows = modules
    (case,) = [one.case for one in rows if one.target == label]
    lines, passes = replay(folder / "out" / case)
    assert not passes
    assert f"  asked   {folder / WHERE[label]}" in lines


def test_a_function_that_has_moved_in_its_file_is_found(modules: tuple[Path, list[Verdict]]) -> None:
    folder, rows = modules
    (case,) = [one.case for one in rows if one.target == "twin (twin)"]
    text = (folder / "twins.py").read_text()
    try:
        (folder / "twins.py").write_text("\n\n" + text)
        lines, passes = replay(folder / "out" / case)
    finally:
        (folder / "twins.py").write_text(text)
    assert (passes, lines[2]) == (False, f"  asked   {folder}/twins.py:9 twin")


SAID = {
    "--as on a marked file": ("innocent.py --as iou", "--as says which loss one function is: lossref validate"),
    "a slack below 1": ("slack.py", "slack of value: expected (factor, reason) with a finite factor >= 1"),
    "a spec that is none": ("no_spec.py", "there is no spec 'iuo'"),
    "a spec that is no word": ("odd_spec.py", "there is no spec"),
    "a marked method": ("method.py", "Losses.iou is marked, but is a method: mark the class, a function or a @static"),
    "a parameter that is none": ("no_parameter.py", "iou has no parameter 'xyhw'"),
}
MARKS = {
    "slack.py": '@lossref.target("iou", slack={"value": (0.5, "tight")})\n',
    "no_spec.py": '@lossref.target("iuo")\n',
    "odd_spec.py": '@lossref.target(["iou"])\n',
    "method.py": 'class Losses:\n    @lossref.target("iou")\n    def iou(self, box1, box2):\n        return box1\n',
    "no_parameter.py": '@lossref.target("iou", xyhw=True)\n',
}


@pytest.mark.parametrize("name", SAID)
def test_a_mistake_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    words, said = SAID[name]
    monkeypatch.chdir(tmp_path)
    file = words.split()[0]
    Path(file).write_text(HEAD + MARKS.get(file, '@lossref.target("iou")\n') + "def f(box1, box2):\n    return box1\n")
    result = CliRunner().invoke(app, ["validate", *words.split(), *QUICK])
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    assert said in result.output


SLACKS: list[Any] = [
    (0.5, "r"),
    (float("nan"), "r"),
    (float("inf"), "r"),
    (2, ""),
    (2, "  "),
    2,
    (),
    "22",
    ("2", "r"),
    None,
]


@pytest.mark.parametrize("slack", SLACKS, ids=map(repr, SLACKS))
def test_slack_is_finite_and_has_its_reason(slack: Any) -> None:
    with pytest.raises(UnknownTarget, match="slack of value: expected"):
        checked_slack({"value": slack})


# What is noted --------------------------------------------------------------------------------------------


def _corners(box1: Tensor, box2: Tensor) -> Tensor:
    return lossref.bbox_iou(box1, box2, xywh=False)


def _neither(box1: Tensor, box2: Tensor) -> Tensor:
    return 3 - lossref.bbox_iou(box1, box2, xywh=False)


NOTATIONS = [
    (_corners, {"xywh": False}, False, ""),
    (_corners, {"xywh": True}, True, "declares xywh=True, but follows xywh=False"),
    (_corners, {}, False, "has no parameter xywh; tested with xywh=False, which it follows"),
    (_neither, {"xywh": False}, False, "declares xywh=False, but follows none of xywh=True, xywh=False"),
    (_neither, {}, None, "but it follows none of xywh=True, xywh=False"),
]


@pytest.mark.parametrize(("thing", "fixed", "tested", "note"), NOTATIONS, ids=[str(row[1:3]) for row in NOTATIONS])
def test_a_notation_is_what_is_measured(
    thing: Callable[..., Tensor], fixed: dict[str, Any], tested: bool | None, note: str
) -> None:
    found = ready(declared(thing, Mark("iou", fixed), ""))
    assert tested is None or found.fixed["xywh"] is tested
    assert found.note == note if not note or fixed else note in found.note


from lossref import bbox_iou as taken  # noqa: E402


def _taken(box1: Tensor, box2: Tensor) -> Tensor:
    return next(taken(box1, box2) for _ in range(1))


def _inside(box1: Tensor, box2: Tensor) -> Tensor:
    from lossref.losses import spec

    return spec("iou").reference(box1, box2)


def _own(box1: Tensor, box2: Tensor) -> Tensor:
    return torch.minimum(box1, box2)


class _Class:
    def forward(self, box1: Tensor) -> Tensor:
        return lossref.bbox_iou(box1, box1)


BORROWS = [
    (_corners, "lossref.bbox_iou"), (_taken, "taken"), (_inside, "lossref.losses"), (_own, ""),
    (_Class, "lossref.bbox_iou"), (torch.add, ""), (lossref.target, ""),
]  # fmt: skip


@pytest.mark.parametrize(("thing", "name"), BORROWS, ids=[str(getattr(row[0], "__name__", "")) for row in BORROWS])
def test_who_asks_lossref_to_answer_is_seen(thing: Any, name: str) -> None:
    assert described(thing, "x")["borrows"] == name


NAMES = ["../../x", "..", "", "a/b", "x" * 300, "x" * 299 + "y", "\ud800", "é", "\x00", "a b", "a-b", "ﷺ" * 80]


def test_names_of_files_are_short_and_plain_and_differ() -> None:
    found = [distinct(name) for name in NAMES]
    assert len({*found}) == len(NAMES)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,100}", name) for name in found)
    assert len(file_name(*NAMES * 8)) < 200


@pytest.mark.parametrize(("factor", "fits"), [(1.0, True), (1.1, True), (1.2, False), (2.0, False), (-1.0, False)])
def test_no_slack_lets_another_number_pass(factor: float, fits: bool) -> None:
    want = np.array([1.0, -4.0, 0.0])
    found = compare("value", want * factor, want, np.full(3, 1e-16), slack=1e300)
    assert (not found.problems) == fits


def test_a_budget_that_is_wider_than_any_slack_stays() -> None:
    assert not compare("value", np.array([3.0]), np.array([1.0]), np.array([5.0]), slack=2.0).problems


CLASSES = """class First:
    class Inner:
        pass

@decorated
class Second:
    pass

def made():
    class Local:
        class Deeper:
            pass
    return Local

if True:
    class Last: pass
"""
LINES = {"First": 1, "First.Inner": 2, "Second": 5, "made.<locals>.Local": 10, "made.<locals>.Local.Deeper": 11}


def test_every_class_of_a_file_is_found_where_inspect_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "standing.py"
    path.write_text("decorated = lambda x: x\n" + CLASSES)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("standing")
    local = module.made()
    things = [module.First, module.First.Inner, module.Second, local, local.Deeper, module.Last, module.made]
    lines = [int(described(one, "")["where"].partition(".py:")[2].split()[0]) for one in things]
    assert lines == [inspect.getsourcelines(one)[1] for one in things]
    assert lines[:5] == [line + 1 for line in LINES.values()]


@pytest.mark.parametrize("thing", [int, type("Made", (), {"__module__": "nowhere"}), len], ids=["C", "made", "C too"])
def test_what_has_no_source_stands_on_no_line(thing: Any) -> None:
    assert ":0 " in described(thing, "")["where"]
