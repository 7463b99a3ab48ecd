"""The folder of a run: what is kept of one that was cut off, how it is resumed, and that no other is mixed with it."""

from __future__ import annotations

import contextlib
import json
import os
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lossref.core.nouns import Verdict
from lossref.oracle.remembered import remembered
from lossref.run import jobs as running
from lossref.run.atomic import LOCK, InUse, append_line, held
from lossref.run.plan import Job, plan
from lossref.run.saved.finished import Outcome
from lossref.run.session import Session, SessionError

MINE = """
import lossref

@lossref.target("iou")
def says(box1, box2, xywh=True, eps=1e-7):
    raise ValueError("no")
"""


@pytest.fixture
def two(tmp_path: Path) -> list[Job]:
    return plan(["reference"], "iou,focal", "s*", out=tmp_path)


def verdict(job: Job, number: int) -> Verdict:
    return Verdict(job.spec, job.label, *job.rows[number], "pass", 1, 0.5)


def outcome(job: Job) -> Outcome:
    rows = [verdict(job, number) for number in range(len(job.rows))]
    return Outcome(rows, {f"{job.spec}=far": 3}, {"checks": 2.0, "causes": 0.5})


def session(folder: Path, jobs: list[Job], seed: int = 0, resume: bool = False) -> Session:
    return Session(folder, ["reference"], jobs, "quick", seed, resume)


def line(one: Verdict) -> dict[str, object]:
    """A verdict as it comes back from disk."""
    return dict(json.loads(json.dumps(asdict(one))))


def on_disk(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]


def known(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "run.json").read_text()))


def half(folder: Path, jobs: list[Job]) -> None:
    """A run that was cut off when the second job was finished, and a part of the first."""
    with contextlib.suppress(KeyboardInterrupt), session(folder, jobs) as kept:
        for number in range(len(jobs[1].rows)):
            append_line(folder / "verdicts.jsonl", json.dumps(asdict(verdict(jobs[1], number))))
        kept.keep(jobs[1], outcome(jobs[1]))
        append_line(folder / "verdicts.jsonl", json.dumps(asdict(verdict(jobs[0], 0))))
        raise KeyboardInterrupt


def test_an_interrupted_run_keeps_every_verdict_in_the_order_of_the_plan(tmp_path: Path, two: list[Job]) -> None:
    half(tmp_path, two)
    assert [line["spec"] for line in on_disk(tmp_path)] == [two[0].spec] + [two[1].spec] * len(two[1].rows)
    assert known(tmp_path)["finished"] is False
    assert not (tmp_path / LOCK).exists()


def test_a_resumed_run_asks_what_is_left_and_keeps_the_families(tmp_path: Path, two: list[Job]) -> None:
    half(tmp_path, two)
    with (tmp_path / "jobs.jsonl").open("a") as file:
        file.write('{"job": 0, "verdi')  # torn by the end of the process
    with session(tmp_path, two, resume=True) as kept:
        assert kept.left() == [two[0]]
        kept.keep(two[0], outcome(two[0]))
    assert known(tmp_path)["finished"] is True
    assert known(tmp_path)["cpu"] == {"checks": 4.0, "causes": 1.0}
    assert known(tmp_path)["families"] == {job.spec: {f"{job.spec}=far": 3} for job in two}
    assert on_disk(tmp_path) == [line(one) for job in two for one in outcome(job)[0]]
    with session(tmp_path, two, resume=True) as kept:
        assert kept.left() == []


JOBS = {
    "no number": ({"job": "0"}, "job: expected a number below 2"),
    "of no job": ({"job": 7}, "job: expected a number below 2"),
    "no seconds": ({"cpu": {"checks": -1.0}}, "cpu: expected seconds"),
    "no families": ({"families": {"far": "x"}}, "families: expected numbers of cases"),
    "no verdicts": ({"verdicts": 3}, "verdicts: expected the"),
    "too few verdicts": ({"verdicts": []}, "verdicts: expected the"),
    "no verdict": ({"verdicts": [{"spec": 3}]}, "'target' is a required property"),
}


@pytest.mark.parametrize("name", JOBS)
def test_what_a_run_finished_is_read_strictly(tmp_path: Path, two: list[Job], name: str) -> None:
    """Else a report would be made of it that no run gives."""
    change, said = JOBS[name]
    half(tmp_path, two)
    first = json.loads((tmp_path / "jobs.jsonl").read_text().splitlines()[0])
    (tmp_path / "jobs.jsonl").write_text(json.dumps({**first, **change}) + "\n")
    with (
        pytest.raises(SessionError, match=rf"jobs\.jsonl is broken \(line 1: .*{said}"),
        session(tmp_path, two, resume=True),
    ):
        pass


FACTS = {"plan": 3, "files": [], "seed": "0", "finished": "yes"}


@pytest.mark.parametrize("name", FACTS)
def test_what_is_known_of_a_run_is_read_strictly(tmp_path: Path, two: list[Job], name: str) -> None:
    half(tmp_path, two)
    (tmp_path / "run.json").write_text(json.dumps({**known(tmp_path), name: FACTS[name]}))
    with (
        pytest.raises(SessionError, match=rf"run\.json is broken \({name}: .*without --resume"),
        session(tmp_path, two, resume=True),
    ):
        pass


