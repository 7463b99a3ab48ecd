"""Reads recorded cases: exact inputs and the certified answer, without the oracle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

import lossref
from lossref.core.axes import frozen
from lossref.core.nouns import Array, Case

FOLDER = Path("golden")


class NoRecord(LookupError):
    """No recorded cases, or damaged ones; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """One recorded case, and its certified answer rounded to float64: the value of each term, each gradient."""

    case: Case
    value: Mapping[str, Array]
    gradient: Mapping[str, Array]


def places() -> tuple[Path, ...]:
    """Where recorded cases are looked for: ./golden, then lossref's own, from a wheel and beside a checkout."""
    package = Path(lossref.__file__).parent
    return FOLDER, package / FOLDER, package.parent / FOLDER


def read(spec: str, folders: Sequence[Path] = ()) -> list[Recorded]:
    """The recorded cases of a spec, from the first folder that has any. Raises `NoRecord`."""
    folders = folders or places()
    advice = f"record it with `lossref golden write --spec {spec} --folder {folders[0]}`"
    path = next((path for folder in folders if (path := folder / f"{spec}.json").exists()), None)
    if path is None:
        raise NoRecord(f"{spec}: there is no {folders[0] / f'{spec}.json'}; {advice}")
    try:
        entries, tensors = json.loads(path.read_text())["cases"], load_file(path.with_suffix(".safetensors"))
    except Exception as error:  # a torn or foreign file can fail in any way
        raise NoRecord(f"{spec}: {path} cannot be read ({type(error).__name__}: {error}); {advice}") from None
    return [_recorded(spec, entry, tensors_of(entry, tensors)) for entry in entries]


def _recorded(spec: str, entry: Mapping[str, Any], mine: Mapping[str, Array]) -> Recorded:
    bad = damaged(entry, mine)
    if bad:
        raise NoRecord(f"{spec}: {entry['id']}: the recorded tensor {bad} is damaged or missing")
    return Recorded(case_of(spec, entry, mine), _kind(mine, "value"), _kind(mine, "gradient"))


def tensors_of(entry: Mapping[str, Any], tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors of one entry, by "input/NAME", "value/TERM" or "gradient/NAME"."""
    prefix = f"{entry['id']}/"
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def damaged(entry: Mapping[str, Any], mine: Mapping[str, Array]) -> str:
    """The first tensor that is not the recorded one; nothing if all are."""
    wrong = (name for name, sha in entry["sha256"].items() if name not in mine or digest(mine[name]) != sha)
    return next(wrong, "")


def case_of(spec: str, entry: Mapping[str, Any], mine: Mapping[str, Array]) -> Case:
    """The recorded question."""
    params = {name: frozen(value) for name, value in entry["params"].items()}
    return Case(spec, _kind(mine, "input"), params, entry["id"], tuple(entry["flags"]), entry["why"])


def _kind(mine: Mapping[str, Array], kind: str) -> dict[str, Array]:
    return {name.removeprefix(f"{kind}/"): array for name, array in mine.items() if name.startswith(f"{kind}/")}


def digest(array: Array) -> str:
    """sha256 of shape and float64 bytes."""
    content = f"{array.shape}".encode() + np.array(array, dtype="<f8").tobytes()
    return hashlib.sha256(content).hexdigest()
