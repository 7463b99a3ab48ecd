"""A release of a package, "ultralytics==8.4.83": installed once into a folder of its own, and asked there.

The folder holds the package alone, from pip and without what it depends on; that comes from the Python that lossref
runs in. What stands in the folder is found first by `python`, a line of shell that starts that Python.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lossref.oracle.cache import folder
from lossref.targets.resolve import Unavailable, UnknownTarget

RELEASE = re.compile(r"(?P<package>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.!+-]+)")
SECONDS = 600


def is_release(word: str) -> bool:
    """Whether a word names a release of a package."""
    return RELEASE.fullmatch(word) is not None


def release(word: str) -> tuple[str, str]:
    """The package that a word like "ultralytics==8.4.83" asks, and the Python that has that release.

    Raises `UnknownTarget` where the word is none, `Unavailable` where pip cannot install it.
    """
    match = RELEASE.fullmatch(word)
    if not match:
        raise UnknownTarget(f"{word!r} is no release; write PACKAGE==VERSION, ultralytics==8.4.83 say")
    package, version = match["package"], match["version"]
    place = (folder() or Path(tempfile.gettempdir()) / "lossref") / "releases" / f"{package}-{version}"
    if not (place / "python").exists():
        _installed(word, place)
    return package, str(place / "python")


def _installed(word: str, place: Path) -> None:
    """Install into a folder beside, which is then given its name: a half of one is never found."""
    place.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run(
            [*command, "--target", str(half / "site"), word], capture_output=True, text=True, timeout=SECONDS
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise Unavailable(f"{word} cannot be installed: {said}")
        script = half / "python"
        site, python = shlex.quote(str(place / "site")), shlex.quote(sys.executable)
        script.write_text(f'#!/bin/sh\nPYTHONPATH={site}:"$PYTHONPATH" exec {python} "$@"\n')
        script.chmod(0o755)
        os.replace(half, place)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{word} cannot be installed: pip took longer than {SECONDS} s") from None
    except OSError:
        if not (place / "python").exists():  # else another process was faster
            raise
    finally:
        shutil.rmtree(half, ignore_errors=True)
