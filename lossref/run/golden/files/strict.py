"""JSON that is read without mercy and written in one way only, with a seal over all of it.

The seal is sha256 of the file in which the 64 digits of the seal itself are zeros.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

LARGEST = 2**53  # integers beyond it are not exact in float64, and in many a reader of JSON
MOST_BYTES = 64 * 2**20
SEAL = re.compile(rb'^"seal": "([0-9a-f]{64})"', re.MULTILINE)
NOT_YET = "0" * 64


class Damaged(Exception):
    """A file that is not as lossref wrote it; the message is one sentence that names file, case and field."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Text of a file, in which anything may stand, as it can be shown: line breaks and marks of direction escaped."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def sha(content: bytes) -> str:
    """sha256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def written(content: Mapping[str, Any]) -> bytes:
    """Canonical bytes: one key or row a line, keys sorted, floats as the shortest decimal; sealed under "seal"."""
    lines = [f"{_text(key)}: {_rows(value)}" for key, value in sorted({**content, "seal": NOT_YET}.items())]
    unsealed = ("{\n" + ",\n".join(lines) + "\n}\n").encode()
    return SEAL.sub(f'"seal": "{sha(unsealed)}"'.encode(), unsealed)


def _rows(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n " + ",\n ".join(map(_text, value)) + "\n]"
    if isinstance(value, dict) and value:
        return "{\n " + ",\n ".join(f"{_text(key)}: {_text(value[key])}" for key in sorted(value)) + "\n}"
    return _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def parsed(name: str, content: bytes) -> Any:
    """What a file holds. Raises `Damaged`: no UTF-8, no JSON, too deep, a key twice, NaN, or a number out of range."""
    if len(content) > MOST_BYTES:
        raise Damaged(f"{name}: it has {len(content)} bytes; lossref writes at most {MOST_BYTES}")
    try:
        return json.loads(
            content.decode(), parse_constant=_constant, parse_float=_float, parse_int=_int, object_pairs_hook=_object
        )
    except _Refused as error:
        raise Damaged(f"{name}: {error}") from None
    except RecursionError:
        raise Damaged(f"{name}: its JSON is nested deeper than anything lossref writes") from None
    except UnicodeDecodeError as error:
        raise Damaged(f"{name}: byte {error.start} is no UTF-8") from None
    except ValueError as error:
        raise Damaged(f"{name}: it is no JSON: {error}") from None


class _Refused(Exception):
    """JSON that lossref does not write."""


def _constant(word: str) -> NoReturn:
    raise _Refused(f"{word} is no number that lossref writes")


def _float(word: str) -> float:
    number = float(word)
    if abs(number) == float("inf"):
        raise _Refused(f"the number {word[:20]} is out of the range of float64")
    return number


def _int(word: str) -> int:
    if len(word) > 17 or abs(int(word)) > LARGEST:
        raise _Refused(f"the integer {word[:20]} of {len(word)} digits is beyond 2^53")
    return int(word)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"the key {twice[:40]!r} stands twice in one object")
    return found


def is_sealed(content: bytes) -> bool:
    """Whether the seal is that of the file."""
    found = SEAL.findall(content)
    return len(found) == 1 and sha(SEAL.sub(f'"seal": "{NOT_YET}"'.encode(), content)) == found[0].decode()
