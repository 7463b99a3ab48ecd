"""The training workload of every loss: what is built, what is differentiated, and how it is called.

Full size is batch 16, 640 x 640, 80 classes, 20 objects an image, float32; small is for trying a script.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from lossref.targets.dropin.yolo import StandardNormal

BINS, STRIDES = 16, (8, 16, 32)
WANTED = {"v8DetectionLoss": 4.0, "RTDETRDetectionLoss": 1.5}

Leaves = dict[str, Tensor]


class Size(NamedTuple):
    """Images of a batch, their side in pixels, classes, objects of an image, rows of an elementary loss."""

    images: int = 16
    side: int = 640
    classes: int = 80
    objects: int = 20
    rows: int = 3000

    @property
    def anchors(self) -> int:
        """Anchors of all levels."""
        return sum((self.side // s) ** 2 for s in STRIDES)


FULL, SMALL = Size(), Size(2, 128, 8, 3, 40)


class Workload(NamedTuple):
    """One loss: how it is built on a device, the leaves it differentiates, its arguments, and the number they give.

    `arguments` is a function of what it holds, which goes to a device, and of the leaves.
    """

    name: str
    build: Callable[[Any, str], Any]
    leaves: Leaves
    arguments: partial[tuple[Any, ...]]
    total: Callable[[Any], Tensor]

    def on(self, device: str) -> Workload:
        """The same with everything that it holds on a device."""
        held, leaves = tree_map_only(Tensor, lambda x: x.to(device), (self.arguments.args, self.leaves))
        return self._replace(leaves=leaves, arguments=partial(self.arguments.func, *held, **self.arguments.keywords))


def wanted(name: str) -> float:
    """The ratio that was asked for on a CPU."""
    return WANTED.get(name, 2.5 if name in KEYS else 1.0)


def full(one: Workload, loss: Any) -> Callable[[], Tensor]:
    """Forward and backward to fresh leaves."""

    def work() -> Tensor:
        leaves = {name: x.detach().requires_grad_() for name, x in one.leaves.items()}
        total = one.total(loss(*one.arguments(leaves)))
        total.backward()
        return total.detach()

    return work


def gradients(one: Workload, loss: Any) -> tuple[Tensor, list[Tensor]]:
    """The value, and the gradient of every leaf."""
    leaves = {name: x.detach().requires_grad_() for name, x in one.leaves.items()}
    total = one.total(loss(*one.arguments(leaves)))
    total.backward()
    return total.detach().clone(), [torch.zeros_like(x) if x.grad is None else x.grad.clone() for x in leaves.values()]


def model(size: Size, device: str) -> SimpleNamespace:
    """What a loss reads of a model."""
    gains = {"box": 7.5, "cls": 0.5, "dfl": 1.5, "pose": 12.0, "kobj": 1.0, "rle": 1.0, "angle": 1.0}
    args = SimpleNamespace(**gains, overlap_mask=True, epochs=100)
    stride = torch.tensor([float(s) for s in STRIDES], device=device)
    read = {"stride": stride, "nc": size.classes, "reg_max": BINS, "kpt_shape": [17, 3], "flow_model": StandardNormal()}
    weight = torch.zeros(1, device=device)
    return SimpleNamespace(args=args, model=[SimpleNamespace(**read)], parameters=lambda: iter([weight]))


def batch(size: Size, generator: torch.Generator) -> dict[str, Tensor]:
    """So many objects an image, sides from 1/40 to 1/4 of the image, with masks, keypoints and angles."""
    n, quarter = size.images * size.objects, size.side // 4
    extent = torch.rand(n, 2, generator=generator) * 0.225 + 0.025
    centre = extent / 2 + torch.rand(n, 2, generator=generator) * (1 - extent)
    masks = torch.randint(0, size.objects + 1, (size.images, quarter, quarter), generator=generator)
    keypoints = torch.cat([torch.rand(n, 17, 2, generator=generator), torch.full((n, 17, 1), 2.0)], -1)
    return {
        "batch_idx": torch.arange(size.images).repeat_interleave(size.objects).float(),
        "cls": torch.randint(0, size.classes, (n,), generator=generator).float(),
        "bboxes": torch.cat([centre, extent], 1),
        "masks": masks.float(),
        "keypoints": keypoints,
        "angles": torch.rand(n, 1, generator=generator) * torch.pi - torch.pi / 4,
    }


def head(size: Size, generator: torch.Generator) -> Leaves:
    """Predictions of an untrained head: logits around 0, scores around -4."""
    shapes = {"boxes": 4 * BINS, "scores": size.classes, "mask_coefficient": 32}
    shapes |= {"kpts": 51, "kpts_sigma": 34, "angle": 1}
    found = {name: torch.randn(size.images, c, size.anchors, generator=generator) for name, c in shapes.items()}
    found["scores"] = found["scores"] - 4
    found["proto"] = torch.randn(size.images, 32, size.side // 4, size.side // 4, generator=generator)
    return found


def feats(size: Size) -> list[Tensor]:
    """Feature maps, of which only the shape is read."""
    return [torch.zeros(size.images, 1, size.side // s, size.side // s) for s in STRIDES]


def _predictions(maps: list[Tensor], objects: dict[str, Tensor], given: Leaves) -> tuple[Any, ...]:
    """A dict of predictions, or two for the branches of an end-to-end head, and the batch."""
    many = {**{key: x for key, x in given.items() if "." not in key}, "feats": maps}
    single = {key.split(".")[1]: x for key, x in given.items() if "." in key}
    return ({"one2many": many, "one2one": {**single, "feats": maps}} if single else many), objects


def with_model(name: str, keys: str, size: Size, generator: torch.Generator) -> Workload:
    """A loss that takes a model, a dict of predictions and a batch."""
    drawn, objects, maps = head(size, generator), batch(size, generator), feats(size)
    leaves = {key: drawn[key] for key in ("boxes", "scores", *keys.split())}
    if name == "v8OBBLoss":
        objects = {**objects, "bboxes": torch.cat([objects["bboxes"], objects["angles"]], 1)}
    if name.startswith("E2E"):  # the two branches of a head are tensors of their own
        other = head(size, generator)
        leaves |= {f"one2one.{key}": other[key] for key in leaves}

    def build(kind: Any, device: str) -> Any:
        return kind(model(size, device))

    return Workload(name, build, leaves, partial(_predictions, maps, objects), lambda found: found[0].sum())


def _denoised(targets: Any, given: Leaves, meta: Any) -> tuple[Any, ...]:
    return (given["boxes"], given["scores"]), targets, given["dn_boxes"], given["dn_scores"], meta


def set_prediction(size: Size, generator: torch.Generator) -> Workload:
    """RT-DETR: 6 decoder layers and the encoder's, 300 queries, 200 denoising queries."""
    layers, queries, denoising = 7, 300, 10 * size.objects
    objects = batch(size, generator)
    rows, classes = (layers, size.images), size.classes
    leaves = {
        "boxes": torch.rand(*rows, queries, 4, generator=generator) * 0.5 + 0.1,
        "scores": torch.randn(*rows, queries, classes, generator=generator) - 4,
        "dn_boxes": torch.rand(*rows, denoising, 4, generator=generator) * 0.5 + 0.1,
        "dn_scores": torch.randn(*rows, denoising, classes, generator=generator) - 4,
    }
    groups = [size.objects] * size.images
    targets = {"cls": objects["cls"].long(), "bboxes": objects["bboxes"], "gt_groups": groups}
    positions = torch.arange(denoising).reshape(5, 2, size.objects)[:, 0].flatten()
    numbers = [torch.arange(size.objects) + size.objects * image for image in range(size.images)]
    # positions and numbers of denoising queries stand on the CPU, where a model makes them
    meta = {"dn_pos_idx": [positions] * size.images, "dn_gt_idx": numbers}
    meta |= {"dn_num_group": 5, "dn_num_split": [denoising, queries]}
    return Workload(
        "RTDETRDetectionLoss",
        lambda kind, device: kind(nc=classes, use_vfl=True),
        leaves,
        partial(_denoised, targets, meta=meta),
        lambda found: sum(found.values()),  # type: ignore[arg-type, return-value]
    )


