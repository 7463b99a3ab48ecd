"""MANIFEST.json: the list of files, what every flag is for, and one seal over the list.

Of every case the list has id and fingerprint, four digits for each field in the order of `FIELDS`: they name the field
that was changed. That something was changed is found by sha256 of the file.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import lossref
from lossref.run.golden.files.strict import Damaged, is_sealed, parsed, sha, written
from lossref.run.golden.files.volume import FIELDS, SCHEMA

NAME = "MANIFEST.json"
DIGITS = 4
TEXT = json.JSONEncoder(sort_keys=True).encode


@dataclass(frozen=True)
class File:
    """One file of the list.

    cases: (id, fingerprint) in order, of a SPEC.json
    code:  of a SPEC.json, the digest of the code that the oracle's answers depend on; empty where nobody can say
    """

    name: str
    bytes: int
    sha256: str
    cases: tuple[tuple[str, str], ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Manifest:
    """The list of files in order of their names, and flag -> what it is for and which mistake it catches."""

    version: str
    flags: Mapping[str, str]
    files: tuple[File, ...]

    @property
    def specs(self) -> tuple[str, ...]:
        """The specs that the list has files of."""
        return tuple(one.name.removesuffix(".json") for one in self.files if one.cases)

    def file(self, name: str) -> File | None:
        """The file of that name."""
        return next((one for one in self.files if one.name == name), None)


def fingerprint(row: Mapping[str, Any]) -> str:
    """Four digits for each field of an entry."""
    return "".join(f"{zlib.crc32(TEXT(row.get(name)).encode()) & 0xFFFF:04x}" for name in FIELDS)


def changed(one: str, other: str) -> list[str]:
    """The fields in which two fingerprints differ."""
    at = range(0, DIGITS * len(FIELDS), DIGITS)
    return [name for name, i in zip(FIELDS, at, strict=True) if one[i : i + DIGITS] != other[i : i + DIGITS]]


def listed(name: str, content: bytes, code: str = "") -> File:
    """What the list says of a file: `name` ends in .json for the entries of a spec, but for schema.json."""
    rows = parsed(name, content).get("cases", []) if name.endswith(".json") else []
    return File(name, len(content), sha(content), tuple((row["id"], fingerprint(row)) for row in rows), code)


def manifest_of(contents: Mapping[str, bytes], flags: Mapping[str, str]) -> Manifest:
    """The list of these files, by name, as the lossref that runs would write it."""
    return Manifest(lossref.__version__, flags, tuple(listed(name, contents[name]) for name in sorted(contents)))


def manifest_bytes(manifest: Manifest) -> bytes:
    """The content of MANIFEST.json."""
    files = [asdict(one) for one in manifest.files]
    return written({"schema": SCHEMA, "version": manifest.version, "flags": dict(manifest.flags), "files": files})


@lru_cache(maxsize=1)
def read(content: bytes) -> Manifest:
    """The list that a MANIFEST.json holds, parsed once for all who look at it. Raises `Damaged`."""
    found = parsed(NAME, content)
    fault = _fault(found) or ("" if is_sealed(content) else "the seal is not that of the file, so it was changed")
    if fault:
        raise Damaged(f"{NAME}: {fault}")
    files = [File(**{**one, "cases": tuple((case, mark) for case, mark in one["cases"])}) for one in found["files"]]
    return Manifest(found["version"], found["flags"], tuple(files))


def _fault(found: Any) -> str:
    """What is wrong with the form of the list, or nothing."""
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        said = found.get("schema") if isinstance(found, dict) else found
        return f"schema {str(said)[:40]!r} is unknown; this lossref reads {SCHEMA}"
    odd = set(found) ^ {"schema", "version", "flags", "files", "seal"}
    if odd:
        return f"the field {min(odd)[:40]!r} is {'unknown' if min(odd) in found else 'missing'}"
    if not isinstance(found["version"], str) or not isinstance(found["files"], list):
        return "the field 'version' or 'files' is of another kind"
    if not isinstance(found["flags"], dict) or not all(isinstance(one, str) for one in found["flags"].values()):
        return "the field 'flags' does not say in a sentence what each flag is for"
    wrong = next((one for one in found["files"] if not _is_file(one)), None)
    if wrong is not None:
        return f"the field 'files' has {str(wrong)[:60]!r}, which describes no file"
    names = [one["name"] for one in found["files"]]
    return "" if names == sorted(set(names)) else "the files are not in order of their names, each once"


def _is_file(one: Any) -> bool:
    if not isinstance(one, dict) or set(one) != {field.name for field in fields(File)}:
        return False
    sound: Any = isinstance(one["name"], str) and re.fullmatch(r"\w+\.(json|safetensors|csv)", one["name"])
    sound = sound and type(one["bytes"]) is int and isinstance(one["code"], str)
    sound = sound and re.fullmatch(r"[0-9a-f]{64}", str(one["sha256"]))
    return bool(sound) and isinstance(one["cases"], list) and all(map(_is_case, one["cases"]))


def _is_case(one: Any) -> bool:
    return isinstance(one, list) and len(one) == 2 and all(isinstance(part, str) for part in one)
