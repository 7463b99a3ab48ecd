"""Targets that live in a host: a TARGET word is read, imported and described there, and declared here."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lossref.core.nouns import Host, Target
from lossref.hosts.command import CannotAnswer, CommandHost
from lossref.hosts.endings import TargetEnded
from lossref.hosts.kept import host_of
from lossref.hosts.probe import Story
from lossref.hosts.process import Absent, Lodging, ProcessHost, Unimportable
from lossref.hosts.worker import state
from lossref.hosts.worker.words import one_line, plain, short
from lossref.losses import spec as find
from lossref.losses import specs
from lossref.targets.declaring import UnknownTarget, checked_slack, has_parameters, usage_of
from lossref.targets.hints import of_arguments
from lossref.targets.resolve import Unavailable, adapters, asks_package, how_to_declare, ready, reference

SAID = "Unavailable: "  # how a host begins what an adapter of lossref has to say itself


class Ended(Unavailable):
    """The process ended, or hung, while a word was imported there: a crash, not a missing package."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


def lodged(word: str, as_spec: str | None, lodging: Lodging) -> list[Target]:
    """Every target that a word stands for, each in its host; the notation is not settled yet.

    Raises `UnknownTarget`, `UnknownSpec`, `Unavailable`, or its kind `Ended`.
    """
    if word == "reference":
        return [replace(reference(spec), device=lodging.device) for spec in specs().values()]
    if as_spec:
        find(as_spec)  # one that is none is known as such before anything is imported
    host = host_of(word, lodging)
    return [replace(one, story=Story(untold=[*host.imports.untold])) for one in _lodged(word, as_spec, host, lodging)]


def _lodged(word: str, as_spec: str | None, host: ProcessHost | CommandHost, lodging: Lodging) -> list[Target]:
    if isinstance(host, CommandHost):
        return _of_peer(host, lodging)
    module, _, attribute = word.partition(":")
    adapter = asks_package(word)
    if as_spec and not attribute:
        raise UnknownTarget(f"--as says which loss one function is: lossref validate {word}:FUNCTION --as {as_spec}")
    try:
        things = loaded_in(host, module, attribute, adapter, as_spec or "")["things"]
        rows = _rows(things, host, lodging) if adapter else _marked(things, word, host, lodging)
    except TargetEnded as error:
        raise Ended(str(error), error.status) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # what it says of itself comes from its process
        raise Unavailable(f"{word} describes its targets in a way that cannot be read: {one_line(error)}") from None
    if not rows:
        raise UnknownTarget(how_to_declare(word))
    return rows


def out_of_reach(word: str, lodging: Lodging) -> str:
    """Why a word cannot be asked on the device of the lodging; an empty string where it can."""
    if lodging.device == "cpu":
        return ""
    if lodging.command:
        return "a peer in another language is not told of devices"
    host = None if word == "reference" else host_of(word, lodging)
    found = host.facts.get("cuda") if isinstance(host, ProcessHost) else state.facts()["cuda"]
    return "" if found else "torch finds no CUDA device here"


def settled(target: Target) -> Target:
    """The target with its notation found out; one that ends its process meanwhile is asked in the usual one."""
    try:
        return ready(target)
    except (TargetEnded, CannotAnswer) as error:
        return replace(target, note=f"its notation could not be found out: {error}")


def version(word: str, lodging: Lodging) -> str:
    """The version of the package that an adapter asks, as its host says; an empty string for other words."""
    if not asks_package(word) or word == "reference":
        return ""
    host = host_of(word, lodging)
    return str(loaded_in(host, word, "", True).get("version", "")) if isinstance(host, ProcessHost) else ""


def facts(word: str, lodging: Lodging) -> Mapping[str, str]:
    """The Python, the torch and the GPU of the host of a word, as it says; empty where there is none of its own."""
    host = None if word == "reference" else host_of(word, lodging)
    return {name: str(fact) for name, fact in host.facts.items()} if isinstance(host, ProcessHost) else {}


def loaded_in(host: ProcessHost, module: str, attribute: str, adapter: bool, as_spec: str = "") -> Mapping[str, Any]:
    """What a word is in a host. Raises `UnknownTarget`, `Unavailable` or `TargetEnded`."""
    try:
        return host.load(module, attribute, adapter, as_spec)
    except Absent as error:
        if error.module:
            raise UnknownTarget(str(error)) from None
        near = difflib.get_close_matches(module, adapters(), n=1)
        hint = (
            f"did you mean {near[0]!r}?" if near else "a module must be importable from here, a file must end in .py."
        )
        raise UnknownTarget(f"{error}; {hint} Built in: {', '.join(adapters())}") from None
    except Unimportable as error:
        if str(error).startswith(SAID):
            raise Unavailable(str(error).removeprefix(SAID)) from None
        lacks = error.lacking
        advice = f"; if {lacks} is a package: pip install -c constraints.txt {lacks}" if lacks else ""
        raise Unavailable(f"{module} cannot be imported: {error}{advice}") from None


