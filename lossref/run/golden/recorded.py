"""Recorded cases as questions and answers, without the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lossref.core.nouns import Array, Case
from lossref.run.golden.files.folder import volume_in
from lossref.run.golden.files.form import REFERENCE
from lossref.run.golden.files.packing import DTYPES, budgets, wide
from lossref.run.golden.files.places import FOLDER as FOLDER
from lossref.run.golden.files.places import folder_to_check as folder_to_check
from lossref.run.golden.files.places import places as places
from lossref.run.golden.files.strict import Damaged
from lossref.run.golden.files.volume import Stored


class NoRecord(LookupError):
    """No recorded cases, or damaged ones; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """One recorded case, and its certified answer rounded to float64: the value of each term, each gradient.

    budget: dtype -> "value/TERM" or "gradient/NAME" -> how far off each number may be in it; infinite: it is not judged
    """

    case: Case
    value: Mapping[str, Array]
    gradient: Mapping[str, Array]
    budget: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)


def read(spec: str, folders: Sequence[Path] = ()) -> list[Recorded]:
    """The certified cases of a spec, from the first folder that has any. Raises `NoRecord`."""
    folders = folders or places()
    folder = next((folder for folder in folders if (folder / f"{spec}.json").exists()), None)
    if folder is None:
        advice = f"record it with `lossref golden record {spec} --folder {folders[0]}`"
        raise NoRecord(f"{spec}: there is no {folders[0] / f'{spec}.json'}; {advice}")
    try:
        stored = volume_in(folder, spec).cases
    except Damaged as error:
        raise NoRecord(f"{folder}: {error}") from None
    return [recorded_of(spec, one) for one in stored if one.entry.origin != REFERENCE]


def recorded_of(spec: str, stored: Stored) -> Recorded:
    """The question and its answer in float64, with the budgets of every dtype."""
    rooms = {name: budgets(codes) for name, codes in part_of(stored, "budget").items()}
    by_dtype = {dtype: {name: room[at] for name, room in rooms.items()} for at, dtype in enumerate(DTYPES)}
    return Recorded(case_of(spec, stored), answers_of(stored, "value"), answers_of(stored, "gradient"), by_dtype)


def case_of(spec: str, stored: Stored) -> Case:
    """The recorded question; its inputs in float64."""
    entry = stored.entry
    return Case(spec, answers_of(stored, "input"), entry.params, entry.id, tuple(entry.flags), entry.why)


def part_of(stored: Stored, kind: str) -> dict[str, Array]:
    """The tensors of one kind as they are kept, by what comes after it."""
    found = {name.removeprefix(f"{kind}/"): x for name, x in stored.tensors.items() if name.startswith(f"{kind}/")}
    return dict(sorted(found.items()))


def answers_of(stored: Stored, kind: str) -> dict[str, Array]:
    """The same in float64."""
    return {name: wide(array) for name, array in part_of(stored, kind).items()}
