"""How much of what is wrong is rejected: automatic mutants of the references, through the checks, first one first.

    python regression/power --sample 25 --seed 0        25 mutants of every spec, the same for a seed
    python regression/power --spec focal,detr --all     every mutant of these

A mutant counts if it differs: on cases of every kind, other seeds among them, it gives another value, gradient or
exception than what it was made of, by more than rounding. One that raises on every case says so itself and is not
counted. The CSV has a row for each mutant with the check that rejected it; the survivors are listed at the end.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from measuring import Row, rows_of
from scipy.stats import binomtest

from lossref.losses import specs


def told(rows: Sequence[Row]) -> str:
    """The rate for each spec and for all, and the survivors."""
    by_spec = defaultdict[str, list[Row]](list)
    for row in rows:
        if row.outcome not in ("equal", "raises"):
            by_spec[row.spec].append(row)
    lines = []
    for name, mine in sorted(by_spec.items()):
        dead = sum(row.outcome != "survives" for row in mine)
        lines.append(f"{name:22s} {dead:4d} of {len(mine):4d}  {100 * dead / len(mine):5.1f} %")
    counted = [row for mine in by_spec.values() for row in mine]
    dead = sum(row.outcome != "survives" for row in counted)
    low, high = binomtest(dead, max(len(counted), 1)).proportion_ci(method="wilson")
    kinds = Counter(row.outcome for row in rows)
    lines += [
        f"{row.spec} {row.file}:{row.line} {row.operator}: survives" for row in counted if row.outcome == "survives"
    ]
    lines.append(f"rejected by: {', '.join(f'{word} {count}' for word, count in kinds.most_common())}")
    share = 100 * dead / max(len(counted), 1)
    lines.append(f"{dead} of {len(counted)} mutants rejected: {share:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", default="", help="names, with commas between; none: all")
    parser.add_argument("--sample", type=int, default=25, help="mutants that differ, of each spec")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("reports/power.csv"))
    given = parser.parse_args()
    names = given.spec.split(",") if given.spec else list(specs())
    count = 0 if given.all else given.sample
    rows = list[Row]()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.open("w", newline="") as file, get_context("spawn").Pool(given.jobs, maxtasksperchild=1) as pool:
        writer = csv.DictWriter(file, [one.name for one in fields(Row)])
        writer.writeheader()
        for found in pool.imap_unordered(partial(rows_of, sample=count, seed=given.seed), names):
            rows += found
            writer.writerows(map(asdict, found))
            file.flush()
            print(f"{', '.join({row.spec for row in found})}: {len(rows)} mutants", file=sys.stderr, flush=True)
    print(told(rows))
    return int(any(row.outcome == "survives" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
