"""Whether a target can compute in a dtype at all, and in which dtype a row is judged instead where it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from lossref.checks.cases.limits import limited
from lossref.checks.material import fixed_of, material
from lossref.checks.table import Check, examine
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.command import CannotAnswer
from lossref.hosts.endings import TargetEnded
from lossref.hosts.probe import TargetRaised, applicable, call, itself

CASES = 8  # each of them has to raise
KINDS = ("corner", "single", "small")
INSTEAD = {"float64": "float32", "float32": "float64"}


def cannot(spec: Spec, target: Target, dtype: str) -> str:
    """A sentence if the target raises on every case in a dtype and not in the other one; nothing where it can.

    One that answers is asked once. One that raises in both, or ends its process, is judged like any other.
    """
    if dtype not in target.dtypes or INSTEAD[dtype] not in target.dtypes:
        return ""
    try:
        first = _raised_always(spec, target, dtype)
        alone = bool(first) and not _raised_always(spec, target, INSTEAD[dtype])
    except (TargetEnded, CannotAnswer):
        return ""
    return f"cannot compute in {dtype}: {first}" if alone else ""


def _raised_always(spec: Spec, target: Target, dtype: str) -> str:
    """What it raises on the first of a few cases; nothing as soon as it answers one of them, or if there are none."""
    first = ""
    for case in islice(_cases(spec, target), CASES):
        try:
            call(spec, target, case, dtype)
        except TargetRaised as error:
            first = first or str(error)
        else:
            return ""
    return first


def _cases(spec: Spec, target: Target) -> Iterator[Case]:
    fixed, drawn_from = fixed_of(spec, target.fixed), limited(spec, target)
    found = (case for kind in KINDS for case in material(drawn_from, kind, "quick", 0, fixed))
    return (case for case in found if applicable(spec, target, case))


def judged_in(one: Check, dtype: str, unable: Mapping[str, str]) -> str:
    """The dtype in which a row is judged: its own, the other one if the check has no row in that, or none.

    unable: the dtypes that the target cannot compute in, with the sentence of each
    """
    if not unable.get(dtype):
        return dtype
    return "" if INSTEAD[dtype] in one.dtypes else INSTEAD[dtype]


def fair(one: Check, spec: Spec, cases: Sequence[Case], dtype: str) -> list[Case]:
    """The cases that a check may be judged on in a dtype that it has no row in: those that the reference passes.

    In float32 a law may turn an angle by more than its tolerance, and a small eps may overflow.
    """
    return [case for case in cases if not examine(one, spec, itself(spec), case, dtype).problem]
