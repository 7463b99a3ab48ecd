"""Old import paths: whoever wrote a spec, a target or a script with them is not stranded; old files are still read."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from lossref.checks.table import named
from lossref.core import nouns
from lossref.editions.moved import FOLDERS, MODULES, NAMES
from lossref.losses import spec
from lossref.run.saved import load
from lossref.run.saved.replay import replay

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("old", "new"), MODULES.items(), ids=list(MODULES))
def test_every_old_path_leads_to_a_module(old: str, new: str) -> None:
    assert importlib.util.find_spec(new) is not None
    folder = ROOT.joinpath(*old.split("."))
    assert not folder.exists()
    assert not folder.with_suffix(".py").exists(), "it is still there"


@pytest.mark.parametrize(("room", "new"), NAMES.items(), ids=list(NAMES))
def test_every_room_of_an_old_name_has_its_module(room: str, new: str) -> None:
    assert PathFinder.find_spec(new.rpartition(".")[2], [str(ROOT.joinpath(*new.split(".")[:-1]))]) is not None
    assert room in FOLDERS or (ROOT.joinpath(*room.split(".")) / "__init__.py").exists()


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_that_is_no_more_is_no_more(folder: str) -> None:
    assert not ROOT.joinpath(*folder.split(".")).exists()
    assert any(old.startswith(f"{folder}.") for old in MODULES)


STATEMENTS = [
    ("import lossref.catalog", "lossref.catalog is now lossref.losses"),
    ("from lossref import catalog; catalog.spec('iou')", "lossref.catalog is now lossref.losses"),
    ("import lossref.resolve as r; r.resolve", "lossref.resolve is now lossref.targets.resolve"),
    ("from lossref.oracle import weights", "lossref.oracle.weights is now lossref.oracle.answers.weights"),
    ("from lossref.checks import CHECKS", "lossref.checks.CHECKS is now lossref.checks.table.CHECKS"),
    ("from lossref.declare import corner", "lossref.declare is now lossref.core.declare"),
    ("from lossref.blocks.iou import SPEC", "lossref.blocks.iou is now lossref.losses.overlap.iou"),
    ("from lossref.blocks import giou; giou.SPEC", "lossref.blocks.giou is now lossref.losses.overlap.giou"),
    ("from lossref.losses.focal import FocalLoss", "lossref.losses.focal is now lossref.losses.classification.focal"),
    ("from lossref.losses import dfl; dfl.SPEC", "lossref.losses.dfl is now lossref.losses.box_terms.dfl"),
    (
        "from lossref.losses.detr import DETRLoss",
        "lossref.losses.detr.DETRLoss is now lossref.losses.detr.detr.DETRLoss",
    ),
    ("import lossref.targets.torch as t; t.targets", "lossref.targets.torch is now lossref.targets.adapters.torch"),
    ("from lossref.targets.dropin import version", "dropin.version is now lossref.targets.adapters.dropin.version"),
    ("from lossref.dropin import targets", "lossref.dropin.targets is now lossref.targets.dropin.targets"),
    ("import lossref.dropin.yolo as y; y.__file__", "lossref.dropin.yolo is now lossref.targets.dropin.yolo"),
]


def python(source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A fresh process in which nothing was imported by an old path before."""
    return subprocess.run([sys.executable, *options, "-c", source], capture_output=True, text=True, cwd=ROOT)


def test_old_statements_work_and_say_where_things_are() -> None:
    lines = "\n".join(f"caught({statement!r})" for statement, _ in STATEMENTS)
    source = f"""
import json, sys, warnings
def caught(statement):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        exec(statement, {{}})
    print(json.dumps([[str(one.message), one.filename] for one in found]))
    for name in [name for name in sys.modules if name.startswith("lossref")]:
        del sys.modules[name]
{lines}
"""
    done = python(source)
    assert done.returncode == 0, done.stderr
    for (statement, said), line in zip(STATEMENTS, done.stdout.splitlines(), strict=True):
        messages = json.loads(line)
        assert any(said in message for message, _ in messages), (statement, messages)
        assert {where for _, where in messages} == {"<string>"}, "the warning points at somebody else's line"


def test_a_spec_file_of_before_goes_on_importing_from_core() -> None:
    """`lossref.core` offers these names itself: no warning is owed."""
    statement = "from lossref.core import Spec, Domain, Param, Case, Target"
    done = python(f"import warnings; warnings.simplefilter('error')\n{statement}")
    assert done.returncode == 0, done.stderr


