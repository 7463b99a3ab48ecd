"""Recorded cases under other threads and instruction sets: certified bytes, and how far the references drift.

`python regression/portability.py [SPEC ...]` prints the table of golden/README.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from lossref import losses
from lossref.core.nouns import Array
from lossref.hosts.probe import itself
from lossref.oracle.budgets import UNIT
from lossref.run.golden.changes.listing import errors_in
from lossref.run.golden.errors import read
from lossref.run.golden.files.folder import volume_in
from lossref.run.golden.files.volume import Volume, bytes_of
from lossref.run.golden.judging import asked, question
from lossref.run.golden.recording import compute
from lossref.targets.marks import DTYPES

GOLDEN = Path(__file__).parents[1] / "golden"
VARIANTS = {
    "1 thread": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    "AVX2": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "default": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}
CERTIFIED = ("focal", "giou", "dice", "hungarian")  # recorded anew under each variant, byte for byte


def numbers(name: str, held: Volume, dtype: str) -> Array:
    """All that the reference of a spec gives on its recorded cases, in a row."""
    one = losses.spec(name)
    found = [asked(one, itself(one), stored, question(one, stored), dtype)[0] for stored in held.cases]
    arrays = [x for result in found if result for x in (result.value, *result.gradient.values()) if x is not None]
    return np.concatenate([x.ravel() for x in arrays])


def drift(place: str, base: str) -> str:
    """How many numbers differ from those of another run, and the largest difference in ulp of their dtype."""
    with np.load(place) as one, np.load(base) as two:
        pairs = {key: (one[key], two[key]) for key in one.files}
    count = sum(int(np.count_nonzero(a != b)) for a, b in pairs.values())
    sizes = [np.abs(a - b) / (2 * UNIT[key.split()[1]] * np.maximum(np.abs(b), 1)) for key, (a, b) in pairs.items()]
    return f"{count} of {sum(a.size for a, _ in pairs.values())}, {max(float(x.max(initial=0)) for x in sizes):.3g} ulp"


def measure(place: str, specs: list[str]) -> None:
    """In a process of its own: the errors of the references, and digests of what is recorded anew."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    volumes = {name: volume_in(GOLDEN, name) for name in specs or sorted(losses.own())}
    errors = {one.key: one.ulp for name, held in volumes.items() for one in errors_in(losses.spec(name), held)}
    np.savez(
        place, **{f"{name} {dtype}": numbers(name, held, dtype) for name, held in volumes.items() for dtype in DTYPES}
    )
    again = {name: bytes_of(compute(losses.spec(name), volumes[name])) for name in CERTIFIED if name in volumes}
    digests = {name: hashlib.sha256(b"".join(pair)).hexdigest() for name, pair in again.items()}
    rows = [["/".join(key), ulp] for key, ulp in errors.items()]
    print(json.dumps({"capability": torch.backends.cpu.get_cpu_capability(), "errors": rows, "digests": digests}))


def main(specs: list[str]) -> int:
    """Compare every variant with errors.csv and with the recorded bytes."""
    known = read((GOLDEN / "errors.csv").read_bytes())
    recorded = {"/".join(one.key): one.ulp for one in known}
    print("| run under | ATen | error over the recorded | numbers unlike 1 thread, by at most | certified bytes |")
    print("|---|---|---|---|---|")
    folder = Path(tempfile.mkdtemp())
    for name, variables in VARIANTS.items():
        places = [str(folder / f"{one}.npz") for one in (name, next(iter(VARIANTS)))]
        code = [sys.executable, __file__, "--measure", places[0], *specs]
        environment = {**os.environ, **variables}
        said = subprocess.run(code, env=environment, capture_output=True, text=True, check=True).stdout
        found = json.loads(said.splitlines()[-1])
        pairs = [(ulp, recorded[key]) for key, ulp in found["errors"] if key in recorded]
        ratio = max(now / max(before, 1 / 4) for now, before in pairs)  # four times a quarter is the one unit allowed
        names = [one for one in CERTIFIED if one in found["digests"]]
        same = sum(found["digests"][one] == _recorded(one) for one in names)
        last = f"{drift(*places)} | {same} of {len(names)} equal"
        print(f"| {name} | {found['capability']} | {ratio:.2f} | {last} |", flush=True)
    return 0


def _recorded(spec: str) -> str:
    contents = [(GOLDEN / f"{spec}.{end}").read_bytes() for end in ("json", "safetensors")]
    return hashlib.sha256(b"".join(contents)).hexdigest()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(sys.argv[1:]))
