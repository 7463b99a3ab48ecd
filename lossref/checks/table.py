"""All checks, as one flat tuple, and what a check examines.

A check is a row: its name, the function that examines one case, the kinds of case it is given, and
the dtypes it runs in. `check` runs one of them on a target and returns a `Verdict`.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from lossref.checks import behaviour, numbers
from lossref.checks.evidence import Evidence, wrong
from lossref.checks.material import Fixed, fixed_of, has_kind, material
from lossref.checks.settings import settings
from lossref.core.nouns import Case, Spec, Target, Verdict
from lossref.hosts.probe import TargetRaised, applicable
from lossref.oracle.tape import Tie, Uncertified

Examine = Callable[[Spec, Target, Case, str], Evidence]
BOTH = ("float64", "float32")


class Check(NamedTuple):
    """One row of the table of checks."""

    name: str
    examine: Examine
    kinds: tuple[str, ...]
    dtypes: tuple[str, ...]

    @property
    def doc(self) -> str:
        """What the check asserts, in one line."""
        return (self.examine.__doc__ or "").strip().splitlines()[0]


CHECKS = (
    Check("value", numbers.value, ("corner", "single"), BOTH),
    Check("gradient", numbers.gradient, ("corner", "single"), BOTH),
    Check("kinks", numbers.kinks, ("corner", "single"), BOTH),
    Check("reduced", numbers.reduced, ("small",), BOTH),
    Check("bulk", numbers.bulk, ("bulk",), BOTH),
    Check("rare", numbers.rare, ("rare",), ("float64",)),
    Check("shape", numbers.shape, ("shape",), ("float64",)),
    Check("single", numbers.single, ("one",), ("float32",)),
    Check("empty", numbers.empty, ("empty",), ("float32",)),
    Check("connected", numbers.connected, ("small", "empty"), ("float32",)),
    Check("dtype", numbers.keeps_dtype, ("corner",), BOTH),
    Check("params", numbers.params, ("setting",), ("float64",)),
    Check("laws", numbers.laws, ("small",), ("float64",)),
    Check("pure", behaviour.pure, ("corner", "small"), ("float32",)),
    Check("state", behaviour.state, ("corner",), ("float32",)),
    Check("repeatable", behaviour.repeatable, ("small",), ("float32",)),
    Check("strides", behaviour.strides, ("small",), ("float32",)),
    Check("refuses", behaviour.refuses, ("small",), ("float32",)),
)


class UnknownCheck(LookupError):
    """No check of that name; the message says which there are."""


def matching(pattern: str) -> list[Check]:
    """The checks whose name matches one of the globs, which commas separate; `UnknownCheck` if one matches none."""
    words, names = pattern.split(","), [one.name for one in CHECKS]
    for word in words:
        if not fnmatch.filter(names, word):
            raise UnknownCheck(f"there is no check {word!r}; checks: {', '.join(names)}")
    return [one for one in CHECKS if any(fnmatch.fnmatch(one.name, word) for word in words)]


def named(name: str) -> Check:
    """The check of exactly that name, or `UnknownCheck`."""
    return next(iter(one for one in matching(name) if one.name == name))


def applies(check: Check, spec: Spec) -> bool:
    """Whether the spec has anything that the check could examine."""
    if check.name in ("gradient", "kinks", "connected") and not spec.wrt:
        return False
    if check.name == "kinks":
        return not spec.composite and any(numbers.at_kink(spec, case) for case in answerable_corners(spec))
    return any(has_kind(spec, kind) for kind in check.kinds)


def cases_for(check: Check, spec: Spec, target: Target, tier: str, seed: int) -> list[Case]:
    """The cases that a check is given, in order, less those that the target cannot be asked."""
    fixed = fixed_of(spec, target.fixed)
    found = [case for kind in check.kinds for case in _kind(spec, kind, tier, seed, fixed)]
    return [case for case in found if applicable(spec, target, case)]


def answerable_corners(spec: Spec) -> list[Case]:
    """The corners that have the axes of the spec; the oracle answers no other shapes."""
    return [case for case in material(spec, "corner", "quick", 0) if not spec.why_not(case)]


def _kind(spec: Spec, kind: str, tier: str, seed: int, fixed: Fixed) -> Iterable[Case]:
    if kind == "one":
        return material(spec, "single", tier, seed, fixed)[::10]
    if kind == "setting":
        return settings(spec, tier, seed, fixed)
    return material(spec, kind, tier, seed, fixed)


def examine(check: Check, spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The check's evidence on one case; whatever the target raises is a failure in one line."""
    try:
        return check.examine(spec, target, case, dtype)
    except TargetRaised as error:
        return wrong(f"raised {error}")
    except (Tie, Uncertified):
        return Evidence(0, 0.0, 1)


def check(one: Check, spec: Spec, target: Target, cases: Iterable[Case], dtype: str) -> tuple[Verdict, Case | None]:
    """Run one check over cases until the first failure; returns the verdict and the failing case."""
    begin = time.perf_counter()
    total, failing = Evidence(), None
    for case in cases:
        total += examine(one, spec, target, case, dtype)
        if total.problem:
            failing = case
            break
    status, note = _status(one, target, total)
    took = round(time.perf_counter() - begin, 3)
    verdict = Verdict(
        spec.name,
        target.label,
        one.name,
        dtype,
        status,
        total.examined,
        total.worst,
        total.left_out,
        note,
        seconds=took,
    )
    return verdict, failing


def _status(one: Check, target: Target, total: Evidence) -> tuple[str, str]:
    expected = target.known.get(one.name)
    if total.problem:
        return ("known", f"{total.problem} (known: {expected})") if expected else ("fail", total.problem)
    if total.examined == 0:
        return "inconclusive", "nothing could be examined"
    if expected:
        return "fixed", f"declared as a known failure ({expected}), but it passes: strike it off"
    factor, reason = target.slack.get(one.name, (1.0, ""))
    return "pass", f"with declared slack {factor:g}: {reason}" if reason else ""
