"""The nouns: Spec, Domain, Case, Answer, Target, Failure, Verdict, Finding. There are no others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from lossref.core.domains import Array as Array
from lossref.core.domains import Derived as Derived
from lossref.core.domains import Domain as Domain
from lossref.core.domains import Param as Param
from lossref.core.domains import Params as Params
from lossref.core.domains import Span as Span

NUMBER = re.compile(r"[-\d.]+(e[-+]?\d+)?")
STATUSES = ["pass", "dialect", "fail", "known", "fixed", "inconclusive", "unsupported", "blocked", "crashed", "timeout"]
KINDS = ("crash", "wrong number", "wrong gradient", "precision", "behaviour", "dialect")


@dataclass(frozen=True, eq=False)
class Case:
    """One question: exact inputs, parameters, and where it came from.

    `asked` are parameters that a target on another device is given instead, because there they mean those of `params`.
    """

    spec: str
    inputs: Mapping[str, Array]
    params: Params = field(default_factory=dict)
    id: str = ""
    flags: tuple[str, ...] = ()
    why: str = ""
    asked: Params = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What is true: certified balls (python-flint `arb`) in object arrays.

    value:     per term, the output
    gradient:  per differentiable input, d(sum of weights * outputs) / d(input)
    condition: per term, what a relative rounding error of every number on the way amounts to
    margin:    relative distance to the nearest branch; ties counts the exact ones
    """

    value: Mapping[str, Array]
    gradient: Mapping[str, Array]
    condition: Mapping[str, Array]
    margin: float
    ties: int
    open_branches: int
    bits: int


class Host(Protocol):
    """Where a target lives that is not in this process."""

    def ask(self, thing: int, question: Any, story: Any = None) -> Any:
        """The reply to a question about one of the things that it has loaded; what went wrong is noted in the story."""
        ...

    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Target:
    """Somebody's implementation of one spec.

    `build(**params)` gives the callable that takes the spec's inputs in the spec's order. `fixed`
    holds parameters that the implementation does not have, at the value it implements. `known` maps
    a check to the reason why it is expected to fail; for an impostor it names the checks that must. `defaults` are
    the parameters that can be left out, each with what its face has for it, None for what is no plain value. `usage` is
    Python that imports the implementation and leaves its result in `out`. One that lives in a `host` is number `thing`
    there, and `build` is not used; it may have no `gradients` at all. `where` names file, line and qualified name; what
    is `trusted` is ours: the state of the process is not guarded while it is asked. `only` maps an input to the
    families that it can take, by name or by a part of it. `home` is as `where` for the very object that its file has
    under its name, else empty: words that find it there find one target. Its `story` is what happened meanwhile.
    """

    spec: str
    build: Callable[..., Callable[..., Any]]
    label: str
    accepts: tuple[str, ...] = ()
    fixed: Params = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("float64", "float32")
    slack: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)
    unsupported: str = ""
    note: str = ""
    usage: str = ""
    where: str = ""
    home: str = ""
    host: Host | None = None
    thing: int = -1
    device: str = "cpu"
    gradients: bool = True
    trusted: bool = False
    only: Mapping[str, str] = field(default_factory=dict)
    defaults: Params = field(default_factory=dict)
    story: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Failure:
    """One way in which cases of a check fail: those of one kind are one failure.

    kind:        what of a reply is wrong: "value iou", "gradient pred", "raises IndexError", "shape", ...
    problem:     one sentence about the smallest case
    explanation: the claim that reproduces it, if one was found; `settings` ("name=value") if it is a dialect's
    under:       the settings ("name=value") that had been adopted when it still failed
    case:        the file of the smallest case, relative to the folder of the run
    cases, of:   how many cases of the check fail so, of how many; `usual`, `of_usual` the drawn ones among them
    relative:    the largest error over the size of the truth, of drawn cases if any fails, else of corners
    """

    kind: str
    problem: str
    explanation: str = ""
    settings: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    case: str = ""
    cases: int = 0
    of: int = 0
    usual: int = 0
    of_usual: int = 0
    relative: float = 0.0
    got: float | None = None
    want: float | None = None
    error: float | None = None
    budget: float | None = None


