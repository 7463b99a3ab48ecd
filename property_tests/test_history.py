"""`lossref history`, `report history` and `bench diff`: what is kept of runs, and what is said to have moved."""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lossref.bench.difference import difference, told
from lossref.bench.rows import Row, write
from lossref.cli import app
from lossref.core.nouns import Failure, Verdict
from lossref.report.between.kept import add_checks, digest_of, moved, opened, points, runs

FAILURE = Failure("value ciou", "ciou[0]: got 1, want 2", case="cases/a.json")
ROW = Verdict("ciou", "mine", "value", "float64", "fail", 3, 2.5, failures=(FAILURE,), seconds=0.1, where="/a/b.py:3 f")
RUN = {"target": "mine", "version": "1.0", "started": "2026-01-02T03:04:05", "lossref": "0.1.0", "torch": "2.13.0"}


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def _folder(place: Path, *rows: Verdict, **facts: Any) -> Path:
    """A run as `validate` leaves it."""
    from dataclasses import asdict

    place.mkdir()
    (place / "verdicts.jsonl").write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))
    more = {"planned": len(rows), "tier": "quick", "seed": 0, "seconds": 1.0, "complete": True, "families": {}}
    about = {
        "command": "lossref validate mine",
        "python": "3",
        "platform": "Linux",
        "threads": 1,
        "notes": [],
        "hosts": [],
    }
    (place / "run.json").write_text(json.dumps({**RUN, **more, **about, **facts}))
    return place


def test_runs_are_kept_once_listed_and_drawn(tmp_path: Path) -> None:
    first = _folder(tmp_path / "a", ROW)
    second = _folder(
        tmp_path / "b", replace(ROW, status="pass", failures=(), worst=0.5), version="1.1", started="2026-01-03"
    )
    file = str(tmp_path / "h.sqlite")
    added = run("history", "add", str(first), str(second), "--file", file)
    assert (added.exit_code, added.output.count("1 verdicts added")) == (0, 2), added.output
    assert "is there already" in run("history", "add", str(first), "--file", file).output
    listed = run("history", "--file", file).output.splitlines()
    assert [line.split("  ")[1:] for line in listed] == [["mine 1.0", "1 fail"], ["mine 1.1", "1 pass"]]
    for over in ("date", "release"):
        assert run("report", "history", file, "--over", over).exit_code == 0
        page = (tmp_path / "history.html").read_text()
        assert "ciou value float64 fail → pass" in page
        assert page.count("<circle") == 2


SAID = {
    "seconds": (replace(ROW, seconds=9.0), True),
    "where it stands": (replace(ROW, where="/c/b.py:9 f"), True),
    "the file of its case": (replace(ROW, case="x", failures=(replace(FAILURE, case="y"),)), True),
    "its status": (replace(ROW, status="pass"), False),
    "its error": (replace(ROW, worst=math.nextafter(2.5, 3)), False),
    "how many were examined": (replace(ROW, examined=4), False),
    "what is wrong": (replace(ROW, failures=(replace(FAILURE, got=1.0),)), False),
}


@pytest.mark.parametrize(("other", "same"), SAID.values(), ids=list(SAID))
def test_what_a_verdict_says(other: Verdict, same: bool) -> None:
    assert (digest_of(other) == digest_of(ROW)) == same


def test_what_moved_between_two_runs(tmp_path: Path) -> None:
    other = replace(ROW, check="gradient", worst=math.inf)
    with opened(tmp_path / "h.sqlite") as base:
        assert add_checks(base, RUN, [ROW, other])
        assert add_checks(base, {**RUN, "started": "2026-01-04"}, [replace(ROW, worst=2.6), other])
        a, b = (one.run for one in runs(base))
        assert moved(base, a, b) == [("ciou", "value", "float64", "fail", "fail")]
        assert [(one.spec, one.failing, one.worst > 1e300) for one in points(base) if one.worst] == [
            ("ciou", 2, True)
        ] * 2


def test_a_broken_addition_adds_nothing(tmp_path: Path) -> None:
    first = _folder(tmp_path / "a", ROW)
    file = str(tmp_path / "h.sqlite")
    broken = run("history", "add", str(first), str(tmp_path / "none"), "--file", file)
    assert (broken.exit_code, "there is no directory" in broken.output) == (2, True), broken.output
    assert run("history", "--file", file).output == ""


BROKEN = {
    "no words for add": ("history add", "say which runs"),
    "another word": ("history remove a", "say which runs"),
    "no file to list": ("history --file none.sqlite", "lossref history add DIR --file none.sqlite makes it"),
    "no file to draw": ("report history none.sqlite", "lossref history add DIR --file none.sqlite makes it"),
    "another file": ("history --file text", "is no history"),
    "another database": ("history --file other.sqlite", "is another database"),
    "no run yet": ("report history empty.sqlite", "has no run yet"),
    "another order": ("report history text --over size", "'size' is not one of date, release"),
    "one CSV": ("bench diff a.csv", "say which two"),
    "no such CSV": ("bench diff none.csv none.csv", "none.csv: No such file"),
    "another CSV": ("bench diff text text", "text is no CSV of lossref bench"),
}


@pytest.mark.parametrize(("words", "said"), BROKEN.values(), ids=list(BROKEN))
def test_what_is_no_history_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("a,b\n1,2\n" * 100)
    with sqlite3.connect(tmp_path / "other.sqlite") as base:
        base.execute("CREATE TABLE runs (a)")
    with opened(tmp_path / "empty.sqlite"):
        pass
    result = run(*words.split())
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1), result.output
    assert said in result.output


