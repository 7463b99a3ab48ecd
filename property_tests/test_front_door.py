"""The front door: `lossref.validate` in Python, the pytest plugin, and the public names as others see them."""

from __future__ import annotations

import ast
import importlib
import json
import random
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lossref
from lossref import losses
from lossref.api import Verdicts
from lossref.checks.table import UnknownCheck
from lossref.core.nouns import STATUSES, Verdict
from lossref.editions.typed import Edition83, Edition84, Edition84190
from lossref.losses import UnknownSpec
from lossref.run.golden.recorded import read
from lossref.run.saved.replay import replay
from lossref.targets.resolve import UnknownTarget

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[1]
losses.specs()  # what a run inside this process imports first would be forgotten after it, torch with it


# What is validated, as somebody would type it into a notebook ---------------------------------------------


def _closure(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7) -> Tensor:
    return lossref.bbox_iou(box1, box2, xywh, eps=eps)


def _one_minus(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7) -> Tensor:
    return 1 - lossref.bbox_iou(box1, box2, xywh, eps=eps)


def _corners(box1: Tensor, box2: Tensor) -> Tensor:
    return lossref.bbox_iou(box1, box2, xywh=False)


@lossref.target("iou", known={"shape": "flat on purpose", "value": "a rumour"})
def _flat(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7) -> Tensor:
    return lossref.bbox_iou(box1, box2, xywh, eps=eps)[..., 0]


def _local() -> Callable[..., Tensor]:
    def inside(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7) -> Tensor:
        return lossref.bbox_iou(box1, box2, xywh, eps=eps)

    return inside


F64 = {"dtype": "float64"}
HERE = "in this process"
FOLLOWED = "has no parameter xywh; tested with xywh=False, which it follows; in this process"
LAMBDA = lambda a, b: lossref.bbox_iou(a, b, xywh=False)  # noqa: E731
VALIDATED = [
    ("function", _closure, "iou", {"check": "value"}, True, "pass pass", ""),
    ("closure", _local(), "iou", {"check": "value,gradient", **F64}, True, "pass pass", HERE),
    ("lambda", LAMBDA, "iou", {"check": "value", **F64}, True, "pass", FOLLOWED),
    ("fixed", _corners, "iou", {"check": "value", "xywh": False, **F64}, True, "pass", ""),
    ("fixed at another value", _corners, "iou", {"check": "value", "xywh": True, **F64}, False, "fail", "got"),
    ("class", lossref.FocalLoss, "focal", {"check": "value", **F64}, True, "pass", ""),
    ("object", lossref.FocalLoss(), "focal", {"check": "value", **F64}, True, "pass", HERE),
    ("raises", lambda a, b: a[7], "iou", {"check": "value", **F64}, False, "fail", "raised IndexError"),
    ("known, fixed", _flat, "iou", {"check": "shape,value", **F64}, False, "fixed known", "strike it off"),
    ("nothing to ask", _corners, "iou", {"check": "params"}, False, "unsupported", "it has no parameter"),
    ("glob", _closure, "iou", {"check": "s*e", **F64}, True, "pass", ""),
]


@pytest.mark.parametrize(("thing", "spec", "how", "ok", "statuses", "said"), [row[1:] for row in VALIDATED],
                         ids=[row[0] for row in VALIDATED])  # fmt: skip
def test_validate(thing: Any, spec: str, how: dict[str, Any], ok: bool, statuses: str, said: str) -> None:
    found = lossref.validate(thing, spec, **how)
    assert " ".join(one.status for one in found) == statuses
    assert found.ok == ok
    assert said in " ".join(f"{one.note} {one.explanation}" for one in found)
    assert {row for finding in found.findings for row in finding.rows} == {
        one for one in found if one.status in ("fail", "fixed")
    }


@pytest.mark.parametrize(("thing", "here"), [(_closure, False), (_local(), True), (LAMBDA, True)])
def test_what_nobody_else_can_find_is_asked_here(thing: Any, here: bool) -> None:
    (one,) = lossref.validate(thing, "iou", check="value", **F64)
    assert (HERE in one.note) == here


