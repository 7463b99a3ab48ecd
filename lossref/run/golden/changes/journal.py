"""Replaces several files of a folder, all or none: a killed command leaves the old, or what the next one completes.

The new contents are written into `.journal/` first, then `.journal/list.json`, which says where each belongs and what
its digest is. Until that list stands there nothing has changed, and what was begun is thrown away. From then on the
change holds: whoever finds the list renames what is not yet in place, the manifest last, and removes the journal.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossref.run.atomic import InUse, held

JOURNAL = ".journal"
LIST = "list.json"
DONE = "done"  # what the list is called when all is in place
LAST = "MANIFEST.json"
NAME = re.compile(r"(\.pending/)?\w[\w.-]*")  # a file of the folder, or of what is pending in it; never a way out of it
PATIENCE = 10.0  # seconds; a change takes less than one
UNDONE = "removed what an interrupted change of {} had begun; the corpus is as it was"
COMPLETED = "completed the interrupted change of {}"
Todo = dict[str, tuple[str, str] | None]  # name -> number of the staged file and its digest; None: it is to go


class Unsettled(Exception):
    """A folder that cannot be put in order; the message says why, and what to do."""


def replaced(folder: Path, files: Mapping[str, bytes | None]) -> None:
    """Give these files of the folder a new content, all or none; a file whose content is None goes.

    A name is that of a file in the folder or in its `.pending`. Raises `Unsettled`, and OSError where nothing can be
    written; then everything is as it was, or the journal is there, and `settled` completes it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with held(folder):
            _settled(folder)
            try:
                todo = _staged(folder / JOURNAL, files)
            except BaseException:
                shutil.rmtree(folder / JOURNAL, ignore_errors=True)
                raise
            _carry_out(folder, todo)
    except InUse as error:
        raise Unsettled(_in_use(error)) from None


def settled(folder: Path) -> str:
    """Complete or undo what a killed command left in a folder; what was done, in a sentence, or nothing.

    Where another process is changing the folder now, that is waited for. Raises `Unsettled`.
    """
    end = time.monotonic() + PATIENCE
    while os.path.lexists(folder / JOURNAL):
        try:
            with held(folder):
                return _settled(folder)
        except InUse as error:
            if time.monotonic() > end:
                raise Unsettled(_in_use(error)) from None
            time.sleep(0.05)
        except OSError as error:
            why = f"{error.filename or folder}: {error.strerror or error}"
            raise Unsettled(f"{folder}: an interrupted change cannot be completed: {why}") from None
    return ""


def _in_use(error: InUse) -> str:
    return f"{str(error).partition(';')[0]}; wait for it"


# Writing --------------------------------------------------------------------------------------------------


def _staged(journal: Path, files: Mapping[str, bytes | None]) -> Todo:
    """The new contents in the journal, and the list of them, which makes the change hold."""
    for name in files:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no file of a corpus")
    journal.mkdir()
    todo: Todo = {}
    for number, name in enumerate(sorted(files, key=_order)):
        content = files[name]
        todo[name] = None if content is None else (str(number), _digest(content))
        if content is not None:
            _durably(journal / str(number), content)
    _durably(journal / "draft", json.dumps(todo, indent=1).encode())
    _synced(journal)
    os.replace(journal / "draft", journal / LIST)
    _synced(journal)
    return todo


def _order(name: str) -> tuple[bool, str]:
    """The manifest last, so that it never names what is not there."""
    return name == LAST, name


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _synced(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _carry_out(folder: Path, todo: Todo) -> None:
    """Rename what is not yet in place, in the order of the list; nothing if any of it is not what the list says."""
    wanting = {name: entry for name, entry in todo.items() if not _in_place(folder, name, entry)}
    for name, entry in wanting.items():
        if entry is not None and not _is(folder / JOURNAL / entry[0], entry[1]):
            raise Unsettled(_lost(folder, f"the new content of {name} in it is damaged or missing"))
    for name in sorted(wanting, key=_order):
        entry, path = todo[name], folder / name
        if entry is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            os.replace(folder / JOURNAL / entry[0], path)
    _synced(folder)
    os.replace(folder / JOURNAL / LIST, folder / JOURNAL / DONE)
    _removed(folder / JOURNAL)


def _removed(journal: Path) -> None:
    """Remove the journal; the word that all is done goes last."""
    for one in journal.iterdir():
        if one.name != DONE:
            one.unlink()
    (journal / DONE).unlink(missing_ok=True)
    journal.rmdir()


def _in_place(folder: Path, name: str, entry: tuple[str, str] | None) -> bool:
    path = folder / name
    return not os.path.lexists(path) if entry is None else _is(path, entry[1])


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and not path.is_symlink() and _digest(path.read_bytes()) == digest


# Finding what a killed command left -----------------------------------------------------------------------


def _settled(folder: Path) -> str:
    journal = folder / JOURNAL
    if not os.path.lexists(journal):
        return ""
    if journal.is_symlink() or not journal.is_dir():
        raise Unsettled(f"{journal} is no folder that lossref made; remove it")
    if (journal / LIST).is_file():
        _carry_out(folder, _todo(folder))
        return COMPLETED.format(folder)
    left = set(os.listdir(journal))
    _removed(journal)
    return (COMPLETED if DONE in left else UNDONE if left else "").format(folder)


def _todo(folder: Path) -> Todo:
    path = folder / JOURNAL / LIST
    try:
        found = json.loads(path.read_bytes())
        return {name: _entry(name, entry) for name, entry in found.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Unsettled(_lost(folder, f"{LIST} in it cannot be read ({error})")) from None


def _entry(name: str, entry: Any) -> tuple[str, str] | None:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r:.80} is no file of a corpus")
    if entry is None:
        return None
    number, digest = map(str, entry)
    if not number.isdecimal():
        raise ValueError(f"{number!r:.80} is no number of a file")
    return number, digest


def _lost(folder: Path, why: str) -> str:
    advice = f"restore {folder} from git (`git checkout {folder}`), and remove {folder / JOURNAL}"
    return f"{folder}: a change was interrupted, and {folder / JOURNAL} cannot complete it: {why}; {advice}"
