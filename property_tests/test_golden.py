"""The record notices what it is there to notice: files that were changed, and answers that moved."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flint import arb
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import lossref
from lossref import losses
from lossref.cli import app
from lossref.core.nouns import Domain, Spec
from lossref.losses import spec
from lossref.oracle.tape import Number
from lossref.run.golden import recorded
from lossref.run.golden.checking import check
from lossref.run.golden.corpus.flags import FLAGS
from lossref.run.golden.errors import Error, grown, merged, read, text_of
from lossref.run.golden.files.folder import folder_faults, general_faults
from lossref.run.golden.files.least import LEAST
from lossref.run.golden.files.manifest import NAME, manifest_bytes, manifest_of
from lossref.run.golden.files.packing import budgets, codes, narrow
from lossref.run.golden.files.schema import mismatches, schema_bytes
from lossref.run.golden.files.strict import parsed, written
from lossref.run.golden.files.volume import Stored, Volume, bytes_of, volume_of
from lossref.run.golden.recording import Unrecordable, compute

RECORDED = Path(__file__).parents[1] / "golden"
ONE, OTHER = "xywh2xyxy", "xyxy2xywh"
CASE = json.loads((RECORDED / f"{ONE}.json").read_text())["cases"][2]["id"]
Attack = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A record of two specs, whole."""
    for name in (ONE, OTHER):
        for end in ("json", "safetensors"):
            shutil.copy(RECORDED / f"{name}.{end}", tmp_path)
    rows = [one for one in read((RECORDED / "errors.csv").read_bytes()) if one.spec in (ONE, OTHER)]
    (tmp_path / "errors.csv").write_bytes(text_of(rows))
    (tmp_path / "schema.json").write_bytes(schema_bytes())
    sign(tmp_path)
    return tmp_path


def sign(folder: Path) -> None:
    """Write the list anew, as somebody would who hides a change."""
    files = {one.name: one.read_bytes() for one in folder.iterdir() if one.suffix in (".json", ".safetensors", ".csv")}
    files.pop(NAME, None)
    (folder / NAME).write_bytes(manifest_bytes(manifest_of(files, FLAGS)))


def rows(change: Callable[[list[Any]], Any], signed: bool = False, name: str = ONE) -> Attack:
    """Change the entries of a spec; its own seal is written anew, and the list if it is `signed`."""

    def attack(folder: Path) -> None:
        path = folder / f"{name}.json"
        content = json.loads(path.read_text())
        content.pop("seal")
        change(content["cases"])
        path.write_bytes(written(content))
        if signed:
            sign(folder)

    return attack


def field(name: str, value: Any) -> Attack:
    return rows(lambda cases: cases[2].update({name: value}))


def tensors(change: Callable[[dict[str, Any]], Any]) -> Attack:
    """Change the tensors of a spec, and leave the rest."""

    def attack(folder: Path) -> None:
        path = folder / f"{ONE}.safetensors"
        held = load_file(path)
        change(held)
        save_file(held, path)

    return attack


def volume(change: Callable[[list[Stored]], list[Stored]]) -> Attack:
    """Change the record and write every digest anew, those of the list included."""

    def attack(folder: Path) -> None:
        text, binary = folder / f"{ONE}.json", folder / f"{ONE}.safetensors"
        held = volume_of(ONE, text.read_bytes(), binary.read_bytes())
        new = bytes_of(Volume(ONE, tuple(change(list(held.cases)))))
        text.write_bytes(new[0])
        binary.write_bytes(new[1])
        sign(folder)

    return attack


