"""The command line and TARGET words, tried as a new user would: typos, wrong files, Ctrl-C, crashes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner, Result

from lossref.cli import app
from lossref.losses import specs

Run = Callable[..., Result]
MINE = """
import os
import time
import lossref
from lossref import bbox_iou

@lossref.target("ciou")
def right(box1, box2, xywh=True, eps=1e-7):
    return bbox_iou(box1, box2, xywh, CIoU=True, eps=eps)

@lossref.target("giou", eps=1e-7)
def corners_only(box1, box2):
    return bbox_iou(box1, box2, xywh=False, GIoU=True)

@lossref.target("diou")
def as_loss(box1, box2, xywh=True, eps=1e-7):
    return 1 - bbox_iou(box1, box2, xywh, DIoU=True, eps=eps)

@lossref.target("iou", known={"shape": "flat on purpose"})
def flat(box1, box2, xywh=True, eps=1e-7):
    return bbox_iou(box1, box2, xywh, eps=eps)[..., 0]

@lossref.target("dfl", slack={"value": (1e9, "float32 inside")})
def narrow(pred_dist, target, reg_max=16):
    return lossref.DFLoss(reg_max)(pred_dist.float(), target.float()).to(pred_dist.dtype)

@lossref.target("focal")
class Focal(lossref.FocalLoss):
    pass

def undeclared(box1, box2):
    return bbox_iou(box1, box2)

def dies(box1, box2, xywh=True, eps=1e-7):
    os._exit(9)

def sleeps(box1, box2, xywh=True, eps=1e-7):
    time.sleep(1000)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all commands, so that they are asked in the hosts that are there already."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "mine.py").write_text(MINE)
    (folder / "plain.py").write_text("x = 1\n")
    (folder / "broken.py").write_text('raise SystemExit("no licence")\n')
    return folder


