"""A finished job as one line of a file: where a run that was killed goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lossref.core.nouns import Verdict, verdict_of
from lossref.run.saved.schema import Fault, read

Rows = Sequence[tuple[str, str]]
Outcome = tuple[list[Verdict], dict[str, int]]


def line_of(at: int, outcome: Outcome) -> str:
    """The number of a job in its plan, its verdicts, and how often each family of inputs was drawn."""
    return json.dumps({"job": at, "verdicts": [asdict(one) for one in outcome[0]], "families": outcome[1]})


def of_lines(lines: Iterable[Mapping[str, Any]], plan: Sequence[Rows]) -> dict[int, Outcome]:
    """The same of the lines that were read, of a plan with these rows for each job. Raises `Fault`."""
    found = dict[int, Outcome]()
    for number, line in enumerate(lines, 1):
        try:
            found |= _of_line(line, plan)
        except Fault as error:
            raise Fault(f"line {number}: {error}") from None
    return found


def _of_line(line: Mapping[str, Any], plan: Sequence[Rows]) -> dict[int, Outcome]:
    at, listed, families = (line.get(name) for name in ("job", "verdicts", "families"))
    if type(at) is not int or not 0 <= at < len(plan):
        raise Fault(f"job: expected a number below {len(plan)}")
    if not isinstance(families, dict) or any(type(count) is not int or count < 0 for count in families.values()):
        raise Fault("families: expected numbers of cases")
    given = listed if isinstance(listed, list) else []
    verdicts = [verdict_of(read(json.dumps(one).encode(), "verdict", infinite=True)) for one in given]
    if [(one.check, one.dtype) for one in verdicts] != list(plan[at]):
        raise Fault(f"verdicts: expected the {len(plan[at])} of job {at}")
    return {at: (verdicts, families)}
