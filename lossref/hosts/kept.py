"""Which hosts are alive: few at a time, the one that was used last first, and none after the end of the process."""

from __future__ import annotations

import atexit
from multiprocessing import util

from lossref.hosts import nursery
from lossref.hosts.command import CommandHost
from lossref.hosts.process import Lodging, ProcessHost

MOST = 2
_ALIVE: dict[tuple[str, Lodging], ProcessHost | CommandHost] = {}


def host_of(word: str, lodging: Lodging) -> ProcessHost | CommandHost:
    """The host of one TARGET word in one lodging."""
    key = (word, lodging)
    host = _ALIVE.pop(key, None) or (CommandHost(lodging) if lodging.command else ProcessHost(lodging))
    _ALIVE[key] = host
    for old in list(_ALIVE)[:-MOST]:
        _ALIVE.pop(old).close()
    return host


def close_all() -> None:
    """End every host of this process, and what they were forked from."""
    while _ALIVE:
        _ALIVE.popitem()[1].close()
    nursery.close_all()


atexit.register(close_all)
util.Finalize(None, close_all, exitpriority=100)  # a worker of a pool ends without `atexit`
