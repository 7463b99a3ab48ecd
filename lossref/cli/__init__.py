"""The command line. Torch, pandas and the rest are imported by the command that needs them."""

from __future__ import annotations

from lossref.cli import bench, impostors, look, new, recorded, table, validate
from lossref.cli.common import app, plain_output

__all__ = ["app", "bench", "impostors", "look", "new", "plain_output", "recorded", "table", "validate"]
