"""The check laws: what holds for any input is asked of a target with numbers that nobody has computed before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lossref.checks.evidence import Evidence, beside, wrong
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import TargetRaised, call_of, call_on
from lossref.hosts.worker.messages import Call
from lossref.oracle.budgets import value_budget


def laws(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """What holds for any input: symmetries, bounds, independence."""
    tol = value_budget(spec, case, dtype)

    f = questions(spec, dtype, tol, lambda one: call_on(spec, target, case, one).value)
    own = f(case.inputs)
    if own is not None and own.shape != tol.shape:
        return wrong(f"returned {own.size} numbers, expected {tol.size}: no law can be examined")
    total = Evidence()
    for law in spec.laws:
        total = beside(total, partial(_law, law, f, case, tol))
    return total


def questions(spec: Spec, dtype: str, tol: Array, give: Callable[[Call], Array]) -> Callable[..., Array | None]:
    """What a law calls: the numbers that are given to inputs; None where one has another dtype, which is refused."""

    def f(inputs: Mapping[str, Array], **dtypes: str) -> Array | None:
        one = call_of(spec, inputs, dtype)
        try:
            out = give(replace(one, dtypes={**one.dtypes, **dtypes}))
        except TargetRaised:
            if dtypes:
                return None
            raise
        return out.reshape(tol.shape) if out.size == tol.size else out

    return f


def _law(law: Callable[..., str | None], f: Callable[..., Array | None], case: Case, tol: Array) -> Evidence:
    broken = law(f, case.inputs, case.params, tol)
    return wrong(f"{law_name(law)}: {broken}", kind=f"law {law_name(law)}") if broken else Evidence(1)


def law_name(law: Callable[..., Any]) -> str:
    """A law's name for people."""
    return law.__name__.replace("_", " ")
