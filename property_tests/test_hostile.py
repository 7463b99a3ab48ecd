"""Whole runs over hostile targets: what each of them gets, and that the innocent ones beside them lose nothing."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor

import lossref
from lossref.core.nouns import Verdict
from lossref.hosts.nursery import NAMED
from lossref.hosts.process import Lodging
from lossref.hosts.worker.things import described
from lossref.report import page
from lossref.run.ask import work
from lossref.run.plan import plan
from lossref.run.replay import replay
from lossref.run.saved import distinct, file_name, load
from lossref.targets.declaring import UnknownTarget, checked_slack, declared
from lossref.targets.marks import Mark
from lossref.targets.resolve import ready

HEAD = "import ctypes, os, signal, sys, threading, time\nimport torch\nimport lossref\nfrom lossref import bbox_iou\n"
IOU = '@lossref.target("iou")\ndef {}(box1, box2, xywh=True, eps=1e-7):\n    '
RIGHT = "return bbox_iou(box1, box2, xywh, eps=eps)\n"
FILES = {
    "innocent.py": IOU.format("innocent") + RIGHT + '@lossref.target("giou")\n'
    "def generous(box1, box2, xywh=True, eps=1e-7):\n    return bbox_iou(box1, box2, xywh, GIoU=True, eps=eps)\n",
    "beside.py": IOU.format("beside") + RIGHT + '@lossref.target("giou")\n'
    "def culprit(box1, box2, xywh=True, eps=1e-7):\n"
    "    torch.set_grad_enabled(False); torch.manual_seed(1); os.chdir('/'); os._exit(7)\n",
    "exits.py": "os._exit(0)\n",
    "endless.py": "while True: pass\n",
    "built.py": '@lossref.target("iou")\nclass Built:\n    def __init__(self, xywh=True, eps=1e-7):\n'
    "        os._exit(5)\n    def __call__(self, box1, box2):\n        return box1\n",
    "noted.py": '@lossref.target("iou")\ndef noted(box1, box2):\n    os.abort()\n',
    "hangs.py": IOU.format("hangs") + "ctypes.PyDLL(None).sleep(60)\n",
    "liar.py": "lossref.bbox_iou = torch.allclose = torch.equal = lambda *a, **k: True\n"
    + IOU.format("liar") + "return 1 - bbox_iou(box1, box2, xywh, eps=eps)\n",
    "words.py": "".join(
        IOU.format(f"f{number}")
        + f"raise ValueError({name!r})\nf{number}.__name__ = {name!r}\n"
        for number, name in enumerate((
            "../../x", "a/b", "x" * 299 + "y", "x" * 300, "[red]m[/red][/]", "=1+1", "@SUM(A1)",
            "<script>alert(1)</script>", "\x1b[2J\x1b]0;t\x07", "\ud800", "",
        ))
    ),
}  # fmt: skip
pytestmark = pytest.mark.xdist_group("hostile")  # what all tests look at is run once
QUICK = ("--timeout", "2", "--jobs", "1", "--check", "value", "--dtype", "float64")


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    for name, body in FILES.items():
        (folder / name).write_text(HEAD + body, encoding="utf-8", errors="surrogatepass")
    return folder


def run(place: Path, out: str, *words: str) -> tuple[list[Verdict], subprocess.CompletedProcess[str]]:
    """A run as a person starts it, its rows without their seconds; nothing that it started is alive afterwards."""
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "lossref", "validate", *words, *QUICK, "--out", out]
    environment = {**os.environ, "LOSSREF_TEST": mark, "COLUMNS": "300"}
    environment.pop(NAMED, None)  # what is left of a run is looked for, also of the process that its hosts come from
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    assert not list(alive(mark))
    return [replace(one, seconds=0.0) for one in page.read(place / out)[0]], done


def alive(mark: str) -> Iterator[psutil.Process]:
    for one in psutil.process_iter():
        try:
            if one.environ().get("LOSSREF_TEST") == mark and one.status() != psutil.STATUS_ZOMBIE:
                yield one
        except (psutil.Error, OSError):
            continue


@pytest.fixture(scope="session")
def alone(place: Path) -> list[Verdict]:
    rows, done = run(place, "alone", "innocent.py")
    assert done.returncode == 0, done.stdout
    return rows


Run = tuple[list[Verdict], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def together(place: Path) -> Run:
    return run(place, "together", *FILES)


def test_the_innocent_ones_get_their_verdicts_alone(alone: list[Verdict], together: Run) -> None:
    mine = [one for one in together[0] if one.target in ("innocent", "generous")]
    assert [one.status for one in mine] == ["pass", "pass"]
    assert sorted(mine, key=str) == sorted(alone, key=str)


GIVEN = {
    "beside.py's other": ("beside", "iou", "pass", ""),
    "beside.py": ("culprit", "giou", "crashed", "the process ended with exit code 7"),
    "exits.py": ("exits.py", "-", "crashed", "the process ended with exit code 0 while exits.py was imported"),
    "endless.py": ("endless.py", "-", "timeout", "gave no answer within 6 s while endless.py was imported"),
    "built.py": ("Built", "iou", "crashed", "the process ended with exit code 5"),
    "noted.py": ("noted", "iou", "crashed", "the process was ended by SIGABRT"),
    "hangs.py": ("hangs", "iou", "timeout", "gave no answer within 2 s"),
    "liar.py": ("liar", "iou", "fail", "got"),
    "words.py": ("../../x", "iou", "fail", "raised ValueError: ../../x"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_what_becomes_of_it(together: Run, name: str) -> None:
    target, spec, status, note = GIVEN[name]
    (row,) = [one for one in together[0] if (one.target, one.spec) == (target, spec)]
    assert (row.status, row.check) == (status, "import" if spec == "-" else "value")
    assert note in row.note


def test_every_row_can_be_told_apart_and_has_its_case(place: Path, together: Run) -> None:
    rows = together[0]
    assert len({(one.spec, one.target, one.check, one.dtype) for one in rows}) == len(rows) == len(FILES) + 2 + 10
    cases = [one.case for one in rows if one.status != "pass" and one.spec != "-"]
    assert len({*cases}) == len(cases)
    for case in cases:
        assert (place / "together" / case).resolve().is_relative_to(place / "together" / "cases")
        assert load(place / "together" / case).where
    known = {*FILES, "alone", "together", "__pycache__"}
    assert {path.name for path in place.iterdir()} <= known


def test_a_failure_is_worse_than_a_crash(together: Run) -> None:
    assert together[1].returncode == 1


def test_a_crash_alone_is_an_incomplete_run(place: Path, alone: list[Verdict]) -> None:
    rows, done = run(place, "two", "exits.py", "innocent.py", "innocent.py", "--spec", "iou")
    assert done.returncode == 3
    assert {one.target: one.status for one in rows} == {"innocent": "pass", "exits.py": "crashed"}
    assert "CRASH  exits.py: the process ended with exit code 0 while exits.py was imported" in done.stdout
    assert "incomplete: 0 failures in 2 verdicts of 2 planned" in done.stdout


CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\x9b]")


def test_no_word_of_a_target_is_obeyed(place: Path, together: Run) -> None:
    done = together[1]
    assert not CONTROL.search(done.stdout.replace("\r\n", "\n") + done.stderr)
    text = (place / "together" / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "[red]m[/red][/]" in text
    assert not CONTROL.search(text)
    table = (place / "together" / "summary.csv").read_text(encoding="utf-8")
    assert not CONTROL.search(table)
    cells = [cell for row in csv.reader(table.splitlines()) for cell in row]
    assert not [cell for cell in cells if re.match(r"[=+\-@\t\r].", cell)]
    assert {"'=1+1", "'@SUM(A1)"} <= {*cells}


def test_the_page_shows_what_could_not_be_imported(place: Path, together: Run) -> None:
    text = (place / "together" / "index.html").read_text(encoding="utf-8")
    assert "gave no answer within 6 s while endless.py was imported" in text
    assert "does not conform" in text


# Identity -------------------------------------------------------------------------------------------------

MODULES = {
    "a/losses.py": IOU.format("loss") + RIGHT,
    "b/losses.py": IOU.format("loss") + "return bbox_iou(box1, box2, xywh, eps=eps) * 2\n",
    "pkg/__init__.py": "",
    "pkg/two.py": "TWO = 2\n",
    "pkg/losses.py": "from .two import TWO\n" + IOU.format("scaled") + RIGHT.replace("\n", " * TWO\n"),
    "twins.py": IOU.format("twin") + RIGHT + "first = twin\n" + IOU.format("twin") + "return box1 / 0\n",
}  # fmt: skip
FOUND = {
    "loss (a/losses.py)": "pass",
    "loss (b/losses.py)": "fail",
    "scaled": "fail",
    "twin (twin)": "fail",
    "twin (first)": "pass",
}


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Verdict]]]:
    folder = tmp_path_factory.mktemp("modules")
    for name, body in MODULES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(HEAD + body if body.count("lossref") else body)
    before = Path.cwd()
    os.chdir(folder)
    words = [name for name in MODULES if name.endswith("losses.py") or name == "twins.py"]
    jobs = plan(words, "iou", "value", ("float64",), out=folder / "out", lodging=Lodging(timeout=10.0))
    yield folder, [verdict for job in jobs for verdict in work(job)[0]]
    os.chdir(before)


def test_no_two_targets_are_alike(modules: tuple[Path, list[Verdict]]) -> None:
    assert {one.target: one.status for one in modules[1]} == FOUND
    assert len({one.case for one in modules[1] if one.case}) == 3


WHERE = {
    "loss (b/losses.py)": "b/losses.py:5 loss",
    "scaled": "pkg/losses.py:6 scaled",
    "twin (twin)": "twins.py:9 twin",
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
    assert (passes, lines[2]) == (False, f"  asked   {folder}/twins.py:11 twin")


def test_a_case_that_ended_its_process_is_replayed(place: Path, together: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = [one for one in together[0] if one.target == "Built"]
    monkeypatch.chdir(place)
    lines, passes = replay(place / "together" / row.case)
    assert (passes, lines[1]) == (False, "  crashed: the process ended with exit code 5")


SAID = {
    "--as on a marked file": ("innocent.py --as iou", "--as says which loss one function is: lossref validate"),
    "a slack below 1": ("slack.py", "slack of value: expected (factor, reason) with a finite factor >= 1"),
    "a spec that is none": ("no_spec.py", "there is no spec 'iuo'"),
    "a spec that is no word": ("odd_spec.py", "there is no spec"),
    "a parameter that is none": ("no_parameter.py", "iou has no parameter 'xyhw'"),
}
MARKS = {
    "slack.py": '@lossref.target("iou", slack={"value": (0.5, "tight")})\n',
    "no_spec.py": '@lossref.target("iuo")\n',
    "odd_spec.py": '@lossref.target(["iou"])\n',
    "no_parameter.py": '@lossref.target("iou", xyhw=True)\n',
}


@pytest.mark.parametrize("name", SAID)
def test_a_mistake_is_one_sentence(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from typer.testing import CliRunner

    from lossref.cli import app

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


def test_one_that_asks_lossref_is_told_so_and_passes(alone: list[Verdict]) -> None:
    assert {one.note for one in alone} == {"it asks lossref itself (bbox_iou), so that it agrees says little"}


NAMES = ["../../x", "..", "", "a/b", "x" * 300, "x" * 299 + "y", "\ud800", "é", "\x00", "a b", "a-b", "ﷺ" * 80]


def test_names_of_files_are_short_and_plain_and_differ() -> None:
    found = [distinct(name) for name in NAMES]
    assert len({*found}) == len(NAMES)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,100}", name) for name in found)
    assert len(file_name(*NAMES * 8)) < 200
