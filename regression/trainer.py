"""Whether the package's own trainer trains with lossref's criterion: `make trainer`, half a minute.

For each task one epoch of two steps on four generated images of 64 px, once with the criterion of the release and
once with ours in its place (`lossref.edition("8.4.190")` where items are read by name, `lossref` before). Printed are
the items of every call; they have to agree to 1e-4, after an optimiser step, too. The package is a black box: its
trainer is subclassed, and validation and checkpoints are left out. Exit status 1 if one differs or does not train.

Nothing is augmented, so that boxes stay on whole mask pixels: 8.4.20 rounds the edges of crops (D1).
Left out: PoseLoss26, for releases from 8.4.180 on assign by keypoints; the variances of rotated boxes have a floor of
0.01 in 8.4.190, so ours runs in that variant there.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

import lossref
from lossref.losses.obb.terms import RotatedSettings
from lossref.targets.torchvision_ops import importable

os.environ.update(YOLO_OFFLINE="true", YOLO_VERBOSE="false")
PIXELS, IMAGES, CLOSE = 64, 4, 1e-4
Make = Callable[[Any, Any], Any]


class Task(NamedTuple):
    """Name of a task as the package has it, the model, and our criterion among the names of an edition."""

    task: str
    yaml: str
    criterion: Make


def rotated(names: Any, model: Any) -> Any:
    """v8OBBLoss, with the floor under the variances that 8.4.190 has."""

    class Floored(names.v8OBBLoss):  # type: ignore[misc]
        def _rotated_settings(self) -> RotatedSettings:
            settings: RotatedSettings = super()._rotated_settings()
            return settings._replace(cov_floor=0.01)

    return (names.v8OBBLoss if names is lossref else Floored)(model)


TASKS = {
    "detect": Task("detect", "yolo11n.yaml", lambda names, model: names.v8DetectionLoss(model)),
    "segment": Task("segment", "yolo11n-seg.yaml", lambda names, model: names.v8SegmentationLoss(model)),
    "pose": Task("pose", "yolo11n-pose.yaml", lambda names, model: names.v8PoseLoss(model)),
    "obb": Task("obb", "yolo11n-obb.yaml", rotated),
    "end to end": Task("detect", "yolo26n.yaml", lambda names, model: names.E2ELoss(model)),
}


def row(task: str, image: int, number: int) -> list[float]:
    """One object of a label file: half of the image and more, on whole mask pixels."""
    x, y, w, h = 0.5 + number / 16, 0.5, 0.5, 0.375 + number / 4
    left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    if task in ("segment", "obb"):
        return [number, left, top, right, top, right, bottom, left, bottom]
    points = [(x + k / 16, y - k / 16 + image / 64, 2) for k in range(3)]
    return [number, x, y, w, h, *(v for point in points for v in point if task == "pose")]


def dataset(task: str, folder: Path) -> Path:
    """Images of noise with two objects each, and the file that names them."""
    noise = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for image in range(IMAGES):
        pixels = noise.integers(0, 255, (PIXELS, PIXELS, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{image}.png")
        lines = [" ".join(map(str, row(task, image, number))) for number in range(2)]
        (folder / "labels" / f"{image}.txt").write_text("\n".join(lines))
    words = f"path: {folder}\ntrain: images\nval: images\nnames:\n  0: a\n  1: b\n"
    file = folder / "data.yaml"
    file.write_text(words + ("kpt_shape: [3, 3]\n" if task == "pose" else ""))
    return file


class Asked:
    """A criterion that remembers its items."""

    def __init__(self, criterion: Any, seen: list[list[float]]) -> None:
        self.criterion, self.seen = criterion, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["criterion"], name)

    def __call__(self, *given: Any, **more: Any) -> Any:
        out = self.criterion(*given, **more)
        items = out[1].values() if isinstance(out[1], Mapping) else out[1]
        self.seen.append([float(x) for x in items])
        return out


def trained(one: Task, data: Path, make: Make | None, folder: Path) -> list[list[float]]:
    """The items of every call in one epoch, with the release's criterion or with what `make` makes."""
    seen: list[list[float]] = []
    package = importable("ultralytics")
    own: Any = package.YOLO(one.yaml, task=one.task)._smart_load("trainer")
    names = lossref.edition("8.4.190") if package.__version__ == "8.4.190" else lossref

    class Trainer(own):  # type: ignore[misc]
        def get_model(self, *given: Any, **more: Any) -> Any:
            model = super().get_model(*given, **more)
            theirs = type(model).init_criterion
            model.init_criterion = lambda: Asked(make(names, model) if make else theirs(model), seen)
            return model

        def validate(self) -> Any:
            return {}, 0.0

        def final_eval(self) -> None: ...
        def save_model(self) -> None: ...

    settings = {"epochs": 1, "imgsz": PIXELS, "batch": 2, "workers": 0, "device": "cpu", "seed": 0, "mosaic": 0.0}
    quiet = {"plots": False, "val": False, "verbose": False, "amp": False, "exist_ok": True, "project": str(folder)}
    still = dict.fromkeys(("hsv_h", "hsv_s", "hsv_v", "translate", "scale", "fliplr", "erasing"), 0.0)
    step = {**still, "optimizer": "SGD", "lr0": 0.01, "warmup_epochs": 0}
    Trainer(overrides={"model": one.yaml, "task": one.task, "data": str(data), **settings, **quiet, **step}).train()
    return seen


def compared(name: str, one: Task, folder: Path) -> bool:
    """Whether both epochs have the same items; prints them."""
    data = dataset(one.task, folder / name)
    theirs, mine = (trained(one, data, make, folder) for make in (None, one.criterion))
    for who, rows in (("release", theirs), ("lossref", mine)):
        print(f"{name:12s} {who}", *("  ".join(f"{x:.5f}" for x in found) + " |" for found in rows))
    return len(theirs) == IMAGES // 2 and np.allclose(theirs, mine, rtol=CLOSE, atol=CLOSE)


def main(chosen: list[str]) -> int:
    torch.set_num_threads(1)
    importable("torchvision")
    print(f"ultralytics {importable('ultralytics').__version__}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["YOLO_CONFIG_DIR"] = folder
        wrong = [name for name in chosen or TASKS if not compared(name, TASKS[name], Path(folder))]
    print(f"differs: {', '.join(wrong)}" if wrong else "every epoch has the losses of the release's own criterion")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
