"""Nothing is lost: of a run that is killed, interrupted, or cannot write, and of the folder that it works in."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from lossref.hosts.nursery import NAMED
from lossref.run.atomic import write_text

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
    assert f"; {len(whole)} of 28 verdicts are kept in report" in error
    assert len(error.splitlines()) == 1
    assert len(whole) > 1


OUTPUTS = {
    "a full disk": ("show ciou > /dev/full", 3, "lossref: standard output: No space left on device\n"),
    "all that is read and printed closed": ("validate reference --spec iou --check pure -j 1 <&- >&- 2>&-", 0, ""),
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
