"""How a function or class, with what a mark says about it, becomes a target."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lossref.checks.cases.limits import not_there
from lossref.core.nouns import Spec, Target
from lossref.hosts.probe import Story
from lossref.hosts.worker.described import described
from lossref.targets.hints import of_arguments
from lossref.targets.marks import Mark, Slack


class UnknownTarget(LookupError):
    """A TARGET word that names nothing; the message says what to do."""


def declared(thing: Any, mark: Mark, word: str) -> Target:
    """A Target from a function or a class with forward or __call__; `word` finds its module, if anything does.

    Raises `UnknownSpec`, or `UnknownTarget` for a parameter that the spec does not have.
    """
    from lossref.losses import spec as find
    from lossref.targets.dropin.own import asking

    spec = find(mark.spec)
    has_parameters(spec, mark.fixed, mark.only)
    accepts = tuple(name for name in spec.params if name in _parameters(thing) and name not in mark.fixed)
    build = thing if isinstance(thing, type) else partial(partial, thing)
    name = getattr(thing, "__name__", type(thing).__name__)
    usage = usage_of(name, spec, accepts, isinstance(thing, type), word) if word else ""
    made = Target(spec.name, build, name, accepts, mark.fixed, known=mark.known, usage=usage, only=mark.only)
    made = replace(made, story=Story())
    said = described(thing, name)
    own = {name: value for name, value in said["defaults"].items() if name in accepts}
    made = replace(made, slack=checked_slack(mark.slack), where=said["where"], defaults=own)
    made = replace(made, note=of_arguments(spec, said, accepts))
    how = asking(thing, spec.name, mark.fixed)
    if how is None:
        return made
    return replace(made, build=how.build, accepts=how.accepts, fixed=how.fixed, note=how.note, usage="", defaults={})


def checked_slack(slack: Slack) -> dict[str, tuple[float, str]]:
    """The slack of a mark. Raises `UnknownTarget` unless every factor is a finite number >= 1 and has its reason."""
    for check, given in slack.items():
        factor, reason = (*given, "", "")[:2] if isinstance(given, (tuple, list)) else (given, "")
        if not isinstance(factor, (int, float)) or not (1 <= factor < math.inf) or not str(reason).strip():
            raise UnknownTarget(
                f"slack of {check}: expected (factor, reason) with a finite factor >= 1 and a reason, got {given!r}"
            )
    return {check: (float(factor), str(reason)) for check, (factor, reason) in slack.items()}


def has_parameters(spec: Spec, names: Iterable[str], only: Mapping[str, str] | None = None) -> None:
    """Raises `UnknownTarget` for the first name that is no parameter of the spec, or no family of its inputs."""
    if only and (absent := not_there(spec, only)):
        raise UnknownTarget(absent)
    for unknown in (name for name in names if name not in spec.params):
        near = difflib.get_close_matches(unknown, spec.params, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UnknownTarget(
            f"{spec.name} has no parameter {unknown!r}{hint}; it has {', '.join(spec.params) or 'none'}"
        )


def usage_of(name: str, spec: Spec, accepts: tuple[str, ...], is_class: bool, word: str) -> str:
    """Python that imports the implementation and calls it."""
    parameters = ", ".join(f"{name}={{{name}!r}}" for name in accepts)
    inputs = ", ".join(spec.inputs)
    call = f"({parameters})({inputs})" if is_class else f"({', '.join(filter(None, (inputs, parameters)))})"
    return f"{_found_at(word)}from {_module_of(word)} import {name}\nout = {name}{call}"


def _module_of(word: str) -> str:
    """The module of a TARGET word: a dotted name, a path from here, or a file somewhere else."""
    file = word.partition(":")[0]
    return Path(file).stem if Path(file).is_absolute() else file.removesuffix(".py").replace("/", ".")


def _found_at(word: str) -> str:
    """The lines that make a file somewhere else importable."""
    file = Path(word.partition(":")[0])
    return f"import sys\nsys.path.insert(0, {str(file.parent)!r})\n" if file.is_absolute() else ""


def _parameters(thing: Any) -> set[str]:
    """Names of the parameters of a callable; none where it does not tell (a C function, say)."""
    try:
        return set(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return set()
