"""The benchmark says what is so: no difference where there is none, the planted one, and no speed of what is wrong."""

from __future__ import annotations

import gc
import html
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from lossref.bench import contests as bench
from lossref.bench import lines as bench_lines
from lossref.bench import page as bench_page
from lossref.bench import rows as bench_rows
from lossref.bench.rows import Row, Settings
from lossref.bench.timing import Interval, interval, settled, spread, verdict
from lossref.bench.workloads import modes_of, workload
from lossref.cli import app
from lossref.core.nouns import Case, Spec
from lossref.hosts.probe import call_of, itself, question_of
from lossref.hosts.process import Lodging, ProcessHost
from lossref.hosts.worker import timed
from lossref.hosts.worker.clock import LEAST, Rounds, interleaved, on_cuda
from lossref.hosts.worker.messages import Timed
from lossref.hosts.worker.timed import MODES, footprint
from lossref.losses import spec
from lossref.targets.resolve import Unavailable

# What a verdict needs ------------------------------------------------------------------------------

VERDICTS = [
    (0.90, 0.80, 0.94, "faster"),
    (0.90, 0.80, 0.96, "unsure"),
    (1.00, 0.96, 1.04, "same"),
    (0.98, 0.97, 0.99, "same"),
    (1.02, 1.01, 1.04, "same"),
    (1.00, 0.90, 1.02, "unsure"),
    (1.06, 1.02, 1.10, "unsure"),
    (1.50, 1.06, 1.90, "slower"),
    (2.00, float("nan"), float("nan"), "unsure"),
]


@pytest.mark.parametrize(("ratio", "low", "high", "word"), VERDICTS)
def test_verdict_of_an_interval(ratio: float, low: float, high: float, word: str) -> None:
    assert verdict(Interval(ratio, low, high)) == word


def mirrored(word: str) -> str:
    """The verdict on the same two the other way round."""
    return {"faster": "slower", "slower": "faster"}.get(word, word)


@pytest.mark.parametrize(("ratio", "low", "high", "word"), VERDICTS)
def test_swapping_the_two_mirrors_the_verdict(ratio: float, low: float, high: float, word: str) -> None:
    assert verdict(Interval(1 / ratio, 1 / high, 1 / low)) == mirrored(word)


class Machine:
    """A clock for functions that say how many seconds they take, on a machine that drifts, jitters and hiccups."""

    def __init__(self, seed: int, drift: float = 0.0, jitter: float = 0.03, hiccups: float = 0.05) -> None:
        self.rng = np.random.default_rng(seed)
        self.drift, self.jitter, self.hiccups, self.readings = drift, jitter, hiccups, 0

    def __call__(self, work: Callable[[], Any], repeats: int) -> float:
        """Seconds of so many calls."""
        self.readings += 1
        slower = 1 + self.drift * self.readings
        hiccup = self.rng.exponential(0.005) if self.rng.random() < self.hiccups else 0.0
        return float(work() * repeats * slower * np.exp(self.rng.normal(0, self.jitter)) + hiccup)


def judged(mine: float, base: float, machine: Machine, seed: int) -> tuple[str, Interval]:
    """The verdict on two functions that take so many seconds on that machine."""
    rounds = settled(interleaved(lambda: mine, lambda: base, 0.004, 0.05, machine, seed))
    found = interval(rounds, seed)
    return verdict(found), found


@pytest.mark.parametrize("drift", [0.0, 1e-2])
def test_the_same_code_is_not_told_apart(drift: float) -> None:
    words = Counter(judged(1e-4, 1e-4, Machine(seed, drift), seed)[0] for seed in range(20))
    assert words["same"] + words["unsure"] >= 19, words
    assert words["same"] >= 10, words


@pytest.mark.parametrize("drift", [0.0, 1e-2])
def test_a_slowdown_of_half_is_seen_and_so_is_its_opposite(drift: float) -> None:
    for seed in range(5):
        word, found = judged(1.5e-4, 1e-4, Machine(seed, drift), seed)
        assert word == "slower"
        assert found.ratio == pytest.approx(1.5, rel=0.05)
        assert judged(1e-4, 1.5e-4, Machine(seed, drift), seed)[0] == "faster"


BUSY = [(10.0, "slower"), (1.4, "slower"), (1.2, "unsure"), (0.9, "unsure"), (0.5, "faster")]


@pytest.mark.parametrize(("ratio", "word"), BUSY)
def test_on_a_busy_machine_only_large_differences_are_called(ratio: float, word: str) -> None:
    """One of two readings is always twice the other."""
    found = interval(settled(Rounds(np.array([[ratio, 2 * ratio]] * 50), np.array([[2.0, 1.0]] * 50))))
    assert verdict(found) == word


