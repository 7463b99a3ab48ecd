"""`lossref doctor`: what there is to work with, and what is missing for which target."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator

import typer

from lossref.cli.common import CONFORMS, INCOMPLETE, app

NEEDED = ("torch", "numpy", "scipy", "python-flint", "safetensors", "pandas", "rich", "jinja2", "jsonschema", "psutil")
OF_LOSSREF = ("reference", "dropin", "torch")  # targets that need no package beyond those
NAMES = {"segmentation_models_pytorch": "segmentation-models-pytorch"}


@app.command()
def doctor() -> None:
    """Say what lossref runs on, where it keeps answers, and which targets can be asked here."""
    missing = [name for name in NEEDED if not _installed(name)]
    for head, lines in (("environment", _environment()), ("targets", _targets()), ("missing", iter(_advice(missing)))):
        typer.echo(head)
        for line in lines:
            typer.echo(f"  {line}")
    raise typer.Exit(INCOMPLETE if missing else CONFORMS)


def _environment() -> Iterator[str]:
    import lossref

    yield f"lossref {lossref.__version__}, Python {platform.python_version()} ({sys.executable})"
    yield f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    yield ", ".join(f"{name} {_installed(name) or 'is missing'}" for name in NEEDED)
    if _installed("torch"):
        import torch

        found = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
        yield f"GPU: {found}" if found else "GPU: none; --device cuda cannot be asked"
    if not [name for name in ("torch", "numpy", "python-flint") if not _installed(name)]:
        yield _cache()


def _cache() -> str:
    from lossref.oracle.cache import folder

    place = folder()
    if place is None:
        return "certified answers are kept nowhere: every run computes them anew (LOSSREF_CACHE=FOLDER says where)"
    there = next(path for path in (place, *place.parents) if path.exists())
    writable = "" if os.access(there, os.W_OK) else ", which cannot be written to"
    return f"certified answers are kept in {place}{writable}"


def _targets() -> Iterator[str]:
    from lossref.targets.resolve import adapters

    for name in adapters():
        found = "with lossref" if name in OF_LOSSREF else _installed(NAMES.get(name, name))
        yield f"{name}: {found or f'is not installed here: {sys.executable} -m pip install {NAMES.get(name, name)}'}"


def _installed(name: str) -> str:
    """The version of an installed package; nothing for one that is not."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _advice(missing: list[str]) -> list[str]:
    if not missing:
        return ["nothing that lossref itself needs"]
    return [f"{sys.executable} -m pip install {' '.join(missing)}"]
