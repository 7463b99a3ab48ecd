"""Whether two implementations assign the same anchors, told by their gradients: quantities that are no numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lossref.checks.attempts import Attempt
from lossref.core.nouns import Array, Spec
from lossref.run.causes.explain.whole.sizes import positives

ROUNDED = 2.0**-36
DECISION = "decision"  # how these quantities begin


def decided(spec: Spec, mine: Attempt, theirs: Attempt | None, numbers: Mapping[str, float]) -> dict[str, float]:
    """Whether both assign the same anchors or queries: a fault in what follows leaves that as it is."""
    found = dict[str, float]()
    if not (spec.composite and theirs):
        return found
    for name, got, own in zip(spec.wrt, mine.gradients, theirs.gradients, strict=False):
        ends = [positives(spec.inputs[name].axes, _clear(x)) for x in (got, own)] if "box" in name else []
        both = [end[1] for end in ends if end]
        if len(both) == 2:
            same = numbers.get(f"gradient {name}", np.inf) <= 1 or np.array_equal(both[0], both[1])
            found[f"{DECISION} {name}"] = 0.0 if same else float("inf")
    return found


def _clear(gradient: Array) -> Array:
    """A gradient without what rounding may have left."""
    largest = float(np.nan_to_num(np.abs(gradient)).max(initial=0.0))
    return np.where(np.abs(gradient) > ROUNDED * largest, gradient, 0.0)
