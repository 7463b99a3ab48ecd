"""The observed error of the references, by spec, dtype, device class and part: `golden/errors.csv`.

In units in the last place of the dtype, at the largest number of the tensor, or at the floor of its budget. It may
shrink; more than four times what was recorded, and more than one unit, is a difference.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from lossref.core.nouns import Array, Spec
from lossref.hosts.probe import Result, by_term
from lossref.oracle.budgets import UNIT, VALUE_FACTOR
from lossref.run.golden import sampled
from lossref.run.golden.files.packing import budget_of, wide
from lossref.run.golden.files.strict import Damaged
from lossref.run.golden.files.volume import Stored

NAME = "errors.csv"
GROWTH, LEAST = 4.0, 1.0


@dataclass(frozen=True, order=True)
class Error:
    """The largest error of a reference: `part` is value or gradient, `ulp` its size, `case` where it was seen."""

    spec: str
    dtype: str
    device: str
    part: str
    ulp: float
    case: str

    @property
    def key(self) -> tuple[str, ...]:
        """What it is the largest error of."""
        return self.spec, self.dtype, self.device, self.part


HEAD = tuple(field.name for field in fields(Error))


def errors_of(spec: Spec, stored: Stored, found: Result, dtype: str, device: str = "cpu") -> Iterator[Error]:
    """How far the reference is off on one recorded case: in the value, and in the gradient."""
    for part, pairs in (
        ("value", _values(spec, stored, found, dtype)),
        ("gradient", _slopes(spec, stored, found, dtype)),
    ):
        size = max((ulps(*pair, dtype) for pair in pairs), default=0.0)
        yield Error(spec.name, dtype, device, part, size, stored.entry.id)


def _values(spec: Spec, stored: Stored, found: Result, dtype: str) -> Iterator[tuple[Array, Array, Array]]:
    for term, got in zip(spec.terms, by_term(found), strict=True):
        want = wide(stored.tensors[f"value/{term}"])
        yield got.ravel(), want.ravel(), budget_of(stored.tensors, f"value/{term}", dtype).ravel()


def _slopes(spec: Spec, stored: Stored, found: Result, dtype: str) -> Iterator[tuple[Array, Array, Array]]:
    for name in spec.wrt:
        got = sampled.numbers(found, name) if found.gradient.get(name) is not None else None
        if got is not None:
            at = stored.tensors.get(f"at/{name}")
            got = got if at is None else got[wide(at).astype(np.int64)]
            yield (
                got,
                wide(stored.tensors[f"gradient/{name}"]).ravel(),
                budget_of(stored.tensors, f"gradient/{name}", dtype).ravel(),
            )


def ulps(got: Array, want: Array, room: Array, dtype: str) -> float:
    """The largest error of a tensor; numbers without a budget do not count."""
    judged = np.isfinite(room)
    if not judged.any():
        return 0.0
    floor = float(room[judged].min()) / (VALUE_FACTOR * UNIT[dtype])
    size = max(float(np.abs(want[judged]).max()), floor)
    return float(np.abs(got[judged] - want[judged]).max()) / (2 * UNIT[dtype] * size)


def largest(found: Iterable[Error]) -> list[Error]:
    """The largest of each kind, in order."""
    best: dict[tuple[str, ...], Error] = {}
    for one in found:
        if one.key not in best or one.ulp > best[one.key].ulp:
            best[one.key] = one
    return [best[key] for key in sorted(best)]


def grown(found: Iterable[Error], recorded: Sequence[Error]) -> Iterator[str]:
    """One sentence for each error that is larger than it may be, or of which nothing is recorded."""
    known = {one.key: one for one in recorded}
    for one in largest(found):
        before = known.get(one.key)
        head = f"{NAME}: {one.spec}: {one.case}: {one.part} in {one.dtype} on {one.device}"
        if before is None:
            yield f"{head}: no observed error is recorded"
        elif not one.ulp <= (most := max(GROWTH * before.ulp, LEAST)):
            yield f"{head}: off by {one.ulp:.3g} ulp, recorded are {before.ulp:.3g}, so at most {most:.3g}"


def text_of(errors: Iterable[Error]) -> bytes:
    """The content of errors.csv: three digits, rounded up."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows([*astuple(one)[:4], _up(one.ulp), one.case] for one in sorted(errors))
    return file.getvalue().encode()


def _up(number: float) -> str:
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    step = 10.0 ** (math.floor(math.log10(number)) - 2)
    return f"{math.ceil(number / step) * step:.3g}"


def read(content: bytes) -> list[Error]:
    """The rows of errors.csv. Raises `Damaged`."""
    try:
        head, *rows = list(csv.reader(io.StringIO(content.decode()), strict=True))
        found = [_row(*row) for row in rows if len(row) == len(HEAD)]
    except (ValueError, csv.Error) as error:
        raise Damaged(f"{NAME}: it is no table of errors: {error}") from None
    if tuple(head) != HEAD or len(found) != len(rows) or len({one.key for one in found}) != len(rows):
        raise Damaged(f"{NAME}: it has the columns {', '.join(HEAD)}, and each kind of error once")
    return found


def _row(spec: str, dtype: str, device: str, part: str, ulp: str, case: str) -> Error:
    return Error(spec, dtype, device, part, _positive(ulp), case)


def _positive(word: str) -> float:
    number = float(word)
    if not 0 <= number < math.inf:
        raise ValueError(f"{word} is no error")
    return number


def merged(content: bytes, spec: str, found: Iterable[Error]) -> bytes:
    """errors.csv with these errors in place of the spec's on the same devices; an empty content is an empty table."""
    new = largest(found)
    devices = {one.device for one in new}
    kept = [one for one in (read(content) if content else []) if one.spec != spec or one.device not in devices]
    return text_of([*kept, *new])
