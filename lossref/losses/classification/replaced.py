"""Whether the parts and methods that a loss came with are its own, or somebody put others in their place.

A loss computes all of its steps at once while they are its own; otherwise it calls them one by one, in the order of
spec/40-yolo.md section 1.7 and spec/50-detr.md section 1.11. Asked at every call: types and identities are looked at,
no value is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
Loss = TypeVar("Loss")


class Kind(NamedTuple):
    """A class of modules, and how it answers: `called` is its method of that name as it was defined."""

    of: type
    name: str
    called: Any


def kind_of(module: type, name: str = "forward") -> Kind:
    """The kind that a class is now; to be made where the module that uses it is loaded."""
    return Kind(module, name, getattr(module, name))


BCE = kind_of(nn.BCEWithLogitsLoss)


def own(module: Any, kind: Kind, *more: str) -> bool:
    """Whether this is a module of exactly this kind, which answers as its class was written to, without any hook.

    `more` are names that it must not have as an object.
    """
    if type(module) is not kind.of or getattr(kind.of, kind.name) is not kind.called:
        return False
    inside = module.__dict__
    if any(inside[hooks] for hooks in HOOKS):
        return False
    return not any(name in inside for name in (kind.name, *more))


def plain_bce(module: Any, reduction: str) -> bool:
    """Whether this is torch's own cross entropy on logits, without weights."""
    return own(module, BCE) and module.reduction == reduction and module.weight is None and module.pos_weight is None


def documented(*names: str) -> Callable[[type[Loss]], type[Loss]]:
    """Remember the methods of a class that a subclass or an object may replace; see `overridden`."""

    def remember(kind: type[Loss]) -> type[Loss]:
        kind._methods = {name: getattr(kind, name) for name in names}  # type: ignore[attr-defined]
        return kind

    return remember


def overridden(loss: Any, *only: str) -> str:
    """The first method that is another one in the class or the object of a loss than its own, or nothing.

    Asked are those that its class has `documented`, or some of them.
    """
    kind, inside, methods = type(loss), loss.__dict__, loss._methods
    for name in only or methods:
        if name in inside or getattr(kind, name) is not methods[name]:
            return name
    return ""


class Mark:
    """A tensor as a loss made it: whether it is still that one, and was not written to. Copies mark their own."""

    def __init__(self, made: Tensor) -> None:
        self.made, self.written = made, _version(made)

    def untouched(self, x: Any) -> bool:
        """Whether x is the tensor, as it was made; a compiler sees no writing."""
        return x is self.made and (torch.compiler.is_compiling() or _version(x) == self.written)

    def __deepcopy__(self, memo: dict[int, Any]) -> Mark:
        other = Mark(copy.deepcopy(self.made, memo))
        other.written -= not self.untouched(self.made)
        return other


def _version(x: Tensor) -> int:
    """How often a tensor was written to; -1 for one that does not count it."""
    return -1 if x.is_inference() else x._version
