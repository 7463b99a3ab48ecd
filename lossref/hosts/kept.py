"""Which hosts are alive: few at a time, the one that was used last first, and none after the end of the process."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Hashable, Iterator
from multiprocessing import util

from lossref.hosts import nursery
from lossref.hosts.command import CommandHost
from lossref.hosts.process import Lodging, ProcessHost

MOST = 2
SPECS = "LOSSREF_SPECS"  # the specs of others, which a host knows from its environment
_ALIVE: dict[tuple[Hashable, ...], ProcessHost | CommandHost] = {}


def host_of(word: str, lodging: Lodging) -> ProcessHost | CommandHost:
    """The host of one TARGET word in one lodging; a new one where the same word may mean something else by now.

    That is in another folder or environment, and where a file was changed that it has imported.
    """
    key = (word, lodging, *_surroundings())
    host = _ALIVE.pop(key, None)
    if host is not None and host.is_outdated():
        host.close()
        host = None
    _ALIVE[key] = host = host or (CommandHost(lodging) if lodging.command else ProcessHost(lodging))
    for old in list(_ALIVE)[:-MOST]:
        _ALIVE.pop(old).close()
    return host


def _surroundings() -> Iterator[Hashable]:
    """Where a host would be started now: the folder, and what it reads of its environment."""
    with contextlib.suppress(FileNotFoundError):  # it was deleted
        yield os.getcwd()
    yield tuple(nursery.setting(os.environ))
    yield os.environ.get(SPECS)


def close_all() -> None:
    """End every host of this process, and what they were forked from."""
    while _ALIVE:
        _ALIVE.popitem()[1].close()
    nursery.close_all()


atexit.register(close_all)
util.Finalize(None, close_all, exitpriority=100)  # a worker of a pool ends without `atexit`
