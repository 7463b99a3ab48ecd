"""What a target can change in its process, and how it is put back; and all in an object that can be told apart."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import inspect
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .words import one_line

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]

Changes = list[tuple[str, str, str]]
RANDOM, INFERENCE = "the random state", "the inference mode"
_numpy, _synchronize = Tensor.numpy, torch.cuda.synchronize  # bound before a target can patch it
_strictly = torch._C._set_deterministic_algorithms  # torch.use_deterministic_algorithms without 866 imports of inductor
_inference, _cast = torch.inference_mode, torch.autocast
_plain_getsignal = getattr(signal, "_signal", signal).getsignal  # what signal.getsignal asks, less 90 us for enums
_generator, _MERSENNE, _MERSENNE_BYTES = getattr(np.random, "get_bit_generator", None), np.random.MT19937, 4 * 625
_TINY = 5e-324
_LIMITED = sorted({number for name, number in vars(resource).items() if name.startswith("RLIMIT_")}) if resource else []
_SIGNALS = [one for one in signal.valid_signals() if one not in (signal.SIGKILL, signal.SIGSTOP)]


def _default_device() -> str:
    return str(torch.get_default_device())


def _random() -> Any:
    return _numpy(torch.get_rng_state()).tobytes(), _numpy_random(), random.getstate()


def _numpy_random() -> bytes:
    """Key and position of NumPy's global generator; where they lie in memory, for a dictionary of them takes 100 us."""
    generator = _generator() if _generator else None
    if isinstance(generator, _MERSENNE):
        return ctypes.string_at(generator.ctypes.state_address, _MERSENNE_BYTES)
    inner = np.random.get_state(legacy=False)["state"]
    return bytes(inner["key"].tobytes() + np.uint32(inner["pos"]).tobytes())


def _set_random(found: Any) -> None:
    torch.set_rng_state(torch.frombuffer(bytearray(found[0]), dtype=torch.uint8))
    *key, position = np.frombuffer(found[1], dtype=np.uint32)
    inner = {"key": np.array(key, dtype=np.uint32), "pos": int(position)}
    np.random.set_state({"bit_generator": "MT19937", "state": inner})
    random.setstate(found[2])


def _handlers() -> Any:
    return {one: _plain_getsignal(one) for one in _SIGNALS}


def _set_handlers(found: Any) -> None:
    for one, handler in found.items():
        if handler is not None and _plain_getsignal(one) is not handler:
            signal.signal(one, handler)


def _cwd() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "(a folder that is gone)"


def _deterministic() -> Any:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _limits() -> dict[int, tuple[int, int]]:
    return {one: resource.getrlimit(one) for one in _LIMITED}


def _set_limits(found: Mapping[int, tuple[int, int]]) -> None:
    for one, pair in found.items():
        if resource.getrlimit(one) != pair:
            resource.setrlimit(one, pair)


def _flushes() -> bool:
    """Whether numbers below the normal ones count as 0 in this thread, Python's as well as torch's."""
    return _TINY * 1.0 == 0.0


STATE: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    INFERENCE: (torch.is_inference_mode_enabled, lambda on: None),
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (_default_device, lambda name: torch.set_default_device(None if name == "cpu" else name)),
    "torch's deterministic mode": (_deterministic, lambda found: _strictly(found[0], warn_only=found[1])),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    RANDOM: (_random, _set_random),
    "the anomaly mode": (torch.is_anomaly_enabled, lambda on: torch.autograd.set_detect_anomaly(on)),
    "the working directory": (_cwd, os.chdir),
    "the signal handlers": (_handlers, _set_handlers),
    "the limits of the process": (_limits, _set_limits),
    "the flushing of denormal numbers": (_flushes, torch.set_flush_denormal),
    "NumPy's treatment of errors": (np.geterr, lambda found: np.seterr(**found)),
    "torch's precision of matrix products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
}
CONTEXTS: dict[str, tuple[str, Any]] = {
    "without gradients": ("the gradient mode", False),
    "without gradients, of inputs that need one": ("the gradient mode", False),
    "on tensors that are filled anew, without gradients": ("the gradient mode", False),
    "in inference mode": ("the inference mode", True),
    "under a default dtype of float64": ("torch's default dtype", torch.float64),
    "on three threads": ("torch's number of threads", 3),
    "in deterministic mode": ("torch's deterministic mode", (True, False)),
}
"""Where a call can stand: a setting of the process, and what it is there."""
AUTOCAST = {"under autocast in bfloat16": torch.bfloat16, "under autocast in float16": torch.float16}
_ASKED = tuple((name, *pair) for name, pair in STATE.items())  # a target can change the tables, not these
_autocast = dict(AUTOCAST)
_STANDS = {word: (name, there, *STATE[name]) for word, (name, there) in CONTEXTS.items()}


