"""Whether a class of somebody's own is to be asked like the public class of its spec, as its signature tells."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import torch

from lossref.core.nouns import Spec
from lossref.targets.dropin.entry import ON_HEADS, STARRED, Entry

Parameters = Mapping[str, inspect.Parameter]
SIGNS = {"model", "batch", "sigmas", "cost_gain", "gt_groups"}
"""Parameters of public constructors and calls that no spec has in that place."""
BARE: tuple[type, ...] = (object, torch.nn.Module)


def is_public(entry: Entry, kind: type, spec: Spec) -> bool:
    """Whether it takes what the public class takes; one that takes the inputs of the spec, one by one, does not."""
    if entry.name.islower() or is_flat(kind, spec):
        return False
    if entry.method:
        return hasattr(kind, entry.method)
    names = {*_constructor(kind), *_call(kind)}
    return bool(names & SIGNS) or inherits(kind, entry.name) or hasattr(kind, "log_prob") or _takes_pair(entry, kind)


def inherits(kind: type, name: str) -> bool:
    """Whether a class above it, or itself, has this name."""
    return name in {one.__name__ for one in kind.__mro__}


def is_flat(kind: type, spec: Spec) -> bool:
    """Whether it takes the parameters of the spec in its constructor and the inputs in its call, and says so."""
    made, called = _constructor(kind), _call(kind)
    if (SIGNS - {*spec.inputs}) & {*made, *called} or not _required(made) <= {*spec.params}:
        return False
    several = any(one.kind in STARRED for one in called.values())
    return not several and len(_required(called)) <= len(spec.inputs) <= len(called)


def _takes_pair(entry: Entry, kind: type) -> bool:
    """Whether it is made of one thing and called with two, as what takes a model is, whatever it calls them."""
    on_a_model = entry.classes_at == ON_HEADS
    return on_a_model and len(_required(_constructor(kind))) == 1 and len(_required(_call(kind))) == 2


def _constructor(kind: type) -> Parameters:
    try:
        return inspect.signature(kind).parameters
    except (TypeError, ValueError):
        return {}


def _call(kind: type) -> Parameters:
    """The parameters of `forward`, or else of `__call__`, without `self`; none where it has neither of its own."""
    listed = (vars(one).get(name) for name in ("forward", "__call__") for one in kind.__mro__ if one not in BARE)
    found = next((one for one in listed if inspect.isfunction(one)), None)
    return dict(list(inspect.signature(found).parameters.items())[1:]) if found else {}


def _required(parameters: Parameters) -> set[str]:
    return {
        name for name, one in parameters.items() if one.default is inspect.Parameter.empty and one.kind not in STARRED
    }
