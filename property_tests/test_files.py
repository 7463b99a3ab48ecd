"""Files that were written by a run and changed since: each fault is one sentence that names the file and the field."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lossref.checks.evidence import Evidence
from lossref.cli import app
from lossref.core.nouns import Case, Verdict
from lossref.hosts.process import Lodging
from lossref.losses import spec
from lossref.run.saved import SavedCase, SavedCaseError, load, save
from lossref.targets.resolve import reference

FOCAL = spec("focal")
SMALL = {"pred": np.array([[0.5, -1.0]]), "label": np.array([[1.0, 0.0]])}
LARGE = {"pred": np.full((2, 15_000), 0.5), "label": np.full((2, 15_000), 1.0)}
GONE = object()
DEEP = "[" * 100_000 + "]" * 100_000


def written(path: Path, inputs: dict[str, Any] = SMALL) -> Path:
    """A saved case as a run leaves it."""
    case = Case("focal", inputs, FOCAL.defaults())
    save(path, FOCAL, SavedCase(case, "value", "float64", "reference"), reference(FOCAL), Evidence(1), why="drawn")
    return path


def said(*words: str | Path) -> str:
    """The one sentence of a command that goes wrong."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2, result.output
    assert result.output.count("\n") == 1, result.output
    assert len(result.output) < 1500
    assert "Traceback" not in result.output
    return result.output


# A saved case ---------------------------------------------------------------------------------------------

