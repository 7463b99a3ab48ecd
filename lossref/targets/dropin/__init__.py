"""The public API of spec/60-api.md as targets: any module that offers these names, in either edition."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from lossref.core.nouns import Spec, Target
from lossref.hosts.worker.described import described
from lossref.losses import specs
from lossref.targets.dropin import boxes, detr, elementary, models
from lossref.targets.dropin.entry import Asked, Entry, parameters_of, required_of

ENTRIES: tuple[Entry, ...] = (*boxes.ENTRIES, *elementary.ENTRIES, *models.ENTRIES, *detr.ENTRIES)


def targets(find: Callable[[str], Any], label: str, absent: str, widen: bool) -> list[Target]:
    """One target for each spec. `find` gives the object of a public name, or None, or a sentence why not.

    `absent` is what is said of a name that is not there. With `widen`, calls with float64 inputs run under
    default dtype float64 (spec/05-decisions.md, D8).
    """
    listed = {entry.spec: entry for entry in ENTRIES}
    found = []
    for spec in specs():
        entry = listed.get(spec)
        if entry is None:
            found.append(Target(spec, partial, label, unsupported="it is no public name of its own"))
            continue
        thing = find(entry.name)
        if thing is None or isinstance(thing, str):
            reason = thing or absent.format(name=entry.name)
            found.append(Target(spec, partial, label, unsupported=reason))
        elif entry.method and not hasattr(thing, entry.method):
            reason = absent.format(name=f"{entry.name}.{entry.method}")
            found.append(Target(spec, partial, label, unsupported=reason))
        else:
            found.append(target_of(entry, thing, label, widen))
    return found


def target_of(entry: Entry, thing: Any, label: str, widen: bool) -> Target:
    """A thing as the target of the spec of an entry."""
    spec = specs()[entry.spec]
    accepts = tuple(name for name in spec.params if name in entry.accepts(thing))
    # None is the default of the specification only where a release has one, too
    needed = {name: spec.params[name].others[0] for name in accepts if _required(thing, name, spec)}

    def build(**params: Any) -> Asked:
        return Asked(entry, thing, {**spec.defaults(), **params}, tuple(spec.inputs), widen)

    moved = "gamma" in entry.usage and "gamma" not in parameters_of(thing)
    usage = "" if moved else entry.usage.replace("{module}", getattr(thing, "__module__", ""))
    where = str(described(thing, "")["where"]) if callable(thing) else ""
    return Target(entry.spec, build, label, accepts, {**entry.fixed, **needed}, usage=usage, where=where)


def _required(thing: Any, name: str, spec: Spec) -> bool:
    return spec.params[name].default is None and name in required_of(thing)
