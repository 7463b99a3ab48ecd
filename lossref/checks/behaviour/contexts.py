"""The check contexts: a call means the same wherever in a program it stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lossref.checks.behaviour.constants import in_dtype, near, other_constants
from lossref.checks.cases.kinds import is_moderate
from lossref.checks.evidence import Evidence, compare_gradients, compare_values, fitted, with_zeros, wrong
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import Result, TargetRaised, ask, call_of, result_of
from lossref.hosts.worker.messages import Call, Returned
from lossref.hosts.worker.state import AUTOCAST, CONTEXTS
from lossref.hosts.worker.tensors import (
    ALIASED,
    AS_EVALUATED,
    BATCHES,
    BESIDE,
    BETWEEN,
    CHANNELS_LAST,
    COPIED,
    DOUBLED,
    EVALUATED,
    FORMS,
    IMAGES,
    LOADED,
    PICKLED,
    REFILLED,
    TRAINED,
    TWICE,
    VIEWS,
)
from lossref.oracle.answers import true_value
from lossref.oracle.budgets import gradient_budget, room_of, value_budget
from lossref.oracle.tape import Tie, Uncertified

NO_GRADIENT = "of inputs of which none needs a gradient"
WITHOUT = ("without gradients", "in inference mode", REFILLED[1], NO_GRADIENT)
UNASKED = "without gradients, of inputs that need one"
OTHER_DTYPE = "under a default dtype of float64"
OBJECTS = (COPIED, PICKLED, DOUBLED, LOADED, EVALUATED, TRAINED, BESIDE)
WORDS = (*CONTEXTS, *AUTOCAST, *FORMS, REFILLED[0], NO_GRADIENT, TWICE, BETWEEN, *OBJECTS, *BATCHES)
OF_OBJECTS = tuple(word for word in BATCHES if word != AS_EVALUATED)
MAY_REFUSE = (OTHER_DTYPE, PICKLED, DOUBLED, LOADED, *BATCHES)
EVERY = "where every input needs a gradient"
FIRST_ORDER = 0.25  # of the budget: twice what rounding every step does, and 8 units of bfloat16 hide a factor of 2
MILD = 8.0
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
LABELS = ("int32", "int16", "uint8", "float32")


def contexts(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The same numbers without gradients, under another default dtype, on leaves or not, in a copy, once more.

    Also of a module in evaluation mode, pickled, made double or loaded, and beside an object with other settings; on
    tensors that were seen before with other numbers, or one tensor for both inputs. With labels in other dtypes that
    hold them, batches in another form, in half precision, or where what is constant needs a gradient: what it does not
    take it may refuse, but not answer otherwise.
    Under autocast it has to answer; whether products are rounded there is its own business, but for lossref's own.
    """
    wrt = spec.wrt if target.gradients else ()
    unknown = (*(() if wrt else (*FORMS, TWICE, BETWEEN)), *(() if "batch_idx" in spec.inputs else OF_OBJECTS))
    unknown = (*unknown, *(() if any(case.inputs[name].ndim == IMAGES for name in wrt) else (CHANNELS_LAST,)))
    words = [word for word in WORDS if word not in unknown]
    plain = call_of(spec, case.inputs, dtype, wrt)
    calls = {word: replace(plain, wrt=() if word in WITHOUT else wrt, context=word) for word in words}
    calls[DOUBLED] = call_of(spec, case.inputs, "float64", wrt, context=DOUBLED)
    calls |= {f"on labels in {kind}": in_kind for kind in LABELS if (in_kind := _labelled(spec, plain, kind))}
    floating = tuple(name for name, domain in spec.inputs.items() if not domain.dtype)
    calls |= {EVERY: replace(plain, wrt=floating)} if wrt and len(floating) > len(wrt) else {}
    rounded = {kind: _rounded(case, kind) for kind in HALVES if _fits(spec, case, kind)}
    halves = [call_of(spec, inputs, each, wrt) for kind, inputs in rounded.items() for each in (kind, dtype)]
    twice = replace(calls[DOUBLED], context="")
    first, double, *others = ask(spec, target, case, [plain, twice, *calls.values(), *halves]).returned
    own = {word: result_of(first) for word in calls} | ({} if double.raised else {DOUBLED: result_of(double)})
    pairs = zip(calls, others, strict=False)
    found = sum((_same(spec, target, case, dtype, own[word], word, one) for word, one in pairs), Evidence())
    rest = others[len(calls) :]
    found += _one_for_both(spec, target, case, dtype)
    found += other_constants(spec, target, case, dtype, lambda one, value: _known(spec, one, dtype, value))
    return found + sum(
        (_in_half(spec, case, *one) for one in zip(rounded, rest[::2], rest[1::2], strict=True)), Evidence()
    )


def _known(spec: Spec, case: Case, dtype: str, value: Array) -> tuple[Array, Array]:
    """The truth, or the answer where it is not certain, and what rounding may do."""
    room = room_of(spec, case, dtype, value)
    try:
        return true_value(spec, case), room
    except (Tie, Uncertified):
        return value, room