def rounds_of(ratios: list[float]) -> Rounds:
    """Rounds with these ratios."""
    first = np.repeat(np.array(ratios)[:, None], 2, axis=1)
    return Rounds(first, np.ones_like(first))


def test_seven_rounds_are_too_few() -> None:
    assert np.isnan(interval(rounds_of([3.0] * (LEAST - 1))).low)
    assert verdict(interval(rounds_of([3.0] * LEAST))) == "slower"


def test_a_linear_drift_cancels_within_a_round() -> None:
    """A B B A at 1, 2, 3, 4 seconds: both take turns at the same mean time."""
    drifting = Rounds(np.exp([[0.01, 0.04]] * 9), np.exp([[0.02, 0.03]] * 9))
    assert interval(drifting).ratio == pytest.approx(1, abs=1e-12)


def test_disturbed_rounds_are_left_out() -> None:
    """One reading of two, or both: an interrupt, or a scheduler that keeps stepping in at the same place."""
    rounds = rounds_of([1.0] * 20)
    rounds.first[3:9, 1] = 40.0
    rounds.first[12:15] = 5.0
    assert len(settled(rounds).first) == 11
    assert spread(settled(rounds).first).median == 1


def test_one_round_in_two_begins_with_the_other() -> None:
    order: list[str] = []

    def clock(work: Callable[[], Any], repeats: int) -> float:
        order.append(work())
        return 1.0

    interleaved(lambda: "A", lambda: "B", 0.02, 0.02, clock)
    measured = order[2:]  # after one reading of each, to see how long they take
    rounds = Counter("".join(measured[i : i + 4]) for i in range(0, len(measured) - 3, 4))
    assert set(rounds) == {"ABBA", "BAAB"}
    assert min(rounds.values()) > 0.3 * max(rounds.values())


# On the real clock ---------------------------------------------------------------------------------


def told(one: Callable[[], object], two: Callable[[], object], box: float, seed: int) -> str:
    """The verdict on two functions."""
    return verdict(interval(settled(interleaved(one, two, box, 2 * box, seed=seed)), seed))


def work(one: Spec, case: Case, mode: str) -> Callable[[], object]:
    """One call of the reference in one mode, as a host times it."""
    question = question_of(one, itself(one), case, [call_of(one, case.inputs, "float32", one.wrt)])
    return timed.work(itself(one).build, question, mode)


def test_the_same_workload_is_same_or_unsure() -> None:
    one, words = spec("focal"), Counter[str]()
    for run in range(20):
        case, mode = workload(one, "small", {}, run), MODES[run % 3]
        words[told(work(one, case, mode), work(one, case, mode), 0.12, run)] += 1
    assert words["same"] + words["unsure"] >= 19, words


def cpu(work: Callable[[], object], repeats: int) -> float:
    """Seconds of this thread's own processor time: tests that run beside this one do not count."""
    begin = time.thread_time_ns()
    for _ in range(repeats):
        work()
    return (time.thread_time_ns() - begin) * 1e-9


def test_three_calls_against_two_are_slower() -> None:
    """Tried again, for longer, while the machine is too busy to tell."""
    one = spec("focal")
    call = work(one, workload(one, "small", {}, 0), "forward")
    three, two = (lambda: [call() for _ in range(3)]), (lambda: [call() for _ in range(2)])
    said: list[str] = []
    while said[-1:] != ["slower"] and len(said) < 5:
        said.append(verdict(interval(settled(interleaved(three, two, 0.3 * 2 ** len(said), 5, cpu)))))
    assert said[-1] == "slower", said
    assert not {"faster", "same"} & set(said), said


def test_nothing_is_collected_while_the_clock_runs() -> None:
    seen = []
    interleaved(lambda: seen.append(gc.isenabled()), lambda: None, 0.01, 0.01)
    assert not any(seen)
    assert gc.isenabled()