REFUSED = [
    (("mypkg.losses", "iou"), {}, TypeError, "expected a function or a class, got 'mypkg.losses'"),
    ((None, "iou"), {}, TypeError, "expected a function or a class, got None"),
    ((_closure, "iuo"), {}, UnknownSpec, "did you mean 'iou'?"),
    ((_closure, "iou"), {"check": "valeu"}, UnknownCheck, "there is no check 'valeu'"),
    ((_closure, "iou"), {"xywhr": False}, UnknownTarget, "iou has no parameter 'xywhr'; did you mean 'xywh'?"),
    ((_closure, "iou"), {"dtype": "float16"}, ValueError, "'float16' is not one of float64, float32"),
    ((_closure, "iou"), {"tier": "slow"}, ValueError, "'slow' is not one of quick, full"),
    ((_closure, "iou"), {"seed": -1}, ValueError, "expected a seed of 0 or more, got -1"),
    ((_closure, "iou"), {"check": "pure", **F64}, ValueError, "no check that matches 'pure' runs in float64"),
]


@pytest.mark.parametrize(("given", "how", "kind", "said"), REFUSED, ids=[row[3][:30] for row in REFUSED])
def test_refuses_in_one_sentence(given: Any, how: dict[str, Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as error:
        lossref.validate(*given, **how)
    assert said in str(error.value.args[0])
    assert "\n" not in str(error.value.args[0])


@pytest.mark.parametrize("name", sorted(losses.specs()))
def test_no_parameter_of_a_spec_is_hidden_by_one_of_ours(name: str) -> None:
    ours = {"implementation", "spec", "check", "dtype", "tier", "seed", "out", "known", "slack"}
    assert not ours & set(losses.spec(name).params)


# Nothing else is changed ----------------------------------------------------------------------------------


def _vandal(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7) -> Tensor:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    return lossref.bbox_iou(box1, box2, xywh, eps=eps)


GLOBAL: dict[str, Callable[[], Any]] = {
    "default dtype": torch.get_default_dtype,
    "grad mode": torch.is_grad_enabled,
    "inference mode": torch.is_inference_mode_enabled,
    "threads": torch.get_num_threads,
    "torch": lambda: torch.get_rng_state().tolist(),
    "numpy": lambda: np.random.get_state()[1].tolist(),
    "python": random.getstate,
    "handler": lambda: signal.getsignal(signal.SIGALRM),
    "alarm": lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0,
    "device": lambda: torch.zeros(1).device.type,
}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_global_state_is_as_it_was(mode: Callable[[], Any]) -> None:
    before = signal.signal(signal.SIGALRM, lambda *given: None)
    signal.setitimer(signal.ITIMER_REAL, 500)
    try:
        with mode(), torch.device("meta"):
            was = {name: read() for name, read in GLOBAL.items()}
            found = lossref.validate(_vandal, "iou", check="shape")
            assert {name: read() for name, read in GLOBAL.items()} == was
            assert found.rows[0].status == "pass"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# What a person does with the result ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> tuple[Verdicts, Path]:
    folder = tmp_path_factory.mktemp("cases")
    return lossref.validate(_one_minus, "iou", check="value,single,pure", out=folder), folder


def test_rows_of_one_cause_are_one_finding(wrong: tuple[Verdicts, Path]) -> None:
    assert not wrong[0].ok
    (finding,) = wrong[0].findings
    assert finding.sentence.startswith("iou is 1 - the right value; ")
    assert [(row.check, row.dtype) for row in finding.rows] == [
        ("value", "float64"), ("value", "float32"), ("single", "float32"),
    ]  # fmt: skip
    assert len(wrong[0]) == 4


def test_smallest_case_is_at_hand(wrong: tuple[Verdicts, Path]) -> None:
    found, folder = wrong
    row = found.findings[0].rows[0]
    box1, box2 = (torch.tensor(found.cases[row].inputs[name]) for name in ("box1", "box2"))
    assert box1.shape == (1, 4)
    assert _one_minus(box1, box2) != _closure(box1, box2)
    assert Path(row.case).parent == folder / "cases"
    assert replay(Path(row.case))[1] is False
    assert json.loads(Path(row.case).read_text())["target"] == f"{__file__}:_one_minus"


def test_shown_as_text_frame_dict_and_page(wrong: tuple[Verdicts, Path]) -> None:
    found = wrong[0]
    lines = repr(found).splitlines()
    assert lines[0] == "_one_minus as iou: does not conform (3 fail, 1 pass)"
    assert lines[1].startswith("WRONG NUMBER  ")
    assert "value float64, value float32, single float32" in repr(found)
    assert lines[-1].strip().startswith("lossref replay")
    assert list(found.to_frame()["status"]) == ["fail", "fail", "fail", "pass"]
    assert json.loads(json.dumps(found.to_dict()))["findings"][0]["sentence"] == found.findings[0].sentence
    assert "does not conform" in found._repr_html_()


def test_page_is_escaped_and_no_file_stays() -> None:
    hostile = Verdicts((Verdict("iou", "<script>", "value", "float64", "fail", note="<b>got</b>"),))
    assert "<script>" not in hostile._repr_html_()
    assert "&lt;b&gt;got" in hostile._repr_html_()
    found = lossref.validate(lambda a, b: a[..., :1] * 0, "iou", check="value", dtype="float64", xywh=True)
    (row,) = found.cases
    assert row.case == ""
    assert row in list(found)


# The public names ------------------------------------------------------------------------------------------


def test_dir_shows_the_public_names() -> None:
    assert {*lossref.__all__, "__version__", "LOSSES"} <= set(dir(lossref))
    graphs = {"compiled", "captured", "checked"}
    assert set(lossref.__all__) - set(lossref.LOSSES) == {"target", "conforms", "validate", "edition", *graphs}
    assert not [name for name in dir(lossref) if name.startswith("_") and not name.startswith("__")]


def test_a_type_checker_is_told_what_is_found() -> None:
    tree = ast.parse((ROOT / "lossref/__init__.py").read_text())
    told = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
    names = {alias.asname: node.module for node in told for alias in node.names if alias.asname == alias.name}
    assert set(names) == set(lossref.__all__)
    for name, module in names.items():
        assert getattr(importlib.import_module(str(module)), name) is getattr(lossref, name)


@pytest.mark.parametrize(("version", "told"), [("8.3", Edition83), ("8.4", Edition84), ("8.4.190", Edition84190)])
def test_a_type_checker_is_told_what_an_edition_has(version: Any, told: type) -> None:
    found = lossref.edition(version)
    assert {name for name in dir(told) if not name.startswith("__")} == set(dir(found))
    assert all(getattr(told, name) is getattr(found, name) for name in dir(found))


HEAVY = {"torch", "numpy", "pandas", "hypothesis", "flint", "rich", "jinja2", "pytest"}


@pytest.mark.parametrize("code", ["lossref.__all__", "lossref.target('iou')(print)", "lossref.conforms('iou')(print)"])
def test_marks_import_nothing_heavy(code: str) -> None:
    code = f"import lossref, sys\nprint = lambda: 0\n{code}\nsys.stdout.write(' '.join(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(found)


# The pytest plugin -----------------------------------------------------------------------------------------

MINE = """
import lossref
from lossref import bbox_iou

@lossref.target("iou", known={"shape": "flat on purpose"})
def flat(box1, box2, xywh=True, eps=1e-7):
    return bbox_iou(box1, box2, xywh, eps=eps)[..., 0]

@lossref.target("giou")
def as_loss(box1, box2, xywh=True, eps=1e-7):
    return 1 - bbox_iou(box1, box2, xywh, GIoU=True, eps=eps)

@lossref.target("ciou", known={"value": "a rumour"})
def corners(box1, box2):
    return bbox_iou(box1, box2, xywh=False, CIoU=True)

@lossref.target("diou")
def one(box1, box2, xywh=True, eps=1e-7):
    return bbox_iou(box1, box2, xywh, DIoU=True, eps=eps)

@lossref.target("diou")
def other(box1, box2, xywh=True, eps=1e-7):
    return bbox_iou(box1, box2, xywh, DIoU=True, eps=eps)
"""
TESTS = """
import lossref
import pytest
from lossref import bbox_iou

@lossref.conforms("iou", check="value,pure", known={"pure": "a rumour"})
def my_iou(box1, box2, xywh=True, eps=1e-7):
    return bbox_iou(box1, box2, xywh, eps=eps)

@lossref.conforms("diou", check="pure", xywh=False)
@lossref.conforms("giou", check="value", dtype="float64", xywh=False)
def test_wrong(box1, box2):
    return 1 - bbox_iou(box1, box2, xywh=False, GIoU=True)

@pytest.mark.lossref("iou", xywh=False)
def test_cases(lossref_case):
    assert lossref_case.params["xywh"] is False
    assert lossref_case.inputs["box1"].shape[-1] == 4

@pytest.mark.lossref("dfl")
def test_recorded(lossref_golden):
    assert lossref_golden.value["loss"].dtype == "float64"
    assert set(lossref_golden.gradient) == {"pred_dist"}
"""
AMISS = """
import lossref
import pytest

@lossref.conforms("iuo")
def no_spec(box1, box2): ...

@lossref.conforms("iou", xywhr=True)
def no_parameter(box1, box2): ...

@lossref.conforms("iou", dtype="float16")
def no_dtype(box1, box2): ...
"""
UNMARKED = "def test_unmarked(lossref_case): ..."


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with targets and tests, where lossref's entry point is installed."""
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    here = pytester.mkdir("here-0.dist-info")
    (here / "METADATA").write_text("Metadata-Version: 2.1\nName: here\nVersion: 0\n")
    lines = [f"{name} = {module}" for name, module in entries.items()]
    (here / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]))
    pytester.makepyfile(mine=MINE, other=MINE, test_mine=TESTS, test_amiss=AMISS, test_unmarked=UNMARKED)
    pytester.syspathinsert(pytester.path)
    return pytester


