"""Which releases of a package there are, as pip says; and those that words choose, "8.3.0,8.3.100..8.3.227:20"."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence

from lossref.run.atomic import write_text
from lossref.run.causes.beside.releases import SECONDS, is_installed, is_release, kept_in
from lossref.targets.resolve import Unavailable, UnknownTarget

MARK = "Available versions:"
LATEST = "latest"
RANGE = re.compile(r"(?P<first>[^.:,]+(?:\.[^.:,]+)*)\.\.(?P<last>[^.:,]+(?:\.[^.:,]+)*)(?::(?P<step>[1-9]\d*))?")


def versions(package: str) -> list[str]:
    """All releases, the oldest first. Raises `Unavailable` where pip has no list, and none is kept from before."""
    command = [sys.executable, "-m", "pip", "index", "versions", "--disable-pip-version-check", package]
    kept = kept_in() / f"{package}.versions"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"the releases of {package} are not known: pip took longer than {SECONDS} s") from None
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            found = [word.strip() for word in line.removeprefix(MARK).split(",")][::-1]
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_text(kept, "\n".join(found))
            return found
    if kept.exists():  # without a network
        return kept.read_text(encoding="utf-8").split()
    said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
    raise Unavailable(f"the releases of {package} are not known: {said}")


def chosen(package: str, words: str, python: str = "") -> list[str]:
    """The versions that words name, each once, in their order: VERSION, latest, and FIRST..LAST:STEP, with the LAST.

    What is installed already is believed to be there; for all else pip is asked. Raises `UnknownTarget` for words that
    cannot be read and for what is no release, `Unavailable` as `versions` does.
    """
    given = [word.strip() for word in words.split(",")]
    if not is_release(f"{package}==1") or not all(given):
        raise UnknownTarget(f"{package!r} --releases {words!r} cannot be read; write {_example(package)}")
    plain = [word for word in given if ".." not in word and word != LATEST]
    for word in plain:
        if not is_release(f"{package}=={word}") or ":" in word:
            raise UnknownTarget(f"--releases {word!r} cannot be read; write {_example(package)}")
    if len(plain) == len(given) and all(is_installed(f"{package}=={word}", python) for word in plain):
        return list(dict.fromkeys(plain))
    known = versions(package)
    return list(dict.fromkeys(one for word in given for one in _of_word(package, word, known)))


def _of_word(package: str, word: str, known: Sequence[str]) -> Iterator[str]:
    if ".." not in word:
        yield known[_place(package, word, known)]
        return
    match = RANGE.fullmatch(word)
    if not match:
        raise UnknownTarget(f"--releases {word!r} cannot be read; write {_example(package)}")
    first, last = (_place(package, match[name], known) for name in ("first", "last"))
    if first > last:
        raise UnknownTarget(f"--releases {word!r} goes backwards; write {match['last']}..{match['first']}")
    yield from known[first : last + 1 : int(match["step"] or 1)]
    yield known[last]


def _place(package: str, word: str, known: Sequence[str]) -> int:
    version = known[-1] if word == LATEST else word
    if version not in known:
        raise UnknownTarget(
            f"pip knows no {package}=={version}; it knows {len(known)} releases, {known[0]} to {known[-1]}"
        )
    return known.index(version)


def _example(package: str) -> str:
    return f"lossref matrix {package} --releases 1.0,1.2..1.9:3,2.0..latest"
