"""`golden/HISTORY.md`: every decision about the record with its reason, and the release note that is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import lossref
from lossref.run.findings.words import count
from lossref.run.golden.changes.comparing import Change
from lossref.run.golden.changes.words import difference

NAME = "HISTORY.md"
TITLE = """# History of the recorded answers

Every change of a recorded answer, or of what is recorded, and why it was accepted or rejected: written by `lossref
golden review`, `accept` and `reject`. `lossref golden history` makes the release note of it.
"""
HEAD = re.compile(r"## (\d{4}-\d\d-\d\d), (\S+): (accepted|rejected) (\w+), (\d+) cases?")
LARGEST = re.compile(r"Largest difference: (.*)")


@dataclass(frozen=True)
class Decision:
    """One section of the history: cases of one spec that were decided together, with one reason."""

    day: str
    version: str
    decided: str
    spec: str
    cases: int
    why: str
    largest: str


def with_decision(text: str, decided: str, why: str, changes: Sequence[Change]) -> str:
    """The history with a section more for each spec."""
    found = text or TITLE
    for spec in dict.fromkeys(one.spec for one in changes):
        found = f"{found.rstrip()}\n\n{_section(decided, why, [one for one in changes if one.spec == spec])}\n"
    return found


def _section(decided: str, why: str, changes: Sequence[Change]) -> str:
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    head = f"## {day}, {lossref.__version__}: {decided} {changes[0].spec}, {count(len(changes), 'case')}"
    lines = [f"- `{one.id}`: {difference(one)}" for one in changes]
    return "\n".join([head, "", why, "", f"Largest difference: {largest(changes)}", "", *lines])


def largest(changes: Sequence[Change]) -> str:
    """The largest relative difference of values and of gradients, or what else is changed."""
    by_kind: dict[str, float] = {}
    for one in changes:
        for move in one.moves:
            kind = move.name.partition("/")[0]
            by_kind[kind] = max(by_kind.get(kind, 0.0), move.relative)
    numbers = [f"{kind} {size:.2g} relative" for kind, size in by_kind.items()]
    kinds = dict.fromkeys(one.kind for one in changes if not one.moves)
    return ", ".join([*numbers, *kinds])


def decisions(text: str) -> Iterator[Decision]:
    """The sections of a history, in their order."""
    for part in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        head = HEAD.match(part)
        if head:
            day, version, decided, spec, cases = head.groups()
            paragraphs = [one.strip() for one in part.split("\n\n")]
            found = LARGEST.search(part)
            why = paragraphs[1] if len(paragraphs) > 1 else ""
            yield Decision(day, version, decided, spec, int(cases), why, found[1] if found else "")


def release_note(found: Sequence[Decision], since: str = "") -> str:
    """What was accepted, version by version, the newest first; `since` is a version or a day to begin after."""
    chosen = [one for one in found if one.decided == "accepted" and _after(one, since)]
    by_version: dict[str, list[Decision]] = {}
    for one in reversed(chosen):
        by_version.setdefault(one.version, []).append(one)
    return "\n\n".join(_of_version(version, them) for version, them in by_version.items())


def _of_version(version: str, found: Sequence[Decision]) -> str:
    lines = [f"- `{one.spec}`, {count(one.cases, 'case')}: {one.why} ({one.largest}; {one.day})" for one in found]
    return "\n".join([f"### Recorded answers that changed in {version}", "", *lines])


def _after(one: Decision, since: str) -> bool:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", since):
        return one.day > since
    return not since or _parts(one.version) > _parts(since)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
