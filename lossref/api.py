"""Validation from Python: `lossref.validate(my_ciou, "ciou")`, in a notebook or a script.

A function or class that its file and name find again is asked in a process of its own, as on the command line. One
that they do not (a closure, a lambda, one that was typed into a cell) is asked in this process, and its verdicts say
so; global state is as it was afterwards.
"""

from __future__ import annotations

import html
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossref import losses
from lossref.core.nouns import Case, Target, Verdict
from lossref.core.nouns import Finding as Finding
from lossref.hosts.process import HERE as IN_A_HOST
from lossref.run.ask import asked, unasked
from lossref.run.causes.judged import CHECK_SECONDS
from lossref.run.findings import AGAINST, findings
from lossref.run.findings.words import shown, told
from lossref.run.here import as_it_was
from lossref.run.plan import Job, rows_of
from lossref.run.saved import load
from lossref.run.session import exit_status
from lossref.targets.declaring import declared
from lossref.targets.dropin.own import asking
from lossref.targets.lodged import lodged
from lossref.targets.marks import DTYPES, Mark, marks
from lossref.targets.resolve import Unavailable, UnknownTarget, ready

if TYPE_CHECKING:
    import pandas as pd

FAILING = (*AGAINST, "inconclusive")
HERE = "in this process"


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What came out, one row for each check and dtype; `cases` has the smallest failing case of each failing row."""

    rows: tuple[Verdict, ...]
    cases: Mapping[Verdict, Case] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ok(self) -> bool:
        """Whether it conforms: something passed, nothing failed, and nothing was left without a verdict."""
        return exit_status(self.rows, len(self.rows)) == 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The causes of what does not conform, the weightiest first; a row may have several."""
        return tuple(findings(self.rows))

    def to_frame(self) -> pd.DataFrame:
        """One line for each row, one column for each field of `Verdict`."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.rows], columns=[field.name for field in fields(Verdict)])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, words and lists, as JSON takes them."""
        return {
            "ok": self.ok,
            "findings": [asdict(one) for one in self.findings],
            "rows": [asdict(one) for one in self.rows],
        }

    def __repr__(self) -> str:
        nothing = [told(one) for one in self if one.status == "inconclusive"]
        return "\n".join([self._headline(), *map(shown, self.findings), *nothing])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("status", "check", "dtype", "what", "why"))
        lines = [
            (one.status, one.check, one.dtype, row.sentence, "" if one.note == row.sentence else one.note)
            for row in self.findings
            for one in row.rows
        ] + [(one.status, one.check, one.dtype, one.note, "") for one in self if one.status == "inconclusive"]
        cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in line) for line in lines]
        body = "".join(f"<tr>{line}</tr>" for line in cells)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if cells else ""
        return f"<p>{html.escape(self._headline())}</p>{table}"

    def _headline(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in Counter(one.status for one in self).most_common())
        names = ", ".join(dict.fromkeys(f"{one.target} as {one.spec}" for one in self))
        word = {0: "conforms", 1: "does not conform"}.get(exit_status(self.rows, len(self.rows)), "incomplete")
        return f"{names}: {word} ({counts})"


def validate(
    implementation: Callable[..., Any],
    spec: str,
    *,
    check: str = "*",
    dtype: str | tuple[str, ...] = DTYPES,
    tier: str = "quick",
    seed: int = 0,
    out: str | Path = "",
    **fixed: Any,
) -> Verdicts:
    """Check a function or class against a spec: `lossref.validate(my_ciou, "ciou", xywh=False)`.

    `fixed` are parameters of the spec that the implementation does not have, at the value it implements; what
    `lossref.target` says about it holds, too. `check` is a glob, or several with commas between them. `out` is a
    folder for the failing cases as files. Raises `UnknownSpec`, `UnknownCheck`, `UnknownTarget` for an unknown
    parameter, TypeError for what cannot be called, ValueError for another tier, dtype or seed.
    """
    _callable(implementation)
    dtypes = (dtype,) if isinstance(dtype, str) else tuple(dtype)
    _among(tuple(CHECK_SECONDS), tier)
    _among(DTYPES, *dtypes)
    if seed < 0:
        raise ValueError(f"expected a seed of 0 or more, got {seed}")
    rows = rows_of(losses.spec(spec), check, dtypes)
    if not rows:
        raise ValueError(f"no check that matches {check!r} runs in {', '.join(dtypes) or 'no dtype'}")
    word = _word(implementation)
    mark = next((one for one in marks(implementation) if one.spec == spec), Mark(spec))
    here = declared(implementation, replace(mark, fixed={**mark.fixed, **fixed}), word)
    # a host knows what the mark says of an implementation that is asked in a way of its own, and not what is said here
    lodges = not (fixed and asking(implementation, spec, here.fixed))
    with as_it_was(seed):
        target = ready(_in_a_host(here, word if lodges else "", spec))
    if target.host is None:
        target = replace(target, note=f"{target.note}; {HERE}" if target.note else HERE)
    return _kept(Job(word or here.label, spec, target.label, rows, tier, seed, str(out), spec), target)


def _in_a_host(here: Target, word: str, spec: str) -> Target:
    """The target in a process of its own, where its file and name find it there; else as it is."""
    if not word:
        return here
    try:
        (there,) = lodged(word, spec, IN_A_HOST)
    except (UnknownTarget, Unavailable):
        return here
    return replace(here, host=there.host, thing=there.thing, where=there.where)


def asked_here(job: Job, target: Target) -> list[Verdict]:
    """The verdicts of a job, asked in this process, whose global state is as it was afterwards.

    Their cases are paths from here, not from the folder of the job.
    """
    if target.unsupported:
        return [unasked(job, row, "unsupported", target.unsupported) for row in job.rows]
    with as_it_was(job.seed):
        found = asked(job, target).verdicts
    return [_placed(one, lambda case: str(Path(job.out, case))) for one in found]


def _placed(row: Verdict, place: Callable[[str], str]) -> Verdict:
    """The row with the paths of its cases changed."""
    failures = tuple(replace(one, case=place(one.case)) if one.case else one for one in row.failures)
    return replace(row, case=place(row.case) if row.case else "", failures=failures)


def _kept(job: Job, target: Target) -> Verdicts:
    """The verdicts with their failing cases, whose files stay only in a folder that was asked for."""
    with tempfile.TemporaryDirectory() as passing:
        found = asked_here(replace(job, out=job.out or passing), target)
        cases = [load(Path(one.case)).case if one.case else None for one in found]
    rows = found if job.out else [_placed(one, lambda case: "") for one in found]
    return Verdicts(tuple(rows), {one: case for one, case in zip(rows, cases, strict=True) if case})


def _word(thing: Any) -> str:
    """File and name that find a function or class again, in another process too; nothing where none do."""
    module = sys.modules.get(getattr(thing, "__module__", None) or type(thing).__module__)
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    file = getattr(module, "__file__", None) or ""
    again = module is not None and module.__name__ != "__main__" and getattr(module, name, None) is thing
    return f"{file}:{name}" if again and file.endswith(".py") else ""


def _callable(thing: object) -> None:
    if not callable(thing):
        words = "; `lossref validate` takes words" if isinstance(thing, str) else ""
        raise TypeError(f"expected a function or a class, got {thing!r:.80}{words}")


def _among(allowed: tuple[str, ...], *words: str) -> None:
    for word in words:
        if word not in allowed:
            raise ValueError(f"{word!r} is not one of {', '.join(allowed)}")
