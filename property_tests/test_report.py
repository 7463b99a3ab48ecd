"""The report says what the verdicts say: complete, escaped, self-contained, and honest about what is missing."""

from __future__ import annotations

import html
import io
import json
import math
import re
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from lossref.checks.evidence import Evidence
from lossref.core.nouns import Case, Failure, Verdict
from lossref.losses import specs
from lossref.report import machine, terminal
from lossref.report import page as report
from lossref.report.between.difference import difference, told
from lossref.report.pictures import picture
from lossref.run import about
from lossref.run.findings import AGAINST, findings
from lossref.run.saved import SavedCase, SavedCaseError, load, save
from lossref.targets.resolve import reference

DOCS = {"value": "The value.", "gradient": "The gradient.", "shape": "The shape."}
PASS = Verdict("iou", "mine", "value", "float64", "pass", 12, 0.25)
FAIL = Verdict(
    *("ciou", "mine", "gradient", "float64", "fail", 3, 3.4e7, 1, "d/dpred[0]: got 2, want 1"),
    explanation="agrees with alpha attached",
    case="cases/ciou gradient.json",
)
TWIN = replace(FAIL, dtype="float32", worst=12.0, note="d/dpred[3]: got -2e-05, want 1", case="cases/twin.json")
SHAPE = Verdict(
    *("iou", "mine", "shape", "float64", "fail", 1, math.inf, 0, "shape (2,), expected (3,)"), case="cases/s.json"
)
KNOWN = Verdict("dfl", "mine", "value", "float32", "known", 1, 2.0, 0, "got 1, want 2 (known: last bin)")
ABSENT = Verdict("dfl", "mine", "shape", "float64", "unsupported", note="takes no single item")
NOTHING = Verdict("dfl", "mine", "value", "float64", "inconclusive", note="nothing could be examined")
CRASH = Verdict("dfl", "mine", "gradient", "float64", "crashed", 0, math.inf, note="exit code -11", case="cases/c.json")
EVERY = [PASS, FAIL, TWIN, SHAPE, KNOWN, ABSENT, NOTHING, CRASH]
HOSTILE = '</script><script>alert(1)</script><b onclick="x">&\''
CASE: dict[str, Any] = {
    "inputs": {"pred": {"shape": [2, 2], "values": [[0.0, 0.5], [1.0, 2.0]]}},
    "params": {"eps": 1e-07},
    "upstream": [0.75],
    "detail": {"what": "d/dpred", "index": [0], "got": 2.0, "want": 1.0, "error": 1.0, "budget": 1e-8},
    "snippet": "import torch\nprint('a < b')\n",
}
RUN = {
    "target": "mine", "version": "1.2", "command": "lossref validate mine", "seed": 7, "tier": "quick",
    "started": "2025-01-31T14:02:11+00:00", "seconds": 3.5, "planned": len(EVERY), "python": "3.11", "torch": "2.5",
    "lossref": "0.1", "platform": "Linux", "threads": 2, "notes": ["a note"],
    "families": {"iou": {"pred=touching": 1, "pred=far": 3}},
}  # fmt: skip


