"""Exact arrays in files: as nested lists, or many numbers in a compressed file beside the one that names it."""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lossref.core.nouns import Array, Case
from lossref.oracle.remembered import MIB, remembered
from lossref.run.atomic import write_bytes
from lossref.run.saved.schema import Fault

LARGE = 20_000  # numbers
MOST = 1 << 31  # bytes that a compressed file may grow to
LEVEL = 3  # of compression
BESIDE = "file beside"
SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
UNREADABLE = (ValueError, OSError, EOFError, KeyError, NotImplementedError, MemoryError, zipfile.BadZipFile, zlib.error)


def encode(array: Array) -> dict[str, Any]:
    """Shape and nested lists; numbers that JSON does not know are words."""
    flat = [float(x) if math.isfinite(x) else str(x) for x in np.asarray(array, dtype=np.float64).flat]
    cells = np.empty(array.shape, dtype=object)
    cells.flat[:] = flat
    return {"shape": list(array.shape), "values": cells.tolist()}


def decode(entry: Mapping[str, Any], name: str) -> Array:
    """The array of `encode`. Raises `Fault` where shape and values do not agree."""
    shape = [int(size) for size in entry["shape"]]
    numbers = [_number(cell, name) for cell in _cells(entry["values"], shape, name)]
    try:
        return np.array(numbers, dtype=np.float64).reshape(shape)
    except ValueError as error:
        raise Fault(f"inputs.{name}.shape: {error}") from None


def _cells(values: Any, shape: Sequence[int], name: str) -> Iterator[Any]:
    if not shape:
        yield values
        return
    if not isinstance(values, list) or len(values) != shape[0]:
        found = f"a list of {len(values)}" if isinstance(values, list) else type(values).__name__
        raise Fault(f"inputs.{name}.values: expected a list of {shape[0]} as its shape says, got {found}")
    for part in values:
        yield from _cells(part, shape[1:], name)


def _number(cell: Any, name: str) -> float:
    if isinstance(cell, str) and cell in SPECIAL:
        return SPECIAL[cell]
    try:
        if isinstance(cell, (int, float)) and not isinstance(cell, bool):
            return float(cell)
    except OverflowError:
        pass
    raise Fault(f"inputs.{name}.values: {cell!r:.60} is no number of float64")


def stored(path: Path, case: Case) -> str:
    """The inputs as JSON, one level deep in an object, or the name of the file beside `path` that holds them."""
    if sum(array.size for array in case.inputs.values()) <= LARGE:
        return _written(case)
    beside = path.with_suffix(".npz")
    write_bytes(beside, _packed(case))
    return _indented({BESIDE: beside.name})


def _letters(text: str) -> int:
    return len(text)


def _bytes(packed: bytes) -> int:
    return len(packed)


@remembered(8 * MIB, _letters)
def _written(case: Case) -> str:
    """Kept, for one case stands for many failures."""
    return _indented({name: encode(array) for name, array in case.inputs.items()})


def _indented(content: Any) -> str:
    return json.dumps(content, indent=1).replace("\n", "\n ")


@remembered(8 * MIB, _bytes)
def _packed(case: Case) -> bytes:
    """As `np.savez_compressed` does, which knows one level only: a third of its time for a sixth more bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as packed:
        for name, array in case.inputs.items():
            with packed.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(_narrow(array)), allow_pickle=False)
    return content.getvalue()


def _narrow(array: Array) -> Any:
    narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array, equal_nan=True) else array


def restored(path: Path, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """The inputs that `stored` gave. Raises `Fault`."""
    if BESIDE not in inputs:
        return {name: decode(entry, name) for name, entry in inputs.items()}
    beside = path.with_name(inputs[BESIDE])
    try:
        with zipfile.ZipFile(beside) as packed:
            if sum(one.file_size for one in packed.infolist()) > MOST:
                raise ValueError(f"it holds more than {MOST} bytes")
        with np.load(beside, allow_pickle=False) as found:
            return {name: _real(found[name], name) for name in found.files}
    except UNREADABLE as error:
        raise Fault(f"inputs: the {BESIDE} it, {beside.name}, cannot be read: {str(error)[:200]}") from None


def _real(array: Any, name: str) -> Array:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise ValueError(f"{name} is no array of real numbers")
    return array.astype(np.float64)
