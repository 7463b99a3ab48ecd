"""What a finding says: its sentence, how much it matters, what to look for in the target's code."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Protocol

from lossref.core.nouns import KINDS, Failure, Finding, Param, Verdict
from lossref.losses import specs

KINDS_IN_ORDER = tuple(kind for kind in KINDS if kind != "dialect")
MANNERS = {
    "pure": (0.45, "an operation in place on an argument (x[...] = ..., x *= ..., x.clamp_()): work on a copy"),
    "repeatable": (0.45, "what a call leaves behind for the next one: an attribute, a buffer, a random number"),
    "upstream": (0.5, "a backward() that does more with what comes from above (grad_output) than multiply by it"),
    "contexts": (
        0.4,
        "what asks where it runs: is_grad_enabled(), .is_leaf, the default dtype, threads, autocast, a second call",
    ),
    "defaults": (0.4, "the values that stand in the signature, or what an argument that is None is taken for"),
    "strides": (0.3, ".view() where .reshape() is due, or memory read as if it were contiguous"),
    "connected": (0.3, "a branch that returns a new tensor: multiply by 0 instead, so that a gradient of 0 is there"),
    "dtype": (0.2, ".float(), torch.zeros(...) or a buffer without dtype=: take the dtype of the inputs"),
    "state": (0.15, "an attribute that a call sets: make it a local variable, or set it when the object is made"),
    "refuses": (0.1, "no check of shapes and no NaN guard that lets a wrong input through as a number"),
}
"""Check -> how heavy a failure of it is, and what to look for."""
SMALLEST = 8  # decimal digits: an error below 1e-8 of the truth does nothing to a training
MOST = {"precision": 0.2}  # the weight of a kind: rounding in a narrower type does little to a training
NOTHING = "nothing known explains it"
RETURNED = "TypeError: returned "  # how the host says that what came back are no numbers: nothing was raised
DIFFERENTLY = "the same question is answered differently when it is asked again"
UNKNOWN = 0.75  # how much counts what fails where nobody noted on which input


class Part(Protocol):
    """One way in which one row fails."""

    @property
    def row(self) -> Verdict: ...  # noqa: D102
    @property
    def failure(self) -> Failure: ...  # noqa: D102


def count(number: int, noun: str) -> str:
    """1 setting, 2 settings, 2 crashes, 6 behaviour."""
    if number == 1 or noun in ("behaviour", "precision"):
        return f"{number} {noun}"
    return f"{number} {noun}{'es' if noun.endswith('sh') else 's'}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The names, or the first ones and how many more."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def accounts(one: Finding, most: int = 3) -> str:
    """The specs of a finding and how many rows it accounts for."""
    return f"{listed(list(dict.fromkeys(row.spec for row in one.rows)), most)}: {count(len(one.rows), 'row')}"


# Sentences ------------------------------------------------------------------------------------------------


def sentence(cause: tuple[str, ...], row: Verdict, failure: Failure, kinds: Sequence[str] = ()) -> str:
    """What is wrong, and why as far as it is known."""
    sort = cause[0]
    if sort == "setting":
        return setting(row.spec, cause[1])
    if sort == "because" and cause[1] == DIFFERENTLY:
        return f"{DIFFERENTLY}: {failure.problem}"
    if sort == "because":
        return f"{_quantity(kinds or [failure.kind])} {cause[1]}" if cause[1].startswith("agrees ") else cause[1]
    if sort == "wrong":
        under = f", also when {' and '.join(failure.under)}" if failure.under else ""
        why = failure.explanation if failure.explanation.startswith(NOTHING) else NOTHING
        return f"{row.spec}: {failure.problem}: {why}{under}"
    problem = re.sub(r"(the wrong shape of \S+) \(.*\) gives", r"\1 gives", failure.problem)
    problem = problem.replace(f"raised {RETURNED}", "returned ", 1)
    problem += _beside(failure, kinds)
    return problem or f"{row.status}, and nothing is known about it"


def _beside(failure: Failure, kinds: Sequence[str]) -> str:
    """The other attributes that the calls leave behind."""
    names = dict.fromkeys(kind.rpartition(".")[2] for kind in kinds if kind.startswith("state "))
    others = [name for name in names if name != failure.kind.rpartition(".")[2]]
    return f"; so {'are' if len(others) > 1 else 'is'} {listed(others)}" if others else ""


def setting(spec: str, one: str) -> str:
    """A setting in words: which value, what the specification has instead, and what it decides."""
    name, _, value = one.partition("=")
    doc, default = _doc(spec, name)
    instead = f" where the specification has {default}" if default else ""
    means = _means(spec, name, value)
    more = f": {means}" if means else f" ({doc})" if doc else ""
    return f"{name} is {value}{instead}{more}"


def _doc(spec: str, name: str) -> tuple[str, str]:
    """What a parameter does, and its default; of another spec that has it where this one has not."""
    param = _param(spec, name)
    return (param.doc, repr(param.default)) if param else ("", "")


def _means(spec: str, name: str, value: str) -> str:
    """What an implementation does that has this value, given as its repr."""
    param = _param(spec, name)
    if param is None:
        return ""
    like = (one for one in (param.default, *param.others, *param.means) if repr(one) == value)
    return next((param.meaning(one) for one in like), param.means.get("", "").format(value))


def _param(spec: str, name: str) -> Param | None:
    mine = [specs()[spec]] if spec in specs() else []
    return next((one.params[name] for one in (*mine, *specs().values()) if name in one.params), None)


def _quantity(kinds: Sequence[str]) -> str:
    """What of a reply failures of these kinds are about."""
    sorts, names = zip(*(kind.partition(" ")[::2] for kind in kinds), strict=True)
    if not {*sorts} <= {"value", "gradient"}:
        return "the loss"
    sort = " and ".join(sorted({*sorts}, reverse=True))
    return f"the {sort} of {names[0]}" if len({*names}) == 1 and names[0] else f"the {sort}"


def look_for(cause: tuple[str, ...], row: Verdict, failure: Failure) -> str:
    """What to look for in the code of the target."""
    sort = cause[0]
    if sort == "setting":
        name = cause[1].partition("=")[0]
        return f"the lines that decide {name}: {_doc(row.spec, name)[0] or 'see lossref show ' + row.spec}"
    if sort == "because" and cause[1] == DIFFERENTLY:
        return MANNERS["repeatable"][1]
    if sort == "behaviour":
        return MANNERS[row.check][1]
    if sort == "because" and "float32" in cause[1]:
        return ".float(), a buffer or constant without dtype=, torch.finfo(torch.float32), autocast"
    return _of_number(failure) if sort in ("wrong", "because") else _of_ending(sort)


def _of_number(failure: Failure) -> str:
    sort, _, name = failure.kind.partition(" ")
    if sort in ("gradient", "no"):
        return f"a .detach() or torch.no_grad() too many or too few on the way from {name.removeprefix('gradient ')}"
    return f"the lines that compute {name}" if sort == "value" and name else "what the check asserts: lossref explain"


def _of_ending(sort: str) -> str:
    return {
        "raises": "the operator that the message names, and which input it is given here",
        "fixed": "nothing: strike the declaration of the known failure off",
        "timeout": "a loop that does not end, or a computation that grows with the square of the input",
        "crashed": "native code that reads beyond its input",
        "blocked": "why it cannot be imported or built: lossref doctor",
    }.get(sort, "")


# How much it matters --------------------------------------------------------------------------------------


def weight(part: Part) -> float:
    """From 0 to 1: what it does to training. Digits of the value or gradient, drawn input before corners."""
    row, failure = part.row, part.failure
    if row.check in MANNERS and not failure.settings:
        return MANNERS[row.check][0]
    measured = math.isfinite(failure.relative) and failure.relative > 0
    digits = math.log10(failure.relative) + SMALLEST if measured else SMALLEST
    if not measured and not _ending(row, failure) and failure.got is None and failure.want is None:
        digits *= UNKNOWN  # no number is at hand: a law that does not hold, a wrong shape
    share = failure.usual / failure.of_usual if failure.of_usual else 0.0
    place = 0.9 + 0.1 * share if failure.usual else 0.5 if failure.of else UNKNOWN
    return round(place * min(max(digits / SMALLEST, 0.01), 1.0), 4)


def _ending(row: Verdict, failure: Failure) -> bool:
    return row.status in ("crashed", "timeout", "blocked") or failure.problem.startswith("raised ")


def size(kind: str, row: Verdict, failure: Failure) -> str:
    """How much it matters, in words: the error, and on how many cases of which kind."""
    return ", ".join(filter(None, (_error(kind, row, failure), _cases(failure))))


def _error(kind: str, row: Verdict, failure: Failure) -> str:
    if kind in ("behaviour", "crash", "precision") or not failure.relative:
        return "about what rounding in the narrower type makes" if kind == "precision" else ""
    of = "the gradient" if "gradient" in failure.kind else "the value"
    name = failure.kind.rpartition(" ")[2] if failure.kind.startswith(("value ", "gradient ")) else ""
    of = f"{of} of {row.spec} ({name})" if name else f"{of} of {row.spec}"
    if not math.isfinite(failure.relative):
        return f"no number where {of} is {failure.want:.3g}" if failure.got is None and failure.want is not None else ""
    return f"{percent(failure.relative)} {of}"


def percent(relative: float) -> str:
    """A relative error as people say it: 80 % of, 3 times, 1e-7 of."""
    if relative >= 1e6:
        return "over a million times"
    if relative >= 2:
        return f"{relative:.0f} times" if relative < 1000 else f"{relative:.0e} times".replace("e+0", "e")
    if relative >= 0.001:
        return f"{100 * relative:.2g} % of" if relative < 0.995 else f"{100 * relative:.0f} % of"
    return f"{relative:.0e} of".replace("e-0", "e-")


def _cases(failure: Failure) -> str:
    if not failure.of:
        return ""
    if failure.usual:
        everywhere = failure.usual == failure.of_usual
        return f"on {'all ' if everywhere else f'{failure.usual} of '}{count(failure.of_usual, 'drawn case')}"
    corners = failure.of - failure.of_usual
    return f"only on {failure.cases} of {count(corners, 'corner')}" if failure.cases < corners else "on every corner"


# As text --------------------------------------------------------------------------------------------------


def shown(one: Finding) -> str:
    """A finding as a person reads it: what, how much it matters, in which rows, where, and how to see it again."""
    small = one.smallest or Failure("", "")
    note = "" if small.problem == one.sentence else small.problem
    head = f"{one.kind.upper()}  {one.sentence}"
    return _lines(head, note, one.size, _places(*one.rows), one.where, small.case)


def told(row: Verdict) -> str:
    """A failing row as a person reads it."""
    return _lines(f"{row.status.upper()}  {_places(row)}", row.note, row.explanation, row.case)


def _places(*rows: Verdict) -> str:
    return ", ".join(f"{one.check} {one.dtype}" for one in rows)


def _lines(*said: str) -> str:
    *lines, case = said
    return "\n      ".join(filter(None, (*lines, f"lossref replay {case}" if case else "")))
