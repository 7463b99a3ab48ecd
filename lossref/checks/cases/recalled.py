"""What was found on a case before, and is not worked out again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lossref.checks.attempts import arithmetic
from lossref.checks.evidence import Evidence, Problem
from lossref.core.axes import frozen
from lossref.core.nouns import Spec
from lossref.oracle.cache import shelf
from lossref.oracle.kept import digest_of, keep, kept

ROOMS = ("checks", "core", "hosts", "losses", "oracle")  # whose code decides what is found


def recalled(spec: Spec, about: Sequence[Any], compare: Callable[[], Evidence]) -> Evidence:
    """The evidence of a reply; the same one is not compared once more, whatever it showed.

    It hangs on what it is `about`, and on nothing else.
    """
    place = shelf(spec, digest_of(arithmetic(), about), ROOMS)
    before = kept(place)
    if before is not None:
        examined, worst, left_out, problems = frozen(before)
        return Evidence(
            examined, worst, left_out, tuple(Problem(kind, said, dict(detail)) for kind, said, detail in problems)
        )
    found = compare()
    problems = [(one.kind, one.sentence, list(one.detail.items())) for one in found.problems]
    keep(place, [found.examined, float(found.worst), found.left_out, problems])
    return found