def file(name: str, change: Callable[[bytes], bytes], signed: bool = False) -> Attack:
    def attack(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        if signed:
            sign(folder)

    return attack


def other(part: str, change: Callable[[Any], Any]) -> Callable[[list[Stored]], list[Stored]]:
    """The record with another tensor in its third case."""

    def changed(cases: list[Stored]) -> list[Stored]:
        one = cases[2]
        cases[2] = replace(one, tensors={**one.tensors, part: change(one.tensors[part])})
        return cases

    return changed


def _swap(held: dict[str, Any]) -> None:
    first, second = (f"{case}/value/xyxy" for case in (CASE, "witness, one box"))
    held[first], held[second] = held[second], held[first]


def _swap_files(folder: Path) -> None:
    for end in ("json", "safetensors"):
        one, two = folder / f"{ONE}.{end}", folder / f"{OTHER}.{end}"
        content = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(content)


def _link(folder: Path) -> None:
    (folder / f"{ONE}.json").rename(folder.parent / "elsewhere.json")
    (folder / f"{ONE}.json").symlink_to(folder.parent / "elsewhere.json")


def _directory(folder: Path) -> None:
    (folder / f"{ONE}.json").unlink()
    (folder / f"{ONE}.json").mkdir()


def _lies(cases: list[Any]) -> None:
    for row in cases:
        row["digests"] = dict.fromkeys(row["digests"], "")
        row["values"] = {term: ["1e+9" for _ in digits] for term, digits in row["values"].items()}


def _widened(kept: Any) -> Any:
    return kept + np.int16(160)


def header(change: Callable[[dict[str, Any], list[str]], Any], tail: bytes = b"") -> Attack:
    """Change the header of the tensors of a spec, whose names come with it; what follows stays, and a tail."""

    def attack(folder: Path) -> None:
        path = folder / f"{ONE}.safetensors"
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        held = json.loads(content[8 : 8 + length])
        change(held, [name for name in held if name.startswith(f"{CASE}/")])
        text = json.dumps(held).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :] + tail)

    return attack


def entry(**changed: Any) -> Attack:
    """Change what the header says of one tensor."""
    return header(lambda held, names: held[names[0]].update(changed))


def _overlap(held: dict[str, Any], names: list[str]) -> None:
    alike = [name for name in held if held[name].get("shape") == held[names[0]]["shape"]]
    held[alike[0]]["data_offsets"] = held[alike[1]]["data_offsets"]


def first(number: float) -> Attack:
    """Another first number in an answer, in float64."""

    def change(held: dict[str, Any]) -> None:
        changed = held[f"{CASE}/value/xyxy"].astype(np.float64)
        changed.flat[0] = number
        held[f"{CASE}/value/xyxy"] = changed

    return tensors(change)


def _flat(held: dict[str, Any]) -> dict[str, Any]:
    return {f"{CASE}/value/xyxy": held[f"{CASE}/value/xyxy"].ravel()}


def _negative_zero(held: dict[str, Any]) -> None:
    name = next(name for name, x in held.items() if "/input/" in name and (x == 0).any())
    changed = held[name].astype(np.float32)
    changed[changed == 0] = -0.0
    held[name] = changed


def _fifo(folder: Path) -> None:
    (folder / f"{ONE}.json").unlink()
    os.mkfifo(folder / f"{ONE}.json")


def _capitals(folder: Path) -> None:
    shutil.copy(folder / f"{ONE}.json", folder / f"{ONE.upper()}.json")


def _hard_link(folder: Path) -> None:
    (folder / f"{ONE}.json").unlink()
    os.link(folder / f"{OTHER}.json", folder / f"{ONE}.json")


def _endless(folder: Path) -> None:
    (folder / f"{ONE}.safetensors").unlink()
    (folder / f"{ONE}.safetensors").symlink_to("/dev/zero")


def _other_order_of_keys(folder: Path) -> None:
    path = folder / f"{ONE}.json"
    content = json.loads(path.read_text())
    content["cases"] = [dict(reversed(row.items())) for row in content["cases"]]
    path.write_text(json.dumps(content))


def _of_another_commit(folder: Path) -> None:
    before = (folder / NAME).read_bytes()
    rows(lambda cases: cases[2].update(why="mine"), signed=True)(folder)
    (folder / NAME).write_bytes(before)


