"""How public bugs fare: `python regression/known_bugs_told.py [WORD ...]` asks everything about those whose id has a word.

For each: the first check that rejects it, what the whole machinery says of it, and what the mended version fails, which
must be nothing. Outside `make test`, for it takes minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from known_bugs import BUGS, Bug
from lossref.api import asked_here
from lossref.checks.table import CHECKS, applies, cases_for, check
from lossref.core.nouns import Finding, Target, Verdict
from lossref.losses import spec
from lossref.run.findings import AGAINST, findings
from lossref.run.plan import Job, rows_of

DTYPES = ("float64", "float32")


def verdicts(bug: Bug, function: Callable[..., Any], names: str = "*", seed: int = 0) -> list[Verdict]:
    """What a run says of one of the two versions, with causes."""
    rows = rows_of(spec(bug.spec), names, DTYPES)
    target = bug.target(function)
    return asked_here(Job(bug.id, bug.spec, target.label, rows, "quick", seed, "", bug.spec), target)


def first(bug: Bug, target: Target, seed: int = 0) -> str:
    """The first check of the table that rejects a target; nothing if none does."""
    loss = spec(bug.spec)
    for one in CHECKS:
        if applies(one, loss):
            cases = cases_for(one, loss, target, "quick", seed)
            if any(check(one, loss, target, cases, dtype)[0].status in AGAINST for dtype in one.dtypes):
                return one.name
    return ""


def said(found: Sequence[Finding]) -> list[str]:
    return [one.sentence for one in found]


def lines(bug: Bug) -> Iterator[str]:
    """What is printed of one bug."""
    sentences = said(findings(verdicts(bug, bug.wrong)))
    named = "named" if bug.says and any(bug.says in one for one in sentences) else "not named"
    yield f"{bug.id} | {bug.where} | {bug.spec} | {first(bug, bug.target(bug.wrong)) or 'NOT REJECTED'} | {named}"
    yield from (f"    {one}" for one in sentences)
    cure = [one for one in verdicts(bug, bug.mended) if one.status in AGAINST]
    yield from (f"    MENDED {one.check} {one.dtype}: {one.status}: {one.note}" for one in cure)


def main(words: Sequence[str]) -> None:
    torch.set_num_threads(1)
    for bug in BUGS:
        if not words or any(word in (bug.id, bug.spec) for word in words):
            print("\n".join(lines(bug)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
