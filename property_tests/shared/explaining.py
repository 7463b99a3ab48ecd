"""Explains failures as a run does: failing cases first, then held-out ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lossref.checks.attempts import Attempts
from lossref.checks.material import fixed_of, material
from lossref.checks.table import applies, cases_for, examine, named
from lossref.core.nouns import Case, Param, Params, Spec, Target
from lossref.hosts.probe import applicable
from lossref.run.causes.explain import Shown, explain, unexplained

CHECKS = ("value", "gradient", "kinks", "reduced")
NUMBERS = ("value", "gradient", "no gradient", "size of value")
MOST_FAILING, MOST_HELD_OUT = 4, 12


class Explained(NamedTuple):
    """What is said of the failures of one kind."""

    kind: str
    sentence: str
    known: str


def failing(spec: Spec, target: Target, checks: Sequence[str] = CHECKS) -> dict[str, list[Case]]:
    """The smallest legal cases on which a target fails, by kind of failure."""
    found: dict[str, list[Case]] = {}
    for check in (named(name) for name in checks):
        for case in cases_for(check, spec, target, "quick", 1) if applies(check, spec) else ():
            if spec.why_not(case) is None:
                for problem in examine(check, spec, target, case, "float64").problems:
                    found.setdefault(problem.kind, []).append(case)
    return {kind: sorted(set(cases), key=_size)[:MOST_FAILING] for kind, cases in found.items()}


def _size(case: Case) -> tuple[int, str]:
    return sum(array.size for array in case.inputs.values()), case.id


def held_out(spec: Spec, target: Target) -> list[Case]:
    """Some other cases of each kind."""
    found: list[Case] = []
    for kind in ("corner", "single", "small"):
        cases = [
            case for case in material(spec, kind, "quick", 1, fixed_of(spec, target.fixed)) if not spec.why_not(case)
        ]
        asked = [case for case in cases if applicable(spec, target, case)]
        found += asked[:: max(1, len(asked) // MOST_HELD_OUT)]
    return found


def shown_of(known: Attempts, target: Target, cases: Sequence[Case], settings: Params) -> list[Shown]:
    """What target and truth give on these cases."""
    return [Shown(case, known.of(target, case), known.of(known.own, case, settings)) for case in cases]


def explained(
    spec: Spec, target: Target, settings: Params | None = None, checks: Sequence[str] = CHECKS
) -> Iterator[Explained]:
    """A sentence for every kind of failure that is about numbers."""
    known, aside = Attempts(spec), held_out(spec, target)
    for kind, cases in failing(spec, target, checks).items():
        if kind.startswith(NUMBERS):
            shown = shown_of(known, target, [*cases, *aside], settings or {})
            said = explain(spec, target, kind, shown, known, settings or {})
            yield Explained(kind, said, said or unexplained(spec, kind, shown, settings or {}))


def sentences(spec: Spec, target: Target, *checks: str) -> set[str]:
    """All that is said of the failures of some checks."""
    return {one.sentence for one in explained(spec, target, checks=checks or CHECKS)}


def without_itself(spec: Spec, wrong: Target) -> tuple[Spec, Target]:
    """The spec without one of its impostors, and that impostor as a stranger's, which has no named conventions.

    Of an elementary loss it takes notation and eps alone, of a composite all that is no named choice.
    """

    def taken(param: Param) -> bool:
        return param.convention or param.small or (spec.composite and not isinstance(param.default, str))

    def build(**params: Any) -> Any:
        return wrong.build(**{**spec.defaults(), **params})

    kept = tuple(name for name, param in spec.params.items() if taken(param))
    others = tuple(one for one in spec.impostors if one is not wrong)
    return replace(spec, impostors=others), replace(wrong, accepts=kept, build=build)