@dataclass(frozen=True)
class Verdict:
    """One row of the report; `note`, `explanation` and `case` are those of its first failure."""

    spec: str
    target: str
    check: str
    dtype: str
    status: str
    examined: int = 0
    worst: float = 0.0
    left_out: int = 0
    note: str = ""
    explanation: str = ""
    case: str = ""
    seconds: float = 0.0
    device: str = "cpu"
    where: str = ""
    failures: tuple[Failure, ...] = ()

    @property
    def cause(self) -> str:
        """What rows of one cause have in common: the explanation, or else the note with its numbers left out."""
        return self.explanation or NUMBER.sub("#", self.note)


def verdict_of(line: Mapping[str, Any]) -> Verdict:
    """The verdict of which `dataclasses.asdict` made this, perhaps by way of JSON."""
    failures = [
        Failure(**{**one, **{name: tuple(one.get(name, ())) for name in ("settings", "under")}})
        for one in line.get("failures", ())
    ]
    return Verdict(**{**line, "failures": tuple(failures)})


@dataclass(frozen=True)
class Finding:
    """One cause, and what a person reads.

    id:       stays the same from run to run: a digest of target, specs' kind of failure and sentence
    kind:     one of KINDS
    sentence: what is wrong, and why as far as it is known
    size:     how much it matters, in words; `weight` the number that findings are ranked by
    where:    file, line and function of the target
    look_for: what to look for in the target's code
    rows:     the verdicts that it accounts for
    smallest: the failure with the smallest case
    """

    id: str
    kind: str
    target: str
    sentence: str
    size: str = ""
    weight: float = 0.0
    where: str = ""
    look_for: str = ""
    rows: tuple[Verdict, ...] = ()
    smallest: Failure | None = None


@dataclass(frozen=True, eq=False)
class Spec:
    """Everything about one loss; each lives in one file of lossref/losses.

    `sizes` are the axis sizes (and parameters) tried, by kind, `derived` those that follow from them; `api` shows a
    call, `returns` the shape that comes back, `absent` terms that are 0 at some parameters and may be left out. What is
    `composite` has detached results on the way: budgets are radii of the oracle, and fewer cases are drawn.
    """

    name: str
    summary: str
    cite: str
    inputs: Mapping[str, Domain]
    wrt: tuple[str, ...]
    params: Mapping[str, Param]
    terms: tuple[str, ...]
    reference: Callable[..., Any]
    oracle: Callable[..., Any]
    sizes: Mapping[str, tuple[Mapping[str, Any], ...]]
    laws: tuple[Callable[..., str | None], ...] = ()
    corners: tuple[Case, ...] = ()
    impostors: tuple[Target, ...] = ()
    api: str = ""
    returns: str = ""
    composite: bool = False
    derived: Mapping[str, Derived] = field(default_factory=dict)
    absent: Callable[[Params], tuple[str, ...]] = lambda params: ()

    def __post_init__(self) -> None:
        corners = tuple(replace(case, spec=self.name) for case in self.corners)
        impostors = tuple(replace(target, spec=self.name, accepts=tuple(self.params)) for target in self.impostors)
        object.__setattr__(self, "corners", corners)
        object.__setattr__(self, "impostors", impostors)

    def defaults(self) -> dict[str, Any]:
        """Parameter name -> default."""
        return {name: param.default for name, param in self.params.items()}

    def dims(self, params: Params, sizes: Mapping[str, Any]) -> dict[str, Any]:
        """The sizes that a domain sees: those of the axes, the parameters by name, and what follows from them."""
        found = {**params, **sizes}
        for name, one in self.derived.items():
            if name not in found and all(part in found for part in one.of):
                found[name] = one.size(*(found[part] for part in one.of))
        return found

    def why_not(self, case: Case) -> str | None:
        """None if every input of the case is legal, else one sentence."""
        for name, domain in self.inputs.items():
            if name not in case.inputs:
                return f"{self.name}: the input {name!r} is missing; it needs {', '.join(self.inputs)}"
            reason = domain.why_not(case.inputs[name], {**self.defaults(), **case.params})
            if reason:
                return f"{self.name}: {name}: {reason} ({domain.units})"
        return None