def _run(project: pytest.Pytester, words: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:benchmark", "--strict-markers", "-v", *words.split())


RECORDED = len(read("dfl"))  # what test_recorded is asked
NO_FILES = "--ignore test_mine.py --ignore test_amiss.py --ignore test_unmarked.py"
TARGET = f"{NO_FILES} --lossref-target mine"
ITEMS = [
    (f"{TARGET} --lossref-spec iou --lossref-check value --lossref-check shape -rx", {"passed": 2, "xfailed": 1},
     ["iou::value?float64? PASSED*", "iou::shape?float64? XFAIL*", "XFAIL*(known: flat on purpose)"]),
    (f"{TARGET} --lossref-spec iou --lossref-check shape --runxfail", {"failed": 1}, ["*known: flat on purpose*"]),
    (f"{TARGET} --lossref-spec giou --lossref-check value -k float64", {"failed": 1, "deselected": 1},
     ["*giou::value?float64? *", "as_loss as giou: FAIL  value float64", "*got *want *",
      "*giou is 1 - the right value; *", "*lossref replay .pytest_cache*giou-as_loss-value-float64.json"]),
    (f"{TARGET} --lossref-spec ciou --lossref-check value,params -rs", {"failed": 2, "skipped": 1},
     ["*SKIPPED*it has no parameter whose effect could be tested", "*strike it off*"]),
    (f"{TARGET} --lossref-spec diou --lossref-check pure", {"passed": 2},
     ["diou?one?::pure?float32? PASSED*", "diou?other?::pure?float32? PASSED*"]),
    (f"{TARGET} --lossref-target other --lossref-spec iou --lossref-check pure", {"passed": 2},
     ["iou?flat (mine)?::pure?float32? PASSED*", "iou?flat (other)?::pure?float32? PASSED*"]),
    (f"{TARGET} --lossref-target mine.py --lossref-spec iou --lossref-check pure", {"passed": 1},
     ["iou::pure?float32? PASSED*"]),
    ("test_mine.py -k my_iou", {"passed": 2, "failed": 1, "deselected": 23 + RECORDED},
     ["test_mine.py::my_iou::iou::value?float64? PASSED*", "*strike it off*"]),
    ("test_mine.py::test_wrong", {"failed": 1, "passed": 1},
     ["*py::test_wrong::giou::value?float64? FAILED*", "*py::test_wrong::diou::pure?float32? PASSED*"]),
    ("test_mine.py::my_iou::iou::value[float32]", {"passed": 1}, ["test_mine.py::my_iou::iou::value?float32? PASSED*"]),
    ("test_mine.py::test_cases test_mine.py::test_recorded", {"passed": 21 + RECORDED},
     ["*::test_recorded?saturated? PASSED*"]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "counts", "said"), ITEMS, ids=[row[0].removeprefix(NO_FILES) for row in ITEMS])
def test_items(project: pytest.Pytester, words: str, counts: dict[str, int], said: list[str]) -> None:
    result = _run(project, words)
    found = {name: count for name, count in result.parseoutcomes().items() if name != "warnings"}
    assert found == counts
    for line in said:
        result.stdout.fnmatch_lines([line])
    result.stdout.no_fnmatch_line("*Traceback*")


OUTCOMES = [(status, "failed") for status in STATUSES if status not in ("pass", "known", "unsupported")]
OUTCOMES += [("pass", "passed"), ("known", "xfailed"), ("unsupported", "skipped")]


@pytest.mark.parametrize(("status", "outcome"), OUTCOMES, ids=[row[0] for row in OUTCOMES])
def test_status_becomes_outcome(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, status: str, outcome: str
) -> None:
    verdict = Verdict("iou", "my_iou", "pure", "float32", status, note="so it is")
    monkeypatch.setattr("lossref.api.asked_here", lambda job, target: [verdict])
    result = _run(project, "test_mine.py::my_iou::iou::pure[float32] -rA")
    assert result.parseoutcomes() == {outcome: 1}
    assert ("so it is" in result.stdout.str()) == (status != "pass")


MISTAKES = [
    (f"{NO_FILES} --lossref-target minee", 4, "ERROR: lossref: there is no target 'minee'*"),
    (f"{TARGET} --lossref-spec iuo", 4, "ERROR: lossref: there is no spec 'iuo'; did you mean 'iou'?*"),
    (f"{TARGET} --lossref-check valeu", 4, "ERROR: lossref: there is no check 'valeu'*"),
    (
        f"{TARGET} --lossref-spec focal",
        4,
        "ERROR: lossref: mine has no implementation of focal; it has ciou, diou, giou, iou",
    ),
    (f"{NO_FILES} --lossref-target torch.nope:x", 4, "ERROR: lossref: *torch.nope*"),
    ("test_amiss.py::no_spec", 2, "lossref: there is no spec 'iuo'; did you mean 'iou'?*"),
    ("test_amiss.py::no_parameter", 2, "lossref: iou has no parameter 'xywhr'; did you mean 'xywh'?*"),
    ("test_amiss.py::no_dtype", 2, "lossref: no check that matches '\\*' runs in float16"),
    ("test_unmarked.py", 2, 'lossref_case needs a spec: @pytest.mark.lossref("ciou")'),
]


@pytest.mark.parametrize(("words", "status", "said"), MISTAKES, ids=[row[0].removeprefix(NO_FILES) for row in MISTAKES])
def test_a_mistake_is_one_sentence(project: pytest.Pytester, words: str, status: int, said: str) -> None:
    result = _run(project, words)
    assert result.ret == status
    (result.stderr if status == 4 else result.stdout).fnmatch_lines([said.replace("\\*", "[*]")])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_failure_of_a_test_file_is_replayed(project: pytest.Pytester) -> None:
    result = _run(project, "test_mine.py::test_wrong::giou")
    line = next(line for line in result.outlines if "lossref replay" in line)
    lines, passes = replay(Path(line.split()[-1]))
    assert not passes
    assert "fails" in lines[0]


def test_last_failed_finds_its_items_again(project: pytest.Pytester) -> None:
    words = f"test_mine.py {TARGET.removeprefix('--ignore test_mine.py ')} --lossref-spec ciou --lossref-check value"
    failed = project.path / ".pytest_cache/v/cache/lastfailed"
    names = ["test_mine.py::my_iou::iou::pure[float32]", "ciou::value[float64]"]
    failed.parent.mkdir(parents=True)
    failed.write_text(json.dumps(dict.fromkeys(names, True)))
    result = _run(project, f"{words} --lf --collect-only")
    result.stdout.fnmatch_lines(["*run-last-failure: rerun previous 2 failures*", "*2/*tests collected*"])


def test_on_two_processes_with_stable_names(project: pytest.Pytester) -> None:
    words = ["--lossref-target", "mine", "--lossref-spec", "diou", "--lossref-check", "pure", "test_mine.py"]
    few = "(my_iou and float64 or diou and pure) and not wrong"
    command = [sys.executable, "-m", "pytest", "-p", "no:benchmark", "-n", "2", "-k", few, *words]
    found = subprocess.run(
        command, cwd=project.path, capture_output=True, text=True
    )  # with the PYTHONPATH of hosts here
    assert "3 passed" in found.stdout, found.stdout


LIGHT = """
def test_light():
    import sys
    assert "lossref.pytest_plugin" in sys.modules
    assert not {"torch", "numpy", "hypothesis", "lossref.api"} & set(sys.modules)
"""


def test_a_project_that_does_not_use_it_pays_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(test_light=LIGHT)
    blocked = ("-p", "no:hypothesispytest", "-p", "no:benchmark", "-p", "no:xdist")
    result = project.runpytest_subprocess("test_light.py", *blocked)
    result.assert_outcomes(passed=1)
