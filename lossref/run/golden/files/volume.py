"""The recorded cases of one spec: SPEC.json and SPEC.safetensors, read strictly and written in one way.

Whether they are sound is found without numpy, which is imported where arrays are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lossref.run.golden.files.form import REFERENCE, SOUND
from lossref.run.golden.files.raw import PARTS, Raw, digests_of, raw_of
from lossref.run.golden.files.strict import Damaged, is_sealed, parsed, written

if TYPE_CHECKING:
    from lossref.run.golden.files.packing import Tensors

SCHEMA = 2
BEGINS = tuple(begin for part in PARTS.values() for begin in part)


@dataclass(frozen=True)
class Entry:
    """What SPEC.json says of one case.

    flags:   sorted; each is explained once, in MANIFEST.json
    params:  every parameter of the spec
    origin:  "certified", "reference" (the reference in float64, at full size), or "witness: SOURCE" (certified, too,
             and its digits stand in SOURCE)
    radius:  of a certified number, relative: "2^-80"; nothing for a reference
    version: of the lossref that wrote the case
    digests: of inputs, answers and budgets
    values:  term -> its first numbers to 24 digits; of a reference to 17
    ties:    how many branches the inputs lie exactly on, on the way of the oracle
    drawn:   how inputs that are not kept are drawn again: "seed" and the sizes; nothing where they are kept
    """

    id: str
    why: str
    flags: tuple[str, ...]
    params: Mapping[str, Any]
    origin: str
    radius: str
    version: str
    digests: Mapping[str, str]
    values: Mapping[str, tuple[str, ...]]
    ties: int
    drawn: Mapping[str, Any]

    @property
    def is_certified(self) -> bool:
        """Whether the oracle gave the answer."""
        return self.origin != REFERENCE


FIELDS = tuple(field.name for field in fields(Entry))


@dataclass(frozen=True, eq=False)
class Stored:
    """One case: its entry, and its tensors by part ("input/box1", "value/iou", "budget/gradient/box1", ...)."""

    entry: Entry
    tensors: Tensors


@dataclass(frozen=True, eq=False)
class Volume:
    """All recorded cases of one spec, in order."""

    spec: str
    cases: tuple[Stored, ...]


def bytes_of(volume: Volume) -> tuple[bytes, bytes]:
    """The content of SPEC.json and of SPEC.safetensors; digests are those of the tensors, whatever the entries say."""
    from lossref.run.golden.files.packing import packed

    rows = [{**asdict(one.entry), "digests": _digests_of(one)} for one in volume.cases]
    tensors = packed({one.entry.id: one.tensors for one in volume.cases})
    return written({"schema": SCHEMA, "spec": volume.spec, "cases": rows}), tensors


def _digests_of(one: Stored) -> dict[str, str]:
    from lossref.run.golden.files.packing import digests

    held = {"inputs": one.entry.digests["inputs"]} if one.entry.drawn else {}  # what is drawn again is not kept
    return digests(one.tensors) | held


def volume_of(spec: str, text: bytes, tensors: bytes) -> Volume:
    """Both files of a spec, nothing wrong with them. Raises `Damaged` with the first thing that is."""
    from lossref.run.golden.files.packing import unpacked

    first = next(faults(spec, text, tensors), unsealed(spec, text))
    if first:
        raise Damaged(first)
    arrays = unpacked(f"{spec}.safetensors", tensors)
    rows = parsed(f"{spec}.json", text)["cases"]
    return Volume(spec, tuple(Stored(entry_of(row), arrays[row["id"]]) for row in rows))


def entry_of(row: Mapping[str, Any]) -> Entry:
    """An entry that was found to be sound; its parameters as a spec has them, tuples where JSON has lists."""
    from lossref.core.axes import frozen

    params = {name: frozen(value) for name, value in row["params"].items()}
    values = {name: tuple(digits) for name, digits in row["values"].items()}
    return Entry(**{**row, "params": params, "flags": tuple(row["flags"]), "values": values})


# What is wrong with them ----------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def read_once(name: str, text: bytes) -> Any:
    """What a file holds, parsed once for all who look at it; none of them writes to it. Raises `Damaged`."""
    return parsed(name, text)


def faults(spec: str, text: bytes, tensors: bytes) -> Iterator[str]:
    """One sentence for everything that is wrong with the two files of a spec, by themselves."""
    name = f"{spec}.json"
    try:
        content, arrays = read_once(name, text), raw_of(f"{spec}.safetensors", tensors)
        rows = _rows(name, spec, content)
    except Damaged as error:
        yield str(error)
        return
    broken = [_of_entry(name, row) for row in rows]
    yield from filter(None, broken)
    ids = [row["id"] for row, wrong in zip(rows, broken, strict=True) if not wrong]
    yield from (
        f"{name}: {case}: the id stands {ids.count(case)} times" for case in sorted(set(ids)) if ids.count(case) > 1
    )
    for row, wrong in zip(rows, broken, strict=True):
        if not wrong:
            yield from _of_tensors(spec, row, arrays.get(row["id"], {}))
    strangers = sorted(set(arrays) - {row.get("id") for row in rows if isinstance(row, dict)})
    yield from (f"{spec}.safetensors: {case}: it has tensors, and no entry in {name}" for case in strangers)


def unsealed(spec: str, text: bytes) -> str:
    """A sentence if the seal of SPEC.json is not its own, else nothing."""
    return "" if is_sealed(text) else f"{spec}.json: the seal is not that of the file, so something in it was changed"


def _rows(name: str, spec: str, content: Any) -> list[Any]:
    if not isinstance(content, dict) or "schema" not in content:
        raise Damaged(f"{name}: it is no record: it has no schema")
    if content["schema"] != SCHEMA:
        raise Damaged(f"{name}: schema {_shown(content['schema'])} is unknown; this lossref reads {SCHEMA}")
    odd = set(content) ^ {"schema", "spec", "cases", "seal"}
    if odd:
        raise Damaged(f"{name}: the field {_shown(min(odd))} is {'unknown' if min(odd) in content else 'missing'}")
    if content["spec"] != spec:
        raise Damaged(f"{name}: the field 'spec' says {_shown(content['spec'])}, it is a file of another spec")
    if not isinstance(content["cases"], list) or not content["cases"]:
        raise Damaged(f"{name}: it holds no case; record it with `lossref golden record {spec}`")
    rows: list[Any] = content["cases"]
    return rows


def _of_entry(name: str, row: Any) -> str:
    """What is wrong with the form of an entry, or nothing."""
    if not isinstance(row, dict):
        return f"{name}: {_shown(row)} stands where the entry of a case should"
    case = f"{name}: {_shown(row.get('id', 'a case without id'))}"
    odd = set(row) ^ set(FIELDS)
    if odd:
        return f"{case}: the field {_shown(min(odd))} is {'unknown' if min(odd) in row else 'missing'}"
    wrong = next((field for field, sound in SOUND.items() if not sound(row[field])), None)
    return f"{case}: the field {wrong!r} cannot be {_shown(row[wrong])}" if wrong else ""


def _of_tensors(spec: str, row: Mapping[str, Any], mine: Mapping[str, Raw]) -> Iterator[str]:
    case = f"{spec}.safetensors: {row['id']}"
    odd = sorted(name for name in mine if not name.startswith(BEGINS))
    if odd:
        yield f"{case}: the tensor {odd[0]!r} is none that a case has"
    for part, found in digests_of(mine).items():
        held = part != "inputs" or not row["drawn"]  # what is drawn again is not in the file
        if held and found != row["digests"][part]:
            yield f"{case}: {part}: the tensors are not those that {spec}.json has the digest of"


def _shown(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
