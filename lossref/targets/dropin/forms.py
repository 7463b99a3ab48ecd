"""The other documented forms of predictions and batches (spec/00-conventions.md sections 3 and 4)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lossref.hosts.worker.tensors import AS_EVALUATED, COLUMNS, INTEGERS, REGAINED, TURNED, UNDENOISED

LISTED = ("batch_idx", "cls")  # one number for each object
LATER = "gains_later"  # beside the parameters: the gains are given to the arguments of a model that has its loss
MAP = 4  # axes of a feature map
Batch = Mapping[str, Any]


def _with_columns(batch: Batch) -> dict[str, Any]:
    return {name: x[:, None] if name in LISTED and x.ndim == 1 else x for name, x in batch.items()}


def _with_integers(batch: Batch) -> dict[str, Any]:
    return {name: x.long() if name in LISTED else x for name, x in batch.items()}


BATCHES: dict[str, Callable[[Batch], dict[str, Any]]] = {
    COLUMNS: _with_columns,
    INTEGERS: _with_integers,
    REGAINED: dict,
}


class Formed:
    """A loss of predictions and a batch that is given both in another form."""

    def __init__(self, loss: Any, word: str) -> None:
        self.loss, self.word = loss, word

    def __getattr__(self, name: str) -> Any:
        if name == "loss":  # while it is copied
            raise AttributeError(name)
        return getattr(self.loss, name)

    def __call__(self, preds: Any, batch: Batch, *more: Any) -> Any:
        """What the loss gives."""
        if self.word == UNDENOISED:
            return _undenoised(self.loss, preds, batch, *more)
        if self.word == AS_EVALUATED:
            return self.loss((_decoded(preds), preds), batch)
        if self.word == TURNED:
            with contextlib.suppress(Exception):  # of such images it may say what it likes
                self.loss(_turned(preds), batch)
            return self.loss(preds, batch)
        return self.loss(preds, BATCHES[self.word](batch))


def _undenoised(loss: Any, preds: Any, batch: Batch, *more: Any) -> dict[str, Any]:
    """The terms of the denoising queries, to which a call without them adds 0, and the others of that call."""
    usual, alone = loss(preds, batch, *more), loss(preds, batch)
    return {name: part + alone[name] if name.endswith("_dn") else alone[name] for name, part in usual.items()}


def _turned(preds: Any, name: str = "") -> Any:
    """The same with every feature map twice as high and half as wide, or the reverse: as many anchors, elsewhere."""
    if isinstance(preds, Mapping):
        return {key: _turned(part, key) for key, part in preds.items()}
    if isinstance(preds, (tuple, list)):
        return type(preds)(_turned(part, "feats" if isinstance(preds, list) else "") for part in preds)
    if name != "feats" or preds.ndim != MAP:
        return preds
    *_, height, width = preds.shape
    return preds.reshape(*preds.shape[:2], *((height * 2, width // 2) if width % 2 == 0 else (width, height)))


def _decoded(preds: Any) -> Tensor:
    """What an evaluated model gives beside its predictions: boxes and scores that no loss looks at."""
    while not torch.is_tensor(preds):
        preds = next(iter(preds.values() if isinstance(preds, Mapping) else preds))
    return torch.full_like(preds, torch.nan)