LOOK_ALIKE = ONE.replace("y", chr(0x443)).encode()  # a letter of another alphabet
NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
HERE = f"{ONE}.json: {CASE}"
DATA = f"{ONE}.safetensors: {CASE}"
DEEP = "[" * 100_000 + "]" * 100_000
ABSURD = struct.pack("<Q", 2**62)
ATTACKS: list[tuple[str, Attack, str]] = [
    ("a case is missing", rows(lambda cases: cases.pop(2)), f"{HERE}: the case is missing"),
    (
        "a case is added",
        rows(lambda cases: cases.append({**cases[2], "id": "mine"})),
        f"{ONE}.json: mine: the id is in",
    ),
    ("answers swapped", tensors(_swap), f"{DATA}: answers: the tensors are not those"),
    ("a case twice", rows(lambda cases: cases.append(cases[2])), f"{HERE}: the id stands 2 times"),
    ("a case renamed", rows(lambda cases: cases[2].update(id="mine")), f"{HERE}: the case is missing"),
    ("cases reordered", rows(lambda cases: cases.insert(0, cases.pop(2))), f"{HERE}: the id stands where"),
    ("a file is missing", lambda folder: (folder / f"{ONE}.json").unlink(), f"{ONE}.json: it is missing in"),
    ("no tensors", lambda folder: (folder / f"{ONE}.safetensors").unlink(), f"{ONE}.safetensors: it is missing in"),
    ("an orphan", lambda folder: (folder / "mine.json").write_text("{}") and None, "mine.json: MANIFEST.json does not"),
    ("files swapped", _swap_files, f"{ONE}.json: the field 'spec' says '{OTHER}'"),
    (
        "a file twice",
        lambda folder: shutil.copy(folder / f"{ONE}.json", folder / "copy.json") and None,
        "copy.json: MANIFEST.json does not list it",
    ),
    (
        "a file renamed",
        lambda folder: (folder / f"{ONE}.json").rename(folder / "mine.json") and None,
        f"{ONE}.json: it is missing in",
    ),
    ("flags altered", field("flags", ["corner"]), f"{HERE}: flags: not what was recorded"),
    ("digests emptied, digits wrong", rows(_lies), f"{HERE}: digests, values: not what was recorded"),
    (
        "digests emptied, signed",
        rows(_lies, signed=True),
        f"{HERE!s}".replace(CASE, repr(CASE)) + ": the field 'digests'",
    ),
    ("another schema", file(f"{ONE}.json", lambda x: x.replace(b'"schema": 2', b'"schema": 3')), "schema 3 is unknown"),
    ("an absurd header", file(f"{ONE}.safetensors", lambda x: ABSURD + x[8:]), f"{ONE}.safetensors: it is no file of"),
    ("depth 100,000", file(f"{ONE}.json", lambda x: DEEP.encode()), f"{ONE}.json: its JSON is nested deeper"),
    ("10**400", file(f"{ONE}.json", lambda x: x.replace(b'"ties": 0', b'"ties": 1' + b"0" * 400, 1)), "is beyond 2^53"),
    ("1e400", file(f"{ONE}.json", lambda x: x.replace(b'"ties": 0', b'"ties": 1e400', 1)), "is out of the range"),
    ("a key twice", file(f"{ONE}.json", lambda x: x.replace(b'"ties"', b'"why": "", "ties"', 1)), "'why' stands twice"),
    ("NaN", file(f"{ONE}.json", lambda x: x.replace(b'"ties": 0', b'"ties": NaN', 1)), "NaN is no number"),
    ("a link out of the folder", _link, f"{ONE}.json: it is a link"),
    # Fifteen and more of our own
    ("a folder for a file", _directory, f"{ONE}.json: it is no file"),
    ("parameters altered", field("params", {"eps": 1}), f"{HERE}: params: not what was recorded"),
    ("another reason", field("why", "mine"), f"{HERE}: why: not what was recorded"),
    ("another origin", field("origin", "reference"), f"{HERE}: origin: not what was recorded"),
    ("no radius", field("radius", ""), f"{HERE}: radius: not what was recorded"),
    ("another version", field("version", "9.9.9"), f"{HERE}: version: not what was recorded"),
    ("ties altered", field("ties", 7), f"{HERE}: ties: not what was recorded"),
    ("drawn again", field("drawn", {"seed": 1}), f"{HERE}: drawn: not what was recorded"),
    ("a field is missing", rows(lambda cases: cases[2].pop("ties")), "the field 'ties' is missing"),
    ("a field too many", field("mine", 1), "the field 'mine' is unknown"),
    ("a field of another kind", field("ties", "none"), "the field 'ties' cannot be 'none'"),
    ("an id with a slash", field("id", "a/b"), "the field 'id' cannot be 'a/b'"),
    ("no case at all", rows(lambda cases: cases.clear()), f"{ONE}.json: it holds no case"),
    ("a list for an object", file(f"{ONE}.json", lambda x: b"[]"), f"{ONE}.json: it is no record"),
    ("an empty file", file(f"{ONE}.json", lambda x: b""), f"{ONE}.json: it is no JSON"),
    ("no UTF-8", file(f"{ONE}.json", lambda x: b"\xff" + x), f"{ONE}.json: byte 0 is no UTF-8"),
    ("truncated tensors", file(f"{ONE}.safetensors", lambda x: x[:-1]), f"{ONE}.safetensors: it is no file of tensors"),
    ("an input is missing", tensors(lambda held: held.pop(f"{CASE}/input/x")), f"{DATA}: inputs: the tensors"),
    (
        "budgets altered",
        tensors(lambda held: held.update({f"{CASE}/budget/value/xyxy": np.zeros(1)})),
        f"{DATA}: budgets:",
    ),
    (
        "tensors of no case",
        tensors(lambda held: held.update({"mine/input/x": np.zeros(1)})),
        "mine: it has tensors, and no",
    ),
    (
        "a part too many",
        tensors(lambda held: held.update({f"{CASE}/mine": np.zeros(1)})),
        f"{DATA}: the tensor 'mine' is none",
    ),
    (
        "a dtype too many",
        tensors(lambda held: held.update({f"{CASE}/input/x": np.zeros(1, np.int64)})),
        f"{DATA}: input/x is of type I64",
    ),
    ("white space", file(f"{ONE}.json", lambda x: x + b"\n"), f"{ONE}.json: the seal is not that of the file"),
    ("errors raised", file("errors.csv", lambda x: x.replace(b",0,", b",9,")), "errors.csv: it is not the file"),
    ("another JSON schema", file("schema.json", lambda x: b"{}"), "schema.json: it is not the file"),
    (
        "the list changed",
        file(NAME, lambda x: x.replace(b'"bytes": 1', b'"bytes": 2', 1)),
        "MANIFEST.json: the seal is not",
    ),
    (
        "the list of another folder",
        file(NAME, lambda x: x.replace(b'"errors.csv"', b'"../../x.csv"')),
        "MANIFEST.json: the fi",
    ),
    ("no list", lambda folder: (folder / NAME).unlink(), "MANIFEST.json: it is missing in"),
    (
        "a flag that nobody explains",
        rows(lambda cases: cases[2]["flags"].append("zzz"), signed=True),
        f"{HERE}: flags: ",
    ),
    (
        "names unlike in case",
        lambda f: shutil.copy(f / f"{ONE}.json", f / f"{ONE.upper()}.json") and None,
        "does not list",
    ),
    ("a hard link", _hard_link, f"{ONE}.json: the field 'spec' says '{OTHER}'"),
    ("a pipe", _fifo, f"{ONE}.json: it is no file"),
    ("a link to what never ends", _endless, f"{ONE}.safetensors: it is a link"),
    ("a folder of its own", lambda folder: (folder / "x.json").mkdir(), "x.json: MANIFEST.json does not list it"),
    ("69 GB", lambda folder: os.truncate(folder / f"{ONE}.safetensors", 2**36), "it has 68719476736 bytes"),
    (
        "a list with a byte-order mark",
        file(NAME, lambda x: b"\xef\xbb\xbf" + x),
        "it is no JSON: Unexpected UTF-8 BOM",
    ),
    ("a list with CRLF", file(NAME, lambda x: x.replace(b"\n", b"\r\n")), "MANIFEST.json: the seal is not"),
    ("CRLF", file(f"{ONE}.json", lambda x: x.replace(b"\n", b"\r\n")), f"{ONE}.json: the seal is not"),
    ("bytes behind the tensors", header(lambda *_: None, tail=b"\0" * 8), "file not fully covered"),
    ("tensors that overlap", header(_overlap), f"{ONE}.safetensors: it is no file of tensors"),
    ("a negative offset", entry(data_offsets=[-8, 0]), "integer `-8`"),
    ("an unknown dtype", entry(dtype="F4"), f"{ONE}.safetensors: it is no file of tensors"),
    ("a huge shape", entry(shape=[2**40, 2**40]), f"{ONE}.safetensors: it is no file of tensors"),
    ("a shape of a fraction", entry(shape=[1.5, 4]), "floating point `1.5`"),
    ("words in the header", header(lambda held, _: held.update(__metadata__={"a": "b"})), "its sha256 is not that"),
    (
        "the same in another shape",
        tensors(lambda held: held.update(_flat(held))),
        f"{DATA}: answers: the tensors",
    ),
    ("-0 for 0", tensors(_negative_zero), ": inputs: the tensors are not those"),
    ("the smallest number", first(5e-324), f"{DATA}: answers: the tensors"),
    ("another NaN", first(NAN), f"{DATA}: answers: the tensors"),
    ("keys in another order", _other_order_of_keys, f"{ONE}.json: the seal is not"),
    ("a name that looks alike", file(NAME, lambda x: x.replace(ONE.encode(), LOOK_ALIKE)), "MANIFEST.json: the fi"),
    ("a list of the future", file(NAME, lambda x: x.replace(b'"schema": 2', b'"schema": 9')), "schema '9' is unknown"),
    ("the list of another commit", _of_another_commit, f"{HERE}: why: not what was recorded"),
    ("a line break in an id", rows(lambda cases: cases[2].update(id="a\nb")), "the field 'id' cannot be"),
    ("an id from right to left", rows(lambda cases: cases[2].update(id="\u202ea")), "the field 'id' cannot be"),
    (
        "two seals",
        file(f"{ONE}.json", lambda x: x.replace(b'\n"spec"', b'\n"seal": "",\n"spec"')),
        "'seal' stands twice",
    ),
    ("a seal in a text", field("why", f'\n"seal": "{"0" * 64}"'), f"{HERE}: why: not what was recorded"),
    (
        "half a character",
        file(f"{ONE}.json", lambda x: x.replace(b'"why": "', b'"why": "\\ud800', 1)),
        "why: not what was",
    ),
    ("true for 1", field("ties", True), "the field 'ties' cannot be True"),
    ("a case of 10^12 items", field("drawn", {"seed": 1, "sizes": {"n": 10**12}}), "the field 'drawn' cannot be"),
    # Every digest written anew
    ("shrunk, signed", volume(lambda cases: cases[:9]), f"{ONE}.json: all: 9 cases, at least 63 belong"),
    (
        "kinks dropped, signed",
        rows(lambda cases: [c.update(flags=["corner"]) for c in cases], signed=True),
        "single: 0 cases",
    ),
]


