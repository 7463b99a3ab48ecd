"""The command line. Torch, pandas and the rest are imported by the command that needs them."""

from __future__ import annotations

from lossref.cli import bench, doctor, explain, impostors, look, new, recorded, report, review, validate
from lossref.cli.between import diff, history, matrix
from lossref.cli.common import app, heard, plain_output
from lossref.hosts.interrupts import answered

__all__ = [
    "app",
    "bench",
    "diff",
    "doctor",
    "explain",
    "history",
    "impostors",
    "look",
    "main",
    "matrix",
    "new",
    "recorded",
    "report",
    "review",
    "validate",
]


def main() -> None:
    """The command that the words of `sys.argv` name."""
    with answered(), heard():
        plain_output()
        app()
