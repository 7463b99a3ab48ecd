"""The command line. Torch, pandas and the rest are imported by the command that needs them."""

from __future__ import annotations

import sys

import typer

from lossref.cli import bench, impostors, look, new, recorded, table, validate
from lossref.cli.common import INCOMPLETE, app

__all__ = ["app", "bench", "impostors", "look", "main", "new", "recorded", "table", "validate"]


def main() -> None:
    """Entry point; Ctrl-C anywhere is one line, not a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        typer.echo("lossref: interrupted", err=True)
        sys.exit(INCOMPLETE)
