"""Specs that are not lossref's own: the entry points of the group `lossref.specs`, and files that a user names.

Here they are read. Whether their names are free and what is wrong with them, the catalogue asks (lossref/losses).
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import io
import os
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from lossref.core.nouns import Domain, Param, Spec

GROUP = "lossref.specs"
FIELDS = {kind.__name__: [field.name for field in fields(kind)] for kind in (Spec, Domain, Param)}


class SpecsError(Exception):
    """A file or an entry point that gives no spec; the message is a sentence that says what to do."""


class Found(NamedTuple):
    """A spec, the text that explains it, and where it is from: a path, or the entry point in words."""

    spec: Spec
    doc: str
    origin: str


def of_file(path: str) -> list[Found]:
    """What a Python file declares as SPEC: a Spec or several. Raises `SpecsError`."""
    file = Path(path).resolve()
    if file.suffix != ".py" or not file.is_file():
        raise SpecsError(f"there is no Python file {path}; `lossref new NAME` writes one that declares a spec")
    module = _executed(file, path)
    return [Found(one, module.__doc__ or "", str(file)) for one in _specs_in(module, path)]


def of_entry_point(entry: EntryPoint) -> list[Found]:
    """The specs of an entry point, which names a module, a Spec or several. Raises `SpecsError`."""
    where = in_words(entry)
    with _in_one_sentence(where, ""):
        thing = entry.load()
    doc = sys.modules[entry.module].__doc__ or ""
    return [Found(one, doc, where) for one in _specs_in(thing, where)]


def entries() -> list[EntryPoint]:
    """The entry points of all installed packages, by name."""
    return sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))


def file_of(entry: EntryPoint) -> str:
    """The path of the module that an entry point named, once it is loaded."""
    return os.path.realpath(sys.modules[entry.module].__file__ or "")


def in_words(entry: EntryPoint) -> str:
    """An entry point and the package that declares it."""
    package = f" of {entry.dist.name}" if entry.dist else ""
    return f"the entry point {entry.name} = {entry.value!r}{package}"


def _executed(file: Path, shown: str) -> ModuleType:
    """The file as a module of its own: its name cannot hide that of an installed one."""
    name = f"<specs of {file}>"
    found = importlib.util.spec_from_file_location(name, file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses look for it while the file is executed
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    with _in_one_sentence(shown, str(file)):
        found.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _in_one_sentence(what: str, file: str) -> Iterator[None]:
    """Import without chatter; whatever that raises becomes one sentence, with the line of `file` where it arose."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # foreign code may raise anything, SystemExit too
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
        where = f"{what}, line {line}" if line else what
        raise SpecsError(f"{where}, cannot be imported: {_said(error)}") from error


def _said(error: BaseException) -> str:
    """Type and first line of an exception; what was meant, where a field of a Spec is misspelt or missing."""
    text = (str(error).strip().splitlines() or [""])[0]
    unknown = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", text)
    missing = re.match(r"(\w+)\.__init__\(\) missing \d+ required positional arguments?: (.*)", text)
    if unknown and unknown[1] in FIELDS:
        known = FIELDS[unknown[1]]
        return f"{unknown[1]} has no field {unknown[2]!r}{meant(unknown[2], known)}; it has {', '.join(known)}"
    if missing and missing[1] in FIELDS:
        return f"{missing[1]} needs {missing[2]}, which is not given"
    return f"{type(error).__name__}: {text}"


def meant(word: str, known: Any) -> str:
    """Which of the known words may have been meant, as the end of a sentence; empty where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _specs_in(thing: Any, where: str) -> list[Spec]:
    """The specs that an object stands for: itself, its elements, or the SPEC of a module."""
    if isinstance(thing, ModuleType):
        if not hasattr(thing, "SPEC"):
            others = [name for name, one in vars(thing).items() if isinstance(one, Spec)]
            hint = f"; call {others[0]} SPEC" if others else "; write SPEC = Spec(...), as `lossref new NAME` does"
            raise SpecsError(f"{where} declares no SPEC{hint}")
        return _specs_in(thing.SPEC, f"SPEC of {where}")
    listed = list(thing) if isinstance(thing, (tuple, list)) else [thing]
    for one in listed:
        if not isinstance(one, Spec):
            raise SpecsError(
                f"{where} holds {_kind(one)}, expected a Spec or a list of them: from lossref.core import Spec"
            )
    if not listed:
        raise SpecsError(f"{where} is empty, expected a Spec or a list of them")
    return listed


def _kind(one: Any) -> str:
    return f"the class {one.__name__}" if isinstance(one, type) else f"an object of type {type(one).__name__}"
