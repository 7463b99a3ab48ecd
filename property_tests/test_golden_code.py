"""The answer cache takes a recorded answer only where its formula is what it was: what that is, and how it is noted."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from typer.testing import CliRunner

import lossref
from lossref import losses
from lossref.cli import app
from lossref.cli.recorded import tell_stale
from lossref.core.nouns import Case, Spec
from lossref.losses import spec as find
from lossref.oracle.answers import evaluate
from lossref.oracle.tape import Tie
from lossref.run.golden import recording
from lossref.run.golden.changes import code, deciding, pending, proposing, refreshing
from lossref.run.golden.changes.reached import Place, Sources, digest, reached
from lossref.run.golden.changes.reached import said as words
from lossref.run.golden.files.folder import manifest_in
from lossref.run.golden.files.manifest import manifest_bytes
from lossref.run.golden.files.packing import digests, narrow
from lossref.run.golden.files.volume import Volume

ROOT = Path(lossref.__file__).parent
COMPOSITES = [name for name, one in losses.own().items() if one.composite]
DETECTION = "lossref.losses.detection.v8_detection"
MADE = "__create_fn__"  # what a dataclass makes of its fields
MOST = 4  # corners of a spec that are traced


# Which code counts ----------------------------------------------------------------------------------------


def module_of(spec: Spec) -> str:
    return code.module_of(spec)


def traced(spec: Spec, cases: list[Case]) -> set[Place]:
    """The definitions at the top level of a file of lossref that ran while the oracle answered."""
    found = set[Place]()

    def hook(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            found.add((frame.f_globals["__name__"], frame.f_code.co_qualname.partition(".")[0]))

    sys.setprofile(hook)
    try:
        for case in cases:
            try:
                evaluate(spec, case, 128, "raise")
            except Tie:
                continue
    finally:
        sys.setprofile(None)
    return {
        place for place in found if place[0].startswith("lossref.") and place[1].isidentifier() and place[1] != MADE
    }


@pytest.mark.parametrize("name", COMPOSITES)
def test_whatever_runs_while_the_oracle_answers_counts(name: str) -> None:
    spec = find(name)
    smallest = sorted(spec.corners, key=lambda case: sum(x.size for x in case.inputs.values()))[:MOST]
    cases = [replace(case, params={**spec.defaults(), **case.params}) for case in smallest]
    found = reached(code.sources(), code.roots(code.sources(), module_of(spec)))
    ran = traced(spec, cases) - {("lossref.oracle.answers", "evaluate")}
    assert len(ran) > 10
    assert not ran - found


Edit = tuple[str, str, str]  # a file, a text in it, and what stands there instead
SAME: dict[str, Edit] = {
    "a comment": ("losses/detection/oracle.py", "\ndef oracle_norm", "\n# a comment\ndef oracle_norm"),
    "a docstring": ("oracle/numbers.py", '"""Whether a < b."""', '"""In other words."""'),
    "an annotation": ("losses/classification/bce.py", "def oracle_bce(", "def oracle_bce(  # type: ignore\n    "),
    "another function": ("losses/classification/bce.py", "\ndef ", "\ndef mine() -> int:\n    return 1\n\n\ndef "),
    "the reference": ("losses/detection/v8_detection.py", "    reference=", "    reference=None and "),
    "the corners": ("losses/detection/v8_detection.py", "    corners=", "    corners=() and "),
    "another oracle": ("losses/masks/dice.py", "def oracle_channel", "def oracle_mine"),
    "a check": ("checks/numbers.py", "\ndef ", "\nMINE = 1\n\n\ndef "),
}
OTHER: dict[str, Edit] = {
    "a constant of the formula": ("losses/overlap/ciou.py", "EPS = 1e-7", "EPS = 2e-7"),
    "an operation of the tape": ("oracle/numbers.py", "self.value - other.value", "self.value + other.value"),
    "the upstream gradient": ("oracle/answers.py", "np.arange(count) % 3 == 1", "np.arange(count) % 3 == 2"),
    "the declared oracle": (
        "losses/detection/v8_detection.py",
        "    oracle=oracle",
        "    oracle=(oracle, 1)[0]",
    ),
    "an effect on a module": (
        "losses/overlap/ciou.py",
        "\n\ndef oracle(",
        '\nglobals()["EPS"] = 2\n\n\ndef oracle(',
    ),
    "a name that is bound twice": ("losses/overlap/ciou.py", "\n\ndef oracle(", "\nEPS = 2e-7\n\n\ndef oracle("),
    "another function of that name": (
        "losses/detection/oracle.py",
        "\n\ndef oracle_norm",
        "\nfrom lossref.losses.overlap.pairs import oracle_sides as oracle_ciou\n\n\ndef oracle_norm",
    ),
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, which is read and not run."""
    place = tmp_path_factory.mktemp("copy") / "lossref"
    return Path(shutil.copytree(ROOT, place, ignore=shutil.ignore_patterns("*.pyc", "spec")))


def _of(root: Path) -> str:
    return code._of_oracle(Sources(root), DETECTION)


@pytest.mark.parametrize("what", [*SAME, *OTHER])
def test_a_digest_changes_with_the_formula_and_with_nothing_else(what: str, copied: Path) -> None:
    name, old, new = {**SAME, **OTHER}[what]
    text = (copied / name).read_text()
    assert old in text
    before = _of(copied)
    try:
        (copied / name).write_text(text.replace(old, new, 1))
        assert (_of(copied) == before) == (what in SAME)
    finally:
        (copied / name).write_text(text)


