"""The check contexts: a call means the same wherever in a program it stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lossref.checks.evidence import Evidence, compare_gradients, compare_values, fitted, with_zeros, wrong
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.probe import Result, TargetRaised, ask, call_of, result_of
from lossref.hosts.worker.messages import Call, Returned
from lossref.hosts.worker.state import AUTOCAST, CONTEXTS
from lossref.hosts.worker.tensors import COPIED, FORMS, TWICE
from lossref.oracle.budgets import gradient_budget, value_budget

WITHOUT = ("without gradients", "in inference mode")
OTHER_DTYPE = "under a default dtype of float64"
WORDS = (*CONTEXTS, *AUTOCAST, *FORMS, TWICE, COPIED)
LABELS = ("int32", "int16", "uint8", "float32")


def contexts(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The same numbers without gradients, under another default dtype, on leaves or not, in a copy, once more.

    And with labels in other dtypes that hold them: what it does not take it may refuse, but not answer otherwise.
    Under autocast it has to answer; whether products are rounded there is its own business, but for lossref's own.
    """
    wrt = spec.wrt if target.gradients else ()
    words = [word for word in WORDS if wrt or word not in (*FORMS, TWICE)]
    plain = call_of(spec, case.inputs, dtype, wrt)
    calls = {word: replace(plain, wrt=() if word in WITHOUT else wrt, context=word) for word in words}
    calls |= {f"on labels in {kind}": in_kind for kind in LABELS if (in_kind := _labelled(spec, plain, kind))}
    first, *others = ask(spec, target, case, [plain, *calls.values()]).returned
    own = result_of(first)
    found = (_same(spec, target, case, dtype, own, *pair) for pair in zip(calls, others, strict=True))
    return sum(found, Evidence())


def _labelled(spec: Spec, call: Call, kind: str) -> Call | None:
    """The same with its whole numbers in another dtype; None if there are none, or one that it cannot hold."""
    names = [name for name, domain in spec.inputs.items() if domain.dtype == "int64"]
    if not names or not all(np.array_equal(call.inputs[name].astype(kind), call.inputs[name]) for name in names):
        return None
    return replace(call, dtypes={**call.dtypes, **dict.fromkeys(names, kind)})


def _same(spec: Spec, target: Target, case: Case, dtype: str, own: Result, word: str, one: Returned) -> Evidence:
    """The call in one context beside the plain one."""
    try:
        result = result_of(one)
    except TargetRaised as error:
        if word == OTHER_DTYPE or word not in WORDS:
            return Evidence(0, 0.0, 1)  # dtypes that it does not combine are refused loudly, which is no wrong number
        return wrong(f"raised {error} {word}", kind=f"raises {str(error).partition(':')[0]} {word}")
    if word in AUTOCAST and not target.trusted:
        return Evidence(own.value.size)
    room = fitted(value_budget(spec, case, dtype), own.value)
    found = compare_values(spec, own.shapes, result.value, own.value, room, after=f" {word}")
    for name, was, now in one.moved:
        found += wrong(f"{name} was {was} before the call and is {now} after it", kind=f"state {name}")
    if own.gradient and word not in WITHOUT:
        want = with_zeros(own.gradient, case)
        found += compare_gradients(spec, result, want, gradient_budget(spec, case, dtype), after=f" {word}")
    return found.kept_apart(f" {word}")
