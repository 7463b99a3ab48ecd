"""Findings: failing rows of one cause together, whatever their spec, check, dtype and device, the weightiest first."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from lossref.checks.table import CHECKS
from lossref.core.nouns import Failure, Finding, Verdict
from lossref.losses import specs
from lossref.run.findings import words
from lossref.run.findings.alike import NARROW, alike, claimed, settings_of

__all__ = ["AGAINST", "accepted", "findings", "headline", "owner", "where_of"]

AGAINST = ("fail", "dialect", "fixed", "crashed", "timeout", "blocked")
"""The statuses of rows that a finding accounts for; a check that examined nothing stands against nobody."""
ENDED = ("crashed", "timeout", "blocked")
PART = "the gradient: the part of "  # how claims begin about the gradient of one term
LARGE = ("bulk", "rare", "laws", "strides", "repeatable")  # checks whose cases stay large
Key = tuple[str, ...]


class Part(NamedTuple):
    """One way in which one row fails."""

    row: Verdict
    failure: Failure


def findings(verdicts: Sequence[Verdict]) -> list[Finding]:
    """One finding for each cause; a row that fails in several ways belongs to several."""
    found = [_finding(key, parts) for key, parts in _grouped(verdicts).items()]
    return sorted(found, key=lambda one: (-one.weight, one.kind == "dialect", one.sentence, one.id))


def accepted(verdicts: Sequence[Verdict], known: Mapping[str, str]) -> tuple[list[Verdict], set[str]]:
    """The rows where findings are known, by id, each with its reason; and the ids of those that were found.

    A row of which all failures are known has the status "known"; of another one those that are known are left out.
    """
    if not known:
        return list(verdicts), set()
    ids: dict[int, set[str]] = {}
    for key, parts in _grouped(verdicts).items():
        for part in parts:
            ids.setdefault(id(part.failure), set()).add(_id(key))
    rows = [_less_known(row, ids, known) for row in verdicts]
    return rows, {one for them in ids.values() for one in them} & known.keys()


def _less_known(row: Verdict, ids: Mapping[int, set[str]], known: Mapping[str, str]) -> Verdict:
    causes = [(one, ids.get(id(one), set())) for one in row.failures]
    left = tuple(one for one, found in causes if not found or not found <= known.keys())
    if len(left) == len(causes):
        return row
    if left:
        return replace(row, failures=left, note=left[0].problem, explanation=left[0].explanation, case=left[0].case)
    reasons = dict.fromkeys(known[name] for _, found in causes for name in sorted(found))
    return replace(row, status="known", note=f"{row.note} (known: {'; '.join(reasons)})")


def headline(target: str, version: str, found: Sequence[Finding], otherwise: str = "conforms") -> str:
    """One sentence about a run: who, its dialect, how many findings of which kind; or else what is given."""
    who = " ".join(filter(None, (target, version)))
    settings = sum(one.kind == "dialect" for one in found)
    kinds = Counter(one.kind for one in found if one.kind != "dialect")
    said = [f"a dialect of {words.count(settings, 'setting')}"] if settings else []
    if kinds:
        parts = ", ".join(words.count(kinds[kind], kind) for kind in words.KINDS_IN_ORDER if kinds[kind])
        said.append(f"{words.count(kinds.total(), 'finding')} ({parts})")
    return f"{who}: {', '.join(said)}" if said else f"{who} {otherwise}"


def owner(one: Finding) -> Verdict:
    """The row that the smallest case is of."""
    mine = (row for row in one.rows if one.smallest in row.failures or one.smallest == _stated(row))
    return next(mine, one.rows[0])


def family(label: str) -> str:
    """What implementations of one package have in common: the label without the name of one of its functions."""
    return re.split(r"[:( #]", label, maxsplit=1)[0]


def where_of(where: str) -> tuple[str, int, str]:
    """File, line and qualified name of "file:line name"; an empty string and 0 for what is not known."""
    place, _, name = where.rpartition(" ")
    file, _, line = place.rpartition(":")
    return (file, int(line), name) if file and line.isdecimal() else ("", 0, name)


def _grouped(verdicts: Sequence[Verdict]) -> dict[Key, list[Part]]:
    """Failures by cause."""
    groups: dict[Key, list[Part]] = {}
    for part in _parts(verdicts):
        for key in _keys(part):
            groups.setdefault((family(part.row.target), *key), []).append(part)
    return _joined(groups)


def _id(key: Key) -> str:
    return hashlib.sha256("\n".join(key).encode()).hexdigest()[:8]


# Which failures have one cause ---------------------------------------------------------------------------


def _parts(verdicts: Sequence[Verdict]) -> Iterator[Part]:
    for row in verdicts:
        if row.status in AGAINST:
            yield from (Part(row, failure) for failure in row.failures or (_stated(row),))


def _stated(row: Verdict) -> Failure:
    """The failure of a row that states none apart: what its note says."""
    return Failure("ended" if row.status in ENDED else "", row.note, row.explanation, case=row.case)


def _keys(part: Part) -> Iterator[Key]:
    """The causes of a failure: one for each setting, else the claim that explains it, else what is wrong."""
    row, failure = part
    raised = failure.kind.startswith("raises") or failure.problem.startswith("raised ")
    unclaimed = raised and failure.explanation != words.DIFFERENTLY  # that says more than what was raised
    claim = "" if unclaimed or failure.explanation.startswith(words.NOTHING) else claimed(failure.explanation)
    settings = failure.settings or tuple(settings_of(failure.explanation))
    if settings:
        yield from (("setting", setting) for setting in settings)
    elif row.status in (*ENDED, "fixed"):
        yield row.status, alike(failure.problem)
    elif claim:
        yield "because", claim
    elif row.check in words.MANNERS:
        yield "behaviour", row.check, alike(failure.problem)
    elif raised:
        yield "raises", alike(failure.problem)
    else:
        yield "wrong", row.spec, alike(failure.kind or failure.problem)


def _joined(groups: dict[Key, list[Part]]) -> dict[Key, list[Part]]:
    """Causes that are one: gradients and laws of a spec of which one term is wrong, an exception in many checks."""
    found: dict[Key, list[Part]] = {}
    for key, parts in groups.items():
        found.setdefault(_joint(key, groups), []).extend(parts)
    return found


def _joint(key: Key, groups: dict[Key, list[Part]]) -> Key:
    if key[1] == "behaviour" and (*key[:1], "raises", key[-1]) in groups:
        return *key[:1], "raises", key[-1]
    if _is_attribute(key):
        return min(one for one in groups if _is_attribute(one) and _specs(groups[one]) == _specs(groups[key]))
    whole = key[-1].removeprefix(PART)
    if key[1] == "because" and whole != key[-1] and (*key[:2], whole) in groups:
        return *key[:2], whole  # the value of the term is wrong by the same factor
    if key[1] != "wrong" or not key[-1].startswith(("gradient ", "no gradient", "law ")):
        return key
    claimed = [one for one, parts in groups.items() if one[:2] == (key[0], "because") and _of_value(parts, key[2])]
    if key[-1].startswith("law ") and len(claimed) == 1:
        return claimed[0]  # a law is broken where a value is wrong
    values = [one for one in groups if one[:3] == key[:3] and one[-1].startswith("value ")]
    if len(values) == 1:
        return values[0]
    return key if key[-1].startswith("law ") else (*key[:3], "gradient")


def _is_attribute(key: Key) -> bool:
    """Whether it is an attribute that calls leave behind, and no setting of the process ("the ...")."""
    return key[1:3] == ("behaviour", "state") and not key[-1].startswith("the ")


def _specs(parts: list[Part]) -> set[tuple[str, str]]:
    return {(part.row.target, part.row.spec) for part in parts}


def _of_value(parts: list[Part], spec: str) -> bool:
    """Whether a cause makes a value of the spec wrong."""
    return any(part.row.spec == spec and part.failure.kind.startswith("value ") for part in parts)


# One finding ----------------------------------------------------------------------------------------------


def _finding(key: Key, parts: list[Part]) -> Finding:
    rows = tuple(dict.fromkeys(part.row for part in parts))
    heaviest, small = max(parts, key=words.weight), min(parts, key=_smallness)
    kind = _kind(key, parts)
    return Finding(
        id=_id(key),
        kind=kind,
        target=key[0],
        sentence=words.sentence(key[1:], small.row, small.failure, [part.failure.kind for part in parts]),
        size=words.size(kind, heaviest.row, heaviest.failure),
        weight=min(words.weight(heaviest), words.MOST.get(kind, 1.0)),
        where=small.row.where or next((row.where for row in rows if row.where), ""),
        look_for=words.look_for(key[1:], small.row, small.failure),
        rows=rows,
        smallest=small.failure,
    )


def _kind(key: Key, parts: list[Part]) -> str:
    sort = key[1]
    if sort == "because" and key[2] != words.DIFFERENTLY:
        return "precision" if NARROW.search(key[2]) else _of_number(parts)
    if sort in ("because", "behaviour", "fixed") or words.RETURNED in key[-1]:
        return "behaviour"
    return "dialect" if sort == "setting" else "crash" if sort in ("raises", *ENDED) else _of_number(parts)


def _of_number(parts: list[Part]) -> str:
    """A wrong gradient is one where no value is wrong."""
    kinds = {part.failure.kind for part in parts}
    return "wrong gradient" if all("gradient" in kind for kind in kinds) else "wrong number"


def _smallness(part: Part) -> tuple[bool, bool, bool, int, bool]:
    """The order in which cases are shown: those there are, of elementary losses, of the first checks."""
    spec, order = specs().get(part.row.spec), [check.name for check in CHECKS]
    place = order.index(part.row.check) if part.row.check in order else len(order)
    large = part.row.check in LARGE
    return (not part.failure.case, large, bool(spec and spec.composite), place, part.row.dtype != "float64")
