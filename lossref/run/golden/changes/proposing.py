"""Computes what recording anew would change, and puts it beside the record: nothing else is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path

from lossref.core.nouns import Spec
from lossref.oracle import cache
from lossref.run.golden.changes import pending as pendings
from lossref.run.golden.changes.code import code_of_answers
from lossref.run.golden.changes.comparing import Change, changes
from lossref.run.golden.changes.journal import replaced
from lossref.run.golden.changes.pending import Pending, Refused
from lossref.run.golden.files.folder import manifest_in, volume_in
from lossref.run.golden.files.manifest import NAME
from lossref.run.golden.files.strict import Damaged
from lossref.run.golden.files.volume import Volume

Compute = Callable[[Spec, Volume | None], Volume]


def forbid_in_ci() -> None:
    """Raise `Refused` in a job of CI: there nobody looks at what changes."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false", "no"):
        raise Refused("CI is set, and a job of CI records and accepts nothing: record and review where a person looks")


def recorded_specs(folder: Path) -> tuple[str, ...]:
    """The specs that the record of a folder has. Raises `Refused` where its list is damaged."""
    if not (folder / NAME).exists():
        return ()
    try:
        return manifest_in(folder).specs
    except Damaged as error:
        raise Refused(f"{folder}: {error}; restore it from git before recording") from None


def recorded(folder: Path, spec: str) -> Volume | None:
    """The record of a spec; None: there is none. Raises `Refused` where it is damaged."""
    if spec not in recorded_specs(folder):
        return None
    try:
        return volume_in(folder, spec)
    except Damaged as error:
        raise Refused(f"{folder}: {error}; restore it from git before recording") from None


def missing(folder: Path, specs: Container[str]) -> tuple[str, ...]:
    """The specs that the record has, and that there are no more."""
    return tuple(name for name in recorded_specs(folder) if name not in specs)


@cache.bypassed()
def proposed(folder: Path, specs: Iterable[Spec], compute: Compute, gone: Sequence[str] = ()) -> Pending:
    """Record these specs into `.pending`: what differs from the record. `gone` are specs that there are no more.

    What was pending before goes. Raises `Refused`, and what `compute` raises.
    """
    forbid_in_ci()
    asked, found, volumes = list[Spec](), list[Change](), dict[str, Volume]()
    for spec in specs:
        old = recorded(folder, spec.name)
        new = compute(spec, old)
        mine = changes(spec.name, spec, old, new, code_of_answers(spec) != _code(folder, spec.name))
        asked.append(spec)
        found += mine
        volumes |= {spec.name: new} if mine else {}
    for name in gone:
        found += changes(name, None, recorded(folder, name), None)
    pending = pendings.made(folder, asked, found)
    replaced(folder, {**pendings.removed(folder), **_files(pending, volumes)})
    return pending


def _code(folder: Path, spec: str) -> str:
    """The digest of the code that computed the record of a spec; nothing where nobody can say."""
    said = manifest_in(folder).file(f"{spec}.json") if (folder / NAME).exists() else None
    return said.code if said else ""


def _files(pending: Pending, volumes: Mapping[str, Volume]) -> Mapping[str, bytes]:
    return pendings.files(pending, volumes) if pending.changes else {}
