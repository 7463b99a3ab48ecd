"""Which specs there are: every file of lossref/losses that has a SPEC."""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import pkgutil
from functools import cache
from types import ModuleType

from lossref.core.nouns import Spec


class UnknownSpec(LookupError):
    """No spec of that name; the message says which there are."""


@cache
def files() -> dict[str, ModuleType]:
    """Spec name -> the file that says everything about it, in alphabetical order."""
    found: dict[str, ModuleType] = {}
    for module in pkgutil.walk_packages(__path__, "lossref.losses."):
        file = importlib.import_module(module.name)
        if hasattr(file, "SPEC"):
            found[file.SPEC.name] = file
    return dict(sorted(found.items()))


@cache
def specs() -> dict[str, Spec]:
    """Name -> Spec, in alphabetical order."""
    return {name: file.SPEC for name, file in files().items()}


def doc(one: Spec) -> str:
    """Formula, citation and conventions: the docstring of the spec's file."""
    return files()[one.name].__doc__ or ""


def spec(name: str) -> Spec:
    """The spec of that name, or `UnknownSpec` with the nearest names."""
    if name in specs():
        return specs()[name]
    near = difflib.get_close_matches(name, specs(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UnknownSpec(f"there is no spec {name!r}; {hint}Specs: {', '.join(specs())}")


def matching(pattern: str) -> list[Spec]:
    """The specs whose name matches one of the globs, which commas separate; `UnknownSpec` if one matches none."""
    words = pattern.split(",")
    for word in words:
        if not fnmatch.filter(specs(), word):
            spec(word)
    return [one for name, one in specs().items() if any(fnmatch.fnmatch(name, word) for word in words)]


def markdown() -> str:
    """The table of specs in README.md; a test holds the two together."""
    rows = ["| spec | what it is | drop-in | source |", "|---|---|---|---|"]
    rows += [f"| `{one.name}` | {one.summary} | `{one.api}` | {one.cite} |" for one in specs().values()]
    return "\n".join(rows)
