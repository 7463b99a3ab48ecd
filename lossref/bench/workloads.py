"""What is timed: a case drawn from a spec's domains, in each mode that the spec allows."""

from __future__ import annotations

import numpy as np

from lossref.checks.material import draw_case
from lossref.core.nouns import Case, Params, Spec
from lossref.hosts.worker.timed import MODES

SIZES = {"small": "small", "train": "bulk"}


def sizes_of(spec: Spec) -> tuple[str, ...]:
    """The sizes that the spec declares: small, train or both."""
    return tuple(size for size, kind in SIZES.items() if spec.sizes.get(kind))


def modes_of(spec: Spec) -> tuple[str, ...]:
    """All modes; only forward where there is nothing to differentiate."""
    return MODES if spec.wrt else MODES[:1]


def workload(spec: Spec, size: str, params: Params, seed: int) -> Case:
    """The one case of that size; the same for every implementation with these parameters."""
    rng = np.random.default_rng([seed, sum(map(ord, spec.name + size))])
    return draw_case(spec, rng, spec.sizes[SIZES[size]][0], params)
