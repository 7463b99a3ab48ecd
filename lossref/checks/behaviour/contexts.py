"""The check contexts: a call means the same wherever in a program it stands."""

from __future__ import annotations

from lossref.checks.evidence import Evidence, compare_gradients, compare_values, fitted, with_zeros, wrong
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.probe import Result, TargetRaised, ask, call_of, result_of
from lossref.hosts.worker.messages import Returned
from lossref.hosts.worker.tensors import CONTEXTS, COPIED, FORMS, TWICE
from lossref.oracle.budgets import gradient_budget, value_budget

WITHOUT = ("without gradients", "in inference mode")
OTHER_DTYPE = "under a default dtype of float64"
WORDS = (*CONTEXTS, *FORMS, TWICE, COPIED)


def contexts(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The same numbers without gradients, under another default dtype, on leaves or not, in a copy, once more."""
    wrt = spec.wrt if target.gradients else ()
    words = [word for word in WORDS if wrt or word not in (*FORMS, TWICE)]
    calls = [call_of(spec, case.inputs, dtype, wrt)]
    calls += [call_of(spec, case.inputs, dtype, () if word in WITHOUT else wrt, context=word) for word in words]
    first, *others = ask(spec, target, case, calls).returned
    own = result_of(first)
    return sum((_same(spec, case, dtype, own, word, one) for word, one in zip(words, others, strict=True)), Evidence())


def _same(spec: Spec, case: Case, dtype: str, own: Result, word: str, one: Returned) -> Evidence:
    """The call in one context beside the plain one."""
    try:
        result = result_of(one)
    except TargetRaised as error:
        if word == OTHER_DTYPE:
            return Evidence(0, 0.0, 1)  # dtypes that it does not combine are refused loudly, which is no wrong number
        return wrong(f"raised {error} {word}", kind=f"raises {str(error).partition(':')[0]} {word}")
    room = fitted(value_budget(spec, case, dtype), own.value)
    found = compare_values(spec, own.shapes, result.value, own.value, room, after=f" {word}")
    if own.gradient and word not in WITHOUT:
        want = with_zeros(own.gradient, case)
        found += compare_gradients(spec, result, want, gradient_budget(spec, case, dtype), after=f" {word}")
    return found.kept_apart(f" {word}")
