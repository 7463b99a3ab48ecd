"""Nothing is lost: of a run that is killed, interrupted, or cannot write, and of the folder that it works in."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from lossref.core.nouns import Verdict
from lossref.hosts.nursery import NAMED
from lossref.oracle.remembered import remembered
from lossref.run import jobs as running
from lossref.run.atomic import LOCK, InUse, append_line, held, write_text
from lossref.run.plan import Job, plan
from lossref.run.session import Session, SessionError

ROOT = Path(__file__).parents[1]
MARK = "LOSSREF_TRIAL"
HEAD = """
import os, subprocess, sys, time
import lossref
from lossref import bbox_iou
"""
HANGS = """
@lossref.target("iou")
def hangs(box1, box2, xywh=True, eps=1e-7):
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
    open("hangs", "w").close()
    time.sleep(600)
"""
SAYS = """
@lossref.target("iou")
def says(box1, box2, xywh=True, eps=1e-7):
    raise ValueError("größer als ∞ \U0001f600")
"""
QUICK = ("--check", "shape", "-j", "1")


def started(folder: Path, *words: str, **how: object) -> subprocess.Popen[str]:
    """`lossref validate` in a folder; every process of it bears the name of the folder in its environment."""
    unignored = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # the background jobs of a shell ignore Ctrl-C
    env = {**os.environ, MARK: str(folder), "PYTHONPATH": str(ROOT), **how.pop("env", {})}  # type: ignore[dict-item]
    env.pop(NAMED, None)  # what is left of a run is looked for, also of the process that its hosts are forked from
    command = [sys.executable, "-m", "lossref", "validate", "--out", "report", *words]
    given = {"cwd": folder, "env": env, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **{"preexec_fn": unignored, **given, **how})  # type: ignore[call-overload]


def until(true: Callable[[], object], seconds: float = 120.0) -> bool:
    """Whether it becomes true in that time."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and not true():
        time.sleep(0.02)
    return bool(true())