def test_events_of_the_device_are_the_clock_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = time.perf_counter()

        def synchronize(self) -> None: ...

        def elapsed_time(self, end: Event) -> float:
            return 1e3 * (end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert 0.02 <= on_cuda(lambda: time.sleep(0.01), 2) < 2


# Workloads and footprints --------------------------------------------------------------------------


def test_a_workload_depends_on_spec_size_and_seed_alone() -> None:
    one = spec("ciou")
    drawn = [workload(one, size, {}, seed).inputs["box1"] for size, seed in (("small", 0), ("small", 0), ("small", 1))]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert workload(one, "train", {}, 0).inputs["box1"].size > drawn[0].size


def test_modes_do_what_they_say() -> None:
    one = spec("varifocal")
    done: dict[str, Any] = {m: work(one, workload(one, "small", {}, 0), m)() for m in MODES}
    assert done["forward"].requires_grad
    assert len(done["full"]) == len(done["backward"]) == 2
    assert all(torch.equal(a, b) for a, b in zip(done["full"], done["backward"], strict=True))


def test_several_terms_are_weighted_and_added() -> None:
    one = spec("giou")
    pair = replace(
        one, terms=("a", "b", "n"), reference=lambda x, y, **params: (one.reference(x, y), x.sum(), torch.tensor(3))
    )
    case = workload(one, "small", {}, 0)
    (x, y), (sum_x, sum_y) = (work(which, case, "full")() for which in (one, pair))
    assert torch.equal(y, sum_y)
    assert torch.allclose(x + 1.75, sum_x)


def test_without_a_gradient_there_is_only_forward() -> None:
    assert modes_of(replace(spec("iou"), wrt=())) == ("forward",)


def test_an_output_that_is_not_connected_has_no_backward() -> None:
    one = replace(spec("iou"), reference=lambda x, y, **params: torch.zeros(len(x)))
    with pytest.raises(timed.Unconnected, match="not connected"):
        work(one, workload(one, "small", {}, 0), "backward")


def test_operators_and_live_bytes_are_counted() -> None:
    x = torch.ones(1000, requires_grad=True)
    with torch.no_grad():
        assert footprint(lambda: (x * 2).sin().cos()) == (3, 8000)
    assert footprint(lambda: (x * 2).sin().sum()) == (3, 8004), "sin keeps its input for the gradient"
    assert footprint(lambda: x.detach().view(10, 100).t()).peak_live_bytes == 0, "views own nothing"
    recorded = x.exp().sum()
    backward = footprint(lambda: torch.autograd.grad(recorded, x, retain_graph=True))
    assert backward.peak_live_bytes == 4000 + 4, "what was there before does not count"


# Runs ----------------------------------------------------------------------------------------------

MINE = """
import torch
import lossref
from lossref.losses.overlap.giou import SPEC as GIOU
from lossref.losses.classification.focal import focal


@lossref.target("focal")
def thorough(pred, label, gamma=1.5, alpha=0.25):
    for _ in range(9):  # ten times the work, so that a busy machine does not hide it
        focal(pred, label, gamma, alpha)
    return focal(pred, label, gamma, alpha)


@lossref.target("giou")
def hasty(box1, box2, xywh=True, eps=1e-7):
    return GIOU.reference(box1, box2, xywh=xywh, eps=eps) * 1.01


@lossref.target("iou")
def unfinished(box1, box2, xywh=True, eps=1e-7):
    raise NotImplementedError("<b>soon</b>")


@lossref.target("focal", gamma=2.0, alpha=0.25)
def fixed(pred, label):
    return focal(pred, label, 2.0, 0.25)
"""
COLUMNS = (
    "spec target version device dtype size mode metric median q20 q80 ratio ci_low ci_high verdict torch threads "
    "commit seed note"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row], pd.DataFrame]:
    """A run of the module above against the reference: its folder, its rows, its CSV as pandas reads it."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "bench_mine.py").write_text(MINE)
    settings = Settings(
        (str(folder / "bench_mine.py"),), sizes=("small",), seconds=8, seed=3, lodging=Lodging(threads=2)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "LATE", 100)  # small boxes, and yet all of it on a busy machine
        assert bench.main(bench.plan(settings), settings, folder)
    return folder, bench_rows.read(folder / "bench.csv"), pd.read_csv(folder / "bench.csv", keep_default_na=True)


def test_the_csv_has_its_columns_and_one_row_for_each_metric(run: tuple[Path, list[Row], pd.DataFrame]) -> None:
    table = run[2]
    assert list(table) == COLUMNS.split()
    focal = table[(table.target == "thorough") & (table["mode"] == "full")]
    assert focal.metric.tolist() == ["seconds", "peak_live_bytes", "operators"]
    assert (focal["median"] > 0).all()
    assert (table.seed == 3).all()
    assert (table.threads == 2).all()
    assert not table.duplicated([*COLUMNS.split()[:8], "note"]).any()
    seconds = table[table.metric == "seconds"].dropna(subset="median")
    assert (seconds.q20 <= seconds["median"]).all()
    assert (seconds["median"] <= seconds.q80).all()


def test_the_planted_slowdown_shows(run: tuple[Path, list[Row], pd.DataFrame]) -> None:
    table = run[2][(run[2].target == "thorough") & (run[2]["mode"] == "forward")].set_index("metric")
    assert table.ratio["operators"] == 10
    assert table.ratio["seconds"] > 1.5
    assert table.verdict["seconds"] in ("slower", "unsure")


def test_what_is_wrong_gets_no_speed_but_the_word_why(run: tuple[Path, list[Row], pd.DataFrame]) -> None:
    for target, reason in (("hasty", "value: "), ("unfinished", "raised NotImplementedError")):
        rows = [row for row in run[1] if row.target == target]
        assert {(row.verdict, row.metric) for row in rows} == {("fails", "seconds")}
        assert [row.mode for row in rows] == list(MODES)
        assert all(np.isnan(row.median) and np.isnan(row.ratio) and reason in row.note for row in rows)


def test_both_are_asked_at_the_parameters_of_the_target(run: tuple[Path, list[Row], pd.DataFrame]) -> None:
    rows = [row for row in run[1] if row.metric == "seconds" and "gamma=2.0" in row.note]
    assert Counter(row.target for row in rows) == {"fixed": 3, "reference": 3}
    assert all(row.verdict == "baseline" for row in rows if row.target == "reference")


def words(page: str) -> str:
    """What a page says, without markup and styles."""
    visible = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", visible)).split())


def test_the_page_says_it_all_and_needs_nothing_else(run: tuple[Path, list[Row], pd.DataFrame]) -> None:
    page = (run[0] / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!#)|https?://|@import|url\(", page)
    assert "<b>soon</b>" not in page
    said = words(page)
    for part in ("thorough", "hasty", "fails", "<b>soon</b>", "gamma=2.0", "Peak is what is alive"):
        assert part in said
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))


def test_the_terminal_shows_a_row_for_each_size_and_each_reason(
    run: tuple[Path, list[Row], pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    bench_lines.summary(run[1], "reference")
    shown = capsys.readouterr().out
    assert re.search(r"focal +thorough +small +[\d.]+ \w+ +[\d.]+ \w+ +[\d.]+ \w+ ", shown)
    assert re.search(r"FAILS  hasty giou \(3x\): value: ", shown)


def test_an_interrupt_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter([0, 1])

    def then_stop(*arguments: Any) -> Timed:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return Timed("", rounds_of([1.0] * 9), ((1, 8),) * 2)

    monkeypatch.setattr(ProcessHost, "time", then_stop)
    settings = Settings(("reference",), "focal")
    rows, finished = bench.run(bench.plan(settings), settings, tmp_path, Console(stderr=True))
    assert not finished
    assert len(pd.read_csv(tmp_path / "bench.csv")) == len(rows) == 6
    assert json.loads((tmp_path / "run.json").read_text())["made"] == 2
    assert "This run is incomplete. 2 of 6" in words(bench_page.write(tmp_path).read_text())


def test_where_there_is_no_gpu_cuda_is_unsupported_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    command = ["bench", "reference", "--spec", "focal", "--device", "cuda", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 3, result.output
    table = pd.read_csv(tmp_path / "bench.csv")
    assert set(table.verdict) == {"unsupported"}
    assert set(table.device) == {"cuda"}
    assert set(table.note) == {"torch finds no CUDA device here"}
    assert "torch finds no CUDA device here" in words((tmp_path / "index.html").read_text())


WRONG = [
    (["--size", "huge"], "'huge' is not one of small, train"),
    (["--device", "tpu"], "'tpu' is not one of cpu, cuda"),
    (["--spec", "nope"], "there is no spec 'nope'"),
    (["--vs", "nope"], "there is no target 'nope'"),
]


@pytest.mark.parametrize(("options", "sentence"), WRONG, ids=[one[0][1] for one in WRONG])
def test_a_wrong_option_is_one_sentence(options: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["bench", "reference", *options])
    assert result.exit_code == 2
    assert sentence in result.output


def test_without_a_baseline_a_target_is_timed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "LATE", 100)
    (tmp_path / "bench_alone.py").write_text(MINE.partition('@lossref.target("iou")')[0])
    settings = Settings(("reference",), "giou", sizes=("small",), vs=str(tmp_path / "bench_alone.py"), seconds=3)
    rows, _ = bench.run(bench.plan(settings), settings, tmp_path, Console(stderr=True))
    seconds = [row for row in rows if row.metric == "seconds"]
    assert {row.verdict for row in seconds} == {"alone"}
    assert all(row.median > 0 and np.isnan(row.ratio) and "not timed itself: fails" in row.note for row in seconds)


ENDS = {
    "crashes": ("os._exit(3)", "crashed", "the process ended with exit code 3 while it was timed"),
    "hangs": ("time.sleep(600)", "timeout", "gave no answer within"),
    "raises": ("raise ValueError('too large')", "raised", "ValueError: too large"),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_it_does_while_it_is_timed_is_its_row_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Right on all that it is checked on; a train workload is more than that."""
    line, verdict, said = ENDS[name]
    monkeypatch.setattr(bench, "LATE", 100)
    (tmp_path / "bench_ends.py").write_text(LARGE.replace("LINE", line))
    settings = Settings((str(tmp_path / "bench_ends.py"),), sizes=("train",), seconds=3, lodging=Lodging(timeout=4))
    rows, finished = bench.run(bench.plan(settings), settings, tmp_path, Console(stderr=True))
    seconds = {target: [row for row in rows if row.metric == "seconds" and row.target == target] for target in ENDING}
    assert finished
    assert [row.verdict for row in seconds["culprit"]] == [verdict] * 3
    assert said in seconds["culprit"][0].note
    assert (seconds["culprit"][2].note == bench.GONE) is (verdict != "raised")
    assert {row.verdict for row in seconds["innocent"]} <= set(bench_rows.COMPARED)


