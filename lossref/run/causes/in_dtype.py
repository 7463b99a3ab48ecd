"""Failures in one dtype alone: in float64 the target is right on the very case, so they have a cause of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lossref.checks.attempts import Attempt
from lossref.core.nouns import Array, Case, Spec
from lossref.run.causes.explain.quantity import Quantity, quantity_of
from lossref.run.causes.explain.unknown import BEGIN
from lossref.run.causes.explain.variants.mistakes import Variant, changed
from lossref.run.causes.explain.whole.sizes import positives
from lossref.run.causes.judged import Tracing

MOST = 2  # failing cases that are looked at
SHARE = 0.01  # of the error in the dtype that may be there in float64, too, or be left of it by a claim
NARROW = ("float32",)


def alone(tracing: Tracing, kind: str, cases: Sequence[Case], dtype: str) -> str:
    """One sentence about what fails in a dtype while float64 is right; nothing where float64 fails as much.

    Held against the reference in both dtypes: what it gives in the narrow one, too, is owed to the dtype.
    """
    if dtype not in NARROW:
        return ""
    what = quantity_of(tracing.spec, kind)
    found = [_of_case(tracing, what, case, dtype) for case in cases[:MOST]]
    if not found or not all(found):
        return ""
    return found[0] if len({*found}) == 1 else _right_in_float64(what)


def _of_case(tracing: Tracing, what: Quantity, case: Case, dtype: str) -> str:
    known, target, own = tracing.known, tracing.held, tracing.known.own
    attempts = [known.of(who, case, dtype=one) for one in ("float64", dtype) for who in (target, own)]
    numbers = [x.ravel() for attempt in attempts if attempt and (x := what.of(attempt)) is not None]
    if len(numbers) < len(attempts) or len({x.size for x in numbers}) > 1:
        return ""
    exact, truth, got, mine = numbers
    error = _apart(got, truth)
    if not _apart(exact, truth) <= SHARE * error:
        return ""
    if _apart(got, mine) <= SHARE * error:
        return f"agrees with the formula carried out in {dtype}, which here is not what it is in exact numbers"
    for one in _conventions(tracing):
        found = known.of(one.who, case, one.change, dtype)
        theirs = None if found is None else what.of(found)
        if theirs is not None and theirs.size == got.size and _apart(got, theirs.ravel()) <= SHARE * error:
            return f"{one.sentence}, in {dtype} alone"
    return _right_in_float64(what) + _decision(tracing.spec, attempts[1], attempts[2])


def _conventions(tracing: Tracing) -> Iterator[Variant]:
    """Named choices that come to the same in exact numbers, but not in a narrow type: there something underflows."""
    every = changed(tracing.spec, tracing.held, tracing.known.own, tracing.settings)
    return (one for one in every if any(isinstance(value, str) for value in one.change.values()))


def _right_in_float64(what: Quantity) -> str:
    return f"{BEGIN}{what.words} is right in float64 on the same cases"


def _apart(one: Array, other: Array) -> float:
    return float(np.nan_to_num(np.abs(one - other), nan=np.inf).max(initial=0.0))


def _decision(spec: Spec, truth: Attempt | None, got: Attempt | None) -> str:
    """Whether other anchors, or queries, are positive than in truth."""
    for name, want, mine in zip(spec.wrt, truth.gradients, got.gradients, strict=False) if truth and got else ():
        both = [positives(spec.inputs[name].axes, x) for x in (want, mine)]
        if both[0] and both[1] and not np.array_equal(both[0][1], both[1][1]):
            return f", other {both[0][0]} have a gradient to {name}"
    return ""
