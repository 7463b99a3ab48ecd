"""What each field of an entry can be; found without numpy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lossref.run.golden.files.raw import PARTS

CERTIFIED, REFERENCE, WITNESS = "certified", "reference", "witness: "
RADIUS = "2^-80"
MOST_DRAWN = 4096  # the largest size of a case that is drawn again
DIGEST, DIGITS = re.compile(r"[0-9a-f]{64}"), re.compile(r"-?\d(\.\d+)?e[-+]\d+|0")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _id(value: Any) -> bool:
    return _text(value) and bool(value) and value.isprintable() and "/" not in value


def _flags(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value)) and value == sorted(set(value))


def _origin(value: Any) -> bool:
    return value in (CERTIFIED, REFERENCE) or (_text(value) and value.startswith(WITNESS) and len(value) > len(WITNESS))


def _digests(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == set(PARTS) and all(_is_digest(one) for one in value.values())


def _is_digest(value: Any) -> bool:
    return _text(value) and DIGEST.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return _text(value) and DIGITS.fullmatch(value) is not None


def _values(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, list) and all(map(_is_number, one)) for one in value.values()
    )


def _drawn(value: Any) -> bool:
    """A seed, and sizes that anything could be drawn with."""
    if not isinstance(value, dict) or set(value) != {"seed", "sizes"} or not isinstance(value["sizes"], dict):
        return False
    sizes = [x for size in value["sizes"].values() for x in (size if isinstance(size, list) else [size])]
    return (
        type(value["seed"]) is int
        and value["seed"] >= 0
        and all(type(x) is int and 0 <= x <= MOST_DRAWN for x in sizes)
    )


def _version(value: Any) -> bool:
    return _text(value) and re.fullmatch(r"\d+\.\d+\.\d+\S*", value) is not None


SOUND: Mapping[str, Callable[[Any], bool]] = {
    "id": _id,
    "why": _text,
    "flags": _flags,
    "params": lambda value: isinstance(value, dict),
    "origin": _origin,
    "radius": lambda value: value in ("", RADIUS),
    "version": _version,
    "digests": _digests,
    "values": _values,
    "ties": lambda value: type(value) is int and value >= 0,
    "drawn": lambda value: value == {} or _drawn(value),
}