# Benchmarks -------------------------------------------------------------------------------------------

ONE = Row(
    "ciou", "mine", "1.0", "cpu", "float32", "train", "full", "seconds", 1.0, 0.9, 1.1, 0.5, 0.48, 0.52, "faster",
    "2.13.0", 2, "", 0, "",
)  # fmt: skip
NAN = math.nan
BESIDE = {
    "the same": (ONE, "0 faster, 0 slower, 1 the same, 0 unsure, 0 timed in one of them alone"),
    "faster": (ONE._replace(ratio=0.4, ci_low=0.39, ci_high=0.41), "1 faster"),
    "slower": (ONE._replace(ratio=0.6, ci_low=0.58, ci_high=0.62), "1 slower"),
    "intervals that meet": (ONE._replace(ratio=0.55, ci_low=0.51, ci_high=0.6), "1 the same"),
    "apart, by less than 5 %": (ONE._replace(ratio=0.523, ci_low=0.521, ci_high=0.525), "1 the same"),
    "no interval": (ONE._replace(ratio=0.4, ci_low=NAN, ci_high=NAN), "1 unsure"),
    "no longer right": (ONE._replace(ratio=NAN, verdict="fails"), "1 timed in one of them alone"),
    "another loss": (ONE._replace(spec="diou"), "2 timed in one of them alone"),
}


@pytest.mark.parametrize(("other", "said"), BESIDE.values(), ids=list(BESIDE))
def test_two_benchmarks_beside_each_other(other: Row, said: str) -> None:
    base = ONE._replace(target="reference", verdict="baseline", ratio=1.0)
    found = difference([ONE, base], [other, base])
    *lines, last = told(found)
    assert said in last
    assert bool(lines) == found.differs == (said not in ("1 the same", "1 unsure") and "1 the same" not in said)


@pytest.mark.parametrize(("ratio", "status"), [(0.5, 0), (0.9, 1)], ids=["the same", "slower"])
def test_bench_diff(tmp_path: Path, ratio: float, status: int) -> None:
    write(tmp_path / "a.csv", [ONE])
    write(tmp_path / "b.csv", [ONE._replace(ratio=ratio, ci_low=ratio - 0.02, ci_high=ratio + 0.02)])
    result = run("bench", "diff", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))
    assert result.exit_code == status, result.output
    assert ("0.50 (0.48 to 0.52) -> 0.90 (0.88 to 0.92)  slower" in result.output) == bool(status), result.output


def test_timings_are_kept_with_their_ratios(tmp_path: Path) -> None:
    place = tmp_path / "bench"
    place.mkdir()
    write(place / "bench.csv", [ONE, ONE._replace(target="reference", verdict="baseline", ratio=1.0)])
    (place / "run.json").write_text(json.dumps({**RUN, "targets": ["mine"]}))
    file = str(tmp_path / "h.sqlite")
    assert "1 timings added" in run("history", "add", str(place), "--file", file).output
    with opened(Path(file)) as base:
        assert [(one.spec, one.ratio) for one in points(base)] == [("ciou", 0.5)]
    assert run("report", "history", file).exit_code == 0


DAMAGED = {
    "a table that is gone": "DROP TABLE verdicts",
    "a run that is gone": "DELETE FROM runs",
    "a run that is a word": "UPDATE verdicts SET run = 'zork'",
    "a spec in bytes": "UPDATE verdicts SET spec = x'00ff'",
    "an error that is a word": "UPDATE verdicts SET worst = 'zork'",
    "a date that is none": "UPDATE runs SET started = 7.5e300 WHERE 0; UPDATE runs SET started = x'00'",
}


@pytest.mark.parametrize("verb", ["history", "report history"])
@pytest.mark.parametrize("change", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_history_is_one_sentence(tmp_path: Path, verb: str, change: str) -> None:
    file = tmp_path / "h.sqlite"
    with opened(file) as base:
        assert add_checks(base, RUN, [ROW])
    with sqlite3.connect(file) as base:
        base.executescript(change)
    result = run(*verb.split(), *(["--file", str(file)] if verb == "history" else [str(file)]))
    assert (result.exit_code, "is damaged" in result.output) == (2, True), result.output


ROWS: dict[str, tuple[Row, str, str, str]] = {
    "a ratio that is none": (ONE._replace(ratio=NAN), "", "", "is 'faster', and its ratio is nan"),
    "below 0": (ONE._replace(ratio=-1.0, ci_low=-2.0), "", "", "is no measurement"),
    "an interval the wrong way round": (ONE._replace(ci_low=9.0, ci_high=1.0), "", "", "is no measurement"),
    "outside of its interval": (ONE._replace(ratio=50.0), "", "", "is no measurement"),
    "a long field": (ONE._replace(note="x" * 200_000), "", "", "field larger than"),
    "a field more": (ONE, "2.13.0", "2.13.0,1", "not as many fields"),
    "another header": (ONE, "median", "mean", "its columns are others"),
}


@pytest.mark.parametrize(("row", "old", "new", "said"), ROWS.values(), ids=list(ROWS))
def test_a_row_that_is_no_measurement_is_one_sentence(tmp_path: Path, row: Row, old: str, new: str, said: str) -> None:
    good, bad = tmp_path / "a.csv", tmp_path / "b.csv"
    write(good, [ONE])
    write(bad, [row])
    bad.write_text(bad.read_text().replace(old, new, 1) if old else bad.read_text())
    assert run("bench", "diff", str(good), str(good)).exit_code == 0
    result = run("bench", "diff", str(good), str(bad))
    assert result.exit_code == 2
    assert said in result.output
