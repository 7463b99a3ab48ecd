"""Cases that tell which settings a target follows, and whether a claim about it is true, beside those that failed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from itertools import islice

from lossref.checks import table
from lossref.checks.attempts import at
from lossref.checks.cases import limits
from lossref.checks.material import fixed_of, material
from lossref.checks.settings import has_answer
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.probe import applicable
from lossref.run.causes.explain.claims import FEW
from lossref.run.causes.explain.quantity import Quantity, Shown, deciding, told
from lossref.run.causes.judged import Tracing

MOST_FURTHER = 3  # cases at the value of a parameter at which alone something is wrong
MOST_APART = 6  # further cases of a composite that a target gets wrong
DRAWS = range(100, 106)  # seeds of which no check draws its cases


def held_out(spec: Spec, target: Target, seed: int) -> Iterator[Case]:
    """Cases of every value check, failing or not; of a composite those that the oracle has answered already."""
    drawn = limits.limited(spec, target)
    for kind in table.VALUES:
        for case in material(drawn, kind, "quick", seed + (not spec.composite), fixed_of(spec, target.fixed)):
            if _fits(spec, target, case):
                yield case


def further(tracing: Tracing, what: Quantity, shown: Sequence[Shown], dtype: str) -> list[Case]:
    """Cases at the one value of a parameter at which few of the cases shown are wrong, and all others are right."""
    spec, target = tracing.spec, tracing.target
    cases = told(what, shown, tracing.settings, dtype)
    wrong, right = [one for one in cases if one.apart], [one for one in cases if not one.apart]
    values = dict(deciding(wrong, right)) if 0 < len(wrong) < FEW else {}
    drawn = limits.limited(spec, target) if values else spec
    pool = material(drawn, "setting", "quick", tracing.job.seed, fixed_of(spec, target.fixed)) if values else ()
    fits = (
        at(case, tracing.change)
        for case in pool
        if any(case.params.get(name) == value for name, value in values.items()) and _fits(spec, target, case)
    )
    return list(islice(fits, MOST_FURTHER))


def apart(tracing: Tracing) -> list[Case]:
    """Drawn cases of a composite that no check has asked, on which target and reference are apart at the settings.

    What is decided is right or wrong: where a target is wrong on two cases, many a mistake is right there by chance.
    """
    return tracing.found_once(lambda: islice(_apart(tracing), MOST_APART))


def _apart(tracing: Tracing) -> Iterator[Case]:
    for case in drawn(tracing.spec, tracing.target):
        off = any(error > 1 for error in tracing.compared.at(case, {}).values())
        if off and has_answer(tracing.spec, case):
            yield case


def drawn(spec: Spec, target: Target) -> Iterator[Case]:
    """Drawn cases of a composite that no check has asked, and that a target can be asked."""
    for seed, kind in itertools.product(DRAWS if spec.composite else (), ("single", "small")):
        for case in material(limits.limited(spec, target), kind, "quick", seed, fixed_of(spec, target.fixed)):
            if applicable(spec, target, case) and not spec.why_not(case):
                yield case


def _fits(spec: Spec, target: Target, case: Case) -> bool:
    """Whether a target can be asked about a case, which is legal and has one answer."""
    return applicable(spec, target, case) and not spec.why_not(case) and has_answer(spec, case)
