"""The cases of every kind that a check can be given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice

import numpy as np

from lossref.checks.cases.flat import flat
from lossref.checks.cases.values import moved, valued
from lossref.checks.cases.varied import varied
from lossref.checks.material import ROUNDS, Fixed, bytes_of, conventions, draw_case, fixed_of, material
from lossref.checks.settings import settings
from lossref.core.nouns import Case, Domain, Spec
from lossref.oracle.remembered import MIB, remembered

MODERATE = 64.0  # the largest number, and one over the smallest
IMMODERATE = ("tiny", "huge", "small", "+-88", "+-1e4", "+-1000")  # families
TRIES = 12
MOVED = {"varied": varied, "valued": valued, "moved": moved}  # of settings that a target has
THIRD = 3  # of the small cases, in every notation
FEW = 4  # of a composite, of which one question takes as long as twenty


def of_kind(
    spec: Spec, kind: str, tier: str, seed: int, fixed: Fixed, accepts: Sequence[str] | None = None
) -> Iterable[Case]:
    """The cases of one kind: one of `material`, "setting", "varied", "valued", "moved", "flat", or some of others.

    "one" is every tenth of those of one item, "few" are some of those of small size, in which what is looked for does
    not hang on the numbers, "moderate" a few that half precision can do, "usual" cases at which settings can be left
    out. Where several settings are changed at once, it is those that a target `accepts`.
    """
    if kind in MOVED:
        stands = {name: value for name, value in spec.defaults().items() if name not in (accepts or spec.params)}
        return MOVED[kind](spec, seed, fixed_of(spec, {**stands, **dict(fixed)}))
    if kind == "flat":
        return flat(spec, seed, fixed)
    if kind == "one":
        return material(spec, "single", tier, seed, fixed)[::10]
    if kind == "few":
        drawn = material(spec, "small", tier, seed, fixed)
        return drawn if tier == "full" or len(drawn) <= FEW else drawn[::THIRD]
    if kind == "setting":
        return settings(spec, tier, seed, fixed)
    if kind == "moderate":
        return moderate(spec, seed, fixed)
    if kind == "usual":
        return (*_settled(spec, tier, seed, fixed), *material(spec, "small", tier, seed, fixed)[:1])
    return material(spec, kind, tier, seed, fixed)


def _settled(spec: Spec, tier: str, seed: int, fixed: Fixed) -> Iterable[Case]:
    """One case for each value of a setting; of a composite a few, and corners: the oracle is asked for none."""
    if not spec.composite:
        return settings(spec, tier, seed, fixed)[:: ROUNDS[tier, False][1]]
    drawn = material(spec, "setting", tier, seed, fixed)
    return (*drawn[:: -(-len(drawn) // FEW) or 1], *material(spec, "corner", tier, seed, fixed)[:FEW])


@remembered(MIB, bytes_of)
def moderate(spec: Spec, seed: int, fixed: Fixed = ()) -> tuple[Case, ...]:
    """Some cases of one item for half precision, in every notation."""
    if spec.composite:
        return ()
    rng = np.random.default_rng([seed, sum(map(ord, f"{spec.name}moderate"))])
    drawn = (
        draw_case(_mild(spec), rng, dims, {**layout, **dict(fixed)}, turn)
        for turn in range(TRIES)
        for dims in spec.sizes["single"][:1]
        for layout in conventions(spec)
    )
    found = (replace(case, id=f"moderate {number}") for number, case in enumerate(drawn) if is_moderate(spec, case))
    return tuple(islice(found, FEW))


@lru_cache(maxsize=64)
def _mild(spec: Spec) -> Spec:
    """The spec without families of large and of tiny numbers."""
    inputs = dict[str, Domain]()
    for name, domain in spec.inputs.items():
        mild = {word: draw for word, draw in domain.families.items() if word not in IMMODERATE}
        inputs[name] = replace(domain, families=mild or domain.families)
    return replace(spec, inputs=inputs)


def is_moderate(spec: Spec, case: Case) -> bool:
    """Whether no product of the inputs leaves the range of float16: what rounds at every step can answer, too."""
    if spec.composite:
        return False
    sizes = [np.abs(case.inputs[name]) for name, domain in spec.inputs.items() if not domain.dtype]
    return all(bool(((x == 0) | ((x >= 1 / MODERATE) & (x <= MODERATE))).all()) for x in sizes)
