"""Messages on a pipe: a head in JSON, then the arrays as they are in memory. Nothing is unpickled, nothing is text.

A frame is MAGIC, the length of the head (u32), the head, and the bytes of every array in the order of the head,
which lists for each its dtype (numpy's name, little-endian) and shape. In the body of the head an array is
{"array": its number}; a tuple is a list, a dataclass what its fields hold.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

MAGIC = b"lossref1"
HEAD = struct.Struct("<8sI")
MOST_HEAD, MOST_BYTES = 1 << 26, 1 << 33
FEW, PART = 1 << 16, 1 << 20  # bytes that are read at once: what is asked for, and a small message whole
DTYPES = ("float64", "float32", "int64", "int32", "uint8", "bool")
_contiguous, _frombuffer, _plain_json = np.ascontiguousarray, np.frombuffer, json.dumps
_dtypes = {name: np.dtype(name) for name in DTYPES}
_names = {dtype: name for name, dtype in _dtypes.items()}  # to ask a dtype for its name takes longer than to pack it
Read = Callable[[int], bytes]  # exactly so many bytes, or EOFError


class Rubbish(ValueError):
    """Bytes that are no message."""


def pack(body: Any) -> list[bytes]:
    """The frame of a message, in pieces: in one, if it is small, for each that is written wakes who reads."""
    arrays: list[Any] = []
    plain = _plain(body, arrays)
    listed = [{"dtype": _names.get(array.dtype) or str(array.dtype), "shape": array.shape} for array in arrays]
    head = _plain_json({"arrays": listed, "body": plain}).encode()
    pieces = [HEAD.pack(MAGIC, len(head)), head, *(array.tobytes() for array in arrays)]
    return [b"".join(pieces)] if sum(map(len, pieces)) < PART else pieces


def _plain(thing: Any, arrays: list[Any]) -> Any:
    """What usual types hold comes first: most of a message are names and small numbers."""
    kind = type(thing)
    if thing is None or kind in (int, float, bool):
        return thing
    if kind is str:
        return thing if thing.isascii() else thing.encode("utf-8", "backslashreplace").decode()
    if kind in (tuple, list):
        return [_plain(part, arrays) for part in thing]
    if kind is dict:
        return {str(key): _plain(part, arrays) for key, part in thing.items()}
    if isinstance(thing, np.ndarray):
        arrays.append(_contiguous(thing).reshape(thing.shape))
        return {"array": len(arrays) - 1}
    if hasattr(kind, "__dataclass_fields__"):
        return _plain(vars(thing), arrays)
    return _unusual(thing, arrays)


def _unusual(thing: Any, arrays: list[Any]) -> Any:
    """Subclasses of the usual types, and numbers of NumPy."""
    if isinstance(thing, Mapping):
        return _plain(dict(thing), arrays)
    if isinstance(thing, (list, tuple)):
        return _plain(list(thing), arrays)
    if isinstance(thing, str):
        return thing.encode("utf-8", "backslashreplace").decode()
    if isinstance(thing, (bool, int, float)):
        return thing
    if isinstance(thing, np.generic):
        return thing.item()
    raise TypeError(f"{type(thing).__name__} cannot be sent to another process")


def unpack(read: Read) -> Any:
    """The next message. Raises `EOFError` at the end, `Rubbish` where the bytes are no message."""
    magic, length = HEAD.unpack(read(HEAD.size))
    if magic != MAGIC or length > MOST_HEAD:
        raise Rubbish("bytes that are no message of lossref's")
    try:
        head = json.loads(read(length))
        wanted = [(_dtype(one["dtype"]), _shape(one["shape"])) for one in head["arrays"]]
        sizes = [dtype.itemsize * _product(shape) for dtype, shape in wanted]
        if sum(sizes) > MOST_BYTES:
            raise Rubbish(f"a message of {sum(sizes)} bytes")
        arrays = [
            _frombuffer(read(size), dtype).reshape(shape) for size, (dtype, shape) in zip(sizes, wanted, strict=True)
        ]
        return _rich(head["body"], arrays)
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise Rubbish(f"a message that cannot be read: {type(error).__name__} {str(error)[:100]}") from None


def _dtype(name: Any) -> Any:
    if name not in DTYPES:
        raise Rubbish(f"an array of dtype {str(name)[:40]}")
    return _dtypes[name]


def _shape(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, list) or any(type(size) is not int or size < 0 for size in sizes) or len(sizes) > 32:
        raise Rubbish("an array of no shape")
    return tuple(sizes)


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _rich(thing: Any, arrays: list[Any]) -> Any:
    if isinstance(thing, dict):
        if len(thing) == 1 and "array" in thing:
            return arrays[thing["array"]]
        return {key: _rich(part, arrays) for key, part in thing.items()}
    return tuple(_rich(part, arrays) for part in thing) if isinstance(thing, list) else thing


def write(pipe: int, body: Any) -> None:
    """Send a message on a file descriptor."""
    for piece in pack(body):
        view = memoryview(piece)
        while view:
            view = view[os.write(pipe, view[:PART]) :]


def reader(pipe: int) -> Read:
    """Reads from a file descriptor that blocks, as much as is there."""
    kept = bytearray()

    def read(count: int) -> bytes:
        while len(kept) < count:
            part = os.read(pipe, min(max(count - len(kept), FEW), PART))
            if not part:
                raise EOFError
            kept.extend(part)
        found = bytes(memoryview(kept)[:count])
        del kept[:count]
        return found

    return read
