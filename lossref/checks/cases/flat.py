"""Boxes without width, or without height: each box of a case by itself, in every notation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lossref.checks.material import Fixed, bytes_of, conventions, draw_case, with_defaults
from lossref.core.nouns import Case, Spec
from lossref.oracle.remembered import MIB, remembered

SIDES = ("width", "height")
DRAWS = 8  # until one is legal: beside a flat box another one may have to be ordinary


@remembered(4 * MIB, bytes_of)
def flat(spec: Spec, seed: int, fixed: Fixed = ()) -> tuple[Case, ...]:
    """One case for each notation, box and side, as far as it is legal."""
    rng = np.random.default_rng([seed, sum(map(ord, f"{spec.name}flat"))])
    return tuple(_drawn(spec, rng, fixed))


def _drawn(spec: Spec, rng: np.random.Generator, fixed: Fixed) -> Iterator[Case]:
    boxes = {name: domain.flat for name, domain in spec.inputs.items() if domain.flat is not None}
    for layout in conventions(spec):
        for name, flatten in boxes.items():
            for side, word in enumerate(SIDES):
                for turn in range(DRAWS):
                    base = draw_case(spec, rng, spec.sizes["single"][0], {**layout, **dict(fixed)}, turn)
                    inputs = {**base.inputs, name: flatten(base.inputs[name], with_defaults(spec, base.params), side)}
                    case = replace(base, inputs=inputs, id=f"{name} without {word} {layout or ''}".strip())
                    if spec.why_not(case) is None:
                        yield case
                        break
