"""The JSON schema of SPEC.json: `golden/schema.json`, for readers in other languages, and held against every file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lossref.run.golden.files.form import RADIUS
from lossref.run.golden.files.strict import written
from lossref.run.golden.files.volume import FIELDS, SCHEMA

NAME = "schema.json"
DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
TEXT = {"type": "string"}
DIGITS = {"type": "string", "pattern": r"^(-?\d(\.\d+)?e[-+]\d+|0)$"}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": sorted(properties), "additionalProperties": False}


ENTRY: Mapping[str, Any] = {
    "id": {"type": "string", "pattern": "^[^/]+$"},
    "why": TEXT,
    "flags": {"type": "array", "items": TEXT, "uniqueItems": True},
    "params": {"type": "object"},
    "origin": {"type": "string", "pattern": "^(certified|reference|witness: .+)$"},
    "radius": {"enum": ["", RADIUS]},
    "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
    "digests": _object({"inputs": DIGEST, "answers": DIGEST, "budgets": DIGEST}),
    "values": {"type": "object", "additionalProperties": {"type": "array", "items": DIGITS}},
    "ties": {"type": "integer", "minimum": 0},
    "drawn": {"type": "object"},
}
assert tuple(ENTRY) == FIELDS
CONTENT: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Recorded cases of one spec of lossref",
    **_object(
        {
            "schema": {"const": SCHEMA},
            "spec": {"type": "string", "pattern": r"^\w+$"},
            "cases": {"type": "array", "minItems": 1, "items": _object(ENTRY)},
            "seal": DIGEST,
        }
    ),
}


def schema_bytes() -> bytes:
    """The content of schema.json."""
    return written(CONTENT)


def mismatches(name: str, content: Any) -> Iterator[str]:
    """One sentence for everything in a SPEC.json that the schema does not allow."""
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(dict(CONTENT)).iter_errors(content):
        where = "/".join(map(str, error.absolute_path)) or "the file"
        yield f"{name}: {where}: {error.message[:120]}"
