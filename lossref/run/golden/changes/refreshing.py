"""By which code recorded answers were computed: a run takes those of a composite only where that is the code as it is.

After a change of an oracle that moves no answer the record is right, and says so of other code. Then nothing is to be
recorded or reviewed: every certified answer is computed once more; where all are the same to the bit, that is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lossref.core.nouns import Spec
from lossref.oracle import cache
from lossref.run.golden.changes import pending as pendings
from lossref.run.golden.changes.code import ROOT, code_of_answers
from lossref.run.golden.changes.journal import replaced
from lossref.run.golden.changes.pending import Refused
from lossref.run.golden.changes.proposing import forbid_in_ci, list_in, recorded
from lossref.run.golden.changes.reached import Sources
from lossref.run.golden.checking import against_oracle
from lossref.run.golden.files.manifest import NAME, Manifest, manifest_bytes
from lossref.run.golden.recorded import case_of
from lossref.run.jobs import each_spec


def stale(folder: Path, specs: Sequence[Spec]) -> tuple[Spec, ...]:
    """The specs whose recorded answers no run takes, although they are composites: other code computed them."""
    listed = list_in(folder)
    return tuple(one for one in specs if _other(listed, one, code_of_answers(one)))


def _other(listed: Manifest, spec: Spec, code: str) -> bool:
    said = listed.file(f"{spec.name}.json")
    return said is not None and said.code != code


def refreshed(
    folder: Path, specs: Sequence[Spec], jobs: int = 1, advance: Callable[[int], None] = lambda done: None
) -> list[str]:
    """Note that the code as it is gives the recorded answers of these specs; what differs, in a sentence each.

    A spec of which any answer differs is left as it is. Raises `Refused`: in CI, while changes are pending, where the
    record is damaged, and where the code was changed meanwhile.
    """
    forbid_in_ci()
    if pendings.exists(folder):
        raise Refused(f"changes are pending in {folder}: decide them first with `lossref golden review`")
    base, codes = pendings.base_of(folder), {one.name: code_of_answers(one) for one in specs}
    problems: dict[str, list[str]] = {}
    claiming = [one for one in specs if codes[one.name]]  # who names no code has nothing to prove
    for name, found in each_spec(claiming, partial(_differences, folder=folder), jobs):
        problems[name] = found
        advance(1)
    if base != pendings.base_of(folder) or codes != {one.name: code_of_answers(one, Sources(ROOT)) for one in specs}:
        raise Refused("the record or the code was changed meanwhile; say `lossref golden refresh` again")
    same = {name: code for name, code in codes.items() if not problems.get(name)}
    if same:
        replaced(folder, {NAME: manifest_bytes(_noted(list_in(folder), same))})
    return [one for spec in specs for one in problems.get(spec.name, ())]


@cache.bypassed()
def _differences(spec: Spec, folder: Path) -> list[str]:
    """What of the certified answers of a spec is not what the oracle gives now."""
    held = recorded(folder, spec.name)
    certified = [one for one in (held.cases if held else ()) if one.entry.is_certified]
    found = ((one, said) for one in certified for said in against_oracle(spec, case_of(spec.name, one), one))
    return [f"{spec.name}.json: {one.entry.id}: {said}" for one, said in found]


def _noted(listed: Manifest, codes: Mapping[str, str]) -> Manifest:
    """The list with the code of these specs."""
    new = {f"{name}.json": code for name, code in codes.items()}
    return replace(listed, files=tuple(replace(one, code=new.get(one.name, one.code)) for one in listed.files))