def _plain(rest: tuple[Tensor, ...], given: Leaves) -> tuple[Tensor, ...]:
    return *given.values(), *rest


def _kept(rest: tuple[Tensor, ...], given: Leaves) -> tuple[Tensor, ...]:
    return *given.values(), *(x.clone() for x in rest)  # theirs writes into the target


def elementary(size: Size, generator: torch.Generator) -> list[Workload]:
    """The losses that take tensors only, at sizes as the model losses use them."""

    def one(name: str, build: Callable[[Any], Any], leaves: Leaves, *rest: Tensor) -> Workload:
        arguments = partial(_kept if name == "DFLoss" else _plain, rest)
        return Workload(name, lambda kind, device: build(kind), leaves, arguments, lambda x: torch.as_tensor(x).sum())

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def spread(kind: Any, device: str) -> Any:
        return kind(torch.full((17,), 0.05, device=device))

    images, classes, n, quarter = size.images, size.classes, size.rows, size.side // 4
    logits = torch.randn(images, 300, classes, generator=generator)
    label = (rand(images, 300, classes) < 0.01).float()
    masks = torch.randn(4, classes, quarter, quarter, generator=generator)
    corner = rand(n, 2) * 20
    boxes = torch.cat([corner, corner + 1 + rand(n, 2) * 10], 1)
    points = rand(n, 17, 3)
    visible = rand(n, 17, 3), rand(n, 17) < 0.7, rand(n, 1) * 50
    residuals = {"sigma": rand(n, 2) + 0.1, "log_phi": -rand(n), "error": rand(n, 2)}
    return [
        one("VarifocalLoss", lambda kind: kind(), {"x": logits}, rand(images, 300, classes) * label, label),
        one("FocalLoss", lambda kind: kind(), {"x": logits}, label),
        one("DFLoss", lambda kind: kind(BINS), {"x": torch.randn(4 * n, BINS, generator=generator)}, rand(n, 4) * 14),
        one("MultiChannelDiceLoss", lambda kind: kind(), {"x": masks}, (rand(*masks.shape) < 0.1).float()),
        one("BCEDiceLoss", lambda kind: kind(), {"x": masks}, (rand(*masks.shape) < 0.1).float()),
        one("KeypointLoss", lambda kind: kind, {"x": points}, *visible)._replace(build=spread),
        one("RLELoss", lambda kind: kind(), residuals, rand(n)),
        one("bbox_iou", lambda kind: partial(kind, xywh=False, CIoU=True), {"x": boxes}, boxes.flip(0)),
    ]


KEYS = {
    "v8DetectionLoss": "",
    "v8SegmentationLoss": "mask_coefficient proto",
    "v8PoseLoss": "kpts",
    "PoseLoss26": "kpts kpts_sigma",
    "v8OBBLoss": "angle",
    "E2EDetectLoss": "",
    "E2ELoss": "",
}
NAMES = (
    *KEYS,
    "RTDETRDetectionLoss",
    *("VarifocalLoss", "FocalLoss", "DFLoss", "MultiChannelDiceLoss", "BCEDiceLoss", "KeypointLoss", "RLELoss"),
    "bbox_iou",
)


def workload(name: str, size: Size = FULL) -> Workload:
    """The workload of a name; the same numbers whatever else is drawn."""
    generator = torch.Generator().manual_seed(0)
    if name in KEYS:
        return with_model(name, KEYS[name], size, generator)
    if name == "RTDETRDetectionLoss":
        return set_prediction(size, generator)
    return next(one for one in elementary(size, generator) if one.name == name)
