"""ultralytics, any release from 8.3.0 on: its losses and the blocks under them, in both call conventions.

So is a fork of it, a package of another name with the same modules (FORK@ultralytics, `--as-package ultralytics`).

Its float64 results depend on torch's default dtype (spec/05-decisions.md, D8), so every call with
float64 inputs runs under default dtype float64. A name that a release lacks is unsupported.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from lossref.core.nouns import Target
from lossref.targets import dropin
from lossref.targets.resolve import Unavailable, quietly
from lossref.targets.torchvision_ops import importable

MODULES = (
    "utils.loss",
    "models.utils.loss",
    "models.utils.ops",
    "utils.metrics",
    "utils.ops",
    "utils.tal",
    "nn.modules.block",
)


NAME = "ultralytics"
OLDEST = (8, 3)  # of its releases; before it classes and arguments were others, which nobody asked


def _module(name: str, package: str = NAME) -> Any:
    """A module of the package, imported without its settings file, its chatter and the network."""
    os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(tempfile.gettempdir()) / "lossref-ultralytics"))
    os.environ.setdefault("YOLO_OFFLINE", "true")
    with quietly(package):
        return importable(f"{package}.{name}")


def version(package: str = NAME) -> str:
    """The installed release."""
    with quietly(package):
        return str(getattr(importlib.import_module(package), "__version__", ""))


def targets(package: str = NAME) -> list[Target]:
    """One target for each spec; what this release lacks is declared unsupported. `Unavailable` if it is too old."""
    if package == NAME and (old := _too_old()):
        raise Unavailable(old)
    _module("utils.loss", package)
    absent = " ".join(filter(None, (package, version(package), "has no {name}")))
    return dropin.targets(partial(_find, package=package), package, absent, widen=True)


def _too_old() -> str:
    """Why the installed release is not asked; nothing where it can be. What is too old need not even be importable."""
    try:
        here = importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:  # a checkout: what it lacks shows itself
        return ""
    if tuple(map(int, re.findall(r"\d+", here)[:2])) >= OLDEST:
        return ""
    oldest = ".".join(map(str, OLDEST))
    return f"{NAME} {here} is older than {oldest}, where what is known of it begins: it is not asked"


def _find(name: str, package: str = NAME) -> Any:
    """The object of a public name, None where there is none, or the sentence that says why it cannot be had."""
    reason = None
    for module in MODULES:
        try:
            found = getattr(_module(module, package), name, None)
        except Unavailable as error:
            reason = reason or str(error)
            continue
        if found is not None:
            return found
    return reason