def facts() -> dict[str, str]:
    """The Python, the torch and, if there is one, the GPU of this process."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {"python": sys.version.split()[0], "torch": str(torch.__version__), "cuda": gpu}


def allow_tf32(on: bool) -> None:
    """Whether what is multiplied on a GPU may be rounded to TF32."""
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


def lost(device: str) -> str:
    """What is wrong with a GPU after a question: an assertion there shows only later, and spoils all that follows."""
    if not device.startswith("cuda"):
        return ""
    try:
        _synchronize()
    except Exception as error:
        return one_line(error)
    return ""


def of_process() -> dict[str, Any]:
    """Everything in `STATE`, as it is."""
    return {name: read() for name, read, _ in _ASKED}


def put_back(before: Mapping[str, Any]) -> Changes:
    """What is not as it was; it is put back as far as it can be."""
    changed = []
    for name, read, write in _ASKED:
        if name in before and (now := read()) != before[name]:
            changed.append((name, *_shown(before[name], now)))
            with contextlib.suppress(Exception):  # what cannot be put back is found by `is_clean`
                write(before[name])
    return changed


@contextlib.contextmanager
def standing(word: str) -> Iterator[Changes]:
    """A call stands elsewhere; it adds to the list what it has made of the setting there, if it does not leave it."""
    moved: Changes = []
    if word not in _STANDS:
        yield moved
        return
    name, there, read, write = _STANDS[word]
    before = read()
    with _inference() if name == INFERENCE else contextlib.nullcontext():
        try:
            write(there)
            yield moved
            if (now := read()) != there:
                moved.append((name, *_shown(there, now)))
        finally:
            write(before)


def casting(word: str, device: str) -> contextlib.AbstractContextManager[Any]:
    """Autocast, if that is where a call stands: its backward pass is outside, as torch wants it."""
    kind = _autocast.get(word)
    return _cast(device.partition(":")[0], dtype=kind) if kind else contextlib.nullcontext()


def is_clean(before: Mapping[str, Any]) -> bool:
    """Whether everything is as it was, so that the process can be kept."""
    return all(read() == before[name] for name, read, _ in _ASKED)


def _shown(was: Any, now: Any) -> tuple[str, str]:
    texts = str(was), str(now)
    if max(map(len, texts)) > 60:
        return "one thing", "another"
    return texts


def of_object(thing: Any, path: str = "", depth: int = 4) -> dict[str, str]:
    """Every attribute below a callable that can be told apart, as text."""
    if isinstance(thing, Tensor):
        return {path: f"{str(thing.dtype).removeprefix('torch.')} {thing.detach().tolist()}"}
    if isinstance(thing, (bool, int, float, str, bytes, type(None), np.ndarray)):
        return {path: repr(thing)}
    inside = _inside(thing)
    if not inside or depth == 0:
        return {}
    found = {}
    for name, part in inside.items():
        found.update(of_object(part, f"{path}.{name}".lstrip("."), depth - 1))
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    """What is not as it was; where the last input was (`device`) may change, by contract."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [(name, str(before.get(name)), str(after.get(name))) for name in names if not name.endswith(".device")]


def _inside(thing: Any) -> dict[str, Any]:
    if isinstance(thing, functools.partial):
        return {"": thing.func, "keywords": thing.keywords, "arguments": thing.args}
    if isinstance(thing, Mapping):
        return {str(key): part for key, part in thing.items()}
    if isinstance(thing, (list, tuple, set)):
        return {str(number): part for number, part in enumerate(thing)}
    if inspect.ismodule(thing):
        return {}
    inside = {name: part for name, part in getattr(thing, "__dict__", {}).items() if not name.startswith("__")}
    for number, cell in enumerate(getattr(thing, "__closure__", None) or ()):
        inside[f"closure {number}"] = _cell(cell)
    if getattr(thing, "__defaults__", None):
        inside["defaults"] = thing.__defaults__
    return inside


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the name is not bound yet
        return None
