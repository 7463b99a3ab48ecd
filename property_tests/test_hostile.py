"""Whole runs over hostile targets: what each of them gets, and that the innocent ones beside them lose nothing."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lossref.core.nouns import Verdict
from lossref.hosts.nursery import NAMED
from lossref.report import page
from lossref.run.saved import load
from lossref.run.saved.replay import replay

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


def test_a_case_that_ended_its_process_is_replayed(place: Path, together: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = [one for one in together[0] if one.target == "Built"]
    monkeypatch.chdir(place)
    lines, passes = replay(place / "together" / row.case)
    assert (passes, lines[1]) == (False, "  crashed: the process ended with exit code 5")


def test_one_that_asks_lossref_is_told_so_and_passes(alone: list[Verdict]) -> None:
    assert {one.note for one in alone} == {"it asks lossref itself (bbox_iou), so that it agrees says little"}
