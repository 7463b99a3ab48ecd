"""How one public name is built and asked: the inputs of its spec go in by name, its terms come out."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lossref.hosts.worker.tensors import AS_EVALUATED, REGAINED, TURNED, UNDENOISED
from lossref.targets.dropin.forms import LATER, Formed

Shapes = Mapping[str, tuple[int, ...]]
ON_HEADS = ("scores", 1)  # the classes of what takes the predictions of a head, and a batch
MORE_FORMS = (("classification", AS_EVALUATED), ("rtdetr", UNDENOISED))
OTHERS_FORMS = (UNDENOISED,)  # of what takes the predictions of a head
ANEW = (TURNED, REGAINED)  # what has seen these images before knows them
STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Mismatch(ValueError):
    """What an adapter says on purpose: of an input that its target could not refuse, or of what the target returned."""

    deliberate = True


@dataclass(frozen=True)
class Entry:
    """One spec and the public name that implements it.

    accepts: the parameters of the spec that the thing has, given the thing
    make:    (thing, params, shapes of the inputs, their device) -> the object that is called
    ask:     (object, params, **inputs) -> the terms
    method:  what is asked, where it is no call of the object: a release may lack it
    classes_at: the input, and its axis, that tells how many classes the object is made for; none: it does not matter
    """

    spec: str
    name: str
    accepts: Callable[[Any], tuple[str, ...]]
    make: Callable[[Any, Mapping[str, Any], Shapes, str], Any]
    ask: Callable[..., Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    usage: str = ""
    method: str = ""
    classes_at: tuple[str, int] | None = None

    def classes(self, shapes: Shapes) -> int:
        """The class count of the inputs, on which a loss that is built on a model depends; 0 for others."""
        return shapes[self.classes_at[0]][self.classes_at[1]] if self.classes_at else 0


class Asked:
    """An implementation together with the way in which the inputs of a spec are handed to it."""

    def __init__(
        self, entry: Entry, thing: Any, params: Mapping[str, Any], names: tuple[str, ...], widen: bool
    ) -> None:
        self.entry, self.thing, self.params, self.names, self.widen = entry, thing, dict(params), names, widen
        self.made: Any = None
        self.classes, self.device = -1, ""
        self.form = ""

    def in_form(self, word: str) -> Asked:
        """The same, with predictions and batch handed over in another documented form, as a word says.

        Raises TypeError for what takes no batch, or that of a transformer, which has no other form.
        """
        on_heads = self.entry.classes_at == ON_HEADS and word not in OTHERS_FORMS
        if not on_heads and (self.entry.spec, word) not in MORE_FORMS:
            raise TypeError(f"{self.entry.name} is called in one form")
        other = copy.copy(self)
        other.form = word
        other.made = None if word in ANEW else self.made
        other.params = {**self.params, LATER: True} if word == REGAINED else self.params
        return other

    def prepare(self, shapes: Shapes, dtype: str, device: str = "cpu") -> None:
        """Build the object before its first call, when the sizes of the inputs and their device are known."""
        self.classes, self.device = self.entry.classes(shapes), torch.device(device).type
        with default_dtype(torch.float64 if self.widen and dtype == "float64" else torch.get_default_dtype()):
            made = self.entry.make(self.thing, self.params, shapes, device)
        self.made = made.to(device) if isinstance(made, torch.nn.Module) else made

    def __call__(self, *inputs: Tensor) -> Any:
        """The terms that come out for the inputs, in the order of the spec."""
        wide = self.widen and any(x.dtype == torch.float64 for x in inputs)
        shapes = {name: tuple(x.shape) for name, x in zip(self.names, inputs, strict=True)}
        device = inputs[0].device.type
        if self.made is None or (self.entry.classes(shapes), device) != (self.classes, self.device):
            self.prepare(shapes, "float64" if wide else "float32", device)
        made = Formed(self.made, self.form) if self.form else self.made
        with default_dtype(torch.float64 if wide else torch.get_default_dtype()):
            return self.entry.ask(made, self.params, **dict(zip(self.names, inputs, strict=True)))


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Run the body under a default dtype of torch."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def required_of(thing: Any) -> set[str]:
    """The names of the parameters that have no default."""
    listed = inspect.signature(thing).parameters.values()
    return {one.name for one in listed if one.default is inspect.Parameter.empty}


def parameters_of(thing: Any) -> tuple[str, ...]:
    """The names of the parameters of a function or a constructor, with those of the class above where it passes on.

    A constructor passes on what it does not name if it takes `**kwargs`.
    """
    listed = inspect.signature(thing).parameters
    names = [name for name, one in listed.items() if one.kind not in STARRED]
    passes_on = isinstance(thing, type) and any(one.kind is inspect.Parameter.VAR_KEYWORD for one in listed.values())
    above = next((one for one in thing.__bases__ if one is not object), None) if passes_on else None
    return tuple(dict.fromkeys((*names, *(parameters_of(above) if above else ()))))
