"""The report of a run: summary.csv, badge.json, and one HTML page that needs nothing but itself.

`verdicts.jsonl` and `run.json` are the truth; what is written here can be made again from them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from lossref.core.nouns import Verdict
from lossref.report.cards import array_text, cards, number_text
from lossref.report.charts import spread, times
from lossref.report.frame import filled
from lossref.report.machine import badge
from lossref.report.matrix import NOT_FAILING, columns, counts, failing, lines, ratio_text, row_anchor
from lossref.report.stored import ReportError, read, write_csv
from lossref.run.atomic import write_text
from lossref.run.findings import findings, headline

__all__ = ["ReportError", "read", "write"]

NUMBER = re.compile(r"-?\d[\d.]*(e[+-]?\d+)?|-?\b(inf|nan)\b")
MOST_ROWS = 1200  # on the page; the others stand in summary.csv
MOST_FAMILIES = 6  # of one input


class Head(NamedTuple):
    """What colours the headline, the sentence about findings, and the one about checks."""

    status: str
    sentence: str
    checks: str


def write(directory: Path, docs: Mapping[str, str] | None = None) -> Path:
    """Write summary.csv, badge.json and index.html beside the verdicts; returns the path of the page.

    `docs` says in one line what each check asserts, in the order of the columns; None: as `CHECKS` do.
    """
    verdicts, run = read(directory)
    if docs is None:
        from lossref.checks.table import CHECKS

        docs = {check.name: check.doc for check in CHECKS}
    write_csv(directory, verdicts)
    write_text(directory / "badge.json", json.dumps(badge(verdicts, run)) + "\n")
    write_text(directory / "index.html", _html(directory, verdicts, run, docs))
    return directory / "index.html"


def _html(directory: Path, verdicts: list[Verdict], run: dict[str, Any], docs: Mapping[str, str]) -> str:
    verdicts = _ordered(verdicts, list(run["families"]), list(docs))
    found = findings(verdicts)
    names = columns(verdicts, docs)
    rows = _anchored(_worst_first(verdicts)[:MOST_ROWS])
    return filled(
        "report.html",
        {"array": array_text, "number": number_text, "ratio": ratio_text, "svg": Markup},
        run=run,
        docs=docs,
        made=len(verdicts),
        counts=counts(verdicts),
        head=_head(verdicts, run),
        several=len({verdict.target for verdict in verdicts}) > 1,
        cards=cards(directory, found),
        columns=names,
        lines=lines(verdicts, names, found),
        rows=rows,
        place=partial(_place, {row_anchor(row) for row in verdicts} - {anchor for anchor, _ in rows}),
        left_out=max(len(verdicts) - MOST_ROWS, 0),
        exceptions=_folded(verdict for verdict in verdicts if verdict.status in NOT_FAILING[1:]),
        drawn=_drawn(run["families"]),
        spread=spread(verdicts),
        times=times(verdicts),
        devices=sorted({verdict.device for verdict in verdicts} or {"cpu"}),
    )


def _ordered(verdicts: list[Verdict], specs: list[str], checks: list[str]) -> list[Verdict]:
    """By spec and check, in the given orders (others last); dtypes widest first."""

    def rank(name: str, order: list[str]) -> int:
        return order.index(name) if name in order else len(order)

    widest_first = sorted(verdicts, key=lambda v: v.dtype, reverse=True)
    return sorted(widest_first, key=lambda v: (rank(v.spec, specs), v.spec, v.target, v.device, rank(v.check, checks)))


def _worst_first(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Where not all have room, those that stand against the target have; else all, in their order."""
    return list(verdicts) if len(verdicts) <= MOST_ROWS else sorted(verdicts, key=failing, reverse=True)


def _anchored(verdicts: Iterable[Verdict]) -> list[tuple[str, Verdict]]:
    """The rows, the first of each spec and check with the name of its place."""
    seen, found = set[str](), []
    for row in verdicts:
        anchor = row_anchor(row)
        found.append(("" if anchor in seen else anchor, row))
        seen.add(anchor)
    return found


def _place(elsewhere: Set[str], link: str) -> str:
    """Where a link leads: to the place of that name, or to the table of all rows where that one has no room here."""
    return "summary.csv" if link in elsewhere else f"#{link.replace(' ', '')}"


def _head(verdicts: list[Verdict], run: dict[str, Any]) -> Head:
    status, checks = _checks(verdicts, run)
    found = findings(verdicts)
    sentence = headline("", "", found, "").lstrip(": ") if found else checks
    return Head(status, sentence, checks if found else "")


def _checks(verdicts: list[Verdict], run: dict[str, Any]) -> tuple[str, str]:
    """The status that colours the headline, and what it says of the target."""
    found, total, failed = counts(verdicts), len(verdicts), sum(map(failing, verdicts))
    if failed:
        return "fail", f"does not conform: {failed} of {total} checks fail"
    if total < run["planned"] or not total:
        return "known", f"run incomplete: {total} of {run['planned']} checks made, none failed"
    if "inconclusive" in found:
        return "known", f"is not shown to conform: {found['inconclusive']} of {total} checks examined nothing"
    if "pass" not in found:
        return "known", "is not shown to conform: no check passed"
    known = found.get("known")
    return "pass", f"conforms, apart from {known} known failure{'s'[: known - 1]}" if known else "conforms"


def _folded(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """Verdicts that say the same up to their numbers, together."""
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for v in verdicts:
        groups.setdefault((v.spec, v.target, v.device, v.status, NUMBER.sub("#", v.note)), []).append(v)
    return list(groups.values())


def _drawn(families: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int, list[tuple[str, float]]]]:
    """Spec, input, rows, and the families with their shares, the most frequent first."""
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for spec, numbers in families.items():
        for key, count in numbers.items():
            name, _, family = key.partition("=")
            found.setdefault((spec, name), []).append((family, count))
    return [(*place, *_shares(pairs)) for place, pairs in found.items()]


def _shares(pairs: list[tuple[str, int]]) -> tuple[int, list[tuple[str, float]]]:
    total = sum(count for _, count in pairs)
    return total, [(family, count / (total or 1)) for family, count in sorted(pairs, key=lambda pair: -pair[1])]
