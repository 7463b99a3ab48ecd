"""Hosts are forked from a process that has imported torch, where that can be had: to start one takes no seconds then.

The processes of one run share it, by a name in their environment; it ends with the process that has started it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lossref.hosts.endings import MARK, Process, name_of

NAMED = "LOSSREF_NURSERY"
NUMBER = struct.Struct("<i")
START_SECONDS = 60.0
SETTING = ("PYTHON", "LD_", "DYLD_", "OMP_", "MKL_", "CUDA_", "ATEN_", "TORCH_", "KMP_")  # read while torch is imported
_STARTED: dict[str, tuple[str, subprocess.Popen[bytes]]] = {}


@dataclass
class Forked:
    """A process that another one has started, which tells how it ended on a pipe."""

    pid: int
    _status: int
    _code: int | None = field(default=None)

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        return self._read(0.0)

    def wait(self, timeout: float) -> int:
        """The same at its end. Raises `subprocess.TimeoutExpired`."""
        found = self._read(timeout)
        if found is None:
            raise subprocess.TimeoutExpired("a host", timeout)
        return found

    def _read(self, timeout: float) -> int | None:
        if self._code is None and select.select([self._status], [], [], timeout)[0]:
            said = os.read(self._status, NUMBER.size)
            self._code = NUMBER.unpack(said)[0] if said else -9  # the one that would tell is gone, and it with that
            os.close(self._status)
        return self._code


def host(command: Sequence[str], pipes: tuple[int, int, int], environment: Mapping[str, str], mark: str) -> Process:
    """A host: it reads questions from the first pipe, answers on the second, and prints on the third.

    Raises `OSError` where the command cannot be started.
    """
    told = {name: value for name, value in environment.items() if name != NAMED}
    if name := _nursery(command, told):
        with contextlib.suppress(OSError, struct.error):
            return _forked(name, pipes, {"environment": told, "folder": os.getcwd(), "name": name_of(mark)})
    reads, writes, printed = pipes
    return subprocess.Popen(
        [*command, str(reads), str(writes)],
        stdin=subprocess.DEVNULL,
        stdout=printed,
        stderr=printed,
        pass_fds=(reads, writes),
        start_new_session=True,
        env=told,
    )


def ready(command: Sequence[str]) -> bool:
    """Start the one for a command here, for this process and for those that it will start; whether it runs."""
    return bool(_nursery(command, {name: value for name, value in os.environ.items() if name != NAMED}))


def close_all() -> None:
    """End those that this process has started."""
    while _STARTED:
        _, (_, process) = _STARTED.popitem()
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    _share([one for one in _shared() if one[0] != str(os.getpid())])


def _nursery(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """The name of the one for a command in an environment, started if need be; none where there cannot be one."""
    if sys.platform != "linux":
        return ""
    kind = _kind(command, environment)
    if kind in _STARTED:
        known, process = _STARTED[kind]
        if not known or process.poll() is None:
            return known
    elif names := [its_name for _, its_kind, its_name in _shared() if its_kind == kind]:
        return names[-1]
    name = f"lossref-{uuid.uuid4().hex}"
    process = subprocess.Popen(
        [*command, "--nursery", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={name: value for name, value in environment.items() if name != MARK},  # of one host, with which it ends
    )
    _STARTED[kind] = name, process
    if not _answers(name, process):
        _STARTED[kind] = "", process
        return ""  # a host that is started by itself will say why
    _share([*_shared(), (str(os.getpid()), kind, name)])
    return name


def _shared() -> list[tuple[str, ...]]:
    """Those that the processes of this run know of: who has started it, its kind, and its name."""
    listed = os.environ.get(NAMED, "").split(",")
    return [tuple(one.split()) for one in listed if len(one.split()) == 3]


def _share(known: Sequence[tuple[str, ...]]) -> None:
    os.environ.pop(NAMED, None)
    if known:
        os.environ[NAMED] = ",".join(map(" ".join, known))


def _kind(command: Sequence[str], environment: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([list(command), setting(environment)]).encode()).hexdigest()[:16]


def setting(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """What of an environment a host is started with, and cannot be told later."""
    return sorted((name, value) for name, value in environment.items() if name.startswith(SETTING))


def _answers(name: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether it listens, once torch is there."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
            asking.connect(f"\0{name}")
            return True
        time.sleep(0.02)
    return False


def _forked(name: str, pipes: tuple[int, int, int], said: Mapping[str, object]) -> Forked:
    body = json.dumps(said).encode()
    reads, tells = os.pipe()
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(START_SECONDS)
            asking.connect(f"\0{name}")
            socket.send_fds(asking, [NUMBER.pack(len(body))], [*pipes, tells])
            asking.sendall(body)
    finally:
        os.close(tells)
    number = os.read(reads, NUMBER.size)
    return Forked(NUMBER.unpack(number)[0], reads)
