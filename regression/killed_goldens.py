"""Is the record whole, old or new, whenever a command that changes it is killed?

    python regression/killed_goldens.py                50 trials
    python regression/killed_goldens.py --trials 5

Each trial has a record of its own, with changes pending, and a process that accepts them. It is killed just before one
of its operations on files, the operations spread evenly over all that it does; every fifth is killed at a random moment
instead, in the middle of whatever it does. The next command is then to find the old record or the new one, byte for
byte, with nothing left behind. The exit status is 1 if any does not.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lossref.run.golden.changes.journal import JOURNAL, replaced, settled

OLD: dict[str, bytes] = {
    "MANIFEST.json": b"old list",
    "a.json": b"old entries",
    "a.safetensors": b"o" * 2_000_000,
    "b.json": b"untouched",
    "gone.json": b"old entries",
    ".pending/pending.json": b"2 changes",
    ".pending/a.json": b"new entries",
}
CHANGE: dict[str, bytes | None] = {
    "MANIFEST.json": b"new list",
    "a.json": b"new entries",
    "a.safetensors": b"n" * 3_000_000,
    "new.json": b"entries of a new spec",
    "HISTORY.md": b"why",
    "gone.json": None,
    ".pending/pending.json": None,
    ".pending/a.json": None,
}
KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from killed_goldens import CHANGE
from lossref.run.golden.changes.journal import replaced
left = [{operation}]

def hook(event, words):
    if event == "open" or event.startswith("os.") and event != "os.kill":
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

print("begins", flush=True)
sys.addaudithook(hook)
replaced(Path({folder!r}), CHANGE)
os.write(1, str(left[0]).encode())
"""
ENDLESS = 1_000_000


def made(folder: Path) -> None:
    """A record, with changes pending."""
    for name, content in OLD.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def held(folder: Path) -> dict[str, bytes]:
    """Every file of a record, but for the lock, which a killed process leaves and the next one takes."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lossref.lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def after() -> dict[str, bytes]:
    """The record when all is done."""
    changed = {name: content for name, content in CHANGE.items() if content is not None}
    return {name: content for name, content in OLD.items() if name not in CHANGE} | changed


def process(folder: Path, operation: int) -> subprocess.Popen[bytes]:
    """A process that changes the record, and kills itself before this operation on files."""
    code = KILLED.format(here=str(Path(__file__).parent), operation=operation, folder=str(folder))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)


def operations(folder: Path) -> int:
    """How many operations on files a whole change takes."""
    made(folder)
    said, _ = process(folder, ENDLESS).communicate()
    return ENDLESS - int(said.split()[-1])


def trial(folder: Path, operation: int, moment: float) -> tuple[str, str]:
    """What went wrong, nothing if all is well; and what the next command found."""
    made(folder)
    one = process(folder, operation)
    if moment:
        assert one.stdout is not None
        one.stdout.readline()
        time.sleep(moment)
        one.send_signal(signal.SIGKILL)
    one.communicate()
    said, found = settled(folder), held(folder)
    whole = "the old record" if found == OLD else "the new record" if found == after() else ""
    if not whole or os.path.lexists(folder / JOURNAL):
        return f"a mixture of {', '.join(sorted(found))}, or a journal is left", said
    done = "completed" if said.startswith("completed") else "undone" if said else "nothing to do"
    return _goes_on(folder), f"{whole} ({done})"


def _goes_on(folder: Path) -> str:
    """Whether the next change can be made."""
    replaced(folder, {"b.json": b"changed later"})
    return "" if (folder / "b.json").read_bytes() == b"changed later" else "the next change is not made"


def trials(count: int, seed: int, place: Path) -> Iterator[tuple[str, str, str]]:
    """What was done, what went wrong, and what was found, for each trial."""
    rng, total = random.Random(seed), operations(place / "whole")
    for number in range(count):
        moment = rng.uniform(0.0005, 0.05) if number % 5 == 4 else 0.0
        operation = ENDLESS if moment else number * (total + 1) // count
        when = f"after {1000 * moment:.1f} ms" if moment else f"before operation {operation} of {total}"
        yield when, *trial(place / f"{number}", operation, moment)


def main() -> int:
    """The trials; a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given, wrong = parser.parse_args(), 0
    with tempfile.TemporaryDirectory() as place:
        for number, (when, problem, found) in enumerate(trials(given.trials, given.seed, Path(place)), 1):
            print(f"{number:3}  killed {when}: {problem or found}", flush=True)
            wrong += bool(problem)
    print(f"{given.trials} trials, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