OTHERS = {
    "seed": (lambda jobs: [replace(job, seed=1) for job in jobs], 1, "its seed is 0, this one's 1"),
    "checks": (lambda jobs: jobs[:1], 0, "it was given as `lossref"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_run_is_not_resumed(tmp_path: Path, two: list[Job], name: str) -> None:
    change, seed, said = OTHERS[name]
    half(tmp_path, two)
    before = on_disk(tmp_path)
    with pytest.raises(SessionError, match=said), session(tmp_path, change(two), seed, resume=True):
        pass
    assert on_disk(tmp_path) == before
    assert not (tmp_path / LOCK).exists()


def test_a_target_that_was_changed_since_is_not_resumed(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    jobs = plan([str(file)], "iou", "shape", out=tmp_path)
    with Session(tmp_path / "report", [str(file)], jobs, "quick", 0):
        pass
    file.write_text(MINE + "# mended\n")
    with (
        pytest.raises(SessionError, match=r"mine\.py has changed since; run it anew, without --resume"),
        Session(tmp_path / "report", [str(file)], jobs, "quick", 0, resume=True),
    ):
        pass


def test_a_folder_is_replaced_as_a_whole_but_for_the_files_of_others(tmp_path: Path, two: list[Job]) -> None:
    half(tmp_path, two)
    case = {"schema": 1, "spec": "iou", "check": "value", "dtype": "float64", "inputs": {}}
    for name in ("summary.csv", "index.html", "cases/old.npz", "cases/notes.txt", "mine.txt"):
        (tmp_path / name).write_text("old")
    (tmp_path / "cases" / "old.json").write_text(json.dumps(case))
    (tmp_path / "cases" / "theirs.json").write_text('{"a": 1}')
    with session(tmp_path, two[:1]):
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    ours = {"run.json", "verdicts.jsonl", "jobs.jsonl", LOCK}
    assert left == {"cases/notes.txt", "cases/theirs.json", "mine.txt", *ours}
    assert on_disk(tmp_path) == []


def test_a_page_of_somebody_else_is_not_overwritten(tmp_path: Path, two: list[Job]) -> None:
    (tmp_path / "index.html").write_text("my homepage")
    with pytest.raises(SessionError, match=r"index\.html is not of a run of lossref"), session(tmp_path, two):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_folder_in_use_is_refused_and_a_dead_lock_is_not(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("99999999 since 2001-01-01 00:00:00")
    with held(tmp_path):
        with pytest.raises(InUse, match=f"in use by process {os.getpid()} since"), held(tmp_path):
            pass
        assert (tmp_path / LOCK).exists()
    assert not (tmp_path / LOCK).exists()


def test_a_folder_that_was_deleted_meanwhile_is_written_again(tmp_path: Path, two: list[Job]) -> None:
    folder = tmp_path / "report"
    with session(folder, two) as kept:
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()
        for job in two:
            kept.keep(job, outcome(job))
    assert len(on_disk(folder)) == sum(len(job.rows) for job in two)


def test_a_job_that_is_taken_apart_leaves_no_verdict_twice(
    tmp_path: Path, two: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying:
        """An executor whose process writes a verdict and dies, but over the first check alone."""

        def submit(self, work: object, job: Job) -> Dying:
            self.job = job
            append_line(Path(job.out) / "verdicts.jsonl", json.dumps(asdict(verdict(job, 0))))
            return self

        def result(self) -> tuple[list[Verdict], dict[str, int]]:
            if len(self.job.rows) > 1:
                raise BrokenProcessPool
            return outcome(self.job)

    class Pool(Dying):
        def __enter__(self) -> Dying:
            return self

        def __exit__(self, *given: object) -> None:
            pass

    monkeypatch.setattr(running, "processes", lambda count: Pool())
    with contextlib.suppress(KeyboardInterrupt), session(tmp_path, two[:1]) as kept:
        found = running.by_itself(two[0], kept.forget_unfinished)
        assert found[0] == outcome(two[0])[0]
        raise KeyboardInterrupt
    assert on_disk(tmp_path) == [line(one) for one in outcome(two[0])[0]]


def test_results_are_kept_up_to_a_number_of_bytes() -> None:
    asked = list[int]()

    @remembered(10, lambda found: int(found))  # a result of n takes n bytes
    def itself(number: int) -> int:
        asked.append(number)
        return number

    assert [itself(n) for n in (4, 5, 4, 3, 4, 5, 99, 99, 4)] == [4, 5, 4, 3, 4, 5, 99, 99, 4]
    assert asked == [4, 5, 3, 5, 99, 4]  # 5 was the oldest when 3 came, 99 leaves room for nothing else
    assert itself.bytes == 4


def test_a_line_that_does_not_fit_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda file, content: len(content) - 1)
    with pytest.raises(OSError, match=r"No space left on device.*lines"):
        append_line(tmp_path / "lines", "x")
