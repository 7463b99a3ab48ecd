"""Cases of other sizes and of other numbers than those that the families give.

Lengths around the widths of vector code, one class and more than 80, portrait and landscape, other levels and bins; and
numbers with full mantissas of the dtype under test, with logits between the families. No oracle answers them: they are
held beside the reference, as those at full size are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from lossref.checks.cases.decided import decided, values
from lossref.checks.cases.values import free
from lossref.checks.material import Fixed, bytes_of, conventions, draw_case
from lossref.core.nouns import Array, Case, Domain, Params, Spec
from lossref.hosts.probe import TargetRaised
from lossref.oracle.remembered import MIB, remembered

LENGTHS = {
    "n": (1, 2, 7, 9, 17, 33, 65, 5003, 65601, 12, 2),
    "b": (1, 3, 2, 5, 33, 4, 2, 300, 9, 2, 1),
    "A": (5, 1, 17, 9, 33, 2, 65, 7, 1100, 3, 2),
    "q": (9, 5, 33, 1, 17, 65, 7, 129, 1025, 300, 3),
    "c": (1, 81, 3, 130, 2, 300, 17, 8, 2, 301, 1),
    "h": (3, 1, 9, 17, 5, 4, 33, 2, 2, 3, 140),
    "w": (9, 7, 1, 5, 17, 64, 3, 2, 3, 5, 260),
    "H": (9, 7, 33, 5, 3, 17, 2, 65, 3, 16, 280),
    "W": (1, 33, 9, 17, 64, 5, 7, 3, 2, 14, 260),
    "K": (1, 5, 17, 2, 26, 3, 4, 1, 1, 133, 6),
    "k": (1, 32, 3, 33, 8, 64, 2, 4, 1, 16, 2),
}
MANY = 320  # objects in one image: more than a list of 100 or of 300, or a number of 8 bits, can hold
BYTE, SIGNED = 255, 127
OBJECTS = ("n", "G", "M")  # axes of objects
APART = (0, 60, 120, 200, 258, 312)  # of these, the ones that differ; the others lie where the first one lies
FEWER = [number if number in APART else 0 for number in range(MANY)]
SCENES: tuple[Mapping[str, Any], ...] = (
    {"b": 1, "n": 1, "G": 1, "c": 1, "imgsz": (32, 96)},  # turned, and as many anchors as the next
    {"b": 3, "n": 5, "G": 4, "c": 81, "imgsz": (96, 32), "q": 129, "k": 33, "L": 6, "Hp": 16},
    {"b": 2, "n": 48, "G": 9, "c": 3, "q": 65, "imgsz": (32, 128), "strides": (8, 16), "reg_max": 8}
    | {"overlap": False, "Hm": 16},
    {"b": 1, "n": 2, "G": 6, "c": 7, "imgsz": (64, 128), "strides": (8, 16, 32, 64), "kpt_shape": (5, 3), "A": 90}
    | {"topk": 13, "tal_topk": 13, "updates": 3, "L": 4},
    {"b": 2, "n": 4, "G": 4, "c": 2, "imgsz": (64, 96), "strides": (16,), "q": 9, "Hm": 32, "Wm": 24, "L": 1},
    {"b": 9, "n": 12, "G": 2, "c": 200, "imgsz": (64, 32), "strides": (4, 8), "kpt_shape": (26, 2), "updates": 60},
    {"b": 1, "n": MANY, "G": MANY, "c": 5, "imgsz": (64, 64), "q": 33},
    {"b": 1, "n": 1, "G": 1, "c": 1, "imgsz": (1056, 1024), "q": 400},  # more cells than 14 bits count
)
SCALES = (1.0, 1.75, 3.25, 5.5)  # of logits, which the families have up to 4 and at 20
OF_CONSTANTS = (1.0, 1 / 1024, 16.0, 1 / 16, 1.75)  # of what an elementary spec has no gradient to, where that is legal
JITTERS = (2.0**-4, 2.0**-9, 2.0**-15)  # relative; the largest that leaves an input legal
FINER = 2.0**-26  # relative; so small that float32 rounds it away, and what is decided in float32 stays so
FLAGS = (0.0, 1.0, 2.0)  # a column of these is a visibility or a label, and no measure
DRAWS = 200  # until one has no choice among equals


@remembered(64 * MIB, bytes_of)
def varied(spec: Spec, seed: int, fixed: Fixed = ()) -> tuple[Case, ...]:
    """The cases of a spec, in the order of their sizes; the notation goes round."""
    rng = np.random.default_rng([seed, sum(map(ord, f"{spec.name}varied"))])
    return tuple(_drawn(spec, rng, dict(fixed)))


def _drawn(spec: Spec, rng: np.random.Generator, fixed: Params) -> Iterator[Case]:
    layouts = conventions(spec)
    for number, dims in enumerate(_sizes(spec)):
        free = {name: size for name, size in dims.items() if name not in fixed}
        usual = {**layouts[number % len(layouts)], **fixed}
        moved = {**_moved(spec, number), **usual}
        for params in (moved, usual) if moved != usual else (usual,):
            cases = (_crowded(spec, draw_case(spec, rng, free, params)) for _ in range(DRAWS))
            scales = SCALES[number % len(SCALES)], OF_CONSTANTS[number % len(OF_CONSTANTS)]
            drawn = (_with_other_numbers(spec, rng, case, *scales) for case in cases)
            named = (replace(case, id=f"varied {number}") for case in drawn)
            fit = (case for case in named if _is_telling(case, free.get("c", 0)))
            found = next((case for case in fit if _is_certain(spec, case) and _last_count(spec, case)), None)
            if found is not None:
                yield found
                break


def _moved(spec: Spec, number: int) -> dict[str, Any]:
    """Settings of an elementary spec that are moved at every second size: a fault of both may show at neither alone."""
    if spec.composite or number % 2 == 0:
        return {}
    others = [(name, one.others) for name, one in free(spec, {}).items()]
    return {name: listed[(number // 2 + turn) % len(listed)] for turn, (name, listed) in enumerate(others)}


def _is_telling(case: Case, classes: int) -> bool:
    """Whether there is an object and, where there are many classes, one that a signed byte cannot count."""
    real, cls = case.inputs.get("mask_gt"), case.inputs.get("cls")
    return (real is None or bool(real.any())) and (classes <= SIGNED or cls is None or bool((cls > SIGNED).any()))


def _is_certain(spec: Spec, case: Case) -> bool:
    """Whether the case is legal, and decided in every dtype in which it is put."""
    return (
        spec.why_not(case) is None
        and _has_numbers(spec, case)
        and all(decided(spec, in_full(spec, case, dtype)) for dtype in ("float32", "float64"))
    )


def _has_numbers(spec: Spec, case: Case) -> bool:
    try:
        return spec.composite or bool(np.isfinite(values(spec, case, "float64")[0]).any())
    except TargetRaised:
        return False


def _sizes(spec: Spec) -> Iterator[Mapping[str, Any]]:
    """Sizes of the axes that may have any, the others as at small size."""
    small = spec.sizes["small"]
    for number in range(len(SCENES) if spec.composite else len(LENGTHS["n"])):
        usual = small[number % len(small)]
        if spec.composite:
            free = {name: size for name, size in SCENES[number].items() if name in usual or _is_set(spec, name, size)}
            yield {**usual, **({"c": free["c"]} if "d" in usual else free)}  # denoising queries fit their objects
        else:
            yield {**usual, **{name: sizes[number] for name, sizes in LENGTHS.items() if name in usual}}


def _crowded(spec: Spec, case: Case) -> Case:
    """Of many objects that compete for anchors few differ: among so many that did, no choice would be certain.

    Equal ones are no choice: an anchor goes to the first of them. A matcher is given objects that all differ.
    """
    alike = {name: np.take(case.inputs[name], FEWER, axis) for name, axis in _rows_of(spec, case)}
    if _numbers_objects(spec, case):
        masks = case.inputs["masks"].astype(int)
        alike["masks"] = np.where(masks > 0, np.array(APART)[masks % len(APART)] + 1, 0).astype(np.float64)
    return replace(case, inputs={**case.inputs, **alike})


def _last_count(spec: Spec, case: Case) -> bool:
    """Whether the last of many objects matter: if they were the first once more, or their number cut to a byte."""
    rows = list(_rows_of(spec, case))
    if not rows:
        return True
    kept = np.where(np.arange(MANY) > BYTE, 0, np.arange(MANY))
    others = [{name: np.take(case.inputs[name], kept, axis) for name, axis in rows}]
    others += [{"masks": case.inputs["masks"] % (BYTE + 1)}] if _numbers_objects(spec, case) else []
    cases = [case, *(replace(case, inputs={**case.inputs, **one}) for one in others)]
    own, *found = (values(spec, one, "float64")[0] for one in cases)
    return not any(np.array_equal(one, own, equal_nan=True) for one in found)


def _numbers_objects(spec: Spec, case: Case) -> bool:
    """Whether there are so many objects, and masks in which a pixel has the number of the one that covers it."""
    rows = dict(_rows_of(spec, case))
    return bool(rows) and "masks" in case.inputs and "masks" not in rows


def _rows_of(spec: Spec, case: Case) -> Iterator[tuple[str, int]]:
    """The inputs that have a row for each of many objects that compete for anchors, and its axis."""
    axes = {name: domain.axes.split() for name, domain in spec.inputs.items()}
    if not any("q" in words for words in axes.values()):
        found = ((name, words.index(word)) for name, words in axes.items() for word in OBJECTS if word in words)
        yield from ((name, axis) for name, axis in found if case.inputs[name].shape[axis] == MANY)


def _is_set(spec: Spec, name: str, value: Any) -> bool:
    """Whether a spec has a parameter of that name, and no other one under it."""
    return name in spec.params and isinstance(value, type(spec.params[name].default))


def _with_other_numbers(spec: Spec, rng: np.random.Generator, case: Case, scale: float, of_constants: float) -> Case:
    params = {**spec.defaults(), **case.params}
    drawn = dict[str, Array]()
    for name, domain in spec.inputs.items():
        constant = not (spec.composite or name in spec.wrt or domain.dtype or domain.indexes)
        factor = of_constants if constant else scale if name in spec.wrt and domain.unit else 1.0
        if _any_number(domain):
            drawn[name] = _other(rng, domain, case.inputs[name], params, factor)
        elif constant:
            x = case.inputs[name]
            scaled = np.where(_measures(x), x * factor, x)
            drawn[name] = x if domain.why_not(scaled, params) else scaled
    return replace(case, inputs={name: drawn.get(name, x) for name, x in case.inputs.items()})


def in_full(spec: Spec, case: Case, dtype: str) -> Case:
    """The case with every bit of the dtype in use: in float64, what passes through float32 on the way shows."""
    return finer(spec, case) if dtype == "float64" else case


@lru_cache(maxsize=64)
def finer(spec: Spec, case: Case) -> Case:
    """The case with every bit of float64 in use."""
    rng = np.random.default_rng(len(case.inputs))
    params = {**spec.defaults(), **case.params}
    drawn = {
        name: _refined(rng, case.inputs[name], one, params) for name, one in spec.inputs.items() if _any_number(one)
    }
    return replace(case, inputs={name: drawn.get(name, x) for name, x in case.inputs.items()})


def _refined(rng: np.random.Generator, x: Array, domain: Domain, params: Params) -> Array:
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
