"""`golden/.pending/`: what a recording would change, until it is decided: pending.json, and the files of each spec."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lossref
from lossref.core.nouns import Spec
from lossref.run.golden.changes.code import code_of_recording
from lossref.run.golden.changes.comparing import KINDS, Change, Effect, Off
from lossref.run.golden.changes.journal import LAST
from lossref.run.golden.changes.moves import Move
from lossref.run.golden.files.folder import content_of
from lossref.run.golden.files.strict import Damaged, is_sealed, parsed, sha, written
from lossref.run.golden.files.volume import Volume, bytes_of, volume_of

FOLDER = ".pending"
LIST = "pending.json"
SCHEMA = 1
DECIDED = ("", "accepted", "rejected")
AGAIN = "record again with `lossref golden record`"


class Refused(Exception):
    """A change that is not made; the message says why, and what to do."""


@dataclass(frozen=True)
class Pending:
    """A recording that waits for decisions.

    version: of the lossref that recorded
    base:    digest of the list of files that it was compared with; nothing where there was none
    code:    digest of the code that it was computed by
    specs:   names of the specs that were recorded
    """

    version: str
    base: str
    code: str
    specs: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def open(self) -> tuple[Change, ...]:
        """What is not decided yet."""
        return tuple(one for one in self.changes if not one.decided)


def base_of(folder: Path) -> str:
    """The digest of the list of files; nothing where there is none."""
    path = folder / LAST
    return sha(path.read_bytes()) if path.is_file() else ""


def exists(folder: Path) -> bool:
    """Whether anything is pending."""
    return (folder / FOLDER / LIST).is_file()


def read(folder: Path) -> Pending:
    """What is pending. Raises `Refused`: nothing is, or it is damaged."""
    place = folder / FOLDER
    if not os.path.lexists(place / LIST):
        raise Refused(f"nothing is pending in {folder}: `lossref golden record` computes what would change")
    try:
        content = content_of(place, LIST)
        found = parsed(LIST, content)
        if not is_sealed(content) or found.get("schema") != SCHEMA:
            raise Damaged(f"{LIST}: it is not as lossref wrote it")
        changes = tuple(_change(row) for row in found["changes"])
        return Pending(found["version"], found["base"], found["code"], tuple(found["specs"]), changes)
    except (Damaged, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"{place}: {error}; {AGAIN}") from None


def pending_volume(folder: Path, spec: str) -> Volume | None:
    """The new record of a spec; None: it is gone altogether. Raises `Refused`."""
    place = folder / FOLDER
    if not (place / f"{spec}.json").exists():
        return None
    try:
        return volume_of(spec, content_of(place, f"{spec}.json"), content_of(place, f"{spec}.safetensors"))
    except Damaged as error:
        raise Refused(f"{place}: {error}; {AGAIN}") from None


def unchanged(folder: Path, pending: Pending, specs: Sequence[Spec]) -> None:
    """Raise `Refused` where the record or the code is no longer what it was when this was recorded."""
    if base_of(folder) != pending.base:
        raise Refused(f"the record in {folder} has changed since this was recorded; {AGAIN}")
    if code_of_recording(specs) != pending.code:
        raise Refused(f"the code has changed since this was recorded, so the answers may be others now; {AGAIN}")


# Writing --------------------------------------------------------------------------------------------------


def made(folder: Path, specs: Sequence[Spec], changes: Sequence[Change]) -> Pending:
    """What is pending, as of now."""
    names = tuple(spec.name for spec in specs)
    return Pending(lossref.__version__, base_of(folder), code_of_recording(specs), names, tuple(changes))


def files(pending: Pending, volumes: Mapping[str, Volume]) -> dict[str, bytes]:
    """The files below the folder of the record, by name."""
    found = {f"{FOLDER}/{LIST}": list_bytes(pending)}
    for spec, volume in volumes.items():
        text, tensors = bytes_of(volume)
        found |= {f"{FOLDER}/{spec}.json": text, f"{FOLDER}/{spec}.safetensors": tensors}
    return found


def list_bytes(pending: Pending) -> bytes:
    """The content of pending.json."""
    rows = [asdict(one) for one in pending.changes]
    content = {name: getattr(pending, name) for name in ("version", "base", "code")}
    return written({"schema": SCHEMA, **content, "specs": list(pending.specs), "changes": rows})


def removed(folder: Path) -> dict[str, None]:
    """The files that have to go where nothing is pending any more."""
    place = folder / FOLDER
    return {f"{FOLDER}/{name}": None for name in sorted(os.listdir(place))} if place.is_dir() else {}


def with_decisions(pending: Pending, ids: set[tuple[str, str]], decided: str, base: str) -> Pending:
    """The same with these cases decided, and compared with another list of files."""
    changes = tuple(
        replace(one, decided=decided) if (one.spec, one.id) in ids and not one.decided else one
        for one in pending.changes
    )
    return replace(pending, base=base, changes=changes)


# Reading --------------------------------------------------------------------------------------------------


def _change(row: Mapping[str, Any]) -> Change:
    if row["kind"] not in KINDS or row["decided"] not in DECIDED or not re.fullmatch(r"\w+", row["spec"]):
        raise ValueError(f"{LIST}: {str(row.get('id'))[:40]!r} is no change that lossref writes")
    listed = {name: tuple(row[name]) for name in ("flags", "fields")}
    return Change(
        **{
            **row,
            **listed,
            "moves": tuple(map(_move, row["moves"])),
            "old": Off(**row["old"]) if row["old"] else None,
            "new": Off(**row["new"]) if row["new"] else None,
            "reference": tuple(Effect(**one) for one in row["reference"]),
        }
    )


def _move(row: Mapping[str, Any]) -> Move:
    return Move(**{**row, "at": tuple(row["at"]), "budgets": tuple(row["budgets"])})
