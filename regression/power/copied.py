"""A second copy of lossref under another name, whose losses can be changed while the first one judges them."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

from mutants import Mutant
from operators import HELPERS

import lossref
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.probe import TargetRaised, call

NAME = "lossref_copied"
Functions = dict[tuple[str, str, int], FunctionType]


def copied() -> Any:
    """`lossref.losses` of the copy."""
    if NAME not in sys.modules:
        folder = Path(tempfile.mkdtemp(prefix="lossref-power-"))
        shutil.copytree(Path(lossref.__file__).parent, folder / NAME, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (folder / NAME).rglob("*.py"):
            path.write_text(re.sub(r"\blossref\b(?=[. ])", NAME, path.read_text()))
        sys.path.insert(0, str(folder))
    return importlib.import_module(f"{NAME}.losses")


def as_target(one: Any) -> Target:
    """The reference of the copy's spec, as a target that is guarded like a stranger's."""
    return Target(one.name, lambda **params: lambda *x: one.reference(*x, **params), "mutant", tuple(one.params))


def executed(spec: Spec, target: Target, cases: list[Case]) -> Functions:
    """The functions of the spec's own room in the copy that these cases run, by file, name and first line."""
    room = str(Path(sys.modules[_reference_of(spec).__module__].__file__ or "").parent)
    seen = set[CodeType]()

    def noted(frame: FrameType, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(room):
            seen.add(frame.f_code)

    sys.setprofile(noted)
    try:
        for case in cases:
            try:
                call(spec, target, case, "float64", grad=bool(spec.wrt))
            except TargetRaised:
                continue
    finally:
        sys.setprofile(None)
    listed = {(code.co_filename, code.co_qualname, code.co_firstlineno) for code in seen}
    return {place: function for place, function in _functions(room).items() if place in listed}


def _reference_of(spec: Spec) -> Any:
    """The function that is the reference of the copy, or that is asked with some keywords given."""
    found = copied().spec(spec.name).reference
    while isinstance(found, partial):  # which says that it is of functools
        found = found.func
    return found


def _functions(room: str) -> Functions:
    """The functions and methods of the modules in a folder."""
    found: Functions = {}
    for module in list(sys.modules.values()):
        if not str(getattr(module, "__file__", "")).startswith(room):
            continue
        holders = [vars(module), *(vars(one) for one in vars(module).values() if isinstance(one, type))]
        for thing in (thing for holder in holders for thing in list(holder.values())):
            bare = getattr(thing, "__func__", thing)
            while hasattr(bare, "__wrapped__"):
                bare = bare.__wrapped__
            if isinstance(bare, FunctionType) and not bare.__closure__:
                code = bare.__code__
                found[code.co_filename, code.co_qualname, code.co_firstlineno] = bare
    return found


@contextmanager
def changed(function: FunctionType, mutant: Mutant) -> Iterator[None]:
    """The function with the code of a mutant."""
    before = function.__code__
    function.__globals__.update(HELPERS)
    function.__code__ = mutant.code
    try:
        yield
    finally:
        function.__code__ = before