@pytest.mark.parametrize(("attack", "said"), [row[1:] for row in ATTACKS], ids=[row[0] for row in ATTACKS])
def test_an_attack_is_one_sentence_that_names_it(folder: Path, attack: Attack, said: str) -> None:
    attack(folder)
    problems = [*general_faults(folder, (ONE, OTHER)), *folder_faults(folder, (ONE, OTHER))]
    assert any(said in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


def test_a_whole_record_has_no_fault(folder: Path) -> None:
    assert not [*general_faults(folder, (ONE, OTHER)), *folder_faults(folder, (ONE, OTHER))]
    assert check(spec(ONE), folder).problems == []


SIGNED = [
    (
        "a wrong value",
        volume(other("value/xyxy", lambda x: x + 1)),
        f"{HERE}: value/xyxy: the oracle now gives",
    ),
    ("a wrong gradient", volume(other("gradient/x", lambda x: x * 2)), f"{HERE}: gradient/x: the oracle now gives"),
    ("another input", volume(other("input/x", lambda x: x + 1)), "the oracle now gives something else"),
    (
        "a wider budget",
        volume(other("budget/value/xyxy", _widened)),
        f"{HERE}: budget/value/xyxy: the oracle now gives",
    ),
    (
        "digits",
        rows(lambda cases: cases[2].update(values={"xyxy": ["1e+0"]}), signed=True),
        f"{HERE}: values: the oracle",
    ),
    (
        "a parameter",
        rows(lambda cases: cases[2].update(params={"eps": 1}), signed=True),
        f"{HERE}: params: 'eps' is no",
    ),
    (
        "errors that are none",
        file("errors.csv", lambda x: x.replace(b",0,", b",nan,", 1), signed=True),
        "errors.csv: it is no table of errors: nan is no error",
    ),
    (
        "half a table of errors",
        file("errors.csv", lambda x: x[:-9], signed=True),
        "errors.csv: it is no table of errors: unexpected end",
    ),
    (
        "a recipe of no case",
        rows(lambda cases: cases[2].update(origin="reference", drawn={"seed": 1, "sizes": {"n": 9}}), signed=True),
        f"{HERE}: drawn: no case of this seed and these sizes is recorded",
    ),
    (
        "smaller errors",
        file("errors.csv", lambda x: x.replace(ONE.encode(), b"gone"), signed=True),
        "no observed error",
    ),
]


@pytest.mark.parametrize(("attack", "said"), [row[1:] for row in SIGNED], ids=[row[0] for row in SIGNED])
def test_who_writes_every_digest_anew_meets_the_oracle(folder: Path, attack: Attack, said: str) -> None:
    attack(folder)
    assert not [one for one in folder_faults(folder, (ONE,)) if "budget" in said]
    problems = check(spec(ONE), folder).problems
    assert any(said in problem for problem in problems), problems


def test_one_damaged_spec_hides_no_other(folder: Path) -> None:
    for name in (ONE, OTHER):
        (folder / f"{name}.json").write_text("{")
    problems = list(folder_faults(folder, (ONE, OTHER)))
    assert [problem.partition(".")[0] for problem in problems] == [ONE, OTHER]
    result = CliRunner().invoke(app, ["golden", "check", ONE, OTHER, "--folder", str(folder), "-j", "1"])
    assert (result.exit_code, result.output.count("it is no JSON")) == (1, 2)


def test_flipped_bytes_are_found(folder: Path) -> None:
    """`regression/flips.py` does it two thousand times over the whole record."""
    rng = np.random.default_rng(12)
    for path in sorted(one for one in folder.iterdir() if one.suffix != ".md"):
        content = path.read_bytes()
        for at in rng.integers(0, len(content), 12):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :])
            assert [*general_faults(folder, (ONE, OTHER)), *folder_faults(folder, (ONE, OTHER))], (path.name, at)
        path.write_bytes(content)


