"""The host that is this process: for references and impostors, which are ours, and for what no other can find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lossref.hosts.worker.carry import carried_out
from lossref.hosts.worker.messages import Question, Reply

THROUGH = (TimeoutError, KeyboardInterrupt)  # the judge's own alarm, and the person at the keyboard


def ask(build: Callable[..., Callable[..., Any]], question: Question, guard: bool) -> Reply:
    """The reply to a question; with `guard` the state of this process is put back afterwards."""
    return carried_out(build, question, guard, THROUGH)
