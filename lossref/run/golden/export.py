"""Recorded cases for other languages: one .npz or .json a spec, with expected answers and budgets as plain numbers.

Budgets are numbers again, not codes; inputs that are not kept are drawn again, and only .npz has those.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import lossref
from lossref.core.nouns import Array, Spec
from lossref.hosts.worker.tensors import weights
from lossref.run.atomic import write_bytes
from lossref.run.golden.files.folder import volume_in
from lossref.run.golden.files.packing import DTYPES, budgets, wide
from lossref.run.golden.files.volume import Stored, Volume
from lossref.run.golden.judging import question

FORMATS = ("npz", "json")
ABOUT = {
    "gradient": "of the sum of upstream times output, all terms in a row, each in row-major order",
    "budget": "how far off a number may be in a dtype; infinite: it is not judged",
    "at": "of a gradient at full size: the places of its recorded numbers in row-major order, counted from 0",
}


def exported(spec: Spec, folder: Path, form: str, out: Path) -> tuple[Path, int]:
    """Write the recorded cases of a spec; returns the path, and how many there are. Raises `Damaged`."""
    volume = volume_in(folder, spec.name)
    cases = [one for one in volume.cases if form == "npz" or one.entry.is_certified]
    content = _npz(spec, cases) if form == "npz" else _json(spec, cases, volume)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{spec.name}.{form}"
    write_bytes(path, content)
    return path, len(cases)


def _about(spec: Spec) -> dict[str, Any]:
    """What whoever reads the numbers has to know: inputs in order, terms, and what they mean."""
    inputs = [
        {"name": name, "axes": one.axes, "units": one.units, "dtype": one.dtype or "floating"}
        for name, one in spec.inputs.items()
    ]
    head = {"lossref": lossref.__version__, "spec": spec.name, "summary": spec.summary, "source": spec.cite}
    return {**head, "inputs": inputs, "wrt": list(spec.wrt), "terms": list(spec.terms), "about": ABOUT}


def _entry(stored: Stored) -> dict[str, Any]:
    one = stored.entry
    words = {"id": one.id, "why": one.why, "origin": one.origin, "radius": one.radius}
    return {**words, "flags": list(one.flags), "params": dict(one.params)}


def _arrays(spec: Spec, stored: Stored) -> Iterator[tuple[str, Array]]:
    """Every array of a case in float64: "input/NAME", "upstream", "value/TERM", "budget/DTYPE/value/TERM", ..."""
    for name, array in question(spec, stored).inputs.items():
        yield f"input/{name}", np.asarray(array, dtype=np.float64)
    yield "upstream", weights(sum(stored.tensors[f"value/{term}"].size for term in spec.terms))
    for name, array in stored.tensors.items():
        kind, _, what = name.partition("/")
        if kind == "budget":
            yield from ((f"budget/{dtype}/{what}", room) for dtype, room in zip(DTYPES, budgets(array), strict=True))
        elif kind != "input":
            yield name, wide(array)


def _npz(spec: Spec, cases: list[Stored]) -> bytes:
    """Arrays by "CASE/...", and one, "about", with the JSON of everything else."""
    arrays = {f"{one.entry.id}/{name}": array for one in cases for name, array in _arrays(spec, one)}
    about = {**_about(spec), "cases": [_entry(one) for one in cases]}
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)
    return file.getvalue()


def _json(spec: Spec, cases: list[Stored], volume: Volume) -> bytes:
    left_out = [one.entry.id for one in volume.cases if not one.entry.is_certified]
    rows = [{**_entry(one), **_nested(_arrays(spec, one))} for one in cases]
    return json.dumps({**_about(spec), "left out": left_out, "cases": rows}, indent=1, allow_nan=False).encode()


def _nested(arrays: Iterator[tuple[str, Array]]) -> dict[str, Any]:
    """The arrays under the parts of their names, each as its shape and its numbers in row-major order."""
    found: dict[str, Any] = {}
    for name, array in arrays:
        *rooms, last = name.split("/")
        place = found
        for room in rooms:
            place = place.setdefault(room, {})
        place[last] = {"shape": list(array.shape), "values": [_number(float(x)) for x in array.flat]}
    return found


def _number(x: float) -> float | str:
    """JSON knows no infinity: a word."""
    return x if np.isfinite(x) else str(x)
