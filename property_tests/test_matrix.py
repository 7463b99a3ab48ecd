"""`lossref matrix`: releases, or packages, side by side; what is taken from a neighbour, and what is not."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lossref import losses
from lossref.cli import app
from lossref.core.nouns import Failure, Target, Verdict
from lossref.hosts.endings import TargetEnded
from lossref.hosts.process import HERE
from lossref.hosts.worker.messages import Call, Question, Reply, Returned
from lossref.report.between import matrix
from lossref.run.causes.beside import known
from lossref.run.causes.beside.matrix import agreement, carried, heard
from lossref.run.causes.beside.matrix.agreement import Agreement
from lossref.run.causes.beside.matrix.asked import Cell, Column, How, Task, cell_of
from lossref.run.causes.beside.matrix.dialects import dialects
from lossref.run.causes.beside.matrix.told import told
from lossref.run.causes.dialect_files import read
from lossref.targets.adapters import ultralytics
from lossref.targets.resolve import Unavailable, UnknownTarget
from shared.wheels import offline, wheel

HEAD = """
import lossref
from lossref.losses import spec
BOXES = spec("xywh2xyxy").reference
"""
MINE = '@lossref.target("xywh2xyxy")\ndef mine(x):\n'
CODE = {
    "1.0": f"{MINE}    return BOXES(x)",
    "1.1": f"{MINE}    same = BOXES(x)\n    return same",
    "1.2": f"{MINE}    return BOXES(x) * 1.5",
    "1.3": "import nothing_of_that_name",
    "1.4": f"{MINE}    return BOXES(x)",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for version, code in CODE.items():
        wheel(tmp_path, version, HEAD + code + "\n")
    offline(tmp_path, monkeypatch)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["matrix", *words])


def _installed(here: Path) -> None:
    """As pip would have left them, which takes seconds for each: `test_diff` has it done by pip."""
    for version, code in CODE.items():
        place = here / "cache" / "releases" / f"tiny_loss-{version}"
        (place / "site" / "tiny_loss").mkdir(parents=True)
        (place / "site" / "tiny_loss" / "__init__.py").write_text(HEAD + code + "\n")
        (place / "python").write_text(f'#!/bin/sh\nPYTHONPATH={place}/site:"$PYTHONPATH" exec {sys.executable} "$@"\n')
        (place / "python").chmod(0o755)


def test_releases_side_by_side(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault comes and goes, one release cannot be imported; killed, it goes on; a second time nobody is asked."""
    _installed(here)
    words = ("tiny_loss", "--releases", ",".join(CODE), "--spec", "xywh2xyxy", "-j", "1", "--out", "out")
    left, ask = [True, True], carried.cell_of
    monkeypatch.setattr(carried, "cell_of", lambda task: ask(task) if left and left.pop() else _interrupt())
    first = run(*words)
    assert (first.exit_code, "interrupted: 2 cells are known" in first.output) == (3, True), first.output
    monkeypatch.setattr(carried, "cell_of", ask)
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert (
        "1.3  tiny_loss cannot be imported: ModuleNotFoundError: No module named 'nothing_of_that_name'"
        in result.output
    )
    text = (here / "out" / "matrix.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["column"], row["status"]) for row in rows] == [
        ("1.0", "conforms"), ("1.1", "conforms"), ("1.2", "fails"), ("1.4", "conforms"),
    ]  # fmt: skip
    assert rows[2]["new"]
    assert rows[3]["gone"] == rows[2]["new"]
    alike = {row["replies"] for row in rows if row["column"] in ("1.0", "1.1", "1.4")}
    assert len(alike) == 1, "1.1 and 1.4 reply as 1.0 did"
    assert rows[2]["replies"] not in alike
    content = json.loads((here / "out" / "matrix.json").read_text())
    assert [one["name"] for one in content["columns"]] == list(CODE)
    assert "1.3</strong> was not asked" in (here / "out" / "index.html").read_text()
    monkeypatch.setattr(carried, "cell_of", lambda task: ask(task) if task.column.name == "1.3" else _interrupt())
    again = run(*words, "--write-dialects", "found", "--dtype", "float64")
    assert again.exit_code == 0, again.output
    assert "dialect of 1.2: none, it follows the specification's settings" in again.output
    assert "dialect of 1.3: none, tiny_loss cannot be imported" in again.output
    assert list((here / "found").iterdir()) == []
    assert (here / "out" / "matrix.csv").read_text() == text