def _one_for_both(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """What takes two inputs of one kind, given one tensor for both, beside two that are equal."""
    inputs = dict.fromkeys(spec.inputs, next(iter(case.inputs.values())))
    if len(inputs) != 2 or spec.why_not(replace(case, inputs=inputs)) or any(one.dtype for one in spec.inputs.values()):
        return Evidence()
    two = call_of(spec, inputs, dtype)
    words = (ALIASED, VIEWS)
    apart, *both = ask(spec, target, case, (two, *(replace(two, context=word) for word in words))).returned
    if apart.raised:
        return Evidence()
    own, pairs = result_of(apart), zip(words, both, strict=True)
    return sum((_same(spec, target, case, dtype, own, word, one) for word, one in pairs), Evidence())


def _labelled(spec: Spec, call: Call, kind: str) -> Call | None:
    """The same with whole numbers, or flags as floats, in another dtype; None if there are none, or one is lost."""
    kinds = ("int64", "bool") if kind.startswith("float") else ("int64",)
    names = [name for name, domain in spec.inputs.items() if domain.dtype in kinds]
    if not names or not all(np.array_equal(call.inputs[name].astype(kind), call.inputs[name]) for name in names):
        return None
    return in_dtype(call, names, kind)


def _fits(spec: Spec, case: Case, kind: str) -> bool:
    """Whether what is worked out on the way fits a half precision; float16 has no room for a product of eight sides."""
    largest = max(float(np.abs(x).max(initial=0.0)) for x in case.inputs.values())
    return is_moderate(spec, case) and (kind != "float16" or largest <= MILD)


def _rounded(case: Case, kind: str) -> dict[str, Array]:
    return {name: torch.tensor(x).to(HALVES[kind]).double().numpy() for name, x in case.inputs.items()}


def _under_autocast(spec: Spec, case: Case, own: Result, word: str, result: Result) -> Evidence:
    """What rounds its products to half precision gives about the same, where numbers are moderate."""
    if not is_moderate(spec, case) or result.value.size != own.value.size:
        return Evidence(own.value.size)
    return near(spec, result, own, FIRST_ORDER * value_budget(spec, case, "bfloat16"), f" {word}")


def _in_half(spec: Spec, case: Case, kind: str, one: Returned, usual: Returned) -> Evidence:
    """The answer to inputs in half precision beside that to the same numbers in float32, in units of half precision.

    What is refused, or no number, is left out.
    """
    if one.raised or usual.raised:
        return Evidence(0, 0.0, 1)
    word, got, want = f" on inputs in {kind}", result_of(one), result_of(usual)
    budget = fitted(value_budget(spec, case, kind), want.value)
    if not (budget <= np.abs(want.value)).all():
        return Evidence(0, 0.0, 1)  # steps in another order may round to anything there
    found = near(spec, got, want, FIRST_ORDER * budget, word)
    if not np.isfinite(got.value).all() or any(np.abs(case.inputs[name]).max(initial=0.0) > MILD for name in spec.wrt):
        return found  # it has left the range of its dtype on the way, as a sigmoid does at 10, and its slope is 0
    return found + _slopes_in_half(spec, case, kind, got, want).kept_apart(word)


def _slopes_in_half(spec: Spec, case: Case, kind: str, got: Result, want: Result) -> Evidence:
    """The same of the gradients; at a kink of the rounded numbers nothing is asked."""
    if not (got.gradient and want.gradient):
        return Evidence()
    try:
        rooms = gradient_budget(spec, replace(case, inputs=_rounded(case, kind)), kind)
    except (Tie, Uncertified):
        return Evidence()
    true = with_zeros(want.gradient, case)
    mine = {name: g if g is None else np.where(np.isfinite(g), g, true[name]) for name, g in got.gradient.items()}
    rooms = {name: FIRST_ORDER * room for name, room in rooms.items()}
    return compare_gradients(spec, replace(got, gradient=mine), true, rooms, after=f" on inputs in {kind}")


def _same(spec: Spec, target: Target, case: Case, dtype: str, own: Result, word: str, one: Returned) -> Evidence:
    """The call in one context beside the plain one."""
    try:
        result = result_of(one)
    except TargetRaised as error:
        if word in MAY_REFUSE or word not in (*WORDS, ALIASED, VIEWS):
            return Evidence(0, 0.0, 1)  # dtypes that it does not combine are refused loudly, which is no wrong number
        return wrong(f"raised {error} {word}", kind=f"raises {str(error).partition(':')[0]} {word}")
    if word in AUTOCAST and not target.trusted:
        return _under_autocast(spec, case, own, word, result)
    room = fitted(value_budget(spec, case, dtype), own.value)
    found = compare_values(spec, own.shapes, result.value, own.value, room, after=f" {word}")
    if own.gradient and word not in (*WITHOUT, UNASKED, ALIASED, VIEWS):
        want = with_zeros(own.gradient, case)
        found += compare_gradients(spec, result, want, gradient_budget(spec, case, dtype), after=f" {word}")
    found = found.kept_apart(word)
    for name, was, now in one.moved:
        found += wrong(f"{name} was {was} before the call and is {now} after it", kind=f"state {name} {word}")
    return found
