"""Failing cases as files: what `lossref replay` reads, exact to the last bit, and readable by people.

The numbers of a large case stand in a compressed file beside it.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lossref.checks.evidence import Evidence
from lossref.checks.table import Check, named
from lossref.core.axes import frozen
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import call, itself
from lossref.losses import origin
from lossref.oracle.answers import weights
from lossref.run.atomic import write_bytes, write_text

SCHEMA = 1
LONGEST = 400
LARGE = 20_000  # numbers
BESIDE = "file beside"
SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class SavedCaseError(Exception):
    """A file that is no saved case; the message is one sentence."""


@dataclass(frozen=True)
class SavedCase:
    """One failing case, with the check, dtype and target it belongs to; `origin` is where a stranger's spec is from."""

    case: Case
    check: str
    dtype: str
    target: str
    as_spec: str | None = None
    origin: str = ""
    label: str = ""
    recorded: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"


def file_name(*words: str) -> str:
    """Words as the name of a file or folder, whatever they are."""
    return "-".join(_plain(word) for word in words)


def _plain(word: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in word)
    return kept.strip(".-")[:80] or "target"


def encode(array: Array) -> dict[str, Any]:
    """Shape and nested lists; numbers that JSON does not know are words."""
    flat = [float(x) if math.isfinite(x) else str(x) for x in np.asarray(array, dtype=np.float64).flat]
    cells = np.empty(array.shape, dtype=object)
    cells.flat[:] = flat
    return {"shape": list(array.shape), "values": cells.tolist()}


def decode(entry: Mapping[str, Any]) -> Array:
    """The array of `encode`."""
    cells = np.array(entry["values"], dtype=object).flatten()
    numbers = [SPECIAL[x] if isinstance(x, str) else float(x) for x in cells]
    return np.array(numbers, dtype=np.float64).reshape(entry["shape"])


def snippet(spec: Spec, target: Target, case: Case, check: Check, dtype: str) -> str:
    """Python that needs torch and the target only, and prints value and gradients; empty if it would not show it."""
    size = sum(array.size for array in case.inputs.values())
    if not check.one_call or not target.usage or len(spec.terms) > 1 or size > LONGEST:
        return ""
    lines = ["import torch", "torch.set_printoptions(precision=17)"]
    lines += ["torch.set_default_dtype(torch.float64)", ""] if dtype == "float64" else [""]
    for name, array in case.inputs.items():
        leaf = ", requires_grad=True" if name in spec.wrt else ""
        lines.append(f"{name} = torch.tensor({encode(array)['values']}, dtype=torch.{dtype}{leaf})")
    usage = target.usage
    for name, value in case.params.items():
        usage = usage.replace(f"{{{name}!r}}", repr(value))
    lines += [usage, "print(out)"]
    upstream = weights(_output_shape(spec, case))
    lines.append(f"out.backward(torch.tensor({upstream.tolist()}, dtype=out.dtype).reshape(out.shape))")
    return "\n".join([*lines, *(f"print({name!r}, {name}.grad)" for name in spec.wrt), ""])


def _output_shape(spec: Spec, case: Case) -> tuple[int, ...]:
    return call(spec, itself(spec), case, "float64").shapes[0]


def save(path: Path, spec: Spec, saved: SavedCase, target: Target, evidence: Evidence, why: str) -> None:
    """Write one failing case atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    case = saved.case
    content = {
        "schema": SCHEMA,
        "why": why,
        "spec": case.spec,
        "spec_from": origin(spec),
        "check": saved.check,
        "dtype": saved.dtype,
        "device": saved.device,
        "target": saved.target,
        "label": target.label,
        "where": target.where,
        "as": saved.as_spec,
        "params": {**case.params, **case.asked},
        "inputs": _stored(path, case.inputs),
        "flags": sorted(set(case.flags)),
        "id": case.id,
        "problem": evidence.problem,
        "detail": {
            key: x if not isinstance(x, float) or math.isfinite(x) else str(x) for key, x in evidence.detail.items()
        },
        "snippet": snippet(spec, target, case, named(saved.check), saved.dtype),
    }
    write_text(path, json.dumps(content, indent=1) + "\n")


def _stored(path: Path, inputs: Mapping[str, Array]) -> dict[str, Any]:
    """The inputs as JSON, or the name of the file beside `path` that holds them."""
    if sum(array.size for array in inputs.values()) <= LARGE:
        return {name: encode(array) for name, array in inputs.items()}
    content, beside = io.BytesIO(), path.with_suffix(".npz")
    np.savez_compressed(content, **{name: _narrow(array) for name, array in inputs.items()})
    write_bytes(beside, content.getvalue())
    return {BESIDE: beside.name}


def _narrow(array: Array) -> Any:
    narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array, equal_nan=True) else array


def _restored(path: Path, inputs: Mapping[str, Any]) -> dict[str, Array]:
    if BESIDE not in inputs:
        return {name: decode(entry) for name, entry in inputs.items()}
    with np.load(path.with_name(inputs[BESIDE]), allow_pickle=False) as found:
        return {name: found[name].astype(np.float64) for name in found.files}


def load(path: Path) -> SavedCase:
    """Read a file that `save` wrote. Raises `SavedCaseError`."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise SavedCaseError(f"there is no file {path}; a failing run writes its cases to reports/.../cases/") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SavedCaseError(f"{path} is not a saved case: {error}") from None
    try:
        inputs = _restored(path, content["inputs"])
        flags = tuple(content["flags"])
        params = {name: frozen(value) for name, value in content["params"].items()}
        case = Case(content["spec"], inputs, params, content["id"], flags, content["why"])
        recorded = {"problem": content["problem"], **content["detail"]}
        asked = (content["check"], content["dtype"], content["target"], content["as"])
        more = (content.get("spec_from", ""), content.get("label", ""), recorded, str(content.get("device", "cpu")))
        return SavedCase(case, *asked, *more)
    except (KeyError, TypeError, ValueError, AttributeError, OSError, zipfile.BadZipFile) as error:
        raise SavedCaseError(f"{path} is not a saved case: {type(error).__name__} {error}") from None