def _interrupt() -> Cell:
    raise KeyboardInterrupt


SINGLE = """
import torch
@lossref.target("xywh2xyxy")
def single(x):
    if x.dtype == torch.float64:
        raise RuntimeError("Index put requires the source and destination dtypes match")
    return BOXES(x)
"""


@pytest.mark.parametrize(("code", "status"), [(SINGLE, "pass"), (SINGLE.replace("BOXES(x)", "BOXES(x) * 1.5"), "fail")])
def test_what_cannot_compute_in_float64_is_asked_in_float32(tmp_path: Path, code: str, status: str) -> None:
    """Else all rows of value and gradient would be unsupported, and the cell would say nothing of them."""
    (tmp_path / "single.py").write_text(HEAD + code)
    cell = cell_of(Task(Column("single", str(tmp_path / "single.py"), HERE), "xywh2xyxy", How()))
    rows = {(one.check, one.dtype): one.status for one in cell.verdicts}
    assert (rows["value", "float64"], rows["value", "float32"]) == ("unsupported", status), cell
    (said,) = told([Column("single", "single", HERE)], [cell], in_a_row=False)
    assert said.status == ("conforms" if status == "pass" else "fails")


def test_a_file_with_two_of_a_spec_is_not_asked_but_told(tmp_path: Path) -> None:
    """Which of them stood for the column would be chance."""
    more = SINGLE.replace("single", "another")
    (tmp_path / "two.py").write_text(HEAD + SINGLE + more)
    cell = cell_of(Task(Column("two", str(tmp_path / "two.py"), HERE), "xywh2xyxy", How()))
    assert (cell.verdicts, "it has 2 of xywh2xyxy: single, another; name one" in cell.reason) == ((), True), cell


def test_a_dialect_is_what_a_column_follows_and_reads_as_one(tmp_path: Path) -> None:
    """Not that of a column which was asked in part, or of a loss whose process ended in the middle."""
    wanted = losses.matching("ciou,dfl,task_aligned")
    columns = [Column(name, "tiny_loss", HERE) for name in ("1.0", "1.1", "1.2", "1.3")]
    columns.append(Column("1.4", "tiny_loss", HERE, reason="it is too old"))

    def cell(column: str, spec: str, *settings: str, status: str = "dialect") -> Cell:
        failures = (Failure("value", "other", "", settings=settings),) if settings else ()
        return Cell(column, spec, (Verdict(spec, "tiny", "value", "float64", status, failures=failures),))

    cells = [
        *(cell("1.0", "ciou", "alpha='gated'", "eps=1e-09"), cell("1.0", "task_aligned", "small_boxes='raised'")),
        *(Cell("1.0", "dfl", reason="it has no dfl"), cell("1.1", "ciou", "alpha='gated'"), cell("1.1", "dfl")),
        *(cell("1.2", one.name, status="pass") for one in wanted),
        *(cell("1.3", one.name, "alpha='gated'", status="crashed") for one in wanted),
    ]
    found = {one.column: one for one in dialects("tiny_loss", columns, wanted, cells, "lossref matrix\n[[bad]]")}
    whys = {name: one.why for name, one in found.items()}
    assert whys == {
        "1.0": "",
        "1.1": "task_aligned was not asked to its end",
        "1.2": "it follows the specification's settings",
        "1.3": "ciou was not asked to its end",
        "1.4": "it is too old",
    }
    assert [bool(one.content) for one in found.values()] == [True, False, False, False, False]
    (tmp_path / found["1.0"].name).write_text(found["1.0"].content)
    held = read(str(tmp_path / "tiny_loss-1.0.toml"))
    assert held.of(losses.spec("ciou")) == {"alpha": "gated", "eps": 1e-9}
    assert held.of(losses.spec("task_aligned")) == {"small_boxes": "raised"}
    assert held.of(losses.spec("dfl")) == {}


