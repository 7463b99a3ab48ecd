"""Whether a claim that was found on other cases is that of a row, too: it has to have the target's numbers there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np

from lossref.checks.attempts import Attempt
from lossref.core.nouns import Case
from lossref.run.causes.explain import Shown
from lossref.run.causes.explain.memory import memory_of
from lossref.run.causes.explain.quantity import Quantity, Told, quantity_of, reproduces
from lossref.run.causes.explain.unknown import BEGIN
from lossref.run.causes.explain.variants.mistakes import changed
from lossref.run.causes.judged import Tracing, given_time

MOST = 2  # failing cases that are looked at
ROUNDED = 2.0**-16  # of the largest number: what large cases may be apart
ONLY = re.compile(r", at (\w+) = (.+?) only$")


def covered(tracing: Tracing, kind: str, cases: Sequence[Case], claim: str) -> str:
    """The claim, or that nothing is known where it does not have the numbers of these cases."""
    only = ONLY.search(claim)
    elsewhere = only and any(repr(case.params.get(only[1])) != only[2] for case in cases[:MOST])
    what = quantity_of(tracing.spec, kind)
    otherwise = f"{BEGIN}{what.words} is wrong here for another reason than on small cases"
    if elsewhere:
        return otherwise

    def said() -> str:
        return claim if all(_holds(tracing, what, case, claim) for case in cases[:MOST]) else otherwise

    given = list[tuple[Case, Attempt | None]]()
    with given_time(tracing.job):
        given = [(case, tracing.known.of(tracing.held, case)) for case in cases[:MOST]]
    about, limit = ("covered", kind, tracing.change, claim), partial(given_time, tracing.job)
    return (given and tracing.recalled.in_a_row(tracing.held, about, given, said, limit)) or claim


def there_alone(tracing: Tracing, kind: str, cases: Sequence[Case]) -> str:
    """The named choice that has the target's numbers on large cases, where small ones tell of none; else nothing.

    An implementation may go another way from some size on.
    """
    spec, known, what = tracing.spec, tracing.known, quantity_of(tracing.spec, kind)
    told = [_told(what, tracing.shown(case)) for case in cases[:MOST]]
    wrong = [one for one in told if one is not None and one.apart]
    if not wrong or len(wrong) < len(told):
        return ""
    every = changed(spec, tracing.held, known.own, tracing.settings, again=True)
    named = [one for one in every if any(isinstance(value, str) for value in one.change.values())]
    fits = (one.sentence for one in named if reproduces(one.on(what, known), wrong))
    return next((f"{said}, on such large cases alone" for said in fits), "")


def _holds(tracing: Tracing, what: Quantity, case: Case, claim: str) -> bool:
    """Whether the claim gives the numbers of a case; a claim that cannot speak of it is believed."""
    told, claims = _told(what, tracing.shown(case)), memory_of(tracing.known).claims
    kept = next((kept for sentence, kept in claims.items() if sentence in claim), None)
    if told is None or kept is None or not kept.able(told):
        return True
    return reproduces(partial(kept.gives, what), [told])


def _told(what: Quantity, shown: Shown) -> Told | None:
    got, want = (what.of(one) if one else None for one in (shown.got, shown.want))
    if got is None or want is None:
        return None
    largest = float(np.nan_to_num(np.abs(want)).max(initial=0.0))
    return Told(shown, got, want, np.full(want.shape, ROUNDED * max(largest, 1.0)))
