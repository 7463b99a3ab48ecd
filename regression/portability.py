"""Recorded cases under other threads and instruction sets: certified bytes, and how far the references drift.

`python regression/portability.py [SPEC ...]` prints the table of golden/README.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"
VARIANTS = {
    "1 thread": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    "AVX2": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "default": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}
CERTIFIED = ("focal", "giou", "dice", "hungarian")  # recorded anew under each variant, byte for byte


def measure(specs: list[str]) -> None:
    """In a process of its own: the errors of the references, and digests of what is recorded anew."""
    import torch

    from lossref import losses
    from lossref.run.golden.changes.listing import errors_in
    from lossref.run.golden.files.folder import volume_in
    from lossref.run.golden.files.volume import bytes_of
    from lossref.run.golden.recording import compute

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    volumes = {name: volume_in(GOLDEN, name) for name in specs or sorted(losses.own())}
    errors = {one.key: one.ulp for name, held in volumes.items() for one in errors_in(losses.spec(name), held)}
    again = {name: bytes_of(compute(losses.spec(name), volumes[name])) for name in CERTIFIED if name in volumes}
    digests = {name: hashlib.sha256(b"".join(pair)).hexdigest() for name, pair in again.items()}
    rows = [["/".join(key), ulp] for key, ulp in errors.items()]
    print(json.dumps({"capability": torch.backends.cpu.get_cpu_capability(), "errors": rows, "digests": digests}))


def main(specs: list[str]) -> int:
    """Compare every variant with errors.csv and with the recorded bytes."""
    from lossref.run.golden.errors import read

    recorded = {"/".join(one.key): one.ulp for one in read((GOLDEN / "errors.csv").read_bytes())}
    print("| run under | ATen | largest error over the recorded one | kinds of error that differ | certified bytes |")
    print("|---|---|---|---|---|")
    for name, variables in VARIANTS.items():
        code = [sys.executable, __file__, "--measure", *specs]
        said = subprocess.run(code, env={**os.environ, **variables}, capture_output=True, text=True, check=True).stdout
        found = json.loads(said.splitlines()[-1])
        pairs = [(ulp, recorded[key]) for key, ulp in found["errors"] if key in recorded]
        ratio = max(now / max(before, 1 / 4) for now, before in pairs)  # four times a quarter is the one unit allowed
        differ = sum(abs(now - before) > 0.01 * before for now, before in pairs)
        names = [one for one in CERTIFIED if one in found["digests"]]
        same = sum(found["digests"][one] == _recorded(one) for one in names)
        last = f"{differ} of {len(pairs)} | {same} of {len(names)} equal"
        print(f"| {name} | {found['capability']} | {ratio:.2f} | {last} |", flush=True)
    return 0


def _recorded(spec: str) -> str:
    contents = [(GOLDEN / f"{spec}.{end}").read_bytes() for end in ("json", "safetensors")]
    return hashlib.sha256(b"".join(contents)).hexdigest()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
