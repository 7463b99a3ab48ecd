"""The cases of every kind that a check can be given."""

from __future__ import annotations

from collections.abc import Iterable

from lossref.checks.cases.varied import varied
from lossref.checks.material import Fixed, material
from lossref.checks.settings import settings
from lossref.core.nouns import Case, Spec


def of_kind(spec: Spec, kind: str, tier: str, seed: int, fixed: Fixed) -> Iterable[Case]:
    """The cases of one kind: one of `material`, "setting", "varied", or "one", every tenth of those of one item."""
    if kind == "varied":
        return varied(spec, seed, fixed)
    if kind == "one":
        return material(spec, "single", tier, seed, fixed)[::10]
    if kind == "setting":
        return settings(spec, tier, seed, fixed)
    return material(spec, kind, tier, seed, fixed)
