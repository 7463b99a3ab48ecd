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

ROOT = Path(lossref.__file__).parent
RECORDING = ("core", "losses", "oracle", "checks", "hosts", "run/golden")  # rooms that a recording is made by
ANSWERING = ("core", "losses", "oracle")  # rooms that an answer can depend on
ALWAYS = ("oracle/answers.py", "oracle/numbers.py", "oracle/tape.py")


def code_of_recording(specs: Iterable[Spec]) -> str:
    """A digest of the code that a recording of these specs depends on: lossref's own, and the files of other specs."""
    files = {path for room in RECORDING for path in (ROOT / room).rglob("*.py")}
    files |= {path for spec in specs for path in _files_of(spec)}
    return _digest(files)


def code_of_answers(spec: Spec) -> str:
    """A digest of the code that the certified answers of a spec depend on, the same on every machine.

    That is what the oracle's own file imports, and what runs it. Comments and blank lines do not count. Nothing for a
    spec of somebody else's: nobody can say which files its numbers depend on.
    """
    own = _file(spec.oracle)
    if own is None or ROOT not in own.parents:
        return ""
    how = (spec.wrt, spec.terms, spec.composite, sorted((name, one.dtype) for name, one in spec.inputs.items()))
    return hashlib.sha256(f"{how} {_of_oracle(own)}".encode()).hexdigest()


@lru_cache(maxsize=256)
def _of_oracle(path: Path) -> str:
    """The digest of a file, of what runs it, and of all that they import, however far away."""
    found, new = set[Path](), {path, *(ROOT / name for name in ALWAYS)}
    while new:
        found |= new
        new = {other for one in new for other in _imports(one)} - found
    return _digest(found)


@lru_cache(maxsize=1024)
def _imports(path: Path) -> frozenset[Path]:
    """The files of lossref that a file imports, of the rooms that an answer can depend on."""
    words = set(_words(ast.parse(path.read_bytes())))
    files = {_path(word) for word in words} | {_path(word.rpartition(".")[0]) for word in words}
    return frozenset(one for one in files if one is not None)


def _words(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{one.name}" for one in node.names)


@lru_cache(maxsize=4096)
def _path(module: str) -> Path | None:
    first, *rest = module.split(".")
    if first != ROOT.name or not rest or rest[0] not in ANSWERING:
        return None
    base = ROOT.joinpath(*rest)
    return next((one for one in (base.with_suffix(".py"), base / "__init__.py") if one.is_file()), None)


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
