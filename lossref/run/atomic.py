"""Files that are written in one step, lines that are added in one, and a folder that one run has for itself."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

LOCK = ".lossref.lock"


class InUse(Exception):
    """Another process works in the folder; the message says which."""


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader, or an interrupt, finds the old content or the new one.

    Raises OSError with the name of the file, whatever could not be done.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with contextlib.suppress(OSError):  # where it could not be made
            draft.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Add a line in one step, beside other processes that do; no lock that a killed one could leave behind.

    Raises OSError where there is no room for all of it.
    """
    content = line.encode("utf-8", "backslashreplace") + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)  # a target may have deleted it
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        if os.write(file, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        os.close(file)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder. The lock goes with the process, however that ends. Raises `InUse`."""
    file = _locked(folder / LOCK)
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()} since {datetime.now():%Y-%m-%d %H:%M:%S}".encode(), 0)
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(file)


def _locked(path: Path) -> int:
    """The open file of a lock that nobody else has, and that is still the file of this name."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except BlockingIOError:
            who = os.pread(file, 200, 0).decode(errors="replace")
            os.close(file)
            raise InUse(f"{path.parent} is in use by process {who}; wait for it, or name another --out") from None
        os.close(file)
