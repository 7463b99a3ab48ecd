"""The report says what the verdicts say: complete, escaped, self-contained, and honest about what is missing."""

from __future__ import annotations

import html
import json
import math
import re
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lossref.checks.evidence import Evidence
from lossref.core.nouns import Case, Verdict
from lossref.losses import specs
from lossref.report import page as report
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
def test_every_failure_has_a_card_to_replay(tmp_path: Path, verdict: Verdict, others: list[Verdict]) -> None:
    text = page(tmp_path, [verdict, *(other for other in others if other != verdict)])
    cards = [words(card) for card in re.findall(r"<article.*?</article>", text, flags=re.DOTALL)]
    mine = [card for card in cards if Path(verdict.case).name in card]
    assert len(mine) == 1
    assert "lossref replay " in mine[0]
    assert verdict.dtype in mine[0]
    assert DOCS[verdict.check] in mine[0]


def test_a_failing_cell_leads_to_a_card(tmp_path: Path) -> None:
    text = page(tmp_path, EVERY)
    anchors = re.findall(r'<a class="cell[^>]*href="#([^"]+)"', text)
    assert len(anchors) == len(EVERY) - 1
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
        pytest.param(FAIL, "3.4e+07", id="large"),
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
    assert list(table.columns) == [field.name for field in fields(Verdict)]
    assert [Verdict(*row) for row in table.itertuples(index=False)] == EVERY
    left = {path.name for path in directory.iterdir()}
    assert left == {"cases", "verdicts.jsonl", "run.json", "summary.csv", "index.html"}


@pytest.mark.parametrize(
    ("last", "kept"),
    [
        pytest.param('{"spec": "iou", "tar', 2, id="cut in a word"),
        pytest.param('{"spec": "é'.encode()[:-1], 2, id="cut in a letter"),
        pytest.param(json.dumps(asdict(PASS)), 3, id="only the newline is missing"),
    ],
)
def test_torn_last_line_is_dropped(tmp_path: Path, last: str | bytes, kept: int) -> None:
    directory = saved(tmp_path / "run", [PASS, FAIL])
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
