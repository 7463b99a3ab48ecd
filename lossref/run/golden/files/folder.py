"""What is wrong with a folder of recorded cases, found without torch and without the oracle.

Every file is held against MANIFEST.json, every case against its entry in the list, every tensor against its digest, and
the whole against the least numbers that the code knows. One damaged spec hides no other.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossref.run.golden.files import manifest as lists
from lossref.run.golden.files.least import LEAST, too_few
from lossref.run.golden.files.manifest import File, Manifest
from lossref.run.golden.files.strict import MOST_BYTES, Damaged, one_line, sha
from lossref.run.golden.files.volume import Volume, faults, read_once, unsealed, volume_of

OTHERS = ("errors.csv", "schema.json")  # listed, and of no spec
UNLISTED = (
    lists.NAME,
    "README.md",
    "HISTORY.md",
    ".pending",
    ".journal",
    ".lossref.lock",
)  # may lie beside what is listed


def content_of(folder: Path, name: str) -> bytes:
    """The content of a regular file of the folder itself. Raises `Damaged`: missing, a link, no file, or too large."""
    path = folder / name
    try:
        facts = os.lstat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise Damaged(
                f"{name}: it is {'a link' if stat.S_ISLNK(facts.st_mode) else 'no file'}; files lie in {folder}"
            )
        if facts.st_size > MOST_BYTES:
            raise Damaged(f"{name}: it has {facts.st_size} bytes; lossref writes at most {MOST_BYTES}")
        return path.read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{name}: it is missing in {folder}") from None
    except OSError as error:
        raise Damaged(f"{name}: it cannot be read: {error.strerror}") from None


def manifest_in(folder: Path) -> Manifest:
    """The list of files of a folder. Raises `Damaged`."""
    return lists.read(content_of(folder, lists.NAME))


def volume_in(folder: Path, spec: str) -> Volume:
    """The recorded cases of a spec, as the list has them. Raises `Damaged`."""
    return volume_of(spec, *(_as_listed(folder, f"{spec}.{end}") for end in ("json", "safetensors")))


def _as_listed(folder: Path, name: str) -> bytes:
    content, said = content_of(folder, name), manifest_in(folder).file(name)
    if said is None or said.sha256 != sha(content):
        raise Damaged(
            f"{name}: it is not the file that {lists.NAME} lists; see `lossref golden check --folder {folder}`"
        )
    return content


def folder_faults(folder: Path, specs: Collection[str] | None = None) -> Iterator[str]:
    """One sentence for everything that is wrong; of all specs that ought to be there, or of these."""
    general = list(general_faults(folder, LEAST if specs is None else None))
    yield from general
    try:
        listed = manifest_in(folder)
    except Damaged:
        return
    for spec in specs if specs is not None else sorted({*listed.specs, *LEAST}):
        yield from spec_faults(folder, listed, spec)


def general_faults(folder: Path, known: Collection[str] | None) -> Iterator[str]:
    """What is wrong with the folder as a whole; `known` are the specs that it may hold, None: it is not asked."""
    try:
        listed = manifest_in(folder)
    except Damaged as error:
        yield f"{error}; restore it, or record again with `lossref golden record`"
        return
    yield from _others(folder, listed)
    if known is not None:
        yield from _orphans(folder, listed)
        for spec in sorted(set(listed.specs) - set(known)):
            yield f"{spec}.json: there is no spec of that name"


def matching(folder: Path, words: Sequence[str]) -> list[str]:
    """The specs of the list that match one of the globs."""
    try:
        names = manifest_in(folder).specs
    except Damaged:
        return []
    return [name for name in names if any(fnmatch.fnmatch(name, word) for word in words)]


def _orphans(folder: Path, listed: Manifest) -> Iterator[str]:
    known = {one.name for one in listed.files} | set(UNLISTED)
    for name in sorted(set(os.listdir(folder)) - known):
        yield one_line(f"{name}: {lists.NAME} does not list it; remove it from {folder}")
    pairs = {name for spec in listed.specs for name in (f"{spec}.json", f"{spec}.safetensors")}
    for name in sorted({one.name for one in listed.files} - pairs - set(OTHERS)):
        yield f"{name}: {lists.NAME} lists it, and it holds no case of a spec"


def _others(folder: Path, listed: Manifest) -> Iterator[str]:
    for name in OTHERS:
        try:
            content, said = content_of(folder, name), listed.file(name)
        except Damaged as error:
            yield str(error)
            continue
        if said is None or said.sha256 != sha(content):
            yield f"{name}: it is not the file that {lists.NAME} lists"


def spec_faults(folder: Path, listed: Manifest, spec: str) -> Iterator[str]:
    """One sentence for everything that is wrong with the two files of a spec."""
    return map(one_line, _spec_faults(folder, listed, spec))


def _spec_faults(folder: Path, listed: Manifest, spec: str) -> Iterator[str]:
    try:
        text, tensors = (content_of(folder, f"{spec}.{end}") for end in ("json", "safetensors"))
    except Damaged as error:
        yield f"{error}; record it with `lossref golden record {spec}`"
        return
    found = [*_against_list(listed, spec, text), *faults(spec, text, tensors)]
    found = found or list(filter(None, [unsealed(spec, text)])) or list(_differs(listed, spec, text, tensors))
    yield from found
    if not found:
        rows = read_once(f"{spec}.json", text)["cases"]
        yield from _unexplained(listed, spec, rows)
        yield from too_few(spec, rows)


def _against_list(listed: Manifest, spec: str, text: bytes) -> Iterator[str]:
    """Cases that are missing, new, in another place, or changed in a field."""
    said = listed.file(f"{spec}.json")
    if said is None:
        yield f"{spec}.json: {lists.NAME} does not list it"
        return
    try:
        rows = read_once(said.name, text)["cases"]
        there = {str(row["id"]): row for row in rows}
    except (Damaged, KeyError, TypeError):
        return  # its form is another's business
    known = dict(said.cases)
    missing, new = [case for case in known if case not in there], [case for case in there if case not in known]
    yield from (f"{said.name}: {case}: the case is missing; {lists.NAME} lists it" for case in missing)
    yield from (f"{said.name}: {case}: the id is in no list; the case was added or renamed" for case in new)
    if not missing and not new:
        yield from _moved(said, [str(row["id"]) for row in rows])
    if said.sha256 != sha(text):
        yield from _changed(said, there)


def _changed(said: File, there: Mapping[str, Any]) -> Iterator[str]:
    for case, mark in said.cases:
        fields = lists.changed(lists.fingerprint(there[case]), mark) if case in there else []
        if fields:
            yield f"{said.name}: {case}: {', '.join(fields)}: not what was recorded"


def _moved(said: File, ids: list[str]) -> Iterator[str]:
    if len(ids) == len(said.cases):
        places = zip(ids, (case for case, _ in said.cases), strict=True)
        first = next(((here, known) for here, known in places if here != known), None)
        if first:
            yield f"{said.name}: {first[0]}: the id stands where {first[1]!r} was recorded; cases are in another order"


def _differs(listed: Manifest, spec: str, text: bytes, tensors: bytes) -> Iterator[str]:
    for name, content in ((f"{spec}.json", text), (f"{spec}.safetensors", tensors)):
        said = listed.file(name)
        if said is None or (said.sha256, said.bytes) != (sha(content), len(content)):
            yield f"{name}: its sha256 is not that in {lists.NAME}"


def _unexplained(listed: Manifest, spec: str, rows: list[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        for flag in row["flags"]:
            if flag.partition("=")[2] not in listed.flags and flag not in listed.flags:
                yield f"{spec}.json: {row['id']}: flags: {lists.NAME} does not say what {flag!r} is for"
