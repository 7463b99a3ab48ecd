"""A process that has imported torch already and forks hosts: what takes seconds is done once for all of them.

Whoever wants a host connects to its socket, hands over four pipes (questions, answers, output, status) and says in
which folder and environment. The status pipe brings the number of the process, and at last its exit status.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .serve import serve

NUMBER = struct.Struct("<i")
CREDENTIALS = struct.Struct("3i")
PATIENCE = 5.0  # seconds for one who has connected to say what is wanted
PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36
Hosts = dict[int, tuple[int, int]]  # of the descriptor of each process: its number, and the pipe for its status


def nurse(name: str) -> None:
    """Fork hosts until the pipe to the starter closes. The address is abstract: no file is left behind."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    with contextlib.suppress(Exception):  # what torch imports for its first gradient: half a second in every host
        importlib.import_module("torch.fx.experimental.symbolic_shapes")
    gc.freeze()  # what is here already is never garbage: a host that looks for some would copy all of it
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0{name}")
    listener.listen(64)
    hosts: Hosts = {}
    starter = sys.stdin.fileno()
    while True:
        ready = select.select([starter, listener, *hosts], [], [])[0]
        for one in hosts.keys() & {*ready}:
            _has_ended(*hosts.pop(one))
            os.close(one)
        _end_orphans({number for number, _ in hosts.values()})
        if starter in ready:
            return
        if listener in ready:
            with contextlib.suppress(OSError, ValueError, KeyError, struct.error):  # one who says nothing sensible
                _serve_one(listener, hosts)


def _serve_one(listener: socket.socket, hosts: Hosts) -> None:
    """A host for one who has connected; in that host, everything that follows."""
    asking, _ = listener.accept()
    with asking:
        asking.settimeout(PATIENCE)
        if (
            CREDENTIALS.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))[1]
            != os.getuid()
        ):
            return
        head, pipes, _, _ = socket.recv_fds(asking, NUMBER.size, 4)
        said = json.loads(_exactly(asking, NUMBER.unpack(head)[0]))
    number = os.fork()
    if number:
        os.write(pipes[3], NUMBER.pack(number))
        hosts[os.pidfd_open(number)] = number, pipes[3]
        for pipe in pipes[:3]:
            os.close(pipe)
        return
    for one in (listener.detach(), pipes[3], *hosts, *(status for _, status in hosts.values())):
        os.close(one)
    _become_a_host(pipes[:3], said)


def _become_a_host(pipes: list[int], said: Mapping[str, Any]) -> None:
    os.setsid()
    reads, writes, printed = pipes
    for one in pipes:
        os.set_inheritable(one, False)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (printed, 1), (printed, 2)):
        os.dup2(old, new)
    for one in (nothing, printed):
        os.close(one)
    os.environ.clear()
    os.environ.update(said["environment"])
    _prctl(PR_SET_NAME, said["name"].encode())
    with contextlib.suppress(OSError):  # it was deleted: where this process stands is as good
        os.chdir(said["folder"])
    try:
        serve(reads, writes)
    finally:
        os._exit(1)


def _exactly(asking: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count and (part := asking.recv(count - len(found))):
        found += part
    return bytes(found)


def _has_ended(number: int, status: int) -> None:
    with contextlib.suppress(OSError):  # nobody may want to know any more
        os.write(status, NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])))
    os.close(status)


def _end_orphans(hosts: set[int]) -> None:
    """What a host that has ended leaves behind, however it hid, becomes a child of this process.

    What one of them has started does so once that one has ended: until there are none.
    """
    while orphans := _children() - hosts:
        for number in orphans:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)
                os.waitpid(number, 0)


def _children() -> set[int]:
    listed = Path("/proc/self/task").glob("*/children")
    return {int(number) for one in listed for number in one.read_text().split()}


def _prctl(what: int, value: Any) -> None:
    ctypes.CDLL(None).prctl(what, value, 0, 0, 0)
