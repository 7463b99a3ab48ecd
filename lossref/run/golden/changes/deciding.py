"""Accepts or rejects what is pending: the record, its list of files, its history and what is left, in one step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lossref.core.nouns import Spec
from lossref.run.findings import words
from lossref.run.golden.changes import pending as pendings
from lossref.run.golden.changes.code import code_of_answers
from lossref.run.golden.changes.comparing import Change
from lossref.run.golden.changes.history import NAME as HISTORY
from lossref.run.golden.changes.history import with_decision
from lossref.run.golden.changes.journal import replaced
from lossref.run.golden.changes.listing import beside, headed, without
from lossref.run.golden.changes.pending import Pending, Refused
from lossref.run.golden.changes.proposing import forbid_in_ci, list_in, recorded
from lossref.run.golden.changes.words import DISAGREE
from lossref.run.golden.errors import NAME as ERRORS
from lossref.run.golden.files.manifest import NAME, Manifest, listed, manifest_bytes
from lossref.run.golden.files.strict import sha
from lossref.run.golden.files.volume import Stored, Volume, bytes_of

SHOWN = 5  # cases that a sentence names


def chosen(
    pending: Pending, cases: Iterable[str] = (), specs: Iterable[str] = (), everything: bool = False
) -> tuple[Change, ...]:
    """The open changes that words name: an id or SPEC/ID, a spec, or all. Raises `Refused` where a word names none."""
    found = list(pending.open) if everything else []
    for word in cases:
        found += _named(pending, word)
    for spec in specs:
        mine = [one for one in pending.open if one.spec == spec]
        if not mine:
            raise Refused(
                f"no change of {spec!r} is open; open are changes of {_listed({one.spec for one in pending.open})}"
            )
        found += mine
    return tuple(dict.fromkeys(found))


def _named(pending: Pending, word: str) -> list[Change]:
    spec, slash, case = word.partition("/")
    found = [one for one in pending.open if one.id == word or (slash and (one.spec, one.id) == (spec, case))]
    if len(found) > 1:
        ways = " or ".join(f"{one.spec}/{one.id}" for one in found[:SHOWN])
        raise Refused(f"{word!r} is a case of {words.count(len(found), 'spec')}: say {ways}")
    if not found:
        decided = next((one.decided for one in pending.changes if word in (one.id, f"{one.spec}/{one.id}")), "")
        why = f"is {decided} already" if decided else "is no case that would change; `lossref golden review` lists them"
        raise Refused(f"{word!r} {why}")
    return found


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def accepted(
    folder: Path,
    pending: Pending,
    these: Sequence[Change],
    why: str,
    specs: Sequence[Spec],
    even_if_they_disagree: bool = False,
) -> Pending:
    """Put these changes into the record; what is pending then.

    Raises `Refused`: base or code have changed, oracle and reference disagree, no reason, nothing chosen, or CI.
    """
    _allowed(these, why)
    pendings.unchanged(folder, pending, specs)
    if not even_if_they_disagree:
        _agree(these)
    volumes = {name: _adopted(folder, name, these) for name in dict.fromkeys(one.spec for one in these)}
    files: dict[str, bytes | None] = {}
    for name, volume in volumes.items():
        text, tensors = bytes_of(volume) if volume.cases else (None, None)
        files |= {f"{name}.json": text, f"{name}.safetensors": tensors}
    files |= beside(folder, {name: volume for name, volume in volumes.items() if volume.cases})
    gone = [name for name, volume in volumes.items() if not volume.cases]
    files |= {ERRORS: without(files[ERRORS] or b"", gone)} if gone else {}
    codes = {one.name: _code(pending, these, one) for one in specs if one.name in volumes}
    content = manifest_bytes(_with(headed(list_in(folder)), files, codes))
    return _decided(folder, pending, these, "accepted", why, {**files, NAME: content}, sha(content))


def rejected(folder: Path, pending: Pending, these: Sequence[Change], why: str) -> Pending:
    """Leave the record of these cases as it is, for this reason; what is pending then. Raises `Refused`."""
    _allowed(these, why)
    return _decided(folder, pending, these, "rejected", why, {}, pending.base)


def _allowed(these: Sequence[Change], why: str) -> None:
    forbid_in_ci()
    if not these:
        raise Refused("say what: --case ID, --spec SPEC or --all")
    if not why.strip() or len(why.splitlines()) > 1 or why.startswith(("#", "-")):
        raise Refused("a reason is one line of text, which goes into HISTORY.md")


def _agree(these: Sequence[Change]) -> None:
    amiss = [f"{one.spec}/{one.id}" for one in these if one.disagrees]
    if amiss:
        raise Refused(
            f"{DISAGREE} of {words.listed(amiss, SHOWN)}: one of the two is wrong; mend it and record again,"
            " or say --even-if-they-disagree"
        )


def _decided(
    folder: Path,
    pending: Pending,
    these: Sequence[Change],
    how: str,
    why: str,
    files: Mapping[str, bytes | None],
    base: str,
) -> Pending:
    """Write everything in one step: files, history, and what is left to decide."""
    left = pendings.with_decisions(pending, {(one.spec, one.id) for one in these}, how, base)
    path = folder / HISTORY
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    history = {HISTORY: with_decision(text, how, why.strip(), these).encode()}
    waiting = (
        {f"{pendings.FOLDER}/{pendings.LIST}": pendings.list_bytes(left)} if left.open else pendings.removed(folder)
    )
    replaced(folder, {**files, **history, **waiting})
    return left


# The new record -------------------------------------------------------------------------------------------


def _adopted(folder: Path, name: str, these: Sequence[Change]) -> Volume:
    ids = {one.id for one in these if one.spec == name}
    return adopted(name, recorded(folder, name), pendings.pending_volume(folder, name), ids)


def adopted(name: str, old: Volume | None, new: Volume | None, ids: Collection[str]) -> Volume:
    """The old record with these cases as they are in the new one, in the order of the new one.

    A case of the old one that is not in the new one stays behind the case that it stood behind.
    """
    before = {one.entry.id: one for one in old.cases} if old else {}
    after = {one.entry.id: one for one in new.cases} if new else {}
    kept = {case: one for case, one in before.items() if case not in ids or case in after}
    kept |= {case: after[case] for case in ids if case in after}
    order = [case for case in after if case in kept]
    for case, neighbour in _after(before):
        if case in kept and case not in after:
            order.insert(order.index(neighbour) + 1 if neighbour in order else 0, case)
    return Volume(name, tuple(kept[case] for case in order))


def _after(cases: Mapping[str, Stored]) -> Iterator[tuple[str, str]]:
    """Every case, and the one before it."""
    names = list(cases)
    return zip(names, ["", *names], strict=False)


def _code(pending: Pending, these: Sequence[Change], spec: Spec) -> str:
    """The digest of the code that computed the record of a spec; nothing as long as a case of it is as it was."""
    mine = [one for one in pending.changes if one.spec == spec.name]
    whole = all(one in these or one.decided == "accepted" for one in mine)
    return code_of_answers(spec) if whole else ""


def _with(manifest: Manifest, files: Mapping[str, bytes | None], codes: Mapping[str, str]) -> Manifest:
    """The list with these files as they are now; of the others it says what it said."""
    known = {one.name: one for one in manifest.files if one.name not in files}
    known |= {
        name: listed(name, content, codes.get(name.removesuffix(".json"), ""))
        for name, content in files.items()
        if content is not None
    }
    return replace(manifest, files=tuple(known[name] for name in sorted(known)))
