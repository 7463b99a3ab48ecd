"""What a target can do to its process, and what becomes of it: of that question, and of nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from lossref.cli import app
from lossref.core.nouns import Target
from lossref.hosts import nursery
from lossref.hosts.endings import TargetEnded
from lossref.hosts.kept import host_of
from lossref.hosts.nursery import Forked
from lossref.hosts.probe import ask, call_of, itself, result_of
from lossref.hosts.process import Absent, Lodging, ProcessHost, Unimportable
from lossref.hosts.worker.messages import Question, Reply, Timed
from lossref.losses import spec, specs

HEAD = """
import ctypes, os, signal, subprocess, sys, threading, time
import numpy as np
import torch
import lossref

@lossref.target("iou")
def innocent(box1, box2, xywh=True, eps=1e-7):
    return lossref.bbox_iou(box1, box2, xywh, eps=eps)

CALLS = []
"""
MARK = '\n@lossref.target("focal")\ndef culprit(pred, label, gamma=1.5, alpha=0.25):\n'
FOCAL, IOU = spec("focal"), spec("iou")
INPUTS = {"pred": np.array([[0.5, -1.0]]), "label": np.array([[1.0, 0.0]])}
BOXES = {"box1": np.array([[1.0, 2, 4, 6]]), "box2": np.array([[2.0, 2, 4, 4]])}
QUICK = Lodging(timeout=20.0, memory=2**30)
IMPATIENT = replace(QUICK, timeout=1.0)  # where the deadline is what comes


def file_of(folder: Path, *body: str, before: str = "") -> str:
    path = folder / "hostile.py"
    path.write_text(HEAD + before + MARK + "".join(f"    {line}\n" for line in body))
    return str(path)


@pytest.fixture
def host() -> Iterator[ProcessHost]:
    made = ProcessHost(QUICK)
    yield made
    made.close()


def put(host: ProcessHost, times: int = 1, watch: bool = False) -> Reply:
    """The hostile function, asked so many times."""
    target = Target("focal", lambda: None, "culprit", ("gamma", "alpha"), host=host, thing=1)
    case = itself_case("focal", INPUTS)
    return ask(FOCAL, target, case, [call_of(FOCAL, INPUTS, "float32", ("pred",))] * times, watch)


def itself_case(name: str, inputs: dict[str, np.ndarray]) -> object:
    from lossref.core.nouns import Case

    return Case(name, inputs, spec(name).defaults())


def innocent_is_right(host: ProcessHost) -> None:
    target = Target("iou", lambda: None, "innocent", ("xywh", "eps"), host=host, thing=0)
    case, calls = itself_case("iou", BOXES), [call_of(IOU, BOXES, "float64")]
    got, want = (result_of(ask(IOU, one, case, calls).returned[0]) for one in (target, itself(IOU)))
    assert got.value == want.value


def ends(host: ProcessHost, what: Callable[[], object], status: str, how: str) -> None:
    """It ends the process, at a deadline that comes soon; asked in its usual time, what is beside it answers."""
    host.lodging = IMPATIENT if status == "timeout" else QUICK
    with pytest.raises(TargetEnded, match=how) as found:
        what()
    assert found.value.status == status
    host.lodging = QUICK
    innocent_is_right(host)


CRASHES = {
    "os._exit": ("os._exit(0)", "ended with exit code 0"),
    "os._exit with a code": ("os._exit(7)", "ended with exit code 7"),
    "sys.exit": ("sys.exit(4)", "asked to end the process: exit code 4"),
    "abort": ("os.abort()", "ended by SIGABRT"),
    "segmentation fault": ("ctypes.string_at(0)", "ended by SIGSEGV"),
    "kills itself": ("os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
    "recursion to death": ("sys.setrecursionlimit(10**9); f = lambda x: sorted([1], key=f); f(1)", "ended by SIGSEGV"),
    "memory": ("x = [torch.ones(2**25) for _ in range(40)]; return x[0].sum()", "GiB of memory"),
    "limit of time": (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (0, 1)); [0 for _ in iter(int, 1)]",
        "XCPU",
    ),
    "closed pipes": ("os.closerange(3, 300); return pred.sum()", "closed the pipe|exit code|ended by"),
}


@pytest.mark.parametrize("name", CRASHES)
def test_the_end_of_its_process_is_its_verdict(host: ProcessHost, tmp_path: Path, name: str) -> None:
    line, how = CRASHES[name]
    host.load(file_of(tmp_path, line))
    ends(host, lambda: put(host), "crashed", how)


HANGS = {
    "a loop": "while True: pass",
    "asleep in C with the lock held": "ctypes.PyDLL(None).sleep(60)",
    "on the second call": "CALLS.append(1)\n    while len(CALLS) == 2: pass\n    return pred.sum()",
    "SIGTERM ignored": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(60)",
}


@pytest.mark.parametrize("name", HANGS)
def test_what_hangs_is_ended_at_its_deadline(host: ProcessHost, tmp_path: Path, name: str) -> None:
    host.load(file_of(tmp_path, *HANGS[name].split("\n    ")))
    begin = time.monotonic()
    ends(host, lambda: put(host, times=2), "timeout", "gave no answer within 1 s")
    assert time.monotonic() - begin > 2  # it was asked once more


RAISED = {
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "TimeoutError": ("raise TimeoutError('late')", "TimeoutError: late"),
    "GeneratorExit": ("raise GeneratorExit", "GeneratorExit"),
    "ten megabytes": ("raise ValueError('x' * 10**7)", "ValueError: " + "x" * 200),
    "no text": (
        "class E(Exception):\n        def __str__(self): raise KeyError\n    raise E",
        "E (its text cannot be had: KeyError)",
    ),
    "lone surrogates": (
        r"raise ValueError('\ud800 and \x1b[31m')",
        "ValueError: \\ud800 and \N{REPLACEMENT CHARACTER}[31m",
    ),
    "sparse": (
        "return pred.to_sparse()",
        "TypeError: returned a sparse tensor for loss, expected a dense one of real numbers",
    ),
    "complex": (
        "return pred.sum() * 1j",
        "TypeError: returned a complex tensor for loss, expected a dense one of real numbers",
    ),
    "meta": (
        "return pred.sum().to('meta')",
        "TypeError: returned a meta tensor for loss, expected a dense one of real numbers",
    ),
    "nested": (
        "return torch.nested.nested_tensor([pred[0], pred[0][:1]])",
        "TypeError: returned a nested tensor for loss, expected a dense one of real numbers",
    ),
    "quantized": (
        "return torch.quantize_per_tensor(pred.detach(), 0.1, 0, torch.qint8)",
        "TypeError: returned a quantized tensor for loss, expected a dense one of real numbers",
    ),
    "too large to be sent": (
        "return pred.detach().sum().expand(10**6, 10**6)",
        "MemoryError: Unable to allocate 7.28 TiB for an array with shape (1000000000000,) and data type int64",
    ),
    "a list": ("return [1.0]", "TypeError: returned list for loss, expected a torch tensor"),
}


@pytest.mark.parametrize("name", RAISED)
def test_whatever_is_raised_is_one_line(host: ProcessHost, tmp_path: Path, name: str) -> None:
    body, text = RAISED[name]
    host.load(file_of(tmp_path, *body.split("\n    ")))
    assert put(host).returned[0].raised == text
    innocent_is_right(host)


CHANGES = {
    "gradient mode": ("torch.set_grad_enabled(False)", "the gradient mode"),
    "inference mode": ("CALLS.append(torch.inference_mode(True)); CALLS[0].__enter__()", "the inference mode"),
    "default dtype": ("torch.set_default_dtype(torch.float64)", "torch's default dtype"),
    "default device": ("torch.set_default_device('meta')", "torch's default device"),
    "deterministic": ("torch.use_deterministic_algorithms(True)", "torch's deterministic mode"),
    "threads of torch": ("torch.set_num_threads(2)", "torch's number of threads"),
    "torch's random state": ("torch.manual_seed(5)", "the random state"),
    "numpy's random state": ("np.random.rand()", "the random state"),
    "folder": ("os.chdir('/')", "the working directory"),
    "signal handler": ("signal.signal(signal.SIGUSR1, signal.SIG_IGN)", "the signal handlers"),
    "limits": ("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))", "the limits of the process"),
    "denormals": ("torch.set_flush_denormal(True)", "the flushing of denormal numbers"),
    "precision": ("torch.set_float32_matmul_precision('medium')", "torch's precision of matrix products"),
    "thread": ("threading.Thread(target=time.sleep, args=(30,)).start()", "the threads"),
    "child": ("subprocess.Popen(['sleep', '30'])", "the processes that it started"),
    "forked": ("os.fork() or time.sleep(30)", "the processes that it started"),
    "attribute": ("culprit.calls = getattr(culprit, 'calls', 0) + 1", "calls"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_it_changes_is_seen_and_put_back(host: ProcessHost, tmp_path: Path, name: str) -> None:
    line, what = CHANGES[name]
    host.load(file_of(tmp_path, line, "return (pred - label).sum()"))
    assert what in [change[0] for change in put(host, watch=True).changed]
    innocent_is_right(host)


def test_nothing_that_it_started_outlives_it(host: ProcessHost, tmp_path: Path) -> None:
    """A grandchild in a session of its own, which ignores signals, is ended too."""
    note = tmp_path / "pid"
    script = "import os, time; os.setsid(); os.fork() and os._exit(0); "
    script += f"open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    waits = f"while not os.path.exists({str(note)!r}) or not open({str(note)!r}).read(): time.sleep(0.01)"
    host.load(file_of(tmp_path, f"subprocess.Popen([sys.executable, '-c', {script!r}])", waits, "return pred.sum()"))
    put(host)
    host.close()
    pid = int(note.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_output_is_kept_at_both_ends(host: ProcessHost, tmp_path: Path) -> None:
    host.load(file_of(tmp_path, "print('first')", "os.write(1, b'x' * 10**8)", "print('last')", "return pred.sum()"))
    printed = put(host).printed
    assert printed.startswith("first")
    assert printed.rstrip().endswith("last")
    assert "bytes ...]" in printed
    assert len(printed) < 9000


SUBCLASSES = {
    "plain": "{}",
    "that raises": "{'__torch_function__': classmethod(lambda *a, **k: 1 / 0)}",
    "that lies": "{'dtype': property(lambda s: torch.float64), 'detach': lambda s: torch.zeros(3)}",
}


@pytest.mark.parametrize("name", SUBCLASSES)
def test_a_subclass_is_taken_for_the_numbers_that_it_has(host: ProcessHost, tmp_path: Path, name: str) -> None:
    """So is an alias of an input, which this is too."""
    host.load(file_of(tmp_path, f"return pred.as_subclass(type('Sub', (torch.Tensor,), {SUBCLASSES[name]}))"))
    (one,) = put(host).returned
    assert (one.dtypes, one.values[0].tolist()) == (("float32",), INPUTS["pred"].tolist())


def test_a_tensor_that_a_later_call_overwrites_is_seen(host: ProcessHost, tmp_path: Path) -> None:
    kept = "CALLS.append(torch.zeros(())) if not CALLS else None"
    host.load(file_of(tmp_path, kept, "CALLS[0] += 1", "return CALLS[0]"))
    assert put(host, times=2).returned[0].fleeting == ("loss",)


IMPORTS = {
    "os._exit": ("os._exit(0)", TargetEnded, "exit code 0 while"),
    "sys.exit": ("sys.exit(2)", TargetEnded, "exit code 2 while"),
    "a loop": ("while True: pass", TargetEnded, "gave no answer within 3 s while"),
    "raises": ("raise OSError('no disk')", Unimportable, "OSError: no disk"),
    "lacks a package": ("import nothing_of_this_name", Unimportable, "No module named 'nothing_of_this_name'"),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_what_an_import_does(host: ProcessHost, tmp_path: Path, name: str) -> None:
    before, kind, how = IMPORTS[name]
    host.lodging = IMPATIENT if "no answer" in how else QUICK
    with pytest.raises(kind, match=how):
        host.load(file_of(tmp_path, "return pred.sum()", before=before + "\n"))
    host.lodging = QUICK
    host.load(file_of(tmp_path, "return pred.sum()"))
    innocent_is_right(host)


def test_an_import_that_hangs_once_only_is_made_once_more(host: ProcessHost, tmp_path: Path) -> None:
    """On a machine that is busy, say."""
    once = f"if not os.path.exists({str(tmp_path / 'hung')!r}): open({str(tmp_path / 'hung')!r}, 'w'); time.sleep(60)\n"
    host.lodging = IMPATIENT
    assert len(host.load(file_of(tmp_path, "return pred.sum()", before=once))["things"]) == 2
    assert host.imports.untold == ["its import took longer than 3 s, and was done when tried again in a new process"]


def test_a_file_that_is_not_there(host: ProcessHost) -> None:
    with pytest.raises(Absent, match=r"there is no file nowhere\.py"):
        host.load("nowhere.py")


def test_a_python_that_is_none() -> None:
    with pytest.raises(Unimportable, match="cannot be started"):
        ProcessHost(Lodging(python="/nowhere/python")).load("x.py")
    with pytest.raises(Unimportable, match="cannot be a host"):
        ProcessHost(Lodging(python="/bin/false")).load("x.py")


def test_a_patched_torch_does_not_reach_the_judge(host: ProcessHost, tmp_path: Path) -> None:
    patch = (
        "torch.Tensor.numpy = torch.Tensor.detach = lambda self, *a: torch.zeros(())\nnp.array = lambda *a, **k: 0\n"
    )
    host.load(file_of(tmp_path, "return pred * 0 + 3", before=patch))
    assert put(host).returned[0].values[0].tolist() == [[3.0, 3.0]]


def test_modules_of_one_name_are_two(tmp_path: Path) -> None:
    words = []
    for number, folder in enumerate((tmp_path / "a", tmp_path / "b")):
        folder.mkdir()
        words.append(file_of(folder, f"return pred * 0 + {number}"))
    for number, word in enumerate(words):
        host = ProcessHost(QUICK)
        host.load(word)
        assert put(host).returned[0].values[0].max() == number
        host.close()


def test_a_word_is_what_it_is_here_and_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another folder, or with a file that was changed since, it is asked in another host; else in the same."""

    def asked() -> tuple[ProcessHost, float]:
        host = host_of("hostile", QUICK)
        assert isinstance(host, ProcessHost)
        host.load("hostile")
        return host, float(put(host).returned[0].values[0].max())

    def written(number: int, folder: Path = tmp_path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "part.py").write_text(f"NUMBER = {number}\n{'# longer' * number}\n")
        file_of(folder, "return pred * 0 + NUMBER", before="from part import NUMBER\n")

    written(1)
    written(2, tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    first, one = asked()
    assert (asked(), one) == ((first, 1.0), 1.0)
    monkeypatch.chdir(tmp_path / "other")
    assert asked()[1] == 2.0
    monkeypatch.chdir(tmp_path)
    assert asked() == (first, 1.0)
    written(3)
    assert asked()[1] == 3.0


def test_a_file_of_a_package_is_loaded_as_its_module(host: ProcessHost, tmp_path: Path) -> None:
    folder = tmp_path / "pkg"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "other.py").write_text("THREE = 3.0\n")
    found = host.load(file_of(folder, "return pred * 0 + THREE", before="from .other import THREE\n"))
    assert [thing["name"] for thing in found["things"]] == ["innocent", "culprit"]
    assert put(host).returned[0].values[0].max() == 3


