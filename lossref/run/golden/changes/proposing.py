"""Computes what recording anew would change, and puts it beside the record: nothing else is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path

from lossref import losses
from lossref.core.nouns import Spec
from lossref.oracle import cache
from lossref.run.golden.changes import pending as pendings
from lossref.run.golden.changes.code import code_of_answers, code_of_recording
from lossref.run.golden.changes.comparing import Change, changes
from lossref.run.golden.changes.journal import replaced
from lossref.run.golden.changes.pending import Pending, Refused
from lossref.run.golden.files.folder import manifest_in, volume_in
from lossref.run.golden.files.manifest import NAME, Manifest
from lossref.run.golden.files.strict import Damaged
from lossref.run.golden.files.volume import Volume
from lossref.run.jobs import processes

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
    for name, draft in _drafts(specs, folder, compute, jobs):
        drafts[name] = draft
        advance(1)
    found = [change for spec in specs for change in drafts[spec.name][1]]
    found += [change for name in gone for change in changes(name, None, recorded(folder, name), None)]
    pending = pendings.made(folder, specs, found)
    if pending.code != code:
        raise Refused("the code was changed while this was recorded; record again with `lossref golden record`")
    replaced(folder, {**pendings.removed(folder), **_files(pending, drafts)})
    return pending


def _drafts(specs: Sequence[Spec], folder: Path, compute: Compute, jobs: int) -> Iterator[tuple[str, Draft]]:
    """Each spec by name, as it is done; in so many processes, where there is enough to do, the long ones first."""
    if jobs == 1 or len(specs) < jobs:
        yield from ((spec.name, _draft(spec, folder, compute)) for spec in specs)
        return
    with processes(jobs) as executor:
        order = sorted(specs, key=lambda one: not one.composite)
        waiting = {executor.submit(_named, spec.name, folder, compute): spec.name for spec in order}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def _named(name: str, folder: Path, compute: Compute) -> Draft:
    return _draft(losses.spec(name), folder, compute)


@cache.bypassed()
def _draft(spec: Spec, folder: Path, compute: Compute) -> Draft:
    """The new record of a spec, if it differs from the old one, and in which cases."""
    old = recorded(folder, spec.name)
    new = compute(spec, old)
    found = changes(spec.name, spec, old, new, code_of_answers(spec) != _code(folder, spec.name))
    return (new if found else None), found


def _code(folder: Path, spec: str) -> str:
    """The digest of the code that computed the record of a spec; nothing where nobody can say."""
    said = list_in(folder).file(f"{spec}.json")
    return said.code if said else ""


def _files(pending: Pending, drafts: Mapping[str, Draft]) -> Mapping[str, bytes]:
    volumes = {name: volume for name, (volume, _) in drafts.items() if volume}
    return pendings.files(pending, volumes) if pending.changes else {}
