"""The least numbers of cases that a record has to hold, spec by spec: a record that was made smaller is not whole.

Whoever takes cases away and writes all digests anew has to change this table, too, where it is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LEAST: dict[str, dict[str, int]] = {}
"""Spec -> group -> the least number of cases: all of them, and those of each group of `grouped`."""


def grouped(row: Mapping[str, Any]) -> Iterator[str]:
    """The groups that a case counts for."""
    yield "all"
    yield from (flag for flag in row["flags"] if "=" not in flag)
    if row["origin"] != "certified":
        yield row["origin"].partition(":")[0]


def counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many cases there are of each group."""
    found: dict[str, int] = {}
    for row in rows:
        for group in grouped(row):
            found[group] = found.get(group, 0) + 1
    return found


def too_few(spec: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One sentence for each group of which there are fewer cases than the code wants."""
    found = counts(rows)
    for group, least in LEAST.get(spec, {}).items():
        if found.get(group, 0) < least:
            yield f"{spec}.json: {group}: {found.get(group, 0)} cases, at least {least} belong to the record"
