"""How much faster than the installed ultralytics: `make ratios`, the training workload of every loss.

Batch 16, 640 x 640, 80 classes, 20 objects an image, float32, two threads; forward plus backward to all
predictions, the two implementations in turns in one process (lossref.hosts.worker.clock). Prints a table with the
ratio, its interval, the peak of live bytes of both, and the values of both; asserts nothing.
"""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import lossref
from lossref.bench.rows import commit
from lossref.bench.timing import interval, spread
from lossref.hosts.worker.clock import interleaved
from lossref.hosts.worker.timed import footprint
from lossref.run.atomic import write_text
from lossref.targets.adapters import ultralytics
from lossref.targets.dropin.yolo import StandardNormal

IMAGES, SIDE, CLASSES, OBJECTS, BINS = 16, 640, 80, 20, 16
STRIDES = (8, 16, 32)
ANCHORS = sum((SIDE // s) ** 2 for s in STRIDES)
WANTED = {"v8DetectionLoss": 4.0, "RTDETRDetectionLoss": 1.5}
MODEL_LOSSES = ("v8SegmentationLoss", "v8PoseLoss", "PoseLoss26", "v8OBBLoss", "E2EDetectLoss", "E2ELoss")

Leaves = dict[str, Tensor]
Call = Callable[[Any, Leaves], Tensor]


class Workload(NamedTuple):
    """One loss: how it is built, the leaves it differentiates, and how it is called."""

    name: str
    build: Callable[[Any], Any]
    leaves: Leaves
    call: Call


def model() -> SimpleNamespace:
    """What a loss reads of a model."""
    gains = {"box": 7.5, "cls": 0.5, "dfl": 1.5, "pose": 12.0, "kobj": 1.0, "rle": 1.0, "angle": 1.0}
    args = SimpleNamespace(**gains, overlap_mask=True, epochs=100)
    stride = torch.tensor([float(s) for s in STRIDES])
    head = SimpleNamespace(stride=stride, nc=CLASSES, reg_max=BINS, kpt_shape=[17, 3], flow_model=StandardNormal())
    return SimpleNamespace(args=args, model=[head], parameters=lambda: iter([torch.zeros(1)]))


def batch(generator: torch.Generator) -> dict[str, Tensor]:
    """20 objects an image, sides from 1/40 to 1/4 of the image, with masks, keypoints and angles."""
    n = IMAGES * OBJECTS
    size = torch.rand(n, 2, generator=generator) * 0.225 + 0.025
    centre = size / 2 + torch.rand(n, 2, generator=generator) * (1 - size)
    masks = torch.randint(0, OBJECTS + 1, (IMAGES, SIDE // 4, SIDE // 4), generator=generator)
    keypoints = torch.cat([torch.rand(n, 17, 2, generator=generator), torch.full((n, 17, 1), 2.0)], -1)
    return {
        "batch_idx": torch.arange(IMAGES).repeat_interleave(OBJECTS).float(),
        "cls": torch.randint(0, CLASSES, (n,), generator=generator).float(),
        "bboxes": torch.cat([centre, size], 1),
        "masks": masks.float(),
        "keypoints": keypoints,
        "angles": torch.rand(n, 1, generator=generator) * torch.pi - torch.pi / 4,
    }


def head(generator: torch.Generator) -> Leaves:
    """Predictions of an untrained head: logits around 0, scores around -4."""
    shapes = {"boxes": 4 * BINS, "scores": CLASSES, "mask_coefficient": 32, "kpts": 51, "kpts_sigma": 34, "angle": 1}
    found = {name: torch.randn(IMAGES, c, ANCHORS, generator=generator) for name, c in shapes.items()}
    found["scores"] = found["scores"] - 4
    found["proto"] = torch.randn(IMAGES, 32, SIDE // 4, SIDE // 4, generator=generator)
    return found


def feats() -> list[Tensor]:
    """Feature maps, of which only the shape is read."""
    return [torch.zeros(IMAGES, 1, SIDE // s, SIDE // s) for s in STRIDES]


def with_model(name: str, keys: str, generator: torch.Generator) -> Workload:
    """A loss that takes a model, a dict of predictions and a batch."""
    drawn, objects, maps = head(generator), batch(generator), feats()
    leaves = {key: drawn[key] for key in ("boxes", "scores", *keys.split())}
    if name == "v8OBBLoss":
        objects = {**objects, "bboxes": torch.cat([objects["bboxes"], objects["angles"]], 1)}
    two = name.startswith("E2E")
    if two:  # the two branches of a head are tensors of their own
        other = head(generator)
        leaves |= {f"one2one.{key}": other[key] for key in leaves}

    def call(loss: Any, given: Leaves) -> Tensor:
        preds: Any = {**{key: x for key, x in given.items() if "." not in key}, "feats": maps}
        if two:
            single = {key.split(".")[1]: x for key, x in given.items() if "." in key}
            preds = {"one2many": preds, "one2one": {**single, "feats": maps}}
        found: Tensor = loss(preds, objects)[0].sum()
        return found

    return Workload(name, lambda kind: kind(model()), leaves, call)


def set_prediction(generator: torch.Generator) -> Workload:
    """RT-DETR: 6 decoder layers and the encoder's, 300 queries, 200 denoising queries."""
    layers, queries, denoising = 7, 300, 10 * OBJECTS
    objects = batch(generator)
    leaves = {
        "boxes": torch.rand(layers, IMAGES, queries, 4, generator=generator) * 0.5 + 0.1,
        "scores": torch.randn(layers, IMAGES, queries, CLASSES, generator=generator) - 4,
        "dn_boxes": torch.rand(layers, IMAGES, denoising, 4, generator=generator) * 0.5 + 0.1,
        "dn_scores": torch.randn(layers, IMAGES, denoising, CLASSES, generator=generator) - 4,
    }
    targets = {"cls": objects["cls"].long(), "bboxes": objects["bboxes"], "gt_groups": [OBJECTS] * IMAGES}
    positions = torch.arange(denoising).reshape(5, 2, OBJECTS)[:, 0].flatten()
    meta = {
        "dn_pos_idx": [positions] * IMAGES,
        "dn_gt_idx": [torch.arange(OBJECTS) + OBJECTS * image for image in range(IMAGES)],
        "dn_num_group": 5,
        "dn_num_split": [denoising, queries],
    }

    def call(loss: Any, given: Leaves) -> Tensor:
        found = loss((given["boxes"], given["scores"]), targets, given["dn_boxes"], given["dn_scores"], meta)
        total: Tensor = sum(found.values())
        return total

    return Workload("RTDETRDetectionLoss", lambda kind: kind(nc=CLASSES, use_vfl=True), leaves, call)


def elementary(generator: torch.Generator) -> list[Workload]:
    """The losses that take tensors only, at sizes as the model losses use them."""

    def one(name: str, build: Callable[[Any], Any], leaves: Leaves, *rest: Tensor) -> Workload:
        def call(loss: Any, given: Leaves) -> Tensor:
            # theirs writes into the target of this one
            targets = [x.clone() for x in rest] if name == "DFLoss" else rest
            return torch.as_tensor(loss(*given.values(), *targets)).sum()

        return Workload(name, build, leaves, call)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    logits = torch.randn(IMAGES, 300, CLASSES, generator=generator)
    label = (rand(IMAGES, 300, CLASSES) < 0.01).float()
    masks = torch.randn(4, CLASSES, 160, 160, generator=generator)
    corner = rand(3000, 2) * 20
    boxes = torch.cat([corner, corner + 1 + rand(3000, 2) * 10], 1)
    points, n = rand(3000, 17, 3), 3000
    visible = rand(n, 17, 3), rand(n, 17) < 0.7, rand(n, 1) * 50
    residuals = {"sigma": rand(n, 2) + 0.1, "log_phi": -rand(n), "error": rand(n, 2)}

    def ciou(function: Any, given: Leaves) -> Tensor:
        found: Tensor = function(given["x"], boxes.flip(0), xywh=False, CIoU=True).sum()
        return found

    return [
        one("VarifocalLoss", lambda kind: kind(), {"x": logits}, rand(IMAGES, 300, CLASSES) * label, label),
        one("FocalLoss", lambda kind: kind(), {"x": logits}, label),
        one("DFLoss", lambda kind: kind(BINS), {"x": torch.randn(4 * n, BINS, generator=generator)}, rand(n, 4) * 14),
        one("MultiChannelDiceLoss", lambda kind: kind(), {"x": masks}, (rand(*masks.shape) < 0.1).float()),
        one("BCEDiceLoss", lambda kind: kind(), {"x": masks}, (rand(*masks.shape) < 0.1).float()),
        one("KeypointLoss", lambda kind: kind(torch.full((17,), 0.05)), {"x": points}, *visible),
        one("RLELoss", lambda kind: kind(), residuals, rand(n)),
        Workload("bbox_iou", lambda kind: kind, {"x": boxes}, ciou),
    ]


def workloads(generator: torch.Generator, wanted: str) -> list[Workload]:
    """Every workload whose name contains the word."""
    keys = {
        "v8SegmentationLoss": "mask_coefficient proto",
        "v8PoseLoss": "kpts",
        "PoseLoss26": "kpts kpts_sigma",
        "v8OBBLoss": "angle",
    }
    found = [
        (name, partial(with_model, name, keys.get(name, ""), generator)) for name in ("v8DetectionLoss", *MODEL_LOSSES)
    ]
    chosen = [make() for name, make in found if wanted in name]
    rest = [*([set_prediction(generator)] if wanted in "RTDETRDetectionLoss" else []), *elementary(generator)]
    return chosen + [one for one in rest if wanted in one.name]


def theirs(name: str) -> Any:
    """The installed package's class of that name, or a sentence."""
    return ultralytics._find(name)


def full(one: Workload, loss: Any) -> Callable[[], Tensor]:
    """Forward and backward to fresh leaves."""

    def work() -> Tensor:
        leaves = {name: x.detach().requires_grad_() for name, x in one.leaves.items()}
        total = one.call(loss, leaves)
        total.backward()
        return total.detach()

    return work


class Measured(NamedTuple):
    """One line of the table and of the CSV; NaN and an empty text where this release lacks the class."""

    loss: str
    ratio: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    wanted: float = math.nan
    ours_ms: float = math.nan
    theirs_ms: float = math.nan
    ours_peak_mib: float = math.nan
    theirs_peak_mib: float = math.nan
    ours_value: float = math.nan
    theirs_value: float = math.nan
    note: str = ""

    def cells(self) -> list[str]:
        """The line as a person reads it."""
        if self.note:
            return [self.loss, *["-"] * 5, self.note]
        return [
            self.loss,
            f"{self.ratio:.2f}",
            f"{self.ci_low:.2f} to {self.ci_high:.2f}",
            f">= {self.wanted:g}",
            f"{self.ours_ms:.3g} / {self.theirs_ms:.3g} ms",
            f"{self.ours_peak_mib:.3g} / {self.theirs_peak_mib:.3g} MiB",
            f"{self.ours_value:.6g} / {self.theirs_value:.6g}",
        ]


def measured(one: Workload, seconds: float) -> Measured:
    """Ratio with its interval, what the issue asks for, times, peaks of live bytes, values."""
    package = theirs(one.name)
    if package is None or isinstance(package, str):
        return Measured(one.name, note=package or "not in this release")
    ours_full = full(one, one.build(getattr(lossref, one.name)))
    theirs_full = full(one, one.build(package))
    values = float(ours_full()), float(theirs_full())
    rounds = interleaved(theirs_full, ours_full, box=seconds, longest=2 * seconds)
    found = interval(rounds)
    return Measured(
        one.name,
        found.ratio,
        found.low,
        found.high,
        WANTED.get(one.name, 2.5 if one.name in MODEL_LOSSES else 1.0),
        spread(rounds.second).median * 1e3,
        spread(rounds.first).median * 1e3,
        footprint(ours_full).peak_live_bytes / 2**20,
        footprint(theirs_full).peak_live_bytes / 2**20,
        *values,
    )


def main() -> None:
    """Print the table, and write it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names that contain this word")
    parser.add_argument("--seconds", type=float, default=20.0, help="time box of each loss")
    parser.add_argument("--csv", type=Path, help="file for the table, with the versions in its last columns")
    options = parser.parse_args()
    torch.set_num_threads(2)
    version = importlib.import_module("ultralytics").__version__
    table = Table("loss", "ratio", "99 % interval", "wanted", "ours / theirs", "peak live", "values")
    screen, rows = Console(width=150), []
    for one in workloads(torch.Generator().manual_seed(0), options.only):
        rows.append(measured(one, options.seconds))
        table.add_row(*rows[-1].cells())
        screen.print(*rows[-1].cells(), sep="  ")
    screen.print(f"lossref {lossref.__version__}, ultralytics {version}, torch {torch.__version__}, 2 threads")
    screen.print(table)
    if options.csv:
        found = pd.DataFrame(rows).assign(ultralytics=version, torch=torch.__version__, threads=2, commit=commit())
        write_text(options.csv, str(found.to_csv(index=False, float_format="%.6g")))


if __name__ == "__main__":
    main()
