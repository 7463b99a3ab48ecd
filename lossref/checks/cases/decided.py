"""Whether a case of a composite has one answer: no choice among equals shows in it, and none that rounding makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lossref.checks.attempts import Arithmetic, arithmetic, at
from lossref.checks.cases.recalled import ROOMS
from lossref.core.nouns import Array, Case, Spec
from lossref.hosts.probe import TargetRaised, call, itself
from lossref.oracle.cache import shelf
from lossref.oracle.kept import digest_of, once

OF_POSITIVES = ("masks", "keypoints", "mask_gt")  # inputs of what has a term, or a result, for every positive
TOPK = ("topk", "topk2")
NAME = 32  # letters of a name
ROUNDED = 1e-4  # relative: what float32 makes of a loss whose decisions stay as they are


def decided(spec: Spec, case: Case) -> bool:
    """Whether no choice among equals shows, and none that float32 makes otherwise.

    Where few anchors have a metric above 0, any may fill up the top k; which have, depends on how small sides count.
    """
    return not spec.composite or told(spec, case)


@lru_cache(maxsize=512)
def told(spec: Spec, case: Case) -> bool:
    """The same of a composite."""
    return bool(once(place_of(spec, name_of(case), arithmetic()), lambda: _decided(spec, case)))


def name_of(case: Case) -> str:
    """What tells a case from others, in a few letters."""
    return digest_of(case).hex()[:NAME]


def place_of(spec: Spec, name: str, by: Arithmetic) -> Path | None:
    """Where it is kept whether the case of this name has one answer, by references that are computed so."""
    return shelf(spec, digest_of("decided", by, name), ROOMS)


def _decided(spec: Spec, case: Case) -> bool:
    try:
        exact, rough = values(spec, case, "float64", "float32")
        alike = bool(np.allclose(exact, rough, rtol=ROUNDED, atol=ROUNDED, equal_nan=True))
        small = (at(case, (("small_boxes", word),)) for word in _words(spec, "small_boxes"))
        return alike and all(_no_zeros(spec, one) for one in small)
    except TargetRaised:
        return False


def _no_zeros(spec: Spec, case: Case) -> bool:
    """Whether candidates of metric 0 make no difference, also if all of them are taken, whichever fill up the top k."""
    sizes = {
        word: size
        for name, one in spec.inputs.items()
        for word, size in zip(one.axes.split(), case.inputs[name].shape, strict=True)
    }
    shows = any(name in spec.inputs for name in OF_POSITIVES)  # elsewhere a positive of target 0 has no effect itself
    every = [(name, sizes.get("A", 0)) for name in spec.params if shows and name.removeprefix("tal_") in TOPK]
    words = [(("zero_metric", word),) for word in _words(spec, "zero_metric")]
    asked = ([(*settings, *word) for word in words] for settings in dict.fromkeys(((), tuple(every))))
    return all(_alike(_values_at(spec, case, settings)) for settings in asked)


def _values_at(spec: Spec, case: Case, settings: Sequence[tuple[tuple[str, Any], ...]]) -> Iterator[Array]:
    yield from (values(spec, at(case, one), "float64")[0] for one in settings)


def _alike(found: Iterator[Array]) -> bool:
    first = next(found, None)
    return first is None or all(np.array_equal(one, first, equal_nan=True) for one in found)


def _words(spec: Spec, name: str) -> tuple[Any, ...]:
    param = spec.params.get(name)
    return (param.default, *param.others) if param else ()


def values(spec: Spec, case: Case, *dtypes: str) -> list[Array]:
    """What the reference gives in each dtype."""
    return [call(spec, itself(spec), case, dtype).value for dtype in dtypes]
