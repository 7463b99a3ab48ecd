"""Whatever else is worked out from numbers and kept for the next time: what it hangs on as a digest, and it as JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lossref.core.nouns import Array
from lossref.oracle.cache import read, write


def digest_of(*parts: Any) -> bytes:
    """A digest of numbers, arrays, cases, and of what holds them, to the last bit."""
    hasher = hashlib.sha256()
    _tell(hasher, parts)
    return hasher.digest()


def _tell(hasher: Any, part: Any) -> None:
    """Every kind of thing so that no two things are told alike; of a dataclass what it holds."""
    if isinstance(part, np.ndarray):
        hasher.update(repr((part.shape, part.dtype.str)).encode())
        hasher.update(np.ascontiguousarray(part).tobytes())
    elif hasattr(part, "__dataclass_fields__"):
        _tell(hasher, vars(part))
    elif isinstance(part, Mapping):
        _tell(hasher, tuple(part.items()))
    elif isinstance(part, (tuple, list)):
        hasher.update(f"({len(part)}".encode())
        for one in part:
            _tell(hasher, one)
    else:
        hasher.update(f"{type(part).__name__} {part!r};".encode("utf-8", "backslashreplace"))


def kept(place: Path | None) -> Any:
    """What an entry holds; None where there is none."""
    content = None if place is None else read(place)
    return None if content is None else json.loads(zlib.decompress(content))


def keep(place: Path | None, content: Any) -> None:
    """Keep plain data for the next time."""
    if place is not None:
        write(place, zlib.compress(json.dumps(content).encode(), 1))


def once(place: Path | None, compute: Callable[[], Any]) -> Any:
    """Plain data that is computed where no entry holds it, and kept."""
    before = kept(place)
    if before is not None:
        return before[0]
    found = compute()
    keep(place, [found])
    return found


def packed(arrays: Mapping[str, Array]) -> dict[str, list[Any]]:
    """Arrays as plain data, to the last bit."""
    held = {name: np.asarray(x) for name, x in arrays.items()}
    return {name: [x.dtype.str, list(x.shape), base64.b64encode(x.tobytes()).decode()] for name, x in held.items()}


def unpacked(known: Mapping[str, Any]) -> dict[str, Array]:
    """What was `packed`, each array with memory of its own."""
    return {
        name: np.frombuffer(base64.b64decode(content), dtype).reshape(shape).copy()
        for name, (dtype, shape, content) in known.items()
    }
