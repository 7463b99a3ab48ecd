"""Runs a saved case again in a fresh process, and says what is different from when it was saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lossref.checks import table as checks
from lossref.checks.evidence import Evidence
from lossref.core.nouns import Array, Target
from lossref.hosts.probe import on_device
from lossref.losses import spec as find
from lossref.losses import specs, using
from lossref.run.plan import HERE
from lossref.run.saved import SavedCase, SavedCaseError, load, snippet
from lossref.targets.lodged import lodged, out_of_reach, settled
from lossref.targets.resolve import Unavailable, UnknownTarget


def replay(path: Path, device: str | None = None) -> tuple[list[str], bool]:
    """Lines to print, and whether the case passes now; on another device than it was saved from, if one is named."""
    saved = load(path)
    saved = replace(saved, device=device or saved.device)
    with using(_declaring(path, saved)):
        return _again(path, saved)


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
    spec = find(saved.case.spec)
    check = checks.named(saved.check)
    reason = spec.why_not(saved.case) if check.legal else None
    if reason:
        raise SavedCaseError(f"{path}: {reason}")
    target = _target(saved)
    evidence = checks.examine(check, spec, target, on_device(spec, saved.case, saved.device), saved.dtype)
    where = "" if saved.device == "cpu" else f", {saved.device}"
    head = f"{spec.name} {saved.check} {saved.dtype} on {saved.target}{where}"
    if not evidence.problem:
        return [f"{head}: passes now (it failed with: {saved.recorded.get('problem', '?')})"], True
    lines = [f"{head}: fails", f"  {evidence.problem}", *_detail(evidence), *_inputs(saved)]
    code = snippet(spec, target, saved.case, check, saved.dtype)
    return lines + (["", "with torch and the target alone:", "", code] if code else []), False


def _target(saved: SavedCase) -> Target:
    place = replace(HERE, device=saved.device)
    found = [one for one in lodged(saved.target, saved.as_spec, place) if one.spec == saved.case.spec]
    if barred := out_of_reach(saved.target, place):
        raise Unavailable(f"{saved.target} cannot be asked on {saved.device}: {barred}")
    mine = [one for one in found if saved.label in ("", one.label)]
    if not mine:
        who = saved.label or f"an implementation of {saved.case.spec}"
        raise UnknownTarget(f"{saved.target} has no {who} any more")
    return settled(mine[0])


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
