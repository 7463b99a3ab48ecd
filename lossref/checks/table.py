"""All checks, as one flat tuple, and what a check examines.

What there is to know about a check stands in its row, and nowhere else. `check` runs one of them on a target
and returns a `Verdict`.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lossref.checks import behaviour, numbers, refusals, shapes
from lossref.checks.behaviour.contexts import contexts
from lossref.checks.behaviour.defaults import defaults, states_defaults
from lossref.checks.behaviour.laws import laws
from lossref.checks.behaviour.params import params
from lossref.checks.behaviour.upstream import upstream
from lossref.checks.cases.kinds import of_kind
from lossref.checks.cases.limits import limited
from lossref.checks.cases.varied import in_full
from lossref.checks.evidence import Evidence, Problem, raised
from lossref.checks.material import fixed_of, has_kind, material
from lossref.core.nouns import Case, Spec, Target, Verdict
from lossref.hosts.command import CannotAnswer
from lossref.hosts.endings import DeviceLost, TargetEnded
from lossref.hosts.probe import TargetRaised, applicable, on_device
from lossref.oracle.tape import Tie, Uncertified

Examine = Callable[[Spec, Target, Case, str], Evidence]
Known = dict[Case, Evidence]
F64, F32, BOTH = ("float64",), ("float32",), ("float64", "float32")
LOST = "device lost"  # the kind of a failure that cost no more than its device
VALUES = ("corner", "single", "small")
SHAPES = ("shape", "small")


@dataclass(frozen=True)
class Check:
    """One row of the table of checks: all that there is to know about a check.

    name, examine: what it is called, and the function that gives its evidence on one case
    kinds:         the kinds of case that it is given, in this order
    dtypes:        those it runs in
    applies:       whether a spec that has such cases has anything in them that the check could examine
    explained_on:  the kinds of case on which an explanation of its failures must hold; none: they speak for themselves
    certified:     whether the oracle can answer its cases, so that they can stand for the failure in an explanation
    searched:      whether a setting is looked for on its failing cases, which are small enough for the reference
    shrunk_to:     the size that its failing cases are made as small as; none: they stay as they are
    one_call:      whether a single call of the target shows the failure, so that a snippet can
    legal:         whether its cases are legal input; that they are not may be their very point
    put:           what becomes of a case that is asked in a dtype
    """

    name: str
    examine: Examine
    kinds: tuple[str, ...]
    dtypes: tuple[str, ...]
    applies: Callable[[Spec], bool] = lambda spec: True
    explained_on: tuple[str, ...] = ()
    certified: bool = True
    searched: bool = True
    shrunk_to: str = ""
    one_call: bool = False
    legal: bool = True
    put: Callable[[Spec, Case, str], Case] = lambda spec, case, dtype: case

    @property
    def alone(self) -> bool:
        """Whether what it finds on a case hangs on one reply and on the certified answer, and on no other case."""
        return self.one_call and self.certified and self.explained_on == VALUES

    @property
    def doc(self) -> str:
        """What the check asserts, in one line."""
        return (self.examine.__doc__ or "").strip().splitlines()[0]


def _differentiable(spec: Spec) -> bool:
    return bool(spec.wrt)


def _has_kinks(spec: Spec) -> bool:
    if spec.composite or not spec.wrt:
        return False
    return any(numbers.at_kink(spec, case) for case in answerable_corners(spec))


def _has_shapes(spec: Spec) -> bool:
    return has_kind(spec, "shape") or shapes.has_leading(spec)


def answerable_corners(spec: Spec) -> list[Case]:
    """The corners that have the axes of the spec; the oracle answers no other shapes."""
    return [case for case in material(spec, "corner", "quick", 0) if not spec.why_not(case)]


ONE, DRAWN, SETTINGS = ("corner", "single"), ("varied",), ("setting", "valued")
CHECKS = (
    Check("value", numbers.value, (*ONE, "flat"), BOTH, explained_on=VALUES, shrunk_to="single", one_call=True),
    Check("gradient", numbers.gradient, ONE, BOTH, _differentiable, VALUES, shrunk_to="single", one_call=True),
    Check("kinks", numbers.kinks, ONE, BOTH, _has_kinks, VALUES, shrunk_to="single", one_call=True),
    Check("reduced", numbers.reduced, ("small",), BOTH, explained_on=VALUES, shrunk_to="small", one_call=True),
    Check(
        "bulk", numbers.bulk, ("bulk",), BOTH, explained_on=VALUES, certified=False, searched=False, shrunk_to="single"
    ),
    Check("varied", numbers.varied, DRAWN, BOTH, explained_on=VALUES, certified=False, shrunk_to="single", put=in_full),
    Check("rare", numbers.rare, ("rare",), F64, explained_on=VALUES),
    Check("shape", shapes.shape, SHAPES, F64, _has_shapes, VALUES, False, False, one_call=True, legal=False),
    Check("single", shapes.single, ("one",), F32, explained_on=VALUES, one_call=True),
    Check("empty", shapes.empty, ("empty",), F32),
    Check("connected", behaviour.connected, ("small", "empty"), F32, _differentiable),
    Check("dtype", behaviour.keeps_dtype, ("corner",), BOTH),
    Check("params", params, SETTINGS, F64, explained_on=("setting",), shrunk_to="single", one_call=True),
    Check("defaults", defaults, ("usual",), F64, states_defaults),
    Check("laws", laws, ("small",), F64, explained_on=VALUES, shrunk_to="small"),
    Check("pure", behaviour.pure, ("corner", "small", "moved"), F32, shrunk_to="single"),
    Check("state", behaviour.state, ("corner", "moved"), F32, shrunk_to="single"),
    Check("repeatable", behaviour.repeatable, ("small", "moved"), F32, shrunk_to="small"),
    Check("strides", behaviour.strides, ("few",), F32, shrunk_to="small"),
    Check("upstream", upstream, ("few", "moved"), F32, _differentiable, shrunk_to="small"),
    Check("contexts", contexts, ("few", "moderate", "moved"), F32, shrunk_to="small"),
    Check("refuses", refusals.refuses, ("small",), F32, shrunk_to="small", legal=False),
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
    found = next((one for one in CHECKS if one.name == name), None)
    if found is None:
        raise UnknownCheck(f"there is no check {name!r}; checks: {', '.join(one.name for one in CHECKS)}")
    return found


def applies(check: Check, spec: Spec) -> bool:
    """Whether the spec has anything that the check could examine."""
    return any(has_kind(spec, kind) for kind in check.kinds) and check.applies(spec)


def cases_for(check: Check, spec: Spec, target: Target, tier: str, seed: int) -> list[Case]:
    """The cases that a check is given, in order, less those that the target cannot be asked."""
    fixed, drawn_from = fixed_of(spec, target.fixed), limited(spec, target)
    found = [case for kind in check.kinds for case in of_kind(drawn_from, kind, tier, seed, fixed, target.accepts)]
    return [on_device(spec, case, target.device) for case in found if applicable(spec, target, case)]


def examine(check: Check, spec: Spec, target: Target, case: Case, dtype: str) -> Evidence:
    """The check's evidence on one case; whatever the target raises is a failure in one line."""
    try:
        return check.examine(spec, target, case, dtype)
    except TargetRaised as error:
        return raised(error)
    except (Tie, Uncertified):
        return Evidence(0, 0.0, 1)


