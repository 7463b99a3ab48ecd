"""What a run is going to ask: one job for each target and spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lossref import losses
from lossref.checks import table
from lossref.core.nouns import Spec
from lossref.targets.marks import DTYPES
from lossref.targets.resolve import resolve


@dataclass(frozen=True)
class Job:
    """All checks of one target on one spec; plain words, so that it travels to any process."""

    word: str
    spec: str
    label: str
    rows: tuple[tuple[str, str], ...]
    tier: str
    seed: int
    out: str
    as_spec: str | None = None
    unsupported: str = ""


def plan(
    words: list[str],
    specs: str = "*",
    check: str = "*",
    dtypes: tuple[str, ...] = DTYPES,
    tier: str = "quick",
    seed: int = 0,
    out: Path = Path("reports"),
    as_spec: str | None = None,
) -> list[Job]:
    """One job for each target and spec. Raises what `resolve` and the catalogues raise."""
    wanted = {spec.name: rows_of(spec, check, dtypes) for spec in losses.matching(specs)}
    found = [(word, target) for word in words for target in resolve(word, as_spec) if target.spec in wanted]
    return [
        Job(word, one.spec, one.label, wanted[one.spec], tier, seed, str(out), as_spec, one.unsupported)
        for word, one in found
    ]


def rows_of(spec: Spec, check: str = "*", dtypes: tuple[str, ...] = DTYPES) -> tuple[tuple[str, str], ...]:
    """The checks that a spec is asked, each with a dtype, in the order of the table. Raises `UnknownCheck`."""
    chosen = [one for one in table.matching(check) if table.applies(one, spec)]
    return tuple((one.name, dtype) for one in chosen for dtype in one.dtypes if dtype in dtypes)


def planned(jobs: list[Job]) -> int:
    """The number of verdicts that a complete run gives."""
    return sum(len(job.rows) for job in jobs)
