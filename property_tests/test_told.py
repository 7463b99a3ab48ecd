"""What the commands say about a run that is on disk, about a check, a setting, and the place they work in."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lossref.cli import app
from lossref.core.nouns import Failure, Verdict
from lossref.run.findings import findings

RUN = {
    "target": "mine", "version": "1.2", "command": "lossref validate mine", "seed": 7, "tier": "quick",
    "started": "2025-01-31T14:02:11+00:00", "seconds": 3.5, "planned": 2, "python": "3.11", "torch": "2.5",
    "lossref": "0.1", "platform": "Linux", "threads": 2, "notes": [], "families": {},
}  # fmt: skip
PASS = Verdict("iou", "mine", "value", "float64", "pass", 12, 0.25)
ONE = Failure("value ciou", "ciou: got 2, want 1", cases=1, of=8, relative=1.0, got=2.0, want=1.0)
FAIL = Verdict("ciou", "mine", "value", "float64", "fail", 3, 9.0, 0, ONE.problem, where="/x/l.py:3 f", failures=(ONE,))
ID = findings([FAIL])[0].id


def run(folder: Path, *verdicts: Verdict) -> str:
    folder.mkdir(parents=True)
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(asdict(one)) + "\n" for one in verdicts))
    (folder / "run.json").write_text(json.dumps({**RUN, "planned": len(verdicts)}))
    return str(folder)


def said(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("refuses", ["refuses: a check, in float32", "A NaN, integers, and a shape that is refused"]),
        (
            "small_boxes",
            ["small_boxes: a setting of", "what a small side counts as", "The specification has 'stride1'"],
        ),
        ("small_boxes='raised'", ["small_boxes: a setting of"]),
        (ID, [f"{ID}: wrong number of mine 1.2", "ciou: got 2, want 1", "/x/l.py:3 f", "the lines that compute ciou"]),
    ],
)
def test_explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "reports" / "mine", PASS, FAIL)
    text = said("explain", word)
    assert [one for one in words if one not in text] == []


def test_explain_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "'huh' is no check, no setting of a spec and no finding" in said("explain", "huh", status=2)
    assert "there is no directory" in said("explain", ID, "--in", "nowhere", status=2)


def test_difference(tmp_path: Path) -> None:
    before, after = run(tmp_path / "a", PASS, FAIL), run(tmp_path / "b", PASS)
    assert f"- gone    {ID}" in said("report", "diff", before, after, status=1)
    assert "0 new, 0 gone, 0 changed, 1 the same" in said("report", "diff", before, before)
    assert "say which run" in said("report", before, after, status=2)


@pytest.mark.parametrize(("form", "begins"), [("json", "{"), ("junit", "<?xml"), ("github", "::error "), ("text", "")])
def test_formats(tmp_path: Path, form: str, begins: str) -> None:
    folder = run(tmp_path / "a", PASS, FAIL)
    result = CliRunner().invoke(app, ["report", folder, "--format", form])
    assert result.exit_code == 1, "it says of a run what the run said"
    assert result.stdout.startswith(begins or f"report: {folder}")
    assert (form == "text") == ("report: " in result.stdout)
    assert (tmp_path / "a" / "badge.json").exists()


EXAMINED_NOTHING = {
    "no verdict": ("", 2, 3, "nothing was examined"),
    "a verdict too few": (json.dumps(asdict(PASS)) + "\n", 2, 3, "incomplete: 0 failures in 1 verdicts of 2 planned"),
    "all that were planned": (json.dumps(asdict(PASS)) + "\n", 1, 0, "conforms: 0 failures in 1 verdicts of 1 planned"),
}


@pytest.mark.parametrize("name", EXAMINED_NOTHING)
def test_a_run_of_which_verdicts_are_gone_does_not_conform(tmp_path: Path, name: str) -> None:
    lines, planned, status, words = EXAMINED_NOTHING[name]
    folder = run(tmp_path / "a", PASS)
    (tmp_path / "a" / "verdicts.jsonl").write_text(lines)
    (tmp_path / "a" / "run.json").write_text(json.dumps({**RUN, "planned": planned}))
    assert words in said("report", folder, status=status)
    if not lines:
        assert words in said("report", "diff", folder, folder, status=status)


IOU = """
import lossref
from lossref import bbox_iou

@lossref.target("iou")
def mine(box1, box2, xywh=True, eps=1e-7):
    return bbox_iou(box1, box2, xywh, eps=eps)
"""
SELECT_NOTHING = {
    "golden check --files of no spec": ("golden check nosuch --files", "has no spec 'nosuch'; it has angle,"),
    "of two words one": ("golden check f*cal --spec zzz --files", "has no spec 'zzz'; it has angle,"),
    "golden check": ("golden check focal zzz", "there is no spec 'zzz'"),
    "golden export": ("golden export zzz", "there is no spec 'zzz'"),
    "validate of no spec": ("validate mine.py --spec focal", "mine.py has no implementation of focal"),
    "of two specs one": ("validate mine.py --spec iou --spec focal", "mine.py has no implementation of focal"),
    "of two files one": ("validate mine.py other.py --spec iou", "other.py has no implementation of iou; it has giou"),
    "validate of no check": ("validate mine.py --check value,zzz", "there is no check 'zzz'"),
    "impostors": ("impostors --spec zzz", "there is no spec 'zzz'"),
    "table": ("table --spec zzz", "there is no spec 'zzz'"),
    "bench": ("bench mine.py --spec focal", "mine.py has no implementation of focal"),
    "history since no day": ("golden history --since yesterday", "expected a version or a day"),
}  # fmt: skip


@pytest.mark.parametrize("name", SELECT_NOTHING)
def test_a_selection_of_nothing_is_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    line, words = SELECT_NOTHING[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(IOU)
    (tmp_path / "other.py").write_text(IOU.replace('"iou"', '"giou"'))
    text = said(*line.split(), status=2)
    assert words in text
    assert len(text.splitlines()) == 1


def test_an_unknown_format_is_one_sentence(tmp_path: Path) -> None:
    assert "'xml' is not one of text, json" in said("report", str(tmp_path), "--format", "xml", status=2)


def test_doctor() -> None:
    text = said("doctor")
    for part in ("environment", "targets", "missing", "reference: with lossref", "certified answers are kept"):
        assert part in text
