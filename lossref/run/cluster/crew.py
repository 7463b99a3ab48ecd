"""The process that carries out the orders of a worker: it asks in a process below it, as any run does.

It ends with the worker, however that ends, with all that it has started; and by itself, when it is told nothing.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from lossref.hosts import keeper
from lossref.hosts.worker.words import plain
from lossref.run import jobs as running
from lossref.run.cluster.dispatch import DONE, FAILED, REFUSED
from lossref.run.cluster.errand import ANSWER, ORDER
from lossref.run.cluster.order import Done, Order, differs
from lossref.run.plan import Job

IDLE = 60.0  # seconds without an order
Answer = tuple[str, str, bytes]


def main() -> None:
    """Carry out what the standard input names, until there is no more."""
    said = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    heard, orders = os.dup(0), queue.Queue[Path]()
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    threading.Thread(target=_listen, args=(heard, orders), daemon=True).start()
    with keeper.kept():
        serve(_until_idle(orders), said)


def _listen(heard: int, orders: queue.Queue[Path]) -> None:
    """Put every order that comes into the queue. Where no more can come, the worker is gone, and so is this process."""
    with os.fdopen(heard, "rb") as lines:
        for line in lines:
            orders.put(Path(os.fsdecode(line.rstrip(b"\n"))))
    os.kill(os.getpid(), signal.SIGKILL)  # in the middle of a job, it may be; the keeper ends the rest


def _until_idle(orders: queue.Queue[Path]) -> Iterator[Path]:
    while True:
        try:
            yield orders.get(timeout=IDLE)
        except queue.Empty:
            return


def serve(orders: Iterator[Path], said: int) -> None:
    """Answer each order in its folder, and write a line when the answer is there."""
    while True:
        with running.processes(1) as pool:
            same = False
            for folder in orders:
                answer, whole = _answer(folder, pool, same)
                same = answer[0] != REFUSED
                _write(folder, answer)
                os.write(said, b"\n")
                if not whole:
                    break
            else:
                return


def _write(folder: Path, answer: Answer) -> None:
    kind, sentence, body = answer
    (folder / ANSWER).write_bytes(f"{kind}\n{plain(sentence)}\n".encode("utf-8", "backslashreplace") + body)


def _answer(folder: Path, pool: Executor, same: bool) -> tuple[Answer, bool]:
    """The answer to an order, and whether the process that was to give it lives; `same`: it is known to fit."""
    order: Order = pickle.loads((folder / ORDER).read_bytes())
    try:
        fault = "" if same else pool.submit(differs, order).result()
    except BrokenProcessPool:
        return (FAILED, "its process ended before anything was asked", b""), False
    job = order.job(str(folder))
    if fault or job is None:
        return (REFUSED if fault else DONE, fault, b""), True
    return _done(job, folder, pool)


def _done(job: Job, folder: Path, pool: Executor) -> tuple[Answer, bool]:
    [(_, found)] = running.together([job], pool)
    outcome = found or running.by_itself(job, lambda: None)
    files = {path.name: path.read_bytes() for path in sorted((folder / "cases").glob("*")) if path.is_file()}
    return (DONE, "", pickle.dumps(Done(outcome, files))), found is not None
