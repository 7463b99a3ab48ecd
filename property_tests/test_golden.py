"""The record notices what it is there to notice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from lossref.losses import spec
from lossref.run import golden

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
    golden.save_atomically(path, tensors)


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
