"""80 hostile targets and 5 innocent ones in one run: do the innocent ones get exactly the verdicts that they get alone?

    python regression/hostile_run.py [HOW MANY]

Takes many minutes, for every target that crashes or hangs costs new processes; it is no part of `make test`.
Exit status 1 where a row of an innocent one differs, where a row is missing, or where a process is left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

import psutil

from lossref.core.nouns import Verdict
from lossref.report import page

SPECS = ("iou", "giou", "diou", "ciou", "probiou")
KIND = {"iou": "", "giou": ", GIoU=True", "diou": ", DIoU=True", "ciou": ", CIoU=True"}
HEAD = "import ctypes, os, signal, subprocess, sys, threading, time\nimport torch\nimport lossref\nCALLS = []\n"
QUICK = ("--timeout", "2", "--jobs", "1", "--check", "value", "--dtype", "float64")
HOSTILE = (
    "os._exit(0)",
    "sys.exit(1)",
    "os.abort()",
    "ctypes.string_at(0)",
    "while True: pass",
    "ctypes.PyDLL(None).sleep(60)",
    "CALLS.append(1)\n    while len(CALLS) > 3: pass\n    return box1",
    "raise KeyboardInterrupt",
    "raise ValueError('\\x1b[2J' + 'x' * 10**7)",
    "os.write(1, b'x' * 10**8)\n    os._exit(1)",
    "os.closerange(3, 300)\n    return box1",
    "torch.set_grad_enabled(False)\n    os.chdir('/')\n    return box1 * 1j",
    "subprocess.Popen(['sleep', '600'], start_new_session=True)\n    os._exit(1)",
    "sys.setrecursionlimit(10**9)\n    f = lambda x: sorted([1], key=f)\n    f(1)",
    "os.kill(os.getppid(), 0)\n    os.kill(os.getpid(), signal.SIGSTOP)",
    "return box1.to('meta')",
)


def arguments(spec: str) -> str:
    return "(box1, box2, eps=1e-7)" if spec == "probiou" else "(box1, box2, xywh=True, eps=1e-7)"


def innocent(spec: str) -> str:
    call = "probiou(box1, box2, eps=eps)" if spec == "probiou" else f"bbox_iou(box1, box2, xywh, eps=eps{KIND[spec]})"
    return f"@lossref.target({spec!r})\ndef innocent_{spec}{arguments(spec)}:\n    return lossref.{call}\n"


def hostile(number: int, body: str, spec: str) -> str:
    return f"@lossref.target({spec!r})\ndef hostile{number}_{spec}{arguments(spec)}:\n    {body}\n"


def written(place: Path, count: int) -> list[str]:
    """The files: one with the innocent ones, and one for each way to be hostile, with a target for each spec."""
    bodies = {"innocent.py": HEAD + "".join(map(innocent, SPECS))}
    for number, body in enumerate(HOSTILE[: count // len(SPECS)]):
        bodies[f"hostile{number}.py"] = HEAD + "".join(hostile(number, body, spec) for spec in SPECS)
    for name, body in bodies.items():
        (place / name).write_text(body)
    return list(bodies)


def run(place: Path, out: str, words: list[str]) -> tuple[list[Verdict], int, list[str]]:
    """The rows without their seconds, the exit status, and the processes that are left."""
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "lossref", "validate", *words, *QUICK, "--out", out]
    done = subprocess.run(command, cwd=place, env={**os.environ, "LOSSREF_TEST": mark}, stdout=subprocess.DEVNULL)
    rows = [replace(one, seconds=0.0) for one in page.read(place / out)[0]]
    return rows, done.returncode, [str(one) for one in psutil.process_iter() if _marked(one, mark)]


def _marked(one: psutil.Process, mark: str) -> bool:
    try:
        return bool(one.environ().get("LOSSREF_TEST") == mark and one.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, OSError):
        return False


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 80
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        words = written(place, count)
        alone, _, _ = run(place, "alone", ["innocent.py"])
        rows, status, left = run(place, "together", words)
        mine = [one for one in rows if one.target.startswith("innocent")]
        same = len(mine) == len(SPECS) and sorted(mine, key=str) == sorted(alone, key=str)
        others = sorted({(one.target, one.status) for one in rows if not one.target.startswith("innocent")})
        page_there = (place / "together" / "index.html").is_file()
    print(f"{len(rows)} rows of {len(words) * len(SPECS)}, exit status {status}, page {page_there}, left: {left or 0}")
    print(f"innocent: {len(mine)} rows, {'exactly' if same else 'NOT'} as alone: {[one.status for one in mine]}")
    print("hostile:", ", ".join(f"{name} {what}" for name, what in others))
    return 0 if same and not left and page_there and len(rows) == len(words) * len(SPECS) else 1


if __name__ == "__main__":
    sys.exit(main())
