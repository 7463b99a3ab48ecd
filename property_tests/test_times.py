"""What took long the last time is begun first; in whatever order jobs are done, the verdicts are the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lossref import losses
from lossref.cli import app
from lossref.hosts.process import HERE
from lossref.run.causes.beside.matrix.asked import Cell, Column, How
from lossref.run.causes.beside.matrix.carried import carried_out, planned
from lossref.run.plan import Job, plan
from lossref.run.saved import times
from lossref.run.saved.times import longest_first, names_of, remember

SPECS = ("iou", "giou", "focal", "dice")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOSSREF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def jobs(specs: str, word: str = "reference") -> list[Job]:
    return plan([word], specs, "shape,single")


def turns(made: list[Job]) -> list[str]:
    return [made[at].spec for at in longest_first(made)]


# Which is begun first ------------------------------------------------------------------------------------------


def test_without_times_losses_with_a_model_come_first() -> None:
    assert turns(jobs("iou,focal,v8_detection,e2e")) == ["e2e", "v8_detection", "focal", "iou"]


def test_with_times_the_longest_comes_first_and_what_is_new_by_what_it_is() -> None:
    made = jobs("iou,focal,dice,v8_detection,e2e,v8_obb")
    took = {"iou": 9.0, "focal": 11.0, "e2e": 3.0, "v8_obb": 30.0}
    remember((names_of(job), took[job.spec]) for job in made if job.spec in took)
    assert turns(made) == ["v8_detection", "v8_obb", "focal", "iou", "e2e", "dice"]


def test_another_implementation_goes_by_the_longest_that_was_asked_the_same() -> None:
    made = jobs("iou,focal")
    remember((names_of(job), 1.0 if job.spec == "iou" else 2.0) for job in made)
    other = [replace(job, word="mine", label="mine") for job in made]
    assert turns(other) == ["focal", "iou"]
    remember([(names_of(made[1]), 4.0), (names_of(replace(made[1], label="another")), 3.0)])
    assert made[1].spec == "iou"
    assert (turns(other), times.kept()[names_of(other[1])[1]]) == (["iou", "focal"], 4.0)
    assert turns([replace(job, tier="full") for job in made]) == ["focal", "iou"], "asked otherwise, it has no time"


def test_what_is_not_asked_comes_last() -> None:
    (long,), (short,) = jobs("v8_detection"), jobs("iou")
    remember((names_of(job), 1.0) for job in (long, short))
    assert turns([replace(long, status="unsupported"), short]) == ["iou", "v8_detection"]


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"a": "1"}', '{"a": NaN, "b": -1.0, "c": Infinity, "d": true}', "[" * 100_000, "\xff"]
)
def test_what_is_no_file_of_times_is_none(cache: Path, content: str) -> None:
    cache.mkdir()
    (cache / times.FILE).write_bytes(content.encode("latin-1"))
    assert times.kept() == {}
    assert turns(jobs("iou,v8_detection")) == ["v8_detection", "iou"]


def test_no_cache_no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSREF_CACHE", "off")
    remember([(("a",), 1.0)])
    assert times.kept() == {}


def test_a_folder_that_cannot_be_written_is_no_error(cache: Path) -> None:
    cache.write_text("a file")
    remember([(("a",), 1.0)])
    assert times.kept() == {}


def test_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "MOST", 2)
    for one in "abca":
        remember([((one,), 1.0)])
    assert list(times.kept()) == ["c", "a"]


# The same verdicts ---------------------------------------------------------------------------------------------


def test_the_verdicts_are_the_same_in_any_order(tmp_path: Path, cache: Path) -> None:
    """Two orders, one after the other and side by side; the run itself has kept how long its jobs took."""
    found = [_run(tmp_path / "first", 1)]
    kept = json.loads((cache / times.FILE).read_text())
    made = jobs(",".join(SPECS), str(_mine(tmp_path)))
    assert {name for job in made for name in names_of(job)} == set(kept)
    for number, order in enumerate((SPECS, SPECS[::-1])):
        for count in (1, 2) if number else (1,):
            remember((names_of(job), 100.0 - order.index(job.spec)) for job in made)
            found.append(_run(tmp_path / f"{number}-{count}", count))
            assert count == 2 or found[-1][0] == list(order)
    assert all(one[1:] == found[0][1:] for one in found), found
    assert {row["status"] for row in found[0][1]} == {"pass", "fail"}


def _mine(place: Path) -> Path:
    lines = ["import lossref", "from lossref.losses import spec"]
    for one in SPECS:
        wrong = " * 2" if one in ("giou", "dice") else ""
        lines += [f"@lossref.target({one!r})", f"def {one}(*x): return spec({one!r}).reference(*x){wrong}"]
    (place / "mine.py").write_text("\n".join(lines) + "\n")
    return place / "mine.py"


def _run(folder: Path, count: int) -> tuple[list[str], list[dict[str, Any]], Any]:
    """In which order the jobs came to their end, the verdicts but for seconds, and the drawn families."""
    words = ["validate", str(_mine(folder.parent)), "--check", "shape,single", "-j", str(count), "--out", str(folder)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1, done.output
    lines = [json.loads(line) for line in (folder / "jobs.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]
    plain = [{name: x for name, x in row.items() if name != "seconds"} for row in rows]
    return (
        [line["verdicts"][0]["spec"] for line in lines],
        plain,
        json.loads((folder / "run.json").read_text())["families"],
    )


# A matrix ------------------------------------------------------------------------------------------------------


def test_within_a_column_of_a_matrix_the_longest_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [Column(name, "reference", HERE) for name in ("1.0", "1.1")]
    wanted, how = losses.matching("iou,focal,e2e"), How()
    assert [task.spec for task in planned(columns[:1], wanted, how)[1]] == ["e2e", "focal", "iou"]
    took = {"iou": 5.0, "focal": 1.0, "e2e": 2.0}
    monkeypatch.setattr(
        "lossref.run.causes.beside.matrix.carried.cell_of",
        lambda task: Cell(task.column.name, task.spec, seconds=took[task.spec]),
    )
    list(carried_out(planned(columns[:1], wanted, how)[1], 1))
    tasks = planned(columns, wanted, how)[1]
    assert [(task.column.name, task.spec) for task in tasks] == [
        (name, spec) for name in ("1.0", "1.1") for spec in ("iou", "e2e", "focal")
    ]
