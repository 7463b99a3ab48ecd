"""Why rows fail: the settings that the target follows, what still fails under them, each kind small and explained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Spec, Target, Verdict
from lossref.hosts.worker.words import one_line
from lossref.run.causes.failures import verdict_of_row
from lossref.run.causes.judged import Judged, Tracing
from lossref.run.causes.settings.adoption import adopted
from lossref.run.plan import Job

UNTRACED = "lossref could not look for a cause"


def traced(job: Job, spec: Spec, target: Target, rows: Sequence[Judged], heard: Target) -> Iterator[Verdict]:
    """The verdicts of failing rows, in their order, with their causes; the smallest cases are saved.

    `heard` is the target as it was asked, of which the replies may be kept.
    """
    tracing = Tracing(job, spec, target, Attempts(spec), heard)
    open_rows = [row for row in rows if row.one.explained_on and row.verdict.status == "fail"]
    again, broken = list[Judged](), ""
    try:
        again = adopted(tracing, open_rows)
    except Exception as error:  # as in a check: a target can return what nobody thought of
        broken = one_line(error)
    for row in rows:
        under = next((one for one in again if one.one is row.one and one.verdict.dtype == row.verdict.dtype), None)
        try:
            yield verdict_of_row(tracing, row, under)
        except OSError:  # a case that cannot be written is not lost in silence
            raise
        except Exception as error:
            yield replace(row.verdict, explanation=f"{UNTRACED}: {broken or one_line(error)}")
