"""Ten faults behind settings of the installed ultralytics: `python regression/planted_faults.py [WORD ...]`.

Each is planted without a look at the package's code: a class of its loss module is made a subclass that does one thing
otherwise, or a name of that module another function. A run has to name the fault beside the settings that the release
follows; what it says is printed, and the exit status is 1 where one is not named. Outside `make test`: minutes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HEAD = """
import functools
import lossref
import torch
import ultralytics.utils.loss as L

def terms(found, change):
    loss, items = found
    named = isinstance(items, dict)
    told = change(list(items.values()) if named else items)
    return torch.stack(change(loss)), dict(zip(items, told)) if named else torch.stack(told)
"""
WRAPPED = """
@lossref.target("{spec}")
class Planted(L.{name}):
    @functools.wraps(L.{name}.{method})
    def {method}(self, *args, **kwargs):
        found = super().{method}(*args, **kwargs)
        {fault}
"""
PATCHED = """
right = L.{function}

def planted(*args, **kwargs):
    {fault}

L.{function} = planted

@lossref.target("{spec}")
class Planted(L.{name}):
    pass
"""
MASKED = """
right = L.v8SegmentationLoss.single_mask_loss

@lossref.target("mask")
class Planted(L.v8SegmentationLoss):
    @staticmethod
    def single_mask_loss(gt_mask, pred, proto, xyxy, area):
        return {fault}
"""
ITEMS = "return terms(found, lambda loss: [{}])"


class Fault(NamedTuple):
    """The source of a planted package, the spec, and words that a sentence has to hold: of the fault, of a setting."""

    source: str
    spec: str
    says: tuple[str, ...]
    setting: str


def wrapped(spec: str, name: str, method: str, fault: str) -> str:
    """A class of the loss module of which one method gives something else."""
    return HEAD + WRAPPED.format(spec=spec, name=name, method=method, fault=fault)


def patched(spec: str, name: str, function: str, fault: str) -> str:
    """A class of the loss module that calls another function by a name of that module."""
    return HEAD + PATCHED.format(spec=spec, name=name, function=function, fault=fault)


def of_v8(fault: str) -> str:
    """v8DetectionLoss with other terms."""
    return wrapped("v8_detection", "v8DetectionLoss", "__call__", ITEMS.format(fault))


def of_rotated(fault: str) -> str:
    """RotatedBboxLoss that gives other terms."""
    return wrapped("rotated_bbox", "RotatedBboxLoss", "forward", f"box, dfl = found; return {fault}")


def of_mask(fault: str) -> str:
    """v8SegmentationLoss with another mask loss of one image, made of the `right` one."""
    return HEAD + MASKED.format(fault=fault)


RAISED, FLOOR, NAN = "small_boxes is 'raised'", "cov_floor is 0.01", "zero_area_mask is 'nan'"
FAULTS = {
    "box twice": Fault(of_v8("2 * loss[0], loss[1], loss[2]"), "v8_detection", ("box is 2 times", "doubled"), RAISED),
    "dfl halved": Fault(of_v8("loss[0], loss[1], loss[2] / 2"), "v8_detection", ("dfl is 1/2", "halved"), RAISED),
    "cls detached": Fault(
        of_v8("loss[0], loss[1].detach(), loss[2]"), "v8_detection", ("of cls is missing", "always 0"), RAISED
    ),
    "box and dfl exchanged": Fault(
        of_v8("loss[2], loss[1], loss[0]"), "v8_detection", ("order dfl, cls, box", "dfl"), RAISED
    ),
    "rotated box three times": Fault(of_rotated("3 * box, dfl"), "rotated_bbox", ("3 times",), FLOOR),
    "rotated box detached": Fault(
        of_rotated("box.detach() + 0 * dfl, dfl"), "rotated_bbox", ("of box is missing", "detached"), FLOOR
    ),
    "rotated overlap of a mistaken angle": Fault(
        patched(
            "rotated_bbox",
            "RotatedBboxLoss",
            "probiou",
            "a, b, *more = args; return right(a * a.new_tensor([1, 1, 1, 1, -1]), b, *more, **kwargs)",
        ),
        "rotated_bbox",
        ("negated", "minus"),
        FLOOR,
    ),
    "mask loss negated": Fault(
        of_mask("-right(gt_mask, pred, proto, xyxy, area)"), "mask", ("minus the", "negated"), NAN
    ),
    "mask of the doubled area": Fault(
        of_mask("right(gt_mask, pred, proto, xyxy, 2 * area)"), "mask", ("area is doubled", "1/2"), NAN
    ),
    "mask coefficients detached": Fault(
        of_mask("right(gt_mask, pred.detach() + 0 * pred, proto, xyxy, area)"), "mask", ("always 0", "is detached"), NAN
    ),
}


def told(fault: Fault, folder: Path) -> str:
    """What a run says of a planted package."""
    (folder / "planted.py").write_text(fault.source)
    command = [sys.executable, "-m", "lossref", "validate", "planted.py", "--spec", fault.spec, "-j", "1"]
    command += ["--check", "value,gradient", "--dtype", "float64", "--out", "out"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def main(words: list[str]) -> int:
    """Print each fault with what is said of it; 1 if one is not named, or not beside the setting."""
    missed = 0
    for name, fault in FAULTS.items():
        if words and not any(word in name for word in words):
            continue
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            said = told(fault, Path(folder))
        named, beside = any(one in said for one in fault.says), fault.setting in said
        missed += not (named and beside)
        print(f"{'named' if named else 'NOT NAMED'} {'beside' if beside else 'NOT beside'} {fault.setting}: {name}")
        sentences = [line.strip() for line in said.splitlines() if line[:2].strip().isdigit() or "CONFORM" in line]
        print("\n".join(f"    {line}" for line in sentences), f"    {time.monotonic() - begin:.0f} s", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