def timed_in(host: ProcessHost, *things: int) -> Timed:
    """Things that stand for focal, timed for a moment."""
    question = Question(FOCAL.terms, {}, (call_of(FOCAL, INPUTS, "float32", ("pred",)),))
    return host.time([(thing, question) for thing in things], "full", 0.05, 0.1, 0)


def test_two_words_are_timed_in_one_host_and_found_again_in_the_next(host: ProcessHost, tmp_path: Path) -> None:
    host.load(file_of(tmp_path, "CALLS.append(1)", "return (pred - label) ** 2"))
    first = host.load("reference", adapter=True)["first"]
    assert first == 2
    reference = first + [*specs()].index("focal")
    for _ in range(2):
        found = timed_in(host, 1, reference)
        assert [readings.shape[1] for readings in found.seconds] == [2, 2]
        mine, theirs = (operators for operators, _ in found.footprints)
        assert mine < 10 < theirs
        host.close()
    innocent_is_right(host)


TIMED = {
    "ends its process": ("os._exit(3)", "crashed", "exit code 3 while it was timed"),
    "leaves": ("sys.exit(3)", "crashed", "exit code 3 while it was timed"),
    "hangs": ("time.sleep(60)", "timeout", "gave no answer within 3.1 s while it was timed"),
}


@pytest.mark.parametrize("name", TIMED)
def test_what_ends_while_it_is_timed(host: ProcessHost, tmp_path: Path, name: str) -> None:
    line, status, how = TIMED[name]
    host.load(file_of(tmp_path, "CALLS.append(1)", f"len(CALLS) < 9 or {line}", "return pred.sum()"))
    ends(host, lambda: timed_in(host, 1), status, how)