MUTATIONS: list[tuple[str, Any, str]] = [
    *((name, GONE, f"'{name}' is a required property") for name in (
        "schema", "why", "spec", "check", "dtype", "target", "as", "params", "inputs", "flags", "id", "problem",
        "detail",
    )),
    *((name, 7, f"{name}: 7 is not of type") for name in (
        "why", "spec", "check", "target", "as", "params", "inputs", "flags", "id", "problem", "detail", "where",
        "label", "spec_from", "snippet",
    )),
    ("schema", 2, "schema: 1 was expected"),
    ("schema", None, "schema: 1 was expected"),
    ("spec", "iuo", "there is no spec 'iuo'"),
    ("spec", "iou", "inputs: expected box1, box2"),
    ("check", "valeu", "there is no check 'valeu'"),
    ("check", "*", r"there is no check '\*'"),
    ("check", "v\x1b[2Jalue", r"there is no check 'v\\x1b\[2Jalue'"),
    ("dtype", "float8", "dtype: 'float8' is not one of"),
    ("dtype", "bfloat16", "dtype: expected float64 or float32"),
    ("target", "", "target: '' "),
    ("target", "gone.py:f", "one.json: target: there is no file gone.py"),
    ("flags", ["a", 1], r"flags\[1\]: 1 is not of type 'string'"),
    ("params.gamma", [[[[1]]]], r"params.gamma\[0\]\[0\]\[0\]: \[1\] is not"),
    ("params.gamma", "much", "params.gamma: expected a number"),
    ("params.gamma", None, "params.gamma: expected a number"),
    ("params.surprise", 1, "params: expected gamma, alpha"),
    ("lodging", 7, "lodging: 7 is not of type 'object'"),
    ("lodging.python", 7, "lodging.python: 7 is not of type 'string'"),
    ("lodging.timeout", 0, "lodging.timeout: 0 is less than or equal to"),
    ("lodging.timeout", "long", "lodging.timeout: 'long' is not of type 'number'"),
    ("lodging.memory", -1, "lodging.memory: -1 is less than"),
    ("lodging.tf32", None, "lodging.tf32: None is not of type 'boolean'"),
    ("lodging.shell", "sh", "lodging: .*'shell' was unexpected"),
    ("lodging.python", "/bin/sh", "names code outside of .*: the Python /bin/sh; if you trust it: --trust"),
    ("lodging.command", "rm x", "names code outside of .*: the command 'rm x'; if you trust it: --trust"),
    ("detail.index", "all", "detail.index: 'all' is not of type 'array'"),
    ("inputs", {}, "inputs: {} "),
    ("inputs.pred", GONE, "inputs: expected pred, label"),
    ("inputs.more", {"shape": [], "values": 1.0}, "inputs: expected pred, label"),
    ("inputs.pred", [1.0], r"inputs.pred: \[1.0\] is not of type 'object'"),
    ("inputs.pred.shape", GONE, "inputs.pred: 'shape' is a required property"),
    ("inputs.pred.values", GONE, "inputs.pred: 'values' is a required property"),
    ("inputs.pred.shape", [1, -2], r"inputs.pred.shape\[1\]: -2 is less than"),
    ("inputs.pred.shape", [1, 1.5], r"inputs.pred.shape\[1\]: 1.5 is not of type 'integer'"),
    ("inputs.pred.shape", [10**18, 2], r"inputs.pred.shape\[0\]: 10{18} is greater"),
    ("inputs.pred.shape", [2, 1], "inputs.pred.values: expected a list of 2"),
    ("inputs.pred.shape", [], "inputs.pred.values: .* is no number"),
    ("inputs.pred.shape", [1] * 40, r"inputs.pred.shape: \[1"),
    ("inputs.pred.values", [[0.5]], "inputs.pred.values: expected a list of 2 as its shape says, got a list of 1"),
    ("inputs.pred.values", [[0.5, [1.0]]], r"inputs.pred.values: \[1.0\] is no number"),
    ("inputs.pred.values", [[0.5, "much"]], "inputs.pred.values: 'much' is no number"),
    ("inputs.pred.values", [[0.5, None]], "inputs.pred.values: None is no number"),
    ("inputs.pred.values", [[0.5, True]], "inputs.pred.values: True is no number"),
    ("inputs.pred.values", [[0.5, 10**400]], "inputs.pred.values: 10+ is no number"),
    ("inputs.pred.values", [[0.5, math.nan]], "NaN is no JSON"),
    ("inputs.pred.values", [[0.5, math.inf]], "Infinity is no JSON"),
    ("inputs.pred", {"shape": [3, 1], "values": [[1.0]] * 3}, "expected equal shapes"),
    ("inputs.file beside", "../../etc/passwd.npz", r"inputs.file beside: '\.\./\.\./etc/passwd.npz' does not"),
    ("inputs.file beside", "/etc/passwd", "inputs.file beside: '/etc/passwd' does not match"),
    ("inputs.file beside", "..", "inputs.file beside: '..' does not match"),
    ("inputs.file beside", "gone.npz", "file beside it, gone.npz, cannot be read"),
    ("inputs.file beside", 1, "inputs.file beside: 1 is not of type 'string'"),
]  # fmt: skip