def test_a_name_of_a_function_is_no_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "from lossref import b\n"
        "def state(): return unseen()\n"
        "def unseen(): return 1\n"
        "def oracle(state, x=b.default): return [b.f(state) for y in x if limit] + [g() for g in b.table]\n"
        "limit = 3\n"
    )
    (tmp_path / "b.py").write_text("default = 1\ntable = (default,)\ndef f(x): return x\ndef g(x): return x\n")
    found = reached(Sources(tmp_path), [("lossref.a", "oracle")])
    ours, others = ("oracle", "limit"), ("default", "f", "table")
    assert found == {*(("lossref.a", name) for name in ours), *(("lossref.b", name) for name in others)}


def test_a_module_that_makes_its_names_as_it_is_asked_counts_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from lossref.b import made\ndef oracle(): return made()\n")
    (tmp_path / "b.py").write_text("def __getattr__(name): return other\ndef other(): return 1\n")
    these = Sources(tmp_path)
    before = digest(these, [("lossref.a", "oracle")])
    (tmp_path / "b.py").write_text("def __getattr__(name): return other\ndef other(): return 2\n")
    assert digest(Sources(tmp_path), [("lossref.a", "oracle")]) != before


def test_trees_are_told_apart_by_what_they_do() -> None:
    trees = [
        "x + 1",
        "x + 1.0",
        "1 + x",
        "x - 1",
        "x + 1j",
        "x + True",
        "f(x, y=1)",
        "f(x, z=1)",
        "f(x)",
        "[x]",
        "(x,)",
    ]
    assert len({words(ast.parse(one)) for one in trees}) == len(trees)
    annotated, bare = "def f(x: int) -> int:\n    'a'\n    return x", "def f(x): # b\n  return x"
    assert words(ast.parse(annotated)) == words(ast.parse(bare))


# Noting it ------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, Volume]:
    """A record of one case of a composite, computed by other code."""
    spec = find("task_aligned")
    corner = replace(spec.corners[0], params={**spec.defaults(), **spec.corners[0].params})
    held = Volume(spec.name, (recording.certified(spec, corner),))
    left = proposing.proposed(tmp_path, [spec], lambda spec, known: held)
    deciding.accepted(tmp_path, left, left.open, "the first record", [spec])
    assert not refreshing.stale(tmp_path, [spec])
    _by_other_code(tmp_path)
    assert refreshing.stale(tmp_path, [spec]) == (spec,)
    return tmp_path, held


def _by_other_code(folder: Path) -> None:
    listed = manifest_in(folder)
    files = tuple(replace(one, code="0" * 64 if one.code else "") for one in listed.files)
    (folder / "MANIFEST.json").write_bytes(manifest_bytes(replace(listed, files=files)))


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["golden", *words, "-j", "1"])
    return result.exit_code, result.output


def contents(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


def test_an_answer_that_other_code_gives_too_is_proved_and_noted(
    old: tuple[Path, Volume], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = old
    before = contents(folder)
    tell_stale(folder, [find("task_aligned")])
    assert (
        f"task_aligned: other code computed them. lossref golden refresh --folder {folder}" in capsys.readouterr().out
    )
    told = f"golden: 1 spec computed anew, to the bit what {folder} has: runs take its answers again\n"
    assert run("refresh", "task_aligned", "--folder", str(folder)) == (0, told)
    after = contents(folder)
    assert [name for name in before if before[name] != after[name]] == ["MANIFEST.json"]
    assert set(before) == set(after)
    assert manifest_in(folder).file("task_aligned.json").code == code.code_of_answers(find("task_aligned"))  # type: ignore[union-attr]
    tell_stale(folder, [find("task_aligned")])
    assert capsys.readouterr().out == ""


def test_recording_says_how_it_is_noted(old: tuple[Path, Volume], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, held = old
    monkeypatch.setattr(recording, "compute", lambda spec, known: held)  # its strides are a tuple, in JSON a list
    status, text = run("record", "task_aligned", "--folder", str(folder))
    assert status == 0
    assert "nothing would change" in text
    assert "no run takes recorded answers of task_aligned" in text
    assert not pending.exists(folder)


def _moved(folder: Path, held: Volume) -> None:
    """The record with another answer than the oracle's, accepted although they disagree."""
    one = held.cases[0]
    name = next(name for name in one.tensors if name.startswith("value/"))
    tensors = {**one.tensors, name: narrow(one.tensors[name].astype(float) + 1)}
    other = replace(one, tensors=tensors, entry=replace(one.entry, digests=digests(tensors)))
    spec = find("task_aligned")
    left = proposing.proposed(folder, [spec], lambda spec, known: Volume(spec.name, (other,)))
    deciding.accepted(folder, left, left.open, "on purpose", [spec], even_if_they_disagree=True)
    _by_other_code(folder)


def _waits(folder: Path, held: Volume) -> None:
    spec = find("task_aligned")
    other = replace(held.cases[0], entry=replace(held.cases[0].entry, why="in other words"))
    proposing.proposed(folder, [spec], lambda spec, known: Volume(spec.name, (other,)))


def _nothing(folder: Path, held: Volume) -> None:
    pass


REFUSED: dict[str, tuple[Callable[[Path, Volume], None], dict[str, str], int, str]] = {
    "an answer that moved": (_moved, {}, 1, "the answers of 1 spec have moved: lossref golden record"),
    "changes that wait": (_waits, {}, 2, "decide them first with `lossref golden review`"),
    "CI": (_nothing, {"CI": "true"}, 2, "a job of CI records and accepts nothing"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_proved_is_not_noted(kind: str, old: tuple[Path, Volume], monkeypatch: pytest.MonkeyPatch) -> None:
    happens, variables, status, sentence = REFUSED[kind]
    happens(*old)
    before = contents(old[0])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = run("refresh", "task_aligned", "--folder", str(old[0]))
    assert found[0] == status, found
    assert sentence in found[1]
    assert contents(old[0]) == before
