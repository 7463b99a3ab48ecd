"""Which notation (xyxy or xywh, say) an implementation follows that has no parameter for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lossref.checks.material import fixed_of, material
from lossref.core.nouns import Spec, Target
from lossref.hosts.probe import TargetRaised, applicable, call
from lossref.oracle.answers import true_value
from lossref.oracle.tape import Tie, Uncertified


def followed_convention(spec: Spec, target: Target, name: str) -> Any:
    """The setting of a notation parameter under which most one-item cases come out right."""
    choices = (spec.params[name].default, *spec.params[name].others)
    return max(choices, key=lambda choice: _right(spec, replace(target, fixed={**target.fixed, name: choice})))


def _right(spec: Spec, target: Target) -> float:
    found = material(spec, "single", "quick", 0, fixed_of(spec, target.fixed))
    score = 0.0
    for case in [case for case in found if applicable(spec, target, case)][:40]:
        try:
            got, want = call(spec, target, case, "float64").value, true_value(spec, case)
        except (TargetRaised, Tie, Uncertified):
            continue
        if got.size == want.size and np.isfinite(got).all():
            score += float(1 / (1 + np.abs(got.reshape(want.shape) - want).max() * 1e6))
    return score
