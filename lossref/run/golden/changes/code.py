"""Digests of code: of all that a recording depends on, and of what the answers of one spec depend on."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import lossref
from lossref.core.nouns import Spec
from lossref.run.golden.changes.reached import Place, Sources, digest, said, uses

ROOT = Path(lossref.__file__).parent
RECORDING = ("core", "losses", "oracle", "checks", "hosts", "run/golden")  # rooms that a recording is made by
OWN = "lossref.losses."
ANSWERS = "lossref.oracle.answers"
RUN_BY: tuple[Place, ...] = ((ANSWERS, "climbed"), (ANSWERS, "floats"), (ANSWERS, "certified_digits"))


def code_of_recording(specs: Iterable[Spec]) -> str:
    """A digest of the code that a recording of these specs depends on: lossref's own, and the files of other specs."""
    files = {path for room in RECORDING for path in (ROOT / room).rglob("*.py")}
    files |= {path for spec in specs for path in _files_of(spec)}
    return _digest(files)


def code_of_answers(spec: Spec, these: Sources | None = None) -> str:
    """A digest of the code that the certified answers of a spec depend on, the same on every machine.

    That is what its declaration says of the oracle, what runs it, and every definition that these reach, constants
    included. Comments, docstrings, and what only a reference, a check or a drawn case needs do not count. Nothing for a
    spec of somebody else's, for nobody can say which files its numbers depend on, and for an elementary one, of which
    no run takes recorded answers.
    """
    if not spec.composite:
        return ""
    module = module_of(spec)
    if not module:
        return ""
    how = (spec.wrt, spec.terms, spec.composite, sorted((name, one.dtype) for name, one in spec.inputs.items()))
    return hashlib.sha256(f"{how} {_of_oracle(these or sources(), module)}".encode()).hexdigest()


def module_of(spec: Spec) -> str:
    """The module of lossref that declares this very spec; nothing for somebody else's."""
    own = [name for name in list(sys.modules) if name.startswith(OWN)]
    return next((name for name in own if getattr(sys.modules[name], "SPEC", None) is spec), "")


@lru_cache(maxsize=1)
def sources() -> Sources:
    """The modules of lossref as they are on disk."""
    return Sources(ROOT)


@lru_cache(maxsize=256)
def _of_oracle(these: Sources, module: str) -> str:
    """The digest of what the declaration in a module says of the oracle, and of all that it and its machine reach."""
    return f"{' '.join(map(said, oracles(these, module)))} {digest(these, roots(these, module))}"


def roots(these: Sources, module: str) -> list[Place]:
    """The names that an answer begins with: those of the declared oracle, and those of what runs it."""
    return [*RUN_BY, *(place for one in oracles(these, module) for place in uses(these, module, one))]


def oracles(these: Sources, module: str) -> list[ast.AST]:
    """What `SPEC = Spec(..., oracle=...)` says of the oracle; of a declaration of another form, all of it."""
    found = list[ast.AST]()
    for one in these.module(module).bound["SPEC"]:
        value = getattr(one, "value", None)
        words = value.keywords if isinstance(value, ast.Call) else []
        found += [word.value for word in words if word.arg == "oracle"] or [one]
    return found


def _files_of(spec: Spec) -> Iterator[Path]:
    """The files of reference and oracle."""
    yield from filter(None, (_file(one) for one in (spec.reference, spec.oracle)))


def _file(function: Callable[..., Any]) -> Path | None:
    """The file that a function was written in."""
    while isinstance(function, partial):
        function = function.func
    module = sys.modules.get(getattr(inspect.unwrap(function), "__module__", ""))
    file = getattr(module, "__file__", None) or ""
    return Path(file) if file.endswith(".py") else None


def _digest(files: Iterable[Path]) -> str:
    """Of names and lines, comments and blank lines left out."""
    hasher = hashlib.sha256()
    for path in sorted(files):
        name = path.relative_to(ROOT).as_posix() if ROOT in path.parents else path.name
        lines = [line.rstrip() for line in path.read_text(encoding="utf-8").splitlines()]
        kept = [line for line in lines if line and not line.lstrip().startswith("#")]
        hasher.update(f"{name} {len(kept)}\n".encode() + "\n".join(kept).encode() + b"\n")
    return hasher.hexdigest()
