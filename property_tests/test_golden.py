"""The record notices what it is there to notice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flint import arb
from safetensors.numpy import load_file, save
from typer.testing import CliRunner

import lossref
from lossref import losses
from lossref.cli import app
from lossref.core.nouns import Domain, Spec
from lossref.losses import spec
from lossref.oracle.tape import Number
from lossref.run.atomic import write_bytes
from lossref.run.golden import recording as golden

RECORDED = Path(__file__).parents[1] / "golden"
NAME = "dfl"


def _break_json(folder: Path) -> None:
    (folder / f"{NAME}.json").write_text("{")


def _drop_tensors(folder: Path) -> None:
    (folder / f"{NAME}.safetensors").unlink()


def _change_one_bit(folder: Path) -> None:
    path = folder / f"{NAME}.safetensors"
    tensors = load_file(path)
    key = next(name for name in tensors if "/value/" in name)
    tensors[key] = tensors[key] * (1 + 2.0**-52)
    write_bytes(path, save(tensors))


def _change_one_digit(folder: Path) -> None:
    path = folder / f"{NAME}.json"
    content = json.loads(path.read_text())
    digits = content["cases"][0]["digits"]["value/loss"]
    digits[0] = digits[0].replace("e", "1e")
    path.write_text(json.dumps(content))


def _no_cases(folder: Path) -> None:
    path = folder / f"{NAME}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "cases": []}))


DAMAGE = [
    (_break_json, "cannot be read"),
    (_drop_tensors, "record"),
    (_change_one_bit, "damaged"),
    (_change_one_digit, "the oracle now gives another"),
    (_no_cases, "holds no case"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGE, ids=[row[0].__name__.strip("_") for row in DAMAGE])
def test_damage_is_found(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    for path in RECORDED.glob(f"{NAME}.*"):
        shutil.copy(path, tmp_path)
    damage(tmp_path)
    problems = golden.check(spec(NAME), tmp_path)
    assert problems
    assert said in problems[0]


def test_recording_again_gives_the_same_bytes(tmp_path: Path) -> None:
    golden.write(spec(NAME), tmp_path)
    for path in RECORDED.glob(f"{NAME}.*"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert len(list(tmp_path.iterdir())) == 2, "temporary files are left behind"


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


def made_up(oracle: Callable[..., Any]) -> Spec:
    """A legal spec of one number, 2^-100."""
    tiny = {"tiny": lambda pick, rows, given, dims: np.full((rows, 1), 2.0**-100)}
    domain = Domain("n", "2^-100", tiny)
    return Spec(
        "made_up", "Not any loss", "nowhere", {"x": domain}, ("x",), {}, ("loss",),
        reference=lambda x: (1 + x * x).sum(), oracle=oracle, sizes={"small": ({"n": 1},)},
    )  # fmt: skip


def test_what_the_first_precision_cannot_decide_is_recorded_all_the_same(tmp_path: Path) -> None:
    close = made_up(_close)
    assert golden.write(close, tmp_path) == golden.DRAWN[False]
    assert golden.check(close, tmp_path) == []
    digits = json.loads((tmp_path / "made_up.json").read_text())["cases"][0]["digits"]
    assert digits["value/loss"] == ["1e+0"]
    assert float(digits["gradient/x"][0]) == 1.75 * 2.0**-99


REFUSED = [(_equal, "made_up is not recorded: none of its cases has one answer"), (_vague, "too uncertain")]
REFUSED += [(_infinite, "made_up is not recorded: made_up: the formula gives no finite number for drawn 0")]


@pytest.mark.parametrize(("oracle", "said"), REFUSED, ids=[row[0].__name__.strip("_") for row in REFUSED])
def test_what_cannot_be_recorded_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, oracle: Callable[..., Any], said: str
) -> None:
    monkeypatch.setattr(losses, "matching", lambda pattern: [made_up(oracle)])
    result = CliRunner().invoke(app, ["golden", "write", "--folder", str(tmp_path)])
    assert result.exit_code == 3
    assert result.output.startswith("lossref: ")
    assert said in result.output
    assert result.output.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("oracle", [_equal, _vague, _infinite], ids=lambda oracle: oracle.__name__.strip("_"))
def test_a_recorded_case_without_an_answer_is_one_difference(tmp_path: Path, oracle: Callable[..., Any]) -> None:
    golden.write(made_up(_close), tmp_path)
    problems = golden.check(made_up(oracle), tmp_path)
    assert len(problems) == golden.DRAWN[False]
    assert all("drawn 0: the oracle now gives no certified answer: " in problem for problem in problems[:1])


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
    for file in ("here/x", "pkg/lossref/x", *files):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(lossref, "__file__", str(tmp_path / "pkg/lossref/__init__.py"))
    assert golden.folder_to_check() == (Path("golden") if where == "golden" else tmp_path / where)


def test_from_an_empty_folder_lossrefs_own_record_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["golden", "check", "--spec", "iou"])
    assert result.exit_code == 0, result.output
    assert result.output == f"golden: 1 specs compared with {RECORDED}, 0 differences\n"
