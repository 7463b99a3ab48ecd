"""Why a law is broken: what else answers the very questions that the law asks as the target does."""

from __future__ import annotations

import numpy as np

from lossref.checks.attempts import at
from lossref.checks.behaviour.laws import law_name, questions
from lossref.checks.table import Failing
from lossref.core.nouns import Array, Case, Params, Spec, Target
from lossref.hosts.probe import TargetRaised, call_on
from lossref.hosts.worker.messages import Call
from lossref.oracle.budgets import value_budget
from lossref.run.causes.explain.variants.mistakes import Variant, changed, mistakes
from lossref.run.causes.judged import Tracing, given_time

MOST = 2  # failing cases whose questions are put to others, too
NEAR = 1e-9
Asked = list[tuple[Call, Array]]


def of_law(tracing: Tracing, failing: Failing) -> str:
    """The setting, or the known mistake, under which the formula answers all that a broken law asks as the target does.

    A law may put input that no oracle takes (a NaN): then values and gradients tell nothing of its cause.
    """
    found = ""
    with given_time(tracing.job):
        found = _of_law(tracing, failing)
    return found


def _of_law(tracing: Tracing, failing: Failing) -> str:
    spec, own = tracing.spec, tracing.known.own
    asked = [(case, _questions(tracing, failing.kind, case)) for case in failing.cases[:MOST]]
    if not asked or _answers_alike(spec, Variant("", own, tracing.settings), asked):
        return ""
    variants = [*changed(spec, tracing.held, own, tracing.settings), *mistakes(spec, tracing.settings)]
    return next((one.sentence for one in variants if _answers_alike(spec, one, asked)), "")


def _questions(tracing: Tracing, kind: str, case: Case) -> Asked:
    """What the law asks of the target on a case, and what that answers."""
    spec, asked = tracing.spec, Asked()
    tol = value_budget(spec, case, "float64")

    def give(one: Call) -> Array:
        found = _given(spec, tracing.held, case, {}, one)
        asked.append((one, found))
        return found

    f = questions(spec, "float64", tol, give)
    for law in spec.laws:
        if kind == f"law {law_name(law)}":
            law(f, case.inputs, case.params, tol)
    return asked


def _given(spec: Spec, who: Target, case: Case, change: Params, one: Call) -> Array:
    return call_on(spec, who, at(case, tuple(change.items())), one).value


def _answers_alike(spec: Spec, one: Variant, asked: list[tuple[Case, Asked]]) -> bool:
    return all(_alike(spec, one, case, call, got) for case, them in asked for call, got in them)


def _alike(spec: Spec, one: Variant, case: Case, call: Call, got: Array) -> bool:
    try:
        mine = _given(spec, one.who, case, one.change, call)
    except TargetRaised:
        return False
    return mine.size == got.size and np.allclose(mine.ravel(), got.ravel(), rtol=NEAR, atol=NEAR, equal_nan=True)