def changed(content: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    *path, last = place.split(".")
    inner = content
    for name in path:
        inner = inner[name]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return content


def named(rows: list[tuple[str, Any, str]]) -> list[str]:
    return [f"{place} {'gone' if value is GONE else ascii(value)[:30]}" for place, value, _ in rows]


@pytest.mark.parametrize(("place", "value", "expected"), MUTATIONS, ids=named(MUTATIONS))
def test_a_changed_case_is_one_sentence(tmp_path: Path, place: str, value: Any, expected: str) -> None:
    path = written(tmp_path / "one.json")
    path.write_text(json.dumps(changed(json.loads(path.read_text()), place, value)))
    sentence = said("replay", path)
    assert str(path) in sentence
    assert re.search(expected, sentence), sentence


TEXTS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "empty": (lambda text: b"", "it is no JSON"),
    "blank": (lambda text: b"\n\n", "it is no JSON"),
    "truncated": (lambda text: text[:200].encode(), "it is no JSON"),
    "a byte order mark": (lambda text: b"\xef\xbb\xbf" + text.encode(), "it is no JSON: Unexpected UTF-8 BOM"),
    "UTF-16": (lambda text: text.encode("utf-16"), "it is no JSON: 'utf-8' codec"),
    "not text": (lambda text: b"\x00\xff\xfe", "it is no JSON"),
    "a list": (lambda text: f"[{text}]".encode(), "is not of type 'object'"),
    "null": (lambda text: b"null", "None is not of type 'object'"),
    "two objects": (lambda text: (text + text).encode(), "it is no JSON: Extra data"),
    "a key twice": (lambda text: text.replace('"id"', '"why"').encode(), "why: it stands there twice"),
    "deep": (lambda text: DEEP.encode(), "nested too deeply"),
    "a deep field": (lambda text: text.replace('"inputs": {', f'"x": {DEEP}, "inputs": {{').encode(), "too deeply"),
    "half deep": (lambda text: text.replace('"gamma": 1.5', f'"gamma": {DEEP[99_600:100_400]}').encode(), "gamma"),
    "5000 digits": (lambda text: text.replace("1.5", "1" * 5000).encode(), "it is no JSON: Exceeds the limit"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_no_case_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "one.json")
    make, expected = TEXTS[name]
    path.write_bytes(make(path.read_text()))
    sentence = said("replay", path)
    assert f"{path} is not a saved case" in sentence
    assert expected in sentence


def test_a_folder_is_no_case(tmp_path: Path) -> None:
    assert f"{tmp_path} is not a saved case: " in said("replay", tmp_path)


def _object_arrays(path: Path) -> None:
    np.savez(path, **{name: np.array([{}, None], dtype=object) for name in SMALL}, allow_pickle=True)


BESIDE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "No such file"),
    "empty": (lambda path: path.write_bytes(b""), "zip"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-30]), "zip"),
    "damaged": (lambda path: path.write_bytes(path.read_bytes().translate(bytes([0, 9, *range(2, 256)]))), ""),
    "no archive": (lambda path: path.write_text("hello"), "zip"),
    "pickled objects": (_object_arrays, "allow_pickle=False"),
    "words": (lambda path: np.savez(path, pred=np.array(["a"])), "pred is no array of real numbers"),
    "complex": (lambda path: np.savez(path, pred=np.array([1j])), "pred is no array of real numbers"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "directory"),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_a_damaged_file_beside_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "one.json", LARGE)
    damage, expected = BESIDE[name]
    damage(path.with_suffix(".npz"))
    sentence = said("replay", path)
    assert f"{path} is not a saved case: inputs: the file beside it, one.npz, cannot be read: " in sentence
    assert expected in sentence


def test_arrays_of_other_names_beside_are_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path / "one.json", LARGE)
    np.savez(path.with_suffix(".npz"), box1=LARGE["pred"])
    assert "inputs: expected pred, label" in said("replay", path)


def test_what_is_as_it_was_is_read(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["replay", str(written(tmp_path / "one.json"))]).exit_code == 0
    assert load(written(tmp_path / "two.json", LARGE)).case.inputs["pred"].shape == (2, 15_000)


# What a case names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "asks"),
    [
        ("reference", False), ("torch", False), ("lossref.losses.focal:focal", False), ("mine.py", False),
        ("mine", False), ("mine:f", False), ("./sub/../mine.py", False),
        ("../other.py", True), ("{out}/other.py", True), ("json", True), ("os:system", True), ("sys:exit", True),
        ("builtins:exec", True), ("torch.nn", True), ("__main__:f", True), ("link.py", True),
    ],
)  # fmt: skip
def test_code_from_elsewhere_wants_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, asks: bool
) -> None:
    from lossref.run.saved.replay import _outside

    here, out = tmp_path / "here", tmp_path / "out"
    (here / "sub").mkdir(parents=True)
    out.mkdir()
    for file in (here / "mine.py", out / "other.py", tmp_path / "other.py"):
        file.write_text("raise SystemExit('imported')\n")
    (here / "link.py").symlink_to(out / "other.py")
    monkeypatch.chdir(here)
    saved = SavedCase(Case("focal", SMALL), "value", "float64", word.format(out=out))
    assert bool(list(_outside(saved, []))) is asks
    assert not list(_outside(SavedCase(saved.case, "value", "float64", "reference"), [str(here / "specs.py")]))
    assert list(_outside(SavedCase(saved.case, "value", "float64", "reference"), [str(out / "specs.py")]))


