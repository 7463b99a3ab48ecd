"""Flip single bits of the recorded corpus, and see that each is found: `python regression/flips.py [COUNT] [SEED]`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from lossref.run.golden.files.folder import general_faults, manifest_in, spec_faults

GOLDEN = Path(__file__).parents[1] / "golden"


def found(folder: Path, name: str) -> bool:
    """Whether something is wrong with the folder, or with the spec that a file belongs to."""
    if any(general_faults(folder, None)):
        return True
    return any(spec_faults(folder, manifest_in(folder), name.partition(".")[0]))


def main(count: int = 2000, seed: int = 12) -> int:
    """Flip so many bits, one at a time, spread over all bytes; the number of those that nobody noticed."""
    rng, missed = np.random.default_rng(seed), 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(GOLDEN, Path(place) / "golden", ignore=shutil.ignore_patterns("*.md", ".*")))
        files = sorted(folder.iterdir())
        sizes = np.array([one.stat().st_size for one in files])
        for number in range(count):
            # half of them by bytes, half by files: a small file is as good a place as a large one
            path = files[int(rng.choice(len(files), p=sizes / sizes.sum() if number % 2 else None))]
            at, bit = int(rng.integers(path.stat().st_size)), 1 << int(rng.integers(8))
            content = path.read_bytes()
            path.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
            if not found(folder, path.name):
                missed += 1
                print(f"{path.name}: bit {bit} of byte {at} was flipped, and nobody noticed")
            path.write_bytes(content)
    print(f"{count} flips over {len(files)} files of {sizes.sum()} bytes: {count - missed} found")
    return missed


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))
