"""Arrays as they lie in a file, and their digests: bytes with dtype and shape, read without numpy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from safetensors import deserialize

from lossref.run.golden.files.strict import Damaged

Raw = tuple[str, tuple[int, ...], bytes]  # dtype, shape, and the bytes in row-major order, little-endian
KINDS = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "F16": "float16", "I16": "int16", "U16": "uint16"} | {
    "F32": "float32",
    "I32": "int32",
    "F64": "float64",
}
PARTS = {"inputs": ("input/",), "answers": ("value/", "gradient/", "at/", "norm/"), "budgets": ("budget/",)}
PART = {begin.rstrip("/"): part for part, begins in PARTS.items() for begin in begins}


def digests_of(raw: Mapping[str, Raw]) -> dict[str, str]:
    """The same of arrays as they lie in the file.

    sha256 over the arrays of a part in order of their names: a line "NAME DTYPE AxB", then the little-endian bytes.
    """
    hashers = {part: hashlib.sha256() for part in PARTS}
    for name in sorted(raw):
        hasher = hashers.get(PART.get(name.partition("/")[0], ""))
        if hasher:
            dtype, shape, content = raw[name]
            hasher.update(f"{name} {dtype} {'x'.join(map(str, shape))}\n".encode())
            hasher.update(content)
    return {part: hasher.hexdigest() for part, hasher in hashers.items()}


def raw_of(name: str, content: bytes) -> dict[str, dict[str, Raw]]:
    """The arrays by case and part, as they lie in the file. Raises `Damaged`."""
    try:
        flat = deserialize(content)  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever the library makes of a hostile header
        raise Damaged(f"{name}: it is no file of tensors: {error}") from None
    cases: dict[str, dict[str, Raw]] = {}
    for key, held in flat:
        case, _, part = key.partition("/")
        if held["dtype"] not in KINDS:
            raise Damaged(f"{name}: {case}: {part} is of type {held['dtype']}, which lossref does not write")
        cases.setdefault(case, {})[part] = KINDS[held["dtype"]], tuple(held["shape"]), held["data"]
    return cases
