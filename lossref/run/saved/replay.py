"""Runs a saved case again in a fresh process, and says what is different from when it was saved."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from lossref.checks import table as checks
from lossref.checks.evidence import Evidence, wrong
from lossref.core.nouns import Array, Spec, Target
from lossref.hosts.command import CannotAnswer
from lossref.hosts.endings import TargetEnded, memory_for
from lossref.hosts.probe import TargetRaised, call, itself
from lossref.hosts.worker.words import one_line
from lossref.losses import UnknownSpec, specs, using
from lossref.losses import spec as find
from lossref.run.saved import SavedCase, SavedCaseError, load, snippet
from lossref.targets.lodged import lodged, out_of_reach, settled
from lossref.targets.resolve import Unavailable, UnknownTarget, asks_package


def replay(
    path: Path, trust: bool = False, device: str | None = None, python: str = "", command: str = ""
) -> tuple[list[str], bool]:
    """Lines to print, and whether the case passes now; on another device than it was saved from, if one is named.

    It is asked in the Python, or of the command, that the file names, or of these. Raises `SavedCaseError`, also where
    the file names code outside of the current directory and there is no `trust`.
    """
    saved = load(path)
    saved = replace(saved, device=device or saved.device)
    declaring = _declaring(path, saved)
    for code in () if trust else _outside(saved, declaring, bool(python or command)):
        raise SavedCaseError(f"{path} names code outside of {Path.cwd()}: {code}; if you trust it: --trust")
    if python or command:
        lodging = replace(saved.lodging, python=python, command=command)
        saved = replace(saved, lodging=lodging, target=command or saved.target)
    with using(declaring):
        return _again(path, saved)


def _outside(saved: SavedCase, declaring: list[str], elsewhere: bool = False) -> Iterator[str]:
    """What would be run from outside of the current directory because the file says so; lossref is no stranger.

    A command may do anything, wherever its program is. `elsewhere`: the target lives where the caller says.
    """
    yield from (file for file in declaring if not _is_here(file))
    if saved.lodging.command:
        yield from () if elsewhere else [f"the command {saved.lodging.command!r}"]
        return
    python = saved.lodging.python
    if not elsewhere and python not in ("", sys.executable) and not _is_in_here(python):
        yield f"the Python {python}"
    word = saved.target.partition(":")[0]
    if asks_package(word):
        word = word.rpartition("@")[0] or "lossref"
    if word.partition(".")[0] == "lossref":
        return
    file = word if word.endswith(".py") else _file_of(word.partition(".")[0])
    if not _is_here(file):
        yield f"the target {saved.target}" if file in ("", word) else f"the target {saved.target} in {file}"


def _is_here(file: str) -> bool:
    return bool(file) and Path(file).resolve().is_relative_to(Path.cwd().resolve())


def _is_in_here(program: str) -> bool:
    """Whether a program stands in the current directory, be it a link, as that of a virtual environment is."""
    return "/" in program and Path(os.path.abspath(program)).is_relative_to(Path.cwd())


def _file_of(name: str) -> str:
    """Where the package or module of that name is, which is not imported; nothing for one that is built in or gone."""
    try:
        found = PathFinder.find_spec(name, [str(Path.cwd())]) or importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return ""
    if found is None:
        return ""
    places = [*(found.submodule_search_locations or ()), *([found.origin] if found.has_location else [])]
    return str(places[-1] or "") if places else ""


def _declaring(path: Path, saved: SavedCase) -> list[str]:
    """The file that declares the spec of a stranger, where the spec is not known already."""
    if saved.case.spec in specs() or not saved.origin:
        return []
    if not saved.origin.endswith(".py"):
        raise SavedCaseError(f"{path}: the spec {saved.case.spec!r} is from {saved.origin}; install that package here")
    if not Path(saved.origin).is_file():
        where = f"say where it is now: lossref replay {path} --specs FILE"
        raise SavedCaseError(f"{path}: the spec {saved.case.spec!r} is from {saved.origin}, which is gone; {where}")
    return [saved.origin]


def _again(path: Path, saved: SavedCase) -> tuple[list[str], bool]:
    spec, check = _known(path, saved)
    try:
        target = _target(saved)
    except (UnknownTarget, UnknownSpec) as error:
        raise SavedCaseError(f"{path}: target: {error}") from None
    evidence = _examined(path, saved, spec, check, target)
    where = "" if saved.device == "cpu" else f", {saved.device}"
    head = f"{spec.name} {saved.check} {saved.dtype} on {saved.target}{where}"
    asked = [f"  asked   {target.where}"] if target.where else []
    asked += [f"  note    {one}" for one in target.story.taken()[0]] if target.story is not None else []
    if not evidence.problem:
        return [f"{head}: passes now (it failed with: {saved.recorded.get('problem', '?')})", *asked], True
    lines = [f"{head}: fails", f"  {evidence.problem}", *asked, *_detail(evidence), *_inputs(saved)]
    code = snippet(spec, target, saved.case, check, saved.dtype)
    return lines + (["", "with torch and the target alone:", "", code] if code else []), False


def _known(path: Path, saved: SavedCase) -> tuple[Spec, checks.Check]:
    """The spec and the check of a case. Raises `SavedCaseError` where the case is none of theirs."""
    try:
        spec, check = find(saved.case.spec), checks.named(saved.check)
    except (UnknownSpec, checks.UnknownCheck) as error:
        raise SavedCaseError(f"{path}: {error}") from None
    for field, is_so, expected in _facts(saved, spec, check):
        if not is_so:
            raise SavedCaseError(f"{path} is no case of {spec.name} {check.name}: {field}: expected {expected}")
    reason = _why_not(saved, spec) if check.legal else None
    if reason:
        raise SavedCaseError(f"{path}: {reason}")
    return spec, check


def _why_not(saved: SavedCase, spec: Spec) -> str | None:
    """Why a case is no question that the spec answers."""
    reason = spec.why_not(saved.case)
    if reason:
        return reason
    try:
        call(spec, itself(spec), saved.case, saved.dtype)
    except TargetRaised as error:
        return f"{spec.name} cannot be asked about it: {error}"
    return None


def _facts(saved: SavedCase, spec: Spec, check: checks.Check) -> Iterator[tuple[str, bool, str]]:
    """Field, whether it is as it must be, and how that is."""
    yield "check", checks.applies(check, spec), f"one that {spec.name} is asked"
    yield "dtype", saved.dtype in check.dtypes, " or ".join(check.dtypes)
    yield "inputs", set(saved.case.inputs) == set(spec.inputs), ", ".join(spec.inputs)
    yield "params", set(saved.case.params) <= set(spec.params), ", ".join(spec.params) or "none"
    for name, param in ((name, spec.params[name]) for name in saved.case.params):
        choices = (param.default, *param.others)
        kinds = " or ".join(dict.fromkeys(map(_kind, choices)))
        yield f"params.{name}", _kind(saved.case.params[name]) in kinds, kinds
        words = [one for one in choices if isinstance(one, str)]
        given = saved.case.params[name]
        yield f"params.{name}", not isinstance(given, str) or given in words, " or ".join(words)


def _kind(value: Any) -> str:
    if value is None or isinstance(value, (bool, str)):
        return {bool: "true or false", str: "a word"}.get(type(value), "null")
    return "a number" if isinstance(value, (int, float)) else "a list"


def _examined(path: Path, saved: SavedCase, spec: Spec, check: checks.Check, target: Target) -> Evidence:
    try:
        return checks.examine(check, spec, target, saved.case, saved.dtype)
    except TargetEnded as error:
        return wrong(f"{error.status}: {checks.said_of(error)}")
    except CannotAnswer as error:
        raise Unavailable(f"{saved.target} cannot be asked: {error}") from None
    except Exception as error:  # a file that was changed by hand can ask for anything
        raise SavedCaseError(f"{path}: {spec.name} cannot be asked about this case: {one_line(error)}") from None


def _target(saved: SavedCase) -> Target:
    """The very function that the case was found in: by its name in its file, where it was, else by its label."""
    place = replace(saved.lodging, device=saved.device, memory=saved.lodging.memory or memory_for(1))
    if barred := out_of_reach(saved.target, place):
        raise Unavailable(f"{saved.target} cannot be asked on {saved.device}: {barred}")
    found = [one for one in lodged(saved.target, saved.as_spec, place) if one.spec == saved.case.spec]
    named = [one for one in found if saved.where and _named(one.where) == _named(saved.where)]
    mine = sorted(named, key=lambda one: (one.label != saved.label, abs(_line(one.where) - _line(saved.where))))
    mine = mine or [one for one in found if saved.label in ("", one.label)]
    if not mine:
        who = saved.label or f"an implementation of {saved.case.spec}"
        raise UnknownTarget(f"{saved.target} has no {who} any more")
    return settled(mine[0])


def _named(where: str) -> tuple[str, str]:
    """The name of the file and the qualified name, of "file:line qualname"."""
    place, _, name = where.rpartition(" ")
    return Path(place.rpartition(":")[0]).name, name


def _line(where: str) -> int:
    line = where.rpartition(" ")[0].rpartition(":")[2]
    return int(line) if line.isdecimal() else 0


def _detail(evidence: Evidence) -> list[str]:
    return [
        f"  {name:7} {evidence.detail[name]!r}"
        for name in ("got", "want", "error", "budget")
        if name in evidence.detail
    ]


def _inputs(saved: SavedCase) -> list[str]:
    params = ", ".join(f"{name}={value!r}" for name, value in saved.case.params.items())
    arrays = [f"  {name} {list(x.shape)} = {_short(_shown(x))}" for name, x in saved.case.inputs.items()]
    return [f"  params  {params}", *arrays]


def _shown(x: Array, most: int = 1000) -> str:
    return str(x.tolist()) if x.size <= most else f"{str(x.flat[:most].tolist())[:-1]}, ..."


def _short(text: str, limit: int = 400) -> str:
    return text if len(text) <= limit else f"{text[:limit]} ..."
