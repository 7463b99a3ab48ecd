"""`lossref report cost`: what runs took, and what a matrix of many releases would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lossref.cli import app
from lossref.report.between.cost import Cost, makespan, told

CHECKS = ["--spec", "iou", "--spec", "giou", "--check", "shape", "--dtype", "float64"]
MADE = ["validate", "reference", *CHECKS, "--jobs", "1", "--out"]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize(
    ("jobs", "cores", "seconds"),
    [
        ([3.0, 3.0, 2.0, 2.0, 2.0], 1, 12.0),
        ([2.0, 3.0, 2.0, 3.0, 2.0], 2, 7.0),  # the longest first: 3 + 2 + 2 beside 3 + 2
        ([5.0, 1.0, 1.0], 2, 5.0),
        ([1.0, 4.0], 100, 4.0),
        ([0.0], 3, 0.0),
    ],
)
def test_the_longest_that_is_left_is_taken_first(jobs: list[float], cores: int, seconds: float) -> None:
    assert makespan(jobs, cores) == seconds


def test_it_says_what_was_measured_and_what_is_simulated() -> None:
    lines = list(told([Cost(Path("a"), 20, 2, (6.0, 4.0), 12.5, 1), Cost(Path("b"), 20, 2, (7.0, 5.0), 8.0, 2)]))
    assert lines == [
        "a: 20 verdicts of 2 jobs in 10 s of one core, 2 verdicts per second and core; "
        "measured on 1 process: 12.5 s, 1.6 verdicts a second (simulated: 10 s)",
        "b: 20 verdicts of 2 jobs in 12 s of one core, 1.67 verdicts per second and core; "
        "measured on 2 processes: 8 s, 2.5 verdicts a second, 1.56 times those of a (simulated: 7 s)",
        "a matrix of 100 releases x 2 specs, each as a (simulated: every job asked anew, the longest first, "
        "without the start of processes)",
        "     1 core   16.7 min  2 verdicts a second, 100% busy",
        "   10 cores      100 s  20 verdicts a second, 100% busy",
        "  100 cores       10 s  200 verdicts a second, 100% busy",
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cost") / "whole"
    assert run(*MADE, str(place)).exit_code == 0
    return place


def test_a_run_says_what_it_cost(made: Path) -> None:
    said = run("report", "cost", str(made))
    assert said.exit_code == 0, said.output
    jobs = [json.loads(line)["seconds"] for line in (made / "jobs.jsonl").read_text().splitlines()]
    known = json.loads((made / "run.json").read_text())
    assert (len(jobs), known["processes"]) == (2, 1)
    assert 0 < sum(jobs) <= known["seconds"]
    assert f"{2 / sum(jobs):.3g} verdicts per second and core; measured on 1 process" in said.output
    assert "a matrix of 100 releases x 2 specs" in said.output


BROKEN = {
    "of an older lossref": ('{"job": 0}\n', "line 1 of", "is no job that was timed; run the checks again"),
    "no number": ('{"job": 0, "seconds": "1"}\n', "line 1 of", "is no job that was timed"),
    "below nothing": ('{"job": 0, "seconds": -1.0}\n', "line 1 of", "is no job that was timed"),
    "no JSON": ("x\n", "line 1 of", "is no job that was timed"),
    "nothing": ("", "has no job that was timed", "run the checks again"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_run_whose_jobs_were_not_timed_is_one_sentence(made: Path, tmp_path: Path, name: str) -> None:
    content, *said = BROKEN[name]
    for file in ("run.json", "verdicts.jsonl"):
        (tmp_path / file).write_bytes((made / file).read_bytes())
    (tmp_path / "jobs.jsonl").write_text(content)
    found = run("report", "cost", str(tmp_path))
    assert (found.exit_code, len(found.output.splitlines())) == (2, 1), found.output
    assert all(one in found.output for one in said), found.output


def test_a_run_that_was_resumed_has_no_time_of_the_whole(made: Path) -> None:
    lines = (made / "jobs.jsonl").read_text().splitlines(keepends=True)
    (made / "jobs.jsonl").write_text(lines[0])
    assert run(*MADE, str(made), "--resume").exit_code == 0
    assert "no time of the whole: it was not carried out in one go" in run("report", "cost", str(made)).output
