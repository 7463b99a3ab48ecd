"""What a target has replied, kept while its rows are judged again under other settings: it is asked the same there.

Settings that are adopted move the truth. A target that does not take them is asked what it was asked before, case by
case, and of a composite that took a third of all that its process computed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from lossref.core.nouns import Host, Target
from lossref.hosts.worker.messages import Reply
from lossref.oracle.kept import digest_of

MOST_BYTES = 64 * 2**20


@dataclass
class Replied:
    """A host whose replies are kept: the latest one to each question, as many as fit into so many bytes.

    While the rows are judged for the first time everything is asked. Raises whatever the host raises.
    """

    host: Host
    most: int = MOST_BYTES
    _kept: dict[bytes, tuple[Any, int]] = field(default_factory=dict)
    _bytes: int = 0

    def ask(self, thing: int, question: Any, story: Any = None) -> Any:
        """The reply of the target, which is asked."""
        reply = self.host.ask(thing, question, story)
        self._keep(digest_of(thing, question), reply)
        return reply

    def again(self, thing: int, question: Any, story: Any = None) -> Any:
        """The reply that it gave; where none is kept, it is asked."""
        known = self._kept.get(digest_of(thing, question))
        return self.ask(thing, question, story) if known is None else known[0]

    def close(self) -> None:
        """End the process of the host."""
        self.host.close()

    def _keep(self, key: bytes, reply: Any) -> None:
        self._forget(key)
        self._kept[key] = reply, _size(reply)
        self._bytes += self._kept[key][1]
        while self._bytes > self.most:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: bytes) -> None:
        self._bytes -= self._kept.pop(key, (None, 0))[1]


@dataclass(frozen=True)
class Again:
    """The same host to those who ask the same questions again."""

    replied: Replied

    def ask(self, thing: int, question: Any, story: Any = None) -> Any:
        """The reply that is kept, else a new one."""
        return self.replied.again(thing, question, story)

    def close(self) -> None:
        """End the process of the host."""
        self.replied.close()


def kept_of(target: Target) -> Target:
    """The target as one whose replies are kept; one that lives in this process stays as it is."""
    return target if target.host is None else replace(target, host=Replied(target.host))


def told_again(target: Target, heard: Target) -> Target:
    """The target as one who replies what was `heard` of it."""
    return replace(target, host=Again(heard.host)) if isinstance(heard.host, Replied) else target


def _size(reply: Reply) -> int:
    """About how many bytes a reply takes."""
    arrays = (x for one in reply.returned for x in (*one.values, *one.gradients.values()) if x is not None)
    return 2000 + sum(array.nbytes for array in arrays)
