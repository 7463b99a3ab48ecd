"""A finished job as one line of a file: where a run that was killed goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, NamedTuple

from lossref.core.nouns import Verdict, verdict_of
from lossref.run.saved.schema import Fault, read

Rows = Sequence[tuple[str, str]]


class Outcome(NamedTuple):
    """What came out of a job: its verdicts, how often each family was drawn, and what it took.

    cpu: seconds by what they were for, "checks" and "causes", of this process; not what a target computes in its own
    seconds: from its beginning to its end, by the clock on the wall
    """

    verdicts: list[Verdict]
    families: dict[str, int]
    cpu: Mapping[str, float] = MappingProxyType({})
    seconds: float = 0.0


def row_of(one: Verdict) -> tuple[str, ...]:
    """What tells a row of a run from all others."""
    return one.spec, one.target, one.check, one.dtype, one.device


def spent(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """CPU seconds of all jobs by what they were for."""
    found = Counter[str]()
    for one in outcomes:
        found.update(one.cpu)
    return {name: round(seconds, 2) for name, seconds in found.items()}


def line_of(at: int, outcome: Outcome) -> str:
    """The number of a job in its plan, and its outcome."""
    verdicts = [asdict(one) for one in outcome.verdicts]
    took = {"cpu": dict(outcome.cpu), "seconds": outcome.seconds}
    return json.dumps({"job": at, "verdicts": verdicts, "families": outcome.families, **took})


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
    cpu, seconds = line.get("cpu", {}), line.get("seconds", 0.0)
    if not isinstance(cpu, dict) or any(type(spent) is not float or not spent >= 0 for spent in cpu.values()):
        raise Fault("cpu: expected seconds")
    if type(seconds) is not float or not seconds >= 0:
        raise Fault("seconds: expected a number of seconds")
    return {at: Outcome(verdicts, families, cpu, seconds)}
