"""A package of one file as a wheel, and pip that looks for nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

KIND = "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheel(folder: Path, version: str, code: str) -> None:
    """Release `version` of tiny_loss, which is this code."""
    info = f"tiny_loss-{version}.dist-info"
    with zipfile.ZipFile(folder / f"tiny_loss-{version}-py3-none-any.whl", "w") as made:
        made.writestr("tiny_loss/__init__.py", code)
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny_loss\nVersion: {version}\n")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", "")


def offline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder, with a cache of its own, and with the wheels in it alone."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LOSSREF_CACHE", str(folder / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
