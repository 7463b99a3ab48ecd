"""Recorded cases on a GPU: how far the references drift there from the record, and from one thread of the CPU.

    python regression/drift.py --device cuda --out FOLDER [SPEC ...]     measure: the row of golden/README.md
    python regression/drift.py --merge FOLDER/errors-cuda.csv            take the errors into golden/errors.csv

Every recorded case is asked in every dtype on both, in the same process. Written are errors-DEVICE.csv, which is
what golden/errors.csv holds of a device class, and drift-DEVICE.csv, a row for each spec and dtype.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures import TimeoutError as Late
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from lossref import losses
from lossref.core.nouns import Array
from lossref.hosts.probe import Result, itself, on_device
from lossref.oracle.budgets import UNIT
from lossref.run.atomic import write_bytes, write_text
from lossref.run.golden.changes.journal import replaced
from lossref.run.golden.errors import NAME, Error, errors_of, largest, merged, read, text_of
from lossref.run.golden.files import manifest
from lossref.run.golden.files.folder import content_of, manifest_in, volume_in
from lossref.run.golden.judging import asked, question
from lossref.targets.marks import DTYPES

GOLDEN = Path(__file__).parents[1] / "golden"
PARTS = 6  # of the cases of a composite, each for one process


class Drift(NamedTuple):
    """Of some cases of a spec in a dtype: numbers that are not those of the CPU, by at most so many ulp."""

    spec: str
    dtype: str
    cases: int
    numbers: int
    unlike: int
    ulp: float
    left_out: int  # of cases: another question on a GPU, or one that this dtype leaves open
    outside: str = ""  # the first case outside of its recorded budget


class Task(NamedTuple):
    """A part of the cases of a spec."""

    spec: str
    part: int
    parts: int
    device: str


def measured(task: Task) -> tuple[list[Drift], list[Error]]:
    """In a process of its own: every case of a part, on one thread and on the device."""
    torch.set_num_threads(1)
    spec, errors = losses.spec(task.spec), list[Error]()
    here, there = itself(spec), replace(itself(spec), device=task.device)
    found = {dtype: Drift(task.spec, dtype, 0, 0, 0, 0.0, 0) for dtype in DTYPES}
    for stored in volume_in(GOLDEN, task.spec).cases[task.part :: task.parts]:
        case = question(spec, stored)
        for dtype, so_far in found.items():
            if on_device(spec, case, task.device) is not case:
                found[dtype] = so_far._replace(left_out=so_far.left_out + 1)
                continue
            one, _ = asked(spec, here, stored, case, dtype)
            other, evidence = asked(spec, there, stored, case, dtype)
            outside = so_far.outside or (f"{stored.entry.id}: {evidence.problem}" if evidence.problem else "")
            if one is None or other is None:
                found[dtype] = so_far._replace(left_out=so_far.left_out + 1, outside=outside)
                continue
            errors += errors_of(spec, stored, other, dtype, task.device)
            found[dtype] = _with(so_far._replace(outside=outside), numbers(other), numbers(one))
    return list(found.values()), largest(errors)


def numbers(found: Result) -> Array:
    """All numbers of an answer, in a row."""
    return np.concatenate([x.ravel() for x in (found.value, *found.gradient.values()) if x is not None])


def _with(so_far: Drift, got: Array, want: Array) -> Drift:
    both = (got, want)
    unlike = (got != want) & ~(np.isnan(got) & np.isnan(want))
    a, b = (x[unlike] for x in both)
    size = np.abs(a - b) / (2 * UNIT[so_far.dtype] * np.maximum(np.abs(b), 1))
    worst = float(np.where(np.isnan(size), np.inf, size).max(initial=so_far.ulp))
    cases, count = so_far.cases + 1, so_far.numbers + got.size
    return so_far._replace(cases=cases, numbers=count, unlike=so_far.unlike + int(unlike.sum()), ulp=worst)


def tasks_of(specs: Iterable[str], device: str) -> list[Task]:
    """The parts of all specs, composites first, because they take longest."""
    own = losses.own()
    names = sorted(specs or own, key=lambda name: (not losses.spec(name).composite, name))
    counts = {name: PARTS if losses.spec(name).composite else 1 for name in names}
    return [Task(name, part, counts[name], device) for name in names for part in range(counts[name])]


def summed(found: Iterable[Drift]) -> list[Drift]:
    """The parts of a spec and dtype together."""
    total: dict[tuple[str, str], Drift] = {}
    for one in found:
        before = total.get(key := (one.spec, one.dtype))
        if before is not None:
            more = {name: getattr(one, name) + getattr(before, name) for name in ("cases", "numbers", "unlike")}
            more["left_out"] = one.left_out + before.left_out
            one = one._replace(**more, ulp=max(one.ulp, before.ulp), outside=before.outside or one.outside)
        total[key] = one
    return [total[key] for key in sorted(total)]


def row(found: list[Drift], errors: list[Error], device: str) -> str:
    """The row of golden/README.md: elementary and composite apart."""
    known = {
        (one.spec, one.dtype, one.part): one.ulp for one in read((GOLDEN / NAME).read_bytes()) if one.device == "cpu"
    }
    over, unlike = [], []
    for composite in (False, True):
        mine = {name for name in losses.own() if losses.spec(name).composite == composite}
        # four times a quarter is the one unit that is allowed
        pairs = [(one.ulp, known.get((one.spec, one.dtype, one.part), 0.0)) for one in errors if one.spec in mine]
        over.append(f"{max((now / max(before, 1 / 4) for now, before in pairs), default=0.0):.2f}")
        some = [one for one in found if one.spec in mine]
        count, total = (sum(getattr(one, name) for one in some) for name in ("unlike", "numbers"))
        unlike.append(f"{count} of {total}, {max((one.ulp for one in some), default=0.0):.3g} ulp")
    return f"| {device} | torch {torch.__version__} | {', '.join(over)} | {' | '.join(unlike)} |"


def run(specs: list[str], device: str, out: Path, jobs: int, limit: float) -> int:
    """Measure, write both files, print the row; 3 if the limit came first, and what is missing."""
    until, drifts, errors = time.time() + limit, list[Drift](), list[Error]()
    tasks, done = tasks_of(specs, device), set[Task]()
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    running: dict[Future[tuple[list[Drift], list[Error]]], Task] = {pool.submit(measured, one): one for one in tasks}
    said = []
    try:
        for future in as_completed(running, timeout=max(until - time.time(), 1)):
            done.add(running[future])
            try:
                some, off = future.result()
            except Exception as error:
                said.append(f"{running[future].spec}: {type(error).__name__}: {str(error)[:200]}")
                continue
            drifts, errors = drifts + some, errors + off
    except Late:
        for process in list(pool._processes.values()):
            process.kill()
    pool.shutdown(wait=False, cancel_futures=True)
    missing = sorted({one.spec for one in set(tasks) - done})
    found, off = summed(drifts), largest(errors)
    out.mkdir(parents=True, exist_ok=True)
    kept = [one for one in off if one.spec not in missing]  # a part of the cases would make the record too small
    write_bytes(out / f"errors-{device}.csv", text_of(kept))
    table = pd.DataFrame(found, columns=Drift._fields)
    write_text(out / f"drift-{device}.csv", str(table.to_csv(index=False, float_format="%.4g")))
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "the CPU"
    print(row(found, off, name))
    for one in found:
        said += [f"{one.spec} {one.dtype}: outside of its budget: {one.outside[:200]}"] if one.outside else []
    print("\n".join(said + [f"not finished: {', '.join(missing)}"] * bool(missing)))
    return 3 if missing else int(bool(said))


def merge(path: Path) -> None:
    """The errors of a device class in place of those that golden/errors.csv has of it, and the list anew."""
    content, rows = content_of(GOLDEN, NAME), read(path.read_bytes())
    for spec in sorted({one.spec for one in rows}):
        content = merged(content, spec, [one for one in rows if one.spec == spec])
    held = manifest_in(GOLDEN)
    files = tuple(manifest.listed(NAME, content) if one.name == NAME else one for one in held.files)
    replaced(GOLDEN, {NAME: content, manifest.NAME: manifest.manifest_bytes(replace(held, files=files))})


def main() -> int:
    """Measure, or merge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*", help="none: all")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the two files")
    parser.add_argument("--jobs", type=int, default=14)
    parser.add_argument("--limit-s", type=float, default=60)
    parser.add_argument("--merge", type=Path, help="errors-DEVICE.csv of an earlier run")
    options = parser.parse_args()
    if options.merge:
        merge(options.merge)
        return 0
    return run(options.specs, options.device, options.out, options.jobs, options.limit_s)


if __name__ == "__main__":
    sys.exit(main())