# The record that lossref brings ---------------------------------------------------------------------------------

PURE = """
import sys, time
from pathlib import Path
from lossref.run.golden.files.folder import folder_faults
begin = time.process_time()
faults = len(list(folder_faults(Path(sys.argv[1]))))
print(faults, time.process_time() - begin, "torch" in sys.modules, "flint" in sys.modules)
"""


def test_the_whole_list_is_read_quickly_and_without_torch() -> None:
    words = [sys.executable, "-c", PURE, str(RECORDED)]
    runs = [subprocess.run(words, capture_output=True, text=True, check=True).stdout.split() for _ in range(3)]
    assert {(faults, *loaded) for faults, _, *loaded in runs} == {("0", "False", "False")}
    # Half a second where nothing else runs; beside the other processes of the suite it is up to twice that.
    assert min(float(seconds) for _, seconds, *_ in runs) <= 1.0


def test_the_command_that_reads_the_files_imports_no_torch() -> None:
    words = ["-X", "importtime", "-m", "lossref", "golden", "check", ONE, "--files", "--folder", str(RECORDED)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    assert done.stdout == f"golden: 1 specs read in {RECORDED}, 0 differences\n"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "lossref.run.golden.files.folder" in imported
    assert not {"torch", "flint"} & imported


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    files = [one for one in RECORDED.iterdir() if one.suffix in (".json", ".safetensors")]
    assert sum(one.stat().st_size for one in files) <= 25e6
    counts = {name: groups["all"] for name, groups in LEAST.items()}
    assert set(counts) == set(losses.own())
    assert all(20 <= count <= 200 for count in counts.values())
    assert sum(counts.values()) >= 2500
    full = {name for name, groups in LEAST.items() if groups.get("full size", 0) >= 2}
    assert full >= {name for name, one in losses.own().items() if one.composite and one.wrt}


def test_a_recording_again_gives_the_same_bytes(tmp_path: Path) -> None:
    text, binary = ((RECORDED / f"{ONE}.{end}").read_bytes() for end in ("json", "safetensors"))
    assert bytes_of(compute(spec(ONE))) == (text, binary)


def test_the_json_schema_allows_the_record_and_nothing_else() -> None:
    content = parsed("x", (RECORDED / f"{ONE}.json").read_bytes())
    assert not list(mismatches("x", content))
    assert list(mismatches("x", {**content, "schema": 3}))
    assert list(mismatches("x", {**content, "cases": [{**content["cases"][0], "ties": -1}]}))
    assert (RECORDED / "schema.json").read_bytes() == schema_bytes()


def test_every_flag_is_explained() -> None:
    manifest = json.loads((RECORDED / NAME).read_text())
    assert manifest["flags"].items() >= FLAGS.items()
    assert all(re.search("; catches ", said) for said in FLAGS.values())


def test_the_reader_of_the_readme_reads_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    source = re.findall(r"```python\n(.*?)```", (RECORDED / "README.md").read_text(), re.DOTALL)[0]
    assert len(source.strip().splitlines()) <= 15
    assert "lossref" not in source
    space: dict[str, Any] = {}
    monkeypatch.chdir(RECORDED)
    exec(source, space)
    cases = {entry["id"]: (entry, inputs, answers, room) for entry, inputs, answers, room in space["cases"]("ciou")}
    entry, inputs, answers, room = cases["witness, paper pair, corners"]
    assert entry["origin"].startswith("witness: arXiv")
    assert inputs["box1"].tolist() == [[1, 2, 4, 6.5]]
    assert answers["value/ciou"].item() == pytest.approx(0.265111400025, abs=1e-12)
    want = recorded.read("ciou", [RECORDED])
    mine = next(one for one in want if one.case.id == entry["id"])
    np.testing.assert_array_equal(room["value/ciou"][1], mine.budget["float32"]["value/ciou"])


# How numbers are kept ------------------------------------------------------------------------------------------

KEPT = [
    ([0, 1, 255], "uint8"),
    ([-1, 5], "int8"),
    ([0.5, -0.0], "float16"),
    ([300, -2049], "int16"),
    ([0.1], "float64"),
]
KEPT += [([2.0**-100], "float32"), ([-0.0], "float16"), ([], "uint8")]


@pytest.mark.parametrize(("numbers", "dtype"), KEPT, ids=[row[1] + str(row[0]) for row in KEPT])
def test_numbers_are_kept_in_the_narrowest_exact_dtype(numbers: list[float], dtype: str) -> None:
    exact = np.array(numbers, dtype=np.float64)
    held = narrow(exact)
    assert held.dtype.name == dtype
    assert held.astype(np.float64).tobytes() == exact.tobytes()


def test_a_budget_is_kept_a_little_too_small_and_never_too_large() -> None:
    exact = 2.0 ** np.random.default_rng(1).uniform(-1060, 1000, 1000)
    held = budgets(codes(exact))
    assert (held <= exact).all()
    assert (held > exact / (1 + 1 / 16)).all()
    assert np.isinf(budgets(codes(np.array([np.inf, np.nan, 0.0])))).all()


GROWN = [
    (3.9, 1.0, ""),
    (4.1, 1.0, "off by 4.1 ulp"),
    (0.9, 0.0, ""),
    (1.1, 0.0, "so at most 1"),
    (9.0, None, "no observed"),
]


@pytest.mark.parametrize(("now", "before", "said"), GROWN, ids=[f"{row[1]} to {row[0]}" for row in GROWN])
def test_an_error_may_shrink_and_not_grow(now: float, before: float | None, said: str) -> None:
    known = [] if before is None else [Error("iou", "float32", "cpu", "value", before, "a")]
    problems = list(grown([Error("iou", "float32", "cpu", "value", now, "b")], known))
    assert bool(problems) == bool(said)
    assert said in "".join(problems)


def test_errors_of_a_spec_are_replaced_and_rounded_up() -> None:
    old = text_of([Error("a", "float32", "cpu", "value", 1.0, "x"), Error("b", "float32", "cpu", "value", 2.0, "y")])
    new = read(merged(old, "a", [Error("a", "float32", "cpu", "value", 0.123456, "z")]))
    assert [(one.spec, one.ulp, one.case) for one in new] == [("a", 0.124, "z"), ("b", 2.0, "y")]


# What the oracle cannot decide at once, or at all -----------------------------------------------------------


def _close(m: Any, x: tuple[Number, ...]) -> Number:
    """1 + x^2 and 1 differ by 2^-200 where x is 2^-100: 128 bits cannot order them, 256 can."""
    return m.max(1.0 + x[0] * x[0], m.number(1.0))


def _equal(m: Any, x: tuple[Number, ...]) -> Number:
    """sin^2 + cos^2 and 1: at no precision known to be equal."""
    return m.max(m.sin(x[0]) * m.sin(x[0]) + m.cos(x[0]) * m.cos(x[0]), m.number(1.0))


def _vague(m: Any, x: tuple[Number, ...]) -> Number:
    return x[0] + Number(m, arb(0, 1))


def _infinite(m: Any, x: tuple[Number, ...]) -> Number:
    return m.log(x[0] - x[0])


def _halfway(m: Any, x: tuple[Number, ...]) -> Number:
    return 1.0 + 2.0**-53 + x[0] * 0.0


def made_up(oracle: Callable[..., Any]) -> Spec:
    """A legal spec of one number, 2^-100."""
    tiny = {"tiny": lambda pick, rows, given, dims: np.full((rows, 1), 2.0**-100)}
    domain = Domain("n", "2^-100", tiny)
    return Spec(
        "made_up", "Not any loss", "nowhere", {"x": domain}, ("x",), {}, ("loss",),
        reference=lambda x: (1 + x * x).sum(), oracle=oracle, sizes={"single": ({"n": 1},), "small": ({"n": 1},)},
    )  # fmt: skip


def test_what_the_first_precision_cannot_decide_is_recorded_all_the_same() -> None:
    found = compute(made_up(_close)).cases
    assert found[0].entry.values == {"loss": ("1e+0",)}
    assert found[0].tensors["gradient/x"].astype(float).tolist() == [1.75 * 2.0**-99]


REFUSED = [(_equal, "made_up is not recorded: none of its cases has one answer"), (_vague, "too uncertain")]
REFUSED += [(_infinite, "made_up is not recorded: made_up: the formula gives no finite number for single n=1 0")]


@pytest.mark.parametrize(("oracle", "said"), REFUSED, ids=[row[0].__name__.strip("_") for row in REFUSED])
def test_what_cannot_be_recorded_is_one_sentence(oracle: Callable[..., Any], said: str) -> None:
    with pytest.raises(Unrecordable, match=said):
        compute(made_up(oracle))


# Where the record is ---------------------------------------------------------------------------------------

PLACES = [
    (("here/golden/a.safetensors", "pkg/lossref/golden/a.safetensors"), "golden"),
    (("pkg/lossref/golden/a.safetensors", "pkg/golden/a.safetensors"), "pkg/lossref/golden"),
    (("here/golden/README.md", "pkg/golden/a.safetensors"), "pkg/golden"),
    ((), "golden"),
]


@pytest.mark.parametrize(("files", "where"), PLACES, ids=["here", "of a wheel", "of a checkout", "nowhere"])
def test_the_record_is_that_of_the_working_directory_or_lossrefs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], where: str
) -> None:
    for name in ("here/x", "pkg/lossref/x", *files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(lossref, "__file__", str(tmp_path / "pkg/lossref/__init__.py"))
    assert recorded.folder_to_check() == (Path("golden") if where == "golden" else tmp_path / where)


def test_from_an_empty_folder_lossrefs_own_record_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["golden", "check", "iou"])
    assert result.exit_code == 0, result.output
    assert result.output == f"golden: 1 specs compared with {RECORDED}, 0 differences\n"


def test_write_says_where_it_went() -> None:
    result = CliRunner().invoke(app, ["golden", "write", "--spec", "iou"])
    assert result.exit_code == 2
    assert "lossref golden record" in result.output
