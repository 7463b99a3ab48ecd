"""Where recorded cases are."""

from __future__ import annotations

from pathlib import Path

import lossref

FOLDER = Path("golden")


def places() -> tuple[Path, ...]:
    """Where recorded cases are looked for: ./golden, then lossref's own, from a wheel and beside a checkout."""
    package = Path(lossref.__file__).parent
    return FOLDER, package / FOLDER, package.parent / FOLDER


def folder_to_check() -> Path:
    """Where the record is looked for unless a folder is named: ./golden, if it holds one, else lossref's own.

    lossref's own is in the package where it was installed from a wheel, and beside the package in a checkout.
    """
    return next((folder for folder in places() if any(folder.glob("*.safetensors"))), FOLDER)
