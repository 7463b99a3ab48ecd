"""The check laws: what holds for any input is asked of a target with numbers that nobody has computed before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lossref.checks.evidence import Evidence, beside, wrong
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import TargetRaised, call_of, call_on
from lossref.oracle.budgets import value_budget


def laws(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """What holds for any input: symmetries, bounds, independence."""
    tol = value_budget(spec, case, dtype)

    def f(inputs: Mapping[str, Array], **dtypes: str) -> Array | None:
        """The numbers; None where an input has another dtype than its own, and that is refused."""
        one = call_of(spec, inputs, dtype)
        try:
            out = call_on(spec, target, case, replace(one, dtypes={**one.dtypes, **dtypes})).value
        except TargetRaised:
            if dtypes:
                return None
            raise
        return out.reshape(tol.shape) if out.size == tol.size else out

    own = f(case.inputs)
    if own is not None and own.shape != tol.shape:
        return wrong(f"returned {own.size} numbers, expected {tol.size}: no law can be examined")
    total = Evidence()
    for law in spec.laws:
        total = beside(total, partial(_law, law, f, case, tol))
    return total


def _law(law: Callable[..., str | None], f: Callable[..., Array | None], case: Case, tol: Array) -> Evidence:
    broken = law(f, case.inputs, case.params, tol)
    return wrong(f"{law_name(law)}: {broken}", kind=f"law {law_name(law)}") if broken else Evidence(1)


def law_name(law: Callable[..., Any]) -> str:
    """A law's name for people."""
    return law.__name__.replace("_", " ")
