"""Jobs on the workers of a cluster: each comes to its end once, whoever is lost; and what is said where none is."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lossref.cli import app
from lossref.run import plan as planning
from lossref.run.cluster import client
from lossref.run.cluster.client import BadAddress, address
from lossref.run.cluster.dispatch import TRIES, Dispatch, Said
from lossref.run.cluster.order import Order, differs, facts_of
from lossref.run.plan import Job

JOBS = [Job("mine", f"spec{number}", "mine", (("value", "float64"),), "quick", 0, "") for number in range(6)]


@dataclass
class Yard:
    """Places that are threads, and what happens there: what a job does, by the place and which call of that it is."""

    does: Mapping[str, Callable[[int], Said | None]]
    there: dict[str, Executor] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)

    def carry_out(self, place: str, spec: str) -> Said:
        self.calls[place] += 1
        said = self.does.get(place, lambda call: None)(self.calls[place])
        return said or Said("done", "", f"{spec} at {place}")

    def hangs(self, call: int) -> None:
        self.held.wait(20)

    def vanishes(self, call: int) -> None:
        self.there.pop("a")
        self.held.wait(20)


@pytest.fixture
def yard() -> Iterator[Callable[..., Yard]]:
    with ExitStack() as stack:

        def made(**does: Any) -> Yard:
            one = Yard(does)
            one.there = {name: stack.enter_context(ThreadPoolExecutor(1)) for name in "ab"}
            stack.callback(one.held.set)
            return one

        yield made


def carried(one: Yard, most: float = 30.0) -> tuple[list[tuple[str, Any]], list[str]]:
    """Spec and outcome of each job in the order in which they were done, and the specs of those given up."""
    work = Dispatch(JOBS, lambda: one.there, lambda job, place: (one.carry_out, place, job.spec), one.told.append)
    done = [(job.spec, body) for job, body in work.outcomes(lambda job: most, 0.5)]
    return done, [job.spec for job in work.given_up]


ALL = [job.spec for job in JOBS]


def fails(call: int) -> Said:
    return Said("failed", "its process ended with -11")


def raises(call: int) -> Said:
    raise SystemExit("no")


def refuses(call: int) -> Said:
    return Said("refused", "its torch is 1.0")


LOSSES: dict[str, tuple[Callable[[Yard], Callable[[int], Said | None]], float, str]] = {
    "nothing is lost": (lambda yard: lambda call: None, 30.0, ""),
    "a place is gone": (lambda yard: yard.vanishes, 30.0, "a is gone; spec0 of mine is asked again"),
    "a place hangs": (lambda yard: yard.hangs, 0.5, "a had it for 0.5 s; spec0 of mine is asked again"),
    "a place is not fit": (lambda yard: refuses, 30.0, "a is left out: its torch is 1.0"),
    "a first try fails": (
        lambda yard: lambda call: fails(call) if call == 1 else None,
        30.0,
        "failed on a: its process ended with -11; spec0",
    ),
    "a place fails at everything": (
        lambda yard: fails,
        30.0,
        "its process ended with -11; spec0 of mine is asked again",
    ),
    "a first try raises": (lambda yard: lambda call: raises(call) if call == 1 else None, 30.0, "SystemExit no; spec0"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_job_comes_to_its_end_once(yard: Callable[..., Yard], name: str) -> None:
    what, most, said = LOSSES[name]
    one = yard()
    one.does = {"a": what(one), "b": lambda call: time.sleep(0.02)}
    done, given_up = carried(one, most)
    assert (sorted(spec for spec, _ in done), given_up) == (ALL, [])
    assert all(body in (f"{spec} at a", f"{spec} at b") for spec, body in done)
    assert said in "\n".join(one.told), one.told
    assert bool(one.told) == bool(said)


def test_what_comes_from_a_place_too_late_does_not_count(yard: Callable[..., Yard]) -> None:
    """The place that was given up answers after all, while the others are still at work."""
    one = yard()
    one.does = {"a": one.vanishes, "b": lambda call: one.held.set() if call == 2 else time.sleep(0.05)}
    done, _ = carried(one)
    assert sorted(done) == [(spec, f"{spec} at b") for spec in ALL]


def test_a_job_that_fails_everywhere_is_given_up_and_the_others_are_not(yard: Callable[..., Yard]) -> None:
    one = yard()

    def carry_out(place: str, spec: str) -> Said:
        one.calls[spec] += 1
        return fails(0) if spec == "spec1" else Said("done", "", spec)

    one.carry_out = carry_out  # type: ignore[method-assign]
    done, given_up = carried(one)
    assert (sorted(spec for spec, _ in done), given_up) == ([spec for spec in ALL if spec != "spec1"], ["spec1"])
    assert one.calls["spec1"] == TRIES
    assert f"spec1 of mine is given up after {TRIES} tries" in one.told[-1]


def test_where_nobody_is_left_all_is_given_up(yard: Callable[..., Yard]) -> None:
    one = yard(a=refuses, b=refuses)
    done, given_up = carried(one)
    assert (done, sorted(given_up)) == ([], ALL)


# Addresses, and what is there -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "is_at"),
    [
        ("dask://10.0.0.1:8786", "tcp://10.0.0.1:8786"),
        ("dask://node-1.example:65535", "tcp://node-1.example:65535"),
        ("dask://[::1]:8786", "tcp://[::1]:8786"),
    ],
)
def test_an_address(word: str, is_at: str) -> None:
    assert address(word) == is_at


BAD = ["dask://host", "dask://:8786", "host:8786", "dask://host:0", "dask://host:65536", "dask://host:8786/x"]


@pytest.mark.parametrize("word", [*BAD, "tcp://host:1", "dask://u@host:1", "dask://a b:1", "dask://host:1\n", "ray"])
def test_what_is_no_address(word: str) -> None:
    with pytest.raises(BadAddress, match=r"names no executor; write dask://HOST:PORT"):
        address(word)


@pytest.fixture
def silent() -> Iterator[Callable[[bool], int]]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))

        def port(listening: bool) -> int:
            if listening:
                one.listen()
            return int(one.getsockname()[1])

        yield port


def validated(tmp_path: Path, *words: str) -> tuple[int, str]:
    """Exit status and output of a run that has to end in one sentence, and to leave nothing on disk."""
    checks = ["--spec", "iou", "--check", "shape", "--out", str(tmp_path / "report")]
    told = CliRunner().invoke(app, ["validate", "reference", *checks, *words])
    assert len(told.output.splitlines()) == 1, told.output
    assert not (tmp_path / "report").exists()
    return told.exit_code, told.output


def test_a_bad_address_is_usage(tmp_path: Path) -> None:
    status, said = validated(tmp_path, "--executor", "dask://nowhere")
    assert (status, said[:9]) == (2, "lossref: "), said


@pytest.mark.parametrize("listening", [False, True], ids=["nobody listens", "somebody listens and says nothing"])
def test_where_no_scheduler_answers(
    tmp_path: Path, silent: Callable[[bool], int], monkeypatch: pytest.MonkeyPatch, listening: bool
) -> None:
    monkeypatch.setattr(client, "CONNECT", 1.0)
    status, said = validated(tmp_path, "--executor", f"dask://127.0.0.1:{silent(listening)}")
    assert status == 3, said
    assert "no Dask scheduler answers at dask://127.0.0.1:" in said
    assert "a scheduler is started by `dask scheduler`" in said
    assert "; no verdicts were made" in said


def test_without_dask_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    status, said = validated(tmp_path, "--executor", "dask://127.0.0.1:1")
    assert (status, "pip install 'lossref[scale]'" in said) == (3, True), said


# Whether a worker is fit ------------------------------------------------------------------------------

OTHERS = {
    "lossref": ("0.0.9", "its lossref is 0.1.0, that of the run 0.0.9; install the same"),
    "code": ("abc", "its code of lossref is "),
    "python": ("2.7", "its python is 3."),
    "torch": ("1.0", "its torch is "),
    "version": ("8.4", "its release of the target is not there, that of the run 8.4; install the same"),
    "files": ({"/a/mine.py": "0"}, "its /a/mine.py is not that of the run; every worker has to see the same files"),
}


def test_what_has_to_be_the_same_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import lossref\n@lossref.target('iou')\ndef f(box1, box2, xywh=True, eps=1e-7):\n    return box1[..., :1]\n"
    )
    order = Order(tuple(planning.plan([str(tmp_path / "mine.py")], "iou", "shape")), {})
    order = replace(order, facts=facts_of(order.plan))
    assert differs(order) == ""
    assert list(order.facts) == list(OTHERS)
    for name, (value, said) in OTHERS.items():
        found = differs(replace(order, facts={**order.facts, name: value}))
        assert found.startswith(said), found
    (tmp_path / "mine.py").write_text("# changed since\n" + (tmp_path / "mine.py").read_text())
    assert differs(order).startswith(f"its {tmp_path / 'mine.py'} is not that of the run")
