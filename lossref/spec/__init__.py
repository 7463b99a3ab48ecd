"""The formulas in words, NN-name.md, and what a citation of them points to.

A citation names a file, and then sections or codes of it: "spec/40-yolo.md sections 3.2 and 4.2", "spec/05-decisions.md
D8 to D12". A section is its heading and all text below it, subsections included. A code (D8, QA14, ...) is defined by
the row of a table that begins with it, or by "QUIRK" and the code, in the first file that does so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

DIGITS = "0123456789"
CODE = r"\b(?:D\d{1,2}|Q[A-Z]\d{1,2})\b"
_NUMBER = r"\d+(?:\.\d+)*(?![\w-])"
_NEXT = r"(?:, and |, | and | to )"
_CITED = re.compile(
    rf"(\d\d-[a-z]+\.md)(?:,? sections? ({_NUMBER}(?:{_NEXT}{_NUMBER})*)|,? ({CODE}(?:{_NEXT}{CODE})*))?"
)
_HEADING = re.compile(rf"^(##+) ({_NUMBER})\b.*$", re.MULTILINE)


class Place(NamedTuple):
    """A file, and a section ("4.3") or a code ("D8") in it; "" for the whole file."""

    file: str
    item: str = ""


def places(text: str) -> list[Place]:
    """Every place that a text cites, in its order, whether there is such a place or not."""
    flat = " ".join(text.replace("`", "").split())
    return [Place(found[1], item) for found in _CITED.finditer(flat) for item in _items(found[2] or found[3] or "")]


def sections(cite: str) -> list[str]:
    """The text of every section and code that a citation names; those that do not exist are left out."""
    found = (read(place) for place in places(cite) if place.item)
    return [text for text in found if text]


def read(place: Place) -> str:
    """The text at a place; "" if there is none."""
    text = documents().get(place.file, "")
    if not place.item:
        return text
    return _section(text, place.item) if place.item[0] in DIGITS else _definition(text, place.item)


def home(code: str) -> str:
    """The file that defines a code; "" if none does."""
    return next((name for name, text in documents().items() if _definition(text, code)), "")


@cache
def documents() -> dict[str, str]:
    """File name -> text, in the order of their numbers."""
    found = [file for file in files(__name__).iterdir() if file.name.endswith(".md")]
    return {file.name: file.read_text("utf-8") for file in sorted(found, key=lambda file: file.name)}


def _section(text: str, number: str) -> str:
    """From the heading of that number to the next one that is not below it."""
    for found in _HEADING.finditer(text):
        if found[2] == number:
            after = re.compile(rf"^#{{1,{len(found[1])}}} ", re.MULTILINE).search(text, found.end())
            return text[found.start() : after.start() if after else len(text)].strip()
    return ""


def _definition(text: str, code: str) -> str:
    """The line that defines a code."""
    found = re.search(rf"^(?:\| {code}\b|.*QUIRK {code}\b).*$", text, re.MULTILINE)
    return found[0] if found else ""


def _items(words: str) -> Iterator[str]:
    """The sections or codes of a list: 1, 3, 4, 5 and D8 for "1, 3 to 5 and D8"; "" for no list."""
    for part in re.split(r", and |, | and ", words):
        first, _, last = part.partition(" to ")
        yield first
        if last:
            stem, start, end = first.rstrip(DIGITS), _last_number(first), _last_number(last)
            yield from (f"{stem}{number}" for number in range(start + 1, end + 1))


def _last_number(item: str) -> int:
    return int(item[len(item.rstrip(DIGITS)) :])
