"""A release of a package, "ultralytics==8.4.83": installed once into a folder of its own, and asked there.

The folder holds the package alone, from pip and without what it depends on; that comes from the Python that it is asked
in. What stands in the folder is found first by `python`, a line of shell that starts that Python; `pip.json` says which
file it was installed from, with its digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from lossref.oracle.cache import folder
from lossref.targets.resolve import Unavailable, UnknownTarget

RELEASE = re.compile(r"(?P<package>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.!+-]+)")
SECONDS = 600
TOLD = "pip.json"


class Installed(NamedTuple):
    """A release that is there: its package, the Python that has it, and a digest of what was installed."""

    package: str
    python: str
    digest: str


def is_release(word: str) -> bool:
    """Whether a word names a release of a package."""
    return RELEASE.fullmatch(word) is not None


def release(word: str, python: str = "") -> Installed:
    """A release by a word like "ultralytics==8.4.83", for this Python or another one; installed where it is not yet.

    Raises `UnknownTarget` where the word is none, `Unavailable` where pip cannot install it.
    """
    match = RELEASE.fullmatch(word)
    if not match:
        raise UnknownTarget(f"{word!r} is no release; write PACKAGE==VERSION, ultralytics==8.4.83 say")
    place = _place(word, python)
    if not (place / "python").exists():
        _installed(word, place, python or sys.executable)
    return Installed(match["package"], str(place / "python"), _digest(place))


def is_installed(word: str, python: str = "") -> bool:
    """Whether nothing has to be fetched for a release."""
    return (_place(word, python) / "python").exists()


def kept_in() -> Path:
    """The folder of all releases."""
    return (folder() or Path(tempfile.gettempdir()) / "lossref") / "releases"


def _place(word: str, python: str) -> Path:
    name = word.replace("==", "-")
    other = "" if not python else f"-{hashlib.sha256(os.path.abspath(python).encode()).hexdigest()[:8]}"
    return kept_in() / f"{name}{other}"


def _digest(place: Path) -> str:
    """Of the file that it was installed from, as pip has said, else of what was installed."""
    try:
        (one,) = json.loads((place / TOLD).read_bytes())["install"]
        return str(one["download_info"]["archive_info"]["hashes"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    hasher = hashlib.sha256()
    for path in sorted((place / "site").rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            content = path.read_bytes()
            hasher.update(repr((path.relative_to(place).as_posix(), len(content))).encode() + content)
    return hasher.hexdigest()


def _installed(word: str, place: Path, python: str) -> None:
    """Install into a folder beside, which is then given its name: a half of one is never found."""
    place.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        where = ["--target", str(half / "site"), "--report", str(half / TOLD)]
        done = subprocess.run([*command, *where, word], capture_output=True, text=True, timeout=SECONDS)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise Unavailable(f"{word} cannot be installed: {said}")
        script = half / "python"
        site, asked = shlex.quote(str(place / "site")), shlex.quote(os.path.abspath(shutil.which(python) or python))
        script.write_text(f'#!/bin/sh\nPYTHONPATH={site}:"$PYTHONPATH" exec {asked} "$@"\n')
        script.chmod(0o755)
        os.replace(half, place)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{word} cannot be installed: pip took longer than {SECONDS} s") from None
    except FileNotFoundError as error:
        raise Unavailable(f"{word} cannot be installed: there is no {error.filename}") from None
    except OSError:
        if not (place / "python").exists():  # else another process was faster
            raise
    finally:
        shutil.rmtree(half, ignore_errors=True)