UNREADABLE = {
    "no version": ("tiny_loss --releases 1.0,,1.2", 2, "cannot be read; write lossref matrix tiny_loss"),
    "a range without an end": ("tiny_loss --releases 1.0..", 2, "cannot be read; write lossref matrix tiny_loss"),
    "a step without a range": ("tiny_loss --releases 1.0:2", 2, "cannot be read; write lossref matrix tiny_loss"),
    "backwards": ("tiny_loss --releases 1.2..1.0", 2, "goes backwards; write 1.0..1.2"),
    "no such release": ("tiny_loss --releases 1.0,7.7", 2, "pip knows no tiny_loss==7.7; it knows 5 releases"),
    "no such package": ("tinier_loss --releases 1.0", 3, "the releases of tinier_loss are not known"),
    "a package and no releases": ("tiny_loss", 2, "say which releases"),
    "a package and a target": ("tiny_loss --releases 1.0 --target torch", 2, "say which releases"),
    "one target": ("--target torch", 2, "two or more --target"),
    "one target twice": ("--target torch --target torch", 2, "two or more --target"),
    "two Pythons for three": ("--target a --target b --target c --python x --python y", 2, "--python is given once"),
    "two Pythons for releases": ("tiny_loss --releases 1.0 --python x --python y", 2, "--python is given once"),
}


@pytest.mark.parametrize(("words", "status", "said"), UNREADABLE.values(), ids=list(UNREADABLE))
def test_what_cannot_be_read_is_one_sentence(here: Path, words: str, status: int, said: str) -> None:
    result = run(*words.split())
    assert (result.exit_code, len(result.output.splitlines())) == (status, 1), result.output
    assert said in result.output


CHOICES = {
    "one": ("1.2", "1.2"),
    "some, each once": ("1.2,1.0,1.2", "1.2 1.0"),
    "all between": ("1.2..1.5", "1.2 1.3 1.4 1.5"),
    "every third, and the last": ("1.0..1.5:3", "1.0 1.3 1.5"),
    "to the latest": ("1.8..latest", "1.8 1.9 1.10"),
    "the latest": ("latest", "1.10"),
    "both": ("1.0,1.8..latest:2", "1.0 1.8 1.10"),
    "a gap counts as none": ("1.5..1.8:1", "1.5 1.7 1.8"),
}


@pytest.mark.parametrize(("words", "wanted"), CHOICES.values(), ids=list(CHOICES))
def test_which_releases_words_choose(monkeypatch: pytest.MonkeyPatch, words: str, wanted: str) -> None:
    there = [f"1.{n}" for n in range(11) if n != 6]
    monkeypatch.setattr(known, "versions", lambda package: there)
    assert known.chosen("a_package_of_nobody", words) == wanted.split()