@pytest.fixture
def lossref(place: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(place)
    return lambda *words: CliRunner().invoke(app, list(words))


USAGE = [
    ("validate plain", 2, "declares no target"),
    ("validate plain", 2, '@lossref.target("ciou")'),
    ("validate broken", 3, "exit code no licence while broken was imported"),
    ("validate ultralitics", 2, "did you mean 'ultralytics'?"),
    ("validate nothing.py", 2, "there is no file nothing.py"),
    ("validate mine:undeclare --as iou", 2, "did you mean 'undeclared'?"),
    ("validate mine:undeclared", 2, "--as SPEC"),
    ("validate mine:undeclared --as cious", 2, "did you mean 'ciou'?"),
    ("validate mine --spec nope", 2, "there is no spec 'nope'"),
    ("validate mine --check nope", 2, "there is no check 'nope'"),
    ("validate mine --dtype float8", 2, "'float8' is not one of float64, float32"),
    ("validate mine --tier slow", 2, "'slow' is not one of quick, full"),
    ("validate mine --check pure --dtype float64", 2, "no check that matches 'pure' runs in float64"),
    ("show ciuo", 2, "did you mean 'ciou'?"),
    ("replay nothing.json", 2, "there is no file nothing.json"),
    ("replay mine.py", 2, "mine.py is not a saved case"),
    ("report nowhere", 2, "nowhere"),
    ("golden check --spec iou --folder nowhere", 1, "lossref golden record"),
    ("validate mine --out mine.py --spec ciou", 2, "mine.py"),
    ("validate mine --check value,nope", 2, "there is no check 'nope'"),
    ("list", 0, "bce_dice"),
    ("show dfl", 0, "weights swapped"),
]


@pytest.mark.parametrize(("words", "status", "said"), USAGE, ids=[row[0] + " " + row[2][:12] for row in USAGE])
def test_says_what_to_do(lossref: Run, words: str, status: int, said: str) -> None:
    result = lossref(*words.split())
    assert result.exit_code == status, result.output
    assert said in result.output
    assert "Traceback" not in result.output


VERDICTS = [
    ("mine --spec ciou --check value", 0, "conforms"),
    ("mine --spec giou --check value", 0, "conforms"),
    ("mine --spec diou --check value", 1, "diou is 1 - the right value"),
    ("mine --spec iou --check shape", 0, "known: flat on purpose"),
    ("mine --spec iou --check value --check shape", 0, "conforms"),
    ("mine --spec focal --check state", 0, "conforms"),
    ("mine --spec dfl --check value", 0, "with declared slack 1e+09: float32 inside"),
    ("mine --spec ciou --spec giou --check value --check gradient", 0, "8 verdicts of 8"),
    ("mine:undeclared --as iou --check params", 3, "it has no parameter"),
    ("mine:dies --as iou --check s*", 3, "the process ended with exit code 9"),
    ("torch --spec focal --check laws", 0, "conforms"),
    ("mine.py --spec ciou --check pure", 0, "conforms"),
]


@pytest.mark.parametrize(("words", "status", "said"), VERDICTS, ids=[row[0] for row in VERDICTS])
def test_verdicts(lossref: Run, words: str, status: int, said: str) -> None:
    result = lossref("validate", *words.split(), "--out", "report", "-j", "1")
    assert result.exit_code == status, result.output
    rows = [json.loads(line) for line in Path("report/verdicts.jsonl").read_text().splitlines()]
    assert said in result.output or any(said in row["note"] for row in rows)
    assert "slack" not in said or f": {said}" in result.output, "a pass that is not like the others is told"
    assert Path("report/index.html").exists()
    assert len(Path("report/summary.csv").read_text().splitlines()) == len(rows) + 1
    assert (
        sum("=" in key for key in _drawn("report")) > 0 or "undeclared" in words or "dies" in words or "shape" in words
    )


def _drawn(folder: str) -> list[str]:
    families = json.loads(Path(folder, "run.json").read_text())["families"]
    return [key for drawn in families.values() for key in drawn] + ["state=1"]


def test_failure_is_replayed_in_a_fresh_process(lossref: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    asked = ("--spec", "diou", "--check", "gradient", "--dtype", "float64", "--out", "report", "-j", "1")
    lossref("validate", "mine", *asked)
    saved = next(Path("report/cases").glob("diou-*-gradient-float64.json"))
    content = json.loads(saved.read_text())
    again = _command("replay", str(saved), cwd=tmp_path)
    assert again.returncode == 1, again.stderr
    assert content["problem"] in again.stdout
    assert sum(len(entry["values"]) for entry in content["inputs"].values()) == 2, "not shrunk to one pair"
    snippet = subprocess.run([sys.executable, "-c", content["snippet"]], capture_output=True, text=True)
    assert snippet.returncode == 0, snippet.stderr
    Path("mine.py").write_text(MINE.replace("return 1 - bbox_iou", "return bbox_iou"))
    assert lossref("replay", str(saved)).exit_code == 0  # what a host knows of the file as it was is not asked


def _command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lossref", *words], cwd=cwd, capture_output=True, text=True)


def test_interrupted_run_keeps_what_it_found(tmp_path: Path) -> None:
    few = ("--spec", "*iou", "--spec", "focal", "--out", "report", "-j", "1")
    words = [sys.executable, "-m", "lossref", "validate", "reference", *few]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore Ctrl-C
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    )
    kept = tmp_path / "report" / "verdicts.jsonl"
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not (kept.exists() and kept.stat().st_size):
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    lines = kept.read_text().splitlines()
    assert process.returncode == 3, said
    assert f"interrupted: {len(lines)} of" in said
    assert "Traceback" not in said
    assert all(json.loads(line)["status"] == "pass" for line in lines)
    assert "incomplete" in (tmp_path / "report" / "index.html").read_text().lower()


HEAVY = {"torch", "numpy", "pandas", "hypothesis", "flint", "rich", "jinja2"}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom lossref.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\nprint(*sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(found)


# The ultralytics adapter, on stand-ins for releases that are not installed here ---------------------------


def _stand_in(monkeypatch: pytest.MonkeyPatch, old: bool) -> None:
    from lossref import BCEDiceLoss, DFLoss, FocalLoss, MultiChannelDiceLoss, VarifocalLoss, bbox_iou
    from lossref.losses.classification.focal import focal
    from lossref.losses.classification.varifocal import varifocal

    class OldVarifocal:
        def __call__(self, *inputs: object, gamma: float = 2.0, alpha: float = 0.75) -> object:
            return varifocal(*inputs, gamma, alpha)  # type: ignore[arg-type]

    class OldFocal:
        def __call__(self, *inputs: object, gamma: float = 1.5, alpha: float = 0.25) -> object:
            return focal(*inputs, gamma, alpha)  # type: ignore[arg-type]

    for imported in [name for name in sys.modules if name.partition(".")[0] == "ultralytics"]:
        monkeypatch.delitem(sys.modules, imported)  # another test may have imported the real one
    package, utils = ModuleType("ultralytics"), ModuleType("ultralytics.utils")
    metrics, losses = ModuleType("ultralytics.utils.metrics"), ModuleType("ultralytics.utils.loss")
    vars(package).update(__version__="8.3.0" if old else "8.4.20", __path__=[])
    vars(utils).update(__path__=[])
    vars(metrics).update(bbox_iou=bbox_iou)
    vars(losses).update(DFLoss=DFLoss, VarifocalLoss=VarifocalLoss, FocalLoss=FocalLoss)
    if old:
        vars(losses).update(VarifocalLoss=OldVarifocal, FocalLoss=OldFocal)
    else:
        vars(losses).update(MultiChannelDiceLoss=MultiChannelDiceLoss, BCEDiceLoss=BCEDiceLoss)
    for module in (package, utils, metrics, losses):
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize("old", [False, True], ids=["8.4", "8.3.0"])
def test_ultralytics_adapter_covers_every_spec(monkeypatch: pytest.MonkeyPatch, old: bool) -> None:
    from lossref.checks.table import cases_for, check, named
    from lossref.targets.resolve import resolve

    _stand_in(monkeypatch, old)
    found = {one.spec: one for one in resolve("ultralytics")}
    assert set(found) == set(specs())
    stood_in = {"iou", "giou", "diou", "ciou", "dfl", "varifocal", "focal"} | (set() if old else {"dice", "bce_dice"})
    assert {name for name, target in found.items() if not target.unsupported} == stood_in
    for name, target in found.items():
        if target.unsupported:
            assert re.search("has no|cannot be imported|no public name", target.unsupported)
            continue
        for check_name in ("value", "params"):
            row = named(check_name)
            cases = cases_for(row, specs()[name], target, "quick", 0)[:4]
            assert check(row, specs()[name], target, cases, "float64")[0].status == "pass"


def test_a_method_that_a_release_lacks_is_unsupported() -> None:
    from lossref.targets import dropin

    class v8OBBLoss:
        pass

    found = dropin.targets(lambda name: v8OBBLoss if name == "v8OBBLoss" else None, "old", "old has no {name}", False)
    assert {one.spec: one.unsupported for one in found}["angle"] == "old has no v8OBBLoss.calculate_angle_loss"


def test_a_default_that_a_release_lacks_is_fixed() -> None:
    from lossref import bbox2dist
    from lossref.targets import dropin

    def old(anchor_points: object, bbox: object, reg_max: float) -> object:
        return bbox2dist(anchor_points, bbox, reg_max)  # type: ignore[arg-type]

    found = dropin.targets(lambda name: old if name == "bbox2dist" else None, "old", "old has no {name}", False)
    assert {one.spec: one.fixed for one in found if not one.unsupported} == {"bbox2dist": {"reg_max": 15}}


def test_a_failure_is_reported_when_its_explanation_fails(
    lossref: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lossref.run import ask
    from lossref.run.causes import failures
    from lossref.run.plan import plan

    def broken(*given: object) -> str:
        raise TypeError("no such row")

    monkeypatch.setattr(failures, "explain", broken)
    (job,) = plan(["mine"], "diou", "value", ("float64",), out=tmp_path)
    (verdict,) = ask.work(job).verdicts
    assert verdict.status == "fail"
    assert "could not look for an explanation: TypeError: no such row" in verdict.explanation


FAULTS = [("raise RuntimeError('operator does not exist')", "RuntimeError: operator does not exist")]
FAULTS += [("import sys; sys.exit('licence')", "SystemExit: licence"), ("1 / 0", "ZeroDivisionError: division by zero")]


@pytest.mark.parametrize(("body", "said"), FAULTS, ids=[row[1].split(":")[0] for row in FAULTS])
def test_a_package_that_cannot_be_imported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    folder = tmp_path / "ultralytics"
    folder.mkdir()
    (folder / "__init__.py").write_text(f"print('chatter')\n{body}\n")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["validate", "ultralytics"])
    assert result.exit_code == 3
    assert result.stderr.startswith(f"lossref: ultralytics cannot be imported: {said}")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_the_chatter_of_a_package_is_not_heard(tmp_path: Path) -> None:
    (tmp_path / "ultralytics.py").write_text(f"print('chatter')\n{FAULTS[0][0]}\n")
    result = _command("validate", "ultralytics", cwd=tmp_path)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (3, "", 1)