PYTHONS = {
    "": False,
    sys.executable: False,
    "venv/bin/python": False,
    "./venv/bin/python": False,
    "{here}/venv/bin/python": False,
    "python3": True,
    "/usr/bin/python3": True,
    "../venv/bin/python": True,
    "venv/../../python": True,
}


@pytest.mark.parametrize("python", PYTHONS)
def test_a_program_from_elsewhere_wants_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str) -> None:
    """So does any command; not what the caller names."""
    from lossref.run.saved.replay import _outside

    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    monkeypatch.chdir(tmp_path)
    lodging = Lodging(python.format(here=tmp_path))
    saved = SavedCase(Case("focal", SMALL), "value", "float64", "reference", lodging=lodging)
    assert bool(list(_outside(saved, []))) is PYTHONS[python]
    assert list(_outside(replace(saved, lodging=replace(lodging, command="venv/bin/python peer.py")), []))
    assert not list(_outside(saved, [], elsewhere=True))


def test_how_a_target_was_kept_is_in_its_file(tmp_path: Path) -> None:
    lodging = Lodging("venv/bin/python", "", "cpu", 3.5, 2**30, 1, True)
    case = Case("focal", SMALL, FOCAL.defaults())
    kept = SavedCase(case, "value", "float64", "torch", lodging=lodging)
    save(tmp_path / "one.json", FOCAL, kept, reference(FOCAL), Evidence(1), why="drawn")
    assert load(tmp_path / "one.json").lodging == lodging
    content = json.loads((tmp_path / "one.json").read_text())
    del content["lodging"]  # of a release before
    (tmp_path / "one.json").write_text(json.dumps(content))
    assert load(tmp_path / "one.json").lodging == Lodging()


