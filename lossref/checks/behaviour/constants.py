"""What needs no gradient, in other dtypes: in float64 beside float32, and as whole numbers of every kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lossref.checks.evidence import Evidence, compare_values, fitted
from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.probe import Result, ask, call_of, result_of
from lossref.hosts.worker.messages import Call, Returned

WIDE, WHOLE = ("int64",), ("int64", "uint8", "bool")  # the area of a box overflows in 8 bits wherever it is worked out
EITHER = 8.0  # what cancels between inputs that are rounded alike does not where one of them is not
Known = Callable[[Case, Array], tuple[Array, Array]]


def other_constants(spec: Spec, target: Target, case: Case, dtype: str, known: Known) -> Evidence:
    """The value beside that with constants in another dtype, where they are legal: it may be refused.

    Where every input can have a gradient, all but the first are taken for constants, of wide dtypes. `known` gives the
    truth of a case and what rounding may do, or the answer in place of the truth where nobody knows it.
    """
    floating = [name for name, domain in spec.inputs.items() if not domain.dtype]
    constants = [name for name in floating if name not in spec.wrt]
    names, possible = (constants, WHOLE) if constants else (floating[1:], WIDE)
    if not names or spec.composite or not spec.wrt:
        return Evidence()
    whole = replace(case, inputs={name: np.round(x) if name in names else x for name, x in case.inputs.items()})
    plain = call_of(spec, case.inputs, dtype)
    asked = [("with constants in float64", in_dtype(plain, names, "float64"))]
    if not spec.why_not(whole):
        usual = call_of(spec, whole.inputs, dtype)
        kinds = [kind for kind in possible if all(_holds(kind, whole.inputs[name]) for name in names)]
        asked += [("", usual), *((f"with constants in {kind}", in_dtype(usual, names, kind)) for kind in kinds)]
    first, mixed, *rest = ask(spec, target, case, [plain, *(one for _, one in asked)]).returned
    pairs = [(case, first, asked[0][0], mixed)]
    pairs += [(whole, rest[0], word, one) for (word, _), one in zip(asked[2:], rest[1:], strict=True)] if rest else []
    return sum((_beside(spec, known, *pair) for pair in pairs), Evidence())


def near(spec: Spec, one: Result, want: Result, room: Array, word: str) -> Evidence:
    """The numbers of one call beside those of another; what is no number is left out."""
    got = one.value
    if got.size == want.value.size:
        true = want.value.reshape(got.shape)
        got = np.where(np.isfinite(got) & np.isfinite(true), got, true)
    return compare_values(spec, want.shapes, got, want.value, fitted(room, want.value), after=word).kept_apart(word)


def in_dtype(call: Call, names: Sequence[str], kind: str) -> Call:
    """The call with some of its inputs in another dtype."""
    return replace(call, dtypes={**call.dtypes, **dict.fromkeys(names, kind)})


def _holds(kind: str, x: Array) -> bool:
    """Whether a dtype has all of these numbers."""
    with np.errstate(invalid="ignore"):
        return bool(np.array_equal(x.astype(kind).astype(np.float64), x))


def _beside(spec: Spec, known: Known, case: Case, usual: Returned, word: str, one: Returned) -> Evidence:
    """One that is nearer to the truth than the usual answer is none the worse for it."""
    if usual.raised or one.raised:
        return Evidence(0, 0.0, 1)
    want, got = result_of(usual), result_of(one)
    truth, room = known(case, want.value)
    if got.value.size == want.value.size == truth.size:
        shape, room = got.value.shape, fitted(room, want.value)
        right = np.abs(got.value - truth.reshape(shape)) <= room.reshape(shape)
        got = replace(got, value=np.where(right, want.value.reshape(shape), got.value))
    return near(spec, got, want, EITHER * room, f" {word}")
