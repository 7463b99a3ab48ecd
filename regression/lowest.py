"""Are the lower bounds of pyproject.toml true? `make lowest`.

    python regression/lowest.py pins     every lower bound as a pin, one a line, for pip
    python regression/lowest.py smoke    what is tried on them; exit status 1 if anything fails

Torch keeps the version of constraints.txt: its own bound is not tried here. What has no bound of its own is pip's
choice, as it is for whoever installs lossref. Needs nothing but the standard library.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXTRAS = ("test", "report")
TORCH = "torch"
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:>=(?P<least>\d[\w.]*))?(?:,<[\w.]+)?")
SMOKE = (
    "lossref --version",
    "lossref --help",
    "lossref validate --help",
    "lossref list",
    "lossref show ciou --spec",
    "lossref golden check iou",
    "lossref validate torch --out {out}/torch",
    "lossref validate ultralytics --spec iou --spec giou --out {out}/ultralytics",
    "lossref validate reference --spec ciou --spec focal --out {out}/reference",
    "lossref bench reference --spec iou --seconds 5 --out {out}/bench",
    "pytest -n 2 regression/test_lowest.py",
    "pytest -p no:xdist regression/test_benchmarks.py -k certified_ciou",
)


class Unreadable(ValueError):
    """A requirement that is not of the form name, name>=version or name>=version,<version."""


def bounds(requirements: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name and lower bound of each requirement that has one."""
    for line in requirements:
        found = REQUIREMENT.fullmatch(line.replace(" ", ""))
        if not found:
            raise Unreadable(f"{line!r}: expected name>=version")
        if found["least"]:
            yield found["name"], found["least"]


def requirements(project: dict[str, Any]) -> list[str]:
    """What the [project] table asks for, with the extras that are tried."""
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(line for name in EXTRAS for line in extras[name])]


def pins(project: dict[str, Any], tested: str) -> list[str]:
    """Every lower bound as name==version; torch's line is that of `tested`, the text of constraints.txt."""
    lowest = [f"{name}=={least}" for name, least in bounds(requirements(project)) if name != TORCH]
    return [*lowest, *re.findall(rf"^{TORCH}==.*$", tested, re.MULTILINE)]


def pinned_here() -> list[str]:
    """The pins of this checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return pins(project, (ROOT / "constraints.txt").read_text())


def same(version: str, pin: str) -> bool:
    """Whether two versions are one: 1.26 and 1.26.0 are, and so are 2.13.0 and its build 2.13.0+cpu."""
    return _release(version) == _release(pin)


def _release(version: str) -> str:
    return re.sub(r"(\.0)+$", "", version.partition("+")[0])


def strays(lines: Iterable[str]) -> list[str]:
    """The pins that this environment does not keep, each with what is installed instead."""
    pairs = [line.split("==") for line in lines]
    return [
        f"{name} {metadata.version(name)}, not {pin}" for name, pin in pairs if not same(metadata.version(name), pin)
    ]


def passes(words: str, out: str) -> bool:
    """Whether one command, a module and its words, ends well; what it said is shown if it does not."""
    command = [sys.executable, "-m", *words.format(out=out).split()]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print("ok   " if done.returncode == 0 else "FAIL ", words, flush=True)
    if done.returncode:
        print(f"{done.stdout}exit status {done.returncode}", flush=True)
    return done.returncode == 0


def smoke() -> int:
    """Try everything, on exactly the pins; the number of what failed."""
    others = strays(pinned_here())
    print(*(f"FAIL  installed is {stray}" for stray in others), sep="\n", end="\n" if others else "")
    with tempfile.TemporaryDirectory() as out:
        failed = [words for words in SMOKE if not passes(words, out)]
    print(f"lowest: {len(SMOKE) - len(failed)} of {len(SMOKE)} commands pass on {' '.join(pinned_here())}")
    return len(failed) + len(others)


def main(word: str) -> int:
    """Do what the word says: pins or smoke."""
    if word == "pins":
        print(*pinned_here(), sep="\n")
        return 0
    return min(smoke(), 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