def _rows(things: Any, host: Host, lodging: Lodging) -> list[Target]:
    """The rows of an adapter, as it declared them."""
    return [
        Target(
            row["spec"],
            _nothing,
            row["label"],
            tuple(row["accepts"]),
            dict(row["fixed"]),
            tuple(row["dtypes"]),
            slack={check: (float(pair[0]), str(pair[1])) for check, pair in row["slack"].items()},
            known=dict(row["known"]),
            unsupported=row["unsupported"],
            note=row["note"],
            usage=row["usage"],
            only=dict(row["only"]),
            where=plain(str(row["where"])),
            host=host,
            thing=number,
            device=lodging.device,
        )
        for number, row in enumerate(things)
    ]


def _marked(things: Any, word: str, host: Host, lodging: Lodging) -> list[Target]:
    """Marked functions and classes, or the one that `--as` names."""
    chosen = [(number, thing, thing["mark"]) for number, thing in enumerate(things)]
    if not all(mark for _, _, mark in chosen):
        raise UnknownTarget(f"say which loss it is: lossref validate {word} --as SPEC")
    labels = _labels([(str(mark["spec"]), thing) for _, thing, mark in chosen])
    return [
        replace(_declared(thing, mark, label, word), host=host, thing=number, device=lodging.device)
        for (number, thing, mark), label in zip(chosen, labels, strict=True)
    ]


def _labels(pairs: list[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """The name of each thing; with its attribute, or with its line, where others of the same spec share it."""
    names = [short(str(thing["name"])) for _, thing in pairs]
    longer = [f"{name} ({short(str(thing['attribute']))})" for name, (_, thing) in zip(names, pairs, strict=True)]
    shared = Counter((spec, name) for (spec, _), name in zip(pairs, names, strict=True))
    return [
        name if shared[spec, name] == 1 else long for (spec, _), name, long in zip(pairs, names, longer, strict=True)
    ]


def _declared(thing: Mapping[str, Any], mark: Mapping[str, Any], label: str, word: str) -> Target:
    spec = find(str(mark["spec"]))
    fixed = dict(mark.get("fixed", {}))
    only = {str(name): str(word) for name, word in dict(mark.get("only", {})).items()}
    has_parameters(spec, fixed, only)
    accepts = tuple(name for name in spec.params if name in thing["parameters"] and name not in fixed)
    usage = usage_of(str(thing["name"]), spec, accepts, bool(thing["is_class"]), word)
    known = {check: short(str(reason), 400) for check, reason in dict(mark.get("known", {})).items()}
    note = "; ".join(filter(None, (_borrowing(thing), plain(of_arguments(spec, thing, accepts)))))
    made = Target(spec.name, _nothing, label, accepts, fixed, known=known, usage=usage, note=note, only=only)
    where = plain(str(thing["where"]))
    home = where if thing["at_home"] is True else ""
    own = {name: value for name, value in dict(thing["defaults"]).items() if name in accepts}
    made = replace(made, slack=checked_slack(mark.get("slack", {})), where=where, home=home, defaults=own)
    return _as_asked(made, thing["asking"]) if thing.get("asking") else made


def _as_asked(made: Target, how: Mapping[str, Any]) -> Target:
    """A target that its host asks in a way of its own: like a public class, or with one gain at a time."""
    note = "; ".join(filter(None, (made.note, plain(str(how["note"])))))
    accepts = tuple(map(str, how["accepts"]))
    return replace(made, accepts=accepts, fixed=dict(how["fixed"]), note=note, usage="", defaults={})


def _borrowing(thing: Mapping[str, Any]) -> str:
    """What is noted of one that asks lossref to answer, which is allowed: it says little that it agrees."""
    name = short(str(thing["borrows"]))
    return f"it asks lossref itself ({name}), so that it agrees says little" if name else ""


def _of_peer(host: CommandHost, lodging: Lodging) -> list[Target]:
    try:
        offers = host.describe()
    except TargetEnded as error:
        raise Ended(str(error), error.status) from None
    except Unimportable as error:
        raise Unavailable(str(error)) from None
    found = []
    for number, one in enumerate(offers):
        has_parameters(find(one.spec), (*one.params, *one.fixed), one.only)
        made = Target(one.spec, _nothing, one.name, one.params, dict(one.fixed), one.dtypes, known=dict(one.known))
        made = replace(made, only=dict(one.only))
        found.append(replace(made, host=host, thing=number, device=lodging.device, gradients=one.gradients))
    return found


def _nothing(**params: Any) -> Any:
    raise AssertionError("a target in a host is not built here")
