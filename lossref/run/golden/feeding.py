"""Puts recorded answers into the cache, so that a fresh clone does not ask the oracle for what is recorded."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from flint import arb

from lossref.core.nouns import Answer, Case, Spec
from lossref.oracle import cache
from lossref.oracle.answers import each
from lossref.oracle.outcomes import kept
from lossref.run.golden.changes.code import code_of_answers
from lossref.run.golden.files.folder import manifest_in, volume_in
from lossref.run.golden.files.manifest import NAME, File
from lossref.run.golden.files.strict import Damaged
from lossref.run.golden.files.volume import Stored
from lossref.run.golden.recorded import answers_of, case_of, places

HALF = arb(2.0**-53)  # a number is recorded as the nearest float64: so far off is it at most, relative


@lru_cache(maxsize=256)
def fed(spec: Spec) -> int:
    """Put the recorded answers of a composite into the cache; how many were new there.

    Only lossref's own record is trusted, and only where the oracle's code is that by which it was computed. A damaged
    record feeds nothing, without a word: `lossref golden check` is there to say so. What the cache was once fed with
    is noted in it, and the record not read again.
    """
    folder = next((one for one in places()[1:] if (one / NAME).is_file()), None)
    if folder is None or not spec.composite or cache.folder() is None:
        return 0
    try:
        said = manifest_in(folder).file(f"{spec.name}.json")
        note = _note(spec, said) if said else None
        if said is None or note is None or cache.read(note) is not None:
            return 0
        fits = said.code and said.code == code_of_answers(spec)
        cases = volume_in(folder, spec.name).cases if fits else ()
    except (Damaged, OSError):
        return 0
    new = sum(_fed(spec, one) for one in cases if one.entry.is_certified)
    cache.write(note, b"fed")
    return new


def _note(spec: Spec, said: File) -> Path | None:
    """Where the cache notes that it was fed with this file of the record, beside the answers to its cases."""
    return cache.place("fed", spec, Case(spec.name, {}, {}, f"{said.sha256} {said.code}"))


def _fed(spec: Spec, stored: Stored) -> bool:
    path = cache.place("answer", spec, case_of(spec.name, stored))
    if path is None or path.exists():
        return False
    kept(path, answer_of(spec, stored))
    return True


def answer_of(spec: Spec, stored: Stored) -> Answer:
    """The recorded answer in balls that hold the certified number; of a composite nothing else is asked of it.

    Terms and inputs stand in the order of the spec: those who put the terms in a row rely on it.
    """
    value, gradient = (
        {name: each(_ball, found[name], object) for name in names}
        for found, names in ((answers_of(stored, "value"), spec.terms), (answers_of(stored, "gradient"), spec.wrt))
    )
    condition = {name: np.zeros(array.shape) for name, array in value.items()}
    return Answer(value, gradient, condition, math.nan, stored.entry.ties, 0, 53)


def _ball(number: float) -> arb:
    middle = arb(float(number))
    return arb(middle, abs(middle) * HALF)