def test_a_word_that_cannot_be_imported_is_a_row_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "LATE", 100)
    (tmp_path / "broken.py").write_text("import no_package_of_this_name\n")
    (tmp_path / "mine.py").write_text(ALONE)
    words = (str(tmp_path / "broken.py"), str(tmp_path / "mine.py"))
    settings = Settings(words, sizes=("small",), seconds=2)
    assert not bench.main(bench.plan(settings), settings, tmp_path / "out")
    rows = [row for row in bench_rows.read(tmp_path / "out" / "bench.csv") if row.metric == "seconds"]
    lost = [row for row in rows if row.spec == "-"]
    assert [(row.target, row.verdict) for row in lost] == [(words[0], "blocked")]
    assert "No module named 'no_package_of_this_name'" in lost[0].note
    assert {row.verdict for row in rows if row.target == "mine"} <= set(bench_rows.COMPARED)
    assert "no_package_of_this_name" in (tmp_path / "out" / "index.html").read_text()
    with pytest.raises(Unavailable, match="no_package_of_this_name"):
        bench.plan(settings._replace(words=words[:1]))


ENDING = ("culprit", "innocent")
LARGE = """
import os
import time
import lossref
from lossref.losses.classification.focal import focal


@lossref.target("focal")
def culprit(pred, label, gamma=1.5, alpha=0.25):
    if pred.numel() > 10_000:
        LINE
    return focal(pred, label, gamma, alpha)


@lossref.target("iou")
def innocent(box1, box2, xywh=True, eps=1e-7):
    return lossref.bbox_iou(box1, box2, xywh, eps=eps)
"""
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("lossref.losses"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
ALONE = """
import lossref


@lossref.target("xyxy2xywh")
def mine(x):
    centre, size = (x[..., :2] + x[..., 2:]) / 2, x[..., 2:] - x[..., :2]
    return __import__("torch").cat([centre, size], -1)
"""


def test_in_a_python_without_the_reference_a_target_is_timed_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "LATE", 100)
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    other.chmod(0o755)
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    (tmp_path / "bench_other.py").write_text(ALONE)
    words, lodging = (str(tmp_path / "bench_other.py"),), Lodging(python=str(other))
    settings = Settings(words, sizes=("small",), seconds=3, lodging=lodging)
    rows, _ = bench.run(bench.plan(settings), settings, tmp_path, Console(stderr=True))
    assert {row.verdict for row in rows if row.metric == "seconds"} == {"alone"}
    assert all("not compared with reference: reference cannot be imported" in row.note for row in rows)


TEXTS = [(1.5, "1.50 s"), (0.0123, "12.3 ms"), (1e-3, "1.00 ms"), (2.5e-7, "0.25 µs"), (float("nan"), "—")]


@pytest.mark.parametrize(("seconds", "text"), TEXTS)
def test_times_have_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert bench_lines.time_text(seconds) == text


def test_when_the_time_is_up_the_rest_is_not_measured(tmp_path: Path) -> None:
    settings = Settings(("reference",), "[dg]iou", sizes=("small",), seconds=0.01)
    assert not bench.main(bench.plan(settings), settings, tmp_path)
    words = {row.spec: row.verdict for row in bench_rows.read(tmp_path / "bench.csv") if row.metric == "seconds"}
    assert words["diou"] in bench_rows.COMPARED
    assert words["giou"] == "timeout"