UNTIMED = {
    "raises": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "not connected": ("return label.sum()", "the output is not connected to any input: there is no gradient to time"),
}


@pytest.mark.parametrize("name", UNTIMED)
def test_what_cannot_be_timed_says_why(host: ProcessHost, tmp_path: Path, name: str) -> None:
    line, said = UNTIMED[name]
    host.load(file_of(tmp_path, line))
    assert timed_in(host, 1).raised == said
    innocent_is_right(host)


def test_the_judge_keeps_its_folder() -> None:
    assert os.getcwd() == str(Path.cwd())


# Where hosts come from --------------------------------------------------------------------------------------

DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork():
        time.sleep({lasts})
        os._exit(0)
    open({file!r}, "w").write(str(os.getpid()))
    time.sleep(60)
while not os.path.exists({file!r}):
    time.sleep(0.01)
os._exit(4)
"""


@pytest.mark.parametrize("lasts", [0, 60], ids=["whose parent has ended", "whose parent ends with the host"])
def test_a_host_is_forked_and_what_hid_from_it_ends_with_it(host: ProcessHost, tmp_path: Path, lasts: int) -> None:
    """A process that has left session and parents bears no mark that can be read: it is a child of the nursery then."""
    file = str(tmp_path / "number")
    host.load(file_of(tmp_path, *DAEMON.format(file=file, lasts=lasts).splitlines()))
    assert host._channel is not None
    assert isinstance(host._channel.process, Forked)
    with pytest.raises(TargetEnded, match="exit code 4"):
        put(host)
    number, end = int(Path(file).read_text()), time.monotonic() + 2
    while psutil.pid_exists(number) and time.monotonic() < end:
        time.sleep(0.02)
    assert not psutil.pid_exists(number)


def test_one_that_was_killed_while_nobody_asked_is_replaced(host: ProcessHost, tmp_path: Path) -> None:
    """By the system that lacks memory, say, or by what ends all processes of an earlier command: no fault of its.

    Where somebody keeps its story (`property_tests/test_stories.py`) it is told.
    """
    host.load(file_of(tmp_path, "return pred.sum()"))
    innocent_is_right(host)
    for again in (lambda: put(host), lambda: host.load("torch", adapter=True), lambda: timed_in(host, 1)):
        assert host._channel is not None
        os.kill(host._channel.process.pid, signal.SIGKILL)
        assert until(lambda: host._channel is None or host._channel.process.poll() is not None)
        again()


def test_a_mistake_in_one_command_does_not_end_the_hosts_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a command has started ends with it, if it comes to no good end; here, another follows in its process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")  # a nursery of their own
    file_of(tmp_path, "return pred.sum()")
    for word, meant in [("culpri", "culprit"), ("inocent", "innocent"), ("culpri", "culprit")]:
        result = CliRunner().invoke(app, ["validate", f"hostile:{word}", "--as", "iou"])
        assert (result.exit_code, f"did you mean '{meant}'?" in result.output) == (2, True), result.output


def until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def test_without_what_it_is_forked_from_a_host_starts_by_itself(
    host: ProcessHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*how: object) -> Forked:
        raise ConnectionRefusedError

    monkeypatch.setattr(nursery, "_forked", refused)
    host.load("torch", adapter=True)
    assert host._channel is not None
    assert isinstance(host._channel.process, subprocess.Popen)
