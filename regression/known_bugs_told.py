"""How public bugs fare: `python regression/known_bugs_told.py [WORD ...]`, for those whose id or spec is a word.

For each: the first check of the table that rejects it, whether a run names its cause, what the run says, and which
checks the cure fails. Outside `make test`, for it takes minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from known_bugs import BUGS, Bug

from lossref.api import asked_here
from lossref.checks.table import CHECKS, applies, cases_for, check
from lossref.core.nouns import Target, Verdict
from lossref.losses import spec
from lossref.run.findings import AGAINST, findings
from lossref.run.plan import Job, rows_of

OF_NUMBERS = "value,gradient,kinks,reduced,params,pure"


def sentences(bug: Bug, function: Callable[..., Any], names: str = OF_NUMBERS, seed: int = 0) -> list[str]:
    """What a run with these checks says of one of the two versions, finding by finding."""
    rows = rows_of(spec(bug.spec), names, ("float64",))
    job = Job(bug.id, bug.spec, bug.id, rows, "quick", seed, "", bug.spec)
    return [one.sentence for one in findings(asked_here(job, bug.target(function)))]


def failing(bug: Bug, target: Target, seed: int = 0) -> Iterator[Verdict]:
    """The verdicts against a target, in the order of the table."""
    loss = spec(bug.spec)
    for one in CHECKS:
        cases = cases_for(one, loss, target, "quick", seed) if applies(one, loss) else ()
        found = (check(one, loss, target, cases, dtype)[0] for dtype in one.dtypes if applies(one, loss))
        yield from (verdict for verdict in found if verdict.status in AGAINST)


def told(bug: Bug) -> Iterator[str]:
    """What is printed of one bug."""
    first = next(failing(bug, bug.target(bug.wrong)), None)
    said = sentences(bug, bug.wrong)
    named = "named" if bug.says and any(bug.says in one for one in said) else "not named"
    seen_by = first.check if first else "NOT REJECTED"
    yield f"{bug.id} | {bug.where} | {bug.spec} | {seen_by}{'' if seen_by == bug.seen_by else '!'} | {named}"
    yield from (f"    {one}" for one in said)


def main(words: Sequence[str]) -> None:
    torch.set_num_threads(1)
    chosen = [bug for bug in BUGS if not words or {bug.id, bug.spec} & set(words)]
    for bug in chosen:
        print("\n".join(told(bug)), flush=True)
    for bug in {bug.mended: bug for bug in chosen}.values():
        for one in failing(bug, bug.target(bug.mended)):
            print(f"cure of {bug.id}, {bug.spec}: {one.check} {one.dtype}: {one.status}: {one.note}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