@dataclass(frozen=True)
class Failing:
    """The cases of one check that fail in one way, in their order, and what is wrong with each."""

    kind: str
    found: tuple[tuple[Case, Problem], ...]
    of: int
    of_usual: int

    @property
    def cases(self) -> tuple[Case, ...]:
        """The failing cases."""
        return tuple(case for case, _ in self.found)


def check(
    one: Check, spec: Spec, target: Target, cases: Iterable[Case], dtype: str, known: Known | None = None
) -> tuple[Verdict, tuple[Failing, ...]]:
    """Run one check over all of its cases; returns the verdict, and what failed by kind, the first one first.

    It ends early only where the target ends its process, which is then the one failure. What is `known` of a case is
    not asked, and what is found is put there.
    """
    begin = time.perf_counter()
    total, failing = Evidence(), dict[str, list[tuple[Case, Problem]]]()
    ended: TargetEnded | None = None
    asked, before, known = list[Case](), {**(known or {})}, {} if known is None else known
    for case in (one.put(spec, case, dtype) for case in cases):
        asked.append(case)
        try:
            found = known[case] = before[case] if case in before else examine(one, spec, target, case, dtype)
        except CannotAnswer as error:
            names = (spec.name, target.label, one.name, dtype)
            return Verdict(*names, "unsupported", note=str(error), device=target.device, where=target.where), ()
        except TargetEnded as error:
            kind = LOST if isinstance(error, DeviceLost) else "ended"
            ended, failing = error, {kind: [(case, Problem(kind, said_of(error)))]}
            break
        total += found
        for problem in found.problems:
            failing.setdefault(problem.kind, []).append((case, problem))
    status, note = (ended.status, said_of(ended)) if ended else _status(one, target, total, len(asked))
    took = round(time.perf_counter() - begin, 3)
    numbers = (total.examined, total.worst, total.left_out)
    said = (spec.name, target.label, one.name, dtype, status, *numbers, note)
    verdict = Verdict(*said, seconds=took, device=target.device, where=target.where)
    usual = sum(map(drawn, asked))
    return verdict, tuple(Failing(kind, tuple(them), len(asked), usual) for kind, them in failing.items())


def drawn(case: Case) -> bool:
    """Whether it is ordinary input, drawn from the families, and no corner that was thought of."""
    return any("=" in flag for flag in case.flags)


def said_of(ended: TargetEnded) -> str:
    """How a process ended, and the last line that it printed."""
    lines = ended.printed.strip().splitlines()
    return f"{ended}; the last it printed: {lines[-1][:200]}" if lines else str(ended)


def _status(one: Check, target: Target, total: Evidence, cases: int) -> tuple[str, str]:
    expected = target.known.get(one.name)
    if total.problem:
        return ("known", f"{total.problem} (known: {expected})") if expected else ("fail", total.problem)
    if total.examined == 0:  # whatever the target gives: what is left out is left out for want of a truth
        return "unsupported", _nothing_to_examine(one, target, total, cases)
    if expected:
        return "fixed", f"declared as a known failure ({expected}), but it passes: strike it off"
    factor, reason = target.slack.get(one.name, (1.0, ""))
    return "pass", f"with declared slack {factor:g}: {reason}" if reason else ""


def _nothing_to_examine(one: Check, target: Target, total: Evidence, cases: int) -> str:
    """Why no target at these settings can be examined."""
    settings = ", ".join(f"{name}={value!r}" for name, value in target.fixed.items())
    under = f" under {settings}" if settings else ""
    if total.left_out:
        return f"nothing to examine: on none of the {cases} cases{under} is it certain what is right"
    return f"nothing to examine: none of the {cases} cases{under} is one for this check ({one.doc.rstrip('.')})"
