"""A class of somebody's own that takes what the public class of its spec takes, and is asked like that.

It need not return its terms one by one: one that returns their sum is asked with one gain at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lossref.losses import specs
from lossref.targets import dropin
from lossref.targets.dropin.entry import ON_HEADS, Entry, Mismatch, Shapes, parameters_of
from lossref.targets.dropin.signs import is_public
from lossref.targets.dropin.yolo import SHARES, values_of

POSE = ("box", "pose", "kobj", "cls", "dfl")
GAINS: Mapping[str, tuple[str, ...]] = {
    "v8_detection": ("box", "cls", "dfl"),
    "e2e_detect": ("box", "cls", "dfl"),
    "v8_pose": POSE,
    "pose26": (*POSE, "rle"),
    "v8_obb": ("box", "cls", "dfl", "angle"),
}
"""The gain of each term, where no two terms share one: a sum of these can be taken apart."""
FORMS = ("8.4", "8.3")
OTHER_FORM = (KeyError, IndexError, TypeError, AttributeError)  # what the wrong form of predictions raises
Build = Callable[..., Callable[..., Any]]


@dataclass(frozen=True)
class Asking:
    """How something is built and asked that does not simply take inputs and give terms."""

    build: Build
    accepts: tuple[str, ...]
    fixed: Mapping[str, Any]
    note: str


def asking(thing: Any, name: str, fixed: Mapping[str, Any]) -> Asking | None:
    """How a function or class is asked for a spec; None where it takes the inputs and gives the terms.

    `fixed` are the parameters at which it stands.
    """
    entry = next((one for one in dropin.ENTRIES if one.spec == name), None)
    if entry is None:
        return None
    if isinstance(thing, type) and is_public(entry, thing, specs()[name]):
        return _like_public(entry, thing, fixed)
    gains = [f"{gain}_gain" for gain in GAINS.get(name, ())]
    if not gains or not {*gains} <= {*parameters_of(thing)} - {*fixed}:
        return None
    accepts = tuple(one for one in specs()[name].params if one in parameters_of(thing) and one not in fixed)
    build = thing if isinstance(thing, type) else partial(partial, thing)
    return Asking(partial(Apart, build, specs()[name].defaults(), tuple(gains)), accepts, fixed, "")


def _like_public(entry: Entry, kind: type, fixed: Mapping[str, Any]) -> Asking:
    one = dropin.target_of(_wrapped(entry), kind, kind.__name__, widen=True)
    accepts = tuple(name for name in one.accepts if name not in fixed)
    method = f".{entry.method}" if entry.method else ""
    note = f"asked like {entry.name}{method}"
    return Asking(partial(one.build, **fixed), accepts, {**one.fixed, **fixed}, note)


def _wrapped(entry: Entry) -> Entry:
    """The entry with an object that says in which form it takes predictions, if it is made on a model and called."""
    if entry.method or entry.classes_at != ON_HEADS:
        return entry
    return replace(entry, make=partial(Own, entry), ask=partial(_in_its_form, entry))


class Own:
    """A loss of one's own that is made on a model; `__form__` is the edition whose predictions it takes, once known.

    Names with underscores at both ends are ours: they are no state of the loss.
    """

    def __init__(self, entry: Entry, kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> None:
        self.loss = entry.make(kind, params, shapes, device)
        self.__form__ = "8.4" if hasattr(self.loss, "parse_output") else ""
        self.__spec__ = entry.spec
        self.__parts__: dict[str, Any] = {}
        self.__remake__ = partial(_made_with, entry, kind, params, shapes, device)

    def __getattr__(self, name: str) -> Any:
        if "loss" not in self.__dict__:  # a copy is asked for its methods before it has anything
            raise AttributeError(name)
        return getattr(self.loss, name)

    def __call__(self, preds: Any, batch: Mapping[str, Tensor]) -> Any:
        """(terms times the number of images, the terms), in whatever form the loss returns them."""
        result = self.loss(preds, batch)
        if _is_usual(result):
            return result
        vector = _vector(result)
        if vector is None and self.__spec__ in GAINS:
            vector = self._one_gain_at_a_time(_total(result), preds, batch)
        if vector is None:
            return _pair(result, self.__spec__)
        return vector, vector.detach() / len(_first_tensor(preds))

    def _one_gain_at_a_time(self, total: Tensor, preds: Any, batch: Mapping[str, Tensor]) -> Tensor:
        gains = GAINS[self.__spec__]
        for gain in gains:
            if gain not in self.__parts__:
                others = {f"{other}_gain": 0.0 for other in gains if other != gain}
                self.__parts__[gain] = self.__remake__(others)
        parts = [_total(self.__parts__[gain](preds, batch)) for gain in gains]
        return _apart(total, parts, gains, "model.args.")


def _made_with(
    entry: Entry, kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str, changed: Mapping[str, Any]
) -> Any:
    return entry.make(kind, {**params, **changed}, shapes, device)


class Apart:
    """A function, or a flat class, with a gain for each of its terms: where it returns their sum, one at a time."""

    def __init__(self, build: Build, defaults: Mapping[str, Any], gains: tuple[str, ...], **params: Any) -> None:
        self.whole = build(**params)
        silent = dict.fromkeys(gains, 0.0)
        given = {gain: params.get(gain, defaults[gain]) for gain in gains}
        self.__parts__ = {gain: build(**{**params, **silent, gain: given[gain]}) for gain in gains}

    def __call__(self, *inputs: Tensor) -> Any:
        """The terms."""
        result = self.whole(*inputs)
        if not torch.is_tensor(result) or result.numel() != 1:
            return result
        parts = [_total(part(*inputs)) for part in self.__parts__.values()]
        return tuple(_apart(_total(result), parts, tuple(self.__parts__), "").unbind())


def _in_its_form(entry: Entry, loss: Own, params: Mapping[str, Any], **x: Tensor) -> Any:
    """What is called with the dict of edition 8.4 or the maps of 8.3, whichever it takes: that is tried once."""
    if loss.__form__:
        return entry.ask(loss, params, **x)
    first: Exception | None = None
    for form in FORMS:
        loss.__form__ = form
        try:
            return entry.ask(loss, params, **x)
        except OTHER_FORM as error:
            first = first or error
        except Exception:
            loss.__form__ = ""
            raise
    loss.__form__ = ""
    assert first is not None
    raise first


def _is_usual(result: Any) -> bool:
    """Whether it is (a vector with the terms, items)."""
    return _is_listed(result) and len(result) == 2 and torch.is_tensor(result[0]) and result[0].ndim == 1


def _vector(result: Any) -> Tensor | None:
    """The terms where they stand by themselves: a vector, or several numbers; None for one number, also in a pair."""
    if torch.is_tensor(result):
        return result if result.ndim == 1 and len(result) > 1 else None
    listed = [*result.values()] if isinstance(result, Mapping) else [*result] if _is_listed(result) else []
    if len(listed) > 2 and all(torch.is_tensor(one) and one.numel() == 1 for one in listed):
        return torch.stack([one.reshape(()) for one in listed])
    return None


def _total(result: Any) -> Tensor:
    """The number of which a gradient is taken."""
    found = result if torch.is_tensor(result) else next(iter(result), None) if _is_listed(result) else result
    if not torch.is_tensor(found):
        raise Mismatch(f"returned {type(found).__name__}, expected a tensor, or several")
    total: Tensor = found.sum()
    return total


def _is_listed(result: Any) -> bool:
    return isinstance(result, (tuple, list))


def _pair(result: Any, spec: str) -> Any:
    """The pair (loss, items) as it is. Raises `Mismatch` for a sum of which nobody could tell the terms."""
    if not torch.is_tensor(result) and len(result) == 2:
        loss, items = result
        if loss.ndim or not spec.startswith("v8_") or values_of(items).numel() in SHARES:
            return result
    raise Mismatch(
        f"returns one number, and two of its terms ({', '.join(specs()[spec].terms)}) share a gain, "
        "so that they cannot be told apart: return (a vector with the terms, the same detached / images)"
    )


def _apart(total: Tensor, parts: list[Tensor], gains: tuple[str, ...], where: str) -> Tensor:
    """The terms, each of them asked by itself. Raises `Mismatch` where the gains do not reach them."""
    found = torch.stack(parts)
    if total.isfinite() and total != 0 and bool((found.detach() == total.detach()).all()):
        named = ", ".join(f"{where}{gain}" for gain in gains)
        raise Mismatch(f"returns the sum of its terms, and takes no notice of {named}: return the terms one by one")
    return found


def _first_tensor(preds: Any) -> Tensor:
    while not torch.is_tensor(preds):
        preds = next(iter(preds.values() if isinstance(preds, Mapping) else preds))
    return preds
