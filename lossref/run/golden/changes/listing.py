"""What the list of files says beside the files of specs: version, flags, and the files that go with any change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import lossref
from lossref.run.golden.files.manifest import Manifest
from lossref.run.golden.files.volume import Volume


def headed(manifest: Manifest) -> Manifest:
    """The list as this lossref would write it: its version, and what it says of flags."""
    return replace(manifest, version=lossref.__version__)


def beside(folder: Path, volumes: Mapping[str, Volume]) -> dict[str, bytes]:
    """The files of no spec that change when these records do."""
    return {}
