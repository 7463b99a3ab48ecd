"""Sizes of a case that a factor may be in step with: those of its inputs, of what is positive, and of the formula."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lossref.core.axes import name_of, times_of
from lossref.core.nouns import Array, Case, Params, Spec
from lossref.run.causes.explain.formula.runs import learnt
from lossref.run.causes.explain.quantity import Told


def sizes_of(spec: Spec, one: Told, settings: Params) -> dict[str, float]:
    """Every size in words."""
    found = _of_inputs(spec, one.shown.case)
    if not spec.composite:
        return found
    return {**found, **dict(_of_positives(spec, one)), **_of_formula(spec, one.shown.case, settings)}


def _of_inputs(spec: Spec, case: Case) -> dict[str, float]:
    """Numbers that a formula may divide by: sizes of axes, single numbers, sums and counts of weights and masks."""
    found: dict[str, float] = {}
    for name, domain in spec.inputs.items():
        array = case.inputs[name]
        axes = domain.axes.split()
        if len(axes) == array.ndim:
            for axis, size in zip(axes, array.shape, strict=True):
                if name_of(axis):
                    found.setdefault(f"the size of axis {name_of(axis)}", size / times_of(axis))
        if array.size == 1 and name not in spec.wrt:
            found |= {name: float(array.ravel()[0]), f"max({name}, 1)": max(float(array.ravel()[0]), 1.0)}
        elif name not in spec.wrt:
            found[f"sum of {name}"] = float(np.sum(array))
            count = float(np.count_nonzero(array > 0))
            found |= {f"number of {name} above 0": count, f"max(number of {name} above 0, 1)": max(count, 1.0)}
    most = spec.wrt if spec.composite else list(spec.inputs)[:1]
    found |= {f"the size of {name}": float(case.inputs[name].size) for name in most}
    numbers = {k: v for k, v in case.params.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return found | {name: float(value) for name, value in numbers.items() if name not in found}


def positives(axes: str, gradient: Array) -> tuple[str, Array] | None:
    """What stands along the axes of an input, and where it has a gradient; None of an input with no such axis."""
    names = axes.split()
    channels = [place for place, axis in enumerate(names) if axis[:1].isdigit()]
    if len(names) != gradient.ndim or len(channels) != 1 or not {"A", "q"} & {*names}:
        return None
    what = "anchors" if "A" in names else "queries"
    found: Array = np.any(gradient != 0, axis=channels[0])
    return what, found


def _of_positives(spec: Spec, one: Told) -> Iterator[tuple[str, float]]:
    """How many anchors, or queries, the truth has a gradient for."""
    want = one.shown.want
    for name, gradient in zip(spec.wrt, want.gradients if want else (), strict=False):
        found = positives(spec.inputs[name].axes, gradient)
        if found:
            count = float(found[1].sum())
            yield f"the number of {found[0]} with a gradient to {name}", count


def _of_formula(spec: Spec, case: Case, settings: Params) -> dict[str, float]:
    """Numbers of the formula that it makes once: a norm, a count, a sum over everything."""
    numbers = learnt(spec, case, tuple(settings.items())).once
    return {words: number for words, number in numbers.items() if number}
