"""A loss of one's own: read from a file or an entry point, listed, checked, recorded and timed like lossref's."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import lossref
from lossref import losses
from lossref.checks.suite import accepted, failures
from lossref.cli import app
from lossref.cli.look import BEGIN, END
from lossref.core.plugins import SpecsError
from lossref.core.sound import first_fault
from lossref.oracle.trial import refused

MINE = """
import lossref
from huber import reference

@lossref.target("huber")
def right(pred, target, delta=1.0):
    return reference(pred, target, delta)

@lossref.target("huber", delta=2.0)
def doubled(pred, target):
    return 2 * reference(pred, target, 2.0)
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `lossref new huber` writes."""
    path = tmp_path_factory.mktemp("new") / "huber.py"
    result = run("new", "huber", "--file", str(path))
    assert result.exit_code == 0, result.output
    return path.read_text()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generated: str) -> Iterator[Path]:
    """A folder with huber.py and a module that implements it, and no other specs around."""
    (tmp_path / "huber.py").write_text(generated)
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(lossref.__file__).parents[1])]))
    monkeypatch.delenv(losses.FILES, raising=False)
    monkeypatch.delenv("CI", raising=False)  # a person records; a job of CI may not
    _forget()
    yield tmp_path
    _forget()


def _forget() -> None:
    """Entry points are read once in a process, and these tests add some."""
    losses._with_others.cache_clear()
    for name in ("huber", "mine", "plugin"):
        sys.modules.pop(name, None)


# What `lossref new` writes -------------------------------------------------------------------------------------------


def test_generated_file_is_short_and_needs_one_import(generated: str) -> None:
    assert len(generated.splitlines()) <= 80
    assert re.findall(r"^(?:from|import) (lossref\S*)", generated, re.MULTILINE) == ["lossref.core"]


def test_the_ground_that_it_stands_on_needs_no_torch() -> None:
    said = "import sys, lossref.core; assert 'torch' not in sys.modules; lossref.core.require_same_shape"
    subprocess.run([sys.executable, "-c", said], check=True)


def test_generated_tests_pass(here: Path) -> None:
    assert run("new", "pseudo", "--file", "other.py").exit_code == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:benchmark", "-p", "no:cacheprovider", "test_other.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


NOT_NEW = [
    ("new huber", "huber.py is there already and is not overwritten"),
    ("new ciou", "there is a spec 'ciou' already"),
    ("new huber --specs huber.py --file x.py", "there is a spec 'huber' already"),
    ("new 2x", "'2x' is no name for a spec"),
    ("new class", "'class' is no name for a spec"),
    ("new other --file other.txt", "write --file other.py"),
    ("new other --file no/other.py", "there is no folder no"),
    ("new mine --file fresh.py", "test_fresh.py is there already"),
]


@pytest.mark.parametrize(("words", "said"), NOT_NEW, ids=[row[0] for row in NOT_NEW])
def test_new_writes_nothing_where_it_must_not(here: Path, words: str, said: str) -> None:
    (here / "test_fresh.py").write_text("")
    before = {path: path.read_bytes() for path in here.glob("*.*")}
    result = run(*words.split())
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1), result.output
    assert said in result.output
    assert {path: path.read_bytes() for path in here.glob("*.*")} == before


# With --specs ---------------------------------------------------------------------------------------------------------

WORDS = [
    ("list --specs huber.py", 0, "huber"),
    ("show huber --specs huber.py", 0, "yours:  def my_huber(pred, target, delta=1.0)"),
    ("show huber --specs huber.py", 0, "call:   spec('huber').reference(pred, target, delta=1.0)"),
    ("validate reference --specs huber.py --spec huber --jobs 1", 0, "conforms: 0 failures in 28 verdicts of 28"),
    ("validate mine:right --specs huber.py --jobs 1 --check value", 0, "conforms: 0 failures in 2 verdicts of 2"),
    ("impostors --specs huber.py --spec huber", 0, "4 questions, 0 not rejected"),
    ("golden record huber --specs huber.py --folder golden", 0, "lossref golden review"),
    ("golden check --specs huber.py --spec huber --folder golden", 1, "golden record"),
    ("bench mine:right --specs huber.py --size small --seconds 2", 0, "huber"),
    ("table --specs huber.py --spec huber", 0, "| `huber` | Quadratic near zero, linear beyond delta |"),
    ("show huber", 2, "there is no spec 'huber'"),
    ("show huber.py", 2, "a file that declares specs is given by --specs huber.py"),
    ("list --specs none.py", 2, "there is no Python file"),
    ("list --specs mine.py", 2, "declares no SPEC; write SPEC = Spec(...)"),
    ("validate reference --specs huber.py --specs twin.py", 2, "there is a spec 'huber' in"),
    ("list --specs huber.py --specs ./huber.py", 0, "huber"),
]


@pytest.mark.parametrize(("words", "status", "said"), WORDS, ids=[f"{row[0]}: {row[2][:16]}" for row in WORDS])
def test_commands_know_the_specs_of_a_file(here: Path, words: str, status: int, said: str) -> None:
    (here / "twin.py").write_text((here / "huber.py").read_text())
    result = run(*words.split())
    assert result.exit_code == status, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    assert "huber" not in losses.specs(), "a file is known to its command only"


def test_the_environment_names_files_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(losses.FILES, str(here / "huber.py"))
    assert run("show", "huber").exit_code == 0
    assert losses.origin(losses.spec("huber")) == str(here / "huber.py")
    assert losses.origin(losses.spec("ciou")) == ""


def test_recorded_cases_are_compared(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("--specs", "huber.py", "--folder", "golden")
    assert run("golden", "record", "huber", *given).exit_code == 0
    accepted = run("golden", "accept", "--all", "--why", "the first record", *given)
    assert accepted.exit_code == 0, accepted.output
    assert "1 specs compared with golden, 0 differences" in run("golden", "check", "huber", *given).output


def test_a_saved_case_names_the_file_of_its_spec(here: Path) -> None:
    words = "validate mine:doubled --specs huber.py --check value --dtype float64 --jobs 1 --out out"
    assert run(*words.split()).exit_code == 1
    case = here / "out" / "cases" / "huber-doubled-value-float64.json"
    assert json.loads(case.read_text())["spec_from"] == str(here / "huber.py")
    again = run("replay", str(case))
    assert (again.exit_code, "huber value float64 on mine:doubled: fails" in again.output) == (1, True), again.output
    (here / "huber.py").rename(here / "moved.py")
    gone = run("replay", str(case))
    assert (gone.exit_code, len(gone.output.splitlines())) == (2, 1), gone.output
    assert f"which is gone; say where it is now: lossref replay {case} --specs FILE" in gone.output


def test_a_snippet_of_the_reference_stands_alone(here: Path) -> None:
    from lossref.targets.resolve import reference

    with losses.using(["huber.py"]):
        usage = reference(losses.spec("huber")).usage.replace("{delta!r}", "1.0")
    given = "import torch; pred, target = torch.zeros(1), torch.ones(1)"
    done = subprocess.run(
        [sys.executable, "-c", f"{given}\n{usage}\nprint(out)"], capture_output=True, text=True, cwd="/", check=True
    )
    assert "tensor([0.5000])" in done.stdout


# What a file can get wrong --------------------------------------------------------------------------------------------

BROKEN = {
    "misspelt field": ("summary=", "sumary=", "Spec has no field 'sumary'; did you mean 'summary'?"),
    "misspelt field of a domain": (
        "FAMILIES, row=0",
        "FAMILIES, rows=0",
        "Domain has no field 'rows'; did you mean 'row'?",
    ),
    "missing field": ("oracle=oracle,", "", "Spec needs 'oracle', which is not given"),
    "line of the mistake": ("oracle=oracle,", "", ", line 55, cannot be imported"),
    "name of ours": ('name="huber"', 'name="ciou"', "there is a spec 'ciou' in lossref already; rename yours"),
    "name no identifier": ('name="huber"', 'name="my huber"', "name: expected letters, digits and _"),
    "no source": (
        'cite="Huber 1964, Annals of Mathematical Statistics 35"',
        'cite=""',
        "huber: cite: expected a text, got ''",
    ),
    "one term, no tuple": ('terms=("loss",)', 'terms=("loss")', "terms: expected a tuple, got 'loss'; write ('loss',)"),
    "one law, no tuple": ("laws=(not", "laws=even or (not", "laws: expected a tuple, got even; write (even,)"),
    "unknown given": (
        "FAMILIES, row=0",
        'FAMILIES, row=0, given="prd"',
        "given is 'prd', which is no input; did you mean 'pred'?",
    ),
    "row": ("FAMILIES, row=0", "FAMILIES, row=2", "inputs: pred: row is 2, expected at most the number of axes in 'n'"),
    "families": ("NUMBER_FAMILIES, row", "{}, row", "families: there is none"),
    "wrt": ('wrt=("pred",', 'wrt=("prde",', "wrt: 'prde' is no input; did you mean 'pred'?"),
    "param": ("Param(1.0, (0.5, 2.0), ", "(1.0, ", "params: delta is (1.0,"),
    "others": ("(0.5, 2.0)", "0.5", "params: delta: others: expected a tuple, got 0.5; write (0.5,)"),
    "order of the reference": (
        "def reference(pred: Tensor, target",
        "def reference(target: Tensor, pred",
        "reference: takes target, pred, expected the inputs in their order: pred, target",
    ),
    "reference without the parameter": (
        "Tensor, delta: float = 1.0) -> Tensor",
        "Tensor) -> Tensor",
        "reference: cannot be called with pred, target, delta",
    ),
    "names of the oracle": (
        "oracle(m: Any, pred",
        "oracle(m: Any, x",
        "oracle: cannot be called with m, pred, target, delta by their names",
    ),
    "results of the oracle": ('terms=("loss",)', 'terms=("a", "b", "c")', "returned 2 results, expected 3: a, b, c"),
    "arithmetic of the oracle": (
        "m.abs(x - y)",
        "m.tanh(x - y)",
        "'Tape' object has no attribute 'tanh'; m has stop, cells, exp, log",
    ),
    "no small size": ('"small"', '"bulk "', "sizes: 'small' is missing"),
    "kind of size": ('"bulk"', '"bluk"', "sizes: 'bluk' is no kind of size; did you mean 'bulk'?"),
    "comma of a size": ('({"n": 1},)', '({"n": 1})', "sizes: single: expected a tuple of dicts"),
    "size of an axis": ('{"n": 5}', '{"m": 5}', "sizes: small: {'m': 5} has no size for the axis 'n' of pred (n)"),
    "input of a corner": (", target=[0, 0])", ")", "corners: both parts: the input 'target' is missing"),
    "foreign input of a corner": (
        "pred=[2], target=[2]",
        "pred=[2], targte=[2]",
        "'targte' is no input; did you mean 'target'?",
    ),
    "parameter of a corner": (
        '{"delta": 2.0}',
        '{"dleta": 2.0}',
        "corners: wide: 'dleta' is no parameter; did you mean 'delta'?",
    ),
    "shape of a corner": (
        '"shape", pred',
        "pred",
        "corners: two axes: pred: expected shape (n), got (1, 3); flag it 'shape'",
    ),
    "two impostors": ('impostor("mean"', 'impostor("delta |r|"', "impostors: there are two of the name 'delta |r|'"),
    "illegal family": (
        "row=0)",
        "row=0, legal=lambda x, params: 'too large' if x.max() > 9 else None)",
        "draws what is not legal: too large",
    ),
    "family that raises": (
        "NUMBER_FAMILIES, row",
        "{'odd': lambda *given: 1 / 0}, row",
        "the family 'odd' cannot be drawn: ZeroDivisionError",
    ),
    "syntax": ("SPEC = Spec(", "SPEC = = Spec(", "cannot be imported: SyntaxError: invalid syntax"),
    "exit": ("SPEC = Spec(", "raise SystemExit('no licence')\nSPEC = Spec(", "SystemExit: no licence"),
    "no SPEC": ("SPEC = ", "HUBER = ", "declares no SPEC; call HUBER SPEC"),
    "a class": (
        "SPEC = Spec(",
        "SPEC = Spec\nHUBER = Spec(",
        "holds the class Spec, expected a Spec or a list of them",
    ),
    "nothing": ("SPEC = ", "SPEC = []\nHUBER = ", "is empty, expected a Spec or a list of them"),
}


@pytest.mark.parametrize(("old", "new", "said"), BROKEN.values(), ids=list(BROKEN))
def test_one_sentence_says_what_is_wrong(tmp_path: Path, generated: str, old: str, new: str, said: str) -> None:
    assert old in generated
    (tmp_path / "huber.py").write_text(generated.replace(old, new, 1))
    with pytest.raises(SpecsError) as caught:
        losses.read(tmp_path / "huber.py")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", list(losses.own()))
def test_our_own_specs_are_sound(name: str) -> None:
    assert first_fault(losses.own()[name]) is None
    assert refused(losses.own()[name]) is None


def test_a_file_may_ask_for_our_specs_while_it_is_read(tmp_path: Path, generated: str) -> None:
    (tmp_path / "huber.py").write_text(f"{generated}\nfrom lossref.losses import specs\nassert 'ciou' in specs()\n")
    with losses.using([tmp_path / "huber.py"]):
        assert {"ciou", "huber"} <= set(losses.specs())


def test_a_reference_that_fails_and_an_impostor_that_passes_are_told(tmp_path: Path, generated: str) -> None:
    (tmp_path / "huber.py").write_text(generated)
    (spec,) = losses.read(tmp_path / "huber.py")
    right = replace(spec.impostors[0], build=lambda **params: functools.partial(spec.reference, **params))
    assert "the impostor 'delta |r|' passes value: no case" in accepted(replace(spec, impostors=(right,)))[0]
    wrong = replace(spec, reference=lambda pred, target, delta: spec.reference(pred, target, 2 * delta), sizes={})
    assert any(said.startswith("huber: value float64: fail: ") for said in failures(replace(wrong, sizes=spec.sizes)))


# Entry points ---------------------------------------------------------------------------------------------------------


def install(folder: Path, value: str, source: str) -> None:
    """A package in `folder` whose entry point is `value`, and the module `plugin` that it names."""
    (folder / "plugin.py").write_text(source)
    info = folder / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[lossref.specs]\nhuber = {value}\n")


GOOD = [("plugin", ""), ("plugin:SPEC", ""), ("plugin:ALL", "\nALL = [SPEC]\n"), ("plugin", "\nSPEC = (SPEC,)\n")]


@pytest.mark.parametrize(("value", "more"), GOOD, ids=["module", "Spec", "list", "module with a tuple"])
def test_an_entry_point_adds_specs(here: Path, generated: str, value: str, more: str) -> None:
    install(here, value, generated + more)
    assert losses.catalogue().warnings == ()
    assert losses.doc(losses.spec("huber")).startswith("huber: quadratic")
    assert losses.origin(losses.spec("huber")) == f"the entry point huber = {value!r} of theirs"


def test_spawned_workers_find_an_entry_point(here: Path, generated: str) -> None:
    install(here, "plugin", generated)
    words = ["validate", "reference", "--spec", "huber", "--check", "value", "--jobs", "1"]
    done = subprocess.run([sys.executable, "-m", "lossref", *words], capture_output=True, text=True, check=False)
    assert "conforms: 0 failures in 2 verdicts of 2" in done.stdout, done.stdout + done.stderr


BAD = {
    "raises": ("plugin", "1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero"),
    "is not there": ("absent", "", "cannot be imported: ModuleNotFoundError: No module named 'absent'"),
    "has no such name": ("plugin:NONE", "x = 1\n", "cannot be imported: AttributeError"),
    "names no spec": ("plugin:x", "x = 1\n", "holds an object of type int, expected a Spec"),
    "declares none": ("plugin", "x = 1\n", "declares no SPEC"),
    "takes a name of ours": ("plugin", 'name="ciou"', "there is a spec 'ciou' in lossref already; rename yours"),
    "is not sound": ("plugin", 'name="not sound"', "name: expected letters, digits and _"),
}


@pytest.mark.parametrize(("value", "source", "said"), BAD.values(), ids=list(BAD))
def test_a_broken_plugin_is_one_line_of_warning(here: Path, generated: str, value: str, source: str, said: str) -> None:
    install(here, value, generated.replace('name="huber"', source) if source.startswith("name=") else source)
    result = run("show", "ciou")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("lossref: warning: ")]
    assert said in line
    assert "of theirs" in line
    assert set(losses.specs()) == set(losses.own())


def test_a_file_goes_before_an_entry_point(here: Path, generated: str) -> None:
    install(here, "plugin", generated)
    with losses.using(["huber.py"]):
        assert losses.origin(losses.spec("huber")) == str(here / "huber.py")
        assert "there is a spec 'huber' in" in losses.catalogue().warnings[0]
    with losses.using(["plugin.py"]):
        assert losses.catalogue().warnings == (), "the same file is no clash"


# README and public names ----------------------------------------------------------------------------------------------


def test_the_table_of_a_readme_is_put_between_its_marks(here: Path) -> None:
    readme = here / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert run("table", "README.md", "--specs", "huber.py", "--spec", "huber").exit_code == 0
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n\n| spec |")
    assert text.endswith(f"\n\n{END}\nafter\n")
    assert text.count("\n| `") == 1
    run("table", "README.md", "--specs", "huber.py")
    assert losses.markdown() in readme.read_text(), "without --spec it holds lossref's own"
    readme.write_text("no marks\n")
    result = run("table", "README.md")
    assert (result.exit_code, readme.read_text()) == (2, "no marks\n")
    assert f"write two lines where it belongs: {BEGIN} and {END}" in result.output


def not_importable(api: str) -> str:
    """The name in a call such as "v8PoseLoss(model).loss(preds, batch)" that lossref lacks; empty: it has all."""
    while "(" in api:
        shorter = re.sub(r"\([^()]*\)", "", api)
        assert shorter != api, f"{api}: parentheses do not match"
        api = shorter
    thing: Any = lossref
    for name in api.split("."):
        if not hasattr(thing, name):
            return name
        thing = getattr(thing, name)
    return ""


CALLED = [name for name, spec in losses.own().items() if spec.api]


@pytest.mark.parametrize("name", CALLED)
def test_what_a_spec_declares_public_can_be_imported(name: str) -> None:
    assert not_importable(losses.own()[name].api) == ""


PLANTED = [
    ("v9DetectionLoss(model)(preds, batch)", "v9DetectionLoss"),
    ("v8PoseLoss.decode(anchor_points, pred_kpts)", "decode"),
    ("PoseLoss26(model, f(x)).rle_loss(pred_kpt)", "rle_loss"),
    ("bbox_iou(box1, box2, xywh=True)", ""),
]


@pytest.mark.parametrize(("api", "lacking"), PLANTED, ids=[row[0] for row in PLANTED])
def test_a_planted_name_is_seen(api: str, lacking: str) -> None:
    assert not_importable(api) == lacking
