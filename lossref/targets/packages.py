"""Packages that offer some of the losses under names and conventions of their own: one row for each spec.

A row names the object in the package and the function that calls it in lossref's convention. Whatever has no
row is unsupported. Used by the adapters in lossref/targets.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.nouns import Target
from lossref.losses import specs
from lossref.losses.detr.matching import groups_of
from lossref.targets.marks import DTYPES
from lossref.targets.resolve import Unavailable, quietly
from lossref.targets.torchvision_ops import importable


class Row(NamedTuple):
    """What a package offers for a spec: `call(found, *inputs, **params)` gives the outputs of the spec.

    `name` is the dotted path of the object, e.g. torchvision.ops.box_iou; `accepts`, `fixed`, `known` and `dtypes`
    are those of a Target. Another one of a spec that the package has already has a label, which follows the package's.
    """

    spec: str
    name: str
    call: Callable[..., Any]
    accepts: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = {}
    known: Mapping[str, str] = {}
    label: str = ""
    dtypes: tuple[str, ...] = DTYPES


def version(package: str) -> str:
    """The installed release."""
    with quietly(package):
        return str(getattr(importable(package), "__version__", "") or importlib.metadata.version(package))


def find(name: str) -> Any:
    """The object of a dotted path, with or without torchvision's compiled operators."""
    module, _, attribute = name.rpartition(".")
    with quietly(module):
        return getattr(importable(module), attribute)


def targets(rows: Iterable[Row], label: str) -> list[Target]:
    """One target for each spec, or row; what cannot be found in this release is unsupported, and says why."""
    offered: dict[str, list[Row]] = {}
    for row in rows:
        offered.setdefault(row.spec, []).append(row)
    mine = {spec: [_target(row, f"{label} {row.label}".strip()) for row in found] for spec, found in offered.items()}
    return [one for spec in specs() for one in mine.get(spec) or [_none(spec, label)]]


def corners(box: Tensor) -> Tensor:
    """Boxes (..., 4) xywh as xyxy; ValueError for another last axis."""
    x, y, w, h = box.unbind(-1)
    return torch.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), -1)


def over_images(each: Tensor, reduction: str) -> Tensor:
    """One number for each image, reduced as the spec dice does it; any other word means not at all."""
    return {"mean": each.mean, "sum": each.sum}.get(reduction, lambda: each)()


def image_by_image(loss: Callable[[Tensor, Tensor], Tensor], pred: Tensor, target: Tensor) -> Tensor:
    """The loss of each image by itself, (b,), of one that knows no other reduction than that over the batch."""
    images = [loss(one[None], other[None]) for one, other in zip(pred, target, strict=True)]
    return torch.stack(images) if images else pred.flatten(1).sum(1)


def by_image(images: int, batch_idx: Tensor, cls: Tensor, bboxes: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Classes and boxes of every image, of objects (n,), (n,), (n, 4) that are sorted by image."""
    groups = groups_of(batch_idx, cls, images)
    return list(zip(torch.split(cls, groups), torch.split(bboxes, groups), strict=True))


def _none(spec: str, label: str) -> Target:
    return Target(spec, partial, label, unsupported=f"{label} has no such loss")


def _target(row: Row, label: str) -> Target:
    try:
        found = find(row.name)
    except Unavailable as error:
        return Target(row.spec, partial, label, unsupported=str(error))
    inputs, listed = ", ".join(specs()[row.spec].inputs), "".join(f", {name}={{{name}!r}}" for name in row.accepts)
    usage = (
        f"from lossref.targets.packages import find\nfrom {row.call.__module__} import {row.call.__name__}\n"
        f"out = {row.call.__name__}(find({row.name!r}), {inputs}{listed})"
    )
    build = partial(partial, row.call, found)
    return Target(row.spec, build, label, row.accepts, row.fixed, dtypes=row.dtypes, known=row.known, usage=usage)
