"""The unattended run: compile in parallel, then time, then count; a process that dies or hangs is replaced."""

from __future__ import annotations

import argparse
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from readings import Key, Reading, put, read, shown, write
from rich.console import Console
from working import BROKEN, FAILED, keys

HERE = Path(__file__).parent
LATE = 90.0  # seconds for one row; more is a hang
INCOMPLETE = 3


def supervised(options: argparse.Namespace) -> int:
    """Do all that is to do within the limit, and print the table; 3 if something is left."""
    options.csv = options.csv or Path(f"ratios-{options.device}.csv")
    options.csv.parent.mkdir(parents=True, exist_ok=True)
    options.until = time.time() + options.limit_s
    environment = _environment()
    for options.eager in (True, False):  # what can be had at once comes first
        if not options.eager and any(not read(options.csv).get(key, Reading(*key)).timed for key in keys(options.only)):
            _compile(options, environment)
        for part in ("time", "count"):
            _until_done(options, part, environment)
    rows = read(options.csv)
    ordered = [rows[key] for key in keys(options.only) if key in rows]
    write(options.csv, [*ordered, *(row for row in rows.values() if row not in ordered)])
    Console(width=170).print(shown(ordered))
    left = [key for key in keys(options.only) if not rows.get(key, Reading(*key)).timed]
    uncounted = [key for key in keys(options.only) if key not in left and not rows[key].counted]
    for what, some in (("not reached", left), ("not counted", uncounted)):
        if some:
            print(f"{what}: {', '.join(f'{key.loss} {key.form}' for key in some)}; the same command goes on")
    return INCOMPLETE if left or uncounted else 0


def _environment() -> dict[str, str]:
    """One cache of compiled code for all processes."""
    cache = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR", Path(tempfile.gettempdir()) / "lossref-inductor"))
    places = {"TORCHINDUCTOR_CACHE_DIR": str(cache), "TRITON_CACHE_DIR": str(cache / "triton")}
    places["TORCHINDUCTOR_COMPILE_THREADS"] = "2"  # in each of the processes that compile at a time
    root = str(HERE.parents[1])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, **places, "PYTHONPATH": paths, "YOLO_AUTOINSTALL": "false"}


def _command(options: argparse.Namespace, part: str, loss: str = "") -> list[str]:
    said = {
        "--device": options.device,
        "--csv": options.csv,
        "--only": options.only,
        "--seconds": options.seconds or 2.0,
        "--until": options.until,
        "--part": part,
        "--loss": loss,
    }
    flags = [f"{name}={value}" for name, value in said.items()]
    switches = [f"--{name}" for name in ("small", "eager") if getattr(options, name)]
    return [sys.executable, str(HERE), *flags, *switches]


def _compile(options: argparse.Namespace, environment: dict[str, str]) -> None:
    """Every loss in a process of its own, so many at a time; what takes too long is ended and said."""
    names = list(dict.fromkeys(key.loss for key in keys(options.only) if key.form == "compiled"))
    until = min(time.time() + options.compile_s, options.until)
    running: dict[str, subprocess.Popen[bytes]] = {}
    begin = time.time()
    while (names or running) and time.time() < until:
        while names and len(running) < options.jobs:
            name = names.pop(0)
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            running[name] = subprocess.Popen(_command(options, "warm", name), env=environment, **quiet)
        running = {name: one for name, one in running.items() if one.poll() is None}
        time.sleep(0.2)
    for one in running.values():
        one.kill()
        one.wait()
    late = (*running, *names) if time.time() - begin >= options.compile_s else ()  # else it was the limit of the run
    for name in late:
        for form in ("compiled", "compiled and captured"):
            key = Key(name, form)
            if not read(options.csv).get(key, Reading(*key)).timed:
                put(options.csv, Reading(*key, reason=f"compiling took more than {options.compile_s:.0f} s"))
    print(f"compiling: {time.time() - begin:.0f} s, not done: {', '.join((*running, *names)) or 'none'}", flush=True)


def _until_done(options: argparse.Namespace, part: str, environment: dict[str, str]) -> None:
    """Start workers until one ends in order; the row at which one died or hung says so."""
    while time.time() < options.until:
        worker = subprocess.Popen(_command(options, part), env=environment, stdout=subprocess.PIPE, text=True)
        at, late = _followed(worker, options.until)
        if worker.wait() == 0 or late == "limit":
            return
        if at is None:
            print(f"{part}: the process ended with {worker.returncode} before the first row", flush=True)
            return
        row = read(options.csv).get(at, Reading(*at))
        if not (row.timed if part == "time" else row.counted):
            why = late or f"the process ended with {worker.returncode}"
            put(options.csv, row._replace(**{FAILED[part]: why}))
        elif worker.returncode != BROKEN:
            print(f"{part}: the process ended with {worker.returncode} after {' '.join(at)}", flush=True)
            return


def _followed(worker: subprocess.Popen[str], until: float) -> tuple[Key | None, str]:
    """The row that a worker was at when it ended, or was ended, and why it was."""
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_pump, args=(worker, lines), daemon=True).start()
    at, last = None, time.time()
    while True:
        try:
            line = lines.get(timeout=1)
        except queue.Empty:
            late = time.time() - last > LATE
            if late or time.time() > until + 30:
                worker.kill()
                return at, f"took more than {LATE:.0f} s" if late else "limit"
            continue
        if line is None:
            return at, ""
        word, *rest = line.rstrip("\n").split("\t")
        if word == "at":
            at, last = Key(*rest), time.time()
        print(line, end="", flush=True)


def _pump(worker: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    for line in worker.stdout or ():
        lines.put(line)
    lines.put(None)
