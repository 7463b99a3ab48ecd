"""Checks of manners: connected, dtype, pure, state, repeatable, strides. Same form as the checks of numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lossref.checks.evidence import (
    Evidence,
    Problem,
    beside,
    compare_gradients,
    compare_values,
    fitted,
    require_gradients,
    with_zeros,
    wrong,
)
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.command import CannotAnswer
from lossref.hosts.probe import Result, TargetRaised, ask, call, call_of, result_of
from lossref.hosts.worker.messages import Call, Returned
from lossref.oracle.budgets import UNIT, gradient_budget, room_of, value_budget

NO_GRAPH = ("without gradients", "in inference mode")  # contexts in which memory can be written to again unseen
ROUGHLY = 2.0**-10  # of the largest
FIRST = "the first call "  # how what is said of it begins, and its kind of failure


def connected(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Every input that can be differentiated gets a gradient: zeros at least, never None."""
    require_gradients(target)
    found = call(spec, target, case, dtype, grad=True).gradient
    missing = [name for name in spec.wrt if found.get(name) is None]
    if missing:
        return wrong(f"no gradient reaches {', '.join(missing)} (None instead of zeros), which an optimiser skips")
    return Evidence(len(spec.wrt))


def keeps_dtype(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Output and gradients have the dtype of the inputs."""
    got = call(spec, target, case, dtype, grad=True)
    floating = [(term, found) for term, found in zip(spec.terms, got.dtypes, strict=True) if "float" in found]
    total = Evidence(len(got.dtypes) + len(got.gradient_dtype))
    for term, found in floating:
        where = f" for {term}" if len(spec.terms) > 1 else ""
        if found != dtype:
            total += wrong(f"{dtype} inputs give {found}{where}, expected {dtype}", 0, f"dtype of {term}")
    return total


def pure(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """No input is written to, neither its numbers nor what autograd knows of it."""
    ways = dict.fromkeys(((), spec.wrt if target.gradients else ()))  # a backward can write, too
    calls = [call_of(spec, case.inputs, dtype, wrt) for wrt in ways]
    returned = ask(spec, target, case, calls, watch=True).returned
    result_of(returned[0])
    said = [wrong(one, kind=f"writes {one.partition(' ')[0]}") for found in returned for one in found.written]
    return sum(said, Evidence()) if said else Evidence(len(spec.inputs))


def state(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """A call changes nothing that outlives it: no attribute, no setting of torch, no random state, no handler."""
    kinds, wrt = ("float16", "float32", "float64"), spec.wrt if target.gradients else ()
    calls = [call_of(spec, case.inputs, kind, wrt if kind == dtype else ()) for kind in kinds]
    reply = ask(spec, target, case, calls, watch=True)
    result_of(reply.returned[kinds.index(dtype)])
    if not reply.changed:
        return Evidence(3)
    total = Evidence()
    for name, before, after in reply.changed:
        was, now = _apart(before, after)
        total += wrong(f"{name} was {was} before the calls and is {now} after them", kind=f"state {name}")
    return total


def _apart(one: str, other: str, room: int = 60) -> tuple[str, str]:
    """Both texts, cut to a length, from a little before they differ."""
    alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    start = alike - room // 3 if alike > room // 2 else 0

    def cut(text: str) -> str:
        return ("..." if start else "") + text[start : start + room] + ("..." if len(text) > start + room else "")

    return cut(one), cut(other)


def repeatable(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The same call gives the same result: the first of all, a second one, and one after other inputs and dtypes."""
    turned = {name: array[..., ::-1].copy() if array.ndim else array for name, array in case.inputs.items()}
    others = [(turned, dtype), *((case.inputs, kind) for kind in ("float32", "float64", "float16"))]
    asked = [(case.inputs, dtype)] * 2 + others + [(case.inputs, dtype)]
    returned = ask(spec, target, case, [call_of(spec, inputs, kind) for inputs, kind in asked]).returned
    first, again, later = (result_of(returned[number]) for number in (0, 1, -1))
    gone = {*returned[0].fleeting, *_overwritten(spec, target, case, turned, dtype)}
    changed = "the tensor that a call returned was changed by a later call"
    found = sum((wrong(f"{term}: {changed}", kind=f"fleeting {term}") for term in sorted(gone)), Evidence())
    budget = fitted(value_budget(spec, case, dtype), first.value)
    found += compare_values(spec, first.shapes, again.value, first.value, budget, after=" of the second call")
    after = " of the call after other calls"
    found += compare_values(spec, first.shapes, later.value, first.value, budget, after=after)
    return found + as_at_first(spec, target, case, f"repeatable {dtype}")


def _overwritten(spec: Spec, target: Target, case: Case, turned: Mapping[str, Array], dtype: str) -> set[str]:
    """The terms that a second call overwrites where no gradient is kept, or where one is."""
    ways: list[dict[str, Any]] = [{"context": word} for word in NO_GRAPH]
    ways += [{"wrt": spec.wrt}] if spec.wrt and target.gradients else []
    calls = [call_of(spec, inputs, dtype, **how) for how in ways for inputs in (case.inputs, turned)]
    try:
        returned = ask(spec, target, case, calls).returned
    except CannotAnswer:  # a peer in another language has no such contexts
        return set()
    return {term for one in returned[::2] for term in one.fleeting}


def as_at_first(spec: Spec, target: Target, case: Case, row: str) -> Evidence:
    """Whether what was asked first of all is answered now as it was then; looked at on the first case of a row.

    Before anything is checked it is found out which notation and which dtypes a target knows: such a question is the
    first call of its process, and no check sees the answer.
    """
    if target.story is None or target.story.shown_on.setdefault(row, case) is not case:
        return Evidence()
    firsts = list(target.story.firsts.values())
    return sum((_beside_first(spec, target, *one) for one in firsts), Evidence())


def _beside_first(spec: Spec, target: Target, case: Case, one: Call, then: Returned) -> Evidence:
    now = ask(spec, target, case, (one,)).returned[0]
    if then.raised or now.raised:
        return Evidence() if then.raised and now.raised else wrong(_raised_once(then.raised, now.raised), kind=FIRST)
    first, again = result_of(then), result_of(now)
    room = room_of(spec, case, _dtype_of(one), again.value)
    found = compare_values(spec, first.shapes, first.value, again.value, room)
    if not found.problems:
        return Evidence()
    what, _, numbers = found.problem.partition(": ")
    told = f"{FIRST}gave another {what} than the same call later: {numbers}"
    return Evidence(0, found.worst, 0, (Problem(FIRST, told, found.detail),))


def _raised_once(then: str, now: str) -> str:
    """One call that raised and one that did not."""
    return f"{FIRST}raised {then}, the same call later did not" if then else f"{FIRST}raised nothing, later {now}"


def _dtype_of(one: Call) -> str:
    """The dtype that a call was made in."""
    return next((kind for kind in one.dtypes.values() if kind in UNIT), "float32")


def strides(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Inputs, and a gradient from above, that are no contiguous memory give what contiguous copies give."""
    own = call(spec, target, case, dtype, grad=True)
    want = with_zeros(own.gradient, case)
    budget, total = fitted(value_budget(spec, case, dtype), own.value), Evidence()
    rooms = gradient_budget(spec, case, dtype) if own.gradient else {}

    def on(label: str, one: Returned) -> Evidence:
        result, after = _laid_out(one, label), f" on {label}"
        found = compare_values(spec, own.shapes, result.value, own.value, budget, after=after)
        return found + compare_gradients(spec, result, want, rooms, after=after) if own.gradient else found

    listed, wrt = (*LAYOUTS, *_one_by_one(spec)), spec.wrt if target.gradients else ()
    calls = [call_of(spec, case.inputs, dtype, wrt, **how) for _, how in listed]
    for (label, _), one in zip(listed, ask(spec, target, case, calls).returned, strict=True):
        total = beside(total, partial(on, label, one))
    if spec.composite:
        return total
    total = beside(total, partial(_expanded, spec, target, case, dtype))
    return beside(total, partial(_each_expanded, spec, target, case, dtype)) if len(spec.inputs) > 1 else total


LAYOUTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("transposed input", {"layout": "transposed"}),
    ("sliced input", {"layout": "sliced"}),
    ("a sliced gradient from above", {"upstream": "sliced"}),
    ("a transposed gradient from above", {"upstream": "transposed"}),
)


def _one_by_one(spec: Spec) -> list[tuple[str, dict[str, str]]]:
    """One input of several that lies in memory as no other does."""
    names = () if spec.composite or len(spec.inputs) == 1 else tuple(spec.inputs)
    return [(f"transposed {name} alone", {"layout": "transposed", "alone": name}) for name in names]


def _laid_out(one: Returned, label: str) -> Result:
    try:
        return result_of(one)
    except TargetRaised as error:
        raise TargetRaised(f"{error} (on {label})") from error


def _expanded(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """Every input is its first row, repeated without memory of its own."""
    repeated = replace(case, inputs={name: _first_row(x) for name, x in case.inputs.items()})
    plain = call_of(spec, repeated.inputs, dtype)
    usual, one = ask(spec, target, case, [plain, replace(plain, layout="expanded")]).returned
    want, got = result_of(usual), _laid_out(one, "expanded input")
    budget = fitted(value_budget(spec, repeated, dtype), want.value)
    return compare_values(spec, want.shapes, got.value, want.value, budget, after=" on expanded input")


def _first_row(x: Array) -> Array:
    return np.repeat(x[:1], len(x), 0) if x.ndim else x


def _each_expanded(spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """One input of several is its first row, and the others are as they are: value and gradient, about.

    In another order the same numbers may add up to others; what is sought is a row, or a gradient, that is not theirs.
    """
    wrt = spec.wrt if target.gradients else ()
    cases = {name: replace(case, inputs={**case.inputs, name: _first_row(case.inputs[name])}) for name in spec.inputs}
    legal = {name: one for name, one in cases.items() if one.inputs[name].ndim and not spec.why_not(one)}
    plain = [call_of(spec, one.inputs, dtype, wrt) for one in legal.values()]
    laid = [replace(one, layout="expanded", alone=name) for name, one in zip(legal, plain, strict=True)]
    returned = ask(spec, target, case, [*plain, *laid]).returned
    total = Evidence()
    for name, usual, one in zip(legal, returned, returned[len(plain) :], strict=False):
        if not usual.raised:
            total += _alike(spec, legal[name], result_of(one), result_of(usual), f" on expanded {name} alone")
    return total


def _alike(spec: Spec, case: Case, got: Result, want: Result, after: str) -> Evidence:
    found = compare_values(spec, want.shapes, got.value, want.value, _roughly(want.value), after=after)
    if not want.gradient:
        return found
    true = with_zeros(want.gradient, case)
    return found + compare_gradients(spec, got, true, {name: _roughly(x) for name, x in true.items()}, after=after)


def _roughly(x: Array) -> Array:
    return np.full(x.shape, ROUGHLY * np.abs(x[np.isfinite(x)]).max(initial=0.0))
