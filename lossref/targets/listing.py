"""The public names: what can be imported from lossref in place of the class of that name, and what checks it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import lossref

CALLED = ("__call__", "_get_vp_features", "_select_target_keypoints", "_get_index", "_get_assigned_bboxes")
CALLED_TOO = ("_get_loss", "_get_loss_class", "_get_loss_bbox", "_get_loss_aux")


class Row(NamedTuple):
    """One public function, constructor or method."""

    name: str
    method: str
    signature: str
    specs: str


def rows() -> Iterator[Row]:
    """Every public name with its methods, those that it inherits from another public class left out."""
    from lossref.targets.dropin import ENTRIES

    checked: dict[str, list[str]] = {}
    for entry in ENTRIES:
        checked.setdefault(entry.name, []).append(entry.spec)
    for name in lossref.LOSSES:
        thing = getattr(lossref, name)
        specs = ", ".join(checked.get(name, ()))
        if not inspect.isclass(thing):
            yield Row(name, "", _signature(thing), specs)
            continue
        yield Row(name, "constructor", _signature(thing), specs)
        yield from (Row(name, method, _signature(getattr(thing, method)), specs) for method in _methods(thing))


def _methods(kind: Any) -> list[str]:
    """What callers call: methods of the class itself, and those that every subclass writes anew."""
    own = [name for name, thing in vars(kind).items() if callable(thing) or isinstance(thing, staticmethod)]
    shown = [name for name in own if not name.startswith("_") or name in (*CALLED, *CALLED_TOO)]
    entrance = "forward" if hasattr(kind, "forward") else "__call__"
    called = [name for name in ("loss", entrance) if name in dir(kind)]
    return [name for name in shown if name not in called] + called


def _signature(thing: Any) -> str:
    """Names and defaults, without annotations and `self`."""
    found = inspect.signature(thing)
    bare = [p.replace(annotation=p.empty) for p in found.parameters.values() if p.name != "self"]
    return str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))