def alive(folder: Path) -> list[str]:
    """What bears the name of the folder, or works in it."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.status() != psutil.STATUS_ZOMBIE and (one.environ().get(MARK) == str(folder) or _at(one, folder)):
                found.append(f"{one.pid} {' '.join(one.cmdline())[-60:]}")
        except (psutil.Error, OSError):
            continue
    return found


def _at(one: psutil.Process, folder: Path) -> bool:
    return one.pid != os.getpid() and Path(one.cwd()) == folder


def test_killed_runs_are_resumed_to_the_report_of_an_uninterrupted_one() -> None:
    words = ["reference", "--spec", "iou", "--spec", "focal", "--check", "s*", "-j", "1"]
    script = [sys.executable, ROOT / "regression" / "killed_runs.py", "--trials", "2", *words]
    found = subprocess.run(script, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("the same") == 2


ENDS = {
    "SIGKILL": ((signal.SIGKILL,), -signal.SIGKILL, ""),
    "SIGTERM": ((signal.SIGTERM,), 3, "lossref: interrupted: no verdicts were made"),
    "Ctrl-C twice": ((signal.SIGINT, signal.SIGINT), 3, "lossref: interrupted"),
}


@pytest.mark.parametrize("name", ENDS)
def test_no_process_outlives_a_run_whose_target_hangs_and_has_forked(tmp_path: Path, name: str) -> None:
    signals, status, said = ENDS[name]
    (tmp_path / "mine.py").write_text(HEAD + HANGS)
    run = started(tmp_path, "mine.py", *QUICK, "--dtype", "float64", "--timeout", "300")
    assert until((tmp_path / "hangs").exists), run.kill()
    for one in signals:
        run.send_signal(one)
    _, error = run.communicate(timeout=60)
    assert until(lambda: not alive(tmp_path), 2.0), alive(tmp_path)
    assert run.returncode == status, error
    assert error.startswith(said)
    assert len(error.splitlines()) == (1 if said else 0), error


@pytest.mark.parametrize("wait", [0.0, 0.3, 1.0])
def test_ctrl_c_in_the_first_second_is_one_sentence(tmp_path: Path, wait: float) -> None:
    run = started(tmp_path, "reference", *QUICK)
    assert until(lambda: _hears(run.pid, signal.SIGTERM))
    time.sleep(wait)
    run.send_signal(signal.SIGINT)
    _, error = run.communicate(timeout=60)
    assert run.returncode == 3, error
    assert error.startswith("lossref: interrupted")
    assert len(error.splitlines()) == 1, error
    assert not alive(tmp_path)


def test_ctrl_c_in_the_midst_of_a_text_that_is_executed_is_no_other(tmp_path: Path) -> None:
    """As dataclasses are made, say; Python then ends by the signal, whatever the exit status."""
    text = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    body = f"from lossref.hosts.interrupts import answered\nwith answered():\n    exec({text!r})\n"
    (tmp_path / "within.py").write_text(body)
    done = subprocess.run([sys.executable, "-m", "within"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "lossref: interrupted\n")


def _hears(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_a_full_disk_is_one_sentence_and_what_fitted_is_kept(tmp_path: Path) -> None:
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    run = started(tmp_path, "reference", "--spec", "iou", "-j", "1", preexec_fn=full)
    _, error = run.communicate(timeout=300)
    lines = (tmp_path / "report" / "verdicts.jsonl").read_text().split("\n")
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    assert run.returncode == 3, error
    assert "verdicts.jsonl: File too large" in error or "No space left" in error
    assert f"; {len(whole)} of 23 verdicts are kept in report" in error
    assert len(error.splitlines()) == 1
    assert len(whole) > 1


OUTPUTS = {
    "a full disk": ("show ciou > /dev/full", 3, "lossref: standard output: No space left on device\n"),
    "all that is read and printed closed": ("validate reference --spec iou --check pure -j 1 <&- >&- 2>&-", 0, ""),
    "its input closed": ("validate reference --spec iou --check pure -j 2 <&- > said", 0, ""),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_where_nothing_can_be_printed_the_exit_status_is_right(tmp_path: Path, name: str) -> None:
    words, status, said = OUTPUTS[name]
    command = f"exec {sys.executable} -m lossref {words}"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (status, said)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python does not say which it is when the disk is full, but for opening it; a draft has another name."""

    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/page\.html'") as found:
        write_text(tmp_path / "page.html", "<p>")
    assert found.value.filename == str(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_nothing_can_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    run = started(tmp_path, "reference", "--spec", "iou", *QUICK, "--out", "/proc/report")  # the last --out counts
    _, error = run.communicate(timeout=300)
    assert (run.returncode, len(error.splitlines())) == (3, 1), error


def test_letters_that_a_terminal_lacks_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HEAD + SAYS, encoding="utf-8")
    plain = {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = started(tmp_path, "mine.py", *QUICK, "--dtype", "float64", env=plain)
    said, error = run.communicate(timeout=300)
    assert run.returncode == 1, error
    assert "gr\\xf6\\xdfer als \\u221e" in said
    assert "größer als ∞" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


# The folder -------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> list[Job]:
    return plan(["reference"], "iou,focal", "s*", out=tmp_path)


def verdict(job: Job, number: int) -> Verdict:
    return Verdict(job.spec, job.label, *job.rows[number], "pass", 1, 0.5)


def outcome(job: Job) -> tuple[list[Verdict], dict[str, int]]:
    return [verdict(job, number) for number in range(len(job.rows))], {f"{job.spec}=far": 3}


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
    assert known(tmp_path)["families"] == {job.spec: {f"{job.spec}=far": 3} for job in two}
    assert on_disk(tmp_path) == [line(one) for job in two for one in outcome(job)[0]]
    with session(tmp_path, two, resume=True) as kept:
        assert kept.left() == []


JOBS = {
    "no number": ({"job": "0"}, "job: expected a number below 2"),
    "of no job": ({"job": 7}, "job: expected a number below 2"),
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
    file.write_text(HEAD + SAYS)
    jobs = plan([str(file)], "iou", "shape", out=tmp_path)
    with Session(tmp_path / "report", [str(file)], jobs, "quick", 0):
        pass
    file.write_text(HEAD + SAYS + "# mended\n")
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
