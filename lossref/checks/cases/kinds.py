"""The cases of every kind that a check can be given."""

from __future__ import annotations

from collections.abc import Iterable

from lossref.checks.cases.varied import varied
from lossref.checks.material import ROUNDS, Fixed, material
from lossref.checks.settings import settings
from lossref.core.nouns import Case, Spec

FEW = 4  # of a composite, of which one question takes as long as twenty


def of_kind(spec: Spec, kind: str, tier: str, seed: int, fixed: Fixed) -> Iterable[Case]:
    """The cases of one kind: one of `material`, "setting", "varied", or some of another kind.

    "one" is every tenth of those of one item, "usual" cases at which settings can be left out.
    """
    if kind == "varied":
        return varied(spec, seed, fixed)
    if kind == "one":
        return material(spec, "single", tier, seed, fixed)[::10]
    if kind == "setting":
        return settings(spec, tier, seed, fixed)
    if kind == "usual":
        return (*_settled(spec, tier, seed, fixed), *material(spec, "small", tier, seed, fixed)[:1])
    return material(spec, kind, tier, seed, fixed)


def _settled(spec: Spec, tier: str, seed: int, fixed: Fixed) -> Iterable[Case]:
    """One case for each value of a setting; of a composite a few, and corners: the oracle is asked for none."""
    if not spec.composite:
        return settings(spec, tier, seed, fixed)[:: ROUNDS[tier, False][1]]
    drawn = material(spec, "setting", tier, seed, fixed)
    return (*drawn[:: -(-len(drawn) // FEW) or 1], *material(spec, "corner", tier, seed, fixed)[:FEW])
