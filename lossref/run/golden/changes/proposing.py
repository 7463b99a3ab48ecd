"""Computes what recording anew would change, and puts it beside the record: nothing else is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from pathlib import Path

from lossref.core.nouns import Spec
from lossref.oracle import cache
from lossref.run.golden.changes import pending as pendings
from lossref.run.golden.changes.code import code_of_recording
from lossref.run.golden.changes.comparing import Change, changes
from lossref.run.golden.changes.journal import replaced
from lossref.run.golden.changes.pending import Pending, Refused
from lossref.run.golden.files.folder import manifest_in, volume_in
from lossref.run.golden.files.manifest import NAME, Manifest
from lossref.run.golden.files.strict import Damaged
from lossref.run.golden.files.volume import Volume
from lossref.run.jobs import each_spec

Compute = Callable[[Spec, Volume | None], Volume]
Draft = tuple[Volume | None, tuple[Change, ...]]


def forbid_in_ci() -> None:
    """Raise `Refused` in a job of CI: there nobody looks at what changes."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false", "no"):
        raise Refused("CI is set, and a job of CI records and accepts nothing: record and review where a person looks")


def list_in(folder: Path) -> Manifest:
    """The list of files of a folder, empty where there is none. Raises `Refused` where it is damaged."""
    if not (folder / NAME).exists():
        return Manifest("", {}, ())
    try:
        return manifest_in(folder)
    except Damaged as error:
        raise Refused(f"{folder}: {error}; restore it from git before recording") from None


def recorded(folder: Path, spec: str) -> Volume | None:
    """The record of a spec; None: there is none. Raises `Refused` where it is damaged."""
    if spec not in list_in(folder).specs:
        return None
    try:
        return volume_in(folder, spec)
    except Damaged as error:
        raise Refused(f"{folder}: {error}; restore it from git before recording") from None


def missing(folder: Path, specs: Container[str]) -> tuple[str, ...]:
    """The specs that the record has, and that there are no more."""
    return tuple(name for name in list_in(folder).specs if name not in specs)


def proposed(
    folder: Path,
    specs: Sequence[Spec],
    compute: Compute,
    gone: Sequence[str] = (),
    jobs: int = 1,
    advance: Callable[[int], None] = lambda done: None,
) -> Pending:
    """Record these specs into `.pending`: what differs from the record. `gone` are specs that there are no more.

    What was pending before goes. `advance` is told of every spec that is done. Raises `Refused`, and what `compute`
    raises.
    """
    forbid_in_ci()
    code, drafts = code_of_recording(specs), dict[str, Draft]()
    for name, draft in each_spec(specs, partial(_draft, folder=folder, compute=compute), jobs):
        drafts[name] = draft
        advance(1)
    found = [change for spec in specs for change in drafts[spec.name][1]]
    found += [change for name in gone for change in changes(name, None, recorded(folder, name), None)]
    pending = pendings.made(folder, specs, found)
    if pending.code != code:
        raise Refused("the code was changed while this was recorded; record again with `lossref golden record`")
    replaced(folder, {**pendings.removed(folder), **_files(pending, drafts)})
    return pending


@cache.bypassed()
def _draft(spec: Spec, folder: Path, compute: Compute) -> Draft:
    """The new record of a spec, if it differs from the old one, and in which cases."""
    old = recorded(folder, spec.name)
    new = compute(spec, old)
    found = changes(spec.name, spec, old, new)
    return (new if found else None), found


def _files(pending: Pending, drafts: Mapping[str, Draft]) -> Mapping[str, bytes]:
    volumes = {name: volume for name, (volume, _) in drafts.items() if volume}
    return pendings.files(pending, volumes) if pending.changes else {}
