"""Cases of other sizes and of other numbers than those that the families give.

Lengths around the widths of vector code, one class and more than 80, portrait and landscape, other levels and bins; and
numbers with full mantissas of the dtype under test, with logits between the families. No oracle answers them: they are
held beside the reference, as those at full size are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from lossref.checks.attempts import arithmetic, at
from lossref.checks.cases.recalled import ROOMS
from lossref.checks.material import Fixed, bytes_of, conventions, draw_case
from lossref.core.nouns import Array, Case, Domain, Params, Spec
from lossref.hosts.probe import TargetRaised, call, itself
from lossref.oracle.cache import shelf
from lossref.oracle.kept import digest_of, once
from lossref.oracle.remembered import MIB, remembered

LENGTHS = {
    "n": (1, 2, 7, 9, 17, 33, 65, 5003),
    "b": (1, 3, 2, 5, 33, 4, 2, 1),
    "A": (5, 1, 17, 9, 33, 2, 65, 7),
    "q": (9, 5, 33, 1, 17, 65, 7, 129),
    "c": (1, 81, 3, 130, 2, 300, 17, 8),
    "h": (3, 1, 9, 17, 5, 4, 33, 2),
    "w": (9, 7, 1, 5, 17, 64, 3, 2),
    "H": (9, 7, 33, 5, 3, 17, 2, 65),
    "W": (1, 33, 9, 17, 64, 5, 7, 3),
}
SCENES: tuple[Mapping[str, Any], ...] = (
    {"b": 1, "n": 1, "c": 1},
    {"b": 3, "n": 5, "c": 81, "imgsz": (96, 32)},
    {"b": 2, "n": 40, "c": 3, "imgsz": (32, 128), "strides": (8, 16), "reg_max": 8},
    {"b": 1, "n": 60, "c": 7, "imgsz": (64, 128), "strides": (8, 16, 32, 64)},
)
SCALES = (1.0, 1.75, 3.25, 5.5)  # of logits, which the families have up to 4 and at 20
JITTERS = (2.0**-4, 2.0**-9, 2.0**-15)  # relative; the largest that leaves an input legal
FINER = 2.0**-26  # relative; so small that float32 rounds it away, and what is decided in float32 stays so
FLAGS = (0.0, 1.0, 2.0)  # a column of these is a visibility or a label, and no measure
ROUNDED = 1e-4  # relative: what float32 makes of a loss whose decisions stay as they are
DRAWS = 4  # until one has no choice among equals


@remembered(64 * MIB, bytes_of)
def varied(spec: Spec, seed: int, fixed: Fixed = ()) -> tuple[Case, ...]:
    """The cases of a spec, in the order of their sizes; the notation goes round."""
    rng = np.random.default_rng([seed, sum(map(ord, f"{spec.name}varied"))])
    return tuple(_drawn(spec, rng, dict(fixed)))


def _drawn(spec: Spec, rng: np.random.Generator, fixed: Params) -> Iterator[Case]:
    layouts = conventions(spec)
    for number, dims in enumerate(_sizes(spec)):
        free = {name: size for name, size in dims.items() if name not in fixed}
        params = {**layouts[number % len(layouts)], **fixed}
        drawn = (
            _with_other_numbers(spec, rng, draw_case(spec, rng, free, params), SCALES[number % len(SCALES)])
            for _ in range(DRAWS)
        )
        named = (replace(case, id=f"varied {number}") for case in drawn)
        yield from islice((case for case in named if decided(spec, case)), 1)


@lru_cache(maxsize=512)
def decided(spec: Spec, case: Case) -> bool:
    """Whether no choice among equals shows, and none that float32 makes otherwise.

    Where few anchors have a metric above 0, any may fill up the top k; which have, depends on how small sides count.
    """
    if not spec.composite:
        return True
    place = shelf(spec, digest_of("decided", arithmetic(), case), ROOMS)
    return bool(once(place, lambda: _decided(spec, case)))


def _decided(spec: Spec, case: Case) -> bool:
    try:
        exact, rough = _values(spec, case, "float64", "float32")
        alike = bool(np.allclose(exact, rough, rtol=ROUNDED, atol=ROUNDED, equal_nan=True))
        small = (at(case, (("small_boxes", word),)) for word in _words(spec, "small_boxes")[:3])
        return alike and all(_no_zeros(spec, one) for one in small)
    except TargetRaised:
        return False


def _no_zeros(spec: Spec, case: Case) -> bool:
    """Whether candidates of metric 0 make no difference."""
    found = (_values(spec, at(case, (("zero_metric", word),)), "float64")[0] for word in _words(spec, "zero_metric"))
    first = next(found, None)
    return first is None or all(np.array_equal(one, first, equal_nan=True) for one in found)


def _words(spec: Spec, name: str) -> tuple[Any, ...]:
    param = spec.params.get(name)
    return (param.default, *param.others) if param else ()


def _values(spec: Spec, case: Case, *dtypes: str) -> list[Array]:
    return [call(spec, itself(spec), case, dtype).value for dtype in dtypes]


def _sizes(spec: Spec) -> Iterator[Mapping[str, Any]]:
    """Sizes of the axes that may have any, the others as at small size."""
    small = spec.sizes["small"]
    for number in range(len(SCENES) if spec.composite else len(LENGTHS["n"])):
        usual = small[number % len(small)]
        if spec.composite:
            free = {name: size for name, size in SCENES[number].items() if name in usual or name in spec.params}
            yield {**usual, **({"c": free["c"]} if "d" in usual else free)}  # denoising queries fit their objects
        else:
            yield {**usual, **{name: sizes[number] for name, sizes in LENGTHS.items() if name in usual}}


def _with_other_numbers(spec: Spec, rng: np.random.Generator, case: Case, scale: float) -> Case:
    params = {**spec.defaults(), **case.params}
    drawn = {
        name: _other(rng, domain, case.inputs[name], params, scale if name in spec.wrt and domain.unit else 1.0)
        for name, domain in spec.inputs.items()
        if _any_number(domain)
    }
    return replace(case, inputs={name: drawn.get(name, x) for name, x in case.inputs.items()})


def in_full(spec: Spec, case: Case, dtype: str) -> Case:
    """The case with every bit of the dtype in use: in float64, what passes through float32 on the way shows."""
    return _finer_case(spec, case) if dtype == "float64" else case


@lru_cache(maxsize=64)
def _finer_case(spec: Spec, case: Case) -> Case:
    rng = np.random.default_rng(len(case.inputs))
    params = {**spec.defaults(), **case.params}
    drawn = {name: _finer(rng, case.inputs[name], one, params) for name, one in spec.inputs.items() if _any_number(one)}
    return replace(case, inputs={name: drawn.get(name, x) for name, x in case.inputs.items()})


def _finer(rng: np.random.Generator, x: Array, domain: Domain, params: Params) -> Array:
    turned = np.where(_measures(x), x * (1 + rng.uniform(-FINER, FINER, x.shape)), x)
    return x if domain.why_not(turned, params) else turned


def _any_number(domain: Domain) -> bool:
    """Whether an input is drawn from several families of real numbers, and is no index, no flag and no layout."""
    return not domain.dtype and not domain.indexes and len(domain.families) > 1


def _other(rng: np.random.Generator, domain: Domain, x: Array, params: Params, scale: float) -> Array:
    """The same with every bit of a float32 in use, and scaled; as it was if that is not legal."""
    measures = _measures(x)
    for factor in (scale, 1.0):
        for jitter in JITTERS:
            turned = x * factor * (1 + rng.uniform(-jitter, jitter, x.shape))
            found = np.where(measures, turned, x).astype(np.float32).astype(np.float64)
            if domain.why_not(found, params) is None:
                return found
    return x


def _measures(x: Array) -> Array:
    """Which columns are measures: all but those of flags."""
    if x.ndim < 2:
        return np.ones(x.shape, dtype=bool)
    return np.logical_not(np.isin(x, FLAGS).all(axis=tuple(range(x.ndim - 1)), keepdims=True))
