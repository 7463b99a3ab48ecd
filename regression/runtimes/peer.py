"""The loop of a peer in Python, as lossref/hosts/PROTOCOL.md describes it: numpy and the standard library alone."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Answer = Callable[[Mapping[str, Any], Sequence[Any]], dict[str, Any]]
Above = Callable[[tuple[int, ...]], Any]  # what comes from above to numbers of a shape


def above(call: Mapping[str, Any]) -> Above:
    """The rule of upstream weights, and what a call may say otherwise."""
    scale, (first, step) = call.get("scale", 1.0), call.get("every", (0, 1))

    def weights(shape: tuple[int, ...]) -> Any:
        k = np.arange(int(np.prod(shape)))
        usual = np.where(k % 3 == 1, -1.0, 1.0) * (7 - k % 5) / 4 * scale
        found = np.where(k % step == first, usual, 0.0).reshape(shape)
        return np.repeat(found[:1], len(found), 0) if shape and call["upstream"] in ("expanded", "repeated") else found

    return weights


def serve(losses: list[dict[str, Any]], answers: Sequence[Callable[..., dict[str, Any]]]) -> None:
    """Describe the losses, then answer each call with `answers[loss](params, gradients_to, above, **inputs)`."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while line := source.readline():
        message = json.loads(line)
        arrays = [np.load(io.BytesIO(source.read(size))) for size in message["arrays"]]
        if message["do"] == "stop":
            return
        sent: list[Any] = []
        if message["do"] == "describe":
            body: dict[str, Any] = {"protocol": 1, "losses": losses}
        else:
            body = {"returned": [_called(answers, message, call, arrays, sent) for call in message["calls"]]}
        files = [_npy(array) for array in sent]
        sink.write(json.dumps({**body, "arrays": [len(file) for file in files]}).encode() + b"\n" + b"".join(files))
        sink.flush()


def _called(answers: Any, message: Any, call: Any, arrays: Any, sent: list[Any]) -> dict[str, Any]:
    inputs = {name: arrays[entry["array"]] for name, entry in call["inputs"].items()}
    try:
        found = answers[message["loss"]](message["params"], call["gradients_to"], above(call), **inputs)
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"}
    return {part: {name: _numbered(array, sent) for name, array in named.items()} for part, named in found.items()}


def _numbered(array: Any, sent: list[Any]) -> Any:
    if array is None:
        return None
    sent.append(np.asarray(array))
    return {"array": len(sent) - 1}


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
