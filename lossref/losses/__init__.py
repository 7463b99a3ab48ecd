"""Which specs there are: every file of lossref/losses that has a SPEC, and those that others add.

Others add theirs by an entry point of the group `lossref.specs`, or by a file: `--specs FILE`, or the environment
variable LOSSREF_SPECS (files, separated as in PATH), which the processes that lossref starts inherit.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import os
import pkgutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lossref.core.nouns import Spec
from lossref.core.plugins import Found, SpecsError, entries, file_of, of_entry_point, of_file
from lossref.core.sound import first_fault

FILES = "LOSSREF_SPECS"
OURS = "lossref"
_LOADING: ContextVar[bool] = ContextVar("loading", default=False)


class UnknownSpec(LookupError):
    """No spec of that name; the message says which there are."""


class Catalogue(NamedTuple):
    """Spec name -> what was found, in alphabetical order; and a sentence for each plugin whose specs are absent."""

    found: dict[str, Found]
    warnings: tuple[str, ...]


@cache
def own() -> dict[str, Spec]:
    """The specs of lossref itself, in alphabetical order."""
    return {name: one.spec for name, one in _ours().items()}


@cache
def _ours() -> dict[str, Found]:
    found: dict[str, Found] = {}
    for module in pkgutil.walk_packages(__path__, "lossref.losses."):
        file = importlib.import_module(module.name)
        if hasattr(file, "SPEC"):
            found[file.SPEC.name] = Found(file.SPEC, file.__doc__ or "", OURS)
    return dict(sorted(found.items()))


def catalogue() -> Catalogue:
    """All specs that there are now. Raises `SpecsError` for a file of LOSSREF_SPECS that gives none.

    While the file of a stranger is read, there are ours only: so it may ask for them.
    """
    return Catalogue(_ours(), ()) if _LOADING.get() else _with_others(os.environ.get(FILES, ""))


@cache
def _with_others(files: str) -> Catalogue:
    found, warnings = dict(_ours()), []
    token = _LOADING.set(True)
    try:
        listed = list(dict.fromkeys(os.path.realpath(one) for one in files.split(os.pathsep) if one))
        for file in listed:
            _add(found, of_file(file))
        for entry in entries():
            try:
                more = of_entry_point(entry)
                _add(found, more if file_of(entry) not in listed else [])
            except SpecsError as error:
                warnings.append(f"{error} (without it the rest works; tell its authors, or uninstall it)")
    finally:
        _LOADING.reset(token)
    return Catalogue(dict(sorted(found.items())), tuple(warnings))


def _add(found: dict[str, Found], more: list[Found]) -> None:
    """Add all of them or, where one is wrong, none."""
    new: dict[str, Found] = {}
    for one in more:
        fault = first_fault(one.spec) or _refused(one.spec)
        if fault:
            raise SpecsError(f"{one.origin}: {fault}")
        other = {**found, **new}.get(one.spec.name)
        if other:
            raise SpecsError(f"{one.origin}: there is a spec {one.spec.name!r} in {other.origin} already; rename yours")
        new[one.spec.name] = one
    found.update(new)


def _refused(one: Spec) -> str | None:
    """What goes wrong when its oracle is asked; nothing is asked in a host without flint, where nothing is judged."""
    try:
        from lossref.oracle.trial import refused
    except ModuleNotFoundError as error:
        if error.name != "flint":
            raise
        return None
    return refused(one)


def read(file: str | Path) -> list[Spec]:
    """The specs that a file declares, for its own tests; they need not be in the catalogue. Raises `SpecsError`."""
    found = of_file(str(file))
    _add(dict(_ours()), found)
    return [one.spec for one in found]


@contextmanager
def using(files: Iterable[str | Path]) -> Iterator[None]:
    """The specs of these files, too, here and in the processes that are started inside."""
    before = os.environ.get(FILES)
    listed = [*(before or "").split(os.pathsep), *(os.path.realpath(file) for file in files)]
    try:
        os.environ[FILES] = os.pathsep.join(filter(None, listed))
        yield
    finally:
        os.environ.pop(FILES, None)
        os.environ.update({} if before is None else {FILES: before})


def specs() -> dict[str, Spec]:
    """Name -> Spec, in alphabetical order."""
    return {name: one.spec for name, one in catalogue().found.items()}


def doc(one: Spec) -> str:
    """Formula, citation and conventions: the docstring of the spec's file."""
    return catalogue().found[one.name].doc


def origin(one: Spec) -> str:
    """Where a stranger's spec is from: the path of a file, or an entry point in words; empty for lossref's own."""
    known = catalogue().found.get(one.name)
    return "" if known is None or known.origin == OURS else known.origin


def spec(name: str) -> Spec:
    """The spec of that name, or `UnknownSpec` with the nearest names."""
    known = specs()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    hint = f"a file that declares specs is given by --specs {name}. " if name.endswith(".py") else hint
    raise UnknownSpec(f"there is no spec {name!r}; {hint}Specs: {', '.join(known)}")


def matching(pattern: str) -> list[Spec]:
    """The specs whose name matches one of the globs, which commas separate; `UnknownSpec` if one matches none."""
    words, known = pattern.split(","), specs()
    for word in words:
        if not fnmatch.filter(known, word):
            spec(word)
    return [one for name, one in known.items() if any(fnmatch.fnmatch(name, word) for word in words)]


def markdown(listed: Iterable[Spec] | None = None) -> str:
    """The table of specs in a README: lossref's own, or those that are listed."""
    rows = ["| spec | what it is | drop-in | source |", "|---|---|---|---|"]
    chosen = own().values() if listed is None else listed
    rows += [f"| `{one.name}` | {one.summary} | `{called(one)}` | {one.cite} |" for one in chosen]
    return "\n".join(rows)


def called(one: Spec) -> str:
    """How a loss is called: as its spec says, or else its reference."""
    arguments = [*one.inputs, *(f"{name}={param.default!r}" for name, param in one.params.items())]
    return one.api or f"spec({one.name!r}).reference({', '.join(arguments)})"