def saved(directory: Path, verdicts: list[Verdict], case: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A directory as a run leaves it, with a file for every case that a verdict names."""
    (directory / "cases").mkdir(parents=True)
    lines = [json.dumps(asdict(verdict)) + "\n" for verdict in verdicts]
    (directory / "verdicts.jsonl").write_text("".join(lines), encoding="utf-8")
    (directory / "run.json").write_text(json.dumps({**RUN, "planned": len(verdicts), **changes}), encoding="utf-8")
    for verdict in verdicts:
        if verdict.case:
            (directory / verdict.case).write_text(json.dumps(CASE if case is None else case), encoding="utf-8")
    return directory


def page(directory: Path, verdicts: list[Verdict], case: dict[str, Any] | None = None, **changes: Any) -> str:
    """The page of such a run, as text."""
    return report.write(saved(directory / "run", verdicts, case, **changes), DOCS).read_text(encoding="utf-8")


def words(text: str) -> str:
    """What the page says, without markup, scripts and styles."""
    visible = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", visible)).split())


def cards(text: str) -> list[str]:
    """The findings of a page, each as it stands there."""
    return re.split(r'(?=<details class="finding)', text[: text.index('<section id="matrix">')])[1:]


@pytest.mark.parametrize("outside", ["http://", "https://", "src=", "@import", "<link", "url(", "fetch("])
def test_page_refers_to_nothing_outside_itself(tmp_path: Path, outside: str) -> None:
    assert outside not in page(tmp_path, EVERY)


HOSTILE_FAIL = replace(
    FAIL, spec=HOSTILE, target=HOSTILE, check=HOSTILE, dtype=HOSTILE, note=HOSTILE, explanation=HOSTILE
)
HOSTILE_CASE = {
    "inputs": {HOSTILE: {"shape": [1], "values": [HOSTILE]}},
    "params": {HOSTILE: HOSTILE},
    "detail": {"what": HOSTILE, "index": [], "got": HOSTILE, "want": 1.0, "error": 1.0, "budget": 1e-8},
    "snippet": HOSTILE,
}


@pytest.mark.parametrize(
    ("verdicts", "case", "changes"),
    [
        pytest.param([HOSTILE_FAIL, replace(HOSTILE_FAIL, status="known", case=""), PASS], None, {}, id="verdicts"),
        pytest.param([FAIL], HOSTILE_CASE, {}, id="case file"),
        pytest.param([PASS], None, {"target": HOSTILE, "command": HOSTILE, "notes": [HOSTILE]}, id="run"),
        pytest.param([PASS], None, {"families": {HOSTILE: {f"{HOSTILE}={HOSTILE}": 1}}}, id="families"),
    ],
)
def test_hostile_text_is_shown_and_not_obeyed(
    tmp_path: Path, verdicts: list[Verdict], case: dict[str, Any] | None, changes: dict[str, Any]
) -> None:
    text = page(tmp_path, verdicts, case, **changes)
    assert "<b onclick" not in text
    assert text.count("<script>") == text.count("</script>") == 1
    assert "alert(1)" in words(text)


@pytest.mark.parametrize("verdict", [FAIL, TWIN, SHAPE, CRASH], ids=["fail", "other dtype", "not a number", "crashed"])
@pytest.mark.parametrize("others", [[], EVERY], ids=["alone", "among others"])
def test_every_failure_belongs_to_a_finding_to_replay(tmp_path: Path, verdict: Verdict, others: list[Verdict]) -> None:
    text = page(tmp_path, [verdict, *(other for other in others if other != verdict)])
    mine = [card for card in cards(text) if f"{verdict.spec}: {verdict.check}" in words(card)]
    assert len(mine) == 1
    assert "lossref replay " in words(mine[0])
    assert verdict.dtype.replace("float", "f") in words(mine[0])
    assert DOCS[verdict.check] in words(mine[0])
    assert f"{verdict.note}" in words(text[text.index('id="rows"') :])
    assert verdict.case in words(text[text.index('id="rows"') :])


def test_every_cell_leads_somewhere(tmp_path: Path) -> None:
    text = page(tmp_path, EVERY)
    anchors = re.findall(r'<a class="cell[^>]*href="#([^"]+)"', text)
    assert len(anchors) == len({(one.spec, one.check) for one in EVERY})
    assert sum(anchor.startswith("finding-") for anchor in anchors) == 3
    assert all(f'id="{anchor}"' in text for anchor in anchors)


def test_a_card_shows_the_smallest_input(tmp_path: Path) -> None:
    said = words(page(tmp_path, [FAIL]))
    for part in [FAIL.note, FAIL.explanation, "pred (2 × 2) 0 0.5 1 2", "eps=1e-07", "print('a < b')", "1e-08"]:
        assert part in said


def test_long_arrays_are_cut_short(tmp_path: Path) -> None:
    long = {**CASE, "inputs": {"x": {"shape": [576], "values": [float(i) for i in range(576)]}}}
    said = words(page(tmp_path, [FAIL], long))
    assert "… 480 more numbers, see the file" in said
    assert " 95 " in said
    assert " 96 " not in said


@pytest.mark.parametrize("case", ["", "[]", "{", "null"], ids=["empty", "a list", "torn", "null"])
def test_a_lost_case_file_costs_only_itself(tmp_path: Path, case: str) -> None:
    directory = saved(tmp_path / "run", [FAIL])
    (directory / FAIL.case).write_text(case)
    said = words(report.write(directory, DOCS).read_text(encoding="utf-8"))
    assert FAIL.note in said
    assert "lossref replay" in said


@pytest.mark.parametrize(
    ("verdict", "shown"),
    [
        pytest.param(PASS, "0.25", id="pass"),
        pytest.param(replace(PASS, worst=0.0), "✓", id="no error"),
        pytest.param(replace(FAIL, worst=1.004), ">1", id="just above"),
        pytest.param(FAIL, "3e7", id="large"),
        pytest.param(replace(FAIL, worst=math.inf), "∞", id="infinite"),
        pytest.param(replace(SHAPE, case=""), "✕", id="not a number"),
        pytest.param(KNOWN, "known", id="known"),
        pytest.param(ABSENT, "n/a", id="unsupported"),
        pytest.param(NOTHING, "?", id="inconclusive"),
    ],
)
def test_cell(tmp_path: Path, verdict: Verdict, shown: str) -> None:
    (cell,) = re.findall(r'class="cell [^>]*>([^<]*)<', page(tmp_path, [verdict]))
    assert html.unescape(cell) == shown


@pytest.mark.parametrize(
    ("verdicts", "planned", "says"),
    [
        pytest.param([PASS], 1, "mine 1.2 conforms 1 pass", id="all pass"),
        pytest.param([PASS, KNOWN], 2, "conforms, apart from 1 known failure", id="known failure"),
        pytest.param([PASS, FAIL, CRASH], 3, "does not conform: 2 of 3 checks fail", id="failures"),
        pytest.param([PASS], 3, "run incomplete: 1 of 3 checks made, none failed", id="incomplete"),
        pytest.param([PASS, FAIL], 5, "does not conform: 1 of 2 checks fail", id="incomplete and failing"),
        pytest.param([PASS, NOTHING], 2, "is not shown to conform: 1 of 2 checks examined nothing", id="inconclusive"),
        pytest.param([ABSENT], 1, "is not shown to conform: no check passed", id="nothing supported"),
        pytest.param([], 0, "run incomplete: 0 of 0 checks made", id="nothing at all"),
    ],
)
def test_headline(tmp_path: Path, verdicts: list[Verdict], planned: int, says: str) -> None:
    said = words(page(tmp_path, verdicts, planned=planned))
    assert says in said
    assert ("This run is incomplete." in said) == (len(verdicts) < planned)


def test_csv_holds_every_verdict(tmp_path: Path) -> None:
    directory = saved(tmp_path / "run", EVERY)
    report.write(directory, DOCS)
    table = pd.read_csv(directory / "summary.csv", keep_default_na=False)
    assert list(table.columns) == [field.name for field in fields(Verdict)][:-1]  # less the single failures
    assert [Verdict(*row) for row in table.itertuples(index=False)] == EVERY
    left = {path.name for path in directory.iterdir()}
    assert left == {"cases", "verdicts.jsonl", "run.json", "summary.csv", "badge.json", "index.html"}


@pytest.mark.parametrize(
    ("last", "kept"),
    [
        pytest.param('{"spec": "iou", "tar', 2, id="cut in a word"),
        pytest.param('{"spec": "é'.encode()[:-1], 2, id="cut in a letter"),
        pytest.param(json.dumps(asdict(replace(PASS, check="reduced"))), 3, id="only the newline is missing"),
    ],
)
def test_torn_last_line_is_dropped(tmp_path: Path, last: str | bytes, kept: int) -> None:
    directory = saved(tmp_path / "run", [PASS, FAIL], planned=3)
    with (directory / "verdicts.jsonl").open("ab") as file:
        file.write(last if isinstance(last, bytes) else last.encode())
    assert len(report.read(directory)[0]) == kept


@pytest.mark.parametrize(
    "line",
    ['{"spec": "iou", "tar', "", "[]", '{"spec": "iou"}', '{"surprise": 1}', "\x00"],
    ids=["torn", "blank", "a list", "fields missing", "unknown field", "not text"],
)
def test_broken_line_is_named(tmp_path: Path, line: str) -> None:
    directory = saved(tmp_path / "run", [PASS])
    with (directory / "verdicts.jsonl").open("a") as file:
        file.write(line + "\n" + json.dumps(asdict(PASS)) + "\n")
    with pytest.raises(report.ReportError, match=r"line 2 of .*verdicts\.jsonl is not a verdict"):
        report.read(directory)


@pytest.mark.parametrize("content", ["", "[]", "[1]", '{"target": "mine"}'])
def test_broken_run_is_said(tmp_path: Path, content: str) -> None:
    directory = saved(tmp_path / "run", [PASS])
    (directory / "run.json").write_text(content)
    with pytest.raises(report.ReportError, match=r"run\.json is broken .* run the checks again"):
        report.read(directory)


@pytest.mark.parametrize("missing", ["directory", "verdicts.jsonl", "run.json"])
def test_what_is_missing_is_said(tmp_path: Path, missing: str) -> None:
    directory = tmp_path / "nowhere" if missing == "directory" else saved(tmp_path / "run", [PASS])
    (directory / missing).unlink(missing_ok=True)
    with pytest.raises(report.ReportError) as caught:
        report.write(directory, DOCS)
    assert str(caught.value).startswith(f"there is no {missing} ")
    assert f"run `lossref validate TARGET --out {directory}` first" in str(caught.value)


def test_docs_are_those_of_the_checks_unless_given(tmp_path: Path) -> None:
    from lossref.checks.table import CHECKS

    directory = saved(tmp_path / "run", [FAIL])
    (doc,) = (check.doc for check in CHECKS if check.name == FAIL.check)
    assert doc in words(report.write(directory).read_text(encoding="utf-8"))


@pytest.mark.parametrize("size", [10, 30_000], ids=["in the file", "beside the file"])
def test_a_saved_case_comes_back(tmp_path: Path, size: int) -> None:
    numbers = np.arange(2.0 * size).reshape(2, size) / 8
    numbers[0, :3] = math.nan, math.inf, -math.inf
    wide = np.full((2, size), 1 / 3)
    case = Case("focal", {"pred": numbers, "label": wide}, {}, "id")
    path = tmp_path / "cases" / "one.json"
    saved_case = SavedCase(case, "value", "float32", "mine")
    save(path, specs()["focal"], saved_case, reference(specs()["focal"]), Evidence(1), why="drawn")
    found = load(path).case
    assert list(found.inputs) == ["pred", "label"]
    assert all(np.array_equal(found.inputs[name], x, equal_nan=True) for name, x in case.inputs.items())
    assert path.stat().st_size < 100_000
    if size > 10:
        page = report.write(saved(tmp_path / "run", [FAIL], json.loads(path.read_text())), DOCS).read_text()
        assert "they are in <code>one.npz</code>" in page
        path.with_suffix(".npz").unlink()
        with pytest.raises(SavedCaseError, match=r"one\.npz"):
            load(path)


# Findings, pictures, rows on the page ------------------------------------------------------------------------

DIALECT = replace(
    FAIL,
    status="dialect",
    failures=(Failure("gradient box1", FAIL.note, settings=("alpha='attached'",), case=FAIL.case, relative=0.5),),
)


def test_the_head_counts_findings(tmp_path: Path) -> None:
    said = words(page(tmp_path, [DIALECT, SHAPE, CRASH, PASS]))
    assert "a dialect of 1 setting, 2 findings (1 crash, 1 wrong number)" in said
    assert "does not conform: 3 of 4 checks fail" in said


def test_rows_beyond_the_cap_stand_in_the_csv(tmp_path: Path) -> None:
    many = [replace(PASS, check=f"check{n}") for n in range(2500)]
    directory = saved(tmp_path / "run", [*many, FAIL])
    text = report.write(directory, DOCS).read_text(encoding="utf-8")
    assert text.count("<tr") < 1400
    assert FAIL.note in words(text)
    assert len((directory / "summary.csv").read_text().splitlines()) == 2502


PICTURED = [
    ("ciou", {"box1": [[0, 0, 1, 1]], "box2": [[1, 1, 2, 2]]}, "polygon", 2),
    ("probiou", {"obb1": [[0, 0, 1, 1, 0.5]], "obb2": [[1, 1, 2, 2, 0]]}, "polygon", 2),
    ("keypoint", {"pred_kpts": [[[0, 0], [1, 1]]], "gt_kpts": [[[0, 1], [1, 0]]]}, "circle", 4),
    ("crop_mask", {"masks": [[[0, 1], [1, 0]]], "boxes": [[0, 0, 1, 1]]}, "rect", 3),
    ("focal", {"pred": [[[1, -2]]], "label": [[[0, 1]]]}, "rect", 4),
    ("nobody knows", {"x": [1, 2, 3]}, "rect", 3),
]


@pytest.mark.parametrize(("spec", "inputs", "shape", "count"), PICTURED, ids=[row[0] for row in PICTURED])
def test_a_picture_has_what_the_case_has(spec: str, inputs: dict[str, Any], shape: str, count: int) -> None:
    arrays = {name: {"shape": list(np.shape(x)), "values": x} for name, x in inputs.items()}
    found = picture({"spec": spec, "inputs": arrays, "params": {}, "detail": {}})
    assert found.svg.count(f"<{shape} ") == count
    assert {name for _, name in found.legend} <= set(inputs)


@pytest.mark.parametrize(
    "inputs",
    [
        {"box1": {"shape": [1, 4], "values": [["nan", "inf", 0, "-inf"]]}},
        {"box1": {"shape": [2, 4], "values": [1.0]}},
        {"box1": {"shape": "x", "values": {"a": 1}}},
        {"box1": "elsewhere.npz"},
        {HOSTILE: {"shape": [2], "values": [1, HOSTILE]}},
        {"box1": {"shape": [1, 4], "values": [[1e308, -1e308, 1e308, 1e-308]]}},
        {},
    ],
)
def test_a_picture_of_nonsense_is_no_error(inputs: dict[str, Any]) -> None:
    found = picture(
        {"spec": "ciou", "inputs": inputs, "params": {"imgsz": 3, "strides": "x"}, "detail": {"index": [7]}}
    )
    assert "<script" not in found.svg


def test_a_whole_image_is_drawn_with_its_anchors() -> None:
    case = SCENE | {"detail": {}}
    found = picture(case)
    assert found.svg.count("<circle ") == 40
    assert [name for _, name in found.legend] == ["anchors", "predicted at the anchor nearest to an object", "objects"]


@pytest.mark.parametrize(
    ("side", "strides", "count"), [(320, [8, 16, 32], 500), (640, [8, 16, 32], 400), (2048, [8, 16], 0)]
)
def test_of_a_large_image_the_coarse_anchors_are_drawn(side: int, strides: list[int], count: int) -> None:
    anchors = sum((side // stride) ** 2 for stride in strides)
    boxes = {"shape": [1, 4, anchors], "values": np.ones((1, 4, anchors)).tolist()}
    case = SCENE | {"detail": {}, "params": {"imgsz": [side, side], "strides": strides}}
    found = picture(case | {"inputs": SCENE["inputs"] | {"boxes": boxes}})  # type: ignore[operator]
    assert found.svg.count("<circle ") == count
    assert len(found.svg) < 50_000


SCENE = {
    "spec": "v8_detection",
    "params": {"imgsz": [32, 64], "strides": [8, 16]},
    "inputs": {
        "boxes": {"shape": [1, 4, 40], "values": np.ones((1, 4, 40)).tolist()},
        "batch_idx": {"shape": [1], "values": [0.0]},
        "bboxes": {"shape": [1, 4], "values": [[0.5, 0.5, 0.25, 0.25]]},
    },
}


CONTRADICTIONS = {
    "a status that is none": (replace(FAIL, status="bogus", failures=(), case=""), 28, "status is 'bogus'"),
    "a fail that was not asked": (replace(FAIL, status="unsupported"), 28, "a failure stands beside it"),
    "a pass of nothing": (replace(PASS, examined=0), 28, "examined is 0"),
    "a fail that was made a pass": (replace(FAIL, status="pass"), 28, "a failure stands beside it"),
    "an infinite error": (replace(PASS, worst=math.inf), 28, "a failure stands beside it"),
    "more than was planned": (PASS, 0, "0 checks were planned, and verdicts.jsonl has 1"),
}


@pytest.mark.parametrize(("row", "planned", "said"), CONTRADICTIONS.values(), ids=list(CONTRADICTIONS))
def test_what_no_run_writes_is_refused(tmp_path: Path, row: Verdict, planned: int, said: str) -> None:
    directory = saved(tmp_path / "run", [row])
    content = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps({**content, "planned": planned}))
    with pytest.raises(report.ReportError, match=said):
        report.read(directory)


def test_rows_that_stand_there_twice_count_once(tmp_path: Path) -> None:
    """Else passing rows in place of failing ones make a run whole."""
    found, _ = report.read(saved(tmp_path / "run", [PASS, replace(PASS, worst=0.5), replace(PASS, check="reduced")]))
    assert [(one.check, one.worst) for one in found] == [("value", 0.5), ("reduced", PASS.worst)]


# For programs -------------------------------------------------------------------------------------------------


def test_json_is_as_its_schema_says(tmp_path: Path) -> None:
    from jsonschema import Draft7Validator

    verdicts = [*EVERY, DIALECT, HOSTILE_FAIL, replace(FAIL, check="reduced", worst=math.inf)]
    directory = saved(tmp_path / "run", verdicts)
    text = machine.written("json", directory, *report.read(directory), 1)
    schema = json.loads((Path(machine.__file__).parent / "templates" / "machine.json").read_text())
    found = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert [error.message for error in Draft7Validator(schema).iter_errors(found)] == []
    mine = next(one for one in found["findings"] if one["kind"] == "dialect")
    assert (mine["got"], mine["want"], mine["snippet"]) == (2.0, 1.0, CASE["snippet"])
    assert mine["smallest_case"]["inputs"] == CASE["inputs"]
    known = {one["id"] for one in found["findings"]}
    assert all(set(row["findings"]) <= known for row in found["rows"])
    assert all(bool(row["findings"]) == (row["status"] in AGAINST) for row in found["rows"])


def test_junit_has_a_case_for_each_row() -> None:
    root = ElementTree.fromstring(machine.junit([*EVERY, HOSTILE_FAIL], RUN))
    assert len(root.findall(".//testcase")) == len(EVERY) + 1
    tags = {child.tag: 0 for child in root.iter()}
    for child in root.iter():
        tags[child.tag] += 1
    assert (tags["failure"], tags["error"], tags["skipped"]) == (4, 2, 2)


def test_annotations_stand_at_the_line_of_the_target() -> None:
    here = Path.cwd() / "pkg" / "loss.py"
    lines = list(machine.github(findings([replace(FAIL, where=f"{here}:12 Loss.forward", note="50 %\n::error::x")])))
    assert len(lines) == 1
    assert lines[0].startswith("::error file=pkg/loss.py,line=12,title=lossref ")
    assert "\n" not in lines[0]


@pytest.mark.parametrize(
    ("verdicts", "says", "color"),
    [
        ([PASS], "conforms", "brightgreen"),
        ([DIALECT, PASS], "dialect of 1 setting", "yellow"),
        ([SHAPE, PASS], "1 finding", "red"),
        ([NOTHING, PASS], "incomplete", "yellow"),
        ([], "incomplete", "yellow"),
    ],
)
def test_badge(verdicts: list[Verdict], says: str, color: str) -> None:
    found = machine.badge(verdicts, {**RUN, "planned": len(verdicts)})
    assert (found["message"], found["color"]) == (says, color)


def test_difference_of_two_runs() -> None:
    found = difference([FAIL, SHAPE], [FAIL, TWIN, CRASH])
    assert [len(part) for part in (found.new, found.gone, found.changed, found.same)] == [1, 1, 1, 0]
    lines = list(told(found))
    assert [line[0] for line in lines] == ["+", "-", "~", "1"]
    assert lines[2].endswith("(1 row more)")
    assert lines[3] == "1 new, 1 gone, 1 changed, 0 the same"


# The terminal -------------------------------------------------------------------------------------------------


def test_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    many = [replace(FAIL, spec=f"spec{n}", explanation="", note=f"word{n}x: got 1, want 2\x1b[31m") for n in range(40)]
    terminal.summary([*many, PASS, NOTHING], RUN, Path("out"), 1)
    said = capsys.readouterr().out
    assert said.startswith("mine 1.2: 40 findings (40 wrong numbers)\n")
    assert len(said.splitlines()) < 50
    assert "and 28 findings more" in said
    assert "INCONCLUSIVE  dfl value float64: nothing could be examined" in said
    assert said.splitlines()[-1] == f"does not conform: 40 failures in 42 verdicts of {RUN['planned']} planned"
    assert "\x1b" not in said


def test_a_line_a_minute_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(about, "QUIET", 0.0)
    with about.progress("verdicts", 10, Console(file=out)) as advance:
        for _ in range(10):
            advance(1)
    assert out.getvalue().splitlines()[4] == "5 of 10 verdicts, about 0 min left"
    assert len(out.getvalue().splitlines()) == 9
