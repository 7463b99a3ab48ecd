"""Whole runs on a real scheduler and real workers: one is killed, one hangs, one has another lossref."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lossref.cli import app
from lossref.run.cluster import cluster

ROOT = Path(__file__).parents[1]
WHO = "LOSSREF_TEST_WORKER"
# Three that are right and one that is wrong, with a case that is saved. The first call of each worker takes a second
# and leaves a mark: whoever waits for that finds the worker in the middle of a job.
MINE = f"""
import os, time
import lossref
from lossref.losses import spec
def here():
    mark = os.path.join(os.path.dirname(__file__), "asked-" + os.environ.get("{WHO}", "here"))
    if not os.path.exists(mark):
        open(mark, "w").close()
        time.sleep(1)
@lossref.target("iou")
def first(box1, box2, xywh=True, eps=1e-7):
    here()
    return spec("iou").reference(box1, box2, xywh=xywh, eps=eps)
@lossref.target("giou")
def second(box1, box2, xywh=True, eps=1e-7):
    here()
    return spec("giou").reference(box1, box2, xywh=xywh, eps=eps)
@lossref.target("diou")
def third(box1, box2, xywh=True, eps=1e-7):
    here()
    return spec("diou").reference(box1, box2, xywh=xywh, eps=eps)
@lossref.target("dice")
def wrong(pred, target, smooth=1e-6, reduction="mean"):
    here()
    raise ValueError("no")
"""


class Site:
    """A scheduler on loopback, and the workers that were started for a test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workers = folder, dict[str, subprocess.Popen[bytes]]()
        at = folder / "scheduler.json"
        self.scheduler = self._started(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(at)
        )
        until(at.exists)
        self.port = int(json.loads(at.read_text())["address"].rpartition(":")[2])

    def worker(self, name: str, path: Path = ROOT) -> None:
        """A worker that finds lossref there."""
        words = [f"tcp://127.0.0.1:{self.port}", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", name]
        words += ["--local-directory", str(self.folder)]
        self.workers[name] = self._started("worker", *words, env={WHO: name, "PYTHONPATH": str(path)})
        log = self.folder / f"worker-{name}.log"
        until(lambda: b"Registered to" in log.read_bytes())

    def _started(self, what: str, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        name = f"worker-{words[-3]}" if what == "worker" else what
        with open(self.folder / f"{name}.log", "wb") as log:
            command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *words]
            return subprocess.Popen(command, env={**os.environ, **(env or {})}, stdout=log, stderr=log)

    def end(self) -> None:
        for one in (*self.workers.values(), self.scheduler):
            one.kill()
            one.wait()


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "it did not become true in time"
        time.sleep(0.02)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path)
    try:
        yield one
    finally:
        one.end()


def run(place: Path, out: str, *words: str) -> Result:
    return CliRunner().invoke(
        app, ["validate", str(place / "mine.py"), "--check", "shape,pure", "--out", str(place / out), *words]
    )


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "summary.csv", newline="") as file:
        return [{name: x for name, x in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def cases(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "cases").iterdir()}


def test_a_run_of_which_a_worker_is_killed_is_the_serial_run(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    serial = run(tmp_path, "serial", "--jobs", "1")
    for name in "ab":
        site.worker(name)

    def kill() -> None:
        until((tmp_path / "asked-a").exists)
        site.workers["a"].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    told = run(tmp_path, "afar", "--executor", f"dask://127.0.0.1:{site.port}")
    killer.join()
    assert (serial.exit_code, told.exit_code) == (1, 1), told.output
    assert "is gone; " in told.output
    assert "is asked again" in told.output
    assert rows(tmp_path / "afar") == rows(tmp_path / "serial")
    done = [json.loads(line)["job"] for line in (tmp_path / "afar" / "jobs.jsonl").read_text().splitlines()]
    assert sorted(done) == [0, 1, 2, 3]
    cases = [
        {path.name: path.read_bytes() for path in (tmp_path / one / "cases").iterdir()} for one in ("afar", "serial")
    ]
    assert cases[0] == cases[1] != {}
    assert json.loads((tmp_path / "afar" / "run.json").read_text())["finished"] is True


def test_a_run_whose_scheduler_is_killed_goes_on_elsewhere(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    site.worker("a")

    def kill() -> None:
        until((tmp_path / "asked-a").exists)
        site.scheduler.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    told = run(tmp_path, "afar", "--executor", f"dask://127.0.0.1:{site.port}")
    killer.join()
    assert (told.exit_code, len(told.output.splitlines())) == (3, 1), told.output
    assert f"the scheduler at dask://127.0.0.1:{site.port} does not answer any more" in told.output
    assert json.loads((tmp_path / "afar" / "run.json").read_text())["finished"] is False
    resumed = run(tmp_path, "afar", "--resume", "--jobs", "1")
    known = json.loads((tmp_path / "afar" / "run.json").read_text())
    assert (resumed.exit_code, known["finished"], len(rows(tmp_path / "afar"))) == (1, True, known["planned"])


def _another(place: Path) -> Path:
    """A lossref that differs in its version."""
    shutil.copytree(ROOT / "lossref", place / "lossref", ignore=shutil.ignore_patterns("__pycache__"))
    front = place / "lossref" / "__init__.py"
    front.write_text(front.read_text().replace('__version__ = "0.1.0"', '__version__ = "0.0.9"'))
    return place


def _none(place: Path) -> Path:
    """A folder with something else of that name."""
    (place / "lossref").mkdir(parents=True)
    (place / "lossref" / "__init__.py").write_text("")
    return place


UNFIT: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no lossref": (_none, "has no lossref, or another version"),
    "another version": (_another, "its lossref is 0.0.9, that of the run 0.1.0; install the same"),
    "it hangs": (lambda place: ROOT, "nothing was heard of it for 3 s"),
    "no worker at all": (lambda place: ROOT, "has no worker; a scheduler is started by"),
}


def test_a_worker_that_is_not_fit_is_left_out_and_lives(site: Site, tmp_path: Path) -> None:
    """It is another's, and goes on with its own work; the run is carried out by those that are fit."""
    (tmp_path / "mine.py").write_text(MINE)
    site.worker("a", _none(tmp_path / "other"))
    site.worker("b")
    told = run(tmp_path, "afar", "--spec", "iou", "--executor", f"dask://127.0.0.1:{site.port}")
    assert told.exit_code == 0, told.output
    assert "has no lossref, or another version" in told.output.splitlines()[0]
    assert site.workers["a"].poll() is None
    assert b"Failed to deserialize" not in (tmp_path / "worker-a.log").read_bytes()


@pytest.mark.parametrize("name", UNFIT)
def test_where_no_worker_is_fit_it_is_one_sentence(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(cluster, "SILENT", 3.0)
    (tmp_path / "mine.py").write_text(MINE)
    where, said = UNFIT[name]
    if name != "no worker at all":
        site.worker("a", where(tmp_path / "other"))
    if name == "it hangs":
        site.workers["a"].send_signal(signal.SIGSTOP)
    told = run(tmp_path, "afar", "--executor", f"dask://127.0.0.1:{site.port}")
    assert (told.exit_code, len(told.output.splitlines())) == (3, 1), told.output
    assert said in told.output
    assert not (tmp_path / "afar").exists()
