"""Puts recorded answers into the cache, so that a fresh clone does not ask the oracle for what is recorded."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from flint import arb

from lossref.core.nouns import Answer, Spec
from lossref.oracle import cache
from lossref.oracle.answers import each
from lossref.oracle.outcomes import kept
from lossref.run.golden.changes.code import code_of_answers
from lossref.run.golden.files.folder import manifest_in, volume_in
from lossref.run.golden.files.manifest import NAME, Manifest
from lossref.run.golden.files.strict import Damaged
from lossref.run.golden.files.volume import Stored, Volume
from lossref.run.golden.recorded import answers_of, case_of, places

HALF = arb(2.0**-53)  # a number is recorded as the nearest float64: so far off is it at most, relative


@lru_cache(maxsize=256)
def fed(spec: Spec) -> int:
    """Put the recorded answers of a composite into the cache; how many were new there.

    Only lossref's own record is trusted, and only where the oracle's code is that by which it was computed. A damaged
    record feeds nothing, without a word: `lossref golden check` is there to say so.
    """
    if not spec.composite or cache.folder() is None:
        return 0
    try:
        volume = _volume(spec)
    except (Damaged, OSError):
        return 0
    return sum(_fed(spec, one) for one in volume.cases if one.entry.is_certified) if volume else 0


def _volume(spec: Spec) -> Volume | None:
    folder = next((one for one in places()[1:] if (one / NAME).is_file()), None)
    said = _listed(folder).file(f"{spec.name}.json") if folder else None
    if folder is None or said is None or not said.code or said.code != code_of_answers(spec):
        return None
    return volume_in(folder, spec.name)


@lru_cache(maxsize=1)
def _listed(folder: Path) -> Manifest:
    return manifest_in(folder)


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