def test_trust_is_asked_before_anything_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, specs = tmp_path / "here", tmp_path / "specs.py"
    here.mkdir()
    specs.write_text(f"open({str(tmp_path / 'was here')!r}, 'w')\n")
    path = written(here / "one.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "spec": "theirs", "spec_from": str(specs)}))
    monkeypatch.chdir(here)
    sentence = said("replay", "one.json")
    assert f"one.json names code outside of {here}: {specs}; if you trust it: --trust" in sentence
    assert not (tmp_path / "was here").exists()
    assert "declares no SPEC" in said("replay", "one.json", "--trust") or (tmp_path / "was here").exists()


# A run ----------------------------------------------------------------------------------------------------

PASS = asdict(Verdict("iou", "mine", "value", "float64", "pass", 12, 0.25))
RUN = {
    "target": "mine", "version": "1.2", "command": "lossref validate mine", "seed": 7, "tier": "quick",
    "started": "2025-01-31T14:02:11+00:00", "seconds": 3.5, "planned": 1, "python": "3.11", "torch": "2.5",
    "lossref": "0.1", "platform": "Linux", "threads": 2, "notes": [], "families": {"iou": {"pred=far": 3}},
}  # fmt: skip
VERDICTS: list[tuple[str, Any, str]] = [
    *((name, GONE, f"'{name}' is a required property") for name in ("spec", "target", "check", "dtype", "status")),
    *((name, [], rf"{name}: \[\] is not of type") for name in PASS if name != "failures"),
    ("failures", {}, r"failures: \{\} is not of type 'array'"),
    ("failures", [{"kind": "value"}], r"failures\[0\]: 'problem' is a required property"),
    ("worst", math.nan, "NaN is no JSON"),
    ("worst", -1, "worst: -1 is less than the minimum"),
    ("worst", "1", "worst: '1' is not of type 'number'"),
    ("examined", -1, "examined: -1 is less"),
    ("examined", 10**30, "examined: 10+ is greater"),
    ("worst", 10**400, "too large|int too"),
    ("seconds", math.inf, "seconds: inf is greater"),
    ("case", "../../x.json", r"case: '\.\./\.\./x.json' does not match"),
    ("case", "/etc/passwd", "case: '/etc/passwd' does not match"),
    ("surprise", 1, "'surprise' was unexpected"),
]
RUNS: list[tuple[str, Any, str]] = [
    *((name, GONE, f"'{name}' is a required property") for name in RUN),
    *((name, {} if name != "families" else [], f"{name}: .* is not of type") for name in RUN),
    ("families.iou", 3, "families.iou: 3 is not of type 'object'"),
    ("families.iou", {"a": "b"}, "families.iou.a: 'b' is not of type 'integer'"),
    ("notes", [1], r"notes\[0\]: 1 is not of type 'string'"),
    ("seconds", math.nan, "NaN is no JSON"),
    ("planned", 10**30, "planned: 10+ is greater"),
]


def folder(place: Path, verdict: str, run: str) -> Path:
    (place / "cases").mkdir(parents=True)
    (place / "verdicts.jsonl").write_text(verdict + "\n")
    (place / "run.json").write_text(run)
    return place


@pytest.mark.parametrize(("name", "value", "expected"), VERDICTS, ids=named(VERDICTS))
def test_a_changed_verdict_is_one_sentence(tmp_path: Path, name: str, value: Any, expected: str) -> None:
    place = folder(tmp_path / "run", json.dumps(changed(dict(PASS), name, value)), json.dumps(RUN))
    sentence = said("report", place)
    assert f"line 1 of {place / 'verdicts.jsonl'} is not a verdict" in sentence
    assert re.search(expected, sentence), sentence


@pytest.mark.parametrize(("name", "value", "expected"), RUNS, ids=named(RUNS))
def test_a_changed_run_is_one_sentence(tmp_path: Path, name: str, value: Any, expected: str) -> None:
    content = changed(json.loads(json.dumps(RUN)), name, value)
    place = folder(tmp_path / "run", json.dumps(PASS), json.dumps(content))
    sentence = said("report", place)
    assert f"{place / 'run.json'} is broken" in sentence
    assert re.search(expected, sentence), sentence


@pytest.mark.parametrize("file", ["verdicts.jsonl", "run.json"])
@pytest.mark.parametrize("name", [name for name in TEXTS if name not in ("half deep", "5000 digits", "two objects")])
def test_a_text_that_is_no_run_is_one_sentence(tmp_path: Path, file: str, name: str) -> None:
    place = folder(tmp_path / "run", json.dumps(PASS), json.dumps({"id": 1, **RUN}))
    path = place / file
    text = path.read_text() if name != "a key twice" else '{"id": 1, "why": 2}\n'
    path.write_bytes(TEXTS[name][0](text.replace('"target"', '"inputs": {}, "target"')) + b"\n")
    assert str(path) in said("report", place)


CASES = {"deep": DEEP, "ragged": '{"inputs": {"x": {"shape": [2], "values": [[1], [[2, 3]]]}}}',
         "no values": '{"inputs": {"x": {}}}', "detail without numbers": '{"detail": {"what": "loss"}}',
         "a key twice": '{"id": "", "id": ""}', "a list": "[]"}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_case_costs_the_page_nothing_else(tmp_path: Path, name: str) -> None:
    fail = {**PASS, "status": "fail", "note": "wrong", "case": "cases/x.json"}
    place = folder(tmp_path / "run", json.dumps(fail), json.dumps(RUN))
    (place / "cases" / "x.json").write_text(CASES[name])
    assert CliRunner().invoke(app, ["report", str(place)]).exit_code == 1
    assert "wrong" in (place / "index.html").read_text()


def test_a_case_of_a_run_is_no_path_out_of_it(tmp_path: Path) -> None:
    path = written(tmp_path / "one.json", LARGE)
    path.write_text(path.read_text().replace("one.npz", "../one.npz"))
    with pytest.raises(SavedCaseError, match="does not match"):
        load(path)