@pytest.mark.parametrize("words", ["1.0..1.2:0", "../x", "1.0;rm", "1.0....1.2", ":", "1.0..1.2:x"])
def test_other_words_choose_none(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(known, "versions", lambda package: ["1.0", "1.1", "1.2"])
    with pytest.raises(UnknownTarget, match="cannot be read"):
        known.chosen("a_package_of_nobody", words)


# What is the same, and what is not --------------------------------------------------------------------

GIVEN = Returned("", (np.array([1.0, 2.0]),), ("float64",), {"x": np.ones(2)}, {"x": "float64"})
REPLY = Reply((GIVEN,), (("an attribute", "1", "2"),), "", 0.5)
OTHER = {
    "the last bit of a value": replace(GIVEN, values=(np.array([1.0, np.nextafter(2.0, 3.0)]),)),
    "the sign of a zero": replace(GIVEN, gradients={"x": np.array([1.0, -0.0])}),
    "a shape": replace(GIVEN, values=(np.array([[1.0, 2.0]]),)),
    "a dtype": replace(GIVEN, dtypes=("float32",)),
    "a gradient": replace(GIVEN, gradients={"x": np.array([1.0, 1.5])}),
    "no gradient": replace(GIVEN, gradients={"x": None}),
    "the dtype of a gradient": replace(GIVEN, gradient_dtypes={"x": "float32"}),
    "an input that was written to": replace(GIVEN, written=("x was changed",)),
    "a setting that was left": replace(GIVEN, moved=(("grad mode", "True", "False"),)),
    "an exception": Returned("ValueError: no"),
    "a number that a later call wrote over": replace(GIVEN, fleeting=("value",)),
}
SAME = {
    "seconds": replace(REPLY, seconds=9.0),
    "what was printed": replace(REPLY, printed="a warning"),
    "a copy": Reply((replace(GIVEN, values=(np.array([1.0, 2.0]),)),), (("an attribute", "1", "2"),)),
}


@pytest.mark.parametrize("other", OTHER.values(), ids=list(OTHER))
def test_another_reply_is_another_one(other: Returned) -> None:
    assert heard.said(replace(REPLY, returned=(other,)), "") != heard.said(REPLY, "")


def test_what_it_leaves_behind_is_part_of_a_reply() -> None:
    assert heard.said(replace(REPLY, changed=()), "") != heard.said(REPLY, "")


@pytest.mark.parametrize("other", SAME.values(), ids=list(SAME))
def test_what_no_verdict_hangs_on_is_no_difference(other: Reply) -> None:
    assert heard.said(other, "") == heard.said(REPLY, "")


def test_where_a_release_lies_is_no_difference() -> None:
    raised = [Reply((Returned(f"OSError: {place}/site/a.py"),)) for place in ("/old/1.0", "/old/1.1")]
    assert heard.said(raised[0], "/old/1.0") == heard.said(raised[1], "/old/1.1") != heard.said(raised[1], "")


class _Host:
    """Replies in turn; TargetEnded where there is none left."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def ask(self, thing: int, question: Any, story: Any = None) -> Reply:
        if not self.replies:
            raise TargetEnded("crashed", "gone")
        return self.replies.pop(0)

    def close(self) -> None:
        """Nothing to close."""


def _questions(count: int) -> list[Question]:
    """Small ones and large ones."""
    params = {"eps": 1e-7, "sizes": (8.0, 16.0), "name": None}
    inputs = ({"x": np.full((k + 1, 20_000 * (k % 2) + 1), float(k))} for k in range(count))
    return [Question(("value",), params, (Call(x, {"x": "float64"}, ("x",)),)) for x in inputs]


UNSTEADY = {
    "it replies differently to one question": ([0, 0], [REPLY, replace(REPLY, changed=())]),
    "it ends": ([0, 1], [REPLY]),
}


@pytest.mark.parametrize(("asked", "replies"), UNSTEADY.values(), ids=list(UNSTEADY))
def test_what_is_not_steady_stands_for_nobody(asked: list[int], replies: list[Reply]) -> None:
    questions, ears = _questions(2), heard.Listening(_Host(*replies), "")
    for number in asked:
        try:
            ears.ask(0, questions[number])
        except TargetEnded:
            continue
    assert not ears.steady


def _shelf(folder: Path) -> heard.Shelf:
    return lambda what, digest: folder / what[:2] / digest


def test_questions_come_back_as_they_were_asked(tmp_path: Path) -> None:
    questions, ears = _questions(4), heard.Listening(_Host(*[REPLY] * 4), "")
    for one in questions:
        ears.ask(0, one)
    assert ears.steady
    assert heard.keep(_shelf(tmp_path), "a", ears.heard)
    back = heard.kept(_shelf(tmp_path), "a")
    assert back is not None
    assert list(back) == list(ears.heard)
    for (question, reply), (old, wanted) in zip(back.values(), ears.heard.values(), strict=True):
        assert reply == wanted
        assert heard.digest_of(question) == heard.digest_of(old)
    assert list((tmp_path / "nu").iterdir()), "large arrays have files of their own"
    for path in (tmp_path / "nu").iterdir():
        path.unlink()
    assert heard.kept(_shelf(tmp_path), "a") is None, "without its numbers a question cannot be asked"


def _replies(target_gives: Mapping[int, Reply]) -> heard.Replies:
    host = _Host(*target_gives.values())
    return heard.Replies(Target("ciou", lambda: None, "t", host=host, thing=0), "", {})


def test_one_reply_that_differs_is_enough() -> None:
    ears = heard.Listening(_Host(REPLY, REPLY, REPLY), "")
    for one in _questions(3):
        ears.ask(0, one)
    assert _replies(dict.fromkeys(range(3), REPLY)).are(ears.heard)
    assert not _replies({0: REPLY, 1: REPLY, 2: replace(REPLY, changed=())}).are(ears.heard)
    assert not _replies({0: REPLY}).are(ears.heard), "one that ends is not alike"


# In words ---------------------------------------------------------------------------------------------

FAILED = Failure("value ciou", "ciou[0]: got 1, want 2")
PASSED = Verdict("ciou", "t", "value", "float64", "pass", 3)


def _cell(name: str, *statuses: str, reason: str = "") -> Cell:
    def row(status: str) -> Verdict:
        settings = ("alpha='gated'",) if status == "dialect" else ()
        failures = () if status in ("pass", "inconclusive", "unsupported") else (replace(FAILED, settings=settings),)
        return replace(PASSED, status=status, failures=failures)

    return Cell(name, "ciou", tuple(map(row, statuses)), reason)


TOLD = {
    "the same twice": ([_cell("a", "pass"), _cell("b", "pass")], ["conforms", "conforms"], ""),
    "a setting comes": ([_cell("a", "pass"), _cell("b", "dialect")], ["conforms", "dialect"], "b+"),
    "and goes": ([_cell("a", "dialect"), _cell("b", "pass")], ["dialect", "conforms"], "b-"),
    "a fault instead": ([_cell("a", "dialect"), _cell("b", "fail")], ["dialect", "fails"], "b+b-"),
    "it stays": ([_cell("a", "fail"), _cell("b", "fail", "pass")], ["fails", "fails"], ""),
    "over a gap": (
        [_cell("a", "pass"), _cell("b", reason="t b has no ciou"), _cell("c", "fail")],
        ["conforms", "absent", "fails"],
        "c+",
    ),
    "what could not be asked says nothing": (
        [_cell("a", "fail"), _cell("b", reason="not asked: gone"), _cell("c", "fail")],
        ["fails", "unknown", "fails"],
        "",
    ),
    "what examined nothing did not pass": (
        [_cell("a", "unsupported"), _cell("b", "pass", "inconclusive")],
        ["unknown"] * 2,
        "",
    ),
    "the first is new to nobody": ([_cell("a", "fail")], ["fails"], ""),
}


@pytest.mark.parametrize(("cells", "statuses", "moved"), TOLD.values(), ids=list(TOLD))
def test_what_is_new_and_what_is_gone(cells: list[Cell], statuses: list[str], moved: str) -> None:
    rows = told([Column(cell.column, "t", HERE) for cell in cells], cells, in_a_row=True)
    assert [row.status for row in rows] == statuses
    assert (
        "".join(row.column + sign for row in rows for sign, which in (("+", row.new), ("-", row.gone)) if which)
        == moved
    )
    apart = told([Column(cell.column, "t", HERE) for cell in cells], cells, in_a_row=False)
    assert not any(row.new or row.gone for row in apart), "packages do not come after each other"


def test_the_page_and_the_table_take_no_word_for_a_command(tmp_path: Path) -> None:
    """What a target says stands in a cell as it is, and is no formula, no markup, no escape."""
    bad = _cell("a", "fail")
    failures = (replace(FAILED, kind="raises E", problem="raised =E: <b>x</b> \x1b[31m"),)
    cell = replace(bad, verdicts=tuple(replace(row, failures=failures) for row in bad.verdicts))
    columns = [Column("=1+1", "t", HERE)]
    rows = told(columns, [replace(cell, column="=1+1")], in_a_row=True)
    matrix.write(tmp_path, "t", columns, rows, [], 0)
    page = (tmp_path / "index.html").read_text() + "\n".join(matrix.lines(columns, rows, []))
    assert "<b>x" not in page
    assert "\x1b" not in page + (tmp_path / "matrix.csv").read_text()
    assert "'=1+1,ciou,fails,1 crash" in (tmp_path / "matrix.csv").read_text()


AGREE = {
    "all": ([("a", "b", "c")], "all 3 agree"),
    "everyone but one": ([("a", "b"), ("c",)], "everyone but c agrees"),
    "two and two": ([("a", "b"), ("c", "d")], "a, b | c, d"),
    "two, and two alone": ([("a", "b"), ("c",), ("d",)], "a, b | c | d"),
    "two that differ": ([("a",), ("b",)], "no two agree"),
    "two that cannot be compared": ([], "no two can be compared"),
}


@pytest.mark.parametrize(("groups", "sentence"), AGREE.values(), ids=list(AGREE))
def test_who_agrees_in_words(groups: list[tuple[str, ...]], sentence: str) -> None:
    assert Agreement("ciou", (tuple(groups),) if groups else ()).sentence == sentence


PEERS = {  # who is like whom, who cannot be compared
    "two that agree, one that does not": ("ab", "", ((("a", "b"), ("c",)),)),
    "nearly is not handed on": ("ab bc", "", ((("a", "b"), ("c",)),)),
    "all": ("ab bc ac", "", ((("a", "b", "c"),),)),
    "nobody": ("", "", ((("a",), ("b",), ("c",)),)),
    "one that has another convention": ("ab", "ac bc", ((("a", "b"),),)),
    "no two can be compared": ("", "ab ac bc", ()),
}


@pytest.mark.parametrize(("alike", "silent", "clusters"), PEERS.values(), ids=list(PEERS))
def test_who_goes_with_whom(monkeypatch: pytest.MonkeyPatch, alike: str, silent: str, clusters: Any) -> None:
    def beside(spec: Any, one: Column, other: Column, seed: int) -> tuple[str, list[list[Any]], int]:
        pair = one.name + other.name
        reason = "no case can be put to both" if pair in silent.split() else ""
        return reason, [] if reason or pair in alike.split() else [["ciou", 1, 0.5]], 9

    monkeypatch.setattr(agreement, "_beside", beside)
    columns = [*(Column(name, "t", HERE) for name in "abc"), Column("d", "t", HERE, reason="gone")]
    cells = [_cell(name, "pass") for name in "abc"]
    (found,) = agreement.of(agreement.pairs(columns), [losses.spec("ciou")], cells, 0)
    assert found.clusters == clusters
    assert len(found.apart) == 3 - len(alike.split()) - len(silent.split())
    assert len(found.silent) == len(silent.split())


# Which releases the adapter knows ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "old"),
    [("8.2.103", True), ("7.9", True), ("8.3.0", False), ("8.3.0rc1", False), ("8.10.1", False), ("9.0.0", False)],
)
def test_a_release_before_the_first_known_one_is_told_so(
    monkeypatch: pytest.MonkeyPatch, release: str, old: bool
) -> None:
    """It is not asked, nor even imported: what it would be accused of is that it is another one."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: release)
    monkeypatch.setattr(ultralytics, "_module", lambda *words: pytest.fail("it is imported"))
    if not old:
        with pytest.raises(pytest.fail.Exception, match="it is imported"):
            ultralytics.targets()
        return
    with pytest.raises(Unavailable, match=f"ultralytics {release} is older than 8.3, .*: it is not asked"):
        ultralytics.targets()
