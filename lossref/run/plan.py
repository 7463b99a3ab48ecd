"""What a run is going to ask: one job for each target and spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lossref import losses
from lossref.checks import table
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
    dtypes: tuple[str, ...] = ("float64", "float32"),
    tier: str = "quick",
    seed: int = 0,
    out: Path = Path("reports"),
    as_spec: str | None = None,
) -> list[Job]:
    """One job for each target and spec. Raises what `resolve` and the catalogues raise."""
    wanted = [spec.name for spec in losses.matching(specs)]
    chosen = [(one, dtype) for one in table.matching(check) for dtype in one.dtypes if dtype in dtypes]
    jobs = []
    for word in words:
        for target in resolve(word, as_spec):
            if target.spec in wanted:
                spec, folder = losses.spec(target.spec), str(out)
                rows = tuple((one.name, dtype) for one, dtype in chosen if table.applies(one, spec))
                jobs.append(Job(word, target.spec, target.label, rows, tier, seed, folder, as_spec, target.unsupported))
    return jobs


def planned(jobs: list[Job]) -> int:
    """The number of verdicts that a complete run gives."""
    return sum(len(job.rows) for job in jobs)
