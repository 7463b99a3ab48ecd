"""What a worker of a cluster is sent: it has a process of lossref carry out an order, and keeps that for the next one.

These functions travel by value and import nothing of lossref: neither scheduler nor worker has it loaded, and a worker
without it can say so. A process is told a folder on its standard input, reads the order there, writes its answer there,
and says so by a line on its standard output.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CREW = "from lossref.run.cluster.crew import main; main()"
ORDER, ANSWER = "order", "answer"
LEAST = 2**16  # bytes of what a process printed that are looked at
ENDING = 1.0  # seconds that a process has to come to its end by itself


def errand(place: str, order: bytes, folder: str, environment: dict[str, str], seconds: float) -> tuple[str, str, Any]:
    """What comes of an order at a place of this worker: done with a body, refused or failed with a sentence.

    The place's process is started in the `folder`, with this `environment` on top of the worker's own, unless it runs.
    """
    from distributed import get_worker

    worker = get_worker()
    crews = vars(worker).setdefault("_lossref_crews", {})
    if not os.path.isdir(folder):
        return "refused", f"it has no folder {folder}, where the run was started", None
    with tempfile.TemporaryDirectory(prefix="lossref-", dir=worker.local_directory) as scratch:
        for name in [name for name, one in list(crews.items()) if one.poll() is not None]:
            crews.pop(name, None)  # of runs that are over: their processes have ended, and are not kept as dead ones
        crew, fresh = crews.pop(place, None), False  # nobody else's meanwhile: of a run that gave up on it, say
        if crew is None:
            crew, fresh = _started(folder, environment), True
        Path(scratch, ORDER).write_bytes(order)
        said = _answered(crew, scratch, time.monotonic() + seconds)
        if said:
            return _why(said, fresh, *_ended(crew))
        crews[place] = crew
        kind, sentence, body = Path(scratch, ANSWER).read_bytes().split(b"\n", 2)
        return kind.decode(), sentence.decode(), body


def _started(folder: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process of lossref that leads a session of its own: what interrupts the worker is not meant for it."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", CREW],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _answered(crew: subprocess.Popen[bytes], scratch: str, deadline: float) -> str:
    """Tell the process of an order and wait for its line: nothing if it came, else what came in its place."""
    assert crew.stdin is not None
    assert crew.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        crew.stdin.write(scratch.encode() + b"\n")
        crew.stdin.flush()
    ready, _, _ = select.select([crew.stdout], [], [], max(deadline - time.monotonic(), 0))
    if not ready:
        return "late"
    return "" if os.read(crew.stdout.fileno(), 1) == b"\n" else "ended"


def _ended(crew: subprocess.Popen[bytes]) -> tuple[int, str]:
    """The exit code of a process that is of no use any more, and the last line that it printed until it was ready."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        crew.wait(ENDING)
    crew.kill()
    printed = crew.stderr.read(LEAST) if crew.stderr else b""
    lines = printed.decode(errors="replace").strip().splitlines()
    return crew.wait(), lines[-1][:200] if lines else ""


def _why(said: str, fresh: bool, code: int, printed: str) -> tuple[str, str, Any]:
    if said == "late":
        return "failed", "it did not come to its end in time", None
    if "No module named 'lossref" in printed:
        return "refused", f"its Python, {sys.executable}, has no lossref, or another version", None
    if fresh and printed and code > 0:
        return "refused", f"lossref does not start there: {printed}", None
    return "failed", f"its process ended with {code}", None


def seen(dask_scheduler: Any = None) -> dict[str, tuple[int, float]]:
    """Address -> threads, and when it was last heard of by the clock of the scheduler, of every worker."""
    return {one.address: (one.nthreads, one.last_seen) for one in dask_scheduler.workers.values()}
