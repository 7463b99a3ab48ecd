"""The command line. Torch, pandas and the rest are imported by the command that needs them."""

from __future__ import annotations

from lossref.cli import bench, impostors, look, new, recorded, table, validate
from lossref.cli.common import app, plain_output
from lossref.hosts.interrupts import answered

__all__ = ["app", "bench", "impostors", "look", "main", "new", "recorded", "table", "validate"]


def main() -> None:
    """The command that the words of `sys.argv` name."""
    with answered():
        plain_output()
        app()
