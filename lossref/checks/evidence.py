"""What one check found on one case, and how numbers are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lossref.core.nouns import NUMBER, Array, Case, Spec, Target
from lossref.hosts.command import CannotAnswer
from lossref.hosts.probe import Result, TargetRaised

DIGITS = (9, 12, 15, 17)
WIDEST = 1 / 8  # of the largest number: a declared slack makes no more of a budget, twice another number is no rounding
Shapes = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a reply: of what kind, in one sentence, and the numbers if there are any."""

    kind: str
    sentence: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """Numbers compared, the worst error over its budget, numbers left out, and what is wrong if anything."""

    examined: int = 0
    worst: float = 0.0
    left_out: int = 0
    problems: tuple[Problem, ...] = ()

    def __add__(self, other: Evidence) -> Evidence:
        known = {one.kind for one in self.problems}
        return Evidence(
            self.examined + other.examined,
            max(self.worst, other.worst),
            self.left_out + other.left_out,
            (*self.problems, *(one for one in other.problems if one.kind not in known)),
        )

    def kept_apart(self, after: str) -> Evidence:
        """The same as one fault of its own, whatever terms show it: what fails only there is another one."""
        return replace(self, problems=tuple(replace(one, kind=after.strip()) for one in self.problems[:1]))

    @property
    def problem(self) -> str:
        """The first sentence about what is wrong, or nothing."""
        return self.problems[0].sentence if self.problems else ""

    @property
    def detail(self) -> Mapping[str, Any]:
        """The numbers of the first problem."""
        return self.problems[0].detail if self.problems else {}


def wrong(sentence: str, examined: int = 1, kind: str = "") -> Evidence:
    """Evidence of a failure that is not a number; its kind is the sentence without its numbers, if no other."""
    return Evidence(examined, float("inf"), 0, (Problem(kind or NUMBER.sub("#", sentence), sentence),))


def raised(error: Exception) -> Evidence:
    """Evidence of an exception; its kind is the type."""
    return wrong(f"raised {error}", kind=f"raises {str(error).partition(':')[0]}")


def beside(found: Evidence, other: Callable[[], Evidence]) -> Evidence:
    """What was found, and what is found besides: an exception there does not undo it."""
    try:
        return found + other()
    except TargetRaised as error:
        return found + raised(error)


def compare(what: str, got: Array, want: Array, budget: Array, slack: float = 1.0, kind: str = "") -> Evidence:
    """Element by element; numbers without a finite budget are left out but must not be NaN."""
    kind = kind or what
    if got.size == want.size:
        got = got.reshape(want.shape)
    if got.shape != want.shape:
        return wrong(
            f"{what}: {got.size} numbers of shape {got.shape}, expected shape {want.shape}", kind=f"size of {kind}"
        )
    if want.size == 0:
        return Evidence()
    size = float(np.abs(want[np.isfinite(want)]).max(initial=0.0))
    budget = np.broadcast_to(budget.reshape(want.shape) if budget.size == want.size else budget, want.shape)
    budget = np.maximum(budget, np.minimum(budget * slack, WIDEST * size)) if slack > 1 else budget
    ratio = error_over_budget(got, want, budget)
    open_budget = ~np.isfinite(budget)
    left_out = int(np.count_nonzero(open_budget & np.isfinite(got)))
    worst_at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    worst = float(ratio[worst_at])
    if worst <= 1:
        return Evidence(want.size - left_out, worst, left_out)
    index = tuple(int(i) for i in worst_at)
    mine, truth = float(got[worst_at]), float(want[worst_at])
    detail = {"what": what, "index": index, "got": mine, "want": truth}
    detail |= {"error": abs(mine - truth), "budget": float(budget[worst_at]), "size": size}
    place = f"{what}{list(index)}" if index else what
    digits = next((n for n in DIGITS if f"{mine:.{n - 3}g}" != f"{truth:.{n - 3}g}"), DIGITS[-1])
    sentence = f"{place}: got {mine:.{digits}g}, want {truth:.{digits}g}"
    return Evidence(want.size - left_out, worst, left_out, (Problem(kind, sentence, detail),))


def error_over_budget(got: Array, want: Array, budget: Array) -> Array:
    """|got - want| / budget; infinite where one is not finite and the other differs."""
    with np.errstate(all="ignore"):
        error = np.abs(got - want)
        ratio = np.asarray(error / budget)
    ratio[error == 0] = 0.0
    if np.isfinite(ratio).all():  # then nothing here is special, which takes longer to look at than to divide
        return ratio
    ratio = np.where(error == 0, 0.0, np.where(np.isfinite(budget), ratio, 0.0))
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    ratio[same] = 0.0
    ratio[~np.isfinite(got) & ~same] = np.inf
    ratio[~np.isfinite(want) & ~same] = np.inf
    return ratio


def compare_values(
    spec: Spec, shapes: Shapes, got: Array, want: Array, budget: Array, slack: float = 1.0, after: str = ""
) -> Evidence:
    """All terms of one case, given in a row; `after` is added to the name of a term."""
    if len(spec.terms) == 1:
        return compare(spec.terms[0] + after, got, want, budget, slack, f"value {spec.terms[0]}")
    if got.size != want.size:
        return wrong(f"returned {got.size} numbers, expected {want.size} for {', '.join(spec.terms)}")
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    parts = zip(spec.terms, shapes, *(np.split(flat, ends) for flat in (got, want, fitted(budget, want))), strict=True)
    total = Evidence()
    for term, shape, mine, truth, room in parts:
        numbers = mine.reshape(shape), truth.reshape(shape), room.reshape(shape)
        total += compare(term + after, *numbers, slack, f"value {term}")
    return total


def compare_gradients(
    spec: Spec,
    result: Result,
    want: Mapping[str, Array],
    budgets: Mapping[str, Array],
    slack: float = 1.0,
    after: str = "",
) -> Evidence:
    """All differentiable inputs of one case; `after` is added to the name of a gradient."""
    if not result.gradient:
        return wrong(f"the output is not connected to {', '.join(spec.wrt)}: no gradient can be taken")
    total = Evidence()
    for name in spec.wrt:
        got = result.gradient[name]
        if got is None and not np.any(want[name]):
            continue
        if got is None:
            total += wrong(f"d/d{name}{after}: no gradient reaches this input (None)", kind=f"no gradient {name}")
        else:
            total += compare(f"d/d{name}{after}", got, want[name], budgets[name], slack, f"gradient {name}")
    return total


def with_zeros(gradient: Mapping[str, Array | None], case: Case) -> dict[str, Array]:
    """The gradients of some inputs of a case, zeros where none reaches one."""
    return {name: np.zeros_like(case.inputs[name]) if g is None else g for name, g in gradient.items()}


def fitted(budget: Array, value: Array) -> Array:
    """The budget in the shape of a value that may have the wrong size: then the largest for all."""
    return budget.reshape(value.shape) if budget.size == value.size else np.full(value.shape, budget.max(initial=0.0))


def slack_of(target: Target, check: str) -> float:
    """The factor by which a target declared that it needs more room in this check."""
    return target.slack.get(check, (1.0, ""))[0]


def require_gradients(target: Target) -> None:
    """A target that declares that it has none (a peer in another language, say) is not asked."""
    if not target.gradients:
        raise CannotAnswer("it has no gradients")
