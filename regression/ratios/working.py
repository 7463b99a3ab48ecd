"""One process: the rows that are yet to do, one after the other, each written when it is known.

Before each it says on standard output what it begins, so that whoever started it knows what it died of.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from functools import lru_cache
from typing import Any

import torch
from counting import counts
from forms import CLOSE, FORMS, Lacking, compiled, difference, formed
from readings import Key, Reading, put, read
from workloads import FULL, NAMES, SMALL, Workload, full, gradients, workload

import lossref
from lossref.bench.rows import commit
from lossref.bench.timing import interval, spread
from lossref.hosts.worker.clock import interleaved, on_cuda, wall
from lossref.targets.adapters import ultralytics

FAILED = {"time": "reason", "count": "counts"}  # where a row says why it has no figures
BROKEN = 9  # exit status: the device answers no more
MORE = tuple(f"v8DetectionLoss@{count}" for count in (80, 320))  # objects of an image: how memory grows with them


def keys(only: str) -> list[Key]:
    """All rows, in the order in which they are done; with more objects in eager form alone."""
    rows = [Key(name, form) for name in NAMES for form in FORMS] + [Key(name, "eager") for name in MORE]
    return [one for one in rows if any(word in one.loss for word in only.split(","))]


@lru_cache(maxsize=1)
def drawn(name: str, small: bool, device: str) -> Workload:
    """The workload of a row on its device."""
    loss, _, objects = name.partition("@")
    size = SMALL if small else FULL
    if objects:
        size = size._replace(objects=int(objects) // (10 if small else 1))
    return workload(loss, size).on(device)


def both(name: str, device: str, one: Workload) -> tuple[Any, Any]:
    """Ours and theirs, built; a sentence in place of theirs where this release lacks it."""
    package = ultralytics._find(one.name)
    ours = one.build(getattr(lossref, one.name), device)
    if package is None or isinstance(package, str):
        return ours, package or "not in this release"
    return ours, one.build(package, device)


def timed(key: Key, options: argparse.Namespace) -> Reading:
    """Ours in the form of this row against theirs."""
    device = options.device
    one = drawn(key.loss, options.small, device)
    ours, theirs = both(key.loss, device, one)
    if isinstance(theirs, str):
        return Reading(*key, reason=theirs)
    begin = time.perf_counter()
    try:
        form = formed(one, ours, key.form, device)
        form.work()
    except Lacking as error:
        return Reading(*key, reason=str(error))
    took = time.perf_counter() - begin
    off = difference(form.answer(), gradients(one, ours))
    if not off <= CLOSE:
        return Reading(*key, reason=f"other numbers than eager: off by {off:.3g}", how=form.how, off=off)
    peer, clock = full(one, theirs), on_cuda if device.startswith("cuda") else wall
    rounds = interleaved(peer, form.work, box=options.seconds, longest=2 * options.seconds, clock=clock)
    found = interval(rounds)
    return Reading(
        *key,
        how=form.how,
        **{"ratio": found.ratio, "ci_low": found.low, "ci_high": found.high},
        ours_ms=spread(rounds.second).median * 1e3,
        theirs_ms=spread(rounds.first).median * 1e3,
        ours_value=float(form.answer()[0]),
        theirs_value=float(peer()),
        off=off,
        made_in_s=took,
    )


def counted(key: Key, before: Reading, options: argparse.Namespace) -> Reading:
    """The row with what one call costs apart from time."""
    device = options.device
    one = drawn(key.loss, options.small, device)
    ours, theirs = both(key.loss, device, one)
    sides = {"ours": (formed(one, ours, key.form, device).work, key.form != "eager")}
    if key.form == "eager":
        sides["theirs"] = (full(one, theirs), False)
    new: dict[str, float] = {}
    for side, (work, replayed) in sides.items():
        new |= {f"{side}_{name}": x for name, x in counts(work, device, replayed)._asdict().items()}
    return before._replace(**new, counts="counted")


def versions(device: str) -> dict[str, str]:
    """What was measured, and where."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else f"cpu, {torch.get_num_threads()} threads"
    release = str(importlib.import_module("ultralytics").__version__)
    at = os.environ.get("LOSSREF_COMMIT") or commit()  # where the code was copied to there may be no repository
    return {"device": name, "torch": str(torch.__version__), "ultralytics": release, "commit": at}


def worked(options: argparse.Namespace) -> int:
    """Do what is to do in this part of the work until the limit; `BROKEN` if the device answers no more."""
    said = versions(options.device)
    for key in (key for key in keys(options.only) if (key.form == "eager") == options.eager):
        before = read(options.csv).get(key, Reading(*key))
        done = before.timed if options.part == "time" else before.counted or not before.timed
        if done:
            continue
        if time.time() > options.until:
            return 0
        print("at", *key, sep="\t", flush=True)
        try:
            row = timed(key, options) if options.part == "time" else counted(key, before, options)
        except Exception as error:
            note = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            row = before._replace(**{FAILED[options.part]: note})
        put(options.csv, row._replace(**said))
        if options.device.startswith("cuda"):
            try:
                torch.cuda.synchronize()
            except RuntimeError:
                return BROKEN
            torch.cuda.empty_cache()
    return 0


def warmed(options: argparse.Namespace) -> int:
    """Compile one loss, so that what is written to the cache of the compiler is found there."""
    one = drawn(options.loss, options.small, options.device)
    loss = compiled(both(options.loss, options.device, one)[0])[0]
    full(one, loss)()
    return 0


def main(options: argparse.Namespace) -> int:
    """The part of the work that the options name."""
    torch.set_num_threads(2 if not options.device.startswith("cuda") else torch.get_num_threads())
    return warmed(options) if options.part == "warm" else worked(options)


if __name__ == "__main__":
    sys.exit("this is a part of regression/ratios")
