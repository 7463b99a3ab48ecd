"""What a test of one's own spec asks: the reference passes every check, and every impostor is rejected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lossref.checks.table import CHECKS, applies, cases_for, check, named
from lossref.core.nouns import Spec, Target
from lossref.hosts.probe import itself


class Rejection(NamedTuple):
    """Whether a check that an impostor names rejects it, in one dtype at least."""

    impostor: str
    check: str
    rejected: bool


def failures(spec: Spec, tier: str = "quick", seed: int = 0) -> list[str]:
    """One sentence for each check that the reference of a spec does not pass; empty: it passes all of them."""
    own = itself(spec)
    verdicts = [
        check(one, spec, own, cases_for(one, spec, own, tier, seed), dtype)[0]
        for one in CHECKS
        if applies(one, spec)
        for dtype in one.dtypes
    ]
    return [
        f"{spec.name}: {found.check} {found.dtype}: {found.status}: {found.note}"
        for found in verdicts
        if found.status != "pass"
    ]


def accepted(spec: Spec, tier: str = "quick", seed: int = 0) -> list[str]:
    """One sentence for each impostor and check that must reject it and does not; empty: all are rejected.

    Raises `UnknownCheck` where an impostor names a check that there is none of.
    """
    return [
        f"{spec.name}: the impostor {one.impostor!r} passes {one.check}: no case tells it from the truth; add a corner"
        for one in rejections(spec, tier, seed)
        if not one.rejected
    ]


def rejections(spec: Spec, tier: str = "quick", seed: int = 0) -> Iterator[Rejection]:
    """Every impostor of a spec with each check that it names."""
    for wrong in spec.impostors:
        for name in wrong.known:
            yield Rejection(wrong.label, name, _rejects(name, spec, wrong, tier, seed))


def _rejects(name: str, spec: Spec, wrong: Target, tier: str, seed: int) -> bool:
    one = named(name)
    cases = cases_for(one, spec, wrong, tier, seed)
    return any(check(one, spec, wrong, cases, dtype)[0].status == "known" for dtype in one.dtypes)