NEVER = [
    ("import lossref.nothing", "ModuleNotFoundError: No module named 'lossref.nothing'"),
    ("import lossref.blocks.nothing", "ModuleNotFoundError: No module named 'lossref.blocks.nothing'"),
    ("from lossref.core import Nothing", "ImportError: cannot import name 'Nothing' from 'lossref.core'"),
    ("from lossref import nothing", "ImportError: cannot import name 'nothing' from 'lossref'"),
]


@pytest.mark.parametrize(("statement", "said"), NEVER, ids=[row[0] for row in NEVER])
def test_what_never_was_is_an_ordinary_error(statement: str, said: str) -> None:
    assert said in python(statement).stderr


def test_old_and_new_are_one_thing() -> None:
    source = "from lossref.core import Spec; import lossref.arith, lossref.core.nouns as n, lossref.oracle.tape as t\n"
    done = python(source + "assert Spec is n.Spec and lossref.arith is t and lossref.arith.Tie is t.Tie")
    assert done.returncode == 0, done.stderr


def test_all_nouns_are_lent() -> None:
    public = ", ".join(
        name for name, thing in vars(nouns).items() if getattr(thing, "__module__", "") == nouns.__name__
    )
    assert python(f"from lossref.core import {public}").returncode == 0


def test_importing_lossref_is_light() -> None:
    heavy = "torch numpy pandas jinja2 typer flint scipy hypothesis"
    done = python(f"import sys, lossref; print([name for name in {heavy.split()} if name in sys.modules])")
    assert done.stdout == "[]\n", done.stderr


# Files of before -------------------------------------------------------------------------------------------

SPEC_OF_BEFORE = """
from lossref.core import Domain, Param, Spec
from lossref.declare import corner, impostor
from lossref.domains import LOGIT_FAMILIES
from lossref.laws import not_negative
from lossref.losses.bce import sum_of_means
from lossref.precision import require_floating


def square(pred, factor=2.0):
    require_floating(pred=pred)
    return factor * sum_of_means(pred * pred)


SPEC = Spec(
    name="square", summary="Twice the square", cite="nowhere", api="square(pred)", terms=("loss",), wrt=("pred",),
    inputs={"pred": Domain("b q c", "logits", LOGIT_FAMILIES)}, params={"factor": Param(2.0, (1.0,), "of all")},
    reference=square, laws=(not_negative,), sizes={"small": ({"b": 1, "q": 2, "c": 2},)},
    oracle=lambda m, pred, factor: factor * sum(x * x for q in pred for c in q for x in c) / len(pred[0]),
    corners=(corner("ones", "by hand", pred=[[[1.0, 1.0]]]),),
    impostors=(impostor("once", "factor forgotten", "value", lambda pred, factor: sum_of_means(pred * pred)),),
)
"""


def test_a_spec_of_before_is_checked(tmp_path: Path) -> None:
    (tmp_path / "square.py").write_text(SPEC_OF_BEFORE)
    then = """
import sys; sys.path.insert(0, sys.argv[1])
from square import SPEC
from lossref.catalog import spec
from lossref.checks import CHECKS, check, cases_for, named
from lossref.probe import itself
for target in (itself(SPEC), *SPEC.impostors):
    value = named("value")
    print(check(value, SPEC, target, cases_for(value, SPEC, target, "quick", 0), "float64")[0].status)
"""
    done = subprocess.run([sys.executable, "-c", then, tmp_path], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["pass", "known"], done.stderr


SAVED = sorted((ROOT / "reports" / "example" / "cases").glob("*.json"))


@pytest.mark.parametrize("path", SAVED, ids=[path.stem for path in SAVED])
def test_a_case_saved_before_is_read(path: Path) -> None:
    saved = load(path)
    assert spec(saved.case.spec).why_not(saved.case) is None or saved.check in ("refuses", "shape")
    assert named(saved.check).name == saved.check


def test_a_case_whose_target_is_named_by_its_old_path_is_replayed(tmp_path: Path) -> None:
    content = json.loads((ROOT / "regression/cases/focal/p_t-exp-bce.json").read_text())
    file = tmp_path / "focal.json"
    file.write_text(json.dumps({**content, "target": "lossref.losses.focal:focal", "as": "focal"}))
    lines, passes = replay(file)
    assert passes, lines
    assert "on lossref.losses.focal:focal: passes now" in lines[0]
