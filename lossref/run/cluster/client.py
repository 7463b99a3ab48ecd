"""The way to the scheduler of a Dask cluster: its address, and a client of it, or one sentence why there is none."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from lossref.hosts.worker.words import plain, short
from lossref.run.cluster import errand

CONNECT = 10.0  # seconds that a scheduler has to answer, also after the connection was lost
ADDRESS = re.compile(r"dask://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):([1-9]\d{0,4})")
ANYWHERE = "a scheduler is started by `dask scheduler`, its workers by `dask worker HOST:PORT`"


class BadAddress(Exception):
    """A word names no cluster; the message says how one is written."""


class ClusterError(Exception):
    """There is no cluster at the address, or none that can carry out this run; the message says why."""


def address(word: str) -> str:
    """The address of the scheduler that a word like dask://HOST:PORT names, as Dask writes it. Raises `BadAddress`."""
    match = ADDRESS.fullmatch(word)
    if not match or int(match[2]) > 65535:
        raise BadAddress(f"{short(word)} names no executor; write dask://HOST:PORT, where the scheduler is")
    return f"tcp://{match[1]}:{match[2]}"


@contextmanager
def connected(word: str) -> Iterator[Any]:
    """A client of the scheduler that a word names; Dask logs nothing meanwhile.

    Raises `BadAddress` or `ClusterError`.
    """
    scheduler = address(word)
    try:
        import distributed
    except ImportError as error:
        needs = "a Dask cluster needs the package distributed, here and on its workers"
        raise ClusterError(f"{needs}; pip install 'lossref[scale]' ({error})") from None
    before = logging.root.manager.disable
    logging.disable()  # what Dask and its loop would log, is said here in one sentence
    try:
        client = _connected(lambda: distributed.Client(scheduler, timeout=CONNECT, set_as_default=False), word)
        try:
            yield client
        finally:
            with contextlib.suppress(Exception):
                client.close(timeout=1)
    finally:
        logging.disable(before)


@cache
def errands() -> Mapping[str, Callable[..., Any]]:
    """The functions that are sent to a cluster, by name, as those of a script: they travel by value, to workers, too.

    Those of a module travel by name, wherever that can be imported, and break a worker that has another lossref.
    """
    file, names = Path(errand.__file__), dict[str, Any](__name__="__main__")
    exec(compile(file.read_text(), str(file), "exec"), names)
    return names


def _connected(connect: Callable[[], Any], word: str) -> Any:
    """A client, in a thread of its own: it waits for ever for somebody who listens there, and is no scheduler."""
    found, failed = list[Any](), list[str]()

    def tried() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(connect())
        except Exception as error:
            failed.append(plain(str(error)) or type(error).__name__)

    thread = threading.Thread(target=tried, daemon=True)
    thread.start()
    thread.join(2 * CONNECT)
    if not found:
        why = failed[0] if failed else f"whoever listens there has not said within {2 * CONNECT:.0f} s that it is one"
        raise ClusterError(f"no Dask scheduler answers at {word} ({why}); {ANYWHERE}")
    return found[0]
