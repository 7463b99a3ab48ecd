"""Is anybody accused who is right? References, drop-ins and independent implementations, over many seeds.

    python regression/false_accusations.py                                  20 seeds of all: hours
    python regression/false_accusations.py --seeds 3 regression/independent/overlaps.py
    python regression/false_accusations.py --first 20 --seeds 5 reference --spec '*iou'

Each target is validated at the quick tier under each seed. Printed are, for every target, spec and seed, the failures
of how many verdicts, and the first of them; the exit status is 1 if there is any, a run that does not end among them.
What is independent was written from `lossref/spec` alone, without a look at oracle, references or drop-ins.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
TARGETS = (
    "reference",
    "dropin",
    *(f"regression/independent/{one.name}" for one in sorted(HERE.glob("independent/*.py"))),
)
INNOCENT = ("pass", "unsupported")
FORM = "{:34} {:22} {:>4} {:>9}  {}"


class Line(NamedTuple):
    """One line of the table: failures among the verdicts of a spec under a seed, and what the first one says."""

    target: str
    spec: str
    seed: int
    failures: int
    verdicts: int
    said: str = ""

    def __str__(self) -> str:
        return FORM.format(self.target, self.spec, self.seed, f"{self.failures}/{self.verdicts}", self.said)


def run(target: str, seed: int, more: list[str]) -> tuple[dict[str, Any], str]:
    """What `lossref validate` reports of one target under one seed, or the last thing that it says on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "lossref", "validate", target, "--seed", str(seed), "--format", "json", *more]
        ended = subprocess.run([*words, "--out", folder], cwd=HERE.parent, capture_output=True, text=True)
    try:
        return json.loads(ended.stdout), ""
    except ValueError:
        return {"rows": []}, (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]


def lines(target: str, seed: int, more: list[str]) -> Iterator[Line]:
    """The lines of one run."""
    report, complaint = run(target, seed, more)
    if complaint or not report["rows"]:
        yield Line(target, "", seed, 1, 1, complaint or "no verdict")
    rows = defaultdict[tuple[str, str], list[dict[str, Any]]](list)
    for row in report["rows"]:
        label = "" if target in ("reference", "dropin") else f"{Path(target).stem}:{row['target']}"
        rows[label or target, row["spec"]].append(row)
    for (name, spec), them in rows.items():
        bad = [row for row in them if row["status"] not in INNOCENT]
        said = f"{bad[0]['check']} {bad[0]['dtype']} {bad[0]['status']}: {bad[0]['note']}" if bad else ""
        yield Line(name, spec, seed, len(bad), len(them), said)


def asked() -> argparse.Namespace:
    """What is on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", default=[], metavar="TARGET")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--spec", action="append", default=[])
    return parser.parse_args()


def main() -> int:
    """Print the table as it grows; 1 if anybody was accused."""
    given = asked()
    more = [word for one in given.spec for word in ("--spec", one)]
    wrong = verdicts = 0
    print(FORM.format("target", "spec", "seed", "failures", "the first one"))
    for seed in range(
        given.first, given.first + given.seeds
    ):  # the oracle's answers are shared by all targets of a seed
        for target in given.targets or TARGETS:
            for line in lines(target, seed, more):
                print(line, flush=True)
                wrong, verdicts = wrong + line.failures, verdicts + line.verdicts
    print(f"{wrong} failures in {verdicts} verdicts, {given.seeds} seeds from {given.first}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
