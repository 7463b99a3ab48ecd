"""The columns of a matrix: who is asked, and a digest of all that the replies hang on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from lossref.hosts.process import Lodging
from lossref.oracle.kept import digest_of
from lossref.run.causes.beside.known import chosen
from lossref.run.causes.beside.matrix.asked import Column
from lossref.run.causes.beside.releases import is_release, release
from lossref.targets.resolve import Unavailable, UnknownTarget, asks_package

SURROUNDINGS = (
    "import importlib.metadata as m, platform, sys; "
    "print(sys.version, platform.machine(), sorted({(d.name, d.version) for d in m.distributions()}))"
)
SECONDS = 60


def of_releases(package: str, words: str, lodging: Lodging) -> list[tuple[str, str]]:
    """Name and word of each release that the words choose. Raises what `chosen` raises."""
    return [(version, f"{package}=={version}") for version in chosen(package, words, lodging.python)]


def of_words(words: Sequence[str], pythons: Sequence[str], lodging: Lodging) -> list[tuple[str, str, Lodging]]:
    """Name, word and lodging of each --target, in their Pythons: one for all, or one for each.

    Raises `UnknownTarget` where there are so many Pythons as fit neither, or nothing to set side by side.
    """
    if len({*words}) < 2 or len({*words}) < len(words):
        raise UnknownTarget("a matrix sets two or more --target beside each other, each another one")
    if len(pythons) not in (0, 1, len(words)):
        raise UnknownTarget(
            f"--python is given once, or {len(words)} times, once for each --target; not {len(pythons)} times"
        )
    each = pythons if len(pythons) == len(words) else [*(pythons or [""])] * len(words)
    return [(word, word, replace(lodging, python=python)) for word, python in zip(words, each, strict=True)]


def column(name: str, word: str, lodging: Lodging) -> Column:
    """The column of a word, a release of which is installed now; one that cannot be had says why."""
    try:
        if not is_release(word):
            known = asks_package(word) and word != "reference"
            return Column(name, word, lodging, _digest(word, lodging.python) if known else "")
        package, python, digest = release(word, lodging.python)
        there = replace(lodging, python=python)
        return Column(name, package, there, _digest(digest, lodging.python), str(Path(python).parent))
    except Unavailable as error:
        return Column(name, word, lodging, reason=str(error))


def _digest(what: str, python: str) -> str:
    """Of a release, or a word, and what surrounds it; nothing where that cannot be found out."""
    surroundings = _surroundings(python or sys.executable)
    return digest_of(what, surroundings).hex() if surroundings else ""


@lru_cache(maxsize=64)
def _surroundings(python: str) -> str:
    """Which Python it is, and every package beside it, with its version."""
    try:
        done = subprocess.run([python, "-c", SURROUNDINGS], capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if not done.returncode else ""
